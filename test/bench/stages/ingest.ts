/** Ingest: a JSONL file becomes validated, segmented, durable chunks and jobs. */
import { rmSync } from 'node:fs';
import { writeCorpus } from '../corpus.ts';
import { prepareHome } from '../home.ts';
import { atLeast, atMost, median, medianRatio, shown, workRatio, type Row } from '../table.ts';
import type { Bench } from './stage.ts';

const mb = 1_000_000;

/** Speed, memory and Redis of one file. */
export async function measureIngest({ children, folder, runs, isQuick }: Bench): Promise<readonly Row[]> {
  const rows = isQuick ? 20_000 : 100_000;
  const corpus = await writeCorpus(`${folder}/prompts.jsonl`, 7, rows);
  // The naive side takes a quarter of the prompts: its speed does not depend on their number, and its Redis would be in the way.
  const part = await writeCorpus(`${folder}/part.jsonl`, 7, rows / 4);
  const naive: number[] = [];
  const floor: number[] = [];
  const ours: number[] = [];
  const peaks: number[] = [];
  const redisShare: number[] = [];
  const work = { naive: [] as number[], floor: [] as number[], ours: [] as number[] };
  const naiveRedis: number[] = [];
  const redis: number[] = [];
  for (let round = 0; round < runs; round += 1) {
    const theirs = await children.measure('naive/ingest', `${folder}/naive`, part.path);
    const parsed = await children.measure('limits/parse', corpus.path);
    const found = await children.measure('product/ingest', prepareHome(`${folder}/home`), corpus.path, 'bench');
    if (found.segments !== 144) throw new Error(`the corpus made ${found.segments} segments`);
    naive.push(part.rows / (theirs.ms ?? 0));
    floor.push(corpus.rows / (parsed.ms ?? 0));
    ours.push(corpus.rows / (found.ms ?? 0));
    work.naive.push((theirs.cpuMs ?? 0) / part.rows);
    work.floor.push((parsed.cpuMs ?? 0) / corpus.rows);
    work.ours.push((found.cpuMs ?? 0) / corpus.rows);
    peaks.push(found.peakMb ?? 0);
    naiveRedis.push(((theirs.redisBytes ?? 0) * corpus.rows) / part.rows);
    redis.push(found.redisBytes ?? 0);
    redisShare.push((naiveRedis.at(-1) ?? 0) / (found.redisBytes ?? 1));
    for (const name of ['naive', 'home']) rmSync(`${folder}/${name}`, { recursive: true, force: true });
  }
  const speed = median(ours) * 1_000;
  const figure = `${shown(speed)} prompts/s, ${shown((speed * corpus.sizeBytes) / corpus.rows / mb)} MB/s`;
  const overNaive = medianRatio(ours, naive);
  const overFloor = medianRatio(ours, floor);
  const lessRedis = median(redisShare);
  return [
    { stage: 'ingest', figure, compared: `${shown(overNaive)} x naive, ${shown(median(naive) * 1_000)} prompts/s; ${workRatio(work.naive, work.ours)}`, ...atLeast(overNaive, 5) },
    { stage: '', figure, compared: `${shown(overFloor)} x read + parse, ${shown(median(floor) * 1_000)} prompts/s; ${workRatio(work.floor, work.ours)}`, ...atLeast(overFloor, 0.6) },
    { stage: '', figure: `${shown(median(peaks))} MB resident, 144 segments`, compared: '', ...atMost(median(peaks), 256, ' MB') },
    { stage: '', figure: `${shown(median(redis) / mb)} MB of Redis`, compared: `naive ${shown(median(naiveRedis) / mb)} MB (scaled), ${shown(lessRedis)} x less`, ...atLeast(lessRedis, 100) },
  ];
}

/** Peaks over inputs of 64, 256 and 1,024 MB. */
export async function measureIngestMemory({ children, folder, isQuick }: Bench): Promise<readonly Row[]> {
  const peaks: number[] = [];
  const sizes = isQuick ? [64, 256] : [64, 256, 1_024];
  for (const size of sizes) {
    const corpus = await writeCorpus(`${folder}/prompts.jsonl`, 7, Infinity, size * mb);
    peaks.push((await children.measure('product/ingest', prepareHome(`${folder}/home`), corpus.path, 'bench')).peakMb ?? 0);
    rmSync(`${folder}/home`, { recursive: true, force: true });
  }
  return [{ stage: 'ingest, resident', figure: `${peaks.join(' / ')} MB`, compared: `inputs of ${sizes.join(' / ')} MB, once each`, ...atMost(Math.max(...peaks), 256, ' MB') }];
}
