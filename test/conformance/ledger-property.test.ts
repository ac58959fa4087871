/**
 * G1 and G2 as a property: whatever the order of reserving, splitting, settling, stopping, resuming and changing limits,
 * and whichever call is sent twice, the ledger's accounts are the sums that a second, simple book arrives at.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Ledger } from '../../segments/ledger/ledger.ts';
import type { ArchiveId, BatchId, ChunkId, SegmentName } from '../../segments/segment.ts';
import { account, amounts, footerOf, ledgerForTest, limits, nowMs, outcomeOf, partsAfter, perRow, runA, type LedgerWorld } from '../ledger-world.ts';

interface BookChunk {
  readonly segment: SegmentName;
  readonly from: number;
  readonly to: number;
  state: 'queued' | 'held' | 'packed' | 'settled' | 'split';
  archive: ArchiveId | undefined;
  /** What it consumed, tokens and micro-USD alike. */
  spent: number;
}

/** The simple book: chunks by id, limits by target. It knows nothing of accounts; it adds up. */
interface Book {
  readonly chunks: Map<ChunkId, BookChunk>;
  readonly limits: Map<string, { readonly tokens: number | undefined; readonly microUsd: number | undefined }>;
  readonly lastRow: Map<SegmentName, number>;
  batches: number;
}

const segments = ['invoices.8k.normal', 'invoices.8k.high', 'letters.8k.normal'] as SegmentName[];
const targetsOf = (segment: SegmentName): readonly string[] => ['all', 'client:etl', `topic:${segment.split('.')[0] ?? ''}`, `segment:${segment}`];
const targets = [...new Set(segments.flatMap(targetsOf))];
const rowsOf = (chunk: BookChunk): number => chunk.to - chunk.from + 1;

/** Adds up what a target has reserved and spent: the same four amounts as `amounts`. */
function sums(book: Book, target: string): readonly [number, number, number, number] {
  const ofTarget = [...book.chunks.values()].filter((chunk) => targetsOf(chunk.segment).includes(target));
  const rows = ofTarget.filter((chunk) => chunk.state === 'packed').reduce((sum, chunk) => sum + rowsOf(chunk), 0);
  const spent = ofTarget.filter((chunk) => chunk.state === 'settled').reduce((sum, chunk) => sum + chunk.spent, 0);
  return [rows * perRow.tokensMax, spent, rows * perRow.microUsdMax, spent];
}

function fits(book: Book, chunk: BookChunk): boolean {
  return targetsOf(chunk.segment).every((target) => {
    const limit = book.limits.get(target);
    const [tokensReserved, tokensSpent, microUsdReserved, microUsdSpent] = sums(book, target);
    return (
      rowsOf(chunk) * perRow.tokensMax <= (limit?.tokens ?? Infinity) - tokensReserved - tokensSpent &&
      rowsOf(chunk) * perRow.microUsdMax <= (limit?.microUsd ?? Infinity) - microUsdReserved - microUsdSpent
    );
  });
}

type Step = fc.AsyncCommand<Book, LedgerWorld>;

/** Runs a call once or twice; the first answer counts. */
async function sent<Answer>(isTwice: boolean, call: () => Promise<Answer>): Promise<Answer> {
  const first = await call();
  if (isTwice) await call();
  return first;
}

async function compare(book: Book, ledger: Ledger): Promise<void> {
  const accounts = await ledger.listAccounts();
  for (const target of targets) {
    const found = accounts.find((each) => each.target === target && each.windowId === 'total');
    const sum = [found?.tokensReserved ?? 0, found?.tokensSpent ?? 0, found?.microUsdReserved ?? 0, found?.microUsdSpent ?? 0];
    expect(sum, target).toEqual(sums(book, target));
    expect(Math.min(...sum), target).toBeGreaterThanOrEqual(0);
  }
}

function pick(book: Book, at: number, state: BookChunk['state'], rowsMin = 1): [ChunkId, BookChunk] | undefined {
  const found = [...book.chunks].filter(([, chunk]) => chunk.state === state && rowsOf(chunk) >= rowsMin);
  return found[at % found.length];
}

const step = (name: string, check: (book: Book) => boolean, run: (book: Book, world: LedgerWorld) => Promise<void>): Step => ({
  check: (book) => check(book),
  run: async (book, world) => {
    await run(book, world);
    await compare(book, world.ledger);
  },
  toString: () => name,
});

