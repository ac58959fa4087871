/**
 * Connections that are cut while calls are under way: a script may have run although its reply never arrived, and the
 * client sends it again. In the end every row is settled once, and the accounts equal a sum that never asked the ledger.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Ledger } from '../../segments/ledger/ledger.ts';
import { openRedisLedger } from '../../segments/ledger/redis.ts';
import { assertNever, type ArchiveId, type BatchId, type ChunkId, type SegmentName } from '../../segments/segment.ts';
import { account, amounts, footerOf, input, ledgerForTest, limits, nowMs, perRow, runA, settlementOf, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
beforeEach(async () => void (world = await ledgerForTest()));
afterEach(async () => await world.close());

const segments = ['a.8k.high', 'b.8k.normal', 'c.8k.normal', 'd.8k.low'] as SegmentName[];
const chunksPerSegment = 25;
const rowsPerChunk = 4;
const tokensPerChunk = 7;
const limitTokens = 12 * rowsPerChunk * perRow.tokensMax;
const workers = 5;

/** Cuts the connections of this test, one after the other, whenever `tick` says that more calls have been made. */
function makeCutter(): { tick(): Promise<void>; readonly cuts: () => number } {
  const redis = world.test.connect();
  let calls = 0;
  let cuts = 0;
  return {
    cuts: () => cuts,
    async tick() {
      calls += 1;
      if (calls % 10 !== 0) return;
      const list = String(await redis.client('LIST'));
      const ids = [...list.matchAll(new RegExp(`^id=(\\d+) .*name=${world.keys.prefix.slice(1, -2)}-\\d+ `, 'gm'))].map((match) => match[1] ?? '');
      const id = ids[cuts % Math.max(ids.length, 1)];
      if (id !== undefined && (await redis.client('KILL', 'ID', id)) === 1) cuts += 1;
    },
  };
}

function connect(index: number): Ledger {
  const connectionName = `${world.keys.prefix.slice(1, -2)}-${index}`;
  const redis = world.test.connect({ connectionName, maxRetriesPerRequest: null, retryStrategy: () => 1 });
  // A cut connection is what this test is about; the client reconnects by itself.
  redis.on('error', () => undefined);
  return openRedisLedger(redis, world.keys);
}

async function produce(ledger: Ledger, segment: SegmentName): Promise<void> {
  for (let index = 0; index < chunksPerSegment; index += 1) {
    const footer = footerOf(rowsPerChunk, index * rowsPerChunk + 1, { segment });
    const { kind } = await ledger.addChunk({ footer, spoolKey: 's', previousRow: index * rowsPerChunk, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs });
    expect(['added', 'duplicate']).toContain(kind);
  }
}

async function pack(ledger: Ledger): Promise<boolean> {
  const segment = await ledger.nextSegment([]);
  const next = segment && (await ledger.nextQueued(segment));
  if (!next) return false;
  const admission = await ledger.admit(next.chunk, limits, true, nowMs);
  if (admission.kind === 'refused') {
    const { target, reason } = admission;
    await ledger.stopOnBudget({ chunk: next.chunk, target, reason, tokensNeeded: rowsPerChunk * perRow.tokensMax, microUsdNeeded: 0, nowMs });
  }
  return true;
}

async function submit(ledger: Ledger, owner: string): Promise<void> {
  const next = await ledger.prepareIntent({ account, side: 'real', owner, leaseMs: 1_000, queueRowsMax: 1e9, nowMs });
  if (next.kind !== 'prepared') return;
  expect(await ledger.armIntent(next.intent, owner, nowMs, nowMs)).toBe(true);
  expect(await ledger.sendIntent(next.intent, owner, nowMs)).toBe(true);
  expect(await ledger.acceptIntent({ intent: next.intent, batch: `msgbatch_${next.intent}` as BatchId, pollAtMs: nowMs, nowMs })).toBe(true);
}

