/**
 * Reads from a bucket. A transfer that breaks goes on at the byte where it broke, on the same object: the first reply's
 * etag is a condition of every later one.
 *
 * Invariants
 *   R1  The bytes that come out are those of one version of the object, in order, each once.
 *   R2  Every wait is bounded, and so is the number of tries that bring nothing.
 */
import { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { GetObjectCommand, HeadBucketCommand, HeadObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { invariant, PlimsollError } from '../errors.ts';
import { bucketOf, type S3Access } from './s3-client.ts';
import { s3Uri } from './s3-uri.ts';
import { faultOf, operations, s3Error, statusOf } from './s3-fault.ts';

/** What a look at an object tells. */
export interface ObjectFacts {
  readonly key: string;
  readonly sizeBytes: number;
  /** Without quotes; not a digest of the content for multipart and encrypted objects. */
  readonly etag: string;
  /** Undefined where the bucket keeps no versions. */
  readonly version: string | undefined;
  /** sha256 that Plimsoll noted when it wrote the object, hex; undefined: someone else wrote it. */
  readonly sha256: string | undefined;
}

export interface ReadOptions {
  /** First byte; 0 by default. */
  readonly start?: number;
  /** Behind the last byte; the end of the object by default. */
  readonly end?: number;
  readonly version?: string | undefined;
  /** The object must still be this one. */
  readonly etag?: string;
}

/** Tries in a row that brought no byte. */
const triesMax = 5;
const pauseMs = 200;

/** Looks an object up; undefined when it is not there. */
export async function lookAtObject(access: S3Access, key: string, version?: string): Promise<ObjectFacts | undefined> {
  try {
    const found = await access.client.send(new HeadObjectCommand({ ...bucketOf(access), Key: key, ...(version === undefined ? {} : { VersionId: version }) }));
    return {
      key,
      sizeBytes: found.ContentLength ?? 0,
      etag: bareEtag(found.ETag),
      version: found.VersionId === 'null' ? undefined : found.VersionId,
      sha256: found.Metadata?.['sha256'],
    };
  } catch (error) {
    // A delete marker answers 405 to a request for its version.
    if (faultOf(error) === 'missing' || statusOf(error) === 405) return undefined;
    throw s3Error(error, access, key, version === undefined ? operations.look : operations.lookVersion);
  }
}

/**
 * Proves that it is the object that is missing and not its bucket, after a look has found nothing: the reply to a HEAD has
 * no body, so its 404 does not say which. One who may not look at a bucket is answered 403 only where there is one.
 * @throws PlimsollError `lake_unavailable` or `source_unreadable` when there is no such bucket, or nobody can tell
 */
export async function proveBucket(access: S3Access, key: string): Promise<void> {
  try {
    await access.client.send(new HeadBucketCommand(bucketOf(access)));
  } catch (error) {
    if (statusOf(error) === 403) return;
    const isMissing = faultOf(error) === 'missing';
    throw s3Error(isMissing ? Object.assign(new Error(), { name: 'NoSuchBucket' }) : error, access, key, operations.look);
  }
}

/** Streams an object or a part of it (R1, R2). A part that lies behind the end is empty. */
export async function* readObject(access: S3Access, key: string, options: ReadOptions = {}): AsyncGenerator<Buffer, void, void> {
  let at = options.start ?? 0;
  let end = options.end;
  let etag = options.etag;
  for (let tries = 1; end === undefined || at < end; tries += 1) {
    try {
      const opened = await openRange(access, key, { start: at, end, etag, version: options.version });
      if (!opened) return;
      ({ etag } = opened);
      end = opened.end;
      try {
        for await (const block of opened.body as AsyncIterable<Buffer>) {
          tries = 0;
          at += block.length;
          yield block;
        }
      } finally {
        opened.body.destroy();
      }
      invariant(at <= end, `${s3Uri(access.bucket, key)}: more bytes came than were asked for`);
    } catch (error) {
      if (error instanceof PlimsollError) throw error;
      const fault = faultOf(error);
      if (fault === 'exists') throw changed(access, key, error);
      if (fault !== 'passing' || tries >= triesMax) throw s3Error(error, access, key, options.version === undefined ? operations.read : operations.readVersion);
      await pause(pauseMs * tries);
      continue;
    }
    // A transfer may also end early without an error.
    if (at < end && tries >= triesMax) throw s3Error(Object.assign(new Error(), { name: 'EndedEarly' }), access, key, operations.read);
  }
}

interface OpenRange {
  readonly body: Readable;
  readonly etag: string | undefined;
  /** Behind the last byte that this object can give. */
  readonly end: number;
}

async function openRange(access: S3Access, key: string, range: { start: number; end: number | undefined; etag: string | undefined; version: string | undefined }): Promise<OpenRange | undefined> {
  const isWhole = range.start === 0 && range.end === undefined;
  try {
    const reply = await access.client.send(new GetObjectCommand({
      ...bucketOf(access),
      Key: key,
      ...(isWhole ? {} : { Range: `bytes=${range.start}-${range.end === undefined ? '' : range.end - 1}` }),
      ...(range.etag === undefined ? {} : { IfMatch: `"${range.etag}"` }),
      ...(range.version === undefined ? {} : { VersionId: range.version }),
    }));
    invariant(reply.Body instanceof Readable, 'the S3 client answers with a stream of Node');
    // A store that ignores Range would begin at byte 0, and the bytes would be taken for others.
    const isPart = isWhole || reply.ContentRange?.startsWith(`bytes ${range.start}-`) === true;
    if (!isPart) {
      reply.Body.destroy();
      throw new PlimsollError(access.role === 'lake' ? 'lake_unavailable' : 'source_unreadable', { message: 'cannot read: the store ignores the Range header', where: s3Uri(access.bucket, key), hint: 'Use a store that serves ranges of objects.', cause: Object.assign(new Error(), { name: 'RangeIgnored' }) });
    }
    return { body: reply.Body, etag: reply.ETag === undefined ? range.etag : bareEtag(reply.ETag), end: range.start + (reply.ContentLength ?? 0) };
  } catch (error) {
    // Nothing of the object is at or behind this byte.
    if (statusOf(error) === 416) return undefined;
    throw error;
  }
}

function changed(access: S3Access, key: string, cause: unknown): PlimsollError {
  return new PlimsollError(access.role === 'lake' ? 'lake_conflict' : 'source_damaged', {
    message: 'the object was replaced while it was read',
    where: s3Uri(access.bucket, key),
    hint: access.role === 'lake' ? 'Objects of the lake must never change; find out who writes them.' : 'Write new content under a new key; the run that was begun keeps what it has read.',
    cause,
  });
}

/** Every object whose key starts with `prefix`, in byte order of the keys. */
export async function* listObjects(access: S3Access, prefix: string): AsyncGenerator<Omit<ObjectFacts, 'sha256' | 'version'>, void, void> {
  let token: string | undefined;
  do {
    try {
      const page = await access.client.send(new ListObjectsV2Command({ ...bucketOf(access), Prefix: prefix, ...(token === undefined ? {} : { ContinuationToken: token }) }));
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      for (const { Key: key, Size: sizeBytes, ETag: etag } of page.Contents ?? []) {
        if (key !== undefined) yield { key, sizeBytes: sizeBytes ?? 0, etag: bareEtag(etag) };
      }
    } catch (error) {
      throw s3Error(error, access, prefix, operations.list);
    }
  } while (token !== undefined);
}

/** An etag without its quotes. */
export function bareEtag(etag: string | undefined): string {
  return (etag ?? '').replace(/^"|"$/g, '');
}
