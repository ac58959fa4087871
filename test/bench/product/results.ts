/**
 * The product's way out for one ended batch, from a lake in a folder.
 *
 *   results.ts LAKE URL BATCH join OUT   the stream is verified, joined with its prompts and written as rows, uncompressed
 *   results.ts LAKE URL BATCH export     the real settling and exporting stages: durable results, outcome, JSONL.gz, manifest
 *
 * Prints ms, rows, bytes (of the results), and for an export settleMs and exportMs.
 */
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { priceTable } from '../../../config/models.ts';
import { Answers } from '../../../exporters/answers.ts';
import { RowEncoder, splice, splicedBytesMax } from '../../../exporters/encode.ts';
import { besidePress } from '../../../exporters/press.ts';
import type { ChunkRow } from '../../../segments/chunk.ts';
import type { ArchiveOutcome } from '../../../segments/outcome.ts';
import { asBatchId, type ArchiveId } from '../../../segments/segment.ts';
import { openFolderStore } from '../../../segments/store/folder.ts';
import { readSpoolRows } from '../../../segments/store/spool.ts';
import type { Store } from '../../../segments/store/store.ts';
import { openClaude } from '../../../workers/anthropic.ts';
import { downloadResults } from '../../../workers/download.ts';
import { argument, begin, report } from '../child.ts';
import { model } from '../corpus.ts';
import { endedArchive } from './ended.ts';
import type { Prepared } from './prepare.ts';

const lake = argument(0);
const claude = openClaude({ apiKey: 'bench', authToken: undefined, baseUrl: argument(1), version: '2026-10-21' });
const batch = asBatchId(argument(2));
if (batch === undefined) throw new Error(`${argument(2)} is no batch`);
const endedBatch = batch;
const prepared = JSON.parse(await readFile(`${lake}/archive.json`, 'utf8')) as Prepared;
const { archive: id, run, rows: rowCount, ranges } = prepared;
const archiveId = id as ArchiveId;
const store = await openFolderStore(lake, Date.now());
const scratch = `${lake}/scratch`;
await mkdir(scratch, { recursive: true });
const prices = priceTable();
const { signal } = new AbortController();

if (argument(3) === 'join') await join(argument(4));
else await settleAndExport();
await claude.close();

async function join(out: string): Promise<void> {
  const path = `${scratch}/results.jsonl`;
  const rows: ChunkRow[] = [];
  for (const range of ranges) for (const row of (await readSpoolRows(store, range)).rows) rows.push(row);
  // What is known of the prompts is read before, as the naive side does.
  const startMs = begin();
  const { counts } = await claude.retrieveBatch(batch as never, signal);
  const { check } = await downloadResults(path, claude.readResults(batch as never, signal), { archive: archiveId, rows: rowCount, shaOf: (index) => rows[index]?.sha ?? '' }, counts);
  if (!check.isComplete) throw new Error('the results are not complete');
  const outcome = { ...emptyOutcome(), resultsBytes: check.sizeBytes, resultsSha256: check.sha256 };
  // As in the product, where a folder knows what it has taken and the settler hands its index to the exporter.
  const local = { localPath: () => path, knownSha256: async () => check.sha256 } as unknown as Store;
  const answers = await Answers.open(outcome, local, `${scratch}/answers.jsonl`, besidePress, check.index);
  const encoder = new RowEncoder(outcome);
  const price = prices.find(model);
  const file = await open(out, 'w');
  let [block, other] = [Buffer.allocUnsafe(1024 * 1024), Buffer.allocUnsafe(1024 * 1024)];
  let used = 0;
  let writing: Promise<unknown> = Promise.resolve();
  const flush = async (): Promise<void> => {
    await writing;
    writing = file.write(block, 0, used);
    [block, other] = [other, block];
    used = 0;
  };
  for (const [index, row] of rows.entries()) {
    const placed = answers.placedOf(index);
    if (!placed || !price) throw new Error(`row ${index} has no answer`);
    const words = encoder.wordsOf(row, 1, placed, 1_000_000_000n);
    const bytesMax = splicedBytesMax(words, placed);
    if (used + bytesMax > block.length) await flush();
    if (bytesMax > block.length) block = Buffer.allocUnsafe(bytesMax);
    used = splice(block, used, words, placed, answers);
  }
  await flush();
  await writing;
  await file.close();
  await answers.proven();
  await answers.close();
  const ms = performance.now() - startMs;
  await rm(scratch, { recursive: true });
  report({ ms, rows: rowCount, bytes: check.sizeBytes });
}

async function settleAndExport(): Promise<void> {
  const ended = endedArchive({ store, scratch, claude, batch: endedBatch, prepared });
  const startMs = begin();
  await ended.settle();
  const settleMs = performance.now() - startMs;
  await ended.export();
  const ms = performance.now() - startMs;
  report({ ms, settleMs, exportMs: ms - settleMs, rows: rowCount, bytes: (await ended.outcome()).resultsBytes });
}

function emptyOutcome(): ArchiveOutcome {
  return {
    v: 1, archive: archiveId, run: run as never, dt: '2026-11-21', account: 'bench', batch: batch ?? null, rows: rowCount, resultsKey: 'results', resultsBytes: 0,
    resultsSha256: '', acceptedAtMs: 1, submittedAtMs: 1, endedAtMs: 2, source: 'bench.jsonl', priceVersion: prices.version, prices: {}, chunks: [], retried: [], dead: [],
  };
}
