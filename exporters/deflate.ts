/** One block of a gzip file: deflated on its own and ended at a byte boundary, so that blocks can be joined. */
import { constants, deflateRawSync } from 'node:zlib';

/** Uncompressed bytes of a block: large enough to lose no more than a percent of the ratio, small enough to hold several. */
export const gzipBlockBytes = 1024 * 1024;

/** The largest table of repetitions: with the usual one the same level takes a tenth longer and finds no more. */
const memLevel = 9;

/** Deflates a block; nothing else is in the memory of the bytes. */
export function deflatedBlock(block: Uint8Array, level: number): Uint8Array<ArrayBuffer> {
  const bytes = deflateRawSync(block, { level, memLevel, finishFlush: constants.Z_SYNC_FLUSH, chunkSize: gzipBlockBytes / 2 });
  // Node cuts small buffers from a pool that they share.
  return bytes.buffer.byteLength > Buffer.poolSize ? (bytes as Uint8Array<ArrayBuffer>) : Uint8Array.from(bytes);
}
