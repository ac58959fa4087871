/**
 * The lake as an S3 bucket, or a prefix of one. Writes are in `s3-write.ts`, reads in `s3-read.ts`, what is proved at the
 * start in `s3-proof.ts`, the meaning of errors in `s3-fault.ts`.
 *
 * The bucket keeps what a folder keeps, under the same keys. Nothing is kept on the local disk but the body of a write
 * that can be read only once and is too large for memory.
 *
 * Invariants: T1 to T3 of `store.ts`. The temporary file of T3 is here an unfinished multipart upload.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, invariant, PlimsollError } from '../errors.ts';
import { openS3Client, type S3Access, type S3Settings } from './s3-client.ts';
import { parseS3Uri, s3Uri } from './s3-uri.ts';
import { abortAbandonedUploads, proofKey, proveConditionalCompletion, proveConditionalPut } from './s3-proof.ts';
import { listObjects, lookAtObject, readObject } from './s3-read.ts';
import { createObject, multipartBytesMin, type Body } from './s3-write.ts';
import type { ByteRange, ObjectContent, Store, StoredObject } from './store.ts';

export interface S3StoreOptions {
  /** `s3://bucket` or `s3://bucket/prefix`. */
  readonly uri: string;
  readonly settings: S3Settings;
  /** Local folder for bodies that can be read only once. */
  readonly scratchDirectory: string;
  readonly nowMs: number;
}

/** A body that comes once is held in memory up to this size, and beyond it on the scratch disk. */
const heldBytesMax = 16 * 1024 * 1024;
const stepBytes = 1024 * 1024;
/** S3 counts the bytes of a key (S3 user guide, object key names). */
const keyBytesMax = 1_024;

/**
 * Opens a bucket as a lake: proves that it can be written, and conditionally, and aborts abandoned uploads.
 * @throws PlimsollError `lake_unavailable` with the cause: credentials, bucket, permission, region, no conditional writes
 */
export async function openS3Store({ uri, settings, scratchDirectory, nowMs }: S3StoreOptions): Promise<Store> {
  const place = parseS3Uri(uri);
  invariant(place !== undefined, `${uri} is the address of a bucket`);
  const prefix = place.key.replace(/\/+$/, '');
  const client = openS3Client(settings);
  const access: S3Access = { client, bucket: place.bucket, settings, role: 'lake' };
  const root = prefix === '' ? '' : `${prefix}/`;
  try {
    await proveConditionalPut(access, root);
    await abortAbandonedUploads(access, root, nowMs);
  } catch (error) {
    client.destroy();
    throw error;
  }
  return new S3Store(access, root, scratchDirectory);
}

class S3Store implements Store {
  readonly uri: string;
  readonly #access: S3Access;
  readonly #root: string;
  readonly #scratchDirectory: string;
  #completionProof: Promise<void> | undefined;

  constructor(access: S3Access, root: string, scratchDirectory: string) {
    this.uri = s3Uri(access.bucket, root).replace(/\/$/, '');
    this.#access = access;
    this.#root = root;
    this.#scratchDirectory = scratchDirectory;
  }