const add = (segmentAt: number, rows: number, isTwice: boolean): Step =>
  step(`add ${segmentAt} ${rows}`, () => true, async (book, { ledger }) => {
    const segment = segments[segmentAt % segments.length] ?? ('' as SegmentName);
    const previousRow = book.lastRow.get(segment) ?? 0;
    const footer = footerOf(rows, previousRow + 1, { segment });
    await sent(isTwice, async () => await ledger.addChunk({ footer, spoolKey: 's', previousRow, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs }));
    book.lastRow.set(segment, footer.lastRow);
    book.chunks.set(footer.chunk, { segment, from: 0, to: rows - 1, state: 'queued', archive: undefined, spent: 0 });
  });

const reserve = (at: number, isTwice: boolean): Step =>
  step(`reserve ${at}`, (book) => pick(book, at, 'queued') !== undefined, async (book, { ledger }) => {
    const [id, chunk] = pick(book, at, 'queued') ?? [undefined, undefined];
    if (!id) return;
    const isFit = fits(book, chunk);
    const admission = await sent(isTwice, async () => await ledger.admit(id, limits, true, nowMs));
    if (admission.kind === 'held') {
      chunk.state = 'held';
      return;
    }
    expect(admission.kind, id).toBe(isFit ? 'packed' : 'refused');
    if (admission.kind !== 'packed') return;
    chunk.state = 'packed';
    chunk.archive = admission.archive;
    // G1, said of the limits that hold at this instant.
    for (const target of targetsOf(chunk.segment)) {
      const [tokensReserved, tokensSpent, microUsdReserved, microUsdSpent] = await amounts(ledger, target);
      expect(tokensReserved + tokensSpent).toBeLessThanOrEqual(book.limits.get(target)?.tokens ?? Infinity);
      expect(microUsdReserved + microUsdSpent).toBeLessThanOrEqual(book.limits.get(target)?.microUsd ?? Infinity);
    }
  });

const stop = (at: number, targetAt: number, isTwice: boolean): Step =>
  step(`stop ${at} ${targetAt}`, (book) => pick(book, at, 'queued') !== undefined, async (book, { ledger }) => {
    const [id, chunk] = pick(book, at, 'queued') ?? [undefined, undefined];
    if (!id) return;
    const stopped = await sent(isTwice, async () =>
      await ledger.stopOnBudget({ chunk: id, target: targets[targetAt % targets.length] ?? 'all', reason: 'budget_tokens', tokensNeeded: perRow.tokensMax, microUsdNeeded: perRow.microUsdMax, nowMs }));
    if (stopped.kind === 'stopped') chunk.state = 'held';
  });

const resume = (isTwice: boolean): Step =>
  step('resume', () => true, async (book, { ledger }) => {
    for (const each of await sent(isTwice, async () => await ledger.resumeHeld(nowMs))) {
      const chunk = book.chunks.get(each.chunk);
      expect(chunk?.state).toBe('held');
      if (chunk) chunk.state = 'queued';
    }
  });

const split = (at: number, leading: number, isPacked: boolean, isTwice: boolean): Step => {
  const state = isPacked ? 'packed' : 'queued';
  return step(`split ${state} ${at} ${leading}`, (book) => pick(book, at, state, 2) !== undefined, async (book, { ledger }) => {
    const [id, chunk] = pick(book, at, state, 2) ?? [undefined, undefined];
    if (!id) return;
    const parts = partsAfter(1 + (leading % (rowsOf(chunk) - 1)), chunk.from, chunk.to);
    await sent(isTwice, async () => await ledger.split(id, ...parts, nowMs));
    chunk.state = 'split';
    for (const { from, to } of parts) book.chunks.set(`${id}.${from}-${to}` as ChunkId, { ...chunk, from, to, state });
  });
};

