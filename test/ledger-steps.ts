/**
 * What can happen to the ledger, as commands of a property: each works on the simple book and on the real ledger, and
 * compares both. Every command may be made by a process that sends each call twice, because a reply was lost, and that
 * dies after some number of calls, because it crashed; what it leaves is carried on by a later command, from what the
 * ledger says.
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import type { Ledger, StopRecord } from '../segments/ledger/ledger.ts';
import type { ArchiveId, BatchId, ChunkId } from '../segments/segment.ts';
import { windowName } from '../segments/window.ts';
import { clients, fits, joinRuns, neededIn, pick, roomOf, rowsOf, runs, segments, sumsOf, take, targets, targetsOf, windows, type Amounts, type Book, type BookChunk } from './ledger-book.ts';
import { account, footerOf, limits, normal, outcomeOf, partsAfter, perRow, runA, type LedgerWorld } from './ledger-world.ts';

export type Step = fc.AsyncCommand<Book, LedgerWorld>;

/** A process: whether it sends every call twice, and after how many calls it dies. */
export interface Process {
  readonly isResending: boolean;
  readonly callsUntilDeath: number;
}

class Death extends Error {}

const leaseMs = 1_000;

/** The ledger as a process has it. It dies after a call has been carried out and before it has seen the answer. */
function mortal(ledger: Ledger, process: Process): Ledger {
  let callsLeft = process.callsUntilDeath;
  return new Proxy(ledger, {
    get: (target, name) => async (...request: unknown[]): Promise<unknown> => {
      const method = Reflect.get(target, name) as (...given: unknown[]) => Promise<unknown>;
      const answer = await method(...request);
      callsLeft -= 1;
      if (callsLeft < 0) throw new Death(String(name));
      if (process.isResending) await method(...request);
      return answer;
    },
  });
}

const accountsScript = `
  local found = {}
  for _, name in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'accounts')) do
    local of = redis.call('HMGET', KEYS[1] .. 'account:' .. name, 'tokensReserved', 'tokensSpent', 'microUsdReserved', 'microUsdSpent')
    found[#found + 1] = { name, of[1] or '0', of[2] or '0', of[3] or '0', of[4] or '0' }
  end
  return found`;

/** All accounts at one instant. */
export async function readAccounts({ redis, keys }: Pick<LedgerWorld, 'redis' | 'keys'>): Promise<ReadonlyMap<string, Amounts>> {
  const found = (await redis.eval(accountsScript, 1, keys.prefix)) as [string, ...string[]][];
  return new Map(found.map(([name, ...of]) => [name, of.map(Number) as unknown as Amounts]));
}

/** Every account equals what the book adds up, and none is below zero (G1, G2). */
async function compare(book: Book, world: LedgerWorld): Promise<void> {
  const found = await readAccounts(world);
  expect(Object.fromEntries([...found].sort())).toEqual(Object.fromEntries([...sumsOf(book)].sort()));
  for (const [name, amounts] of found) expect(Math.min(...amounts), name).toBeGreaterThanOrEqual(0);
}

/** A command of a process that may die; what it does to the book before its death it has done. */
const step = (name: string, process: Process, check: (book: Book) => boolean, run: (book: Book, ledger: Ledger, world: LedgerWorld) => Promise<void>): Step => ({
  check: (book) => check(book),
  async run(book, world) {
    await run(book, mortal(world.ledger, process), world).catch((error: unknown) => {
      if (!(error instanceof Death)) throw error;
    });
    await compare(book, world);
  },
  toString: () => `${name}${process.isResending ? ' twice' : ''}${Number.isFinite(process.callsUntilDeath) ? ` until ${process.callsUntilDeath}` : ''}`,
});

const add = (runAt: number, segmentAt: number, clientAt: number, rows: number, process: Process): Step =>
  step(`add ${rows}`, process, () => true, async (book, ledger) => {
    const run = runs[runAt % runs.length] ?? runA;
    const segment = segments[segmentAt % segments.length] ?? normal;
    const client = clients[clientAt % clients.length] ?? 'etl';
    const lane = `${run}|${segment}|${client}`;
    const previousRow = book.lastRow.get(lane) ?? 0;
    const footer = { ...footerOf(rows, previousRow + 1, { run, segment, client }), models: ['m'] };
    book.lastRow.set(lane, footer.lastRow);
    book.chunks.set(footer.chunk, { run, segment, client, from: 0, to: rows - 1, state: 'queued', archive: undefined, accounts: [], estimated: { accounts: [], tokens: 0, microUsd: 0 }, spent: 0 });
    await ledger.addChunk({ footer, spoolKey: 's', previousRow, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs: book.nowMs });
  });

