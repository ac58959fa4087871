/**
 * Opens what a producer reads: a file, standard input, or lines made by a program. gzip and zstd are recognised by their
 * first bytes, never by a file name. What comes out is the decompressed bytes, in blocks of about 1 MB whose memory is
 * reused: a block is valid until the next one is asked for.
 */
import { open } from 'node:fs/promises';
import { addAbortSignal, Readable } from 'node:stream';
import { errnoOf, PlimsollError } from '../segments/errors.ts';
import { decompress, expansionMax, isCompressed, magicBytes } from './decompress.ts';

/** Where prompts come from. */
export type SourceLocation =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'stdin'; readonly stream: NodeJS.ReadableStream }
  /** JSONL lines, with or without their newline, made by the caller; `uri` is what the rows will name as their source. */
  | { readonly kind: 'rows'; readonly uri: string; readonly rows: AsyncIterable<Buffer> }
  /** Objects of a bucket, in a fixed order, read as if they were one file; each is compressed or not for itself. */
  | { readonly kind: 'objects'; readonly uri: string; readonly objects: () => AsyncIterable<SourceObject> };

/** One object of a source. */
export interface SourceObject {
  readonly uri: string;
  /** Of what was listed or announced; nothing else is opened. */
  readonly etag: string;
  /** @throws PlimsollError `source_unreadable` when it is not there, `source_damaged` when it was replaced meanwhile */
  open(): Promise<OpenedObject>;
}

/** An object that is being read, and what identifies it. */
export interface OpenedObject {
  readonly uri: string;
  readonly etag: string;
  readonly version: string | undefined;
  /** The bytes as they are stored, from `start` on, up to but without `end`; nothing where the object has ended before. */
  read(start: number, end?: number): AsyncIterable<Buffer>;
}

/** A shorter read halves the throughput (performance.md). */
const blockBytes = 1024 * 1024;
/** What a person would call the source; it stands in messages and in exported rows. */
export function sourceUri(location: SourceLocation): string {
  if (location.kind === 'file') return location.path;
  return location.kind === 'stdin' ? '-' : location.uri;
}

/**
 * Yields the decompressed source. `onObject` is told of each object before its first block; a line never reaches from
 * one object into the next. `skipBytes` of the first object are left out: of a plain one they are not fetched, a
 * compressed one is decompressed from its start.
 * @throws PlimsollError `source_unreadable` when it cannot be opened or read, `source_damaged` when its compression is
 *   broken, ends early, or grows beyond `growthMax` times; the signal's reason when it is aborted
 */
export async function* readSource(
  location: SourceLocation,
  growthMax = expansionMax,
  signal?: AbortSignal,
  onObject: (object: OpenedObject) => void = () => undefined,
  skipBytes = 0,
): AsyncGenerator<Buffer, void, void> {
  if (location.kind === 'objects') {
    yield* readObjects(location.objects(), growthMax, signal, onObject, skipBytes);
    return;
  }
  const uri = sourceUri(location);
  // A pipe may stay silent for hours; only destroying it ends the wait for its next block.
  if (signal && location.kind === 'stdin' && location.stream instanceof Readable) addAbortSignal(signal, location.stream);
  yield* readDecompressed(uri, rawBlocks(location), growthMax, signal);
}

async function* readObjects(
  objects: AsyncIterable<SourceObject>,
  growthMax: number,
  signal: AbortSignal | undefined,
  onObject: (object: OpenedObject) => void,
  skipBytes: number,
): AsyncGenerator<Buffer, void, void> {
  let skip = skipBytes;
  for await (const object of objects) {
    signal?.throwIfAborted();
    const opened = await object.open();
    onObject(opened);
    let last = 0x0a;
    for await (const block of skip > 0 ? readBehind(opened, skip, growthMax, signal) : readOpened(opened, growthMax, signal)) {
      last = block.at(-1) ?? last;
      yield block;
    }
    skip = 0;
    if (last !== 0x0a) yield newlineBlock;
  }
}

/** The decompressed object without its byte order mark; no block is empty. */
async function* readOpened(opened: OpenedObject, growthMax: number, signal: AbortSignal | undefined): AsyncGenerator<Buffer, void, void> {
  let isFirst = true;
  for await (const block of readDecompressed(opened.uri, passed(opened.read(0)), growthMax, signal)) {
    const plain = isFirst && block.subarray(0, byteOrderMark.length).equals(byteOrderMark) ? block.subarray(byteOrderMark.length) : block;
    isFirst = false;
    if (plain.length > 0) yield plain;
  }
}

/** The same without its first `skip` bytes. */
async function* readBehind(opened: OpenedObject, skip: number, growthMax: number, signal: AbortSignal | undefined): AsyncGenerator<Buffer, void, void> {
  const head = await readHead(passed(opened.read(0, magicBytes)));
  if (!isCompressed(head)) {
    const markBytes = head.subarray(0, byteOrderMark.length).equals(byteOrderMark) ? byteOrderMark.length : 0;
    yield* guarded(opened.uri, passed(opened.read(markBytes + skip)), signal);
    return;
  }
  let left = skip;
  for await (const block of readOpened(opened, growthMax, signal)) {
    if (left < block.length) yield block.subarray(left);
    left = Math.max(0, left - block.length);
  }
}

