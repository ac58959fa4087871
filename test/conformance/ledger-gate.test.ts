/** The gate of the ledger: while it is rebuilt, and from the moment on in which it is known to be behind, nobody changes anything in it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PlimsollError } from '../../segments/errors.ts';
import { openRestore } from '../../segments/ledger/restore.ts';
import { scriptCaller, scriptNames, ungatedScripts, type Call, type ScriptName } from '../../segments/ledger/scripts.ts';
import { openStanding } from '../../segments/ledger/standing.ts';
import { account, amounts, ledgerForTest, limits, normal, nowMs, runA, settlementOf, snapshot, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
let call: Call;
beforeEach(async () => {
  world = await ledgerForTest();
  call = scriptCaller(world.redis, world.keys.prefix);
});
afterEach(async () => await world.close());

const gated = scriptNames.filter((name) => !ungatedScripts.has(name));
const isBehind = expect.objectContaining({ code: 'ledger_behind' }) as Error;
const begin = async (epoch = 1): Promise<void> => await openRestore(world.redis, world.keys).begin(epoch, 'test', nowMs);

/** Ways in which the gate is shut. */
const shut: Readonly<Record<string, () => Promise<unknown>>> = {
  'a ledger that is rebuilt': begin,
  'a ledger that is known to be behind': async () => await openStanding(world.redis, world.keys).markBehind('for a test', nowMs),
};

describe.each(Object.keys(shut))('%s', (way) => {
  it.each(gated)('refuses %s, and nothing changes', async (name) => {
    await shut[way]?.();
    const before = await snapshot(world);
    await expect(call(name, {})).rejects.toThrow(isBehind);
    expect(await snapshot(world)).toEqual(before);
  });

  it('refuses money and work on their way, and keeps every amount', async () => {
    await world.ledger.setBudget({ target: 'all', tokens: 1_000, microUsd: undefined, window: 'total' }, 'operator', nowMs);
    const waiting = await world.add(1);
    await world.pack(await world.add(2));
    const packed = await world.add(3);
    await world.flush(runA);
    expect((await world.admit(packed)).kind).toBe('packed');
    expect((await world.admit(waiting)).kind).toBe('packed');
    const [archive] = await world.seal(runA);
    if (!archive) throw new Error('nothing was sealed');
    await world.accept('msgbatch_1');
    await world.ledger.endArchive(archive, undefined, nowMs);
    const settlement = await settlementOf(world.ledger, archive, 5);
    const before = await snapshot(world);
    await shut[way]?.();
    const after = await snapshot(world);
    const { ledger } = world;
    const attempts: readonly (() => Promise<unknown>)[] = [
      async () => await ledger.settle(settlement),
      async () => await ledger.admit(waiting, limits, false, nowMs),
      async () => await ledger.setBudget({ target: 'all', tokens: 1, microUsd: undefined, window: 'total' }, 'operator', nowMs),
      async () => await ledger.hold({ kind: 'segment', segment: normal }, nowMs),
      async () => await ledger.resume({ kind: 'run', run: runA }, nowMs),
      async () => await ledger.cancelRun(runA, 10, nowMs),
      async () => await ledger.setTier({ client: 'etl', tier: 'pilot', ordinal: 1, by: 'ada', setAtMs: nowMs }),
      async () => await ledger.prepareIntent({ account, side: 'real', owner: 'me', leaseMs: 1_000, queueRowsMax: 100, nowMs }),
      async () => await ledger.claim('settle', archive, 'me', 1_000, nowMs),
      async () => await ledger.overdue(nowMs + 1_000_000, 1_000, 10),
    ];
    for (const attempt of attempts) await expect(attempt()).rejects.toThrow(isBehind);
    expect(await snapshot(world)).toEqual(after);
    expect(await amounts(ledger, 'all')).toEqual([60, 0, 120, 0]);
    // Nothing but the mark itself has changed.
    expect(Object.keys(after).filter((key) => JSON.stringify(after[key]) !== JSON.stringify(before[key])).filter((key) => !/standing|events/.test(key))).toEqual([]);
  });

  it('still answers who only reads, and tells its events', async () => {
    await world.add(2);
    await shut[way]?.();
    expect(await world.ledger.nextSegment([])).toBe(normal);
    expect(await world.ledger.listStops(nowMs)).toEqual([]);
    expect(await world.ledger.claimRelay({ sink: 'etl', owner: 'me', leaseMs: 1_000, isFromNow: false, nowMs })).toMatchObject({ isClaimed: true });
    expect(await world.ledger.claimLake('lake-1')).toBe('lake-1');
  });
});

it('only reads, the standing, the rebuild itself and what it keeps are not gated', () => {
  const meant: readonly ScriptName[] = [
    'advance-relay', 'claim-lake', 'claim-relay', 'mark-behind', 'next-segment', 'read-intents', 'read-standing', 'read-stops',
    'restore-archive', 'restore-begin', 'restore-chunks', 'restore-end', 'restore-forget', 'restore-run',
  ];
  expect([...ungatedScripts].sort()).toEqual(meant);
});

describe('a rebuild', () => {
  const budget = { target: 'all', tokens: 7, microUsd: undefined, window: 'total' } as const;

  it('goes through the gate that it has shut, and no other one does', async () => {
    const [first, second] = [openRestore(world.redis, world.keys), openRestore(world.redis, world.keys)];
    await first.begin(1, 'first', nowMs);
    await first.ledger.setBudget(budget, 'operator', nowMs);
    await second.begin(2, 'second', nowMs);
    await expect(first.ledger.setBudget({ ...budget, tokens: 9 }, 'operator', nowMs)).rejects.toThrow(isBehind);
    await second.ledger.setBudget({ ...budget, tokens: 8 }, 'operator', nowMs);
    expect(await world.ledger.listBudgets()).toMatchObject([{ tokens: 8 }]);
  });

  it('finds the gate shut for itself once it has ended, or Redis was set back', async () => {
    const restore = openRestore(world.redis, world.keys);
    await restore.begin(1, 'test', nowMs);
    await restore.end({ accounts: new Map(), overBound: [], calibrations: [], generation: 0, epoch: 1, nowMs });
    await expect(restore.ledger.setBudget(budget, 'operator', nowMs)).rejects.toThrow(isBehind);
    await world.ledger.setBudget(budget, 'operator', nowMs);
  });

  it('that was overtaken takes nothing away that the later one has written (Y4)', async () => {
    const [first, second] = [openRestore(world.redis, world.keys), openRestore(world.redis, world.keys)];
    await first.begin(1, 'first', nowMs);
    await second.begin(2, 'second', nowMs);
    await second.ledger.setBudget(budget, 'operator', nowMs);
    const before = await snapshot(world);
    const code = await first.forget().then(() => 'forgotten', (error: unknown) => (error instanceof PlimsollError ? error.code : String(error)));
    expect(code).toBe('ledger_behind');
    expect(await snapshot(world)).toEqual(before);
  });
});
