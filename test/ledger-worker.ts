/**
 * A process of the concurrency test: some workers, each with a connection of its own, that spool, reserve, submit and
 * settle against one ledger until nothing is left. Its last line says what it has settled, archive by archive.
 *
 *   node --import tsx test/ledger-worker.ts '{"port":6379,"tag":"t-1","process":0,"workers":8,"chunks":6}'
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { ledgerKeys } from '../segments/ledger/keys.ts';
import type { Ledger } from '../segments/ledger/ledger.ts';
import { openRedisLedger } from '../segments/ledger/redis.ts';
import type { ArchiveId, BatchId, ChunkId, RunKey, SegmentName } from '../segments/segment.ts';
import { footerOf, limits, nowMs, outcomeOf, tagOf } from './ledger-world.ts';

const given = JSON.parse(process.argv[2] ?? '{}') as { port: number; tag: string; process: number; workers: number; chunks: number };
const topics = ['invoices', 'letters'];
/** What each archive has cost, tokens and micro-USD alike; a settlement that is sent again says the same. */
const settled: Record<ArchiveId, number> = {};

async function work(worker: number): Promise<void> {
  const redis = new Redis({ host: '127.0.0.1', port: given.port, maxRetriesPerRequest: null, retryStrategy: () => 5 });
  redis.on('error', () => undefined);
  const ledger = openRedisLedger(redis, ledgerKeys(given.tag));
  const name = `w-${given.process}-${worker}`;
  const run = name as RunKey;
  await ledger.openRun({ run, tag: tagOf(name), dt: '2026-11-21', source: 's', cutSha256: 'c', nowMs });
  let previousRow = 0;
  for (let ordinal = 0; ordinal < given.chunks; ordinal += 1) {
    const segment = `${topics[(worker + ordinal) % 2] ?? ''}.8k.normal` as SegmentName;
    const footer = { ...footerOf(1 + ((worker * 5 + ordinal * 3) % 9), previousRow + 1, { run, segment }), chunk: `${name}.${ordinal}` as ChunkId, previousRow };
    await ledger.addChunk({ footer, spoolKey: 's', previousRow: await markOf(ledger, run, segment), checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs });
    previousRow = footer.lastRow;
    await reserve(ledger, footer.chunk, name);
  }
  while (await submitNext(ledger, name)) continue;
  redis.disconnect();
}

async function markOf(ledger: Ledger, run: RunKey, segment: SegmentName): Promise<number> {
  return (await ledger.readHighWater(run)).get(`${segment}|etl`) ?? 0;
}

/** Reserves for a chunk, settling what it can as long as there is no room, and seals the archive that it went into. */
async function reserve(ledger: Ledger, chunk: ChunkId, name: string): Promise<void> {
  for (;;) {
    const admission = await ledger.admit(chunk, limits, true, nowMs);
    if (admission.kind === 'refused') {
      if (!(await submitNext(ledger, name))) await delay(2);
      continue;
    }
    // A reservation whose reply was lost is `stale` when it is asked for again: the chunk says where it is.
    const archive = (await ledger.readChunk(chunk))?.archive;
    if (archive === undefined) throw new Error(`${chunk} is ${admission.kind} and in no archive`);
    await ledger.closeArchive(archive, 'linger', nowMs);
    await ledger.sealArchive({ archive, bodyBytes: 1, bodySha256: 'x', nowMs });
    return;
  }
}

/** Brings the next archive in line, whosever it is, to its settlement; false when there is none. */
async function submitNext(ledger: Ledger, name: string): Promise<boolean> {
  const prepared = await ledger.prepareIntent({ account: name, side: 'real', owner: name, leaseMs: 600_000, queueRowsMax: 1e9, nowMs });
  if (prepared.kind !== 'prepared') return false;
  const { archive, intent } = prepared;
  await ledger.armIntent(intent, name, nowMs, nowMs);
  await ledger.sendIntent(intent, name, nowMs);
  await ledger.acceptIntent({ intent, batch: `msgbatch_${archive}` as BatchId, pollAtMs: nowMs, nowMs });
  await ledger.endArchive(archive, undefined, nowMs);
  const chunks = await ledger.readChunks(await ledger.readArchiveChunks(archive));
  // A row costs one token and one micro-USD.
  settled[archive] = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
  await ledger.settle({ archive, chunks: chunks.map((chunk) => outcomeOf(chunk.chunk, chunk.rows, chunk.rows)), retries: [], nowMs });
  return true;
}

await Promise.all(Array.from({ length: given.workers }, async (_, worker) => await work(worker)));
process.stdout.write(`${JSON.stringify(settled)}\n`);
