/**
 * The ids that a section of a source has added, in the order of its lines, on their way to the lake: a restart that begins
 * behind the section has to know them. They gather in a file on the scratch disk, so memory does not grow with the section.
 *
 * One id is 24 bytes: the first 16 of its sha256, and its 1-based row as two little-endian words, the low one first.
 *
 * Invariant Y1: equal sources give equal bytes, so a section that is ended again meets its own object.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunKey } from '../segments/segment.ts';
import type { Store } from '../segments/store/store.ts';
import { appendScratch, createScratch } from './scratch-file.ts';

/** Bytes of one id. */
export const idBytes = 24;
export const digestBytes = 16;
const bufferedIds = 16_384;

export class IdLog {
  readonly #run: RunKey;
  readonly #scratchDirectory: string;
  readonly #buffer = Buffer.allocUnsafe(bufferedIds * idBytes);
  #buffered = 0;
  #path: string;
  #descriptor: number | undefined;
  #hash: Hash = createHash('sha256');
  #sizeBytes = 0;

  /** Nothing is created before the first ids are written. */
  constructor(run: RunKey, scratchDirectory: string) {
    this.#run = run;
    this.#scratchDirectory = scratchDirectory;
    this.#path = this.#freshPath();
  }

  /** Adds an id by its sha256. Written synchronously in large steps, as the ids come one by one. @throws as `RejectsFile.add` */
  append(digest: Buffer, row: number): void {
    const buffer = this.#buffer;
    digest.copy(buffer, this.#buffered, 0, digestBytes);
    buffer.writeUInt32LE(row % 2 ** 32, this.#buffered + digestBytes);
    buffer.writeUInt32LE(Math.floor(row / 2 ** 32), this.#buffered + digestBytes + 4);
    this.#buffered += idBytes;
    if (this.#buffered === buffer.length) this.#write();
  }

  /** Puts what was added since the last section into the lake, if anything was, and begins anew. @throws what the store raises */
  async publish(store: Pick<Store, 'putFile'>, key: string): Promise<void> {
    this.#write();
    const content = { sizeBytes: this.#sizeBytes, sha256: this.#hash.digest('hex') };
    this.#close();
    if (content.sizeBytes > 0) await store.putFile(key, this.#path, content);
    await this.begin();
  }

  /** Forgets what was added. */
  async begin(): Promise<void> {
    await this.discard();
    this.#path = this.#freshPath();
    this.#hash = createHash('sha256');
    this.#sizeBytes = 0;
    this.#buffered = 0;
  }

  /** Removes what was written. Safe to call again. */
  async discard(): Promise<void> {
    this.#close();
    await rm(this.#path, { force: true });
  }

  #write(): void {
    if (this.#buffered === 0) return;
    const bytes = this.#buffer.subarray(0, this.#buffered);
    this.#descriptor ??= createScratch(this.#path, 'the ids of a section');
    appendScratch(this.#descriptor, bytes, this.#path, 'the ids of a section');
    this.#hash.update(bytes);
    this.#sizeBytes += bytes.length;
    this.#buffered = 0;
  }

  #close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #freshPath(): string {
    return join(this.#scratchDirectory, `${this.#run}.${randomUUID()}.ids.part`);
  }
}
