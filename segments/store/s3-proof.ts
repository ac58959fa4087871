/**
 * What is done once when a bucket is opened as a lake: proof that it creates objects conditionally, and the end of
 * uploads that a crash left behind. A store that ignores `If-None-Match` would overwrite results in silence, so it is
 * not believed but tried, on an object that exists for nothing else.
 */
import { createHash } from 'node:crypto';
import { AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CreateMultipartUploadCommand, ListMultipartUploadsCommand, PutObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3';
import { PlimsollError } from '../errors.ts';
import { isLakeKey } from '../lake.ts';
import { bucketOf, encryptionOf, type S3Access } from './s3-client.ts';
import { s3Uri } from './s3-uri.ts';
import { faultOf, operations, s3Error, statusOf } from './s3-fault.ts';

/** The object that is tried on, under the root of the lake. No listing shows it. */
export const proofKey = '.conditional-write';
const proofText = Buffer.from('This object exists so that a second conditional write of it is refused.\n');
const proofSha256 = createHash('sha256').update(proofText).digest('hex');

/** Uploads older than this belong to no living write. */
const abandonedMs = 24 * 3_600_000;

/**
 * Proves that a PUT meets an existing object with a refusal. The first start writes the object, every later one needs
 * one request. @throws PlimsollError `lake_unavailable`, also for whatever else keeps the bucket from being written
 */
export async function proveConditionalPut(access: S3Access, root: string): Promise<void> {
  const key = root + proofKey;
  const put = async (): Promise<boolean> => {
    try {
      await access.client.send(new PutObjectCommand({
        ...bucketOf(access), ...encryptionOf(access.settings), Key: key, Body: proofText, ContentLength: proofText.length, IfNoneMatch: '*', Metadata: { sha256: proofSha256 },
      }));
      return true;
    } catch (error) {
      // A second opener of a new lake may write it at the same moment; that too is a refusal.
      if (faultOf(error) === 'exists' || faultOf(error) === 'contested') return false;
      throw s3Error(error, access, key, operations.write);
    }
  };
  // The first may create it; a reply that is lost and tried again by the SDK only counts as the second.
  if ((await put()) && (await put())) throw unconditional(access, key, 'PUT');
}

/** Proves the same for the completion of a multipart upload; needed before the first one. */
export async function proveConditionalCompletion(access: S3Access, root: string): Promise<void> {
  const key = root + proofKey;
  const { client } = access;
  const target = { ...bucketOf(access), Key: key };
  try {
    const { UploadId: uploadId } = await client.send(new CreateMultipartUploadCommand({ ...target, ...encryptionOf(access.settings), Metadata: { sha256: proofSha256 } }));
    const upload = { ...target, UploadId: uploadId };
    try {
      const part = await client.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: proofText, ContentLength: proofText.length }));
      await client.send(new CompleteMultipartUploadCommand({ ...upload, IfNoneMatch: '*', MultipartUpload: { Parts: [{ ETag: part.ETag, PartNumber: 1 }] } }));
    } catch (error) {
      await client.send(new AbortMultipartUploadCommand(upload)).catch(() => undefined);
      throw error;
    }
  } catch (error) {
    if (faultOf(error) === 'exists' || faultOf(error) === 'contested') return;
    throw s3Error(error, access, key, operations.write);
  }
  throw unconditional(access, key, 'the completion of a multipart upload');
}

function unconditional(access: S3Access, key: string, what: string): PlimsollError {
  return new PlimsollError('lake_unavailable', {
    message: `the bucket ${access.bucket} ignores If-None-Match on ${what}: it has no conditional writes, so results could be overwritten in silence`,
    where: s3Uri(access.bucket, key),
    hint: 'Use a store with conditional writes: AWS S3, or a recent version of one that is compatible with it. Nothing was lost; no run can use this bucket.',
  });
}

/**
 * Aborts multipart uploads of the lake that no living process can own. Returns how many. Without a prefix the root of the
 * lake is the whole bucket, and what others upload beside it is theirs.
 */
export async function abortAbandonedUploads(access: S3Access, root: string, nowMs: number): Promise<number> {
  const { client } = access;
  let aborted = 0;
  let marker: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {};
  try {
    while (marker) {
      const page: Awaited<ReturnType<typeof listUploads>> = await listUploads(access, root, marker);
      for (const { Key: key, UploadId: uploadId, Initiated: initiated } of page.Uploads ?? []) {
        if (key === undefined || uploadId === undefined || initiated === undefined || nowMs - initiated.getTime() < abandonedMs) continue;
        if (!isOwnUpload(key.slice(root.length))) continue;
        await client.send(new AbortMultipartUploadCommand({ ...bucketOf(access), Key: key, UploadId: uploadId })).catch(ifGone);
        aborted += 1;
      }
      marker = page.IsTruncated === true ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined;
    }
  } catch (error) {
    // Housekeeping only: who may not list uploads leaves them to a lifecycle rule of the bucket.
    if (statusOf(error) === 403 || statusOf(error) === 501) return aborted;
    throw s3Error(error, access, root, { verb: 'list the unfinished uploads', action: 's3:ListBucketMultipartUploads and s3:AbortMultipartUpload' });
  }
  return aborted;
}

/** Whether a key below the root is one that this store uploads to: other hidden keys may be anybody's. */
function isOwnUpload(key: string): boolean {
  return key === proofKey || (isLakeKey(key) && !key.startsWith('.'));
}

async function listUploads(access: S3Access, root: string, marker: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined }) {
  const { KeyMarker, UploadIdMarker } = marker;
  return await access.client.send(new ListMultipartUploadsCommand({
    ...bucketOf(access), Prefix: root, ...(KeyMarker === undefined ? {} : { KeyMarker }), ...(UploadIdMarker === undefined ? {} : { UploadIdMarker }),
  }));
}

function ifGone(error: unknown): void {
  // Another start was first.
  if (faultOf(error) !== 'gone' && faultOf(error) !== 'missing') throw error;
}