async function* passed(blocks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  yield* blocks;
}

async function* readDecompressed(uri: string, raw: AsyncGenerator<Buffer, void, void>, growthMax: number, signal: AbortSignal | undefined): AsyncGenerator<Buffer, void, void> {
  try {
    yield* guarded(uri, plainBlocks(uri, raw, growthMax), signal);
  } finally {
    await raw.return();
  }
}

async function* plainBlocks(uri: string, raw: AsyncGenerator<Buffer, void, void>, growthMax: number): AsyncGenerator<Buffer, void, void> {
  const head = await readHead(raw);
  if (isCompressed(head)) {
    yield* decompress(uri, head, joined(head, raw), growthMax);
  } else {
    if (head.length > 0) yield head;
    yield* raw;
  }
}

/** Says of a fault in reading what it means. */
async function* guarded(uri: string, blocks: AsyncGenerator<Buffer, void, void>, signal: AbortSignal | undefined): AsyncGenerator<Buffer, void, void> {
  try {
    yield* blocks;
  } catch (error) {
    signal?.throwIfAborted();
    throw readError(error, uri);
  }
}

async function* rawBlocks(location: Exclude<SourceLocation, { kind: 'objects' }>): AsyncGenerator<Buffer, void, void> {
  if (location.kind === 'file') yield* fileBlocks(location.path);
  else if (location.kind === 'rows') yield* rowBlocks(location.rows);
  else for await (const block of location.stream) yield typeof block === 'string' ? Buffer.from(block, 'utf8') : block;
}

async function* fileBlocks(path: string): AsyncGenerator<Buffer, void, void> {
  const file = await open(path, 'r');
  try {
    // Two blocks take turns: while one is cut into lines the kernel fills the other.
    const blocks = [Buffer.allocUnsafeSlow(blockBytes), Buffer.allocUnsafeSlow(blockBytes)] as const;
    let turn: 0 | 1 = 0;
    let reading = file.read(blocks[turn], 0, blockBytes);
    for (;;) {
      const { bytesRead } = await reading;
      if (bytesRead === 0) return;
      const filled = blocks[turn].subarray(0, bytesRead);
      turn = turn === 0 ? 1 : 0;
      reading = file.read(blocks[turn], 0, blockBytes);
      // A failed read is reported by the `await` above, not as an unhandled rejection while a block is worked on.
      reading.catch(() => undefined);
      yield filled;
    }
  } finally {
    await file.close();
  }
}

async function* rowBlocks(rows: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  let parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const row of rows) {
    parts.push(row);
    sizeBytes += row.length;
    if (row[row.length - 1] !== 0x0a) {
      parts.push(newlineBlock);
      sizeBytes += 1;
    }
    if (sizeBytes >= blockBytes) {
      yield Buffer.concat(parts, sizeBytes);
      parts = [];
      sizeBytes = 0;
    }
  }
  if (sizeBytes > 0) yield Buffer.concat(parts, sizeBytes);
}

const newlineBlock = Buffer.from('\n');
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);

/** The first block, or enough of the first short ones to tell what the source is. */
async function readHead(raw: AsyncGenerator<Buffer, void, void>): Promise<Buffer> {
  let head: Buffer = Buffer.alloc(0);
  while (head.length < magicBytes) {
    const next = await raw.next();
    if (next.done) return head;
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  return head;
}

/** The decompressor works on its input while more is read, so it must own its blocks. */
async function* joined(head: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  yield Buffer.from(head);
  for await (const block of rest) yield Buffer.from(block);
}

const openFaults: Readonly<Record<string, { readonly message: string; readonly hint: string }>> = {
  ENOENT: { message: 'there is no such file', hint: 'Check the path; use - to read standard input.' },
  EACCES: { message: 'this user may not read the file', hint: 'Check the permissions of the file and of its folders.' },
  EPERM: { message: 'this user may not read the file', hint: 'Check the permissions of the file and of its folders.' },
  EISDIR: { message: 'this is a folder, not a file', hint: 'Give one file, or join several: cat folder/*.jsonl | plimsoll run - …' },
  ENOTDIR: { message: 'a part of the path is not a folder', hint: 'Check the path.' },
};

function readError(error: unknown, uri: string): unknown {
  const errno = errnoOf(error);
  if (error instanceof PlimsollError || errno === undefined) return error;
  const known = openFaults[errno];
  return new PlimsollError('source_unreadable', {
    message: known?.message ?? `the source cannot be read: ${errno}`,
    where: uri,
    hint: known?.hint ?? 'Check the disk or the pipe that the source comes from.',
    cause: error,
  });
}
