/** What the verbs of an operator do in the ledger: cancel, hold, resume, and the runtime budgets. On the real scripts. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Budget } from '../../segments/ledger/ledger.ts';
import type { ArchiveId, BatchId, ChunkId, SegmentName } from '../../segments/segment.ts';
import { amounts, ledgerForTest, limits, normal, nowMs, outcomeOf, runA, runB, settlementOf, snapshot, twice, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
beforeEach(async () => {
  world = await ledgerForTest();
});
afterEach(async () => await world.close());

const high = 'invoices.8k.high' as SegmentName;
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const batch = (name: string): BatchId => `msgbatch_${name}` as BatchId;

async function budget(given: Partial<Budget>): Promise<void> {
  await world.ledger.setBudget({ target: 'topic:invoices', tokens: undefined, microUsd: undefined, window: 'run', ...given }, 'operator', nowMs);
}

/** Admits, or stops where the admission is refused, as the packer does. */
async function place(chunk: ChunkId, atMs: number): Promise<string> {
  const admission = await world.ledger.admit(chunk, limits, false, atMs);
  if (admission.kind !== 'refused') return admission.kind;
  const stop = await world.ledger.stopOnBudget({ chunk, target: admission.target, reason: admission.reason, tokensNeeded: 10, microUsdNeeded: 20, nowMs: atMs });
  return `${stop.kind}: ${admission.reason}`;
}

/** Brings an archive of one chunk to its settlement, `tookMs` after it was opened. */
async function observe(tookMs: number): Promise<void> {
  await world.add(1, { run: runB, segment: high });
  const chunk = (await world.ledger.nextQueued(high))?.chunk;
  if (chunk === undefined) throw new Error('no chunk is queued');
  const archive = await world.pack(chunk, { rowsMax: 1 });
  await world.sealOne(archive);
  await world.accept(batch(archive));
  await world.ledger.endArchive(archive, undefined, nowMs);
  await world.ledger.settle({ ...(await settlementOf(world.ledger, archive, 5)), nowMs: nowMs + tookMs });
}

