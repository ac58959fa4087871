/**
 * The rejects file: one JSON line for every line of the source that was refused, in the order of the source. It grows on
 * the scratch disk and goes to the lake in one piece, compressed, when the source was read to its end. What a section has
 * refused goes to the journal at the section's end, so that a restart behind it has these rows too.
 *
 * One real row:
 *   {"line":118,"byte_offset":402811,"column":42,"code":"invalid_json","message":"docs.jsonl:118:42: invalid JSON: expected
 *    ',' or '}'","raw":"{\"id\":\"a-118\" …","run_key":"nightly","source_uri":"docs.jsonl","status":"rejected"}
 *
 * Invariants
 *   R1  Equal sources give equal bytes: no clock, no random, fixed compression, so a repeated run meets its own object.
 *       Each section is a gzip member of its own; readers of gzip take members that follow each other as one file.
 *   R2  `raw` is bounded to 64 KiB; a line that is not UTF-8 is kept as `raw_base64`, so nothing is lost by decoding it.
 */
import { isUtf8 } from 'node:buffer';
import { createHash, randomUUID } from 'node:crypto';
import { closeSync, createReadStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { createGunzip, createGzip } from 'node:zlib';
import { invariant, PlimsollError } from '../segments/errors.ts';
import type { RunKey } from '../segments/segment.ts';
import type { Store } from '../segments/store/store.ts';
import type { Fault, FaultCode } from './faults.ts';
import { keptBytes } from './lines.ts';
import type { Line } from './lines.ts';
import { appendScratch, createScratch } from './scratch-file.ts';

const bufferedBytes = 256 * 1024;

/** Column of a byte offset in a line, counted in characters from 1. */
export function columnOf(line: Uint8Array, at: number): number {
  let characters = 1;
  for (let index = 0; index < at && index < line.length; index += 1) if (((line[index] ?? 0) & 0xc0) !== 0x80) characters += 1;
  return characters;
}

/** `file:line[:column]: problem`. */
export function faultMessage(uri: string, line: Line, found: Fault): string {
  const column = found.at === undefined ? '' : `:${columnOf(line.bytes, found.at)}`;
  return `${line.origin?.uri ?? uri}:${line.origin?.row ?? line.row}${column}: ${found.problem}`;
}

/** One refused line as a plan lists it: where it is and what is wrong with it, without a byte of it. */
export interface RejectedLine {
  /** 1-based, in the source; in its object where a source is made of objects, which `source_uri` then names. */
  readonly line: number;
  /** In characters from 1, where it helps. */
  readonly column?: number;
  readonly code: FaultCode;
  /** `file:line[:column]: problem`. */
  readonly message: string;
  readonly source_uri?: string;
}

/** What a plan lists of a line. */
export function rejectedLine(uri: string, line: Line, found: Fault): RejectedLine {
  return {
    line: line.origin?.row ?? line.row,
    ...(found.at === undefined ? {} : { column: columnOf(line.bytes, found.at) }),
    code: found.code,
    message: faultMessage(uri, line, found),
    ...(line.origin && { source_uri: line.origin.uri }),
  };
}

/** The row that stands in the rejects file. */
export function rejectRow(run: RunKey, uri: string, line: Line, found: Fault): Readonly<Record<string, unknown>> {
  const { raw, isWhole } = boundedRaw(line);
  return {
    line: line.origin?.row ?? line.row,
    byte_offset: line.origin?.byteOffset ?? line.byteOffset,
    ...(found.at === undefined ? {} : { column: columnOf(line.bytes, found.at) }),
    code: found.code,
    message: faultMessage(uri, line, found),
    ...(isUtf8(raw) ? { raw: raw.toString('utf8') } : { raw_base64: raw.toString('base64') }),
    ...(isWhole ? {} : { raw_bytes: line.sizeBytes }),
    run_key: run,
    source_uri: line.origin?.uri ?? uri,
    ...(line.origin && { source_etag: line.origin.etag, source_version: line.origin.version ?? null }),
    status: 'rejected',
  };
}

function boundedRaw(line: Line): { readonly raw: Buffer; readonly isWhole: boolean } {
  if (line.sizeBytes <= keptBytes) return { raw: line.bytes, isWhole: true };
  let end = Math.min(keptBytes, line.bytes.length);
  // A character that the cut divides is left out, unless the line is no UTF-8 anyway.
  while (end > keptBytes - 4 && end > 0 && ((line.bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return { raw: line.bytes.subarray(0, end), isWhole: false };
}

export class RejectsFile {
  readonly #run: RunKey;
  readonly #uri: string;
  readonly #path: string;
  readonly #keptPath: string;
  #descriptor: number | undefined;
  #rows: string[] = [];
  #bufferedBytes = 0;
  #writtenBytes = 0;
  /** Where the sections end that have ended, in the file. */
  readonly #sectionEnds: number[] = [];
  #count = 0;

  /** Nothing is created before the first reject. */
  constructor(run: RunKey, uri: string, scratchDirectory: string) {
    this.#run = run;
    this.#uri = uri;
    this.#path = join(scratchDirectory, `${run}.${randomUUID()}.rejects.part`);
    this.#keptPath = join(scratchDirectory, `${run}.rejects.jsonl`);
  }

  get count(): number {
    return this.#count;
  }

  /** Adds a row. Written synchronously in large steps: a source of nothing but bad lines must not fill the memory. */
  add(line: Line, found: Fault): void {
    const row = `${JSON.stringify(rejectRow(this.#run, this.#uri, line, found))}\n`;
    this.#rows.push(row);
    this.#bufferedBytes += row.length;
    this.#count += 1;
    if (this.#bufferedBytes >= bufferedBytes) this.#write();
  }

  /** Puts the file into the lake, compressed. @throws PlimsollError `lake_conflict`, `lake_full`, `lake_unavailable` */
  async publish(store: Pick<Store, 'put'>, key: string): Promise<void> {
    this.#close();
    await putTwice(store, key, () => this.#compressedSections());
    await this.discard();
  }

  /**
   * Ends a section. With a key, what it has refused goes to the lake under it, if it has refused anything.
   * @throws PlimsollError `lake_conflict`, `lake_full`, `lake_unavailable`
   */
  async endSection(store: Pick<Store, 'put'>, key: string | undefined): Promise<void> {
    this.#write();
    const from = this.#sectionEnds.at(-1) ?? 0;
    const to = this.#writtenBytes;
    if (to === from) return;
    if (key !== undefined) await putTwice(store, key, () => this.#compressed(from, to));
    this.#sectionEnds.push(to);
  }

  /** Takes over what earlier sections have refused: `count` rows in the objects that `endSection` has put under `keys`. */
  async restore(store: Pick<Store, 'read'>, keys: readonly string[], count: number): Promise<void> {
    for (const key of keys) {
      const plain = createGunzip();
      pipeline(store.read(key), plain, () => undefined);
      for await (const block of plain as AsyncIterable<Buffer>) this.#append(block);
      this.#sectionEnds.push(this.#writtenBytes);
    }
    this.#count += count;
  }

  /** Leaves the file on the scratch disk, plain, for the person who has to mend the source, and returns its path. */
  async keep(): Promise<string> {
    this.#close();
    await rename(this.#path, this.#keptPath);
    return this.#keptPath;
  }

  /** Removes what was written. Safe to call again, and after `keep`. */
  async discard(): Promise<void> {
    this.#close();
    await rm(this.#path, { force: true });
  }

  async *#compressedSections(): AsyncGenerator<Buffer, void, void> {
    let from = 0;
    for (const to of [...this.#sectionEnds, this.#writtenBytes]) {
      if (to > from) yield* this.#compressed(from, to);
      from = to;
    }
  }

  #compressed(from: number, to: number): AsyncIterable<Buffer> {
    // Gzip headers made by zlib carry no time, so equal rows give equal bytes (R1).
    const gzip = createGzip({ level: 6 });
    // The iteration over the result reports an error of either stream; the callback keeps it from being unhandled.
    pipeline(createReadStream(this.#path, { start: from, end: to - 1 }), gzip, () => undefined);
    return gzip as AsyncIterable<Buffer>;
  }

  #write(): void {
    if (this.#rows.length === 0) return;
    this.#append(Buffer.from(this.#rows.join(''), 'utf8'));
    this.#rows = [];
    this.#bufferedBytes = 0;
  }

  #append(bytes: Buffer): void {
    this.#descriptor ??= createScratch(this.#path, 'the rejects file');
    appendScratch(this.#descriptor, bytes, this.#path, 'the rejects file');
    this.#writtenBytes += bytes.length;
  }

  #close(): void {
    this.#write();
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}

/** The error for a source with more bad lines than are borne; keeps the rejects file where the message says. */
export async function tooManyRejects(rejects: RejectsFile, rows: number, uri: string, consequence: string): Promise<PlimsollError> {
  const { count } = rejects;
  invariant(count > 0, 'a bound on bad lines was broken without a bad line');
  const path = await rejects.keep();
  return new PlimsollError('input_rejected', {
    message: `${count} of ${rows} lines of ${uri} are bad, more than the bounds allow; ${consequence}`,
    where: path,
    hint: 'Every bad line is listed there with its reason. Mend them, or allow more with --max-bad-rows.',
  });
}

/** Puts what a function yields, each time the same. Made twice rather than stored twice: the first pass learns size and digest. */
async function putTwice(store: Pick<Store, 'put'>, key: string, blocks: () => AsyncIterable<Buffer>): Promise<void> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const block of blocks()) {
    hash.update(block);
    sizeBytes += block.length;
  }
  await store.put(key, { blocks: blocks(), sizeBytes, sha256: hash.digest('hex') });
}
