/** What workers tell of the days to come: a budget that will be used up, once for each window and limit. Rows are 21 tokens. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openForeseer, tellForecasts, type ForeseerDependencies } from '../../cli/foresee.ts';
import type { OutboxEvent } from '../../segments/ledger/ledger.ts';
import type { StageLog } from '../../segments/stage.ts';
import { openFolderStore } from '../../segments/store/folder.ts';
import type { Store } from '../../segments/store/store.ts';
import { ledgerForTest, type LedgerWorld } from '../ledger-world.ts';
import { makeArchive, openedAtMs, succeeded } from './exporter-fixture.ts';

const hourMs = 3_600_000;
/** Five hours after the work of the fixture began, on a Saturday. */
const nowMs = openedAtMs + 5 * hourMs;

let world: LedgerWorld;
let folder: string;
let store: Store;
let lines: StageLog[];
let dependencies: ForeseerDependencies;
beforeEach(async () => {
  world = await ledgerForTest();
  folder = mkdtempSync(join(tmpdir(), 'plimsoll-foresee-'));
  store = await openFolderStore(folder, nowMs);
  lines = [];
  dependencies = { ledger: world.ledger, store, now: () => nowMs, log: (line) => void lines.push(line) };
  await makeArchive(store, Array.from({ length: 10 }, () => ({ topic: 'invoices', result: succeeded('yes') })));
});
afterEach(async () => {
  await store.close();
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

const limit = async (tokens: number, target = 'topic:invoices'): Promise<void> =>
  await world.ledger.setBudget({ target, tokens, microUsd: undefined, window: 'day', timeZone: 'UTC' }, 'operator', nowMs);
const told = async (): Promise<readonly OutboxEvent[]> => (await world.ledger.readEvents(0, 1_000)).filter(({ type }) => type.startsWith('budget.'));

it('a budget that will be used up today is told with the day, once, and again when it was raised by too little', async () => {
  await limit(300);
  await tellForecasts(dependencies);
  await tellForecasts(dependencies);
  const [event, ...more] = await told();
  expect(more).toEqual([]);
  expect(event).toMatchObject({ type: 'budget.forecast', subject: 'topic:invoices', data: { target: 'topic:invoices', unit: 'tokens', limit: 300, spent: 0, exceeds_by: expect.stringMatching(/^S(atur|un)day 2026-11-2[12]$/) as string } });
  expect(event?.data['exceeds_at_ms']).toBeGreaterThanOrEqual(nowMs);
  expect(event?.data['chance_percent']).toBeGreaterThan(50);
  expect(lines.map(({ event: name }) => name)).toEqual(['budget.forecast']);
  await limit(310);
  await tellForecasts(dependencies);
  expect((await told()).map(({ data }) => data['limit'])).toEqual([300, 310]);
});

it('a budget that will last, and one of a topic that spends nothing, are not told', async () => {
  await limit(1_000_000);
  await limit(10, 'topic:mails');
  await tellForecasts(dependencies);
  expect(await told()).toEqual([]);
});

it('what another worker has foreseen under a limit that was changed meanwhile is not told', async () => {
  await limit(400);
  const stale = { target: 'topic:invoices', windowId: 'day|UTC=0', unit: 'tokens' as const, limit: 300, exceedsAtMs: nowMs, exceedsBy: 'Saturday 2026-11-21', chancePercent: 90, nowMs };
  expect(await world.ledger.tellForecast(stale)).toBe(false);
  expect(await told()).toEqual([]);
});

it('of everything that is spent within a minute, one look is made, and its fault is logged and nobody else’s (Z1, Z2)', async () => {
  await limit(300);
  let reads = 0;
  const broken: Store = {
    ...store,
    async *list() {
      reads += 1;
      throw new Error('the lake is away');
    },
  };
  const foreseer = openForeseer({ ...dependencies, store: broken });
  foreseer.onSpent('archive');
  foreseer.onSpent('archive');
  foreseer.onSpent('run');
  await foreseer.stop();
  foreseer.onSpent('run');
  expect(reads).toBe(1);
  expect(lines.map(({ event }) => event)).toEqual(['forecast.fault']);
});
