/**
 * Gzip on every core. The content is cut into blocks; each is deflated on its own in zlib's thread pool, ended at a byte
 * boundary, and the pieces are joined in order into one ordinary gzip member. The rows of the next block are encoded
 * meanwhile. A single gzip stream would keep one core busy and let the other wait (performance.md, Results).
 *
 * Header and trailer are written here, so nothing in the file depends on a clock, a file name or an operating system: the
 * same blocks give the same bytes. Only another build of zlib may compress the same content to other bytes.
 *
 * Invariants
 *   Z1  Pieces reach the file in the order of their blocks.
 *   Z2  At most {@link blocksInFlight} blocks are held; `write` waits for the oldest before it takes another.
 */
import { createHash, type Hash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { constants, crc32, deflateRaw } from 'node:zlib';

/** Uncompressed bytes of a block: large enough to lose no more than a percent of the ratio, small enough to hold several. */
export const gzipBlockBytes = 1024 * 1024;
const blocksInFlight = 4;

/** Magic, deflate, no flags, no time, no hint, unknown operating system. */
const header = Buffer.from([0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0xff]);
/** An empty last block of a deflate stream. */
const lastBlock = Buffer.from([0x03, 0x00]);

const deflateBlock = promisify<Buffer, { level: number; finishFlush: number; chunkSize: number }, Buffer>(deflateRaw);

/** A finished gzip file. */
export interface GzipFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** sha256 of the compressed bytes, hex. */
  readonly sha256: string;
}

/** Writes one gzip file block by block. */
export class GzipWriter {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #level: number;
  readonly #hash: Hash = createHash('sha256');
  readonly #pieces: Promise<Buffer>[] = [];
  #sizeBytes = 0;
  #contentBytes = 0;
  #crc = 0;

  private constructor(path: string, file: FileHandle, level: number) {
    this.#path = path;
    this.#file = file;
    this.#level = level;
  }

  /** Creates the file; it must not exist. */
  static async create(path: string, level: number): Promise<GzipWriter> {
    const writer = new GzipWriter(path, await open(path, 'wx'), level);
    await writer.#append(header);
    return writer;
  }

  /** Takes a block, which must not be changed afterwards. The same cuts are part of the same bytes. */
  async write(block: Buffer): Promise<void> {
    if (this.#pieces.length >= blocksInFlight) await this.#appendOldest();
    this.#crc = crc32(block, this.#crc);
    this.#contentBytes += block.length;
    const piece = deflateBlock(block, {
      level: this.#level,
      finishFlush: constants.Z_SYNC_FLUSH,
      chunkSize: gzipBlockBytes / 2,
    });
    // It is awaited in turn; until then a failure must not count as unhandled.
    piece.catch(() => undefined);
    this.#pieces.push(piece);
  }

  /** Completes the file. */
  async end(): Promise<GzipFile> {
    while (this.#pieces.length > 0) await this.#appendOldest();
    const trailer = Buffer.alloc(8);
    trailer.writeUInt32LE(this.#crc, 0);
    trailer.writeUInt32LE(this.#contentBytes % 2 ** 32, 4);
    await this.#append(Buffer.concat([lastBlock, trailer]));
    await this.#file.close();
    return { path: this.#path, sizeBytes: this.#sizeBytes, sha256: this.#hash.digest('hex') };
  }

  /** Gives up; the file is left for its folder's owner to remove. */
  async abandon(): Promise<void> {
    await Promise.allSettled(this.#pieces);
    await this.#file.close();
  }

  async #appendOldest(): Promise<void> {
    const piece = this.#pieces.shift();
    if (piece) await this.#append(await piece);
  }

  async #append(bytes: Buffer): Promise<void> {
    this.#hash.update(bytes);
    this.#sizeBytes += bytes.length;
    await this.#file.appendFile(bytes);
  }
}
