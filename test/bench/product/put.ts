/**
 * The store's own upload of one file to a bucket, in parts and with a digest that is compared.
 *
 *   put.ts FILE ENDPOINT BUCKET     prints ms, bytes; the digest is made before
 */
import { createReadStream } from 'node:fs';
import { dirname } from 'node:path';
import { stat } from 'node:fs/promises';
import { argument, begin, report } from '../child.ts';
import { digestOf } from '../digest.ts';
import { openBucket } from './bucket.ts';

const file = argument(0);
const { size: sizeBytes } = await stat(file);
const sha256 = await digestOf(createReadStream(file) as AsyncIterable<Buffer>);
const store = await openBucket(argument(1), argument(2), dirname(file));
const startMs = begin();
await store.putFile('journal/put', file, { sizeBytes, sha256 });
report({ ms: performance.now() - startMs, bytes: sizeBytes });
await store.close();
