/**
 * Reads spool objects that lie as files of this machine. A stream of the file system hands out fresh memory for every
 * block, and for a body of 256 MB the kernel then clears 256 MB and the garbage collector runs for every few of them,
 * which costs as much as the digest. Here two blocks of memory take turns: one is filled while the other is used.
 *
 * Invariant F1: a block is valid until the next one is asked for, not longer.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { errnoOf, invariant, PlimsollError } from '../segments/errors.ts';
import type { SpoolReader } from '../segments/store/spool.ts';
import type { ByteRange, Store } from '../segments/store/store.ts';

/** Half a megabyte of what is read and as much of what is made of it stay in the cache of one core. */
const readBytes = 512 * 1024;

/** The fastest reader of a store: its files where it has some, else the store itself. */
export function spoolReaderOf(store: SpoolReader & Pick<Store, 'localPath'>): SpoolReader {
  return store.localPath === undefined ? store : new LocalSpool(store, (key) => store.localPath?.(key) ?? key);
}

class LocalSpool implements SpoolReader {
  readonly #store: SpoolReader;
  readonly #pathOf: (key: string) => string;
  readonly #memory: [Buffer, Buffer] = [Buffer.allocUnsafeSlow(readBytes), Buffer.allocUnsafeSlow(readBytes)];

  constructor(store: SpoolReader, pathOf: (key: string) => string) {
    this.#store = store;
    this.#pathOf = pathOf;
  }

  /** One range is read at a time (F1). */
  async *read(key: string, range?: ByteRange): AsyncIterable<Buffer> {
    invariant(range !== undefined, `${key}: the params are a range`);
    let file: FileHandle | undefined;
    try {
      file = await open(this.#pathOf(key), 'r');
      let [filling, other] = this.#memory;
      let at = range.start;
      let next = readAt(file, filling, at, range.end);
      for (;;) {
        const block = await next;
        if (block.length === 0) return;
        at += block.length;
        [filling, other] = [other, filling];
        next = readAt(file, filling, at, range.end);
        // It is awaited in turn, unless the reader leaves before.
        next.catch(() => undefined);
        yield block;
      }
    } catch (error) {
      throw await this.#faultOf(error, key);
    } finally {
      await file?.close();
    }
  }

  async readWhole(key: string, range?: ByteRange): Promise<Buffer> {
    invariant(range !== undefined, `${key}: the index is a range`);
    let file: FileHandle | undefined;
    try {
      file = await open(this.#pathOf(key), 'r');
      const memory = Buffer.allocUnsafeSlow(Math.max(range.end - range.start, 0));
      let used = 0;
      for (let count = -1; count !== 0 && used < memory.length; used += count) {
        count = (await file.read(memory, used, memory.length - used, range.start + used)).bytesRead;
      }
      return memory.subarray(0, used);
    } catch (error) {
      throw await this.#faultOf(error, key);
    } finally {
      await file?.close();
    }
  }

  async #faultOf(error: unknown, key: string): Promise<unknown> {
    const errno = errnoOf(error);
    return errno === undefined ? error : await spoolFaultOf(this.#store, key, errno, error);
  }
}

/** What is wrong with an object whose file could not be read (`errno`): the store says it best of an object of its own. */
export async function spoolFaultOf(store: SpoolReader, key: string, errno: string, cause?: unknown): Promise<unknown> {
  try {
    await store.readWhole(key, { start: 0, end: 1 });
  } catch (told) {
    return told;
  }
  return new PlimsollError('lake_unavailable', { message: `cannot read: ${errno}`, where: key, hint: 'It is tried again.', cause });
}

async function readAt(file: FileHandle, memory: Buffer, at: number, end: number): Promise<Buffer> {
  const { bytesRead } = await file.read(memory, 0, Math.min(memory.length, end - at), at);
  return memory.subarray(0, bytesRead);
}
