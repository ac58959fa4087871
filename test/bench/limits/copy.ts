/**
 * What a plain copy costs: the same bytes read and written again, durably, without a look at them.
 *
 *   copy.ts FILE OUT                     a file to a file, with fdatasync
 *   copy.ts FILE OUT ENDPOINT BUCKET     the file is put into the bucket before; then the object to a file, and the file to
 *                                        another object, by the SDK
 *
 * Prints ms and bytes.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { argument, begin, report } from '../child.ts';

const [file, out] = [argument(0), argument(1)];
const { size } = await stat(file);
const step = { highWaterMark: 1024 * 1024 };
if (process.argv.length > 4) await copyInBucket(argument(2), argument(3));
else await copyFile();

async function copyFile(): Promise<void> {
  const startMs = begin();
  await pipeline(createReadStream(file, step), createWriteStream(out, step));
  const written = await open(out, 'r+');
  await written.datasync();
  await written.close();
  report({ ms: performance.now() - startMs, bytes: size });
}

async function copyInBucket(endpoint: string, bucket: string): Promise<void> {
  const client = new S3Client({ endpoint, forcePathStyle: true });
  const put = async (key: string, path: string): Promise<void> => {
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: createReadStream(path, step), ContentLength: size }));
  };
  await put('copy/from', file);
  const startMs = begin();
  const { Body: body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: 'copy/from' }));
  if (!(body instanceof Readable)) throw new Error('the object has no body');
  await pipeline(body, createWriteStream(out, step));
  await put('copy/to', out);
  report({ ms: performance.now() - startMs, bytes: size });
  client.destroy();
}
