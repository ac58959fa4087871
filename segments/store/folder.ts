/**
 * The lake as a folder.
 *
 * An object is written to a temporary file in the same file system, flushed, and then linked to its key: `link` fails if
 * the name exists, which makes creation atomic and exclusive between processes, where `rename` would replace. The
 * directory is flushed afterwards, because a name that is not on disk is lost with the power although its bytes are not.
 *
 * Invariants: T1 to T3 of `store.ts`.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, mkdir, open, readdir, rm, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { errnoOf, invariant, PlimsollError } from '../errors.ts';
import { ioError } from './folder-fault.ts';
import { FileStamps } from './stamps.ts';
import type { ByteRange, ObjectContent, Store, StoredObject } from './store.ts';

/** Reads and writes go in steps of this size; 64 KiB halves the throughput (performance.md). */
const stepBytes = 1024 * 1024;
/** Temporary files older than this belong to no living write. */
const abandonedMs = 24 * 3_600_000;

/** Opens a folder as a lake; creates it where it is missing. @throws PlimsollError `lake_unavailable` */
export async function openFolderStore(root: string, nowMs: number): Promise<Store> {
  const temporary = join(root, '.tmp');
  try {
    await mkdir(temporary, { recursive: true });
    await removeAbandoned(temporary, nowMs);
  } catch (error) {
    throw ioError(error, root, 'open the lake');
  }
  return new FolderStore(root, temporary);
}

class FolderStore implements Store {
  readonly uri: string;
  readonly stagingDirectory: string;
  readonly #root: string;
  readonly #temporary: string;
  readonly #knownDirectories = new Set<string>();
  readonly #stamps = new FileStamps();
  /** By directory: the flush that has not begun yet, and the one that was asked for last. */
  readonly #nextSyncs = new Map<string, Promise<void>>();
  readonly #lastSyncs = new Map<string, Promise<void>>();

  constructor(root: string, temporary: string) {
    this.#root = root;
    this.#temporary = temporary;
    this.stagingDirectory = temporary;
    this.uri = pathToFileURL(root).href.replace(/\/$/, '');
  }