/** Whether a stop keeps a chunk back: that of a segment all of it, that of a run or a client only its own. */
const isUnder = ({ segment, run, client }: StopRecord, chunk: BookChunk): boolean =>
  segment === chunk.segment && (run === undefined || run === chunk.run) && (client === undefined || client === chunk.client);

const reserve = (at: number, process: Process): Step =>
  step(`reserve ${at}`, process, (book) => pick(book, at, 'queued') !== undefined, async (book, ledger, world) => {
    const [id, chunk] = pick(book, at, 'queued') ?? [undefined, undefined];
    if (!id) return;
    const isFit = fits(book, chunk);
    const isStopped = (await world.ledger.listStops(book.nowMs)).some((stop) => isUnder(stop, chunk));
    const expected = isStopped ? 'held' : isFit ? 'packed' : 'refused';
    if (expected === 'held') chunk.state = 'held';
    if (expected === 'packed') take(book, chunk);
    const died = await ledger.admit(id, limits, true, book.nowMs).then((admission) => void expect(admission.kind, id).toBe(expected), (error: unknown) => error);
    if (expected === 'packed') chunk.archive = (await world.ledger.readChunk(id))?.archive;
    // G1, said of the limits that hold at this instant.
    for (const target of expected === 'packed' ? targetsOf(chunk) : []) {
      const room = roomOf(book, target, chunk);
      expect(Math.min(room.tokens, room.microUsd), target).toBeGreaterThanOrEqual(0);
    }
    if (died !== undefined) throw died;
  });

const stop = (at: number, targetAt: number, process: Process): Step =>
  step(`stop ${at} ${targetAt}`, process, (book) => pick(book, at, 'queued') !== undefined, async (book, ledger, world) => {
    const [id, chunk] = pick(book, at, 'queued') ?? [undefined, undefined];
    if (!id) return;
    const tokensNeeded = rowsOf(chunk) * perRow.tokensMax;
    const microUsdNeeded = rowsOf(chunk) * perRow.microUsdMax;
    const lacks = (target: string): boolean => {
      const room = roomOf(book, target, chunk);
      const need = neededIn(book, target, chunk);
      return need.tokens > room.tokens || need.microUsd > room.microUsd;
    };
    const target = targetsOf(chunk).find(lacks) ?? targets[targetAt % targets.length] ?? 'all';
    const isBlocking = targetsOf(chunk).includes(target) && lacks(target);
    if (isBlocking) chunk.state = 'held';
    const stopped = await ledger.stopOnBudget({ chunk: id, target, reason: 'budget_tokens', tokensNeeded, microUsdNeeded, nowMs: book.nowMs });
    expect(stopped.kind, id).toBe(isBlocking ? 'stopped' : 'room');
    // The budget of a client stops nobody else.
    for (const each of await world.ledger.listStops(book.nowMs)) expect(each.client, each.target).toBe(/^client:(.*)$/.exec(each.target)?.[1]);
  });

/** Lets go what has room; whoever looks next finds what a look that died has let go. */
const resume = (process: Process): Step =>
  step('resume', process, () => true, async (book, ledger, world) => {
    const died = await ledger.resumeHeld(book.nowMs).then(() => undefined, (error: unknown) => error);
    for (const [id, chunk] of book.chunks) {
      if (chunk.state === 'held' && (await world.ledger.readChunk(id))?.state === 'queued') chunk.state = 'queued';
    }
    if (died !== undefined) throw died;
    // What is still held has no room for what its stop waits for: nothing that could flow is kept back.
    for (const left of await world.ledger.listStops(book.nowMs)) {
      const held = [...book.chunks.values()].filter((chunk) => chunk.state === 'held' && isUnder(left, chunk));
      expect(held.length, 'a stop holds something').toBeGreaterThan(0);
      expect(held.every((chunk) => fits(book, chunk, left.tokensNeeded / perRow.tokensMax)), 'a stop that could end').toBe(false);
    }
  });

