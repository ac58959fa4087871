/**
 * Redis is set back or rebuilt while prompts come in. Every moment of a producer is met: between any two of its calls of the
 * ledger Redis goes back to how it was after any earlier one, or a rebuild runs, or a rebuild dies after any of its steps.
 * Workers and operators meet every step of a rebuild, too. In the end every row is in the ledger once, whoever is started
 * again first, and nobody is told that an equal input differs.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { produce, type Production } from '../../producers/producer.ts';
import { decodeIndex, indexOffset } from '../../segments/chunk.ts';
import { PlimsollError } from '../../segments/errors.ts';
import { findGap } from '../../segments/ledger/guard.ts';
import { ledgerKeys, type LedgerKeys } from '../../segments/ledger/keys.ts';
import type { Ledger } from '../../segments/ledger/ledger.ts';
import { rebuild, type RebuildReport } from '../../segments/ledger/rebuild.ts';
import { openRedisLedger } from '../../segments/ledger/redis.ts';
import { openRestore, type Restore } from '../../segments/ledger/restore.ts';
import { openStanding } from '../../segments/ledger/standing.ts';
import type { RunKey } from '../../segments/segment.ts';
import { journalBudget } from '../../segments/store/decisions.ts';
import { readFooter } from '../../segments/store/evidence.ts';
import { openFolderStore } from '../../segments/store/folder.ts';
import type { Store } from '../../segments/store/store.ts';
import { makeSealer } from '../../workers/sealer.ts';
import { limits } from '../ledger-world.ts';
import { redisForTest, type TestRedis } from '../redis.ts';
import { line, settingsIn } from '../unit/producer-world.ts';

const nowMs = Date.parse('2026-11-21T12:00:00Z');
const run = 'nightly' as RunKey;
const rows = 14;
/** Two lanes of two chunks each. */
const lines = Array.from({ length: rows }, (_, index) => line(`doc-${index + 1}`, { topic: index % 2 === 0 ? 'mails' : 'docs' }, 'x'.repeat(1 + index)));

let folder: string;
let test: TestRedis;
let redis: Redis;
let keys: LedgerKeys;
let ledger: Ledger;
let store: Store;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'set-back-'));
  test = redisForTest();
  redis = test.connect();
  keys = ledgerKeys(test.tag.slice(1, -1));
  ledger = openRedisLedger(redis, keys);
  await beginAnew();
});
afterEach(async () => {
  await test.close();
  await rm(folder, { recursive: true, force: true });
});

/** Another world in the same test: an empty Redis and an empty lake. */
async function beginAnew(): Promise<void> {
  await test.flush();
  await rm(join(folder, 'lake'), { recursive: true, force: true });
  store = await openFolderStore(join(folder, 'lake'), nowMs);
}

/** Hands the lines in, as `plimsoll enqueue` does. */
async function hand(port: Ledger = ledger): Promise<Production> {
  return await produce({
    runKey: run, settings: { ...settingsIn(folder), chunkRowsMax: 5 }, store, ledger: port, installationId: 'test', signal: new AbortController().signal, now: () => nowMs,
    source: { kind: 'stdin', stream: Readable.from([Buffer.from(`${lines.join('\n')}\n`)]) },
    wake: { wake: async () => undefined, enqueueChunk: async () => undefined, close: async () => undefined },
  });
}

const watchedCalls: ReadonlySet<string> = new Set(['openRun', 'readRun', 'readHighWater', 'addChunk', 'flushRun']);

/** A ledger whose calls go one after the other, with something between them: `between(n)` runs before the nth, from 0. */
function watched(between: (call: number) => Promise<void>): Ledger {
  let calls = 0;
  let last: Promise<unknown> = Promise.resolve();
  return new Proxy(ledger, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (!watchedCalls.has(String(name))) return value.bind(target) as unknown;
      return async (...given: unknown[]): Promise<unknown> => {
        const turn = last.then(async () => {
          await between(calls);
          calls += 1;
          return await (value as (...all: unknown[]) => Promise<unknown>).apply(target, given);
        });
        last = turn.catch(() => undefined);
        return await turn;
      };
    },
  });
}

/** How many calls an undisturbed producer makes. */
async function callsOf(): Promise<number> {
  let calls = 0;
  await hand(watched(async () => void (calls += 1)));
  await beginAnew();
  return calls;
}

