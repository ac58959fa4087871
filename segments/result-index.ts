/**
 * Where each row of an archive stands in its results and what the provider said of it, in typed arrays: 56 bytes a row.
 * Rows are found by their index in the archive, so the join costs no hash map.
 */
import { crc32 } from 'node:zlib';
import { NameTable } from './name-table.ts';
import type { RowVerdict } from './outcome.ts';
import type { ResultKind, ResultLine } from './result-line.ts';
import type { Usage } from './segment.ts';

/** Rows by the provider's result type, as in `request_counts`. */
export type ResultCounts = Readonly<Record<ResultKind, number>>;

const namesMax = 65_535;
const stopsMax = 255;
const stateMissing = 0;
const stateConflict = 1;
const stateOf = { succeeded: 2, errored: 3, canceled: 4, expired: 5 } as const;

/** Where the parts of a succeeded row's line stand in the stream, in bytes, and what it says: all that its export is made of. */
export interface PlacedAnswer {
  readonly model: string;
  readonly usage: Usage;
  readonly stopReason: string | null;
  /** The answer's text, still escaped and without its quotes; it lies within the result. null: the answer has none. */
  readonly text: { readonly at: number; readonly bytes: number } | null;
  /** The value of `result`, verbatim JSON. */
  readonly resultAt: number;
  readonly resultBytes: number;
}

/** What an index is made of, to hand it to another thread. */
export interface ResultIndexParts {
  readonly offsets: Float64Array;
  readonly lengths: Uint32Array;
  readonly checksums: Uint32Array;
  readonly states: Uint8Array;
  readonly nameIds: Uint16Array;
  readonly names: readonly (string | undefined)[];
  readonly tokens: Uint32Array;
  readonly stopIds: Uint8Array;
  readonly stops: readonly (string | undefined)[];
  readonly spans: Uint32Array;
}

/** Where each row's line stands in the stream, and what it says. Filled by {@link checkResults}. */
export class ResultIndex {
  readonly rows: number;
  readonly #offsets: Float64Array;
  readonly #lengths: Uint32Array;
  /** Tells an identical second line from a different one. */
  readonly #checksums: Uint32Array;
  readonly #states: Uint8Array;
  /** Model of a succeeded row, error type of an errored one; 0: none. */
  readonly #nameIds: Uint16Array;
  readonly #names: NameTable;
  /** Five counts per row: input, output, cache read, cache write, cache write for one hour. An errored row has none of
   *  them, so the first holds the crc32 of its error message. */
  readonly #tokens: Uint32Array;
  /** Why a succeeded row's answer ended; 0: it does not say. */
  readonly #stopIds: Uint8Array;
  readonly #stops: NameTable;
  /** Four per row, from the beginning of its line: where its text begins and ends, where its result does. A row without text
   *  has two zeros first. All are zero where the row has no answer that can be spliced from one text (see `answerOf`). */
  readonly #spans: Uint32Array;

  /** An empty index, or one that goes on where another left off on its thread. */
  constructor(rows: number, parts?: ResultIndexParts) {
    this.rows = rows;
    this.#offsets = parts?.offsets ?? new Float64Array(rows);
    this.#lengths = parts?.lengths ?? new Uint32Array(rows);
    this.#checksums = parts?.checksums ?? new Uint32Array(rows);
    this.#states = parts?.states ?? new Uint8Array(rows);
    this.#nameIds = parts?.nameIds ?? new Uint16Array(rows);
    this.#names = new NameTable(namesMax, parts?.names);
    this.#tokens = parts?.tokens ?? new Uint32Array(rows * 5);
    this.#stopIds = parts?.stopIds ?? new Uint8Array(rows);
    this.#stops = new NameTable(stopsMax, parts?.stops);
    this.#spans = parts?.spans ?? new Uint32Array(rows * 4);
  }

  /** What it is made of. The memory is its own: after the parts were handed over it must not be used. */
  parts(): ResultIndexParts {
    return {
      offsets: this.#offsets, lengths: this.#lengths, checksums: this.#checksums, states: this.#states, nameIds: this.#nameIds, names: this.#names.names,
      tokens: this.#tokens, stopIds: this.#stopIds, stops: this.#stops.names, spans: this.#spans,
    };
  }

  /** Byte offset of the row's line in the stream; meaningless while its length is 0. */
  offsetOf(index: number): number {
    return this.#offsets[index] ?? 0;
  }

  /** Length of the row's line without its line ending; 0: there is no line, or two that contradict each other. */
  lengthOf(index: number): number {
    return this.#lengths[index] ?? 0;
  }

  /** The line of the row, of which a complete set has one; none while it is missing. */
  placesOf(index: number): readonly { readonly offset: number; readonly length: number }[] {
    const length = this.lengthOf(index);
    return length === 0 ? [] : [{ offset: this.offsetOf(index), length }];
  }

