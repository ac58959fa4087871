/** Redis loses what it knew, at one stage of a run after the other: nothing is posted before the rebuild, and nothing twice. */
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { openHome, type Home } from '../../local/home.ts';
import { PlimsollError } from '../../segments/errors.ts';
import { openLedgerGuard } from '../../segments/ledger/guard.ts';
import { ledgerKeys } from '../../segments/ledger/keys.ts';
import { rebuild } from '../../segments/ledger/rebuild.ts';
import { openRedisLedger } from '../../segments/ledger/redis.ts';
import { openRestore } from '../../segments/ledger/restore.ts';
import { openStanding } from '../../segments/ledger/standing.ts';
import { openFolderStore } from '../../segments/store/folder.ts';
import { breaches, readTruth } from '../chaos/oracle.ts';
import { corpus, openWorld, type Ended, type Running, type World } from '../chaos/world.ts';
import { redisForTest } from '../redis.ts';

/** Small chunks and archives, so that a short run has many of each; a lost reply is looked for at once. */
const small = {
  PLIMSOLL_CHUNK__BYTES_MAX: '20000', PLIMSOLL_CHUNK__OPEN_BYTES_MAX: '60000', PLIMSOLL_ARCHIVE__BYTES_MAX: '120000',
  PLIMSOLL_SUBMIT__LANDING_WAIT: '1s',
};
const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `doc-${index}`);

let world: World;
let home: Home | undefined;
let redis: Redis | undefined;
afterEach(async () => {
  redis?.disconnect();
  await home?.close();
  [redis, home] = [undefined, undefined];
  await world.close();
});

/** Stays in the home, so that its Redis lives as long as the test. */
async function keepRedis(): Promise<Redis> {
  home = await openHome({ directory: world.home, searchPath: process.env['PATH'] ?? '', install: true, announce: () => undefined });
  if (home.redis.kind !== 'socket') throw new Error('a home starts a Redis of its own');
  redis = new Redis({ path: home.redis.path });
  return redis;
}

const count = (folder: string): number => (existsSync(join(world.lake, folder)) ? readdirSync(join(world.lake, folder), { recursive: true }).filter((name) => /\.(json|chunk)$/.test(String(name))).length : 0);
const creates = (): number => (existsSync(world.truthFile) ? readTruth(world.truthFile).creates : 0);
const json = (end: Ended): Record<string, unknown> => JSON.parse(end.stdout) as Record<string, unknown>;

async function recover(): Promise<Record<string, unknown>> {
  const end = await world.run(['recover', '--json']);
  expect(end.code, end.stderr).toBe(0);
  return json(end);
}

it('a run whose Redis is flushed while it is read, sent and exported ends exactly, with nothing posted twice', { timeout: 120_000 }, async () => {
  world = await openWorld({ batchMs: 400, faults: { faults: [{ fault: 'reply_lost', nth: 4 }, { fault: 'errored', rate: 0.05, error_type: 'api_error', count: 1 }] } }, small);
  const keys = await keepRedis();
  const source = world.write('in.jsonl', corpus(1500, 5));
  const command = ['run', source, '--run-key', 'lost', '--json'];
  const seen: Record<string, number> = {};
  const moments: readonly (readonly [string, number])[] = [['spool', 6], ['journal/intents', 3], ['journal/outcomes', 3]];
  for (const [folder, least] of moments) {
    const running = world.start(command);
    await reached(running, folder, least);
    await keys.flushall();
    const report = await recover();
    for (const [state, archives] of Object.entries(report['archives'] as Record<string, number>)) seen[state] = (seen[state] ?? 0) + archives;
    expect([...readTruthIfAny().values()].filter((times) => times > 1)).toEqual([]);
  }
  const end = await world.run(command);
  expect({ code: end.code, stderr: end.stderr }).toMatchObject({ code: 0 });
  expect(breaches(world.lake, 'lost', ids(1500), world.truthFile)).toEqual([]);
  // The stages at which Redis was lost, as the rebuilds found them.
  expect(Object.keys(seen)).toEqual(expect.arrayContaining(['accepted', 'in_doubt']));

  const truth = readTruth(world.truthFile);
  const spent = truth.billed.inputTokens + truth.billed.outputTokens;
  const before = creates();
  await keys.flushall();
  expect(await recover()).toMatchObject({ runs: { complete: 1 }, prompts: 1500, rows_waiting: 0, tokens_reserved: 0, tokens_spent: spent, doubts: [] });
  const again = await world.run(command);
  expect(json(again)).toEqual(json(end));
  expect(creates()).toBe(before);
});

