/** The guard on a real Redis and a real lake: every way in which a ledger can have forgotten something shuts the gate. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runIngestedKey, runOpenKey } from '../../segments/lake.ts';
import { findGap, openLedgerGuard, type LedgerGuard } from '../../segments/ledger/guard.ts';
import { carryOutWords } from '../../segments/ledger/words.ts';
import { openStanding, type StandingPort } from '../../segments/ledger/standing.ts';
import type { StageLog } from '../../segments/stage.ts';
import { journalBudget, journalCancellation, journalDoubtHold, journalHold, journalTier } from '../../segments/store/decisions.ts';
import { putDocument } from '../../segments/store/document.ts';
import { account, ledgerForTest, nowMs, runA, runB, type LedgerWorld } from '../ledger-world.ts';
import { storeForTest } from '../spool-world.ts';

let world: LedgerWorld;
let lake: Awaited<ReturnType<typeof storeForTest>>;
let standing: StandingPort;
beforeEach(async () => {
  world = await ledgerForTest();
  lake = await storeForTest();
  standing = openStanding(world.redis, world.keys);
});
afterEach(async () => {
  await world.close();
  await lake.close();
  said.length = 0;
});

const said: StageLog[] = [];
const dependencies = () => {
  const common = { ledger: world.ledger, store: lake.store, now: () => nowMs, log: (entry: StageLog) => void said.push(entry) };
  return { ...common, standing, carryOutWords: async () => void (await carryOutWords({ ...common, archiveRowsMax: 100 })) };
};
const open = async (owner = 'worker-1'): Promise<LedgerGuard> => await openLedgerGuard(dependencies(), owner);
const isBehind = expect.objectContaining({ code: 'ledger_behind' }) as Error;
/** A sealed archive in line, as most tests need it. */
async function inLine(): Promise<void> {
  await world.pack(await world.add(2));
  await world.flush(runA);
  await world.seal(runA);
}
const prepare = async (proof: Awaited<ReturnType<LedgerGuard['prove']>>) => await world.ledger.prepareIntent({ account, side: 'real', owner: 'me', leaseMs: 1_000, queueRowsMax: 100, proof, nowMs });

describe('a start', () => {
  it('counts up, and proves what it has seen', async () => {
    const first = await (await open('a')).prove();
    const second = await (await open('b')).prove();
    expect([first.generation, second.generation]).toEqual([1, 2]);
    expect(first.server).toMatch(/^[0-9a-f]{40}$/);
  });

  it('is refused as often as it is tried when the lake has seen a later one: trying again does not count up (U2)', async () => {
    for (const owner of ['a', 'b', 'c']) await open(owner);
    await world.test.flush();
    for (const owner of ['d', 'e', 'f', 'g', 'h']) await expect(open(owner)).rejects.toThrow(isBehind);
  });

  it('is refused when an intent of the lake is not known (U1)', async () => {
    await putDocument(lake.store, `journal/intents/${account}/0000000abc-000001-i1.json`, { v: 1 });
    await expect(open()).rejects.toThrow(isBehind);
  });

  it('is refused when a run with prompts is not known, and not for one that was only opened', async () => {
    await putDocument(lake.store, runOpenKey(runB), { v: 1 });
    expect(await findGap(dependencies())).toBeUndefined();
    await putDocument(lake.store, runIngestedKey(runB), { accepted: 4, rejected: 0, input: { bytes: 1, rows: 4, sha256: '' } });
    expect(await findGap(dependencies())).toMatchObject({ where: `run ${runB}` });
  });

  it('is refused when a run was read to its end and the ledger knows fewer of its prompts', async () => {
    await putDocument(lake.store, runOpenKey(runA), { v: 1 });
    await putDocument(lake.store, runIngestedKey(runA), { accepted: 4, rejected: 0, input: { bytes: 1, rows: 4, sha256: '' } });
    expect(await findGap(dependencies())).toMatchObject({ reason: expect.stringContaining('0 of the 4') as string });
    await world.add(4);
    expect(await findGap(dependencies())).toBeUndefined();
  });
});

