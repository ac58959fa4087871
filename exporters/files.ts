/**
 * The data files of one archive and topic: rows go in, in order; finished parts come out in the lake.
 *
 * Invariants
 *   F1  A part ends before the row that would make its content exceed `partBytesMax`; a single larger row is a part of
 *       its own. So the cuts, and with them keys and bytes, depend on the rows alone.
 *   F2  Size and digest of a part are known before the lake sees it, and a part is created, never replaced. When its key
 *       is taken by the same content in another compression (an older process, another machine), that file stands.
 *   F3  No part enters the lake before its sources are proven: what was made of damaged results would stand in the way of
 *       what is made of the restored ones.
 *   F4  One part at most is on its way into the lake while the next one grows: its last blocks, its flush and its name are
 *       waited for by nobody meanwhile. A part that fails fails the next one, or the end.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { PlimsollError } from '../segments/errors.ts';
import type { Store } from '../segments/store/store.ts';
import { GzipWriter, type GzipFile } from './compress.ts';
import { gzipBlockBytes } from './deflate.ts';
import type { Press } from './press.ts';

/** A committed file. */
export interface ExportedPart {
  readonly key: string;
  readonly sizeBytes: number;
  readonly rows: number;
  /** sha256 of the object, hex. */
  readonly sha256: string;
}

export interface PartSettings {
  readonly partBytesMax: number;
  readonly gzipLevel: number;
  /** An empty folder of its own. */
  readonly folder: string;
  readonly store: Store;
  readonly press: Press;
  /** Resolves when what the rows are made of has proved sound; nothing enters the lake before (F3). */
  readonly proven: () => Promise<void>;
}

/** Writes the parts of one topic and kind. `keyOf` names part n, from 0. */
export class PartWriter {
  readonly #settings: PartSettings;
  readonly #keyOf: (part: number) => string;
  readonly #parts: ExportedPart[] = [];
  #gzip: GzipWriter | undefined;
  /** The part before the open one (F4). */
  #ending: Promise<void> = Promise.resolve();
  #partsBegun = 0;
  #block: Buffer = Buffer.allocUnsafeSlow(gzipBlockBytes);
  #used = 0;
  #partBytes = 0;
  #partRows = 0;

  constructor(settings: PartSettings, keyOf: (part: number) => string) {
    this.#settings = settings;
    this.#keyOf = keyOf;
  }