const split = (at: number, leading: number, isPacked: boolean, process: Process): Step => {
  const state = isPacked ? 'packed' : 'queued';
  return step(`split ${state} ${at} ${leading}`, process, (book) => pick(book, at, state, 2) !== undefined, async (book, ledger) => {
    const [id, chunk] = pick(book, at, state, 2) ?? [undefined, undefined];
    if (!id) return;
    // A packer that saw it queued comes too late for a packed one, and changes nothing.
    if (isPacked) {
      await ledger.split(id, ...partsAfter(1, chunk.from, chunk.to), book.nowMs);
      return;
    }
    const parts = partsAfter(1 + (leading % (rowsOf(chunk) - 1)), chunk.from, chunk.to);
    const { estimated } = chunk;
    const [left, right] = parts.map(({ from, to }) => ({ ...chunk, from, to }));
    if (!left || !right) return;
    const leadingOf = (whole: number): number => Math.floor((whole * rowsOf(left)) / rowsOf(chunk));
    left.estimated = { ...estimated, tokens: leadingOf(estimated.tokens), microUsd: leadingOf(estimated.microUsd) };
    right.estimated = { ...estimated, tokens: estimated.tokens - left.estimated.tokens, microUsd: estimated.microUsd - left.estimated.microUsd };
    for (const part of [left, right]) book.chunks.set(`${id}.${part.from}-${part.to}` as ChunkId, part);
    chunk.state = 'split';
    await ledger.split(id, ...parts, book.nowMs);
  });
};

/** Brings an archive to its settlement, or carries on where a process before has died. `isRejected`: the provider refuses it. */
const settle = (at: number, share: number, isRejected: boolean, process: Process): Step =>
  step(`settle ${at} ${share}${isRejected ? ' rejected' : ''}`, process, (book) => pick(book, at, 'packed') !== undefined, async (book, ledger, world) => {
    const archive = pick(book, at, 'packed')?.[1].archive;
    if (!archive) return;
    for (;;) {
      const record = await world.ledger.readArchive(archive);
      switch (record?.state) {
        case 'open':
          if (record.closing === undefined) await ledger.closeArchive(archive, 'linger', book.nowMs);
          await ledger.sealArchive({ archive, bodyBytes: 1, bodySha256: 'x', nowMs: book.nowMs });
          break;
        case 'sealed':
          await submitNext(book, ledger, world, isRejected ? archive : undefined);
          break;
        case 'submitting':
          await expire(book, ledger);
          break;
        case 'in_doubt':
          await accept(book, ledger, record.intent ?? ('' as never));
          break;
        case 'accepted':
          await ledger.endArchive(archive, undefined, book.nowMs);
          break;
        case 'ended':
          return await bookOutcome(book, ledger, world, archive, record.batch === undefined ? 0 : share);
        default:
          throw new Error(`${archive} is ${record?.state}`);
      }
    }
  });

/** Takes the next archive in line, sends it, and learns its fate; whatever keeps the lane is cleared away first. */
async function submitNext(book: Book, ledger: Ledger, world: LedgerWorld, rejected: ArchiveId | undefined): Promise<void> {
  const prepared = await ledger.prepareIntent({ account, side: 'real', owner: 'me', leaseMs, queueRowsMax: 1e9, nowMs: book.nowMs });
  if (prepared.kind === 'lane_busy') return await expire(book, ledger);
  if (prepared.kind === 'counts_taken') {
    for (const doubtful of await world.ledger.listDoubts()) await accept(book, ledger, (await world.ledger.readArchive(doubtful))?.intent ?? ('' as never));
    return;
  }
  if (prepared.kind !== 'prepared') throw new Error(prepared.kind);
  await ledger.armIntent(prepared.intent, 'me', book.nowMs, book.nowMs);
  await ledger.sendIntent(prepared.intent, 'me', book.nowMs);
  if (prepared.archive === rejected) await ledger.rejectArchive(prepared.intent, 'status_400', book.nowMs);
  else await accept(book, ledger, prepared.intent);
}

