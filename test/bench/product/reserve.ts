/**
 * Reservations against the ledger of a home: chunks that wait are admitted by some clients at once, each with a connection
 * of its own, under budgets on everything that can have one.
 *
 *   reserve.ts HOME CLIENTS CHUNKS
 *
 * Prints ms and reservations.
 */
import type { ChunkFooter } from '../../../segments/chunk.ts';
import { openRedisLedger } from '../../../segments/ledger/redis.ts';
import { entryOverheadBytes, envelopeBytes } from '../../../segments/pack.ts';
import { asRunKey, type ChunkId, type SegmentName } from '../../../segments/segment.ts';
import { argument, begin, report } from '../child.ts';
import { openBench } from './installation.ts';

const run = asRunKey('bench');
if (run === undefined) throw new Error('bench is no run key');
const clients = Number(argument(1));
const chunks = Number(argument(2));
const installation = await openBench(argument(0));
const { ledger, keys, now } = installation;
const segment = 'invoices.8k.normal' as SegmentName;
for (const target of ['all', 'topic:invoices', 'client:etl', `segment:${segment}`]) {
  await ledger.setBudget({ target, tokens: 1e12, microUsd: 1e12, window: 'month', timeZone: 'Europe/Berlin' }, 'operator', now());
}
await ledger.openRun({ run, tag: '00000000be', dt: '2026-11-21', source: 'bench', cutSha256: 'c', nowMs: now() });
const waiting: ChunkId[] = [];
for (let row = 0; row < chunks; row += 1) {
  const footer: ChunkFooter = {
    v: 1, chunk: `00000000be.${segment}.etl.${row + 1}` as ChunkId, run, segment, client: 'etl', attempt: 1, source: 'bench', rows: 1, firstRow: row + 1, lastRow: row + 1,
    paramsBytes: 100, indexBytes: 200, tokensExpected: 50, tokensMax: 300, microUsdMax: 200, models: ['claude-haiku-4-5'],
  };
  await ledger.addChunk({ footer, spoolKey: 's', previousRow: row, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs: now() });
  waiting.push(footer.chunk);
}
const limits = { bytesMax: 256_000_000, rowsMax: 100_000, entryOverheadBytes, envelopeBytes, fullPermille: 985, lingerMs: 60_000 };
const ledgers = Array.from({ length: clients }, () => openRedisLedger(installation.connect(), keys));
// The first call of a connection loads nothing: the scripts are on the server already.
await Promise.all(ledgers.map(async (each) => await each.readRun(run)));

const startMs = begin();
await Promise.all(ledgers.map(async (each) => {
  for (let chunk = waiting.pop(); chunk !== undefined; chunk = waiting.pop()) {
    const admission = await each.admit(chunk, limits, true, now());
    if (admission.kind !== 'packed') throw new Error(`${chunk} is ${admission.kind}`);
  }
}));
const ms = performance.now() - startMs;
await installation.close();
report({ ms, reservations: chunks });
process.exit(0);
