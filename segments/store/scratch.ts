/** Streams that pass through a local file on their way to somebody who reads them. */
import type { FileHandle } from 'node:fs/promises';

/** Network blocks are small; a write and a look at each of them would cost more than the bytes. */
const blockBytes = 1024 * 1024;

/** So much may wait in memory for the disk before it is told to begin. */
const unflushedBytesMax = 16 * 1024 * 1024;

/**
 * A file that grows at its end and is to be durable soon. The system would keep what is written until somebody asks for it
 * to be on the disk, and a quarter of a gigabyte then takes a second in which nothing else goes on; so the disk begins
 * while the rest is still made. Whoever publishes the file flushes it all the same.
 */
export class GrowingFile {
  readonly #file: FileHandle;
  readonly #unflushedMax: number;
  #unflushedBytes = 0;
  #flushing: Promise<void> | undefined;

  /** `unflushedMax`: bytes; Infinity for a file that nobody publishes. */
  constructor(file: FileHandle, unflushedMax = unflushedBytesMax) {
    this.#file = file;
    this.#unflushedMax = unflushedMax;
  }

  /** Appends a block, which must not be changed until then. One append at a time. Raises what the file raises. */
  async append(block: Uint8Array): Promise<void> {
    // One call for all of it: between two a busy caller would have to come back here, and the file waits for it.
    for (let at = 0; at < block.length; ) at += (await this.#file.write(block, at)).bytesWritten;
    this.#unflushedBytes += block.length;
    if (this.#unflushedBytes < this.#unflushedMax || this.#flushing) return;
    this.#unflushedBytes = 0;
    this.#flushing = this.#file.datasync().finally(() => (this.#flushing = undefined));
    // A disk that fails here fails whoever publishes the file, and the next append.
    this.#flushing.catch(() => undefined);
  }

  /** Closes the file; what is not on the disk yet goes there in its time. */
  async close(): Promise<void> {
    await this.#flushing?.catch(() => undefined);
    await this.#file.close();
  }
}

/**
 * Writes a stream to a file and yields it, in larger blocks. A block is on its way to the file while its reader is at work
 * on it; when the last one was yielded and the generator has ended, all of it is written. `heldMax` as for
 * {@link gathered}, at least 1.
 */
export async function* writingTo(file: GrowingFile, blocks: AsyncIterable<Buffer>, heldMax: number): AsyncGenerator<Buffer> {
  let written: Promise<void> = Promise.resolve();
  for await (const block of gathered(blocks, heldMax)) {
    await written;
    written = file.append(block);
    // It is awaited in turn; until then a failure must not count as unhandled.
    written.catch(() => undefined);
    yield block;
  }
  await written;
}

/**
 * Copies small blocks together, into memory that other threads can be shown without another copy. `heldMax`: how many of
 * the yielded blocks their reader may still look at when it asks for the next one; older ones are filled again. Shared
 * memory hardly weighs for the garbage collector, so without this a long stream piles up some fifty megabytes of it.
 * Undefined: every block is memory of its own.
 */
export async function* gathered(blocks: Iterable<Buffer> | AsyncIterable<Buffer>, heldMax?: number): AsyncGenerator<Buffer> {
  const ring: Buffer[] = [];
  let turn = 0;
  let gathering: Buffer | undefined;
  let used = 0;
  for await (let block of blocks) {
    while (block.length > 0) {
      if (used === 0 && block.length >= blockBytes) {
        yield block;
        break;
      }
      // A block is filled to its end, so that a reader who counts bytes knows how many blocks it holds.
      gathering ??= heldMax === undefined ? sharedBlock() : (ring[turn++ % (heldMax + 1)] ??= sharedBlock());
      const copied = Math.min(block.length, blockBytes - used);
      // Shared memory is set word by word; filled with, it is copied at once.
      gathering.fill(block.subarray(0, copied), used, used + copied);
      used += copied;
      block = block.subarray(copied);
      if (used < blockBytes) break;
      yield gathering;
      gathering = undefined;
      used = 0;
    }
  }
  if (gathering) yield gathering.subarray(0, used);
}

function sharedBlock(): Buffer {
  return Buffer.from(new SharedArrayBuffer(blockBytes));
}
