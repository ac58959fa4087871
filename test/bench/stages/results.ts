/** The way out of one ended batch: verified and joined rows, then as JSONL.gz, and with lines of 2 MB. */
import { cpSync, rmSync } from 'node:fs';
import { atLeast, atMost, median, medianRatio, rate, shown, workRatio, type Row } from '../table.ts';
import type { Served } from '../children.ts';
import type { Bench } from './stage.ts';

const firstBatch = 'msgbatch_bench000000000000';
/** About 240 MB of results with the corpus' answers. */
const usualRows = 43_000;

interface Ended {
  readonly provider: Served;
  readonly lake: string;
}

/** An archive of rows with short prompts whose batch has ended. */
async function endBatch({ children, folder }: Bench, name: string, rows: number, textBytes?: number): Promise<Ended> {
  const provider = await children.serve('provider', 'answer', ...(textBytes === undefined ? [] : [String(textBytes)]));
  const lake = `${folder}/${name}`;
  await children.measure('product/prepare', lake, '256000000', String(rows), 'short');
  await children.measure('product/upload', lake, provider.line);
  return { provider, lake };
}

/** Rows uncompressed and compressed. */
export async function measureResults(bench: Bench): Promise<readonly Row[]> {
  const { children, folder, runs, isQuick } = bench;
  const { provider, lake } = await endBatch(bench, 'lake', isQuick ? usualRows / 5 : usualRows);
  const out = `${folder}/rows.jsonl`;
  const naive: number[] = [];
  const ours: number[] = [];
  const peaks: number[] = [];
  const naiveZipped: number[] = [];
  const zipped: number[] = [];
  const gzip: number[] = [];
  const work = { naive: [] as number[], ours: [] as number[], naiveZipped: [] as number[], zipped: [] as number[] };
  for (let round = 0; round < runs; round += 1) {
    const joined = await children.measure('product/results', lake, provider.line, firstBatch, 'join', out);
    const bytes = joined.bytes ?? 0;
    gzip.push(rate(bytes, (await children.measure('limits/gzip', out, `${out}.gz`)).ms ?? 0));
    const theirs = await children.measure('naive/results', provider.line, firstBatch, `${lake}/prompts.jsonl`, out, 'plain');
    const theirsZipped = await children.measure('naive/results', provider.line, firstBatch, `${lake}/prompts.jsonl`, out, 'gzip');
    cpSync(lake, `${folder}/copy`, { recursive: true });
    const exported = await children.measure('product/results', `${folder}/copy`, provider.line, firstBatch, 'export');
    rmSync(`${folder}/copy`, { recursive: true });
    peaks.push(Math.max(joined.peakMb ?? 0, exported.peakMb ?? 0));
    for (const [found, rates, works] of [
      [joined, ours, work.ours],
      [theirs, naive, work.naive],
      [exported, zipped, work.zipped],
      [theirsZipped, naiveZipped, work.naiveZipped],
    ] as const) {
      rates.push(rate(bytes, found.ms ?? 0));
      works.push(found.cpuMs ?? 0);
    }
  }
  await provider.stop();
  const plain = medianRatio(ours, naive);
  const zippedRatio = medianRatio(zipped, naiveZipped);
  const overGzip = medianRatio(zipped, gzip);
  return [
    { stage: 'results -> joined rows', figure: `${shown(median(ours))} MB/s, ${shown(median(peaks))} MB resident`, compared: `${shown(plain)} x naive, ${shown(median(naive))} MB/s; ${workRatio(work.naive, work.ours)}`, ...atLeast(plain, 4) },
    { stage: 'results -> JSONL.gz', figure: `${shown(median(zipped))} MB/s`, compared: `${shown(zippedRatio)} x naive, ${shown(median(naiveZipped))} MB/s; ${workRatio(work.naiveZipped, work.zipped)}`, ...atLeast(zippedRatio, 2.5) },
    { stage: '', figure: `${shown(median(zipped))} MB/s`, compared: `${shown(overGzip)} x gzip -1 of the rows alone, ${shown(median(gzip))} MB/s`, ...atLeast(overGzip, 1.15) },
  ];
}

/** The same rate whatever the length of a line. */
export async function measureLongLines(bench: Bench): Promise<readonly Row[]> {
  const { children, folder, runs, isQuick } = bench;
  const lines = isQuick ? 25 : 120;
  const long = await endBatch(bench, 'long', lines, 2_000_000);
  const usual = await endBatch(bench, 'usual', lines * 200, 10_000);
  const longRates: number[] = [];
  const usualRates: number[] = [];
  const naiveRates: number[] = [];
  for (let round = 0; round < runs; round += 1) {
    for (const [{ lake, provider }, rates] of [[long, longRates], [usual, usualRates]] as const) {
      const found = await children.measure('product/results', lake, provider.line, firstBatch, 'join', `${folder}/rows.jsonl`);
      rates.push(rate(found.bytes ?? 0, found.ms ?? 0));
    }
    if (round > 0) continue;
    const theirs = await children.measure('naive/results', long.provider.line, firstBatch, `${long.lake}/prompts.jsonl`, `${folder}/rows.jsonl`, 'plain');
    naiveRates.push(rate(lines * 2_000_000, theirs.ms ?? 0));
  }
  await long.provider.stop();
  await usual.provider.stop();
  const ratio = medianRatio(longRates, usualRates);
  const compared = `${shown(ratio)} x lines of 10 KB, ${shown(median(usualRates))} MB/s; naive ${shown(median(naiveRates))} MB/s, once`;
  return [{ stage: 'results with 2 MB lines', figure: `${shown(median(longRates))} MB/s`, compared, ...atLeast(ratio, 0.5) }];
}

/** Peaks over results of 64, 256 and 1,024 MB; the rows of one batch are at most 100,000, so the answers grow. */
export async function measureResultsMemory(bench: Bench): Promise<readonly Row[]> {
  const { children, folder, isQuick } = bench;
  const sizes = isQuick ? [64, 256] : [64, 256, 1_024];
  const peaks: number[] = [];
  for (const size of sizes) {
    const { lake, provider } = await endBatch(bench, `lake-${size}`, Math.round((size * 1e6) / 10_500), 10_000);
    peaks.push((await children.measure('product/results', lake, provider.line, firstBatch, 'join', `${folder}/rows.jsonl`)).peakMb ?? 0);
    await provider.stop();
    rmSync(lake, { recursive: true });
  }
  const growth = (peaks.at(-1) ?? 0) / (peaks[0] ?? 1);
  return [{ stage: 'results, resident', figure: `${peaks.join(' / ')} MB`, compared: `results of ${sizes.join(' / ')} MB, once each`, ...atMost(growth, 1.5, ' x the first') }];
}
