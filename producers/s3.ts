/**
 * Documents in a bucket as a source: one object, everything below a prefix, or what a glob matches. Objects are taken in
 * byte order of their keys, so the same objects always make the same run.
 *
 * Each object is pinned when it is opened: what follows is read from this very version, and a transfer that breaks goes
 * on at its byte. Nothing is written here, and no address comes from anywhere but the caller.
 */
import { PlimsollError } from '../segments/errors.ts';
import { openS3Client, type S3Access, type S3Settings } from '../segments/store/s3-client.ts';
import { parseS3Uri, s3Uri } from '../segments/store/s3-uri.ts';
import { listObjects, lookAtObject, readObject } from '../segments/store/s3-read.ts';
import type { OpenedObject, SourceLocation, SourceObject } from './source.ts';

/** A run of more objects than this is cut into several; their keys are held in memory. */
const objectsMax = 1_000_000;
const globSigns = /[*?]/;

/** The objects that an `s3://` address names. @throws PlimsollError `source_unreadable` when there is none */
export async function* namedObjects(uri: string, settings: S3Settings): AsyncGenerator<SourceObject, void, void> {
  const place = parseS3Uri(uri);
  if (place === undefined) throw new PlimsollError('source_unreadable', { message: 'this is no address of a bucket', where: uri, hint: 'Write s3://bucket/key, s3://bucket/prefix/ or s3://bucket/prefix/*.jsonl.gz.' });
  const access: S3Access = { client: openS3Client(settings), bucket: place.bucket, settings, role: 'source' };
  try {
    yield* named(access, place.key, uri);
  } finally {
    access.client.destroy();
  }
}

/** The source that is one object, perhaps in one version; the caller keeps the client. */
export function s3ObjectSource(access: S3Access, object: { readonly key: string; readonly etag: string; readonly version: string | undefined }): SourceLocation {
  return {
    kind: 'objects',
    uri: s3Uri(access.bucket, object.key),
    async *objects() {
      yield pinned(access, object);
    },
  };
}

async function* named(access: S3Access, key: string, uri: string): AsyncGenerator<SourceObject, void, void> {
  const isGlob = globSigns.test(key);
  const isExact = !isGlob && key !== '' && !key.endsWith('/');
  const found = isExact ? await lookAtObject(access, key) : undefined;
  if (found) {
    yield pinned(access, found);
    return;
  }
  const matches = isGlob ? globPattern(key) : undefined;
  const prefix = isGlob ? key.slice(0, key.search(globSigns)) : key === '' || key.endsWith('/') ? key : `${key}/`;
  const objects: { readonly key: string; readonly etag: string }[] = [];
  for await (const { key: each, etag } of listObjects(access, prefix)) {
    if (isHidden(each.slice(prefix.lastIndexOf('/') + 1)) || (matches && !matches.test(each))) continue;
    objects.push({ key: each, etag });
    if (objects.length > objectsMax) throw new PlimsollError('source_unreadable', { message: `more than ${objectsMax} objects match`, where: uri, hint: 'Cut the input into several runs, for example by day.' });
  }
  if (objects.length === 0) {
    throw new PlimsollError('source_unreadable', { message: 'no object is there', where: uri, hint: `Check the address: aws s3 ls ${s3Uri(access.bucket, prefix)}. Names that begin with _ or . are left out.` });
  }
  for (const object of objects) yield pinned(access, { ...object, version: undefined });
}

/** Whether a path below a place is a folder mark, or what other tools hide: `_SUCCESS`, `.part`, `_temporary/x`. */
export function isHidden(path: string): boolean {
  return path === '' || path.endsWith('/') || path.split('/').some((part) => part.startsWith('_') || part.startsWith('.'));
}

/** `*` is anything but a slash, `**` is anything, `?` one sign but a slash. */
export function globPattern(glob: string): RegExp {
  const source = glob.replaceAll(/\*\*\/?|\*|\?|[^*?]+/g, (part) => {
    if (part === '**/') return '(?:.*/)?';
    if (part === '**') return '.*';
    if (part === '*') return '[^/]*';
    return part === '?' ? '[^/]' : part.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`);
  });
  return new RegExp(`^${source}$`, 's');
}

function pinned(access: S3Access, { key, etag, version }: { readonly key: string; readonly etag: string; readonly version: string | undefined }): SourceObject {
  const uri = s3Uri(access.bucket, key);
  return {
    uri,
    etag,
    async open(): Promise<OpenedObject> {
      const found = await lookAtObject(access, key, version);
      if (!found) {
        throw new PlimsollError('source_unreadable', {
          message: 'there is no such object any more',
          where: uri,
          hint: 'It was deleted or moved after it was listed or announced. Put it there again, or drop it from the input.',
        });
      }
      if (found.etag !== etag) {
        throw new PlimsollError('source_damaged', {
          message: 'the object was replaced after it was listed or announced',
          where: uri,
          hint: 'Write new content under a new key, or start a run of its own with what is there now.',
        });
      }
      return {
        uri,
        etag,
        version: found.version,
        read: (start, end) => readObject(access, key, { start, etag, version: found.version, ...(end === undefined ? {} : { end }) }),
      };
    },
  };
}