const settle = (at: number, share: number, isTwice: boolean): Step =>
  step(`settle ${at} ${share}`, (book) => pick(book, at, 'packed') !== undefined, async (book, { ledger }) => {
    const archive = pick(book, at, 'packed')?.[1].archive;
    if (!archive) return;
    const twice = async <Answer>(call: () => Promise<Answer>): Promise<Answer> => await sent(isTwice, call);
    await twice(async () => await ledger.closeArchive(archive, 'linger', nowMs));
    await twice(async () => await ledger.sealArchive({ archive, bodyBytes: 1, bodySha256: 'x', nowMs }));
    const prepared = await twice(async () => await ledger.prepareIntent({ account, owner: 'me', leaseMs: 1_000, queueRowsMax: 1e9, nowMs }));
    if (prepared.kind !== 'prepared') throw new Error(prepared.kind);
    expect(prepared.archive).toBe(archive);
    await twice(async () => await ledger.armIntent(prepared.intent, 'me', nowMs, nowMs));
    await twice(async () => await ledger.sendIntent(prepared.intent, 'me', nowMs));
    book.batches += 1;
    const batch = `msgbatch_${book.batches}` as BatchId;
    await twice(async () => await ledger.acceptIntent({ intent: prepared.intent, batch, pollAtMs: nowMs, nowMs }));
    await twice(async () => await ledger.endArchive(archive, undefined, nowMs));
    const chunks = (await ledger.readArchiveChunks(archive)).map((id) => {
      const chunk = book.chunks.get(id);
      if (!chunk) throw new Error(`${archive} holds ${id}, which the book does not know`);
      chunk.spent = Math.floor((rowsOf(chunk) * perRow.tokensMax * share) / 100);
      chunk.state = 'settled';
      return outcomeOf(id, rowsOf(chunk), chunk.spent);
    });
    await twice(async () => await ledger.settle({ archive, chunks, retries: [], nowMs }));
  });

const limit = (targetAt: number, tokens: number | undefined, microUsd: number | undefined, isTwice: boolean): Step =>
  step(`limit ${targetAt} ${tokens} ${microUsd}`, () => true, async (book, { ledger }) => {
    const target = targets[targetAt % targets.length] ?? 'all';
    await sent(isTwice, async () => await ledger.setBudget({ target, tokens, microUsd, window: 'total' }, 'operator', nowMs));
    book.limits.set(target, { tokens, microUsd });
  });

const at = fc.nat({ max: 50 });
const amount = fc.option(fc.integer({ min: 0, max: 600 }), { nil: undefined });
const steps = [
  fc.tuple(at, fc.integer({ min: 1, max: 12 }), fc.boolean()).map((args) => add(...args)),
  fc.tuple(at, fc.integer({ min: 1, max: 12 }), fc.boolean()).map((args) => add(...args)),
  fc.tuple(at, fc.boolean()).map((args) => reserve(...args)),
  fc.tuple(at, fc.boolean()).map((args) => reserve(...args)),
  fc.tuple(at, at, fc.boolean(), fc.boolean()).map((args) => split(...args)),
  fc.tuple(at, fc.integer({ min: 0, max: 100 }), fc.boolean()).map((args) => settle(...args)),
  fc.tuple(at, amount, amount, fc.boolean()).map((args) => limit(...args)),
  fc.tuple(at, at, fc.boolean()).map((args) => stop(...args)),
  fc.boolean().map(resume),
];

it('reserved + spent never passes a limit, and every account equals the sum of its chunks', { timeout: 240_000 }, async () => {
  const world = await ledgerForTest();
  try {
    await fc.assert(
      fc.asyncProperty(fc.commands(steps, { maxCommands: 24, size: 'max' }), async (commands) => {
        await world.test.flush();
        await world.open(runA);
        const book: Book = { chunks: new Map(), limits: new Map(), lastRow: new Map(), batches: 0 };
        await fc.asyncModelRun(() => ({ model: book, real: world }), commands);
        const alive = [...book.chunks.values()].filter((chunk) => chunk.state !== 'split');
        const rows = (state: BookChunk['state']): number => alive.filter((chunk) => chunk.state === state).reduce((sum, chunk) => sum + rowsOf(chunk), 0);
        expect(await world.ledger.readRun(runA)).toMatchObject({
          accepted: alive.reduce((sum, chunk) => sum + rowsOf(chunk), 0), chunksOpen: alive.length, rowsQueued: rows('queued'), rowsHeld: rows('held'), succeeded: rows('settled'),
          chunksHeld: alive.filter((chunk) => chunk.state === 'held').length,
        });
      }),
      { numRuns: 300, seed: 20_261_121 },
    );
  } finally {
    await world.close();
  }
});