describe('a canceled run', () => {
  it('turns what waits, what is open and what is sealed into archives without a batch, and gives every reservation back', async () => {
    const [sealed, open, queued, held] = [await world.add(3), await world.add(2), await world.add(4), await world.add(1, { segment: high })];
    await world.sealOne(await world.pack(sealed, { rowsMax: 3 }));
    await world.pack(open);
    await world.ledger.hold({ kind: 'segment', segment: high }, nowMs);
    expect((await world.admit(held)).kind).toBe('held');
    expect((await amounts(world.ledger, 'all'))[0]).toBe(50);

    const [first, again] = await twice(async () => await world.ledger.cancelRun(runA, 1_000, nowMs));
    expect(first).toMatchObject({ kind: 'canceling', track: [], submitting: 0, inDoubt: 0 });
    expect([...again.settle].sort()).toEqual([...first.settle].sort());
    expect(await world.ledger.nextSegment([])).toBeUndefined();
    expect((await world.ledger.prepareIntent({ account: 'acct', side: 'real', owner: 'me', leaseMs: 1_000, queueRowsMax: 100, nowMs })).kind).toBe('nothing');

    const settled: ChunkId[] = [];
    for (const archive of first.settle) {
      const chunks = await world.ledger.readChunks(await world.ledger.readArchiveChunks(archive));
      expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'ended', reason: 'canceled', batch: undefined });
      const outcomes = chunks.map((chunk) => outcomeOf(chunk.chunk, 0, 0, { deadLettered: chunk.rows }));
      await world.ledger.settle({ archive, chunks: outcomes, retries: [], nowMs });
      await world.ledger.exportArchive(archive, {}, nowMs);
      settled.push(...chunks.map((chunk) => chunk.chunk));
    }
    expect(settled.sort()).toEqual([sealed, open, queued, held].sort());
    expect(await amounts(world.ledger, 'all')).toEqual([0, 0, 0, 0]);
    expect(await world.ledger.readRun(runA)).toMatchObject({ state: 'canceling', chunksOpen: 0, deadLettered: 10, rowsHeld: 0, rowsQueued: 0 });
    expect(await twice(async () => await world.ledger.completeRun({ run: runA, result: 'partial', event: {}, nowMs }))).toEqual([true, true]);
    expect(await world.ledger.readRun(runA)).toMatchObject({ state: 'canceled' });
  });

  it('asks for its accepted batches to be canceled, and notes that we asked before anybody asks', async () => {
    const archive = await world.pack(await world.add(2), { rowsMax: 2 });
    await world.sealOne(archive);
    await world.accept(batch('one'));
    expect(await world.ledger.watchBatch(archive, nowMs)).toMatchObject({ isCancelDue: false });
    expect(await world.ledger.cancelRun(runA, 1_000, nowMs)).toMatchObject({ settle: [], track: [archive] });
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'accepted', cancelAskedAtMs: nowMs });
    expect(await world.ledger.watchBatch(archive, nowMs)).toMatchObject({ isCancelDue: true });
  });

  it('shuts the gate for an upload that is under way, and the refused archive is not put in line again', async () => {
    const archive = await world.pack(await world.add(2), { rowsMax: 2 });
    await world.sealOne(archive);
    const prepared = await world.ledger.prepareIntent({ account: 'acct', side: 'real', owner: 'me', leaseMs: 1_000, queueRowsMax: 100, nowMs });
    if (prepared.kind !== 'prepared') throw new Error('nothing was prepared');
    await world.ledger.armIntent(prepared.intent, 'me', nowMs, nowMs);
    expect(await world.ledger.cancelRun(runA, 1_000, nowMs)).toMatchObject({ submitting: 1 });
    expect(await world.ledger.sendIntent(prepared.intent, 'me', nowMs)).toBe(false);
    await world.ledger.refuseIntent({ intent: prepared.intent, reason: 'not_sent', pauseUntilMs: undefined, nowMs });
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'ended', reason: 'canceled' });
  });

  it('takes no chunk and no flush of a producer that goes on, and a run that has ended is not canceled', async () => {
    await world.ledger.cancelRun(runA, 1_000, nowMs);
    await expect(world.ledger.addChunk({ footer: { v: 1, chunk: 'c' as ChunkId, run: runA, segment: normal, client: 'etl', attempt: 1, source: 's', rows: 1, firstRow: 1, lastRow: 1, paramsBytes: 1, indexBytes: 1, tokensExpected: 1, tokensMax: 1, microUsdMax: 1 }, spoolKey: 's', previousRow: 0, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs })).resolves.toMatchObject({ kind: 'canceled' });
    await expect(world.ledger.flushRun({ run: runA, accepted: 0, rejected: 0, high: new Map(), input: { bytes: 0, rows: 0, sha256: '' }, nowMs })).resolves.toMatchObject({ kind: 'canceled' });
    await world.ledger.completeRun({ run: runA, result: 'partial', event: {}, nowMs });
    expect((await world.ledger.cancelRun(runA, 1_000, nowMs)).kind).toBe('ended');
    expect((await world.ledger.cancelRun(runB, 1_000, nowMs)).kind).toBe('unknown');
  });

  it('cancels many waiting chunks in steps, and fills archives only up to their bound', async () => {
    for (let count = 0; count < 12; count += 1) await world.add(3);
    const { settle } = await world.ledger.cancelRun(runA, 10, nowMs);
    const sizes = await Promise.all(settle.map(async (archive) => (await world.ledger.readArchive(archive))?.rows ?? 0));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(10);
    expect(sizes.reduce((sum, rows) => sum + rows, 0)).toBe(36);
  });
});

