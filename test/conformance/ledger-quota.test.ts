/** Measuring clients, on the real script: what counts once, what is admitted, and the one row from which on it is not. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MeasuredClient } from '../../segments/ledger/ledger.ts';
import type { Deferral } from '../../segments/quota.ts';
import type { RunKey } from '../../segments/segment.ts';
import { ledgerForTest, runA, runB, snapshot, type LedgerWorld } from '../ledger-world.ts';

const dayMs = 86_400_000;
const minuteMs = 60_000;
const noon = Date.parse('2026-11-21T12:00:00Z');

let world: LedgerWorld;
beforeEach(async () => void (world = await ledgerForTest()));
afterEach(async () => await world.close());

interface Handed {
  readonly run?: RunKey;
  readonly from: number;
  readonly to: number;
  readonly tokens?: number;
  readonly limits?: NonNullable<MeasuredClient['tier']>['limits'];
  readonly floorRow?: number;
  readonly known?: Deferral;
  readonly at?: number;
}

/** Hands in the rows `from..to` of the client etl: as a sum, and row by row where that is asked for. */
async function hand({ run = runA, from, to, tokens = 10, limits, floorRow = 0, known, at = noon }: Handed): Promise<Deferral | undefined> {
  const tier = limits && ({ name: 'pilot', over: 'fallback', limits } as const);
  const ask = async (parts: MeasuredClient['parts']) => await world.ledger.measureClients({ run, clients: [{ client: 'etl', parts, floorRow, tier, known }], nowMs: at });
  const before = await snapshot(world);
  const found = await ask([[from, to, to - from + 1, tokens * (to - from + 1), 100 + to]]);
  if (found.split.length === 0) return found.deferrals.get('etl');
  const { [`${world.keys.prefix}client:etl:days`]: days } = await snapshot(world);
  expect(days, 'nothing is counted of what has to come row by row').toEqual(before[`${world.keys.prefix}client:etl:days`]);
  const again = await ask(Array.from({ length: to - from + 1 }, (_, index) => [from + index, from + index, 1, tokens, 100 + from + index] as const));
  expect(again.split).toEqual([]);
  return again.deferrals.get('etl');
}

const today = async () => (await world.ledger.readClient('etl', noon)).days.at(-1);

describe('the row from which on a client is over', () => {
  it('is the first that a limit has no room for, and stays', async () => {
    expect(await hand({ from: 1, to: 4, limits: { requestsPerMinute: 6 } })).toBeUndefined();
    const decided = await hand({ from: 5, to: 9, limits: { requestsPerMinute: 6 } });
    expect(decided).toEqual({ client: 'etl', tier: 'pilot', over: 'fallback', fromRow: 7, limit: 'requestsPerMinute', allowed: 6, measured: 7, intervalMs: null, decidedAtMs: noon });
    expect(await hand({ from: 10, to: 20, limits: { requestsPerMinute: 6 }, at: noon + dayMs })).toEqual(decided);
  });

  it.each([
    [{ requestsPerDay: 3, requestsPerMinute: 2 }, 3, 'requestsPerMinute'],
    [{ requestsPerDay: 2, requestsPerMinute: 2 }, 3, 'requestsPerDay'],
    [{ tokensPerDay: 35 }, 4, 'tokensPerDay'],
    [{ tokensPerMinute: 9 }, 1, 'tokensPerMinute'],
  ] as const)('follows from %j', async (limits, fromRow, limit) => {
    expect(await hand({ from: 1, to: 9, limits })).toMatchObject({ fromRow, limit });
  });

  it('belongs to one run: the next one is judged by what is left of the minute', async () => {
    expect(await hand({ from: 1, to: 9, limits: { requestsPerMinute: 6 } })).toMatchObject({ fromRow: 7 });
    expect(await hand({ run: runB, from: 1, to: 1, limits: { requestsPerMinute: 6 } })).toMatchObject({ fromRow: 1, measured: 7, intervalMs: 0 });
    expect(await hand({ run: 'run-c' as RunKey, from: 1, to: 6, limits: { requestsPerMinute: 6 }, at: noon + minuteMs })).toBeUndefined();
  });

  it('is the one that the lake knows, whatever is measured now', async () => {
    const known: Deferral = { client: 'etl', tier: 'pilot', over: 'fallback', fromRow: 3, limit: 'requestsPerDay', allowed: 2, measured: 3, intervalMs: null, decidedAtMs: 1 };
    expect(await hand({ from: 1, to: 9, limits: { requestsPerDay: 1_000 }, known })).toEqual(known);
    expect((await world.ledger.readClient('etl', noon)).admitted.requestsPerDay).toBe(2);
  });

  it('is never one of the rows that are durable: after a rebuild the minute begins anew for them', async () => {
    expect(await hand({ from: 1, to: 9, floorRow: 8, limits: { requestsPerMinute: 1 } })).toBeUndefined();
    expect(await hand({ from: 10, to: 10, limits: { requestsPerMinute: 1 } })).toMatchObject({ fromRow: 10 });
  });

  it('is told in one event', async () => {
    await hand({ from: 1, to: 9, limits: { requestsPerDay: 3 } });
    await hand({ from: 10, to: 12, limits: { requestsPerDay: 3 } });
    const told = (await world.ledger.readEvents(0, 100)).filter(({ type }) => type === 'client.deferred');
    expect(told).toMatchObject([{ id: `${runA}:deferred:etl`, subject: runA, data: { run_key: runA, client: 'etl', tier: 'pilot', over: 'fallback', from_row: 4, limit: 'requestsPerDay', allowed: 3, measured: 4 } }]);
  });
});

