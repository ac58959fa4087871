/**
 * The product's export of an archive that is settled, and its audit archive; the settling is part of no time.
 *
 *   export.ts LAKE URL BATCH files                     from the folder to the folder
 *   export.ts LAKE URL BATCH files ENDPOINT BUCKET     from the bucket to the bucket; the spool is copied there before
 *   export.ts LAKE URL BATCH audit                     the audit archive, in the folder
 *
 * Prints ms, rows and bytes: of the results, for an audit archive of requests and results. Of an export also written, the
 * bytes of its files. The peak of memory is that of settling and exporting.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { writeAudit } from '../../../exporters/audit.ts';
import { sealedKey } from '../../../segments/lake.ts';
import { asBatchId } from '../../../segments/segment.ts';
import { putDocument } from '../../../segments/store/document.ts';
import { openFolderStore } from '../../../segments/store/folder.ts';
import type { Store } from '../../../segments/store/store.ts';
import { openClaude } from '../../../workers/anthropic.ts';
import { argument, begin, report } from '../child.ts';
import { digestOf } from '../digest.ts';
import { openBucket } from './bucket.ts';
import { endedArchive } from './ended.ts';
import type { Prepared } from './prepare.ts';

const lake = argument(0);
const batch = asBatchId(argument(2));
if (batch === undefined) throw new Error(`${argument(2)} is no batch`);
const isAudit = argument(3) === 'audit';
const folder = await openFolderStore(lake, Date.now());
const scratch = `${lake}/scratch`;
await mkdir(scratch, { recursive: true });
const store = process.argv.length > 6 ? await bucketWithSpool(argument(4), argument(5)) : folder;
const claude = openClaude({ apiKey: 'bench', authToken: undefined, baseUrl: argument(1), version: '2026-10-21' });
const prepared = JSON.parse(await readFile(`${lake}/archive.json`, 'utf8')) as Prepared;
const ended = endedArchive({ store, scratch, claude, batch, prepared });
await ended.settle();
const outcome = await ended.outcome();
if (isAudit) {
  await ended.export();
  const { archive, run, rows, bodyBytes, bodySha256, ranges } = prepared;
  await putDocument(store, sealedKey(outcome.run, outcome.archive), { v: 1, archive, run, dt: outcome.dt, priority: 'normal', rows, bodyBytes, bodySha256, chunks: ranges });
}
const startMs = begin();
if (isAudit) await writeAudit({ outcome, store, scratchDirectory: scratch });
else await ended.export();
const ms = performance.now() - startMs;
let written = 0;
for (const part of ['results/', 'errors/']) for await (const { sizeBytes } of store.list(part)) written += sizeBytes;
report({ ms, written, rows: outcome.rows, bytes: outcome.resultsBytes + (isAudit ? prepared.bodyBytes : 0) });
await claude.close();
await store.close();

async function bucketWithSpool(endpoint: string, bucket: string): Promise<Store> {
  const opened = await openBucket(endpoint, bucket, scratch);
  for await (const { key, sizeBytes } of folder.list('spool/')) {
    await opened.put(key, { blocks: folder.read(key), sizeBytes, sha256: await digestOf(folder.read(key)) });
  }
  return opened;
}
