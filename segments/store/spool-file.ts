/**
 * The part of an open chunk that has left the memory: a file in the staging folder of the store, to which full blocks are
 * appended until the chunk is sealed, and which then becomes the spool object itself. So a hundred open chunks reach their
 * full size, and what they hold in memory stays what one producer may hold.
 *
 * The params come first in a spool object and the index behind them, so index lines that leave the memory early wait in a
 * file of their own; they are a few hundred bytes a row and are copied behind the params at the end.
 *
 * Invariants
 *   F1  Nothing here is named in the lake or known to the ledger: a producer that dies leaves files that nobody asks for,
 *       which the next start of the store removes (T3 of `store.ts`).
 *   F2  At most `unsyncedBytesMax` bytes wait for the disk, so that the end of a run does not wait for all of it.
 *   F3  One call is under way at a time; the caller sees to it.
 */
import { createHash, randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { open, readFile, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, PlimsollError } from '../errors.ts';

const unsyncedBytesMax = 1024 * 1024;
const stepBytes = 1024 * 1024;

/** The file of one open chunk. */
export class SpoolFile {
  /** Where the object grows. */
  readonly path: string;
  readonly #indexPath: string;
  #params: FileHandle | undefined;
  #index: FileHandle | undefined;
  #unsyncedBytes = 0;
  /** The files that were created and not yet removed. */
  readonly #made: string[] = [];

  /** Nothing is created before the first append. */
  constructor(stagingDirectory: string) {
    this.path = join(stagingDirectory, `${randomUUID()}.spool`);
    this.#indexPath = `${this.path}.index`;
  }

  /** Appends blocks to both sections. When it returns, the blocks may be used again. @throws PlimsollError `lake_full`, `lake_unavailable` */
  async append(params: readonly Uint8Array[], index: readonly Uint8Array[]): Promise<void> {
    try {
      this.#params ??= await this.#create(this.path);
      this.#unsyncedBytes += await writeAll(this.#params, params);
      if (this.#unsyncedBytes >= unsyncedBytesMax) {
        this.#unsyncedBytes = 0;
        await this.#params.datasync();
      }
      if (index.length === 0) return;
      this.#index ??= await this.#create(this.#indexPath);
      await writeAll(this.#index, index);
    } catch (error) {
      throw stagingError(error, this.path);
    }
  }

  /** Puts the rest of the params, the whole index and the footer behind what was appended, and closes the file. */
  async complete(params: readonly Uint8Array[], index: readonly Uint8Array[], footer: Uint8Array): Promise<void> {
    await this.append(params, []);
    try {
      const early = this.#index ? [await readFile(this.#indexPath)] : [];
      if (this.#params) await writeAll(this.#params, [...early, ...index, footer]);
      await this.#close();
    } catch (error) {
      throw stagingError(error, this.path);
    }
  }

  /** sha256 of the completed file, hex; a store in a folder asks for it only where the object's name is taken. */
  digest(): string {
    const hash = createHash('sha256');
    const step = Buffer.allocUnsafe(stepBytes);
    const file = openSync(this.path, 'r');
    try {
      for (let size = readSync(file, step); size > 0; size = readSync(file, step)) hash.update(step.subarray(0, size));
    } finally {
      closeSync(file);
    }
    return hash.digest('hex');
  }

  /** Closes and removes what is there. Safe to call again. */
  async discard(): Promise<void> {
    await this.#close();
    const made = this.#made.splice(0);
    for (const path of made) await rm(path, { force: true });
  }

  async #create(path: string): Promise<FileHandle> {
    const file = await open(path, 'wx');
    this.#made.push(path);
    return file;
  }

  async #close(): Promise<void> {
    const files = [this.#params, this.#index];
    this.#params = undefined;
    this.#index = undefined;
    for (const file of files) await file?.close();
  }
}

/** Writes blocks with one call where the system takes them all, and returns their size. */
async function writeAll(file: FileHandle, blocks: readonly Uint8Array[]): Promise<number> {
  if (blocks.length === 0) return 0;
  const { bytesWritten } = await file.writev([...blocks]);
  let sizeBytes = 0;
  for (const block of blocks) {
    // A short write is rare; what is missing goes the slow way.
    if (bytesWritten < sizeBytes + block.length) await file.appendFile(block.subarray(Math.max(0, bytesWritten - sizeBytes)));
    sizeBytes += block.length;
  }
  return sizeBytes;
}

function stagingError(error: unknown, path: string): unknown {
  const errno = errnoOf(error);
  if (error instanceof PlimsollError || errno === undefined) return error;
  const isFull = errno === 'ENOSPC' || errno === 'EDQUOT';
  return new PlimsollError(isFull ? 'lake_full' : 'lake_unavailable', {
    message: isFull ? 'cannot write an unfinished chunk: no room is left on the disk' : `cannot write an unfinished chunk: ${errno}`,
    where: path,
    hint: isFull ? 'Free some space; the work goes on from where it stands.' : 'Check that the lake exists and that this user may write to it.',
    cause: error,
  });
}
