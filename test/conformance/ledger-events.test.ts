/** What the ledger tells of money and of runs: once each, with the state that it tells of. A row is 10 tokens. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Budget, OutboxEvent } from '../../segments/ledger/ledger.ts';
import type { SegmentName } from '../../segments/segment.ts';
import { ledgerForTest, normal, nowMs, type LedgerWorld } from '../ledger-world.ts';

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
