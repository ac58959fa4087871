/** Sides, on the real scripts: an intent is prepared only for a run of its own side, and the side of a run is decided once (G7). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Preparation } from '../../segments/ledger/ledger.ts';
import type { ArchiveId, BatchId, RunKey, SegmentName } from '../../segments/segment.ts';
import type { Side } from '../../segments/side.ts';
import { footerOf, ledgerForTest, limits, nowMs, runA, snapshot, tagOf, twice, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
beforeEach(async () => void (world = await ledgerForTest()));
afterEach(async () => await world.close());

const rehearsed = 'rehearsed' as RunKey;
const real = 'real-run' as RunKey;

async function open(run: RunKey, side?: Side): Promise<void> {
  await world.ledger.openRun({ run, tag: tagOf(run), dt: '2026-11-21', source: 'docs.jsonl', cutSha256: 'cut', ...(side === undefined ? {} : { side }), nowMs });
}
const sideOf = async (run: RunKey): Promise<Side | undefined> => (await world.ledger.readRun(run))?.side;

/** One sealed archive of its own segment. */
async function sealed(run: RunKey, rows: number, segment = 'a.8k.normal', client = 'etl'): Promise<ArchiveId> {
  const archive = await world.pack(await world.add(rows, { run, segment: segment as SegmentName, client }));
  await world.ledger.closeArchive(archive, 'linger', nowMs);
  await world.sealOne(archive);
  return archive;
}

const prepare = async (side: Side, given: { readonly nowMs?: number; readonly patienceMs?: number; readonly primerWaitMs?: number } = {}): Promise<Preparation> =>
  await world.ledger.prepareIntent({ account: `account-${side}`, side, owner: `worker-${side}`, leaseMs: 1_000, queueRowsMax: 1e9, nowMs, ...given });

/** Takes everything that this side is given, one after the other. */
async function takeAll(side: Side, given: { readonly patienceMs?: number } = {}): Promise<readonly ArchiveId[]> {
  const taken: ArchiveId[] = [];
  for (;;) {
    const next = await prepare(side, given);
    if (next.kind !== 'prepared') return taken;
    taken.push(next.archive);
    await world.ledger.armIntent(next.intent, `worker-${side}`, nowMs, nowMs);
    await world.ledger.sendIntent(next.intent, `worker-${side}`, nowMs);
    await world.ledger.acceptIntent({ intent: next.intent, batch: `msgbatch_${next.archive}` as BatchId, pollAtMs: nowMs, nowMs });
  }
}

describe('a run that was opened by a command with a side', () => {
  it('is passed over by the other side, whose look changes nothing but when the next one is due', async () => {
    await open(rehearsed, 'simulated');
    const archive = await sealed(rehearsed, 3);
    const before = await snapshot(world);
    expect(await twice(async () => await prepare('real'))).toEqual([{ kind: 'other_side', untilMs: nowMs + 2_000 }, { kind: 'other_side', untilMs: nowMs + 2_000 }]);
    const after = await snapshot(world);
    expect(Object.keys({ ...before, ...after }).filter((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]))).toEqual([world.keys.of('due:submit')]);
    expect(await prepare('simulated')).toMatchObject({ kind: 'prepared', archive });
    expect(await sideOf(rehearsed)).toBe('simulated');
  });

  it('keeps its side when it is opened again, by whomever', async () => {
    await open(real, 'real');
    await open(real, 'simulated');
    await open(real);
    expect(await sideOf(real)).toBe('real');
    await sealed(real, 1);
    expect((await prepare('simulated')).kind).toBe('other_side');
  });

  it('is nothing in the way of the runs behind it: their order is the one that they would have alone', async () => {
    await open(real, 'real');
    const alone = [await sealed(real, 5, 'a.8k.high', 'one'), await sealed(real, 4, 'b.8k.normal', 'one'), await sealed(real, 3, 'c.8k.normal', 'two'), await sealed(real, 2, 'd.8k.low')];
    await open(rehearsed, 'simulated');
    for (const segment of ['e.8k.high', 'f.8k.normal', 'g.8k.normal', 'h.8k.low']) await sealed(rehearsed, 7, segment, 'other');
    expect(await takeAll('real')).toEqual([alone[0], alone[2], alone[1], alone[3]]);
    expect((await prepare('real')).kind).toBe('other_side');
    expect(await takeAll('simulated')).toHaveLength(4);
    expect((await prepare('simulated')).kind).toBe('nothing');
  });

  it('is passed over also when it has waited longer than anybody may', async () => {
    await open(rehearsed, 'simulated');
    await sealed(rehearsed, 3, 'a.8k.low');
    await open(real, 'real');
    const archive = await sealed(real, 2, 'b.8k.low');
    expect(await takeAll('real', { patienceMs: -1 })).toEqual([archive]);
  });

  it('blocks no lane: both sides hold their own at the same time, and neither sends in the other one', async () => {
    await open(rehearsed, 'simulated');
    await open(real, 'real');
    const [first, second] = [await sealed(rehearsed, 3), await sealed(real, 2, 'b.8k.normal')];
    expect(await prepare('real')).toMatchObject({ kind: 'prepared', archive: second });
    expect(await prepare('simulated')).toMatchObject({ kind: 'prepared', archive: first });
  });

  it('keeps the submitter due, so that a worker of its own side takes it although one of the other was woken for it', async () => {
    await open(rehearsed, 'simulated');
    await sealed(rehearsed, 3);
    await prepare('real');
    const due = async (atMs: number): Promise<readonly string[]> => (await world.ledger.overdue(atMs, 1, 10)).map((each) => each.stage);
    expect(await due(nowMs + 1_999)).not.toContain('submit');
    expect(await due(nowMs + 2_000)).toContain('submit');
  });
});