async function accept(book: Book, ledger: Ledger, intent: Parameters<Ledger['acceptIntent']>[0]['intent']): Promise<void> {
  book.batches += 1;
  await ledger.acceptIntent({ intent, batch: `msgbatch_${book.batches}` as BatchId, pollAtMs: book.nowMs, nowMs: book.nowMs });
}

async function expire(book: Book, ledger: Ledger): Promise<void> {
  book.nowMs += leaseMs;
  await ledger.expireLane(account, book.nowMs);
}

async function bookOutcome(book: Book, ledger: Ledger, world: LedgerWorld, archive: ArchiveId, share: number): Promise<void> {
  const chunks = (await world.ledger.readArchiveChunks(archive)).map((id) => {
    const chunk = book.chunks.get(id);
    if (!chunk) throw new Error(`${archive} holds ${id}, which the book does not know`);
    chunk.spent = Math.floor((rowsOf(chunk) * perRow.tokensMax * share) / 100);
    chunk.state = 'settled';
    // Each settled chunk stands for ten times its rows, so that a hundred are soon seen.
    const rows = 10 * rowsOf(chunk);
    const topic = chunk.segment.split('.')[0] ?? '';
    book.shares.set(topic, [...(book.shares.get(topic) ?? []), ...Array.from({ length: rows }, () => share)]);
    return outcomeOf(id, rowsOf(chunk), chunk.spent, {
      samples: [{ model: 'm', rows, tokens: { [Math.max(1, share)]: rows }, microUsd: { [Math.max(1, Math.ceil(share / 2))]: rows } }],
    });
  });
  await ledger.settle({ archive, chunks, retries: [], nowMs: book.nowMs });
}

const limit = (targetAt: number, windowAt: number, mode: 'strict' | 'estimate', tokens: number | undefined, microUsd: number | undefined, process: Process): Step => {
  const window = windows[windowAt % windows.length] ?? { window: 'total' };
  const target = targets[targetAt % targets.length] ?? 'all';
  return step(`limit ${target} ${tokens} ${microUsd} ${windowName(window.window, window.timeZone)} ${mode}`, process, () => true, async (book, ledger) => {
    const budget = { target, tokens, microUsd, mode, ...window };
    if (window.window === 'run' && book.limits.get(target)?.window !== 'run') joinRuns(book, target);
    book.limits.set(target, budget);
    await ledger.setBudget(budget, 'operator', book.nowMs);
  });
};

/** Time goes by; windows turn, and nothing that is reserved or spent moves. */
const turn = (minutes: number): Step =>
  step(`turn ${minutes}min`, immortal, () => true, async (book) => {
    book.nowMs += minutes * 60_000;
    await Promise.resolve();
  });

const immortal: Process = { isResending: false, callsUntilDeath: Infinity };
const process: fc.Arbitrary<Process> = fc.record({ isResending: fc.boolean(), callsUntilDeath: fc.oneof({ weight: 4, arbitrary: fc.constant(Infinity) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 6 }) }) });
const at = fc.nat({ max: 50 });
const amount = fc.option(fc.integer({ min: 0, max: 300 }), { nil: undefined });

export const steps: fc.Arbitrary<Step>[] = [
  fc.tuple(at, at, at, fc.integer({ min: 1, max: 12 }), process).map((args) => add(...args)),
  fc.tuple(at, at, at, fc.integer({ min: 1, max: 12 }), process).map((args) => add(...args)),
  fc.tuple(at, process).map((args) => reserve(...args)),
  fc.tuple(at, process).map((args) => reserve(...args)),
  fc.tuple(at, at, fc.boolean(), process).map((args) => split(...args)),
  fc.tuple(at, fc.integer({ min: 0, max: 100 }), fc.boolean(), process).map((args) => settle(...args)),
  fc.tuple(at, at, fc.constantFrom('strict' as const, 'estimate' as const), amount, amount, process).map((args) => limit(...args)),
  fc.tuple(at, at, process).map((args) => stop(...args)),
  process.map(resume),
  fc.oneof(fc.integer({ min: 1, max: 90 }), fc.integer({ min: 1_000, max: 60_000 })).map(turn),
];