/** Takes an archive one step further, whatever another worker does with it at the same time. */
async function advance(ledger: Ledger, archive: ArchiveId): Promise<void> {
  const record = await ledger.readArchive(archive);
  if (!record) return;
  switch (record.state) {
    case 'open':
      if (record.closing !== undefined) await ledger.sealArchive({ archive, bodyBytes: 1, bodySha256: 'x', nowMs });
      return;
    case 'accepted':
      return void (await ledger.endArchive(archive, undefined, nowMs));
    case 'ended':
      return void (await ledger.settle(await settlementOf(ledger, archive, tokensPerChunk)));
    case 'settled':
      return void (await ledger.exportArchive(archive, {}, nowMs));
    case 'sealed':
    case 'submitting':
    case 'exported':
    case 'canceled':
    case 'in_doubt':
      return;
    default:
      assertNever(record.state, 'archive state');
  }
}

it('rows are settled once and the accounts are exact although replies are lost all the time', { timeout: 120_000 }, async () => {
  const { ledger } = world;
  const cutter = makeCutter();
  await ledger.setBudget({ target: 'all', tokens: limitTokens + segments.length * chunksPerSegment * tokensPerChunk, microUsd: undefined, window: 'total' }, 'operator', nowMs);
  const limit = limitTokens + segments.length * chunksPerSegment * tokensPerChunk;

  await Promise.all(segments.map(async (segment, index) => await produce(watched(connect(index), cutter), segment)));
  const rows = segments.length * chunksPerSegment * rowsPerChunk;
  expect(['flushed', 'already']).toContain((await ledger.flushRun({ run: runA, accepted: rows, rejected: 0, high: new Map(), input, nowMs })).kind);

  let isStopped = false;
  const sample = async (): Promise<void> => {
    while (!isStopped) {
      const [tokensReserved, tokensSpent] = await amounts(ledger, 'all');
      expect(tokensReserved).toBeGreaterThanOrEqual(0);
      expect(tokensReserved + tokensSpent).toBeLessThanOrEqual(limit);
    }
  };
  const work = async (index: number): Promise<void> => {
    const own = watched(connect(index), cutter);
    for (let round = 0; ; round += 1) {
      if (round > 5_000) throw new Error('the work does not end');
      while (await pack(own)) await submit(own, `worker-${index}`);
      for (const priority of await own.flushDue(runA)) await own.flushArchives(runA, priority, limits, nowMs);
      await submit(own, `worker-${index}`);
      for (const archive of await own.listArchives(runA)) await advance(own, archive);
      await own.resumeHeld(nowMs);
      if ((await own.readRun(runA))?.chunksOpen === 0) return;
    }
  };
  const sampling = sample();
  await Promise.all(Array.from({ length: workers }, async (_, index) => await work(index))).finally(() => {
    isStopped = true;
  });
  await sampling;

  const spent = segments.length * chunksPerSegment * tokensPerChunk;
  expect(cutter.cuts()).toBeGreaterThan(20);
  expect(await amounts(ledger, 'all')).toEqual([0, spent, 0, spent]);
  for (const segment of segments) expect(await amounts(ledger, `segment:${segment}`)).toEqual([0, spent / segments.length, 0, spent / segments.length]);
  expect(await ledger.readRun(runA)).toMatchObject({ accepted: rows, succeeded: rows, deadLettered: 0, chunksOpen: 0, chunksHeld: 0, rowsQueued: 0, rowsHeld: 0, archivesInDoubt: 0, microUsd: spent });
  const archives = await Promise.all((await ledger.listArchives(runA)).map(async (archive) => await ledger.readArchive(archive)));
  expect(archives.every((archive) => archive?.state === 'exported' && archive.intents === 1)).toBe(true);
  const chunks: ChunkId[] = (await Promise.all(archives.map(async (archive) => (archive ? await ledger.readArchiveChunks(archive.archive) : [])))).flat();
  expect(new Set(chunks).size).toBe(segments.length * chunksPerSegment);
  expect(chunks).toHaveLength(segments.length * chunksPerSegment);
  const events = await ledger.readEvents(0, 10_000);
  expect(events.map((event) => event.sequence)).toEqual(events.map((_, index) => index + 1));
  expect(new Set(events.map((event) => event.id)).size).toBe(events.length);
});

/** The same ledger; every call tells the cutter, which acts while the call is under way. */
function watched(ledger: Ledger, cutter: ReturnType<typeof makeCutter>): Ledger {
  return new Proxy(ledger, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]): Promise<unknown> => {
        const answer = Reflect.apply(value, target, args) as Promise<unknown>;
        const [given] = await Promise.all([answer, cutter.tick()]);
        return given;
      };
    },
  });
}
