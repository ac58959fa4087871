/**
 * Runs the naive side alone and keeps its raw results in `results.json`, so that there is a record of what the product is
 * compared with. The benchmark itself measures it again, on the machine and in the minute in which it measures the product.
 *
 *   node --import tsx test/bench/naive/naive.ts [ROUNDS]
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { buildInto } from '../build.ts';
import type { Figures } from '../child.ts';
import { Children } from '../children.ts';
import { writeCorpus } from '../corpus.ts';
import { median } from '../table.ts';

const rounds = Number(process.argv[2] ?? '5');
const scratch = mkdtempSync(join(tmpdir(), 'plimsoll-naive-'));
const children = new Children(buildInto(join(scratch, 'build')));
const raw: Record<string, Figures[]> = {};
const loadBefore = loadavg()[0];

async function repeat(name: string, times: number, once: () => Promise<Figures>): Promise<Figures> {
  const found: Figures[] = [];
  for (let round = 0; round < times; round += 1) found.push(await once());
  raw[name] = found;
  return found[0] ?? {};
}

try {
  mkdirSync(join(scratch, 'work'));
  const folder = join(scratch, 'work');
  const prompts = await writeCorpus(`${folder}/prompts.jsonl`, 7, 100_000);
  const part = await writeCorpus(`${folder}/part.jsonl`, 7, 25_000);
  const provider = await children.serve('provider', 'answer');
  const batch = 'msgbatch_bench000000000000';
  await children.measure('product/prepare', `${folder}/lake`, '256000000', '43000', 'short');
  await children.measure('product/upload', `${folder}/lake`, provider.line);
  await repeat('ingest 25,000 prompts', rounds, async () => {
    rmSync(`${folder}/home`, { recursive: true, force: true });
    return await children.measure('naive/ingest', `${folder}/home`, part.path);
  });
  await repeat('upload 256 MB', rounds, async () => await children.measure('naive/upload', provider.line, prompts.path, '256000000'));
  for (const form of ['plain', 'gzip']) {
    await repeat(`results 43,000 rows ${form}`, rounds, async () => await children.measure('naive/results', provider.line, batch, `${folder}/lake/prompts.jsonl`, `${folder}/rows`, form));
  }
  rmSync(`${folder}/home`, { recursive: true, force: true });
  await repeat('100,000 prompts: enqueue', 1, async () => await children.measure('naive/ingest', `${folder}/home`, prompts.path));
  await repeat('100,000 prompts: drain and upload', 1, async () => await children.measure('naive/drain', `${folder}/home`, provider.line, '100000', `${folder}/known`));
  await provider.stop();
} finally {
  children.stop();
  rmSync(scratch, { recursive: true, force: true });
}

const medians = Object.fromEntries(
  Object.entries(raw).map(([name, found]) => [name, Object.fromEntries(Object.keys(found[0] ?? {}).map((key) => [key, median(found.map((figures) => figures[key] ?? 0))]))]),
);
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, memoryGb: Math.round(totalmem() / 1e9), linux: release(), node: process.version, loadBefore, loadAfter: loadavg()[0] };
const note = 'Times in ms, sizes in bytes, peakMb in MB (VmHWM); redisBytes is the growth of used_memory. Corpus: test/bench/corpus.ts, seed 7.';
writeFileSync(new URL('results.json', import.meta.url), `${JSON.stringify({ note, machine, rounds, medians, raw }, undefined, 1)}\n`);
