/**
 * Splices the body of an archive: the params of its chunks, as they lie in the spool, between the heads and tails of their
 * entries. It is handed the bytes in order and cuts rows by their recorded lengths; nothing is searched or parsed.
 * Who reads them, and on which thread, is not its concern (`body.ts`, `body-thread.ts`).
 */
import { invariant } from '../segments/errors.ts';
import { bodyHead, bodyTail, EntryHeads, entryTail } from '../segments/pack.ts';
import type { RowMarks } from '../segments/row-mark.ts';
import type { ArchiveId } from '../segments/segment.ts';
import type { SpoolRange } from '../segments/store/spool.ts';
import type { ByteRange } from '../segments/store/store.ts';

/** Blocks of this size, bytes, make up a body; smaller ones halve the throughput of the upload (performance.md). */
export const blockBytes = 1024 * 1024;

/**
 * The memory of the blocks of one body. Who is finished with a block may give it back, and it is filled again; fresh
 * memory for each would have to be cleared by the kernel and collected. A block that is never given back is never touched
 * again.
 */
export class BodyMemory {
  readonly #free: Buffer<ArrayBuffer>[] = [];

  take(): Buffer<ArrayBuffer> {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
  }

  /** Takes back a block that nobody looks at any more. */
  give(block: Uint8Array): void {
    const { buffer } = block;
    invariant(!this.#free.some((free) => free.buffer === buffer), 'a block is given back once');
    if (buffer instanceof ArrayBuffer && buffer.byteLength === blockBytes) this.#free.push(Buffer.from(buffer));
  }
}

/** The chunk whose bytes are being added. */
interface OpenChunk {
  readonly range: SpoolRange;
  readonly marks: RowMarks;
  /** The row that is being copied, and how many of its bytes are to come, its newline included; 0: it has not begun. */
  row: number;
  left: number;
}

/** One body that is being made: `open` and `close` around the bytes of each chunk, `end` behind the last. */
export class BodySplice {
  readonly #writer: BlockWriter;
  #firstIndex = 0;
  #chunk: OpenChunk | undefined;

  /** `take` gives memory of {@link blockBytes} for a block. */
  constructor(archive: ArchiveId, take: () => Buffer) {
    this.#writer = new BlockWriter(take, archive);
    this.#writer.text(bodyHead);
  }

  /** Begins a chunk and says where its params lie in the spool object, newlines included. @throws InvariantBroken when it has fewer rows */
  open(range: SpoolRange, marks: RowMarks): ByteRange {
    invariant(range.to < marks.rows, `${range.spoolKey} has ${marks.rows} rows`);
    this.#chunk = { range, marks, row: range.from, left: 0 };
    return spanOf(range, marks.bytes);
  }

  /** Adds the next bytes of the open chunk; they may be changed afterwards. @throws InvariantBroken when they are not what the index says */
  add(block: Buffer): void {
    const chunk = this.#opened();
    const { range, marks } = chunk;
    const { bytes, shaAt, section } = marks;
    const writer = this.#writer;
    let { row, left } = chunk;
    let offset = 0;
    while (offset < block.length) {
      if (left === 0) {
        invariant(row <= range.to, `${range.spoolKey} holds more params than its index`);
        writer.head(this.#firstIndex + row - range.from, section, shaAt[row] ?? 0);
        left = (bytes[row] ?? 0) + 1;
      }
      // The newline that ends a row in the spool is counted in `left` but not copied.
      const copied = Math.min(left - 1, block.length - offset);
      if (copied > 0) writer.bytes(block, offset, copied);
      offset += copied;
      left -= copied;
      if (left === 1 && offset < block.length) {
        invariant(block[offset] === 0x0a, `${range.spoolKey}: row ${row} does not end where its index says`);
        writer.text(entryTail);
        offset += 1;
        left = 0;
        row += 1;
      }
    }
    chunk.row = row;
    chunk.left = left;
  }

  /** Ends the open chunk. @throws InvariantBroken when rows of it are missing */
  close(): void {
    const { range, row, left } = this.#opened();
    const rows = range.to - range.from + 1;
    invariant(row === range.to + 1 && left === 0, `${range.spoolKey}: ${row - range.from} of ${rows} rows could be read`);
    this.#chunk = undefined;
    this.#firstIndex += rows;
  }

  /** Ends the body; what is left of it can be taken. */
  end(): void {
    this.#writer.text(bodyTail);
    this.#writer.end();
  }

  /** Hands over the blocks that are full. */
  take(): readonly Buffer[] {
    return this.#writer.take();
  }

  #opened(): OpenChunk {
    invariant(this.#chunk !== undefined, 'bytes belong to a chunk that was opened');
    return this.#chunk;
  }
}

/** Where the params of a range lie in the spool object, newlines included. */
function spanOf(range: SpoolRange, bytes: Uint32Array): ByteRange {
  let start = 0;
  for (let row = 0; row < range.from; row += 1) start += (bytes[row] ?? 0) + 1;
  let end = start;
  for (let row = range.from; row <= range.to; row += 1) end += (bytes[row] ?? 0) + 1;
  return { start, end };
}

/** Collects bytes into blocks of one size. */
class BlockWriter {
  readonly #take: () => Buffer;
  readonly #heads: EntryHeads;
  #full: Buffer[] = [];
  #block: Buffer;
  #used = 0;

  constructor(take: () => Buffer, archive: ArchiveId) {
    this.#take = take;
    this.#heads = new EntryHeads(archive);
    this.#block = take();
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

  take(): readonly Buffer[] {
    const full = this.#full;
    this.#full = [];
    return full;
  }

  end(): void {
    if (this.#used > 0) this.#full.push(this.#block.subarray(0, this.#used));
    this.#used = 0;
  }

  #turn(): void {
    this.#full.push(this.#block.subarray(0, this.#used));
    this.#block = this.#take();
    this.#used = 0;
  }
}