type Copy = readonly (readonly [string, Buffer])[];

async function copyRedis(): Promise<Copy> {
  const names = await redis.keys(`*${test.tag}*`);
  return await Promise.all(names.map(async (name) => [name, (await redis.dumpBuffer(name)) ?? Buffer.alloc(0)] as const));
}

async function setBack(copy: Copy): Promise<void> {
  await test.flush();
  for (const [name, value] of copy) await redis.restore(name, 0, value);
}

async function recover(restore: Restore = openRestore(redis, keys)): Promise<RebuildReport> {
  return await rebuild({ store, restore, budgets: [], archiveRowsMax: 1_000, owner: 'test', now: () => nowMs, onRun: () => undefined });
}

/** A rebuild with something before its nth call of Redis, from 0; whether it came so far. */
function restoreWith(at: number, then: () => Promise<void>): { readonly restore: Restore; readonly isReached: () => boolean } {
  let calls = 0;
  const connection = new Proxy(redis, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name !== 'evalsha' && name !== 'unlink') return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      return async (...given: unknown[]): Promise<unknown> => {
        calls += 1;
        if (calls === at + 1) await then();
        return await (value as (...all: unknown[]) => Promise<unknown>).apply(target, given);
      };
    },
  });
  return { restore: openRestore(connection, keys), isReached: () => calls > at };
}

const roomy = { target: 'all', tokens: 1_000_000, microUsd: undefined, window: 'total' } as const;

class Killed extends Error {}

/** A supervisor: starts the producer until its run is acknowledged, and rebuilds when it says that the ledger is behind. Returns the codes that it met. */
async function handUntilTaken(first: Ledger): Promise<readonly string[]> {
  const met: string[] = [];
  for (let port = first; met.length < 6; port = ledger) {
    try {
      const { run: record } = await hand(port);
      expect(record).toMatchObject({ state: 'open', accepted: rows });
      return met;
    } catch (error) {
      if (error instanceof Killed) met.push('killed');
      else if (error instanceof PlimsollError) met.push(error.code);
      else throw error;
      if (met.at(-1) === 'ledger_behind') await recover();
    }
  }
  throw new Error(`it does not end: ${met.join(', ')}`);
}

const wake = { wake: async () => undefined, enqueueChunk: async () => undefined, close: async () => undefined };

/** A worker, as far as it needs no provider: packs at most so many chunks, and with all of them packed seals their archives. */
async function work(chunksMax = Infinity): Promise<void> {
  for (let packed = 0; packed < chunksMax; packed += 1) {
    const segment = await ledger.nextSegment([]);
    const next = segment === undefined ? undefined : await ledger.nextQueued(segment);
    if (next === undefined) break;
    await ledger.admit(next.chunk, limits, true, nowMs);
  }
  const sealer = makeSealer({ ledger, store, wake, now: () => nowMs, log: () => undefined });
  for (const priority of await ledger.flushDue(run)) await ledger.flushArchives(run, priority, limits, nowMs);
  for (const archive of await ledger.listArchives(run)) await sealer.handle(archive, new AbortController().signal);
}

/** The tokens that chunks with a reservation may need, by what the lake says of them, and those of all chunks. */
async function countTokens(): Promise<{ readonly reserved: number; readonly all: number }> {
  const sums = { reserved: 0, all: 0 };
  for await (const object of store.list(`spool/${run}/`)) {
    const { chunk, tokensMax } = await readFooter(store, object);
    sums.all += tokensMax;
    if ((await redis.hget(keys.of(`chunk:${chunk}`), 'reservation')) === 'reserved') sums.reserved += tokensMax;
  }
  return sums;
}

async function reservedIn(target: string): Promise<number> {
  return (await ledger.listAccounts()).find((account) => account.target === target)?.tokensReserved ?? 0;
}