describe('hold and resume', () => {
  it('keep a segment still whatever a budget says, and a resume lets the same chunks go', async () => {
    const chunk = await world.add(2);
    expect(await twice(async () => await world.ledger.hold({ kind: 'segment', segment: normal }, nowMs))).toEqual([true, false]);
    expect(await world.admit(chunk)).toMatchObject({ kind: 'held', reason: 'operator' });
    expect(await world.ledger.resumeHeld(nowMs)).toEqual([]);
    expect(await world.ledger.listStops(nowMs)).toMatchObject([{ segment: normal, reason: 'operator', rowsHeld: 2 }]);
    expect(await world.ledger.resume({ kind: 'segment', segment: normal }, nowMs)).toMatchObject({ queued: [{ chunk }], ended: ['operator'], left: [] });
    expect((await world.admit(chunk)).kind).toBe('packed');
    expect(await world.ledger.resume({ kind: 'segment', segment: normal }, nowMs)).toEqual({ queued: [], ended: [], left: [] });
  });

  it('keep a run and its sealed archives still while another run goes on', async () => {
    await world.open(runB);
    const [mine, other] = [await world.pack(await world.add(2), { rowsMax: 2 }), await world.pack(await world.add(2, { run: runB }), { rowsMax: 2 })];
    await world.sealOne(mine);
    await world.sealOne(other);
    await world.ledger.hold({ kind: 'run', run: runA }, nowMs);
    expect((await world.ledger.readRun(runA))?.heldAtMs).toBe(nowMs);
    expect((await world.accept(batch('other'))).archive).toBe(other);
    expect((await world.ledger.prepareIntent({ account: 'acct', side: 'real', owner: 'me', leaseMs: 1_000, queueRowsMax: 100, nowMs })).kind).toBe('nothing');
    await world.ledger.resume({ kind: 'run', run: runA }, nowMs);
    expect((await world.ledger.readRun(runA))?.heldAtMs).toBeUndefined();
    expect((await world.accept(batch('mine'))).archive).toBe(mine);
  });

  it('a hold of a run that is not there leaves nothing behind', async () => {
    const before = await snapshot(world);
    expect(await world.ledger.hold({ kind: 'run', run: runB }, nowMs)).toBe(false);
    expect(await snapshot(world)).toEqual(before);
    expect(await world.ledger.readRun(runB)).toBeUndefined();
  });

  it('a hold of a run ends with the run, and is not begun again by the same word', async () => {
    await world.ledger.hold({ kind: 'run', run: runA }, nowMs);
    await world.ledger.cancelRun(runA, 1_000, nowMs);
    await world.ledger.completeRun({ run: runA, result: 'partial', event: {}, nowMs });
    expect(await world.ledger.listStops(nowMs)).toEqual([]);
    const before = await snapshot(world);
    expect(await world.ledger.hold({ kind: 'run', run: runA }, nowMs)).toBe(false);
    expect(await snapshot(world)).toEqual(before);
  });

  it('a resume does not overrule a budget of tokens, and says so', async () => {
    await budget({ tokens: 5 });
    expect(await place(await world.add(2), nowMs)).toBe('stopped: budget_tokens');
    expect(await world.ledger.resume({ kind: 'segment', segment: normal }, nowMs)).toEqual({ queued: [], ended: [], left: ['budget_tokens'] });
  });
});

