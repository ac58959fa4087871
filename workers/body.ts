/**
 * The body of an archive: a pure function of its manifest and its chunks, so it can be made again, byte for byte, on any
 * machine. It streams from the spool with constant memory; nothing of it is ever parsed.
 *
 * Invariant B1: the bytes are the same each time; the sealer records their digest, the submitter compares it.
 */
import { invariant } from '../segments/errors.ts';
import { bodyHead, bodyTail, customId, entryPrefix, entryTail } from '../segments/pack.ts';
import type { ArchiveId } from '../segments/segment.ts';
import { readSpoolRows, type SpoolRange, type SpoolRows } from '../segments/store/spool.ts';
import type { Store } from '../segments/store/store.ts';

/** Blocks of this size leave the generator; smaller ones halve the throughput of the upload (performance.md). */
const blockBytes = 1024 * 1024;

/** Yields the body of an archive in order. A yielded block is not touched again. */
export async function* archiveBody(store: Store, archive: ArchiveId, chunks: readonly SpoolRange[]): AsyncGenerator<Buffer> {
  const writer = new BlockWriter();
  writer.text(bodyHead);
  let index = 0;
  for (const chunk of chunks) {
    const spooled = await readSpoolRows(store, chunk);
    for await (const block of spliceChunk(store, archive, chunk, spooled, index, writer)) yield block;
    index += spooled.rows.length;
  }
  writer.text(bodyTail);
  yield* writer.take(true);
}

/** Copies one chunk's params between the entry heads and tails. Rows are cut by their recorded lengths, not searched. */
async function* spliceChunk(
  store: Store,
  archive: ArchiveId,
  chunk: SpoolRange,
  spooled: SpoolRows,
  firstIndex: number,
  writer: BlockWriter,
): AsyncGenerator<Buffer> {
  const { rows, paramsStart, paramsLength } = spooled;
  let position = 0;
  let left = 0;
  for await (const block of store.read(chunk.spoolKey, { start: paramsStart, end: paramsStart + paramsLength })) {
    let offset = 0;
    while (offset < block.length) {
      if (left === 0) {
        const row = rows[position];
        invariant(row !== undefined, `${chunk.spoolKey} holds more params than its index`);
        const index = firstIndex + position;
        writer.text(entryPrefix(customId(archive, index, row.sha), index === 0));
        left = row.bytes + 1;
      }
      // The newline that ends a row in the spool is counted in `left` but not copied.
      const copied = Math.min(left - 1, block.length - offset);
      if (copied > 0) writer.bytes(block, offset, copied);
      offset += copied;
      left -= copied;
      if (left === 1 && offset < block.length) {
        invariant(block[offset] === 0x0a, `${chunk.spoolKey}: row ${chunk.from + position} does not end where its index says`);
        writer.text(entryTail);
        offset += 1;
        left = 0;
        position += 1;
      }
    }
    yield* writer.take(false);
  }
  invariant(position === rows.length && left === 0, `${chunk.spoolKey}: ${position} of ${rows.length} rows could be read`);
}

/** Collects bytes into blocks of one size. */
class BlockWriter {
  #full: Buffer[] = [];
  #block = Buffer.allocUnsafeSlow(blockBytes);
  #used = 0;

  text(text: string): void {
    if (this.#used + text.length > blockBytes) this.#turn();
    this.#used += this.#block.write(text, this.#used, 'latin1');
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
    this.#block = Buffer.allocUnsafeSlow(blockBytes);
    this.#used = 0;
  }
}
