/**
 * The product's way in: a file becomes durable chunks and their jobs. It then may wait until workers in other processes
 * have finished the run, or have sealed all of it.
 *
 *   ingest.ts HOME FILE RUN [finished|sealed] [ledger]
 *
 * Prints ms (of the ingest), totalMs, rows, segments, archives, redisBytes (the most seen), scriptsMs (of Redis, the queues' scripts
 * included), ledgerMs (without them; only when asked for by `ledger`, because Redis then keeps every command in memory).
 */
import { produce } from '../../../producers/producer.ts';
import { asRunKey } from '../../../segments/segment.ts';
import { argument, begin, report } from '../child.ts';
import { ledgerTime, noteCommands, scriptTime, usedMemory } from '../redis.ts';
import { setTimeout as pause } from 'node:timers/promises';
import { openBench, settingsOf } from './installation.ts';

const run = asRunKey(argument(2));
if (run === undefined) throw new Error(`${argument(2)} is no run key`);
const goal = process.argv[5];
const installation = await openBench(argument(0));
const redis = installation.connect();
const before = await usedMemory(redis);
let redisBytes = 0;
const watch = async (): Promise<void> => {
  redisBytes = Math.max(redisBytes, (await usedMemory(redis)) - before);
};

if (process.argv[6] === 'ledger') await noteCommands(redis);
const scriptsBefore = await scriptTime(redis);
const startMs = begin();
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
while (goal !== undefined && !(await isReached(goal))) {
  await watch();
  await pause(100);
}
if (goal !== undefined) totalMs = performance.now() - startMs;
const scriptsMs = (await scriptTime(redis)) - scriptsBefore;
const ledgerMs = process.argv[6] === 'ledger' ? await ledgerTime(redis, installation.keys.of('')) : 0;
const archives = (await installation.ledger.listArchives(run)).length;
if (rejected > 0) throw new Error(`${rejected} rows were rejected`);
const segments = new Set<string>();
for await (const { key } of installation.store.list('spool/')) segments.add(key.split('/').at(-1)?.split('.').slice(1, 4).join('.') ?? '');
await installation.close();
report({ ms, totalMs, rows: accepted, segments: segments.size, archives, redisBytes, scriptsMs, ledgerMs });

/** Whether the run is complete with an answer to every row, or all of its rows stand in sealed archives. */
async function isReached(wanted: string): Promise<boolean> {
  const { ledger } = installation;
  const found = run && (await ledger.readRun(run));
  if (wanted === 'finished') {
    if (found?.state === 'complete' && found.succeeded !== accepted) throw new Error(`${found.succeeded} of ${accepted} rows have an answer`);
    return found?.state === 'complete';
  }
  if (run === undefined || found === undefined || found.rowsQueued > 0) return false;
  let sealed = 0;
  for (const id of await ledger.listArchives(run)) {
    const archive = await ledger.readArchive(id);
    if (archive?.state !== 'sealed') return false;
    sealed += archive.rows;
  }
  return sealed === accepted;
}
