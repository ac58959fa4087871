/**
 * What a plain copy costs: the same bytes read and written again, durably, without a look at them.
 *
 *   copy.ts FILE OUT                             a file to a file, with fdatasync
 *   copy.ts KEY OUT ENDPOINT BUCKET PART_BYTES   by the SDK: the object to a file, the file to another object, and the first
 *                                                PART_BYTES of it to a third one
 *
 * Prints ms and bytes; of a bucket getMs, putMs and partMs.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { argument, begin, report } from '../child.ts';

const [from, out] = [argument(0), argument(1)];
const step = { highWaterMark: 1024 * 1024 };
if (process.argv.length > 4) await copyInBucket(argument(2), argument(3), Number(argument(4)));
else await copyFile();

async function copyFile(): Promise<void> {
  const startMs = begin();
  await pipeline(createReadStream(from, step), createWriteStream(out, step));
  const written = await open(out, 'r+');
  await written.datasync();
  await written.close();
  report({ ms: performance.now() - startMs, bytes: (await stat(out)).size });
}

async function copyInBucket(endpoint: string, bucket: string, partBytes: number): Promise<void> {
  // Without a trailing checksum: with one the SDK sends a stream as signed pieces, and moto joins those in a time that grows
  // with the square of the size (96 MB: 4.8 s instead of 0.9 s; a gigabyte: some ten minutes).
  const client = new S3Client({ endpoint, forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED' });
  const put = async (key: string, bytes: number): Promise<number> => {
    const startMs = performance.now();
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: createReadStream(out, { ...step, end: bytes - 1 }), ContentLength: bytes }));
    return performance.now() - startMs;
  };
  const startMs = begin();
  const { Body: body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: from }));
  if (!(body instanceof Readable)) throw new Error('the object has no body');
  await pipeline(body, createWriteStream(out, step));
  const getMs = performance.now() - startMs;
  const { size } = await stat(out);
  const putMs = await put('copy/whole', size);
  const partMs = await put('copy/part', partBytes);
  report({ ms: getMs + putMs, getMs, putMs, partMs, bytes: size });
  client.destroy();
}