/** Waits until a folder of the lake holds so many objects, and kills the process then. */
async function reached(running: Running, folder: string, least: number): Promise<void> {
  const isReached = async (): Promise<boolean> => {
    while (count(folder) < least) {
      const isOver = await Promise.race([running.ended.then(() => true), new Promise<false>((resolve) => setTimeout(resolve, 5, false))]);
      if (isOver) return count(folder) >= least;
    }
    return true;
  };
  const isThere = await Promise.race([isReached(), new Promise<false>((resolve) => setTimeout(resolve, 40_000, false).unref())]);
  running.process.kill('SIGKILL');
  const { stderr } = await running.ended;
  expect(isThere, `${folder} has ${count(folder)} objects: ${stderr}`).toBe(true);
}

function readTruthIfAny(): ReadonlyMap<string, number> {
  return existsSync(world.truthFile) ? readTruth(world.truthFile).billedTimes : new Map<string, number>();
}

describe('a ledger that is behind its journal', () => {
  it('is noticed while a worker runs, posts nothing, refuses new work, and is rebuilt only when nobody is at work', { timeout: 120_000 }, async () => {
    world = await openWorld({}, small);
    const keys = await keepRedis();
    const source = world.write('in.jsonl', corpus(60, 9));
    expect((await world.run(['run', source, '--run-key', 'first', '--json'])).code).toBe(0);
    const worker = world.start(['work']);
    await worker.said('worker.started');
    const busy = await world.run(['recover', '--json']);
    expect(busy.code).toBe(1);
    expect(busy.stderr).toMatch(/\(stages\)[^]*\[ledger_busy\]/);

    const before = creates();
    await keys.flushall();
    const ended = await worker.ended;
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/ledger\.behind[^]*\[ledger_behind\]/);
    const other = world.write('other.jsonl', corpus(30, 10));
    const refused = await world.run(['enqueue', other, '--run-key', 'second', '--json']);
    expect({ code: refused.code, stderr: refused.stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(/plimsoll recover[^]*\[ledger_behind\]/) as string });
    expect(creates()).toBe(before);
    expect(await recover()).toMatchObject({ runs: { complete: 1 } });
    expect((await world.run(['run', other, '--run-key', 'second', '--json'])).code).toBe(0);
  });

  it('ends a worker after one line while somebody rebuilds it, and takes no word of an operator', { timeout: 120_000 }, async () => {
    world = await openWorld({}, small);
    const connection = await keepRedis();
    const source = world.write('in.jsonl', corpus(60, 9));
    expect((await world.run(['enqueue', source, '--run-key', 'first', '--json'])).code).toBe(0);
    expect((await world.run(['hold', 'run:first', '--json'])).code).toBe(0);
    const worker = world.start(['work']);
    await worker.said('worker.started');
    await openRestore(connection, ledgerKeys('plimsoll')).begin(1, 'test', Date.now());
    const ended = await worker.ended;
    expect({ code: ended.code, stderr: ended.stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('[ledger_behind]') as string });
    expect(ended.stderr.match(/(account|stage|sweep)\.fault/g)).toEqual(['account.fault']);

    const before = readdirSync(join(world.lake, 'journal'), { recursive: true }).length;
    for (const words of [['budget', 'set', 'all', '--usd', '1'], ['resume', 'run:first'], ['hold', 'run:first'], ['cancel', 'first', '--no-wait']]) {
      const refused = await world.run([...words, '--json']);
      expect({ words, code: refused.code, stderr: refused.stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('[ledger_behind]') as string });
    }
    expect(readdirSync(join(world.lake, 'journal'), { recursive: true })).toHaveLength(before);
    expect(await recover()).toMatchObject({ runs: { open: 1 }, rows_waiting: 60 });
    expect((await world.run(['budget', 'set', 'all', '--usd', '1', '--json'])).code).toBe(0);
  });

  it('is noticed when an older append-only file was put back', { timeout: 120_000 }, async () => {
    world = await openWorld({}, small);
    await world.leave();
    const source = world.write('in.jsonl', corpus(60, 9));
    expect((await world.run(['enqueue', source, '--run-key', 'first', '--json'])).code).toBe(0);
    // The last process has left, so Redis is stopped and its files are whole.
    const [live, copy] = [join(world.home, 'redis/appendonlydir'), join(world.folder, 'older')];
    cpSync(live, copy, { recursive: true });
    const done = await world.run(['run', source, '--run-key', 'first', '--json']);
    expect(done.code, done.stderr).toBe(0);
    const before = creates();
    rmSync(live, { recursive: true });
    cpSync(copy, live, { recursive: true });

    const refused = await world.run(['work']);
    expect({ code: refused.code, stderr: refused.stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('[ledger_behind]') as string });
    expect(creates()).toBe(before);
    await recover();
    const again = await world.run(['run', source, '--run-key', 'first', '--json']);
    expect(json(again)).toEqual(json(done));
    expect(creates()).toBe(before);
  });
});