describe('what is measured', () => {
  it('counts a row once, however often it is read', async () => {
    await hand({ from: 1, to: 5 });
    await hand({ from: 3, to: 8 });
    expect(await today()).toMatchObject({ day: '2026-11-21', requests: 8, tokens: 80, requestsPerMinuteMax: 8, tokensPerMinuteMax: 80, contextTokensMax: 108, requestsOver: 0 });
  });

  it('counts what was over as well, because a larger tier would have to admit it', async () => {
    await hand({ from: 1, to: 10, limits: { requestsPerDay: 4 } });
    expect(await today()).toMatchObject({ requests: 10, tokens: 100, requestsOver: 6, tokensOver: 60, requestsPerMinuteMax: 10 });
    expect((await world.ledger.readClient('etl', noon)).admitted).toEqual({ requestsPerMinute: 4, requestsPerDay: 4, tokensPerMinute: 40, tokensPerDay: 40 });
  });

  it('keeps the busiest minute of a day, and days apart', async () => {
    await hand({ from: 1, to: 3 });
    await hand({ from: 4, to: 8, at: noon + minuteMs });
    await hand({ from: 9, to: 9, at: noon + dayMs });
    expect((await world.ledger.readClient('etl', noon)).days.map(({ day, requests, requestsPerMinuteMax }) => [day, requests, requestsPerMinuteMax])).toEqual([['2026-11-21', 8, 5], ['2026-11-22', 1, 1]]);
    expect((await world.ledger.readClient('etl', noon + 2 * dayMs)).admitted.requestsPerDay).toBe(0);
  });

  it('knows the time between two calls, which are runs', async () => {
    await hand({ from: 1, to: 1 });
    await hand({ from: 2, to: 2, at: noon + 5 });
    expect((await world.ledger.readClient('etl', noon)).intervalMs).toBeUndefined();
    await hand({ run: runB, from: 1, to: 1, at: noon + 70 });
    expect(await world.ledger.readClient('etl', noon)).toMatchObject({ lastCallAtMs: noon + 70, intervalMs: 70 });
  });

  it('keeps 400 days', async () => {
    for (let day = 0; day < 402; day += 1) await hand({ from: day + 1, to: day + 1, at: noon + day * dayMs });
    const { days } = await world.ledger.readClient('etl', noon);
    expect([days.length, days[0]?.day]).toEqual([400, '2026-11-23']);
  });

  it('shares minute and day among producers of one client, and adds up', async () => {
    const others = await Promise.all(Array.from({ length: 8 }, async () => await world.connect()));
    const limits = { requestsPerDay: 500 };
    const decided = await Promise.all(others.map(async (ledger, index) => {
      const parts = Array.from({ length: 100 }, (_, row) => [row + 1, row + 1, 1, 1, 1] as const);
      return (await ledger.measureClients({ run: `run-${index}` as RunKey, clients: [{ client: 'etl', parts, floorRow: 0, tier: { name: 'pilot', over: 'fallback', limits }, known: undefined }], nowMs: noon })).deferrals.get('etl');
    }));
    expect(decided.filter((each) => each === undefined)).toHaveLength(5);
    expect(decided.filter((each) => each?.fromRow === 1)).toHaveLength(3);
    expect((await world.ledger.readClient('etl', noon)).admitted.requestsPerDay).toBe(500);
    expect(await today()).toMatchObject({ requests: 800, requestsOver: 300 });
  });
});

describe('the words of operators', () => {
  it('hold in their order, however they come', async () => {
    const word = { client: 'etl', by: 'ada', setAtMs: 5 };
    expect(await world.ledger.setTier({ ...word, tier: 'internal', ordinal: 2 })).toBe(true);
    expect(await world.ledger.setTier({ ...word, tier: 'pilot', ordinal: 1 })).toBe(false);
    expect(await world.ledger.readTiers()).toEqual([{ ...word, tier: 'internal', ordinal: 2 }]);
    expect(await world.ledger.setTier({ ...word, tier: null, ordinal: 3 })).toBe(true);
    expect(await world.ledger.readTiers()).toEqual([{ ...word, tier: null, ordinal: 3 }]);
    expect(await world.ledger.listClients()).toEqual(['etl']);
  });
});

describe('the line', () => {
  it('holds what is queued, sealed and sent', async () => {
    expect(await world.ledger.countLine()).toBe(0);
    await world.pack(await world.add(7));
    await world.add(5);
    expect(await world.ledger.countLine()).toBe(5);
    await world.seal(runA);
    await world.flush(runA);
    expect(await world.ledger.countLine()).toBeGreaterThanOrEqual(5);
  });
});
