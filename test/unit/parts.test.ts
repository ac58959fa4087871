/** The parts of a multipart upload and their failures, in the orders that no server can be asked for. */
import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { S3ServiceException, type S3Client } from '@aws-sdk/client-s3';
import { expect, it } from 'vitest';
import type { S3Access } from '../../segments/store/s3-client.ts';
import { createObject, multipartBytesMin, partBytesOf, type Body } from '../../segments/store/s3-write.ts';

const bytes = Buffer.alloc(multipartBytesMin, 1);
const sha256 = createHash('sha256').update(bytes).digest('hex');
const partBytes = partBytesOf(bytes.length);
const partCount = bytes.length / partBytes;

interface Sent {
  readonly constructor: { readonly name: string };
  readonly input: { readonly PartNumber?: number; readonly MultipartUpload?: { readonly Parts: readonly { readonly PartNumber: number }[] } };
}

const refusal = (name: string, status: number): S3ServiceException => new S3ServiceException({ name, $fault: 'server', $metadata: { httpStatusCode: status } });

/** A bucket that holds one object; `part` answers for the parts and may fail them. `onRead` is told which part is read. */
function bucketWhere(part: (number: number) => Promise<void>, onRead: (number: number) => Promise<void> = async () => undefined) {
  const seen = { completed: [] as number[][], aborted: 0 };
  const answers: Record<string, (sent: Sent) => Promise<object>> = {
    CreateMultipartUploadCommand: async () => ({ UploadId: 'upload' }),
    UploadPartCommand: async ({ input: { PartNumber: number = 0 } }) => {
      await part(number);
      return { ETag: `etag-${number}` };
    },
    CompleteMultipartUploadCommand: async ({ input }) => {
      seen.completed.push((input.MultipartUpload?.Parts ?? []).map(({ PartNumber: number }) => number));
      return {};
    },
    AbortMultipartUploadCommand: async () => {
      seen.aborted += 1;
      return {};
    },
    HeadObjectCommand: async () => {
      const parts = seen.completed[0];
      if (!parts) throw refusal('NotFound', 404);
      return { ContentLength: parts.length * partBytes, Metadata: { sha256 } };
    },
  };
  const send = async (sent: Sent): Promise<object> => await (answers[sent.constructor.name] ?? (() => Promise.reject(new Error(sent.constructor.name))))(sent);
  const access: S3Access = {
    client: { send } as unknown as S3Client, bucket: 'b', role: 'lake',
    settings: { region: 'eu-west-1', endpoint: undefined, isPathStyle: true, isChecksumMinimal: false, kmsKeyId: undefined, bucketOwner: undefined, timeoutMs: 1_000 },
  };
  const body: Body = {
    sizeBytes: bytes.length, sha256,
    async *open(start, end) {
      await onRead(start / partBytes + 1);
      yield bytes.subarray(start, end);
    },
  };
  return { seen, create: async () => await createObject(access, 'k', body) };
}

/** Lets everything that is ready now go on, also what follows from it. */
const settled = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));
const allParts = Array.from({ length: partCount }, (_, index) => index + 1);

it('a part that fails while the next one is read, behind a race that another part has won, ends the upload (W5)', async () => {
  const events = new EventEmitter();
  const [first, others] = [once(events, 'first'), once(events, 'others')];
  let tries = 0;
  const { seen, create } = bucketWhere(
    async (number) => {
      if (number === 1 && ++tries === 1) {
        await first;
        throw refusal('SlowDown', 503);
      }
      // The other parts of the first round stay under way until the failure is over.
      if (number < 4 && tries === 1) await others;
    },
    async (number) => {
      if (number !== 5 || tries > 1) return;
      events.emit('first');
      await settled();
      events.emit('others');
    },
  );
  expect(await create()).toBe('created');
  expect(seen).toEqual({ completed: [allParts], aborted: 1 });
});

it('a part that fails while the first ones are still read is told to the caller, and the upload is aborted (W4, W5)', async () => {
  const { seen, create } = bucketWhere(
    async (number) => {
      if (number === 1) throw refusal('AccessDenied', 403);
    },
    async () => await settled(),
  );
  await expect(create()).rejects.toMatchObject({ code: 'lake_unavailable', where: 's3://b/k' });
  expect(seen).toEqual({ completed: [], aborted: 1 });
});

it('the last part that fails when all others are there ends the upload too (W5)', async () => {
  const { seen, create } = bucketWhere(async (number) => {
    if (number === partCount) throw refusal('AccessDenied', 403);
  });
  await expect(create()).rejects.toMatchObject({ code: 'lake_unavailable' });
  expect(seen).toEqual({ completed: [], aborted: 1 });
});
