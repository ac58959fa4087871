/** Accounts of windows that are over: Redis forgets them, and no money with them. A row is 10 tokens and 20 micro-USD. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { providerLimits } from '../../config/limits.ts';
import { accountsKeptMs } from '../../segments/ledger/account.ts';
import type { ArchiveId } from '../../segments/segment.ts';
import { amounts, ledgerForTest, limits, nowMs, runA, settlementOf, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
beforeEach(async () => void (world = await ledgerForTest()));
afterEach(async () => await world.close());

const hourMs = 3_600_000;
const firstHour = nowMs - (nowMs % hourMs);
const accounts = async (): Promise<readonly string[]> => (await world.ledger.listAccounts()).map(({ target, windowId }) => `${target}@${windowId}`);
const budget = async (target: string, window: string): Promise<void> => await world.ledger.setBudget({ target, tokens: 1_000_000, microUsd: undefined, window }, 'operator', nowMs);

/** Packs one row at an instant, in an archive of its own. */
async function pack(atMs: number): Promise<ArchiveId> {
  const admission = await world.ledger.admit(await world.add(1), { ...limits, rowsMax: 1 }, false, atMs);
  if (admission.kind !== 'packed') throw new Error(admission.kind);
  await world.sealOne(admission.archive);
  await world.accept(`msgbatch_${admission.archive}`);
  await world.ledger.endArchive(admission.archive, undefined, atMs);
  return admission.archive;
}

const settle = async (archive: ArchiveId, atMs: number): Promise<void> => void (await world.ledger.settle({ ...(await settlementOf(world.ledger, archive, 7)), nowMs: atMs }));

it('Redis holds as many accounts of hours as there are hours in the time that they are kept, however long work goes on', async () => {
  expect(accountsKeptMs).toBeGreaterThan(providerLimits.resultsKeptMs);
  await budget('topic:invoices', '1h');
  const keptHours = accountsKeptMs / hourMs;
  // One row every ten hours, for three times as long as an account is kept.
  const step = 10;
  for (let hour = 0; hour < 3 * keptHours; hour += step) {
    const atMs = firstHour + hour * hourMs;
    await settle(await pack(atMs), atMs);
    if (hour % (20 * step) === 0) await world.ledger.sweepAccounts(atMs);
  }
  await world.ledger.sweepAccounts(firstHour + 3 * keptHours * hourMs);
  const hours = (await accounts()).filter((name) => name.startsWith('topic:invoices@1h='));
  expect(hours.length).toBeGreaterThan(0);
  expect(hours.length).toBeLessThanOrEqual(keptHours / step);
  expect(await world.redis.keys(`${world.keys.prefix}account:*`)).toHaveLength((await accounts()).length);
  // What counts without end is all there.
  expect((await amounts(world.ledger, 'all'))[1]).toBe(7 * 3 * (keptHours / step));
});

it('what is settled after all that time is booked where it was reserved, and is swept only then', async () => {
  await budget('topic:invoices', 'month');
  const late = await pack(nowMs);
  const [name] = (await accounts()).filter((each) => each.startsWith('topic:invoices@month'));
  const afterMs = nowMs + 100 * 24 * hourMs;
  await world.ledger.sweepAccounts(afterMs);
  expect(await accounts()).toContain(name);
  await settle(late, afterMs);
  expect(await amounts(world.ledger, 'topic:invoices', name?.split('@')[1])).toEqual([0, 7, 0, 7]);
  expect(await world.ledger.sweepAccounts(afterMs)).toBe(1);
  expect(await accounts()).not.toContain(name);
  expect((await amounts(world.ledger, 'all'))[1]).toBe(7);
});

it('a window that has not been over for so long keeps its account, and a month is as long as it is', async () => {
  await budget('topic:invoices', 'month');
  await settle(await pack(nowMs), nowMs);
  const december = Date.parse('2026-12-01T00:00:00Z');
  expect(await world.ledger.sweepAccounts(december + accountsKeptMs - 1)).toBe(0);
  expect(await world.ledger.sweepAccounts(december + accountsKeptMs)).toBe(1);
});

it('the account of a run is kept while the run goes on, and as long again after its end', async () => {
  await budget('all', 'run');
  const archive = await pack(nowMs);
  await settle(archive, nowMs);
  const yearMs = 365 * 24 * hourMs;
  expect(await world.ledger.sweepAccounts(nowMs + yearMs)).toBe(0);
  await world.ledger.exportArchive(archive, { archive }, nowMs);
  await world.flush(runA);
  expect(await world.ledger.completeRun({ run: runA, result: 'succeeded', event: {}, nowMs: nowMs + yearMs })).toBe(true);
  expect(await world.ledger.sweepAccounts(nowMs + yearMs + accountsKeptMs - 1)).toBe(0);
  expect(await world.ledger.sweepAccounts(nowMs + yearMs + accountsKeptMs)).toBe(1);
  expect(await accounts()).toEqual(['all@total', 'client:etl@total', 'segment:invoices.8k.normal@total', 'topic:invoices@total']);
});