/** Every row is in a chunk of the ledger once, and all of them are counted; before a rebuild and after it. */
async function expectExact(): Promise<void> {
  if (await findGap({ standing: openStanding(redis, keys), ledger, store })) await recover();
  for (const isRebuilt of [false, true]) {
    if (isRebuilt) await recover();
    const found: number[] = [];
    for await (const object of store.list(`spool/${run}/`)) {
      const footer = await readFooter(store, object);
      if (!(await ledger.readChunk(footer.chunk))) continue;
      const whole = await store.readWhole(object.key);
      const at = indexOffset(footer);
      for (const { row } of decodeIndex(whole.subarray(at, at + footer.indexBytes), footer.rows, footer.paramsBytes)) found.push(row);
    }
    expect(found.sort((a, b) => a - b)).toEqual(Array.from({ length: rows }, (_, index) => index + 1));
    expect(await ledger.readRun(run)).toMatchObject({ state: 'open', accepted: rows, rowsQueued: rows, chunks: 4 });
  }
}

describe('a Redis that is set back', { timeout: 120_000 }, () => {
  it('while a producer works, from any moment to any earlier one, takes no row twice and loses none', async () => {
    const calls = await callsOf();
    const codes = new Set<string>();
    for (let to = 0; to < calls; to += 1) {
      for (let from = to + 1; from < calls; from += 1) {
        await beginAnew();
        let copy: Copy = [];
        const met = await handUntilTaken(watched(async (call) => {
          if (call === to) copy = await copyRedis();
          if (call === from) await setBack(copy);
        }));
        for (const code of met) codes.add(code);
        await expectExact();
      }
    }
    expect([...codes].sort()).toEqual(['ledger_behind']);
  });

  it('after a producer died takes every row from the next one, whether or not somebody rebuilds first', async () => {
    const calls = await callsOf();
    for (let to = 0; to < calls; to += 1) {
      for (const isRebuiltFirst of [false, true]) {
        await beginAnew();
        let copy: Copy = [];
        const dying = hand(watched(async (call) => {
          if (call === to) copy = await copyRedis();
          if (call === calls - 1) throw new Killed();
        }));
        await expect(dying).rejects.toThrow(Killed);
        await setBack(copy);
        if (isRebuiltFirst) await recover();
        await handUntilTaken(ledger);
        await expectExact();
      }
    }
  });

  it('is named for what it is, and stops everybody until it is rebuilt', async () => {
    let copy: Copy = [];
    const calls = await callsOf();
    const handing = hand(watched(async (call) => {
      // The run is open by now, and empty.
      if (call === 3) copy = await copyRedis();
      if (call === calls - 2) await setBack(copy);
    }));
    await expect(handing).rejects.toMatchObject({ code: 'ledger_behind', message: expect.stringContaining('rows that a producer was acknowledged') as string, hint: expect.stringContaining('plimsoll recover') as string });
    const standing = openStanding(redis, keys);
    expect((await standing.read()).behind).toBe('rows that a producer was acknowledged are not known to the ledger');
    expect((await ledger.readEvents(0, 100)).map(({ type }) => type)).toContain('ledger.behind');
    await expect(hand()).rejects.toMatchObject({ code: 'ledger_behind' });
    await recover();
    expect(await hand()).toMatchObject({ accepted: rows });
    await expectExact();
  });

  it('in the middle of a rebuild gets no record of it: that rebuild fails, and the next one ends', async () => {
    await hand();
    const copy = await copyRedis();
    let steps = 1;
    for (; ; steps += 1) {
      const { restore, isReached } = restoreWith(steps, async () => await setBack(copy));
      const ended = await recover(restore).then(() => 'ended', (error: unknown) => (error instanceof PlimsollError ? error.code : String(error)));
      if (!isReached()) break;
      expect(ended, `set back before step ${steps}`).toBe('ledger_behind');
      await recover();
      await expectExact();
    }
    expect(steps).toBeGreaterThan(3);
  });
});

