/** What the ledger tells of money and of runs: once each, with the state that it tells of. A row is 10 tokens. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Budget, OutboxEvent } from '../../segments/ledger/ledger.ts';
import { rebuild } from '../../segments/ledger/rebuild.ts';
import { openRestore } from '../../segments/ledger/restore.ts';
import type { SegmentName } from '../../segments/segment.ts';
import { journalHold } from '../../segments/store/decisions.ts';
import { ledgerForTest, normal, nowMs, runA, type LedgerWorld } from '../ledger-world.ts';
import { storeForTest } from '../spool-world.ts';

let world: LedgerWorld;
beforeEach(async () => void (world = await ledgerForTest()));
afterEach(async () => await world.close());

const budget = async (target: string, given: Partial<Budget>): Promise<void> =>
  await world.ledger.setBudget({ target, tokens: undefined, microUsd: undefined, window: 'total', ...given }, 'operator', nowMs);
const told = async (kind: string): Promise<readonly OutboxEvent[]> => (await world.ledger.readEvents(0, 1_000)).filter(({ type }) => type.startsWith(kind));

let batches = 0;

/** Packs, submits and settles a chunk of `rows` rows at `tokens` tokens and as many micro-USD. */
async function spend(rows: number, tokens: number): Promise<void> {
  const archive = await world.pack(await world.add(rows));
  await world.ledger.closeArchive(archive, 'flush', nowMs);
  await world.sealOne(archive);
  await world.accept(`msgbatch_0000000${(batches += 1)}`);
  await world.finish(archive, tokens);
}

it('four fifths of a budget are told once, and once more when the limit was raised', async () => {
  await budget('topic:invoices', { tokens: 100 });
  await spend(5, 40);
  expect(await told('budget.')).toEqual([]);
  await spend(5, 40);
  await spend(1, 5);
  const [warning, ...more] = await told('budget.');
  expect(more).toEqual([]);
  expect(warning).toMatchObject({ type: 'budget.warning', subject: 'topic:invoices', id: 'budget:topic:invoices@total:tokens:warning:100', data: { target: 'topic:invoices', unit: 'tokens', limit: 100, spent: 80 } });
  await budget('topic:invoices', { tokens: 101 });
  await spend(1, 5);
  expect((await told('budget.')).map(({ id }) => id)).toEqual(['budget:topic:invoices@total:tokens:warning:100', 'budget:topic:invoices@total:tokens:warning:101']);
});

it('a budget that turns work away is told as exceeded once, however many segments it stops', async () => {
  await budget('all', { tokens: 15 });
  for (const segment of [normal, 'mails.8k.normal' as SegmentName]) {
    const chunk = await world.add(2, { segment });
    await world.ledger.stopOnBudget({ chunk, target: 'all', reason: 'budget_tokens', tokensNeeded: 20, microUsdNeeded: 0, nowMs });
  }
  expect(await told('segment.stopped')).toHaveLength(2);
  expect((await told('budget.')).map(({ type, data }) => [type, data['limit'], data['account']])).toEqual([['budget.exceeded', 15, 'all@total']]);
});

describe('the events of stops, told to a consumer that drops an id it has seen', () => {
  let lake: Awaited<ReturnType<typeof storeForTest>>;
  beforeEach(async () => void (lake = await storeForTest()));
  afterEach(async () => await lake.close());

  /** What was told: a Redis that is lost takes its outbox with it. */
  const heard: OutboxEvent[] = [];
  const hear = async (): Promise<void> => void heard.push(...(await told('')).filter(({ sequence }) => !heard.some((each) => each.sequence === sequence)));
  const loseRedis = async (atMs: number): Promise<void> => {
    await hear();
    await world.test.flush();
    await rebuild({ store: lake.store, restore: openRestore(world.redis, world.keys), budgets: [], archiveRowsMax: 100, owner: 'test', now: () => atMs, onRun: () => undefined });
    await hear();
  };
  const ids = (kind: string): readonly string[] => heard.map(({ id }) => id).filter((id) => id.includes(kind));
  beforeEach(() => void heard.splice(0));

  it('a budget that stops the same segment before and after a rebuild is two events', async () => {
    const stop = async (client: string, atMs: number): Promise<void> => {
      await budget('all', { tokens: 15 });
      await world.ledger.stopOnBudget({ chunk: await world.add(2, { client }), target: 'all', reason: 'budget_tokens', tokensNeeded: 20, microUsdNeeded: 0, nowMs: atMs });
    };
    await stop('etl', nowMs);
    await loseRedis(nowMs + 5);
    await world.open(runA);
    await stop('bi', nowMs + 10);
    await hear();
    expect(ids(':stopped:')).toHaveLength(2);
    expect(new Set(ids(':stopped:')).size).toBe(2);
  });

  it('a hold keeps its id when a rebuild tells it again, and the next hold has another one', async () => {
    const target = { kind: 'segment', segment: normal } as const;
    const hold = async (atMs: number): Promise<void> => {
      await journalHold(lake.store, target, true, atMs);
      await world.ledger.hold(target, atMs);
    };
    const resume = async (atMs: number): Promise<void> => {
      await journalHold(lake.store, target, false, atMs);
      await world.ledger.resume(target, atMs);
    };
    await hold(nowMs);
    await resume(nowMs + 1);
    await hold(nowMs + 2);
    await loseRedis(nowMs + 5);
    const [first, second, again] = ids(':held:');
    expect(again).toBe(second);
    expect(second).not.toBe(first);
    await resume(nowMs + 6);
    await hold(nowMs + 7);
    await hear();
    expect(new Set(ids(':held:')).size).toBe(3);
    expect(new Set(heard.map(({ sequence }) => sequence)).size).toBe(heard.length);
  });
});
