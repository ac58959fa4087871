/** Streams that pass through a local file on their way to somebody who reads them. */
import type { FileHandle } from 'node:fs/promises';

/** Network blocks are small; a write and a look at each of them would cost more than the bytes. */
const blockBytes = 1024 * 1024;

/**
 * Writes a stream to a file and yields it, in larger blocks that are not touched again. A block is on its way to the file
 * while its reader is at work on it; when the last one was yielded and the generator has ended, all of it is written.
 */
export async function* writingTo(file: FileHandle, blocks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let written: Promise<unknown> = Promise.resolve();
  for await (const block of gathered(blocks)) {
    await written;
    written = file.appendFile(block);
    // It is awaited in turn; until then a failure must not count as unhandled.
    written.catch(() => undefined);
    yield block;
  }
  await written;
}

/** Copies small blocks together, into memory that other threads can be shown without another copy. */
export async function* gathered(blocks: Iterable<Buffer> | AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let gathering: Buffer | undefined;
  let used = 0;
  for await (const block of blocks) {
    if (gathering && used + block.length > blockBytes) {
      yield gathering.subarray(0, used);
      gathering = undefined;
    }
    if (block.length >= blockBytes) {
      yield block;
      continue;
    }
    if (!gathering) {
      gathering = Buffer.from(new SharedArrayBuffer(blockBytes));
      used = 0;
    }
    used += block.copy(gathering, used);
  }
  if (gathering) yield gathering.subarray(0, used);
}
