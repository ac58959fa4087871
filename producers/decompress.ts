/**
 * What of a source is compressed, told by its first bytes, never by a name: gzip and zstd, with a bound on their growth.
 */
import { pipeline, Readable } from 'node:stream';
import * as zlib from 'node:zlib';
import { errnoOf, PlimsollError } from '../segments/errors.ts';

/** What a decompressor hands out at once, bytes. */
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
/** So many bytes tell whether something is compressed. */
export const magicBytes = 4;

type Decompressor = zlib.Gunzip;

/** Whether the first bytes of something are those of gzip or zstd. */
export function isCompressed(head: Buffer): boolean {
  return head.subarray(0, 2).equals(gzipMagic) || head.subarray(0, magicBytes).equals(zstdMagic);
}

/**
 * Decompresses what begins with a head that {@link isCompressed}.
 * @throws PlimsollError `source_damaged` when it is broken, ends early, or grows beyond `growthMax` times;
 *   `source_unreadable` for zstd on a runtime without it
 */
export async function* decompress(uri: string, head: Buffer, compressed: AsyncIterable<Buffer>, growthMax: number): AsyncGenerator<Buffer, void, void> {
  const decompressor = head.subarray(0, 2).equals(gzipMagic) ? zlib.createGunzip({ chunkSize: blockBytes }) : zstdDecompressor(uri);
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