  async put(key: string, content: ObjectContent): Promise<'created' | 'same'> {
    const path = this.#pathOf(key);
    const temporary = join(this.#temporary, randomUUID());
    try {
      await writeDurably(temporary, content, key);
      return await this.#publish(temporary, path, key, content);
    } catch (error) {
      throw ioError(error, key, 'write');
    } finally {
      // It has its name by now, or is of no use. A failure to remove it must not hide what went wrong before.
      await unlink(temporary).catch(() => undefined);
    }
  }

  async putFile(key: string, path: string, content: Omit<ObjectContent, 'blocks'>): Promise<'created' | 'same'> {
    try {
      const file = await open(path, 'r');
      try {
        const { size } = await file.stat();
        invariant(size === content.sizeBytes, `${path} has ${size} bytes, expected ${content.sizeBytes}`);
        await file.datasync();
      } finally {
        await file.close();
      }
      const published = await this.#publish(path, this.#pathOf(key), key, content);
      // A digest that would have to be made is not asked for: a spooled chunk would be read once more, for a stamp that nobody wants.
      if (published === 'created' && content.isDigested !== true) await this.#stamps.note(this.#pathOf(key), content.sha256);
      return published;
    } catch (error) {
      // A scratch folder on another file system cannot be linked from; its bytes are copied instead.
      if (errnoOf(error) === 'EXDEV') {
        return await this.put(key, { ...content, blocks: createReadStream(path, { highWaterMark: stepBytes }) });
      }
      throw ioError(error, key, 'write');
    }
  }

  async *read(key: string, range?: ByteRange): AsyncIterable<Buffer> {
    if (range && range.end <= range.start) return;
    const bounds = range ? { start: range.start, end: range.end - 1 } : {};
    const stream = createReadStream(this.#pathOf(key), { highWaterMark: stepBytes, ...bounds });
    try {
      for await (const block of stream) yield block as Buffer;
    } catch (error) {
      throw ioError(error, key, 'read');
    }
  }

  async readWhole(key: string, range?: ByteRange): Promise<Buffer> {
    const blocks: Buffer[] = [];
    for await (const block of this.read(key, range)) blocks.push(block);
    return Buffer.concat(blocks);
  }

  localPath(key: string): string {
    return this.#pathOf(key);
  }

  async knownSha256(key: string): Promise<string | undefined> {
    return await this.#stamps.sha256Of(this.#pathOf(key));
  }

  async head(key: string): Promise<StoredObject | undefined> {
    try {
      return { key, sizeBytes: (await stat(this.#pathOf(key))).size };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw ioError(error, key, 'look up');
    }
  }

  async *list(prefix: string): AsyncIterable<StoredObject> {
    // Only the deepest whole folder of the prefix has to be walked.
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    const keys: string[] = [];
    for await (const key of walk(join(this.#root, folder), folder)) if (key.startsWith(prefix)) keys.push(key);
    for (const key of keys.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
      const found = await this.head(key);
      if (found) yield found;
    }
  }

  async close(): Promise<void> {
    // Nothing is held open between calls.
  }

  /**
   * Flushes a directory. One flush covers every name that was there when it began, so those who come while one is under
   * way share the next.
   */
  async #syncNames(directory: string): Promise<void> {
    const shared = this.#nextSyncs.get(directory);
    if (shared) return await shared;
    const next = (this.#lastSyncs.get(directory) ?? Promise.resolve()).catch(() => undefined).then(async () => {
      this.#nextSyncs.delete(directory);
      await syncDirectory(directory);
    });
    this.#nextSyncs.set(directory, next);
    this.#lastSyncs.set(directory, next);
    try {
      await next;
    } finally {
      if (this.#lastSyncs.get(directory) === next) this.#lastSyncs.delete(directory);
    }
  }

  #pathOf(key: string): string {
    const isPlain = key.length > 0 && key.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && part !== '.tmp');
    invariant(isPlain && !key.includes('\0'), `${JSON.stringify(key)} is not a lake key`);
    return join(this.#root, ...key.split('/'));
  }

  /** Gives a finished file its name; compares when the name is taken (T2). */
  async #publish(temporary: string, path: string, key: string, content: Omit<ObjectContent, 'blocks'>): Promise<'created' | 'same'> {
    const directory = dirname(path);
    if (!this.#knownDirectories.has(directory)) {
      await mkdirDurably(directory);
      this.#knownDirectories.add(directory);
    }
    try {
      await link(temporary, path);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      await compare(path, key, content);
      // The other writer may have died before it flushed the name, so this one does.
      await this.#syncNames(directory);
      return 'same';
    }
    await this.#syncNames(directory);
    return 'created';
  }
}

async function writeDurably(path: string, content: ObjectContent, key: string): Promise<void> {
  const file = await open(path, 'wx');
  try {
    const written = Symbol.iterator in content.blocks ? await writeBlocks(file, [...content.blocks]) : await writeStream(file, content.blocks);
    const isAnnounced = written.sizeBytes === content.sizeBytes && (content.isDigested || written.digest() === content.sha256);
    invariant(isAnnounced, `${key}: the written bytes are not the announced ones`);
    await file.datasync();
  } finally {
    await file.close();
  }
}

interface Written {
  readonly sizeBytes: number;
  /** sha256, hex. */
  digest(): string;
}

async function writeStream(file: FileHandle, blocks: AsyncIterable<Uint8Array>): Promise<Written> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const block of blocks) {
    hash.update(block);
    sizeBytes += block.length;
    await file.appendFile(block);
  }
  return { sizeBytes, digest: () => hash.digest('hex') };
}

/** Writes what lies in memory with one call. */
async function writeBlocks(file: FileHandle, blocks: readonly Uint8Array[]): Promise<Written> {
  const { bytesWritten } = await file.writev([...blocks]);
  // A short write is rare; what is missing goes the slow way.
  let sizeBytes = 0;
  for (const block of blocks) {
    if (bytesWritten < sizeBytes + block.length) await file.appendFile(block.subarray(Math.max(0, bytesWritten - sizeBytes)));
    sizeBytes += block.length;
  }
  const digest = (): string => blocks.reduce((hash, block) => hash.update(block), createHash('sha256')).digest('hex');
  return { sizeBytes, digest };
}

async function compare(path: string, key: string, content: Omit<ObjectContent, 'blocks'>): Promise<void> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const block of createReadStream(path, { highWaterMark: stepBytes })) {
    hash.update(block as Buffer);
    sizeBytes += (block as Buffer).length;
  }
  const sha256 = hash.digest('hex');
  if (sizeBytes === content.sizeBytes && sha256 === content.sha256) return;
  throw new PlimsollError('lake_conflict', {
    message: `an object of ${sizeBytes} bytes (sha256 ${sha256.slice(0, 12)}) exists, ${content.sizeBytes} bytes (sha256 ${content.sha256.slice(0, 12)}) were to be written`,
    where: key,
    hint: 'Objects are never overwritten. Find out who wrote the other one; move it away by hand if it does not belong there.',
  });
}

/** Creates a directory and makes every new name on the way durable. */
async function mkdirDurably(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true });
  if (!first) return;
  for (let path = directory; path.length >= first.length; path = dirname(path)) await syncDirectory(dirname(path));
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function removeAbandoned(directory: string, nowMs: number): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const found = await stat(path).catch(() => undefined);
    if (found && nowMs - found.mtimeMs > abandonedMs) await rm(path, { force: true, recursive: true });
  }
}

async function* walk(directory: string, prefix: string): AsyncIterable<string> {
  let entries;
  try {
    entries = await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return;
    throw ioError(error, prefix, 'list');
  }
  for (const entry of entries) {
    if (entry.name === '.tmp') continue;
    if (entry.isDirectory()) yield* walk(`${directory}${directory.endsWith(sep) ? '' : sep}${entry.name}`, `${prefix}${entry.name}/`);
    else yield `${prefix}${entry.name}`;
  }
}