  async put(key: string, content: ObjectContent): Promise<'created' | 'same'> {
    const { sizeBytes, sha256, blocks, isDigested = false } = content;
    // Blocks in memory can be read again as they are; a stream has to be kept first, in case its write must be repeated.
    if (Symbol.iterator in blocks) return await this.#create(key, memoryBody([...blocks], sizeBytes, sha256, isDigested));
    if (sizeBytes <= heldBytesMax) return await this.#create(key, memoryBody(await collected(blocks), sizeBytes, sha256));
    const path = join(this.#scratchDirectory, `${randomUUID()}.put`);
    try {
      await writeScratch(path, blocks);
      return await this.putFile(key, path, content);
    } finally {
      await rm(path, { force: true });
    }
  }

  async putFile(key: string, path: string, { sizeBytes, sha256 }: Omit<ObjectContent, 'blocks'>): Promise<'created' | 'same'> {
    const { size } = await stat(path);
    invariant(size === sizeBytes, `${path} has ${size} bytes, expected ${sizeBytes}`);
    return await this.#create(key, {
      sizeBytes, sha256,
      open: (start, end) => (start === end ? nothing() : createReadStream(path, { start, end: end - 1, highWaterMark: stepBytes })),
    });
  }

  async *read(key: string, range?: ByteRange): AsyncIterable<Buffer> {
    if (range && range.end <= range.start) return;
    yield* readObject(this.#access, this.#keyOf(key), range ?? {});
  }

  async readWhole(key: string, range?: ByteRange): Promise<Buffer> {
    const blocks: Buffer[] = [];
    for await (const block of this.read(key, range)) blocks.push(block);
    return Buffer.concat(blocks);
  }

  async head(key: string): Promise<StoredObject | undefined> {
    const found = await lookAtObject(this.#access, this.#keyOf(key));
    return found && { key, sizeBytes: found.sizeBytes, ...(found.sha256 === undefined ? {} : { sha256: found.sha256 }) };
  }

  async *list(prefix: string): AsyncIterable<StoredObject> {
    for await (const { key, sizeBytes } of listObjects(this.#access, this.#root + prefix)) {
      const own = key.slice(this.#root.length);
      // It is no object of the lake, as the temporary folder of the other store is none.
      if (own !== proofKey) yield { key: own, sizeBytes };
    }
  }

  async close(): Promise<void> {
    this.#access.client.destroy();
  }

  async #create(key: string, body: Body): Promise<'created' | 'same'> {
    const full = this.#keyOf(key);
    if (body.sizeBytes >= multipartBytesMin) await this.#proveCompletion();
    return await createObject(this.#access, full, body);
  }

  /** Once per process, and only where an object is large enough to need it. */
  async #proveCompletion(): Promise<void> {
    this.#completionProof ??= proveConditionalCompletion(this.#access, this.#root);
    try {
      await this.#completionProof;
    } catch (error) {
      // It may have failed for the moment: the next large object proves it again.
      this.#completionProof = undefined;
      throw error;
    }
  }

  #keyOf(key: string): string {
    const isPlain = key.length > 0 && key.split('/').every((part) => part !== '' && part !== '.' && part !== '..') && key !== proofKey;
    const full = this.#root + key;
    invariant(isPlain && !key.includes('\0') && Buffer.byteLength(full) <= keyBytesMax, `${JSON.stringify(key)} is not a lake key`);
    return full;
  }
}

async function collected(blocks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const held: Uint8Array[] = [];
  // The maker of a stream may use its memory again.
  for await (const block of blocks) held.push(Buffer.from(block));
  return held;
}

/** A body of blocks in memory. */
function memoryBody(blocks: readonly Uint8Array[], sizeBytes: number, sha256: string, isDigested = false): Body {
  const hash = createHash('sha256');
  let held = 0;
  for (const block of blocks) {
    if (!isDigested) hash.update(block);
    held += block.length;
  }
  invariant(held === sizeBytes && (isDigested || hash.digest('hex') === sha256), `the bytes at hand (${held}) are not the announced ones (${sizeBytes})`);
  return {
    sizeBytes, sha256,
    async *open(start, end) {
      let at = 0;
      for (const block of blocks) {
        const part = block.subarray(Math.max(0, start - at), Math.max(0, end - at));
        if (part.length > 0) yield part;
        at += block.length;
      }
    },
  };
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // An empty file has no byte to read.
}

async function writeScratch(path: string, blocks: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    await mkdir(join(path, '..'), { recursive: true });
    const file = await open(path, 'wx');
    try {
      for await (const block of blocks) await file.appendFile(block);
    } finally {
      await file.close();
    }
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== 'ENOSPC' && errno !== 'EDQUOT') throw error;
    throw new PlimsollError('lake_full', { message: 'an object on its way to the lake does not fit on the scratch disk', where: path, hint: 'Free some space; the work goes on from where it stands.', cause: error });
  }
}