  /** Adds a row if it fits into the block at hand; copies it. false: call {@link addSlowly} instead. */
  tryAdd(row: Buffer): boolean {
    const isRoom = this.#used + row.length <= this.#block.length && this.#partBytes + row.length <= this.#settings.partBytesMax;
    if (!isRoom) return false;
    row.copy(this.#block, this.#used);
    this.#used += row.length;
    this.#partBytes += row.length;
    this.#partRows++;
    return true;
  }

  /**
   * Lets a row be written where it belongs, if as much as `bytesMax` fits there: `write` is given the block and where the row
   * begins in it, and returns where it ends. false: make the row elsewhere and add it.
   */
  tryWrite(bytesMax: number, write: (block: Buffer, from: number) => number): boolean {
    const isRoom = this.#used + bytesMax <= this.#block.length && this.#partBytes + bytesMax <= this.#settings.partBytesMax;
    if (!isRoom) return false;
    const end = write(this.#block, this.#used);
    this.#partBytes += end - this.#used;
    this.#used = end;
    this.#partRows++;
    return true;
  }

  /** Adds a row that needs a new block or a new part. */
  async addSlowly(row: Buffer): Promise<void> {
    const isPartFull = this.#partRows > 0 && this.#partBytes + row.length > this.#settings.partBytesMax;
    if (isPartFull) await this.#endPart();
    else await this.#endBlock();
    if (row.length > this.#block.length) this.#block = Buffer.allocUnsafeSlow(row.length);
    row.copy(this.#block);
    this.#used = row.length;
    this.#partBytes += row.length;
    this.#partRows++;
  }

  /** Completes the last part; returns all of them in order. */
  async end(): Promise<readonly ExportedPart[]> {
    if (this.#partRows > 0) await this.#endPart();
    await this.#ending;
    return this.#parts;
  }

  /** Gives up what is open. */
  async abandon(): Promise<void> {
    await this.#ending.catch(() => undefined);
    await this.#gzip?.abandon();
    this.#gzip = undefined;
  }

  async #endBlock(): Promise<void> {
    if (this.#used === 0) return;
    const { gzipLevel, press } = this.#settings;
    this.#gzip ??= await GzipWriter.create(this.#scratchPath(), gzipLevel, press);
    const [block, length] = [this.#block, this.#used];
    this.#used = 0;
    await this.#gzip.write(block, length);
    // The block now belongs to the compressor.
    this.#block = this.#gzip.takeBlock();
  }

  async #endPart(): Promise<void> {
    await this.#endBlock();
    await this.#ending;
    const gzip = this.#gzip;
    const rows = this.#partRows;
    this.#gzip = undefined;
    this.#partBytes = 0;
    this.#partRows = 0;
    if (!gzip) return;
    this.#ending = this.#finish(gzip, this.#keyOf(this.#partsBegun++), rows);
    // It is awaited before the next part ends; until then a failure must not count as unhandled.
    this.#ending.catch(() => undefined);
  }

  async #finish(gzip: GzipWriter, key: string, rows: number): Promise<void> {
    const file = await gzip.end().catch(async (error: unknown) => {
      await gzip.abandon();
      throw error;
    });
    this.#parts.push(await this.#commit(file, key, rows));
  }

  async #commit(file: GzipFile, key: string, rows: number): Promise<ExportedPart> {
    const { store, proven } = this.#settings;
    await proven();
    try {
      await store.putFile(key, file.path, { sizeBytes: file.sizeBytes, sha256: file.sha256 });
      return { key, rows, sizeBytes: file.sizeBytes, sha256: file.sha256 };
    } catch (error) {
      if (!(error instanceof PlimsollError) || error.code !== 'lake_conflict') throw error;
      const existing = await digestsOf(store.read(key));
      const ours = await digestsOf(createReadStream(file.path));
      if (existing === undefined || existing.contentSha256 !== ours?.contentSha256) throw error;
      return { key, rows, sizeBytes: existing.sizeBytes, sha256: existing.sha256 };
    }
  }

  #scratchPath(): string {
    return join(this.#settings.folder, this.#keyOf(this.#partsBegun).replaceAll('/', '_'));
  }
}

interface GzipDigests {
  readonly sizeBytes: number;
  readonly sha256: string;
  /** sha256 of the decompressed content. */
  readonly contentSha256: string;
  /** Newlines of the content. */
  readonly lines: number;
}

/** Size and digests of a gzip object; undefined when it is not valid gzip. */
export async function digestsOf(blocks: AsyncIterable<Buffer>): Promise<GzipDigests | undefined> {
  const outer = createHash('sha256');
  const inner = createHash('sha256');
  let sizeBytes = 0;
  let lines = 0;
  try {
    await pipeline(
      Readable.from(tapped(blocks, (block) => {
        outer.update(block);
        sizeBytes += block.length;
      })),
      createGunzip(),
      async (content: AsyncIterable<Buffer>) => {
        for await (const block of content) {
          inner.update(block);
          for (let at = block.indexOf(0x0a); at >= 0; at = block.indexOf(0x0a, at + 1)) lines++;
        }
      },
    );
  } catch (error) {
    if (error instanceof Error && 'code' in error && String(error.code).startsWith('Z_')) return undefined;
    throw error;
  }
  return { sizeBytes, sha256: outer.digest('hex'), contentSha256: inner.digest('hex'), lines };
}

async function* tapped(blocks: AsyncIterable<Buffer>, tap: (block: Buffer) => void): AsyncIterable<Buffer> {
  for await (const block of blocks) {
    tap(block);
    yield block;
  }
}
