/**
 * The body of an archive: a pure function of its manifest and its chunks, so it can be made again, byte for byte, on any
 * machine. It streams from the spool with constant memory; nothing of it is ever parsed.
 *
 * Invariant B1: the bytes are the same each time; the sealer records their digest, the submitter compares it.
 */
import { invariant } from '../segments/errors.ts';
import { bodyHead, bodyTail, EntryHeads, entryTail } from '../segments/pack.ts';
import type { RowMarks } from '../segments/row-mark.ts';
import type { ArchiveId } from '../segments/segment.ts';
import { readSpoolMarks, type SpoolRange, type SpoolReader } from '../segments/store/spool.ts';
import type { ByteRange, Store } from '../segments/store/store.ts';
import { isDigestedAside } from './digest.ts';
import { spoolReaderOf } from './local-spool.ts';

/** Blocks of this size leave the generator; smaller ones halve the throughput of the upload (performance.md). */
const blockBytes = 1024 * 1024;

/**
 * The memory of the blocks of one body. Who is finished with a block may give it back, and it is filled again; fresh
 * memory for each would have to be cleared by the kernel and collected. A block that is never given back is never touched
 * again.
 */
export class BodyMemory {
  readonly #free: Buffer[] = [];
  readonly #isShared: boolean;

  /** `sizeBytes`: of the body. The blocks of a large one are shared with the thread that digests them. */
  constructor(sizeBytes: number) {
    this.#isShared = isDigestedAside(sizeBytes);
  }

  take(): Buffer {
    return this.#free.pop() ?? (this.#isShared ? Buffer.from(new SharedArrayBuffer(blockBytes)) : Buffer.allocUnsafeSlow(blockBytes));
  }

  /** Takes back a block that nobody looks at any more. */
  give(block: Uint8Array): void {
    const { buffer } = block;
    invariant(!this.#free.some((free) => free.buffer === buffer), 'a block is given back once');
    if (buffer.byteLength === blockBytes) this.#free.push(Buffer.from(buffer));
  }
}

/** Yields the body of an archive in order. A yielded block is not touched again before it is given back to `memory`. */
export async function* archiveBody(
  store: SpoolReader & Pick<Store, 'localPath'>,
  archive: ArchiveId,
  chunks: readonly SpoolRange[],
  memory = new BodyMemory(0),
): AsyncGenerator<Buffer> {
  const reader = spoolReaderOf(store);
  const writer = new BlockWriter(memory, archive);
  writer.text(bodyHead);
  let index = 0;
  let marks = chunks[0] && readSpoolMarks(reader, chunks[0]);
  for (const [place, chunk] of chunks.entries()) {
    const marked = await marks;
    invariant(marked !== undefined, `${chunk.spoolKey} was asked for`);
    // The index of the next chunk is read while this one is copied.
    const next = chunks[place + 1];
    marks = next && readSpoolMarks(reader, next);
    marks?.catch(() => undefined);
    yield* spliceChunk(reader, chunk, marked, index, writer);
    index += chunk.to - chunk.from + 1;
  }
  writer.text(bodyTail);
  yield* writer.take(true);
}

/** Copies one chunk's params between the entry heads and tails. Rows are cut by their recorded lengths, not searched. */
async function* spliceChunk(reader: SpoolReader, chunk: SpoolRange, marks: RowMarks, firstIndex: number, writer: BlockWriter): AsyncGenerator<Buffer> {
  const { bytes, shaAt, section } = marks;
  invariant(chunk.to < marks.rows, `${chunk.spoolKey} has ${marks.rows} rows`);
  let row = chunk.from;
  let left = 0;
  for await (const block of reader.read(chunk.spoolKey, spanOf(chunk, bytes))) {
    let offset = 0;
    while (offset < block.length) {
      if (left === 0) {
        invariant(row <= chunk.to, `${chunk.spoolKey} holds more params than its index`);
        writer.head(firstIndex + row - chunk.from, section, shaAt[row] ?? 0);
        left = (bytes[row] ?? 0) + 1;
      }
      // The newline that ends a row in the spool is counted in `left` but not copied.
      const copied = Math.min(left - 1, block.length - offset);
      if (copied > 0) writer.bytes(block, offset, copied);
      offset += copied;
      left -= copied;
      if (left === 1 && offset < block.length) {
        invariant(block[offset] === 0x0a, `${chunk.spoolKey}: row ${row} does not end where its index says`);
        writer.text(entryTail);
        offset += 1;
        left = 0;
        row += 1;
      }
    }
    yield* writer.take(false);
  }
  invariant(row === chunk.to + 1 && left === 0, `${chunk.spoolKey}: ${row - chunk.from} of ${chunk.to - chunk.from + 1} rows could be read`);
}

/** Where the params of a range lie in the spool object, newlines included. */
function spanOf(chunk: SpoolRange, bytes: Uint32Array): ByteRange {
  let start = 0;
  for (let row = 0; row < chunk.from; row += 1) start += (bytes[row] ?? 0) + 1;
  let end = start;
  for (let row = chunk.from; row <= chunk.to; row += 1) end += (bytes[row] ?? 0) + 1;
  return { start, end };
}

/** Collects bytes into blocks of one size. */
class BlockWriter {
  readonly #memory: BodyMemory;
  readonly #heads: EntryHeads;
  #full: Buffer[] = [];
  #block: Buffer;
  #used = 0;

  constructor(memory: BodyMemory, archive: ArchiveId) {
    this.#memory = memory;
    this.#heads = new EntryHeads(archive);
    this.#block = memory.take();
  }

  text(text: string): void {
    if (this.#used + text.length > blockBytes) this.#turn();
    this.#used += this.#block.write(text, this.#used, 'latin1');
  }

  head(index: number, sha: Uint8Array, shaAt: number): void {
    if (this.#used + EntryHeads.bytesMax > blockBytes) this.#turn();
    this.#used = this.#heads.write(this.#block, this.#used, index, sha, shaAt);
  }

  bytes(source: Buffer, start: number, length: number): void {
    let offset = start;
    let left = length;
    while (left > 0) {
      if (this.#used === blockBytes) this.#turn();
      const copied = Math.min(left, blockBytes - this.#used);
      source.copy(this.#block, this.#used, offset, offset + copied);
      this.#used += copied;
      offset += copied;
      left -= copied;
    }
  }

  /** Hands over the blocks that are full; with `isLast` also the one that is not. */
  take(isLast: boolean): readonly Buffer[] {
    if (isLast && this.#used > 0) this.#turn();
    const full = this.#full;
    this.#full = [];
    return full;
  }

  #turn(): void {
    this.#full.push(this.#block.subarray(0, this.#used));
    this.#block = this.#memory.take();
    this.#used = 0;
  }
}
