/**
 * The product's way in: a file becomes durable chunks and their jobs. With `follow` it then waits until workers in other
 * processes have finished the run.
 *
 *   ingest.ts HOME FILE RUN [URL follow]     prints ms (of the ingest), totalMs, rows, segments, redisBytes (the most seen)
 */
import { produce } from '../../../producers/producer.ts';
import { asRunKey } from '../../../segments/segment.ts';
import { argument, report } from '../child.ts';
import { usedMemory } from '../redis.ts';
import { setTimeout as pause } from 'node:timers/promises';
import { openBench, settingsOf } from './installation.ts';

const run = asRunKey(argument(2));
if (run === undefined) throw new Error(`${argument(2)} is no run key`);
const isFollowed = process.argv.length > 5;
const installation = await openBench(argument(0), isFollowed ? argument(3) : undefined);
const redis = installation.connect();
const before = await usedMemory(redis);
let redisBytes = 0;
const watch = async (): Promise<void> => {
  redisBytes = Math.max(redisBytes, (await usedMemory(redis)) - before);
};

const startMs = performance.now();
const { accepted, rejected } = await produce({
  runKey: run,
  source: { kind: 'file', path: argument(1) },
  settings: settingsOf(installation),
  ledger: installation.ledger,
  store: installation.store,
  wake: installation.wake,
  installationId: installation.id,
  now: installation.now,
  signal: new AbortController().signal,
});
const ms = performance.now() - startMs;
await watch();
let totalMs = ms;
if (isFollowed) {
  for (;;) {
    const found = await installation.ledger.readRun(run);
    totalMs = performance.now() - startMs;
    if (found?.state === 'complete' && found.succeeded !== accepted) throw new Error(`${found.succeeded} of ${accepted} rows have an answer`);
    if (found?.state === 'complete') break;
    await watch();
    await pause(100);
  }
}
if (rejected > 0) throw new Error(`${rejected} rows were rejected`);
const segments = new Set<string>();
for await (const { key } of installation.store.list('spool/')) segments.add(key.split('/').at(-1)?.split('.').slice(1, 4).join('.') ?? '');
await installation.close();
report({ ms, totalMs, rows: accepted, segments: segments.size, redisBytes });