describe('a rebuild', () => {
  it('counts in the budget of a tier what a run packed before its client was in that tier by default', async () => {
    // The batches take an hour, so that everything is still reserved.
    world = await openWorld({ batchMs: 3_600_000 }, { ...small, PLIMSOLL_DEFAULTS__CLIENT: 'etl' });
    await keepRedis();
    const source = world.write('in.jsonl', corpus(60, 5));
    expect((await world.run(['run', source, '--run-key', 'early', '--timeout', '3s', '--json'])).code).toBe(6);
    const tiers = { PLIMSOLL_TIERS: '{"pilot": {"budget": {"tokens": 1000000, "window": "run"}}}', PLIMSOLL_DEFAULTS__TIER: 'pilot' };
    const recovered = await world.run(['recover', '--json'], tiers);
    expect(recovered.code, recovered.stderr).toBe(0);
    const accounts = JSON.parse((await world.run(['budget', 'show', '--json'], tiers)).stdout) as { target: string; window: string; tokens_reserved: number }[];
    const reserved = (target: string, window: string): number | undefined => accounts.find((each) => each.target === target && each.window === window)?.tokens_reserved;
    expect(reserved('all', 'total')).toBeGreaterThan(0);
    expect(reserved('client:etl', 'run=early')).toBe(reserved('all', 'total'));
  });

  it('that is killed after any of its steps leaves the gate shut, and the next one ends as if nothing had happened (H2)', async () => {
    world = await openWorld({ faults: { faults: [{ fault: 'reply_hang', nth: 2 }] } }, small);
    const source = world.write('in.jsonl', corpus(400, 3));
    const running = world.start(['run', source, '--run-key', 'half']);
    await reached(running, 'journal/intents', 2);

    const store = await openFolderStore(world.lake, Date.now());
    const corner = redisForTest();
    const connection = corner.connect();
    const keys = ledgerKeys(corner.tag.slice(1, -1));
    const ledger = openRedisLedger(connection, keys);
    const standing = openStanding(connection, keys);
    const now = (): number => 1_795_000_000_000;
    let left = Infinity;
    // Faults are a wrapper over the real thing: the nth call to Redis is the last one.
    const failing = new Proxy(connection, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (name !== 'evalsha' && name !== 'unlink') return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        return async (...given: unknown[]): Promise<unknown> => {
          left -= 1;
          if (left < 0) throw new Error('killed here');
          return await (value as (...all: unknown[]) => Promise<unknown>).apply(target, given);
        };
      },
    });
    const attempt = async () => await rebuild({ store, now, restore: openRestore(failing, keys), budgets: [], archiveRowsMax: 100, owner: 'test', onRun: () => undefined });
    try {
      const whole = await attempt();
      expect(whole.doubts.length).toBeGreaterThan(0);
      const expected = await contentOf(connection, keys.prefix);
      const shut: string[] = [];
      let steps = 0;
      for (; steps < 100; steps += 1) {
        left = steps;
        const isDone = await attempt().then(() => true, (error: unknown) => {
          if (error instanceof Error && error.message === 'killed here') return false;
          throw error;
        });
        if (isDone) break;
        const guard = openLedgerGuard({ standing, ledger, store, now, carryOutWords: async () => undefined, log: () => undefined }, 'worker');
        // Before its first step a rebuild has changed nothing.
        if (steps > 0) shut.push(await guard.then(() => 'open', (error: unknown) => (error instanceof PlimsollError ? error.code : 'another error')));
      }
      expect(steps).toBeGreaterThan(4);
      expect(new Set(shut)).toEqual(new Set(['ledger_behind']));
      left = Infinity;
      const { epoch: _epoch, ...report } = await attempt();
      const { epoch: _first, ...first } = whole;
      expect(report).toEqual(first);
      expect(await contentOf(connection, keys.prefix)).toEqual(expected);
    } finally {
      await corner.close();
    }
  });
});

/** What a ledger holds, but for what a rebuild numbers: its epoch and the outbox. */
async function contentOf(connection: Redis, prefix: string): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for (const name of (await connection.keys(`${prefix}*`)).sort()) {
    const key = name.slice(prefix.length);
    if (key === 'standing' || key.startsWith('events')) continue;
    const type = await connection.type(name);
    if (type === 'hash') found[key] = Object.entries(await connection.hgetall(name)).sort(([a], [b]) => (a < b ? -1 : 1));
    else if (type === 'set') found[key] = (await connection.smembers(name)).sort();
    else if (type === 'zset') found[key] = await connection.zrange(name, 0, '-1', 'WITHSCORES');
    else if (type === 'list') found[key] = await connection.lrange(name, 0, -1);
    else found[key] = await connection.get(name);
  }
  return found;
}