describe('a run that nobody has decided about', () => {
  it.each(['real', 'simulated'] as const)('is of the side whose first intent is prepared: %s', async (side) => {
    const [first] = [await sealed(runA, 3), await sealed(runA, 2, 'b.8k.normal')];
    expect(await sideOf(runA)).toBeUndefined();
    const [one, again] = await twice(async () => await prepare(side));
    expect(one).toMatchObject({ kind: 'prepared', archive: first });
    expect(again).toEqual(one);
    expect(await sideOf(runA)).toBe(side);
    expect((await prepare(side === 'real' ? 'simulated' : 'real')).kind).toBe('other_side');
  });

  it('stays of that side when the intent is refused, and when the lane of its owner expires', async () => {
    const archive = await sealed(runA, 3);
    const first = await prepare('simulated');
    if (first.kind !== 'prepared') throw new Error(first.kind);
    await world.ledger.refuseIntent({ intent: first.intent, reason: 'status_429', pauseUntilMs: undefined, nowMs });
    expect((await prepare('real')).kind).toBe('other_side');
    expect((await prepare('simulated')).kind).toBe('prepared');
    // The lane that the other side looks after is given up, and its archive is in line again: for its own side.
    expect((await prepare('real', { nowMs: nowMs + 1_000 })).kind).toBe('other_side');
    expect(await prepare('simulated', { nowMs: nowMs + 1_000 })).toMatchObject({ kind: 'prepared', archive });
  });

  it('is one side only, whoever asks at once', async () => {
    await sealed(runA, 1);
    await sealed(runA, 1, 'b.8k.normal');
    const ledgers = await Promise.all(Array.from({ length: 6 }, async () => await world.connect()));
    const kinds = await Promise.all(ledgers.map(async (ledger, index) => {
      const side = index % 2 === 0 ? 'real' : 'simulated';
      return { side, kind: (await ledger.prepareIntent({ account: `account-${side}`, side, owner: `o${index}`, leaseMs: 1_000, queueRowsMax: 100, nowMs })).kind };
    }));
    const side = await sideOf(runA);
    expect(kinds.filter(({ kind }) => kind === 'prepared').map((each) => each.side)).toEqual([side]);
    expect(kinds.filter((each) => each.side !== side).every(({ kind }) => kind === 'other_side')).toBe(true);
  });
});

describe('primers', () => {
  const waitMs = 600_000;
  /** A sealed archive of rows of a shared prefix; `primes`: of the one that goes ahead. */
  async function prefixed(run: RunKey, firstRow: number, rows: number, primes?: true): Promise<ArchiveId> {
    const footer = { ...footerOf(rows, firstRow, { run }), prefix: 'aa', ...(primes ? { primes } : {}) };
    await world.ledger.addChunk({ footer, spoolKey: 's', previousRow: firstRow - 1, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs });
    const admission = await world.ledger.admit(footer.chunk, limits, false, nowMs);
    if (admission.kind !== 'packed') throw new Error(admission.kind);
    await world.ledger.closeArchive(admission.archive, 'linger', nowMs);
    await world.sealOne(admission.archive);
    return admission.archive;
  }

  it('of a rehearsal prime nothing for a real run, which sends its own and does not wait for the other', async () => {
    await open(rehearsed, 'simulated');
    await open(real, 'real');
    const simulated = await prefixed(rehearsed, 1, 1, true);
    const own = await prefixed(real, 1, 1, true);
    const rest = await prefixed(real, 2, 20);
    expect(await world.ledger.readArchive(own)).toMatchObject({ rows: 1, closing: 'primer' });
    expect(await prepare('real', { primerWaitMs: waitMs })).toMatchObject({ kind: 'prepared', archive: own });
    expect(await prepare('simulated', { primerWaitMs: waitMs })).toMatchObject({ kind: 'prepared', archive: simulated });
    expect((await world.ledger.readArchive(rest))?.state).toBe('sealed');
  });

  it('that went ahead before anybody knew that theirs was a rehearsal prime nothing for a real run either', async () => {
    const primer = await prefixed(runA, 1, 1, true);
    expect(await prepare('simulated', { primerWaitMs: waitMs })).toMatchObject({ kind: 'prepared', archive: primer });
    await open(real, 'real');
    const rest = await prefixed(real, 1, 20);
    expect(await prepare('real', { primerWaitMs: waitMs })).toMatchObject({ kind: 'prepared', archive: rest });
  });
});
