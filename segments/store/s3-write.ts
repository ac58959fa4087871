/**
 * Creates objects in a bucket, each once. Every write is conditional, and whatever a reply does not prove is looked up:
 * an object that is there with the announced size and digest is ours, one with another content is a conflict.
 *
 * Invariants
 *   W1  Nothing is overwritten: a PUT and the completion of a multipart upload carry `If-None-Match: *`.
 *   W2  `created` or `same` is answered only when the object is there, whole, with the announced sha256 beside it.
 *   W3  Memory is bounded by `partBytes * partsAtOnce`, whatever the size of the object.
 *   W4  An upload that is given up is aborted; one that a crash left behind is found at a later start.
 *   W5  An upload is completed only with all of its parts: the first part that fails ends it, whenever it fails.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CreateMultipartUploadCommand, PutObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3';
import { invariant, PlimsollError } from '../errors.ts';
import { bucketOf, encryptionOf, uploadWait, type S3Access } from './s3-client.ts';
import { s3Uri } from './s3-uri.ts';
import { faultOf, operations, s3Error } from './s3-fault.ts';
import { lookAtObject, readObject } from './s3-read.ts';

/** What is to be created: bytes that can be read more than once, because a write whose fate is unknown is sent again. */
export interface Body {
  readonly sizeBytes: number;
  /** sha256 of the content, hex. */
  readonly sha256: string;
  /** The bytes from `start` to before `end`. */
  open(start: number, end: number): AsyncIterable<Uint8Array>;
}

/** From this size on an object is written in parts. */
export const multipartBytesMin = 64 * 1024 * 1024;
const partBytesMin = 8 * 1024 * 1024;
/** S3 takes at most 10,000 parts (S3 user guide, multipart upload limits). */
const partsMax = 9_000;
const partsAtOnce = 4;
/** Smaller bodies are held in memory, so that the SDK itself can send them again. */
const heldBytesMax = 1024 * 1024;
const triesMax = 6;
const pauseMs = 150;

/** Creates an object (W1, W2). @throws PlimsollError `lake_conflict`, `lake_unavailable`, `lake_full` */
export async function createObject(access: S3Access, key: string, body: Body): Promise<'created' | 'same'> {
  const isMultipart = body.sizeBytes >= multipartBytesMin;
  for (let tries = 1; ; tries += 1) {
    try {
      if (!isMultipart) {
        await putObject(access, key, body);
        return 'created';
      }
      await uploadObject(access, key, body);
      // A completion may answer 200 and still not have made the object.
      if (await isThere(access, key, body)) return 'created';
    } catch (error) {
      if (error instanceof PlimsollError || faultOf(error) === 'lasting') throw s3Error(error, access, key, operations.write);
      // The reply may be lost and the object written all the same.
      if (await isThere(access, key, body)) return 'same';
      if (tries >= triesMax) throw s3Error(error, access, key, operations.write);
    }
    if (tries >= triesMax) throw s3Error(Object.assign(new Error(), { name: 'NotCompleted' }), access, key, operations.write);
    await pause(pauseMs * 2 ** (tries - 1));
  }
}

/** One PUT. A body in memory may be sent again by the SDK: a repetition meets the object and is told so by a 412. */
async function putObject(access: S3Access, key: string, body: Body): Promise<void> {
  const { settings } = access;
  const held = body.sizeBytes <= heldBytesMax ? await gather(body, 0, body.sizeBytes) : undefined;
  const stream = held ?? Readable.from(body.open(0, body.sizeBytes), { objectMode: false, highWaterMark: heldBytesMax });
  const command = new PutObjectCommand({
    ...bucketOf(access),
    ...encryptionOf(settings),
    Key: key,
    Body: stream,
    ContentLength: body.sizeBytes,
    IfNoneMatch: '*',
    Metadata: { sha256: body.sha256 },
    ...(settings.isChecksumMinimal ? {} : { ChecksumSHA256: Buffer.from(body.sha256, 'hex').toString('base64') }),
  });
  // The signed digest of the payload: a store that knows no checksum headers still compares what it got with it.
  command.middlewareStack.add(
    (next) => async (args) => {
      const { request } = args;
      if (typeof request === 'object' && request !== null && 'headers' in request) {
        const headers = request.headers as Record<string, string>;
        headers['x-amz-content-sha256'] = body.sha256;
      }
      return await next(args);
    },
    { step: 'build', name: 'announceSha256' },
  );
  try {
    await access.client.send(command, uploadWait(settings, body.sizeBytes));
  } finally {
    if (stream instanceof Readable) stream.destroy();
  }
}

