/** Whole runs: end to end against a provider that answers at once, and a million prompts up to their sealed archives. */
import { readFileSync, rmSync } from 'node:fs';
import { writeCorpus } from '../corpus.ts';
import { prepareHome } from '../home.ts';
import { atLeast, atMost, shown, type Row } from '../table.ts';
import type { Bench } from './stage.ts';

const mb = 1_000_000;
const archiveBytes = 256_000_000;
const archiveRows = 100_000;

/** The naive run, phase by phase, as a user's scripts would do it one after the other. Times in ms. */
interface NaiveRun {
  readonly enqueueMs: number;
  readonly drainMs: number;
  readonly resultsMs: number;
  readonly peakMb: number;
  readonly redisBytes: number;
}

async function runNaively({ children, folder }: Bench, file: string, rows: number, url: string): Promise<NaiveRun> {
  const home = `${folder}/naive`;
  const enqueued = await children.measure('naive/ingest', home, file);
  const drained = await children.measure('naive/drain', home, url, String(rows), `${folder}/known`);
  let resultsMs = 0;
  let peak = Math.max(enqueued.peakMb ?? 0, drained.peakMb ?? 0);
  for (let batch = 0; batch < (drained.batches ?? 0); batch += 1) {
    const id = readFileSync(`${folder}/known.${batch}.id`, 'utf8');
    const found = await children.measure('naive/results', url, id, `${folder}/known.${batch}`, `${folder}/rows.jsonl.gz`, 'gzip');
    resultsMs += found.ms ?? 0;
    peak = Math.max(peak, found.peakMb ?? 0);
  }
  rmSync(home, { recursive: true, force: true });
  return { enqueueMs: enqueued.ms ?? 0, drainMs: drained.ms ?? 0, resultsMs, peakMb: peak, redisBytes: enqueued.redisBytes ?? 0 };
}

/** Two workers and a producer, three processes, as many as the machine can use. */
export async function measureEndToEnd(bench: Bench): Promise<readonly Row[]> {
  const { children, folder, isQuick } = bench;
  const rows = isQuick ? 20_000 : 100_000;
  const provider = await children.serve('provider', 'answer');
  const corpus = await writeCorpus(`${folder}/prompts.jsonl`, 7, rows);
  const naive = await runNaively(bench, corpus.path, rows, provider.line);
  const home = prepareHome(`${folder}/home`);
  const workers = [await children.work(home, provider.line), await children.work(home, provider.line)];
  const found = await children.measure('product/ingest', home, corpus.path, 'bench', 'finished');
  const peak = Math.max(found.peakMb ?? 0, ...workers.map((worker) => worker.peakMb()));
  for (const worker of workers) await worker.stop();
  await provider.stop();
  const naiveMs = naive.enqueueMs + naive.drainMs + naive.resultsMs;
  const ms = found.totalMs ?? 0;
  const naiveText = `${shown(naiveMs / 1_000)} s (${shown(naive.enqueueMs / 1_000)} enqueue, ${shown(naive.drainMs / 1_000)} drain + upload, ${shown(naive.resultsMs / 1_000)} results)`;
  return [
    { stage: `${shown(rows)} prompts end to end`, figure: `${shown(ms / 1_000)} s (${shown((found.ms ?? 0) / 1_000)} ingest), once`, compared: `${shown(naiveMs / ms)} x faster than naive, ${naiveText}`, ...atLeast(naiveMs / ms, 4.5) },
    { stage: '', figure: `${shown(peak)} MB in the largest process`, compared: `naive ${shown(naive.peakMb)} MB`, ...atMost(peak, 400, ' MB') },
    { stage: '', figure: `${shown((found.redisBytes ?? 0) / mb)} MB of Redis`, compared: `naive ${shown(naive.redisBytes / mb)} MB`, ...atMost((found.redisBytes ?? 0) / mb, 8, ' MB') },
  ];
}

/** A file of a million prompts becomes sealed archives; the naive side is measured on 100,000 and scaled. */
export async function measureMillion(bench: Bench): Promise<readonly Row[]> {
  const { children, folder, isQuick } = bench;
  const scale = isQuick ? 20 : 1;
  const part = await writeCorpus(`${folder}/part.jsonl`, 7, 100_000 / scale);
  const provider = await children.serve('provider', 'discard');
  const enqueued = await children.measure('naive/ingest', `${folder}/naive`, part.path);
  const drained = await children.measure('naive/drain', `${folder}/naive`, provider.line, String(part.rows), `${folder}/known`);
  await provider.stop();
  rmSync(`${folder}/naive`, { recursive: true, force: true });
  const naiveMs = ((enqueued.ms ?? 0) + (drained.ms ?? 0)) * 10;
  const rows: Row[] = [];
  for (const [count, goal] of [[1_000_000 / scale, 1.1], [200_000 / scale, 1.3]] as const) {
    const corpus = await writeCorpus(`${folder}/prompts.jsonl`, 3, count);
    const home = prepareHome(`${folder}/home`);
    // As many workers as the machine has cores: they share the sealing once the producer has ended.
    const workers = [await children.serve('product/seal-worker', home), await children.serve('product/seal-worker', home)];
    const found = await children.measure('product/ingest', home, corpus.path, 'bench', 'sealed');
    const workerPeak = Math.max(...workers.map((worker) => worker.peakMb()));
    for (const worker of workers) await worker.stop();
    rmSync(home, { recursive: true, force: true });
    const ms = found.totalMs ?? 0;
    if (rows.length === 0) {
      const compared = `${shown(naiveMs / ms)} x faster than naive, ${shown(naiveMs / 1_000)} s scaled from ${shown(part.rows)}`;
      rows.push({ stage: `${shown(count)} prompts -> sealed`, figure: `${shown(ms / 1_000)} s (${shown((found.ms ?? 0) / 1_000)} ingest), once`, compared, ...atLeast(naiveMs / ms, 8) });
      rows.push({ stage: '', figure: `${shown(found.peakMb ?? 0)} MB producer, ${shown(workerPeak)} MB worker`, compared: '', goal: '', isHeld: undefined });
    }
    const bound = Math.max(Math.ceil(corpus.sizeBytes / archiveBytes), Math.ceil(corpus.rows / archiveRows));
    const excess = (found.archives ?? 0) / bound;
    rows.push({ stage: `batches of ${shown(count)} prompts`, figure: `${found.archives} with 144 segments`, compared: `${shown(excess)} x the lower bound, ${bound}`, ...atMost(excess, goal) });
  }
  return rows;
}
