/** The ledger port against a real Redis: accounts, windows, stops, splits, settlement (G1, G2). A row is 10 tokens and 20 micro-USD. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Budget } from '../../segments/ledger/ledger.ts';
import type { BatchId, ChunkId, SegmentName } from '../../segments/segment.ts';
import { amounts, footerOf, ledgerForTest, limits, normal, nowMs, outcomeOf, partsAfter, runA, runB, settlementOf, snapshot, twice, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
beforeEach(async () => void (world = await ledgerForTest()));
afterEach(async () => await world.close());

const budget = async (target: string, given: Partial<Budget>): Promise<void> =>
  await world.ledger.setBudget({ target, tokens: undefined, microUsd: undefined, window: 'total', ...given }, 'operator', nowMs);
const stop = async (chunk: ChunkId, target: string, rows = 1, reason: 'budget_tokens' | 'budget_cost' = 'budget_tokens') =>
  (await world.ledger.stopOnBudget({ chunk, target, reason, tokensNeeded: 10 * rows, microUsdNeeded: 20 * rows, nowMs })).kind;

describe('a budget', () => {
  it('lets a reservation pass up to the last token and not one more', async () => {
    await budget(`segment:${normal}`, { tokens: 50 });
    await world.pack(await world.add(5));
    expect(await world.admit(await world.add(1))).toEqual({ kind: 'refused', target: `segment:${normal}`, reason: 'budget_tokens', tokensFree: 0 });
  });

  it.each(['all', 'client:etl', 'topic:invoices', `segment:${normal}`])('on %s is asked before anything is reserved anywhere', async (target) => {
    await budget(target, { microUsd: 99 });
    const chunk = await world.add(5);
    const before = await snapshot(world);
    expect(await world.admit(chunk)).toEqual({ kind: 'refused', target, reason: 'budget_cost', microUsdFree: 99 });
    expect(await snapshot(world)).toEqual(before);
    await budget(target, { microUsd: 100 });
    expect((await world.admit(chunk)).kind).toBe('packed');
  });

  it('of one target is not spent by another: each reservation stands in every account that it passed, and in no other', async () => {
    await world.pack(await world.add(5));
    await world.pack(await world.add(1, { client: 'other', segment: 'invoices.64k.normal' as SegmentName }));
    const all = await Promise.all(['all', 'topic:invoices', 'client:etl', 'client:other', `segment:${normal}`, 'segment:invoices.64k.normal'].map(async (target) => await amounts(world.ledger, target)));
    expect(all.map(([tokens]) => tokens)).toEqual([60, 60, 50, 10, 50, 10]);
  });

  it('of zero lets nothing pass', async () => {
    await budget('all', { tokens: 0 });
    expect(await world.admit(await world.add(1))).toMatchObject({ kind: 'refused', tokensFree: 0 });
  });

  it('without limits lets everything pass and is still kept', async () => {
    await world.pack(await world.add(1_000));
    expect(await amounts(world.ledger, 'all')).toEqual([10_000, 0, 20_000, 0]);
  });

  it('that is lowered below what is reserved takes nothing back and lets nothing more pass', async () => {
    await world.pack(await world.add(5));
    await budget('all', { tokens: 10 });
    expect(await world.admit(await world.add(1))).toMatchObject({ kind: 'refused', tokensFree: -40 });
    expect(await amounts(world.ledger, 'all')).toEqual([50, 0, 100, 0]);
  });

  it('of an operator is not undone by the configuration, and one of the configuration by both', async () => {
    const fromConfig = async (tokens: number) => await world.ledger.setBudget({ target: 'all', tokens, microUsd: undefined, window: 'run' }, 'config', nowMs);
    await fromConfig(1);
    await fromConfig(2);
    expect(await world.ledger.listBudgets()).toMatchObject([{ target: 'all', tokens: 2, microUsd: undefined, window: 'run' }]);
    await budget('all', { microUsd: 3 });
    await fromConfig(4);
    expect(await world.ledger.listBudgets()).toMatchObject([{ target: 'all', tokens: undefined, microUsd: 3, window: 'total' }]);
  });

  it('refuses the sixteen-digit amounts of a careless operator exactly', async () => {
    await budget('all', { tokens: 2 ** 53 - 1 });
    await world.pack(await world.add(1));
    expect(await world.ledger.listBudgets()).toMatchObject([{ tokens: 2 ** 53 - 1 }]);
  });
});

describe('a budget whose window is a run', () => {
  it('that is set in mid-run counts what the run has spent and reserved before, and what its settlement gives back', async () => {
    const spent = await world.pack(await world.add(5), { rowsMax: 5 });
    await world.sealOne(spent);
    await world.accept('msgbatch_1');
    await world.ledger.endArchive(spent, undefined, nowMs);
    await world.ledger.settle(await settlementOf(world.ledger, spent, 30));
    const reserved = await world.pack(await world.add(4), { rowsMax: 4 });
    await world.pack(await world.add(3, { segment: 'letters.8k.normal' as SegmentName }));
    await world.open(runB);
    await world.pack(await world.add(2, { run: runB }));
    for (const target of ['topic:invoices', 'all', 'client:etl', `segment:${normal}`]) await budget(target, { tokens: 90, window: 'run' });
    expect(await amounts(world.ledger, 'topic:invoices', `run=${runA}`)).toEqual([40, 30, 80, 30]);
    expect(await amounts(world.ledger, 'client:etl', `run=${runA}`)).toEqual([70, 30, 140, 30]);
    expect(await amounts(world.ledger, 'all', `run=${runA}`)).toEqual([70, 30, 140, 30]);
    expect(await amounts(world.ledger, `segment:${normal}`, `run=${runB}`)).toEqual([20, 0, 40, 0]);
    expect(await world.admit(await world.add(1))).toMatchObject({ kind: 'refused', reason: 'budget_tokens', tokensFree: -10 });
    await world.sealOne(reserved);
    await world.accept('msgbatch_2');
    await world.ledger.endArchive(reserved, undefined, nowMs);
    await world.ledger.settle(await settlementOf(world.ledger, reserved, 10));
    expect(await amounts(world.ledger, 'topic:invoices', `run=${runA}`)).toEqual([0, 40, 0, 40]);
    expect((await world.ledger.listAccounts()).find((each) => each.target === 'topic:invoices' && each.windowId === `run=${runA}`)?.usage.inputTokens).toBe(40);
  });

  it('that is set again, or changes only its limit, counts nothing twice', async () => {
    await world.pack(await world.add(5));
    await budget('all', { tokens: 90, window: 'run' });
    await budget('all', { tokens: 80, window: 'run' });
    await budget('all', { tokens: 80, window: 'total' });
    await world.pack(await world.add(1));
    await budget('all', { tokens: 70, window: 'run' });
    expect(await amounts(world.ledger, 'all', `run=${runA}`)).toEqual([60, 0, 120, 0]);
  });
});

describe('a window', () => {
  it('of a run gives each run the whole amount', async () => {
    await budget('topic:invoices', { tokens: 50, window: 'run' });
    await world.open(runB);
    await world.pack(await world.add(5));
    await world.pack(await world.add(5, { run: runB }));
    expect(await world.admit(await world.add(1, { run: runB }))).toMatchObject({ kind: 'refused', target: 'topic:invoices' });
    expect(await amounts(world.ledger, 'topic:invoices', `run=${runA}`)).toEqual([50, 0, 100, 0]);
  });

  it('of an hour is full until the hour is over, UTC, and then empty', async () => {
    await budget('all', { tokens: 50, window: '1h' });
    const hour = 3_600_000;
    const start = nowMs - (nowMs % hour);
    await world.pack(await world.add(5));
    const next = await world.add(1);
    expect((await world.ledger.admit(next, limits, false, start + hour - 1)).kind).toBe('refused');
    expect((await world.ledger.admit(next, limits, false, start + hour)).kind).toBe('packed');
    expect(await amounts(world.ledger, 'all', `1h=${start}`)).toEqual([50, 0, 100, 0]);
    expect(await amounts(world.ledger, 'all', `1h=${start + hour}`)).toEqual([10, 0, 20, 0]);
  });

  it('of a month in a time zone is full until that month is over there, and frees what it held by itself', async () => {
    await budget('all', { tokens: 50, window: 'month', timeZone: 'Europe/Berlin' });
    const december = Date.parse('2026-11-30T23:00:00Z');
    const january = Date.parse('2026-12-31T23:00:00Z');
    await world.ledger.admit(await world.add(5), limits, false, december - 1);
    const next = await world.add(1);
    expect((await world.ledger.admit(next, limits, false, december - 1)).kind).toBe('refused');
    expect((await world.ledger.stopOnBudget({ chunk: next, target: 'all', reason: 'budget_tokens', tokensNeeded: 10, microUsdNeeded: 20, nowMs: december - 1 })).kind).toBe('stopped');
    expect(await world.ledger.resumeHeld(december - 1)).toEqual([]);
    expect((await world.ledger.resumeHeld(december)).map((each) => each.chunk)).toEqual([next]);
    expect((await world.ledger.admit(next, limits, false, december)).kind).toBe('packed');
    expect(await amounts(world.ledger, 'all', `month|Europe/Berlin=${december}`)).toEqual([10, 0, 20, 0]);
    await world.ledger.admit(await world.add(5), limits, false, january);
    expect(await amounts(world.ledger, 'all', `month|Europe/Berlin=${january}`)).toEqual([50, 0, 100, 0]);
  });

  it('of the calendar that another process has just set holds from the next call on, whoever makes it', async () => {
    const other = await world.connect();
    expect((await other.admit(await world.add(1), limits, false, nowMs)).kind).toBe('packed');
    await budget('topic:invoices', { tokens: 20, window: 'day', timeZone: 'Asia/Tokyo' });
    await budget('client:etl', { tokens: 10, window: 'hour' });
    expect((await other.admit(await world.add(1), limits, false, nowMs)).kind).toBe('packed');
    expect(await other.admit(await world.add(1), limits, false, nowMs)).toMatchObject({ kind: 'refused', target: 'client:etl' });
    expect((await other.admit(await world.add(1), limits, false, nowMs + 3_600_000)).kind).toBe('packed');
    expect(await other.admit(await world.add(1), limits, false, nowMs + 7_200_000)).toMatchObject({ kind: 'refused', target: 'topic:invoices' });
  });

  it.each(['all', 'client:etl', 'topic:invoices', `segment:${normal}`])('of all time counts what %s spent while its budget had another window', async (target) => {
    await budget(target, { tokens: 100, window: '1d' });
    const archive = await world.pack(await world.add(10), { rowsMax: 10 });
    await world.sealOne(archive);
    await world.accept('msgbatch_1');
    await world.finish(archive, 60);
    expect((await world.admit(await world.add(4))).kind).toBe('packed');
    await budget(target, { tokens: 105 });
    expect(await amounts(world.ledger, target)).toEqual([40, 60, 80, 60]);
    expect(await world.admit(await world.add(1))).toEqual({ kind: 'refused', target, reason: 'budget_tokens', tokensFree: 5 });
  });

  it('is settled where it was reserved, however late the results come', async () => {
    await budget('all', { tokens: 50, window: '1h' });
    await world.pack(await world.add(5));
    await world.flush(runA);
    const [archive] = await world.seal(runA);
    await world.accept('msgbatch_1');
    await world.ledger.endArchive(archive ?? ('' as never), undefined, nowMs + 9 * 3_600_000);
    await world.ledger.settle({ ...(await settlementOf(world.ledger, archive ?? ('' as never), 7)), nowMs: nowMs + 9 * 3_600_000 });
    expect(await amounts(world.ledger, 'all', `1h=${nowMs - (nowMs % 3_600_000)}`)).toEqual([0, 7, 0, 7]);
  });
});

describe('a stop', () => {
  it('says which account has no room, how much is missing and what is held', async () => {
    await budget('topic:invoices', { tokens: 55 });
    await world.pack(await world.add(5));
    const [one, two] = [await world.add(2), await world.add(3)];
    expect(await stop(one, 'topic:invoices')).toBe('stopped');
    expect(await world.admit(two)).toMatchObject({ kind: 'held', reason: 'budget_tokens' });
    const [segment] = await world.ledger.listSegments(nowMs);
    expect(segment).toMatchObject({ state: 'stopped', chunksHeld: 2, rowsHeld: 5, chunksQueued: 0, rowsQueued: 0 });
    expect(segment?.stops).toMatchObject([{ target: 'topic:invoices', reason: 'budget_tokens', tokensNeeded: 10, tokensHeld: 50, microUsdHeld: 100, rowsHeld: 5, tokensFree: 5, run: undefined }]);
    expect(await world.ledger.readRun(runA)).toMatchObject({ chunksHeld: 2, rowsHeld: 5, rowsQueued: 0 });
    expect((await world.ledger.readEvents(0, 10)).map((event) => event.type)).toEqual(['run.created', 'segment.stopped', 'budget.exceeded']);
  });

  it('is not begun when room has come back meanwhile: nobody would let the chunk go', async () => {
    await budget('all', { tokens: 5 });
    const chunk = await world.add(1);
    await budget('all', { tokens: 10 });
    expect(await stop(chunk, 'all')).toBe('room');
    expect((await world.admit(chunk)).kind).toBe('packed');
    expect(await stop(chunk, 'all')).toBe('stale');
  });

  it('ends by itself when there is room for the next prompt, and the held ones come before what arrived later', async () => {
    await budget('all', { tokens: 5 });
    const [one, two] = [await world.add(1), await world.add(1)];
    await stop(one, 'all');
    await world.admit(two);
    expect(await world.ledger.resumeHeld(nowMs)).toEqual([]);
    await budget('all', { tokens: 10 });
    expect((await world.ledger.resumeHeld(nowMs)).map((each) => each.chunk)).toEqual([one, two]);
    const late = await world.add(1);
    expect((await world.ledger.nextQueued(normal))?.chunk).toBe(one);
    expect(await world.ledger.listSegments(nowMs)).toMatchObject([{ state: 'flowing', chunksHeld: 0, rowsHeld: 0, chunksQueued: 3, stops: [] }]);
    expect(await world.ledger.readRun(runA)).toMatchObject({ chunksHeld: 0, rowsHeld: 0, rowsQueued: 3 });
    expect(late).not.toBe(one);
  });

  it('ends when the next hour begins', async () => {
    await budget('all', { tokens: 10, window: '1h' });
    await world.pack(await world.add(1));
    const chunk = await world.add(1);
    await stop(chunk, 'all');
    expect(await world.ledger.resumeHeld(nowMs)).toEqual([]);
    expect((await world.ledger.resumeHeld(nowMs + 3_600_000)).map((each) => each.chunk)).toEqual([chunk]);
  });

  it('of one run lets another run of the same segment flow', async () => {
    await budget('all', { tokens: 10, window: 'run' });
    await world.open(runB);
    await world.pack(await world.add(1));
    const chunk = await world.add(1);
    expect(await stop(chunk, 'all')).toBe('stopped');
    expect((await world.admit(await world.add(1, { run: runB }))).kind).toBe('packed');
    expect((await world.ledger.listSegments(nowMs))[0]?.stops).toMatchObject([{ run: runA }]);
  });

  it('gives the tails free: what is held does not keep the rest of its run waiting', async () => {
    await budget('all', { tokens: 10 });
    const packed = await world.add(1);
    const held = await world.add(1);
    await world.pack(packed);
    await world.flush(runA);
    expect(await world.ledger.flushDue(runA)).toEqual([]);
    const stopped = await world.ledger.stopOnBudget({ chunk: held, target: 'all', reason: 'budget_tokens', tokensNeeded: 10, microUsdNeeded: 20, nowMs });
    expect(stopped).toEqual({ kind: 'stopped', isFlushDue: true });
    expect(await world.ledger.flushDue(runA)).toEqual(['normal']);
  });

  it('by two packers at once holds both chunks under one stop', async () => {
    await budget('all', { tokens: 5 });
    const chunks = [await world.add(1), await world.add(2)];
    const ledgers = await Promise.all(chunks.map(async () => await world.connect()));
    await Promise.all(chunks.map(async (chunk, index) => await ledgers[index]?.stopOnBudget({ chunk, target: 'all', reason: 'budget_tokens', tokensNeeded: 10, microUsdNeeded: 20, nowMs })));
    expect(await world.ledger.listSegments(nowMs)).toMatchObject([{ state: 'stopped', chunksHeld: 2, rowsHeld: 3, stops: [{ rowsHeld: 3, tokensHeld: 30 }] }]);
  });
});

describe('a split', () => {
  it('of a queued chunk changes no sum', async () => {
    const chunk = await world.add(10);
    const [left, right] = await world.ledger.split(chunk, ...partsAfter(4, 0, 9), nowMs);
    expect([left?.chunk, right?.chunk]).toEqual([`${chunk}.0-3`, `${chunk}.4-9`]);
    expect(await world.ledger.readRun(runA)).toMatchObject({ chunksOpen: 2, rowsQueued: 10, accepted: 10 });
    expect(await world.ledger.listSegments(nowMs)).toMatchObject([{ rowsQueued: 10, chunksQueued: 2 }]);
    expect(await world.ledger.readChunk(chunk)).toMatchObject({ state: 'split' });
    expect(await world.ledger.readChunk(right?.chunk ?? chunk)).toMatchObject({ state: 'queued', from: 4, to: 9, rows: 6, tokensMax: 60, spoolRows: 10 });
    expect(await amounts(world.ledger, 'all')).toEqual([0, 0, 0, 0]);
  });

  it('of a child keeps the order of the first chunk', async () => {
    const first = await world.add(10);
    await world.add(1);
    const [, right] = await world.ledger.split(first, ...partsAfter(4, 0, 9), nowMs);
    if (right) await world.ledger.split(right.chunk, ...partsAfter(1, 4, 9), nowMs);
    const served: string[] = [];
    for (let next = await world.ledger.nextQueued(normal); next; next = await world.ledger.nextQueued(normal)) {
      served.push(next.chunk.replace(first, ''));
      await world.pack(next.chunk);
    }
    expect(served.slice(0, 3).sort()).toEqual(['.0-3', '.4-9.4-4', '.4-9.5-9']);
  });

  it('of a packed chunk carries its reservation on without touching an account, and each child is settled once', async () => {
    const chunk = await world.add(10);
    const other = await world.add(2);
    const archive = await world.pack(chunk);
    await world.pack(other);
    await world.flush(runA);
    await world.seal(runA);
    const { intent } = await world.send();
    expect(await world.ledger.split(chunk, ...partsAfter(4, 0, 9), nowMs, intent)).toEqual([]);
    expect(await world.ledger.readArchiveChunks(archive)).toEqual([`${chunk}.0-3`, `${chunk}.4-9`, other]);
    expect(await amounts(world.ledger, 'all')).toEqual([120, 0, 240, 0]);
    await world.ledger.acceptIntent({ intent, batch: 'msgbatch_1' as BatchId, pollAtMs: nowMs, nowMs });
    await world.finish(archive, 9);
    expect(await amounts(world.ledger, 'all')).toEqual([0, 27, 0, 27]);
    expect(await world.ledger.readRun(runA)).toMatchObject({ succeeded: 12, chunksOpen: 0 });
  });

  it('by a packer that has slept leaves a chunk alone that is packed, or canceled, by now', async () => {
    const [packed, canceled] = [await world.add(10), await world.add(10)];
    const archive = await world.pack(packed);
    expect(await world.ledger.split(packed, ...partsAfter(4, 0, 9), nowMs)).toEqual([]);
    expect(await world.ledger.readArchiveChunks(archive)).toEqual([packed]);
    await world.flush(runA);
    await world.ledger.cancelRun(runA, 100, nowMs);
    expect(await world.ledger.readChunk(canceled)).toMatchObject({ state: 'packed', reason: 'canceled' });
    const before = await snapshot(world);
    expect(await world.ledger.split(canceled, ...partsAfter(4, 0, 9), nowMs)).toEqual([]);
    expect(await snapshot(world)).toEqual(before);
  });

  it('for an archive whose refusal was overtaken leaves it whole', async () => {
    const chunk = await world.add(10);
    const archive = await world.pack(chunk);
    await world.flush(runA);
    await world.seal(runA);
    const { intent } = await world.accept('msgbatch_1');
    expect(await world.ledger.split(chunk, ...partsAfter(4, 0, 9), nowMs, intent)).toEqual([]);
    expect(await world.ledger.readArchiveChunks(archive)).toEqual([chunk]);
  });

  it.each([
    ['loses a row', 4, 0, 8],
    ['begins elsewhere', 4, 1, 9],
  ])('that %s is refused before anything is written', async (_what, leading, from, to) => {
    const chunk = await world.add(10);
    const before = await snapshot(world);
    await expect(world.ledger.split(chunk, ...partsAfter(leading, from, to), nowMs)).rejects.toThrow();
    expect(await snapshot(world)).toEqual(before);
  });

  it('by two packers at once happens once', async () => {
    const chunk = await world.add(10);
    const ledgers = [await world.connect(), await world.connect()];
    const answers = await Promise.all(ledgers.map(async (ledger, index) => await ledger.split(chunk, ...partsAfter(3 + index, 0, 9), nowMs)));
    expect(answers.map((children) => children.length).sort()).toEqual([0, 2]);
    expect(await world.ledger.readRun(runA)).toMatchObject({ chunksOpen: 2, rowsQueued: 10 });
  });
});

describe('a settlement', () => {
  const ended = async (rows: number) => {
    const chunk = await world.add(rows);
    await world.pack(chunk);
    await world.flush(runA);
    const [archive] = await world.seal(runA);
    if (!archive) throw new Error('there is no archive');
    await world.accept('msgbatch_1');
    await world.ledger.endArchive(archive, undefined, nowMs);
    return { chunk, archive };
  };

  it('moves money from reserved to spent once (G2), in every account and by class', async () => {
    const { chunk, archive } = await ended(5);
    const usage = { inputTokens: 1, outputTokens: 2, cacheReadInputTokens: 3, cacheWriteInputTokens: 4, cacheWrite1hInputTokens: 2 };
    const request = { archive, chunks: [outcomeOf(chunk, 5, 0, { usage, microUsd: 33, standardMicroUsd: 66 })], retries: [], nowMs };
    expect((await twice(async () => await world.ledger.settle(request))).map((answer) => answer.isSettled)).toEqual([true, false]);
    for (const target of ['all', 'topic:invoices', 'client:etl', `segment:${normal}`]) expect(await amounts(world.ledger, target)).toEqual([0, 10, 0, 33]);
    expect((await world.ledger.listAccounts()).find((each) => each.target === 'all')?.usage).toEqual(usage);
    expect(await world.ledger.readRun(runA)).toMatchObject({ usage, microUsd: 33, standardMicroUsd: 66, succeeded: 5 });
  });

  it('makes room, and what is held flows again', async () => {
    await budget('all', { tokens: 50 });
    const { chunk, archive } = await ended(5);
    const again = { ...footerOf(1, 1, { attempt: 2 }), chunk: `${chunk}.retry` as ChunkId };
    await world.ledger.settle({ archive, chunks: [outcomeOf(chunk, 5, 8, { succeeded: 4, retried: 1 })], retries: [{ footer: again, spoolKey: 'r' }], nowMs });
    expect((await world.admit(again.chunk)).kind).toBe('packed');
    expect(await amounts(world.ledger, 'all')).toEqual([10, 8, 20, 8]);
  });

  it('queues retries as chunks of their own, and the run ends only after them', async () => {
    const { chunk, archive } = await ended(5);
    const footer = { ...footerOf(2, 1, { attempt: 2 }), chunk: `${archive}.retry` as ChunkId };
    const settled = await world.ledger.settle({ archive, chunks: [outcomeOf(chunk, 5, 3, { succeeded: 3, retried: 2 })], retries: [{ footer, spoolKey: 'r' }], nowMs });
    expect(settled.queued).toEqual([{ chunk: footer.chunk, segment: normal, epoch: 1 }]);
    expect(await world.ledger.exportArchive(archive, {}, nowMs)).toMatchObject({ isRunDone: false });
    expect(await world.ledger.readRun(runA)).toMatchObject({ retried: 2, succeeded: 3, chunksOpen: 1, accepted: 5 });
    expect(await world.admit(footer.chunk)).toMatchObject({ kind: 'packed', isFlushDue: true });
    const [second] = await world.seal(runA);
    await world.accept('msgbatch_2');
    if (second) await world.finish(second, 1);
    expect(await world.ledger.readRun(runA)).toMatchObject({ succeeded: 5, chunksOpen: 0, completedAtMs: nowMs });
    expect((await world.ledger.readChunk(footer.chunk))?.attempt).toBe(2);
  });

  it.each([
    ['forgets a chunk', (chunks: readonly ReturnType<typeof outcomeOf>[]) => chunks.slice(1)],
    ['names a chunk twice', (chunks: readonly ReturnType<typeof outcomeOf>[]) => [chunks[0] ?? outcomeOf('' as ChunkId, 0, 0), chunks[0] ?? outcomeOf('' as ChunkId, 0, 0)]],
    ['names a foreign chunk last', (chunks: readonly ReturnType<typeof outcomeOf>[]) => [...chunks.slice(0, 1), outcomeOf('foreign' as ChunkId, 1, 1)]],
  ])('that %s is refused before a single token has moved', async (_what, distort) => {
    await world.pack(await world.add(2));
    const { archive } = await ended(3);
    const request = await settlementOf(world.ledger, archive, 5);
    const before = await snapshot(world);
    await expect(world.ledger.settle({ ...request, chunks: distort(request.chunks) })).rejects.toThrow();
    expect(await snapshot(world)).toEqual(before);
  });

  it('of a row above its bound stops the segment for a person to look at', async () => {
    const { chunk, archive } = await ended(5);
    await world.ledger.settle({ archive, chunks: [outcomeOf(chunk, 5, 500, { overBound: 1 })], retries: [], nowMs });
    expect(await world.ledger.listSegments(nowMs)).toMatchObject([{ state: 'stopped', stops: [{ reason: 'bound_exceeded', target: `segment:${normal}` }] }]);
    await world.open(runB);
    expect(await world.admit(await world.add(1, { run: runB }))).toMatchObject({ kind: 'held', reason: 'bound_exceeded' });
    expect(await world.ledger.resumeHeld(nowMs)).toEqual([]);
    expect((await world.ledger.listAccounts()).find((each) => each.target === 'all')?.overBound).toBe(1);
  });

  it('of an archive that has not ended is refused', async () => {
    const chunk = await world.add(1);
    const archive = await world.pack(chunk);
    expect(await world.ledger.settle({ archive, chunks: [outcomeOf(chunk, 1, 1)], retries: [], nowMs })).toEqual({ isSettled: false, queued: [] });
    expect(await amounts(world.ledger, 'all')).toEqual([10, 0, 20, 0]);
  });
});