  /** What the provider said of the row. */
  verdictOf(index: number): RowVerdict {
    const name = this.#names.nameOf(this.#nameIds[index] ?? 0);
    switch (this.#states[index]) {
      case stateOf.succeeded:
        return { kind: 'succeeded', usage: this.#usageOf(index), model: name ?? '' };
      case stateOf.errored:
        return errorVerdict(name);
      case stateOf.canceled:
        return { kind: 'dead', reason: 'canceled_externally', errorType: undefined };
      case stateOf.expired:
        return { kind: 'retryable', cause: 'expired', errorType: undefined };
      case stateConflict:
        return { kind: 'dead', reason: 'result_conflict', errorType: undefined };
      default:
        return { kind: 'dead', reason: 'result_missing', errorType: undefined };
    }
  }

  /** The parts of a succeeded row's line; undefined where only the line itself tells them: its answer has several texts, or more stop reasons came than are kept. */
  answerOf(index: number): PlacedAnswer | undefined {
    const at = index * 4;
    const resultTo = this.#spans[at + 3] ?? 0;
    if (this.#states[index] !== stateOf.succeeded || resultTo === 0) return undefined;
    const offset = this.offsetOf(index);
    const [textFrom, textTo, resultFrom] = [this.#spans[at] ?? 0, this.#spans[at + 1] ?? 0, this.#spans[at + 2] ?? 0];
    return {
      model: this.#names.nameOf(this.#nameIds[index] ?? 0) ?? '',
      usage: this.#usageOf(index),
      stopReason: this.#stops.nameOf(this.#stopIds[index] ?? 0) ?? null,
      text: textTo === 0 ? null : { at: offset + textFrom, bytes: textTo - textFrom },
      resultAt: offset + resultFrom,
      resultBytes: resultTo - resultFrom,
    };
  }

  /** Tells the error of an errored row, its type and its message, from other errors; undefined: it is not errored. */
  errorOf(index: number): number | undefined {
    if (this.#states[index] !== stateOf.errored) return undefined;
    return (this.#nameIds[index] ?? 0) * 2 ** 32 + (this.#tokens[index * 5] ?? 0);
  }

  /** Whether the row has neither a line nor a conflict. */
  isMissing(index: number): boolean {
    return this.#states[index] === stateMissing;
  }

  /**
   * Notes a line for a row. For the check only.
   * @returns `unnamable` when the line's model or error type is beyond the bounds on names.
   */
  place(index: number, line: ResultLine, offset: number, length: number, checksum: number): 'placed' | 'same' | 'conflict' | 'unnamable' {
    const state = this.#states[index];
    if (state === stateConflict) return 'conflict';
    if (state !== stateMissing) {
      if (this.#lengths[index] === length && this.#checksums[index] === checksum) return 'same';
      this.#states[index] = stateConflict;
      this.#lengths[index] = 0;
      return 'conflict';
    }
    const named = line.kind === 'succeeded' ? line.model : line.kind === 'errored' ? line.errorType : undefined;
    const nameId = named ? this.#names.idOf(line, named) : 0;
    if (nameId === undefined) return 'unnamable';
    this.#states[index] = stateOf[line.kind];
    this.#offsets[index] = offset;
    this.#lengths[index] = length;
    this.#checksums[index] = checksum;
    this.#nameIds[index] = nameId;
    if (line.kind === 'succeeded') {
      const at = index * 5;
      this.#tokens[at] = line.inputTokens;
      this.#tokens[at + 1] = line.outputTokens;
      this.#tokens[at + 2] = line.cacheReadInputTokens;
      this.#tokens[at + 3] = line.cacheWriteInputTokens;
      this.#tokens[at + 4] = line.cacheWrite1hInputTokens;
      this.#placeAnswer(index, line);
    } else if (line.kind === 'errored') {
      this.#tokens[index * 5] = crc32(line.textOf(line.errorMessage) ?? '');
    }
    return 'placed';
  }

  #placeAnswer(index: number, line: ResultLine): void {
    const { from, texts, result } = line;
    const stopId = this.#stops.idOf(line, line.stopReason);
    if (stopId === undefined || texts.length > 2) return;
    this.#stopIds[index] = stopId;
    const [textFrom = from, textTo = from] = texts;
    const at = index * 4;
    this.#spans[at] = textFrom - from;
    this.#spans[at + 1] = textTo - from;
    this.#spans[at + 2] = result.from - from;
    this.#spans[at + 3] = result.to - from;
  }

  /** Rows by result type. */
  counts(): ResultCounts {
    const byState = [0, 0, 0, 0, 0, 0];
    for (const state of this.#states) byState[state] = (byState[state] ?? 0) + 1;
    const of = (kind: ResultKind): number => byState[stateOf[kind]] ?? 0;
    return { succeeded: of('succeeded'), errored: of('errored'), canceled: of('canceled'), expired: of('expired') };
  }

  #usageOf(index: number): Usage {
    const at = index * 5;
    return {
      inputTokens: this.#tokens[at] ?? 0,
      outputTokens: this.#tokens[at + 1] ?? 0,
      cacheReadInputTokens: this.#tokens[at + 2] ?? 0,
      cacheWriteInputTokens: this.#tokens[at + 3] ?? 0,
      cacheWrite1hInputTokens: this.#tokens[at + 4] ?? 0,
    };
  }
}

/** Errors of the request itself: the same request would fail again (claude-batches.md 1.7, 1.8). */
const invalidRequestTypes: readonly string[] = ['invalid_request_error', 'not_found_error', 'request_too_large'];
/** Errors of the account: nothing is wrong with the request. */
const accountFaultTypes: readonly string[] = ['authentication_error', 'permission_error', 'billing_error'];

/** What an `errored` row means. A type that is not listed counts as a passing fault: attempts bound its repetition. */
export function errorVerdict(errorType: string | undefined): RowVerdict {
  if (errorType !== undefined && invalidRequestTypes.includes(errorType)) {
    return { kind: 'dead', reason: 'invalid_request', errorType };
  }
  if (errorType !== undefined && accountFaultTypes.includes(errorType)) {
    return { kind: 'retryable', cause: 'account_fault', errorType };
  }
  return { kind: 'retryable', cause: 'provider_fault', errorType };
}
