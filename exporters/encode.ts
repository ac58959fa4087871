/**
 * Rows of the export, schema v1 (conventions.md 1 b), as JSON lines. What the provider sent is spliced in as bytes: the
 * `result` value verbatim, and `text` as the still escaped strings of the answer's text blocks one after the other, which
 * is the JSON of their concatenation. No answer is parsed, decoded or stringified again.
 *
 * One real row, shortened:
 *   {"run_key":"nightly-2026-11-21","batch_id":"msgbatch_…","id":"invoice-1041","source_uri":"in.jsonl",
 *    "source_row":1041,"status":"succeeded","model":"claude-haiku-4-5-20251001","stop_reason":"end_turn","text":"…",
 *    "reason":null,"error_type":null,"error_message":null,"usage":{"input_tokens":16,…},
 *    "cost_usd_estimated":0.0000205,"price_version":"2026-11-21","attempt":1,"accepted_at":"2026-11-21T01:00:00.000Z",
 *    "submitted_at":"…","ended_at":"…","request_sha256":"9f…","metadata":{"batch":"a"},"result":{…}}
 *
 * `cost_usd_estimated` is exact, a plain decimal of at most fifteen places, so rows can be added up. The ledger, manifests and
 * reports round up once for each part of a chunk's spending (`spend.ts`): they are above the sum of their rows, by less than
 * a micro-USD for each part. Rows of an outcome without `rounding` are rounded half up to the micro-USD, as they were.
 */
import type { ChunkRow } from '../segments/chunk.ts';
import { notSampledReason, type ArchiveOutcome, type DeadRow } from '../segments/outcome.ts';
import { femtoUsdText } from '../segments/price.ts';
import type { PlacedAnswer } from '../segments/result-index.ts';
import type { ResultLine } from '../segments/result-line.ts';
import type { Usage } from '../segments/segment.ts';

/** Longest error message of a row, in characters; the whole one stands in `result`. */
export const errorMessageMax = 1000;

const quote = 0x22;
const noText = 'null';
const rowEnd = '}\n';

/** A line read into memory, to splice from. */
export interface SourceLine {
  readonly bytes: Buffer;
  readonly line: ResultLine;
}

/** What the provider said of an answered prompt. */
export type RowSaid = Pick<PlacedAnswer, 'model' | 'stopReason' | 'usage'>;

/** The row of an answered prompt before its text, and between its text and its result. */
export interface RowWords {
  readonly head: string;
  readonly middle: string;
}

/** Reads bytes of the results into a buffer. */
export interface AnswerBytes {
  readInto(target: Buffer, at: number, offset: number, length: number): void;
}

/** Encodes the rows of one archive. A returned view is valid until the next call. */
export class RowEncoder {
  readonly #runKey: string;
  readonly #source: string;
  readonly #price: string;
  readonly #tail: string;
  #out = Buffer.allocUnsafeSlow(256 * 1024);
  #used = 0;

  constructor(outcome: ArchiveOutcome) {
    this.#runKey = `{"run_key":${JSON.stringify(outcome.run)},"batch_id":${JSON.stringify(outcome.batch)},"id":`;
    this.#source = `,"source_uri":${JSON.stringify(outcome.source)},"source_row":`;
    const times = [outcome.acceptedAtMs, outcome.submittedAtMs, outcome.endedAtMs].map((ms) => JSON.stringify(isoTime(ms)));
    this.#tail = `,"accepted_at":${times[0]},"submitted_at":${times[1]},"ended_at":${times[2]},"request_sha256":`;
    this.#price = `,"price_version":${JSON.stringify(outcome.priceVersion)},"attempt":`;
  }

  /** The words of an answered prompt's row. `femtoUsd`: what it cost; null where nobody knows a price. */
  wordsOf(row: ChunkRow, attempt: number, said: RowSaid, femtoUsd: bigint | null): RowWords {
    return {
      head: `${this.#head(row, 'succeeded', said.model)},"stop_reason":${jsonOf(said.stopReason)},"text":`,
      middle:
        `,"reason":null,"error_type":null,"error_message":null,"usage":${usageJson(said.usage)}` +
        `,"cost_usd_estimated":${femtoUsd === null ? 'null' : femtoUsdText(femtoUsd)}${this.#end(row, attempt)}`,
    };
  }

  /** The row of an answered prompt, from the line that answers it. */
  succeeded({ head, middle }: RowWords, source: SourceLine): Buffer {
    const { result } = source.line;
    this.#used = 0;
    this.#text(head);
    this.#answer(source);
    this.#text(middle);
    this.#bytes(source.bytes, result.from, result.to);
    this.#text(rowEnd);
    return this.#out.subarray(0, this.#used);
  }

  /** The same row where only the places of its parts are known. */
  spliced(words: RowWords, answer: PlacedAnswer, answers: AnswerBytes): Buffer {
    this.#used = 0;
    this.#reserve(splicedBytesMax(words, answer));
    this.#used = splice(this.#out, 0, words, answer, answers);
    return this.#out.subarray(0, this.#used);
  }