describe('a rebuild', { timeout: 120_000 }, () => {
  it('at any moment of a producer that nobody has stopped leaves every row in the ledger once', async () => {
    const calls = await callsOf();
    for (let at = 0; at < calls; at += 1) {
      await beginAnew();
      await handUntilTaken(watched(async (call) => {
        if (call === at) await recover();
      }));
      await expectExact();
    }
  });

  it('that dies after any of its steps, at any moment of a producer that works on, takes nothing in until the next one has ended', async () => {
    const calls = await callsOf();
    let steps = 0;
    for (let isOver = false; !isOver; steps += 1) {
      for (let at = 0; at < calls; at += 1) {
        await beginAnew();
        const { restore, isReached } = restoreWith(steps, async () => await Promise.reject(new Killed()));
        await handUntilTaken(watched(async (call) => {
          if (call !== at) return;
          await recover(restore).catch((error: unknown) => {
            if (!(error instanceof Killed)) throw error;
          });
        }));
        isOver = !isReached();
        await expectExact();
      }
    }
    expect(steps).toBeGreaterThan(3);
  });

  it('knows what was acknowledged between its look at the lake and the shutting of the gate (H4)', async () => {
    const calls = await callsOf();
    for (let at = 0; at <= calls; at += 1) {
      await beginAnew();
      let goOn: () => void = () => undefined;
      const mayGoOn = new Promise<void>((resolve) => (goOn = resolve));
      let arrived: () => void = () => undefined;
      const hasArrived = new Promise<void>((resolve) => (arrived = resolve));
      const handing = hand(watched(async (call) => {
        if (call !== at) return;
        arrived();
        await mayGoOn;
      }));
      await Promise.race([hasArrived, handing]);
      const inner = openRestore(redis, keys);
      await recover({
        ...inner,
        begin: async (...given) => {
          goOn();
          await handing;
          await inner.begin(...given);
        },
      });
      // It was acknowledged, so nobody starts it again.
      await expectExact();
    }
  });

  it('that meets another one writes nothing any more, wherever it is, and the later one ends as if it were alone', async () => {
    await hand();
    let steps = 1;
    for (; ; steps += 1) {
      const { restore, isReached } = restoreWith(steps, async () => void (await recover()));
      const ended = await recover(restore).then(() => 'ended', (error: unknown) => (error instanceof PlimsollError ? error.code : String(error)));
      if (!isReached()) break;
      expect(ended, `met before step ${steps}`).toBe('ledger_behind');
    }
    expect(steps).toBeGreaterThan(3);
    await expectExact();
  });

  it('beside workers that nobody has stopped reserves exactly what is packed, at whichever of its steps they work and however far they were', async () => {
    const codes = new Set<string>();
    for (const chunksBefore of [0, 3, 4]) {
      let isOver = false;
      for (let steps = 0; !isOver; steps += 1) {
        await beginAnew();
        await hand();
        await journalBudget(store, roomy, nowMs);
        await ledger.setBudget(roomy, 'operator', nowMs);
        await work(chunksBefore);
        const { restore, isReached } = restoreWith(steps, async () => {
          await work().then(() => codes.add('worked'), (error: unknown) => codes.add(error instanceof PlimsollError ? error.code : String(error)));
        });
        await recover(restore);
        isOver = !isReached();
        const { reserved } = await countTokens();
        expect(await reservedIn('all'), `${chunksBefore} chunks before, at step ${steps}`).toBe(reserved);
        await work();
        const { reserved: inTheEnd, all } = await countTokens();
        expect([inTheEnd, await reservedIn('all')]).toEqual([all, all]);
      }
    }
    // Before the first step the gate is open still.
    expect([...codes].sort()).toEqual(['ledger_behind', 'worked']);
  });

  it('knows a limit that was written down while it was at work, though the ledger refused it (H5)', async () => {
    const smaller = { ...roomy, tokens: 1 };
    const limit = async (): Promise<number | undefined> => (await ledger.listBudgets())[0]?.tokens;
    let known: (number | undefined)[] = [];
    let refused = 0;
    for (let steps = 0; ; steps += 1) {
      await beginAnew();
      await hand();
      await journalBudget(store, roomy, nowMs);
      const { restore, isReached } = restoreWith(steps, async () => {
        await journalBudget(store, smaller, nowMs);
        await ledger.setBudget(smaller, 'operator', nowMs).catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'ledger_behind' });
          refused += 1;
        });
      });
      await recover(restore);
      if (!isReached()) break;
      known = [...known, await limit()];
      await ledger.setBudget(smaller, 'operator', nowMs);
      expect(await limit()).toBe(1);
    }
    // Only in its very last step it looks no more; the operator was told to say it again.
    expect(known.slice(0, -1)).toEqual(known.slice(1).map(() => 1));
    expect(refused).toBe(known.length - 1);
  });
});
