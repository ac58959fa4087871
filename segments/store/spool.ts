/** Reads chunks back from the lake: their index, and the bytes of their prompts. */
import { decodeIndex, indexOffset, type ChunkRow } from '../chunk.ts';
import { invariant } from '../errors.ts';
import { decodeMarks, shaDigits, shaReader, type RowMarks } from '../row-mark.ts';
import type { Store } from './store.ts';

/** The part of the store that reading chunks takes. */
export type SpoolReader = Pick<Store, 'read' | 'readWhole'>;

/** The rows `from..to` (0-based, inclusive) of one spool object; what a chunk record and a journaled manifest share. */
export interface SpoolRange {
  readonly spoolKey: string;
  /** Rows, params bytes and index bytes of the whole spool object. */
  readonly spoolRows: number;
  readonly spoolParamsBytes: number;
  readonly spoolIndexBytes: number;
  readonly from: number;
  readonly to: number;
}

/** The rows of a range and where their params begin in the spool object. */
export interface SpoolRows {
  readonly rows: readonly ChunkRow[];
  readonly paramsStart: number;
  /** Bytes of the params section of the range, newlines included. */
  readonly paramsLength: number;
}

/** Reads the index of a range. @throws PlimsollError `lake_missing`; RangeError when the index contradicts the record */
export async function readSpoolRows(store: SpoolReader, range: SpoolRange): Promise<SpoolRows> {
  const all = decodeIndex(await readIndex(store, range), range.spoolRows, range.spoolParamsBytes);
  const before = all.slice(0, range.from).reduce((sum, row) => sum + row.bytes + 1, 0);
  const rows = all.slice(range.from, range.to + 1);
  const paramsLength = rows.reduce((sum, row) => sum + row.bytes + 1, 0);
  return { rows, paramsStart: before, paramsLength };
}

/** The marks of all rows of a range's spool object: what a body needs of them, at a fraction of the cost. Throws alike. */
export async function readSpoolMarks(store: SpoolReader, range: SpoolRange): Promise<RowMarks> {
  return decodeMarks(await readIndex(store, range), range.spoolRows, range.spoolParamsBytes);
}

/** The sha256 of the params of every row of an archive. */
export interface PromptDigests {
  /** All of them in hex, one after the other in the order of the rows, in memory that other threads can be shown. */
  readonly shas: Buffer;
  readonly shaOf: (index: number) => string;
}

/**
 * Reads the digests of an archive's prompts. A hundred thousand of them are held as
 * 6.4 MB of plain bytes; the index rows that they stand in would be ten times as much, for as long as a download takes.
 * Throws as {@link readSpoolMarks} does.
 */
export async function readPromptDigests(store: SpoolReader, ranges: readonly SpoolRange[]): Promise<PromptDigests> {
  const shas = Buffer.from(new SharedArrayBuffer(ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0) * shaDigits));
  let at = 0;
  for (const range of ranges) {
    const { section, shaAt } = await readSpoolMarks(store, range);
    for (const from of shaAt.subarray(range.from, range.to + 1)) at += section.copy(shas, at, from, from + shaDigits);
  }
  return { shas, shaOf: shaReader(shas) };
}

async function readIndex(store: SpoolReader, range: SpoolRange): Promise<Buffer> {
  const start = indexOffset({ rows: range.spoolRows, paramsBytes: range.spoolParamsBytes });
  return await store.readWhole(range.spoolKey, { start, end: start + range.spoolIndexBytes });
}

/** Yields the params of each row of a range, in order. A yielded buffer may be shared with the next block; copy to keep. */
export async function* readSpoolParams(store: SpoolReader, range: SpoolRange, spooled: SpoolRows): AsyncGenerator<Buffer> {
  const { rows, paramsStart, paramsLength } = spooled;
  const blocks = store.read(range.spoolKey, { start: paramsStart, end: paramsStart + paramsLength });
  let rest: Buffer = Buffer.alloc(0);
  let index = 0;
  for await (const block of blocks) {
    let data: Buffer = rest.length === 0 ? block : Buffer.concat([rest, block]);
    for (let row = rows[index]; row && data.length > row.bytes; row = rows[index]) {
      invariant(data[row.bytes] === 0x0a, `${range.spoolKey}: row ${range.from + index} does not end where its index says`);
      yield data.subarray(0, row.bytes);
      data = data.subarray(row.bytes + 1);
      index += 1;
    }
    rest = data;
  }
  invariant(index === rows.length, `${range.spoolKey}: ${index} of ${rows.length} rows could be read`);
}