  /** The row of a dead letter. `source` is undefined where no trustworthy line answers the row. */
  deadLettered(row: ChunkRow, attempt: number, source: SourceLine | undefined, dead: DeadRow): Buffer {
    const message = source?.line.textOf(source.line.errorMessage);
    this.#used = 0;
    this.#text(
      `${this.#head(row, 'dead_lettered', row.model)},"stop_reason":null,"text":null,"reason":${JSON.stringify(dead.reason)}` +
        `,"error_type":${jsonOf(dead.errorType)},"error_message":${jsonOf(message === undefined ? null : shortened(message))}` +
        `,"usage":null,"cost_usd_estimated":null${this.#end(row, attempt)}`,
    );
    if (source) this.#bytes(source.bytes, source.line.result.from, source.line.result.to);
    else this.#text('null');
    this.#text(rowEnd);
    return this.#out.subarray(0, this.#used);
  }

  /** The row of a prompt that a replan has left out of its sample. */
  notSampled(row: ChunkRow, attempt: number): Buffer {
    this.#used = 0;
    this.#text(
      `${this.#head(row, 'not_sampled', row.model)},"stop_reason":null,"text":null,"reason":"${notSampledReason}","error_type":null,"error_message":null` +
        `,"usage":null,"cost_usd_estimated":null${this.#end(row, attempt)}null}\n`,
    );
    return this.#out.subarray(0, this.#used);
  }

  #head(row: ChunkRow, status: string, model: string): string {
    const { origin } = row;
    const source = origin === undefined
      ? `${this.#source}${row.row}`
      : `,"source_uri":${JSON.stringify(origin.uri)},"source_row":${origin.row},"source_etag":${JSON.stringify(origin.etag)},"source_version":${jsonOf(origin.version ?? null)}`;
    return `${this.#runKey}${JSON.stringify(row.id)}${source},"status":"${status}","model":${JSON.stringify(model)}`;
  }

  #end(row: ChunkRow, attempt: number): string {
    const metadata = row.metadata === undefined ? 'null' : JSON.stringify(row.metadata);
    return `${this.#price}${attempt}${this.#tail}"${row.sha}","metadata":${metadata},"result":`;
  }

  /** All text blocks as one string; null when the answer has none (it may be a tool call alone). */
  #answer(source: SourceLine): void {
    const { texts } = source.line;
    if (texts.length === 0) return this.#text('null');
    this.#text('"');
    for (let i = 0; i < texts.length; i += 2) this.#bytes(source.bytes, texts[i] ?? 0, texts[i + 1] ?? 0);
    this.#text('"');
  }

  #text(text: string): void {
    // A UTF-16 unit takes at most three bytes of UTF-8.
    this.#reserve(text.length * 3);
    this.#used += this.#out.write(text, this.#used, 'utf8');
  }

  #bytes(bytes: Buffer, from: number, to: number): void {
    this.#reserve(to - from);
    this.#used += bytes.copy(this.#out, this.#used, from, to);
  }

  #reserve(bytes: number): void {
    const needed = this.#used + bytes;
    if (needed <= this.#out.length) return;
    const wider = Buffer.allocUnsafeSlow(Math.max(needed, this.#out.length * 2));
    this.#out.copy(wider, 0, 0, this.#used);
    this.#out = wider;
  }
}

/** No row that {@link splice} writes is longer, bytes. A UTF-16 unit takes at most three bytes of UTF-8. */
export function splicedBytesMax({ head, middle }: RowWords, { text, resultBytes }: PlacedAnswer): number {
  return (head.length + middle.length) * 3 + Math.max(noText.length, (text?.bytes ?? 0) + 2) + resultBytes + rowEnd.length;
}

/**
 * Writes the row of an answered prompt to `target` and returns where it ends. The result is read straight to its place, and
 * its text is copied from there: of all bytes of a row these are nearly all, and every copy of them shows.
 */
export function splice(target: Buffer, from: number, { head, middle }: RowWords, { text, resultAt, resultBytes }: PlacedAnswer, answers: AnswerBytes): number {
  const textAt = from + target.write(head, from, 'utf8') + 1;
  const textTo = text ? textAt + text.bytes + 1 : textAt - 1 + target.write(noText, textAt - 1, 'latin1');
  const resultFrom = textTo + target.write(middle, textTo, 'utf8');
  const end = resultFrom + resultBytes;
  answers.readInto(target, resultFrom, resultAt, resultBytes);
  if (text) {
    const copied = resultFrom + text.at - resultAt;
    target[textAt - 1] = quote;
    target.copyWithin(textAt, copied, copied + text.bytes);
    target[textTo - 1] = quote;
  }
  return end + target.write(rowEnd, end, 'latin1');
}

/** The four token counts of a document, in their fixed order. */
export interface UsageDocument {
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly cache_read_input_tokens: number;
  readonly cache_write_input_tokens: number;
}

export function usageDocument(usage: Usage): UsageDocument {
  return {
    input_tokens: usage.inputTokens,
    output_tokens: usage.outputTokens,
    cache_read_input_tokens: usage.cacheReadInputTokens,
    cache_write_input_tokens: usage.cacheWriteInputTokens,
  };
}

/** ISO 8601 with milliseconds, UTC; null stays null. */
export function isoTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

/** The JSON of {@link usageDocument}, without the object: there is one per row. */
function usageJson(usage: Usage): string {
  return (
    `{"input_tokens":${usage.inputTokens},"output_tokens":${usage.outputTokens},` +
    `"cache_read_input_tokens":${usage.cacheReadInputTokens},"cache_write_input_tokens":${usage.cacheWriteInputTokens}}`
  );
}

function jsonOf(value: string | number | null | undefined): string {
  return value === undefined ? 'null' : JSON.stringify(value);
}

/** Cut between characters, never inside a surrogate pair. */
function shortened(message: string): string {
  if (message.length <= errorMessageMax) return message;
  const cut = message.slice(0, errorMessageMax - 1);
  const last = cut.charCodeAt(cut.length - 1);
  return `${last >= 0xd800 && last <= 0xdbff ? cut.slice(0, -1) : cut}…`;
}
