/**
 * Gzip on every core. The content is cut into blocks; each is deflated on its own by a press, ended at a byte boundary,
 * and the pieces are joined in order into one ordinary gzip member. The rows of the next block are encoded meanwhile. A
 * single gzip stream would keep one core busy and let the other wait (performance.md, Results).
 *
 * Header and trailer are written here, so nothing in the file depends on a clock, a file name or an operating system: the
 * same blocks give the same bytes. Only another build of zlib, or a release with other settings for it, may compress the same
 * content to other bytes.
 *
 * Invariants
 *   Z1  Pieces reach the file in the order of their blocks.
 *   Z2  At most `blocksAtOnce` blocks are held; `write` waits for the oldest before it takes another.
 */
import { createHash, type Hash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { GrowingFile } from '../segments/store/scratch.ts';
import { gzipBlockBytes } from './deflate.ts';
import type { Deflated, Press } from './press.ts';

/** Magic, deflate, no flags, no time, no hint, unknown operating system. */
const header = Buffer.from([0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0xff]);
/** An empty last block of a deflate stream. */
const lastBlock = Buffer.from([0x03, 0x00]);

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
  readonly #file: GrowingFile;
  readonly #level: number;
  readonly #press: Press;
  readonly #hash: Hash = createHash('sha256');
  readonly #pieces: Promise<Deflated>[] = [];
  /** Blocks that may be filled again. */
  readonly #spare: Buffer[] = [];
  #sizeBytes = 0;
  #contentBytes = 0;
  #crc = 0;

  private constructor(path: string, file: GrowingFile, level: number, press: Press) {
    this.#path = path;
    this.#file = file;
    this.#level = level;
    this.#press = press;
  }

  /** Creates the file; it must not exist. */
  static async create(path: string, level: number, press: Press): Promise<GzipWriter> {
    const writer = new GzipWriter(path, new GrowingFile(await open(path, 'wx')), level, press);
    await writer.#append(header);
    return writer;
  }

  /** Memory for a block, its own, of {@link gzipBlockBytes}. */
  takeBlock(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(gzipBlockBytes);
  }

  /** Takes a block; `length` bytes of it count, and it must not be touched afterwards. The same cuts are part of the same bytes. */
  async write(block: Buffer, length: number): Promise<void> {
    if (this.#pieces.length >= this.#press.blocksAtOnce) await this.#appendOldest();
    const content = block.subarray(0, length);
    this.#crc = crc32(content, this.#crc);
    this.#contentBytes += length;
    const piece = this.#press.deflate(content, this.#level);
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
    if (!piece) return;
    const { bytes, block } = await piece;
    if (block.buffer.byteLength === gzipBlockBytes) this.#spare.push(Buffer.from(block.buffer));
    await this.#append(bytes);
  }

  async #append(bytes: Buffer): Promise<void> {
    this.#hash.update(bytes);
    this.#sizeBytes += bytes.length;
    await this.#file.append(bytes);
  }
}