describe('a ledger that knows less of what operators said than the lake (U5)', () => {
  const held = { kind: 'run', run: runA } as const;
  const stops = async (): Promise<readonly string[]> => (await world.ledger.listStops(nowMs)).map((stop) => `${stop.reason} ${stop.run ?? stop.segment ?? ''}`);

  it('holds what is held and cancels what is canceled before anything of it can be prepared', async () => {
    await inLine();
    await world.open(runB);
    await world.add(2, { run: runB });
    await journalHold(lake.store, held, true, nowMs);
    await journalCancellation(lake.store, runB);
    const proof = await (await open()).prove();
    expect(await prepare(proof)).toMatchObject({ kind: 'nothing' });
    expect(await stops()).toEqual([`operator ${runA}`]);
    expect((await world.ledger.readRun(runB))?.state).toBe('canceling');
    expect(said.map((line) => `${line.event} ${line.subject} ${String(line.detail?.['word'])}`)).toEqual([`ledger.word_carried_out run:${runB} cancel`, `ledger.word_carried_out run:${runA} hold`]);
    said.length = 0;
    await open('again');
    expect(said).toEqual([]);
  });

  it('leaves to a person the doubt that was left to one, and no other', async () => {
    await inLine();
    const prepared = await prepare(await (await open()).prove());
    if (prepared.kind !== 'prepared') throw new Error('it is in line');
    await world.ledger.armIntent(prepared.intent, 'me', nowMs, nowMs);
    await world.ledger.sendIntent(prepared.intent, 'me', nowMs);
    await world.ledger.doubtIntent(prepared.intent, 'connection_lost', nowMs, nowMs);
    await open('before');
    expect(await world.ledger.readIntent(prepared.intent)).toMatchObject({ state: 'in_doubt' });
    await journalDoubtHold(lake.store, prepared.intent, nowMs);
    await open('after');
    expect(await world.ledger.readIntent(prepared.intent)).toMatchObject({ state: 'held', reason: 'operator' });
  });

  it('lets flow what was let go again, and whatever is let go while it looks', async () => {
    await inLine();
    await journalHold(lake.store, held, true, nowMs);
    await journalHold(lake.store, held, false, nowMs);
    await open();
    expect(await stops()).toEqual([]);
    await journalHold(lake.store, held, true, nowMs);
    const hold = async (...request: Parameters<typeof world.ledger.hold>): Promise<boolean> => {
      await journalHold(lake.store, held, false, nowMs);
      return await world.ledger.hold(...request);
    };
    await carryOutWords({ ...dependencies(), ledger: { ...world.ledger, hold }, archiveRowsMax: 100 });
    expect(await stops()).toEqual([]);
  });

  it('has the newest limit and the newest tier, and an older word undoes neither', async () => {
    const limit = { target: 'all', tokens: 100, microUsd: undefined, window: 'total' } as const;
    await journalBudget(lake.store, limit, nowMs);
    await journalTier(lake.store, { client: 'etl', tier: 'pilot', by: 'ada', reason: 'r', fromUnset: null, setAtMs: nowMs });
    await open();
    expect(await world.ledger.listBudgets()).toMatchObject([{ target: 'all', tokens: 100 }]);
    expect(await world.ledger.readTiers()).toMatchObject([{ client: 'etl', tier: 'pilot' }]);
    await world.ledger.setBudget({ ...limit, tokens: 50 }, 'operator', nowMs + 1);
    await open('again');
    expect(await world.ledger.listBudgets()).toMatchObject([{ target: 'all', tokens: 50 }]);
  });

  it('learns it too when another server answers while it is at work', async () => {
    await inLine();
    const guard = await open();
    const moved = { ...standing, read: async () => ({ ...(await standing.read()), server: 'other' }) };
    expect((await guard.prove()).server).not.toBe('other');
    const watching = await openLedgerGuard({ ...dependencies(), standing: moved }, 'worker-2');
    await journalHold(lake.store, held, true, nowMs);
    moved.read = standing.read;
    await watching.prove();
    expect(await stops()).toEqual([`operator ${runA}`]);
  });
});

describe('while it runs', () => {
  it('a flush shuts the gate for every process, also for those that come later (U3)', async () => {
    const guard = await open();
    await world.test.flush();
    await expect(guard.prove()).rejects.toThrow(isBehind);
    expect((await standing.read()).behind).toBeDefined();
    await expect(open('later')).rejects.toThrow(isBehind);
  });

  it('an intent is prepared only with a proof of this very ledger', async () => {
    await inLine();
    const proof = await (await open()).prove();
    for (const other of [{ ...proof, server: 'other' }, { ...proof, generation: 9 }, { ...proof, epoch: 3 }]) expect(await prepare(other)).toMatchObject({ kind: 'unproven' });
    expect((await prepare(proof)).kind).toBe('prepared');
  });

  it('the gate stays shut for an intent of another server, and when the ledger is found behind during the upload', async () => {
    await inLine();
    const guard = await open();
    const prepared = await prepare(await guard.prove());
    if (prepared.kind !== 'prepared') throw new Error('it is in line');
    expect(await world.ledger.armIntent(prepared.intent, 'me', nowMs, nowMs)).toBe(true);
    await world.redis.hset(world.keys.of(`intent:${prepared.intent}`), 'server', 'other');
    expect(await world.ledger.sendIntent(prepared.intent, 'me', nowMs)).toBe(false);
    await world.redis.hset(world.keys.of(`intent:${prepared.intent}`), 'server', (await standing.read()).server);
    await guard.condemn('for a test', 'here');
    await expect(world.ledger.sendIntent(prepared.intent, 'me', nowMs)).rejects.toThrow(isBehind);
    expect(await world.ledger.readIntent(prepared.intent)).toMatchObject({ state: 'armed' });
  });

  it('an armed intent whose owner and whose server are gone is in doubt: that server may have opened the gate', async () => {
    await inLine();
    const prepared = await prepare(await (await open()).prove());
    if (prepared.kind !== 'prepared') throw new Error('it is in line');
    await world.ledger.armIntent(prepared.intent, 'me', nowMs, nowMs);
    await world.redis.hset(world.keys.of(`intent:${prepared.intent}`), 'server', 'other');
    expect((await world.ledger.expireLane(account, nowMs + 5_000)).kind).toBe('in_doubt');
    expect(await world.ledger.readIntent(prepared.intent)).toMatchObject({ state: 'in_doubt', reason: 'redis_changed' });
  });
});
