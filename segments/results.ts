/**
 * Verifies a batch's results as one complete set (reliability.md 4.7) while they stream by, and keeps for every row of
 * the archive where its line stands and what it says. Pure: blocks of bytes come in, an index and a verdict go out.
 *
 * The provider returns the rows in any order. Each `custom_id` carries the row's index and a checksum over the archive,
 * the index and the prompt, so the join is an array index, and a line that belongs to another archive, another
 * installation or another prompt cannot take a row's place.
 *
 * Invariants
 *   R1  `isComplete` is true only when the stream ends with a newline, every line is a result, every row of the archive
 *       has exactly one result (repeated identical lines count as one), no line is foreign, and the counts are the
 *       provider's own.
 *   R2  Memory is O(rows), at most 60 bytes each, plus one block and one line; time is linear in the stream's length.
 *   R3  A row whose lines contradict each other has no result: neither of them is believed.
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { CustomIdReader } from './custom-id.ts';
import { ResultIndex, type ResultCounts } from './result-index.ts';
import { ResultLine } from './result-line.ts';
import type { ArchiveId } from './segment.ts';

/** What the archive's results must be. */
export interface ExpectedRows {
  readonly archive: ArchiveId;
  readonly rows: number;
  /** Hex sha256 of the params of row `index`, for the check inside its `custom_id`. */
  readonly shaOf: (index: number) => string;
  /** The same of all rows, one after the other in shared memory, where somebody has it. */
  readonly shas?: Buffer;
}

export const resultsFaultCodes = [
  'no_final_newline',
  'line_too_long',
  'line_unparseable',
  'row_missing',
  'row_duplicate',
  'row_conflict',
  'row_foreign',
  'check_mismatch',
  'counts_differ',
] as const;
export type ResultsFaultCode = (typeof resultsFaultCodes)[number];

/** One thing that is wrong. `line` counts from 1, `index` is the row's place in the archive; undefined: not known. */
export interface ResultsFault {
  readonly code: ResultsFaultCode;
  readonly line: number | undefined;
  readonly index: number | undefined;
}

/** What the check found. */
export interface ResultsCheck {
  /** R1. A `row_duplicate` alone does not make a set incomplete. */
  readonly isComplete: boolean;
  /** The first {@link faultsListedMax} faults; `faultCounts` counts all of them. */
  readonly faults: readonly ResultsFault[];
  readonly faultCounts: Readonly<Record<ResultsFaultCode, number>>;
  readonly index: ResultIndex;
  /** Rows of the archive by result type, each counted once; conflicting and missing rows are in none. */
  readonly counts: ResultCounts;
  readonly sizeBytes: number;
  /** sha256 of the whole stream, hex. */
  readonly sha256: string;
}

/** Longest line that is read (reliability.md 4.7); a longer one is a fault, not an exhausted memory. */
export const lineBytesMax = 64 * 1024 * 1024;
export const faultsListedMax = 100;
const newline = 0x0a;
const carriageReturn = 0x0d;

/**
 * Checks a stream of result lines against the archive they must answer. `requestCounts` are the provider's own; undefined: they are not compared.
 */
export async function checkResults(
  blocks: Iterable<Buffer> | AsyncIterable<Buffer>,
  expected: ExpectedRows,
  requestCounts?: ResultCounts,
): Promise<ResultsCheck> {
  const checker = new ResultsChecker(expected);
  const hash = createHash('sha256');
  for await (const block of blocks) {
    hash.update(block);
    checker.add(block);
  }
  return { ...checker.end(requestCounts), sha256: hash.digest('hex') };
}

