/**
 * Opens what a producer reads: a file, standard input, or lines made by a program. gzip and zstd are recognised by their
 * first bytes, never by a file name. What comes out is the decompressed bytes, in blocks of about 1 MB whose memory is
 * reused: a block is valid until the next one is asked for.
 */
import { open } from 'node:fs/promises';
import { addAbortSignal, pipeline, Readable } from 'node:stream';
import * as zlib from 'node:zlib';
import { errnoOf, PlimsollError } from '../segments/errors.ts';

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
  /** @throws PlimsollError `source_unreadable` when it is not there, `source_damaged` when it was replaced meanwhile */
  open(): Promise<OpenedObject>;
}

/** An object that is being read, and what identifies it. */
export interface OpenedObject {
  readonly uri: string;
  readonly etag: string;
  readonly version: string | undefined;
  readonly blocks: AsyncIterable<Buffer>;
}

/** A shorter read halves the throughput (performance.md). */
const blockBytes = 1024 * 1024;
/**
 * How many times its size a compressed source may grow. Prompts that repeat a long instruction reach 100 honestly, which
 * is the cap that reliability.md 4.11 names; a bomb made for gzip grows 1,000 times, one for zstd far more.
 */
export const expansionMax = 200;
/** Growth is judged from here on: a smaller output does no harm, whatever it came from. */
export const expansionJudgedBytes = 16 * 1024 * 1024;

const gzipMagic = Buffer.from([0x1f, 0x8b]);
const zstdMagic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const magicBytes = 4;

/** What a person would call the source; it stands in messages and in exported rows. */
export function sourceUri(location: SourceLocation): string {
  if (location.kind === 'file') return location.path;
  return location.kind === 'stdin' ? '-' : location.uri;
}

/**
 * Yields the decompressed source. `onObject` is told of each object before its first block; a line never reaches from
 * one object into the next.
 * @throws PlimsollError `source_unreadable` when it cannot be opened or read, `source_damaged` when its compression is
 *   broken, ends early, or grows beyond `growthMax` times; the signal's reason when it is aborted
 */
export async function* readSource(
  location: SourceLocation,
  growthMax = expansionMax,
  signal?: AbortSignal,
  onObject: (object: OpenedObject) => void = () => undefined,
): AsyncGenerator<Buffer, void, void> {
  if (location.kind === 'objects') {
    yield* readObjects(location.objects(), growthMax, signal, onObject);
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
): AsyncGenerator<Buffer, void, void> {
  for await (const object of objects) {
    signal?.throwIfAborted();
    const opened = await object.open();
    onObject(opened);
    let isFirst = true;
    let last = 0x0a;
    for await (const block of readDecompressed(opened.uri, passed(opened.blocks), growthMax, signal)) {
      const plain = isFirst && block.subarray(0, byteOrderMark.length).equals(byteOrderMark) ? block.subarray(byteOrderMark.length) : block;
      isFirst = false;
      last = plain.at(-1) ?? last;
      if (plain.length > 0) yield plain;
    }
    if (last !== 0x0a) yield newlineBlock;
  }
}

async function* passed(blocks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  yield* blocks;
}

async function* readDecompressed(uri: string, raw: AsyncGenerator<Buffer, void, void>, growthMax: number, signal: AbortSignal | undefined): AsyncGenerator<Buffer, void, void> {
  try {
    const head = await readHead(raw);
    if (head.subarray(0, 2).equals(gzipMagic)) {
      yield* decompress(uri, joined(head, raw), zlib.createGunzip({ chunkSize: blockBytes }), growthMax);
    } else if (head.subarray(0, magicBytes).equals(zstdMagic)) {
      yield* decompress(uri, joined(head, raw), zstdDecompressor(uri), growthMax);
    } else {
      if (head.length > 0) yield head;
      yield* raw;
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw readError(error, uri);
  } finally {
    await raw.return();
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

type Decompressor = zlib.Gunzip;

async function* decompress(
  uri: string,
  compressed: AsyncIterable<Buffer>,
  decompressor: Decompressor,
  growthMax: number,
): AsyncGenerator<Buffer, void, void> {
  let sizeBytes = 0;
  // The iteration below reports an error of either stream; the callback only keeps it from being unhandled.
  pipeline(Readable.from(compressed), decompressor, () => undefined);
  try {
    for await (const block of decompressor as AsyncIterable<Buffer>) {
      sizeBytes += block.length;
      if (sizeBytes > expansionJudgedBytes && sizeBytes > decompressor.bytesWritten * growthMax) {
        throw new PlimsollError('source_damaged', {
          message: `${decompressor.bytesWritten} compressed bytes became ${sizeBytes}, more than ${growthMax} times as many: this looks like a decompression bomb`,
          where: uri,
          hint: 'If the file is what it should be, decompress it first and give the plain file.',
        });
      }
      yield block;
    }
  } catch (error) {
    if (error instanceof PlimsollError || !isCompressionError(error)) throw error;
    throw new PlimsollError('source_damaged', {
      message: `the compressed data is broken or ends early, after ${decompressor.bytesWritten} bytes of the file (${sizeBytes} decompressed)`,
      where: uri,
      hint: 'Fetch the file again and start the same run once more: what was read before the damage is kept and not sent twice.',
      cause: error,
    });
  } finally {
    decompressor.destroy();
  }
}

function isCompressionError(error: unknown): boolean {
  const code = errnoOf(error) ?? '';
  return code.startsWith('Z_') || code.startsWith('ZSTD_');
}

function zstdDecompressor(uri: string): Decompressor {
  // Node has it from 22.15 on; the type declarations are those of the oldest supported runtime.
  const create: unknown = Reflect.get(zlib, 'createZstdDecompress');
  if (typeof create === 'function') return create({ chunkSize: blockBytes }) as Decompressor;
  throw new PlimsollError('source_unreadable', {
    message: `the source is compressed with zstd, which Node ${process.versions.node} cannot read`,
    where: uri,
    hint: 'Use Node 22.15 or newer, or decompress it on the way in: zstd -dc FILE | plimsoll run - …',
  });
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