/** A multipart upload, from its beginning to its conditional completion (W3, W4). */
async function uploadObject(access: S3Access, key: string, body: Body): Promise<void> {
  const { client, settings } = access;
  const target = { ...bucketOf(access), Key: key };
  const { UploadId: uploadId } = await client.send(new CreateMultipartUploadCommand({ ...target, ...encryptionOf(settings), Metadata: { sha256: body.sha256 } }));
  invariant(uploadId !== undefined, 'S3 names every multipart upload');
  try {
    const parts = await uploadParts(access, key, uploadId, body);
    await client.send(new CompleteMultipartUploadCommand({ ...target, UploadId: uploadId, IfNoneMatch: '*', MultipartUpload: { Parts: parts } }), uploadWait(settings, body.sizeBytes));
  } catch (error) {
    // What cannot be aborted now is found by its age at a later start.
    await client.send(new AbortMultipartUploadCommand({ ...target, UploadId: uploadId })).catch(() => undefined);
    throw error;
  }
}

/** Sends all parts, a few at once, and returns them in order (W5). @throws what the first part that failed raised */
async function uploadParts(access: S3Access, key: string, uploadId: string, body: Body): Promise<{ ETag: string; PartNumber: number }[]> {
  const { client, settings } = access;
  const partBytes = partBytesOf(body.sizeBytes);
  const hash = createHash('sha256');
  const parts: { ETag: string; PartNumber: number }[] = [];
  const underWay = new Set<Promise<void>>();
  // A part may fail while nobody waits for it: the next ones are being read. Its promise therefore never rejects, which
  // would end the process there, and the failure stays here, also when a race was decided by another part.
  const failures: unknown[] = [];
  const throwFirst = (): void => {
    if (failures.length > 0) throw failures[0];
  };
  const send = async (bytes: Buffer, number: number): Promise<void> => {
    const reply = await client.send(
      new UploadPartCommand({ ...bucketOf(access), Key: key, UploadId: uploadId, PartNumber: number, Body: bytes, ContentLength: bytes.length }),
      uploadWait(settings, bytes.length),
    );
    invariant(reply.ETag !== undefined, 'S3 answers a part with its etag');
    parts.push({ ETag: reply.ETag, PartNumber: number });
  };
  try {
    for (let start = 0, number = 1; start < body.sizeBytes; start += partBytes, number += 1) {
      const bytes = await gather(body, start, Math.min(start + partBytes, body.sizeBytes));
      throwFirst();
      hash.update(bytes);
      const sending = send(bytes, number)
        .catch((error: unknown) => void failures.push(error))
        .finally(() => underWay.delete(sending));
      underWay.add(sending);
      if (underWay.size >= partsAtOnce) await Promise.race(underWay);
      throwFirst();
    }
  } finally {
    // Also before an abort: a part that arrives behind it would be kept, and paid for, without an upload.
    await Promise.all(underWay);
  }
  throwFirst();
  const count = Math.ceil(body.sizeBytes / partBytes);
  invariant(parts.length === count, `${s3Uri(access.bucket, key)}: ${parts.length} of ${count} parts were sent`);
  invariant(hash.digest('hex') === body.sha256, `${s3Uri(access.bucket, key)}: the written bytes are not the announced ones`);
  return parts.sort((a, b) => a.PartNumber - b.PartNumber);
}

/** Bytes of one part: a whole number of MiB, so that not more than `partsMax` are needed. */
export function partBytesOf(sizeBytes: number): number {
  const mebibyte = 1024 * 1024;
  return Math.max(partBytesMin, Math.ceil(sizeBytes / partsMax / mebibyte) * mebibyte);
}

async function gather(body: Body, start: number, end: number): Promise<Buffer> {
  const blocks: Uint8Array[] = [];
  for await (const block of body.open(start, end)) blocks.push(block);
  const bytes = blocks.length === 1 && Buffer.isBuffer(blocks[0]) ? blocks[0] : Buffer.concat(blocks);
  invariant(bytes.length === end - start, `a body gave ${bytes.length} bytes for ${end - start}`);
  return bytes;
}

/** Whether the announced object is there (W2). @throws PlimsollError `lake_conflict` when another one is */
async function isThere(access: S3Access, key: string, body: Body): Promise<boolean> {
  const found = await lookAtObject(access, key);
  if (!found) return false;
  // An object that someone copied by hand may have lost the digest beside it, so its bytes decide.
  const sha256 = found.sizeBytes === body.sizeBytes ? (found.sha256 ?? (await digestOf(access, key))) : (found.sha256 ?? 'unknown');
  if (found.sizeBytes === body.sizeBytes && sha256 === body.sha256) return true;
  throw new PlimsollError('lake_conflict', {
    message: `an object of ${found.sizeBytes} bytes (sha256 ${sha256.slice(0, 12)}) exists, ${body.sizeBytes} bytes (sha256 ${body.sha256.slice(0, 12)}) were to be written`,
    where: s3Uri(access.bucket, key),
    hint: 'Objects are never overwritten. Find out who wrote the other one; move it away by hand if it does not belong there.',
  });
}

async function digestOf(access: S3Access, key: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const block of readObject(access, key)) hash.update(block);
  return hash.digest('hex');
}
