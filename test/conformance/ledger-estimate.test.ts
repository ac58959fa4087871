/** Budgets in estimate mode: what is learned from settled rows, what is reserved by it, and what an overrun leaves behind. A row is 10 tokens and 20 micro-USD. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mergeSamples, samplesOf } from '../../segments/calibration.ts';
import { openRestore } from '../../segments/ledger/restore.ts';
import type { ArchiveId, BatchId, ChunkId, SegmentName } from '../../segments/segment.ts';
import { amounts, footerOf, ledgerForTest, normal, nowMs, outcomeOf, partsAfter, snapshot, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
let batches = 0;
let lastRow = new Map<string, number>();
beforeEach(async () => {
  world = await ledgerForTest();
  lastRow = new Map();
});
afterEach(async () => await world.close());

/** Adds a chunk of rows of a model. */
async function add(rows: number, models: readonly string[] = ['m'], segment = normal): Promise<ChunkId> {
  const previousRow = lastRow.get(segment) ?? 0;
  const footer = { ...footerOf(rows, previousRow + 1, { segment }), models };
  lastRow.set(segment, footer.lastRow);
  await world.ledger.addChunk({ footer, spoolKey: 's', previousRow, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs });
  return footer.chunk;
}

/** Brings a packed chunk's archive to its end, its rows having consumed `tokens` tokens and as many micro-USD altogether. */
async function settle(archive: ArchiveId, chunk: ChunkId, rows: number, tokens: number, samples = samplesOf(Array.from({ length: rows }, () => ({ model: 'm', tokens: tokens / rows, tokensMax: 10, microUsd: tokens / rows, microUsdMax: 20 })))): Promise<void> {
  await world.ledger.closeArchive(archive, 'linger', nowMs);
  await world.sealOne(archive);
  batches += 1;
  await world.accept(`msgbatch_${batches}`);
  await world.ledger.endArchive(archive, undefined, nowMs);
  await world.ledger.settle({ archive, chunks: [outcomeOf(chunk, rows, tokens, { samples })], retries: [], nowMs });
}

/** Teaches the topic that a row consumes two of its ten tokens, and two of its twenty micro-USD. */
async function teach(rows: number): Promise<void> {
  const chunk = await add(rows);
  await settle(await world.pack(chunk), chunk, rows, 2 * rows);
}

const estimate = async (target: string, tokens: number): Promise<void> => await world.ledger.setBudget({ target, tokens, microUsd: undefined, window: 'total', mode: 'estimate' }, 'operator', nowMs);