describe('a runtime budget', () => {
  it('stops work that a day, the worst case of a turnaround nobody has seen, would carry past it', async () => {
    await budget({ runtimeMs: dayMs });
    const [first, second] = [await world.add(1), await world.add(1)];
    expect(await place(first, nowMs)).toBe('packed');
    expect(await place(second, nowMs + 1)).toBe('stopped: budget_runtime');
    const [stop] = await world.ledger.listStops(nowMs + 1);
    expect(stop).toMatchObject({ segment: normal, run: runA, reason: 'budget_runtime', target: 'topic:invoices', rowsHeld: 1 });
    expect(stop?.runtime).toEqual({ limitMs: dayMs, startedAtMs: nowMs, turnaroundMs: dayMs, turnaroundsSeen: 0, queueFillings: 1, rowsBefore: 1, queueRowsMax: 0 });
  });

  it('learns from what archives really took: the longest of the last, with a margin that shrinks', async () => {
    await world.open(runB);
    await budget({ runtimeMs: 4 * hourMs });
    const chunk = await world.add(1);
    expect(await place(chunk, nowMs)).toBe('stopped: budget_runtime');
    // One hour once: up to three hours have to be expected. The budget of the other run's segment is not in the way.
    await world.ledger.setBudget({ target: 'topic:invoices', tokens: undefined, microUsd: undefined, window: 'run' }, 'operator', nowMs);
    await observe(hourMs);
    await budget({ runtimeMs: 4 * hourMs });
    expect(await world.ledger.resumeHeld(nowMs)).toMatchObject([{ chunk }]);
    expect(await place(chunk, nowMs)).toBe('packed');
    expect(await place(await world.add(1), nowMs + hourMs)).toBe('packed');
    expect(await place(await world.add(1), nowMs + hourMs + 1)).toBe('stopped: budget_runtime');
  });

  it('counts what goes before it and the room of the provider’s queue, and says so while nothing is late yet', async () => {
    await world.open(runB);
    await observe(hourMs);
    // One hour was seen, so three have to be expected of each filling of a queue of ten rows.
    await budget({ runtimeMs: 6 * hourMs });
    const before = await world.pack(await world.add(9), { rowsMax: 9 });
    await world.sealOne(before);
    await world.ledger.prepareIntent({ account: 'acct', side: 'real', owner: 'me', leaseMs: 1_000, queueRowsMax: 10, nowMs });
    // Nine rows are in the provider's queue: one more fits beside them, and then ten more into the second filling.
    expect(await place(await world.add(1), nowMs)).toBe('packed');
    expect(await place(await world.add(10), nowMs)).toBe('packed');
    const late = await world.add(1);
    expect(await place(late, nowMs)).toBe('stopped: budget_runtime');
    expect((await world.ledger.listStops(nowMs))[0]?.runtime).toMatchObject({ turnaroundMs: 3 * hourMs, queueFillings: 3, rowsBefore: 20, queueRowsMax: 10 });
    // What is sealed in a lower priority does not stand before it, and what is sealed in a higher one does.
    const [low, urgent] = [await world.add(1, { segment: 'invoices.8k.low' as SegmentName }), await world.add(1, { segment: high })];
    await budget({ runtimeMs: 9 * hourMs });
    expect(await world.ledger.resumeHeld(nowMs)).toMatchObject([{ chunk: late }]);
    expect(await place(late, nowMs)).toBe('packed');
    await world.flush(runA);
    await world.seal(runA);
    await budget({ runtimeMs: 6 * hourMs });
    expect(await place(urgent, nowMs)).toBe('packed');
    expect(await place(low, nowMs)).toBe('stopped: budget_runtime');
  });

  it('goes on when the limit is raised, or when an operator lets it go once', async () => {
    await budget({ runtimeMs: hourMs });
    const chunk = await world.add(1);
    expect(await place(chunk, nowMs)).toBe('stopped: budget_runtime');
    expect(await world.ledger.resumeHeld(nowMs)).toEqual([]);
    await budget({ runtimeMs: 2 * dayMs });
    expect(await world.ledger.resumeHeld(nowMs)).toMatchObject([{ chunk }]);
    await budget({ runtimeMs: hourMs });
    expect(await place(chunk, nowMs)).toBe('stopped: budget_runtime');
    expect(await world.ledger.resume({ kind: 'segment', segment: normal }, nowMs)).toMatchObject({ ended: ['budget_runtime'] });
    expect(await place(chunk, nowMs)).toBe('packed');
    expect(await place(await world.add(1), nowMs + 20 * hourMs)).toBe('packed');
  });

  it('that an operator let go is looked at again in the next stretch of work, and after a new limit', async () => {
    const waive = async (atMs: number): Promise<unknown> => (await world.ledger.resume({ kind: 'segment', segment: normal }, atMs)).ended;
    await budget({ runtimeMs: hourMs, window: 'total' });
    const chunk = await world.add(2);
    expect(await place(chunk, nowMs)).toBe('stopped: budget_runtime');
    expect(await waive(nowMs)).toEqual(['budget_runtime']);
    // The word holds for what it let go and for what joins that while it is under way.
    const archive = await submitted(chunk);
    await submitted(await world.add(1), nowMs + hourMs);
    expect(await world.ledger.watchBatch(archive, nowMs + dayMs)).toMatchObject({ isNewlyLate: false });
    for (const each of await world.ledger.listArchives(runA)) await world.finish(each, 3);
    await world.redis.del(world.keys.of(`turnaround:${normal}`), world.keys.of('turnaround:all'));
    const next = await world.add(1);
    expect(await place(next, nowMs + 2 * dayMs)).toBe('stopped: budget_runtime');
    expect(await waive(nowMs + 2 * dayMs)).toEqual(['budget_runtime']);
    expect(await place(next, nowMs + 2 * dayMs)).toBe('packed');
    await budget({ runtimeMs: 2 * hourMs, window: 'total' });
    expect(await place(await world.add(1), nowMs + 2 * dayMs)).toBe('stopped: budget_runtime');
  });

  it('whose policy is cancel lets unknown work begin, in an archive of its own, and calls a late batch back', async () => {
    await budget({ runtimeMs: hourMs, onLate: 'cancel' });
    const archive = await submitted(await world.add(2));
    expect(await world.redis.hget(world.keys.of(`archive:${archive}`), 'alone')).toBe('1');
    expect(await world.ledger.watchBatch(archive, nowMs + hourMs - 1)).toEqual({ isCancelDue: false, isNewlyLate: false, deadlineMs: nowMs + hourMs });
    expect(await world.ledger.watchBatch(archive, nowMs + hourMs)).toMatchObject({ isCancelDue: true, isNewlyLate: true });
    expect(await world.ledger.watchBatch(archive, nowMs + hourMs + 1)).toMatchObject({ isCancelDue: true, isNewlyLate: false });
    expect(await world.ledger.readArchive(archive)).toMatchObject({ reason: 'budget_runtime', cancelAskedAtMs: nowMs + hourMs, lateAtMs: nowMs + hourMs });
    const late = (await world.ledger.readEvents(0, 100)).filter((event) => event.type === 'batch.late');
    expect(late).toHaveLength(1);
    expect(late[0]?.data).toMatchObject({ archive, policy: 'cancel', target: 'topic:invoices' });
  });

  it('whose policy is wait says that a batch is late and waits for it', async () => {
    await budget({ runtimeMs: dayMs, onLate: 'wait' });
    const archive = await submitted(await world.add(2));
    expect(await world.ledger.watchBatch(archive, nowMs + dayMs)).toMatchObject({ isCancelDue: false, isNewlyLate: true });
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'accepted', cancelAskedAtMs: undefined, lateAtMs: nowMs + dayMs });
  });

  it('of a run, or of a day, does not cancel what began later, while earlier work of the installation goes on', async () => {
    await world.open(runB);
    await budget({ target: 'all', runtimeMs: 2 * hourMs, onLate: 'cancel', window: 'run' });
    await submitted(await world.add(2));
    const second = await submitted(await world.add(2, { run: runB }), nowMs + 3 * hourMs);
    expect(await world.ledger.watchBatch(second, nowMs + 5 * hourMs - 1)).toEqual({ isCancelDue: false, isNewlyLate: false, deadlineMs: nowMs + 5 * hourMs });
    expect(await world.ledger.watchBatch(second, nowMs + 5 * hourMs)).toMatchObject({ isCancelDue: true, isNewlyLate: true });

    const midnightMs = Math.ceil((nowMs + 5 * hourMs) / dayMs) * dayMs;
    await budget({ target: 'all', runtimeMs: 8 * hourMs, onLate: 'cancel', window: '1d' });
    await submitted(await world.add(2), midnightMs - 4 * hourMs);
    const next = await submitted(await world.add(2, { run: runB }), midnightMs + hourMs);
    expect(await world.ledger.watchBatch(next, midnightMs + 9 * hourMs - 1)).toMatchObject({ isCancelDue: false, isNewlyLate: false });
    expect(await world.ledger.watchBatch(next, midnightMs + 9 * hourMs)).toMatchObject({ isCancelDue: true });
  });

  it('of a run that was set when a batch was under way reaches that batch', async () => {
    const archive = await submitted(await world.add(2));
    await budget({ runtimeMs: hourMs, onLate: 'cancel' });
    expect(await world.ledger.watchBatch(archive, nowMs + hourMs - 1)).toMatchObject({ isCancelDue: false, deadlineMs: nowMs + hourMs });
    expect(await world.ledger.watchBatch(archive, nowMs + hourMs)).toMatchObject({ isCancelDue: true, isNewlyLate: true });
  });

  it('says of a batch that holds rows of others, too, that it is late, and cancels it only when all of its rows are', async () => {
    const [bills, mails] = [await world.add(2), await world.add(2, { segment: 'mails.8k.normal' as SegmentName })];
    await world.pack(bills);
    await world.pack(mails);
    await world.flush(runA);
    const [archive] = await world.seal(runA);
    if (archive === undefined) throw new Error('nothing was sealed');
    await world.accept(batch('shared'));
    expect(await world.ledger.readArchiveChunks(archive)).toEqual([bills, mails]);
    await budget({ target: 'topic:mails', runtimeMs: hourMs, onLate: 'cancel', window: 'total' });
    expect(await world.ledger.watchBatch(archive, nowMs + hourMs)).toMatchObject({ isCancelDue: false, isNewlyLate: true });
    expect(await world.ledger.readArchive(archive)).toMatchObject({ reason: 'budget_runtime', cancelAskedAtMs: undefined });
    await budget({ runtimeMs: 2 * hourMs, onLate: 'cancel', window: 'total' });
    expect(await world.ledger.watchBatch(archive, nowMs + 2 * hourMs - 1)).toMatchObject({ isCancelDue: false, deadlineMs: nowMs + 2 * hourMs });
    expect(await world.ledger.watchBatch(archive, nowMs + 2 * hourMs)).toMatchObject({ isCancelDue: true, isNewlyLate: false });
  });

  it('of a window without an end counts each stretch of work from its own beginning', async () => {
    await budget({ runtimeMs: dayMs, window: 'total' });
    const archive = await submitted(await world.add(1));
    await world.finish(archive, 3);
    await world.redis.del(world.keys.of(`turnaround:${normal}`), world.keys.of('turnaround:all'));
    expect(await place(await world.add(1), nowMs + 10 * dayMs)).toBe('packed');
  });
});

it('a ledger belongs to the first lake that claims it', async () => {
  expect(await world.ledger.claimLake('lake-1')).toBe('lake-1');
  expect(await twice(async () => await world.ledger.claimLake('lake-2'))).toEqual(['lake-1', 'lake-1']);
});

/** Packs a chunk at an instant into a full archive and has it accepted. */
async function submitted(chunk: ChunkId, atMs = nowMs): Promise<ArchiveId> {
  const rows = (await world.ledger.readChunk(chunk))?.rows ?? 0;
  const admission = await world.ledger.admit(chunk, { ...limits, rowsMax: rows }, false, atMs);
  if (admission.kind !== 'packed') throw new Error(`${chunk} was not packed but ${admission.kind}`);
  await world.sealOne(admission.archive);
  await world.accept(batch(`of-${admission.archive}`));
  return admission.archive;
}
