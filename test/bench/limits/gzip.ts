/**
 * What one thread of gzip can do: a file through one gzip stream at level 1 into another file.
 *
 *   gzip.ts FILE OUT     prints ms, bytes (of the file)
 */
import { createReadStream, createWriteStream, statSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { argument, begin, report } from '../child.ts';

const startMs = begin();
await pipeline(createReadStream(argument(0), { highWaterMark: 1024 * 1024 }), createGzip({ level: 1, chunkSize: 256 * 1024 }), createWriteStream(argument(1)));
report({ ms: performance.now() - startMs, bytes: statSync(argument(0)).size });