/** The check, block by block, without the digest of the stream; for those who cannot hand over a stream. */
export class ResultsChecker {
  readonly #expected: ExpectedRows;
  readonly #index: ResultIndex;
  readonly #line = new ResultLine();
  readonly #ids: CustomIdReader;
  readonly #faults: ResultsFault[] = [];
  readonly #faultCounts: Record<ResultsFaultCode, number> = emptyFaultCounts();
  /** The beginning of a line that goes on in the next block. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #isSkipping = false;
  #lineNumber = 1;
  #lineOffset = 0;
  #sizeBytes = 0;

  constructor(expected: ExpectedRows) {
    this.#expected = expected;
    this.#ids = new CustomIdReader(expected.archive);
    this.#index = new ResultIndex(expected.rows);
  }

  /** Takes the next block; what is kept of it is copied. */
  add(block: Buffer): void {
    let from = 0;
    const isWellEncoded = isUtf8(block.subarray(block.indexOf(newline) + 1, block.lastIndexOf(newline) + 1));
    for (let to = block.indexOf(newline); to >= 0; to = block.indexOf(newline, from)) {
      if (this.#pieceBytes > 0) this.#endJoined(block.subarray(from, to + 1));
      else this.#endLine(block, from, to, isWellEncoded && from > 0);
      this.#lineNumber++;
      this.#lineOffset = this.#sizeBytes + to + 1;
      from = to + 1;
    }
    if (from < block.length) this.#keep(block.subarray(from));
    this.#sizeBytes += block.length;
  }

  /** The stream has ended. */
  end(requestCounts: ResultCounts | undefined): Omit<ResultsCheck, 'sha256'> {
    if (this.#pieceBytes > 0) this.#fault('no_final_newline', this.#lineNumber, undefined);
    for (let index = 0; index < this.#expected.rows; index++) {
      if (this.#index.isMissing(index)) this.#fault('row_missing', undefined, index);
    }
    const counts = this.#index.counts();
    const differs =
      requestCounts !== undefined &&
      (counts.succeeded !== requestCounts.succeeded ||
        counts.errored !== requestCounts.errored ||
        counts.canceled !== requestCounts.canceled ||
        counts.expired !== requestCounts.expired);
    if (differs) this.#fault('counts_differ', undefined, undefined);
    const faultCounts = this.#faultCounts;
    return {
      isComplete: resultsFaultCodes.every((code) => code === 'row_duplicate' || faultCounts[code] === 0),
      faults: this.#faults,
      faultCounts,
      index: this.#index,
      counts,
      sizeBytes: this.#sizeBytes,
    };
  }

  #keep(piece: Buffer): void {
    this.#pieceBytes += piece.length;
    // An endless line is dropped as it comes; its bytes are counted so that its end is recognised.
    if (this.#pieceBytes > lineBytesMax) {
      this.#isSkipping = true;
      this.#pieces = [];
    }
    // The memory of the block may be filled again.
    if (!this.#isSkipping) this.#pieces.push(Buffer.from(piece));
  }

  #endJoined(last: Buffer): void {
    this.#keep(last);
    if (this.#isSkipping) {
      this.#fault('line_too_long', this.#lineNumber, undefined);
    } else {
      const line = Buffer.concat(this.#pieces, this.#pieceBytes);
      this.#endLine(line, 0, line.length - 1, false);
    }
    this.#pieces = [];
    this.#pieceBytes = 0;
    this.#isSkipping = false;
  }

  /** Takes one whole line; `bytes[to]` is its newline. */
  #endLine(bytes: Buffer, from: number, newlineAt: number, isKnownUtf8: boolean): void {
    const to = newlineAt > from && bytes[newlineAt - 1] === carriageReturn ? newlineAt - 1 : newlineAt;
    const line = this.#line;
    if (to - from > lineBytesMax) return this.#fault('line_too_long', this.#lineNumber, undefined);
    if (!line.read(bytes, from, to, isKnownUtf8)) return this.#fault('line_unparseable', this.#lineNumber, undefined);
    const id = line.customId;
    const index = id.isEscaped ? -1 : this.#ids.indexOf(bytes, id.from, id.to);
    const { rows, shaOf } = this.#expected;
    if (index < 0 || index >= rows) return this.#fault('row_foreign', this.#lineNumber, undefined);
    if (!this.#ids.matches(bytes, id.from, index, shaOf(index))) return this.#fault('check_mismatch', this.#lineNumber, index);
    const checksum = crc32(bytes.subarray(from, to));
    const found = this.#index.place(index, line, this.#lineOffset, to - from, checksum);
    if (found === 'same') this.#fault('row_duplicate', this.#lineNumber, index);
    else if (found === 'conflict') this.#fault('row_conflict', this.#lineNumber, index);
    else if (found === 'unnamable') this.#fault('line_unparseable', this.#lineNumber, index);
  }

  #fault(code: ResultsFaultCode, line: number | undefined, index: number | undefined): void {
    this.#faultCounts[code]++;
    if (this.#faults.length < faultsListedMax) this.#faults.push({ code, line, index });
  }
}

function emptyFaultCounts(): Record<ResultsFaultCode, number> {
  return {
    no_final_newline: 0,
    line_too_long: 0,
    line_unparseable: 0,
    row_missing: 0,
    row_duplicate: 0,
    row_conflict: 0,
    row_foreign: 0,
    check_mismatch: 0,
    counts_differ: 0,
  };
}