describe('a budget in estimate mode', () => {
  it('reserves the bound until a hundred rows of the topic and model are settled, and then the share that they consumed and a tenth', async () => {
    await estimate('topic:invoices', 10_000);
    await teach(99);
    // In a segment of its own, so that it stays in an archive of its own.
    await world.pack(await add(10, ['m'], 'invoices.64k.normal' as SegmentName));
    expect(await amounts(world.ledger, 'topic:invoices')).toEqual([100, 198, 200, 198]);
    await teach(1);
    await world.pack(await add(10));
    // Two of ten tokens are 20 %, two of twenty micro-USD are 10 %.
    expect(await amounts(world.ledger, 'topic:invoices')).toEqual([100 + 22, 200, 200 + 22, 200]);
    expect(await amounts(world.ledger, 'all')).toEqual([200, 200, 400, 200]);
  });

  it('gives back exactly what it reserved, also after a split that came between', async () => {
    await estimate('all', 10_000);
    await teach(100);
    const chunk = await add(7);
    const archive = await world.pack(chunk);
    expect((await amounts(world.ledger, 'all'))[0]).toBe(16);
    await world.ledger.closeArchive(archive, 'linger', nowMs);
    await world.sealOne(archive);
    const { intent } = await world.send();
    await world.ledger.split(chunk, ...partsAfter(3, 0, 6), nowMs, intent);
    const parts = await world.ledger.readChunks(await world.ledger.readArchiveChunks(archive));
    expect(parts.map((part) => part.estimated?.tokens)).toEqual([6, 10]);
    await world.ledger.acceptIntent({ intent, batch: 'msgbatch_split' as BatchId, pollAtMs: nowMs, nowMs });
    await world.finish(archive, 3);
    expect(await amounts(world.ledger, 'all')).toEqual([0, 206, 0, 206]);
  });

  it('tells the packer the bounds whose shares fit, and what fits is admitted', async () => {
    await teach(100);
    await estimate('all', 200 + 50);
    expect(await world.admit(await add(30))).toEqual({ kind: 'refused', target: 'all', reason: 'budget_tokens', tokensFree: 227 });
    expect((await world.admit(await add(22))).kind).toBe('packed');
    expect((await amounts(world.ledger, 'all'))[0]).toBe(49);
  });

  it('lets held work go when its share has room', async () => {
    await teach(100);
    await estimate('all', 200 + 21);
    const chunk = await add(10);
    const stopped = await world.ledger.stopOnBudget({ chunk, target: 'all', reason: 'budget_tokens', tokensNeeded: 100, microUsdNeeded: 200, nowMs });
    expect(stopped.kind).toBe('stopped');
    expect(await world.ledger.resumeHeld(nowMs)).toEqual([]);
    await estimate('all', 200 + 22);
    expect((await world.ledger.resumeHeld(nowMs)).map((each) => each.chunk)).toEqual([chunk]);
  });

  it('tells an overrun once, and takes nothing more', async () => {
    await teach(100);
    await estimate('all', 200 + 22);
    const chunk = await add(10);
    await settle(await world.pack(chunk), chunk, 10, 90);
    expect(await amounts(world.ledger, 'all')).toEqual([0, 290, 0, 290]);
    const told = (await world.ledger.readEvents(0, 100)).filter((event) => event.type === 'budget.overrun');
    expect(told).toMatchObject([{ subject: 'all', data: { limit: 222, spent: 290, unit: 'tokens' } }]);
    expect((await world.admit(await add(1))).kind).toBe('refused');
  });

  it('knows each topic and model apart, and takes the dearest of a chunk', async () => {
    await estimate('all', 1_000_000);
    await teach(100);
    const dear = await add(100, ['dear']);
    await settle(await world.pack(dear), dear, 100, 800, samplesOf(Array.from({ length: 100 }, () => ({ model: 'dear', tokens: 8, tokensMax: 10, microUsd: 8, microUsdMax: 20 }))));
    const reservedBy = async (models: readonly string[], segment = normal): Promise<number> => {
      const [before] = await amounts(world.ledger, 'all');
      await world.pack(await add(10, models, segment));
      return (await amounts(world.ledger, 'all'))[0] - before;
    };
    expect(await reservedBy(['m'])).toBe(22);
    expect(await reservedBy(['dear'])).toBe(88);
    expect(await reservedBy(['dear', 'm'])).toBe(88);
    expect(await reservedBy(['m', 'never-seen'])).toBe(100);
    expect(await reservedBy([])).toBe(100);
    expect(await reservedBy(['m'], 'letters.8k.normal' as SegmentName)).toBe(100);
  });

  it('forgets by halves, so that what a topic has become outweighs what it was', async () => {
    const learn = async (percent: number, rows: number): Promise<void> => {
      const chunk = await add(1);
      await settle(await world.pack(chunk), chunk, 1, 1, [{ model: 'm', rows, tokens: { [percent]: rows }, microUsd: { [percent]: rows } }]);
    };
    await learn(10, 20_000);
    await learn(50, 1);
    expect(await world.redis.hget(world.keys.of('calibration:invoices|m'), 'rows')).toBe('10001');
    await learn(50, 1_200);
    expect(await world.redis.hget(world.keys.of('calibration:invoices|m'), 'tokensPermille')).toBe('550');
  });
});

it('a rebuild learns from the samples that the lake holds what the ledger had learned', async () => {
  await teach(150);
  const learned = Object.entries(await snapshot(world)).filter(([name]) => name.includes('calibration'));
  const sample = samplesOf(Array.from({ length: 75 }, () => ({ model: 'm', tokens: 2, tokensMax: 10, microUsd: 2, microUsdMax: 20 })));
  const restore = openRestore(world.redis, world.keys);
  await restore.begin(1, 'me', nowMs);
  await restore.forget();
  const both = [...sample, ...sample].map((each) => ({ topic: 'invoices', sample: each }));
  await restore.end({ accounts: new Map(), overBound: [], calibrations: mergeSamples(both), generation: 1, epoch: 1, nowMs });
  expect(Object.entries(await snapshot(world)).filter(([name]) => name.includes('calibration'))).toEqual(learned);
});
