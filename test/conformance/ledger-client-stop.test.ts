/** The budget of a client that is used up: it stops that client's work and nobody else's. A row is 10 tokens and 20 micro-USD. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Budget } from '../../segments/ledger/ledger.ts';
import type { ChunkId } from '../../segments/segment.ts';
import { ledgerForTest, limits, normal, nowMs, runA, runB, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
beforeEach(async () => void (world = await ledgerForTest()));
afterEach(async () => await world.close());

const budget = async (target: string, tokens: number, given: Partial<Budget> = {}): Promise<void> =>
  await world.ledger.setBudget({ target, tokens, microUsd: undefined, window: 'total', ...given }, 'operator', nowMs);
const stop = async (chunk: ChunkId, target: string, reason: 'budget_tokens' | 'budget_runtime' = 'budget_tokens') =>
  (await world.ledger.stopOnBudget({ chunk, target, reason, tokensNeeded: 10, microUsdNeeded: 20, nowMs })).kind;
const resumed = async (): Promise<readonly ChunkId[]> => (await world.ledger.resumeHeld(nowMs)).map(({ chunk }) => chunk);

it('another client of the same segment and run goes on, and the segment flows', async () => {
  await budget('client:etl', 10);
  await world.pack(await world.add(1));
  const [first, second] = [await world.add(1), await world.add(2)];
  expect(await world.admit(first)).toMatchObject({ kind: 'refused', target: 'client:etl' });
  expect(await stop(first, 'client:etl')).toBe('stopped');
  expect(await world.admit(second)).toMatchObject({ kind: 'held', reason: 'budget_tokens' });
  await world.pack(await world.add(1, { client: 'bi' }));
  const [segment] = await world.ledger.listSegments(nowMs);
  expect(segment).toMatchObject({ state: 'flowing', rowsHeld: 3, stops: [{ target: 'client:etl', client: 'etl', run: undefined, rowsHeld: 3, tokensHeld: 30, tokensFree: 0 }] });
  expect((await world.ledger.listHeld(normal)).map(({ chunk }) => chunk)).toEqual([first, second]);
  const event = (await world.ledger.readEvents(0, 10)).find(({ type }) => type === 'segment.stopped');
  expect(event?.data).toMatchObject({ segment: normal, client: 'etl', target: 'client:etl' });
});

it('it flows again by itself when the budget is raised, and the segment has then no stop left', async () => {
  await budget('client:etl', 10);
  await world.pack(await world.add(1));
  const chunk = await world.add(1);
  await stop(chunk, 'client:etl');
  expect(await resumed()).toEqual([]);
  await budget('client:etl', 20);
  expect(await resumed()).toEqual([chunk]);
  expect(await world.ledger.listSegments(nowMs)).toMatchObject([{ state: 'flowing', rowsHeld: 0, stops: [] }]);
  await world.pack(chunk);
});

it('where each run has its own amount, another run of the client goes on', async () => {
  await budget('client:etl', 10, { window: 'run' });
  await world.open(runB);
  await world.pack(await world.add(1));
  await stop(await world.add(1), 'client:etl');
  await world.pack(await world.add(1, { run: runB }));
  expect((await world.ledger.listSegments(nowMs))[0]?.stops).toMatchObject([{ client: 'etl', run: runA }]);
});

it('a client without room does not keep up the stop of a topic that has room again', async () => {
  await budget('topic:invoices', 10);
  await world.pack(await world.add(1, { client: 'bi' }));
  const [own, other] = [await world.add(1), await world.add(2, { client: 'bi' })];
  // The first that the topic's stop holds is of the client whose own budget is used up meanwhile.
  await stop(own, 'topic:invoices');
  expect((await world.admit(other)).kind).toBe('held');
  await budget('client:etl', 0);
  await budget('topic:invoices', 100);
  expect(await resumed()).toEqual([own, other]);
  expect(await world.admit(own)).toMatchObject({ kind: 'refused', target: 'client:etl' });
  await stop(own, 'client:etl');
  await world.pack(other);
});

it('a stop of the whole segment keeps that of its client up, and both have to end', async () => {
  await budget('client:etl', 10);
  await world.pack(await world.add(1));
  const chunk = await world.add(1);
  await stop(chunk, 'client:etl');
  await world.ledger.hold({ kind: 'segment', segment: normal }, nowMs);
  await budget('client:etl', 100);
  expect(await resumed()).toEqual([chunk]);
  expect(await world.admit(chunk)).toMatchObject({ kind: 'held', reason: 'operator' });
  expect(await world.ledger.listSegments(nowMs)).toMatchObject([{ state: 'stopped', rowsHeld: 1 }]);
  expect(await world.ledger.resume({ kind: 'segment', segment: normal }, nowMs)).toMatchObject({ ended: ['operator'], left: [] });
  await world.pack(chunk);
  expect(await world.ledger.listSegments(nowMs)).toMatchObject([{ state: 'flowing', rowsHeld: 0 }]);
});

it('its runtime budget stops that client alone, too', async () => {
  await world.ledger.setBudget({ target: 'client:etl', tokens: undefined, microUsd: undefined, runtimeMs: 3_600_000, window: 'total' }, 'operator', nowMs);
  const chunk = await world.add(1);
  expect(await world.admit(chunk)).toMatchObject({ kind: 'refused', target: 'client:etl', reason: 'budget_runtime' });
  expect(await stop(chunk, 'client:etl', 'budget_runtime')).toBe('stopped');
  expect((await world.ledger.admit(await world.add(1, { client: 'bi' }), limits, false, nowMs)).kind).toBe('packed');
});

it('what it holds is canceled with its run', async () => {
  await budget('client:etl', 0);
  const chunk = await world.add(3);
  await stop(chunk, 'client:etl');
  await world.flush(runA);
  await world.ledger.cancelRun(runA, 1_000, nowMs);
  expect(await world.ledger.readChunk(chunk)).toMatchObject({ state: 'packed' });
  expect(await world.ledger.listSegments(nowMs)).toMatchObject([{ rowsHeld: 0, stops: [{ rowsHeld: 0, tokensHeld: 0 }] }]);
  expect(await resumed()).toEqual([]);
  expect(await world.ledger.listStops(nowMs)).toEqual([]);
});
