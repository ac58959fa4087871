/**
 * The product's upload: the body is spliced from the spool, hashed and gated, and leaves through the SDK.
 *
 *   upload.ts LAKE URL     prints ms, rows, bytes, batch (the number in the batch's name)
 *   upload.ts LAKE FILE    writes the same body to a file instead; an address has a colon
 */
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ArchiveId } from '../../../segments/segment.ts';
import { openFolderStore } from '../../../segments/store/folder.ts';
import { openClaude } from '../../../workers/anthropic.ts';
import { archiveBody, digestBody, makeBody } from '../../../workers/body.ts';
import { gateBody } from '../../../workers/gate.ts';
import { argument, begin, report } from '../child.ts';
import type { Prepared } from './prepare.ts';

const lake = argument(0);
const target = argument(1);
const prepared = JSON.parse(await readFile(`${lake}/archive.json`, 'utf8')) as Prepared;
const store = await openFolderStore(lake, Date.now());
const { ranges, rows, bodyBytes: sizeBytes } = prepared;
const archive = prepared.archive as ArchiveId;
// What a worker has done before it sends an archive: a sealer has made the body once for its digests, on the thread that the
// process keeps for this. Starting that thread is no part of an upload.
const sealed = await digestBody(store, archive, ranges, sizeBytes);
if (sealed.sha256 !== prepared.bodySha256) throw new Error('the body is not the one that was prepared');

const claude = target.includes(':') ? openClaude({ apiKey: 'bench', authToken: undefined, baseUrl: target, version: '2026-10-21' }) : undefined;
// The runtime loads its fetch when a part of it is named first, which the SDK does in every call.
void new Headers();

const startMs = begin();
let batch = 0;
if (claude) {
  const outcome = await claude.createBatch(gateBody(makeBody(store, archive, ranges, sealed), sealed, async () => true), 60_000, new AbortController().signal);
  if (outcome.kind !== 'accepted') throw new Error(`the upload was ${outcome.kind}: ${outcome.reason}`);
  batch = Number(outcome.batch.slice('msgbatch_bench'.length));
  await claude.close();
} else {
  await pipeline(Readable.from(archiveBody(store, archive, ranges)), createWriteStream(target));
}
report({ ms: performance.now() - startMs, rows, bytes: sizeBytes, batch });
