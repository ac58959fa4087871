/**
 * Quotas through the library's door, on the real ledger and a real lake: wherever a producer dies, and even when Redis has
 * forgotten, every row goes into the segment that it was given first (E1 of admission.ts), and is never spooled twice.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Admission } from '../../producers/admission.ts';
import { produce, type Production } from '../../producers/producer.ts';
import { decodeIndex, indexOffset, type ChunkFooter } from '../../segments/chunk.ts';
import { PlimsollError } from '../../segments/errors.ts';
import { ledgerKeys, type LedgerKeys } from '../../segments/ledger/keys.ts';
import type { Ledger, MeasureRequest } from '../../segments/ledger/ledger.ts';
import { rebuild } from '../../segments/ledger/rebuild.ts';
import { openRedisLedger } from '../../segments/ledger/redis.ts';
import { openRestore } from '../../segments/ledger/restore.ts';
import type { Terms, Tier } from '../../segments/quota.ts';
import type { Prompt, RunKey, SegmentName } from '../../segments/segment.ts';
import { journalTier } from '../../segments/store/decisions.ts';
import { readFooter } from '../../segments/store/evidence.ts';
import { openFolderStore } from '../../segments/store/folder.ts';
import type { Store } from '../../segments/store/store.ts';
import { redisForTest, type TestRedis } from '../redis.ts';
import { line, settingsIn } from '../unit/producer-world.ts';

const nowMs = Date.parse('2026-11-21T12:00:00Z');
const pilot: Tier = { priorities: ['high', 'normal', 'low'], metadata: [], over: 'fallback', requestsPerMinute: 40 };
const nightly = 'nightly' as RunKey;

let folder: string;
let test: TestRedis;
let keys: LedgerKeys;
let ledger: Ledger;
let store: Store;
let atMs: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'admission-'));
  test = redisForTest();
  keys = ledgerKeys(test.tag.slice(1, -1));
  ledger = openRedisLedger(test.connect(), keys);
  store = await openFolderStore(join(folder, 'lake'), nowMs);
  atMs = nowMs;
});
afterEach(async () => {
  await test.close();
  expect((await readdir(join(folder, 'scratch')).catch(() => [])).filter((name) => name.endsWith('.part'))).toEqual([]);
  await rm(folder, { recursive: true, force: true });
});

interface Given {
  readonly run?: RunKey;
  readonly terms?: Terms | undefined;
  readonly ledger?: Ledger;
  readonly store?: Store;
  readonly sectionBytes?: number;
}

/** Hands lines in as `plimsoll enqueue` does. */
async function hand(lines: readonly string[], given: Given = {}): Promise<Production> {
  const settings = {
    ...settingsIn(folder), chunkRowsMax: 7, terms: 'terms' in given ? given.terms : { tiers: { pilot }, clients: { etl: 'pilot' } },
    line: { queueRowsMax: 100, patienceMs: 1_000 }, ...(given.sectionBytes === undefined ? {} : { sectionBytes: given.sectionBytes }),
  };
  return await produce({
    runKey: given.run ?? nightly, settings, store: given.store ?? store, ledger: given.ledger ?? ledger, installationId: 'test', signal: new AbortController().signal, now: () => atMs,
    source: { kind: 'stdin', stream: Readable.from([Buffer.from(`${lines.join('\n')}\n`)]) },
    wake: { wake: async () => undefined, enqueueChunk: async () => undefined, close: async () => undefined },
  });
}

/** Two clients in turn, over two topics; only `etl` has a tier by default. */
function corpus(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => line(`doc-${index + 1}`, { topic: index % 3 === 0 ? 'mails' : 'docs', client: index % 2 === 0 ? 'etl' : 'bi' }, 'x'.repeat(1 + (index % 50))));
}

/** The segment of every row that is in the ledger, by row; a row that is there twice fails. */
async function segmentsOf(run: RunKey = nightly): Promise<ReadonlyMap<number, string>> {
  const found = new Map<number, string>();
  for await (const object of store.list(`spool/${run}/`)) {
    const footer: ChunkFooter = await readFooter(store, object);
    if (!(await ledger.readChunk(footer.chunk))) continue;
    const whole = await store.readWhole(object.key);
    const at = indexOffset(footer);
    for (const { row } of decodeIndex(whole.subarray(at, at + footer.indexBytes), footer.rows, footer.paramsBytes)) {
      expect(found.has(row), `row ${row} was spooled twice`).toBe(false);
      found.set(row, `${footer.segment}|${footer.client}`);
    }
  }
  return new Map([...found].sort(([a], [b]) => a - b));
}

const lanesOf = async (run?: RunKey): Promise<string> => [...(await segmentsOf(run)).values()].map((segment) => (segment.includes('.fallback|') ? 'f' : '.')).join('');
const journaled = async (run = nightly): Promise<unknown> => JSON.parse((await store.readWhole(`journal/runs/${run}/deferrals/etl.json`)).toString('utf8'));

describe('a client over its tier', () => {
  it('has its later prompts in the lane fallback, and is told why, how long and what to reduce', async () => {
    const production = await hand(corpus(100));
    expect(production).toMatchObject({ accepted: 100, rejected: 0 });
    expect(production.deferred).toEqual([{
      client: 'etl', tier: 'pilot', over: 'fallback', fromRow: 81, limit: 'requestsPerMinute', allowed: 40, measured: 41, intervalMs: null, decidedAtMs: nowMs,
      requests: 50, tokens: expect.any(Number) as number, requestsOver: 10, tokensOver: expect.any(Number) as number,
      advice: { promptsMax: 40, contextTokens: undefined, callIntervalMs: 75_000, promptIntervalMs: 1_500 },
      delay: { expectedMs: 2 * 86_400_000, longestMs: 1_000 + 2 * 86_400_000, turnaroundMs: 86_400_000, turnaroundsSeen: 0, rowsInLine: 100 },
    }]);
    expect(await lanesOf()).toBe(`${'.'.repeat(80)}${'f.'.repeat(10)}`);
    expect(await journaled()).toMatchObject({ v: 1, run: 'nightly', client: 'etl', fromRow: 81 });
  });

  it('is told the same when the same call comes again, and nothing is measured twice', async () => {
    const first = await hand(corpus(100));
    atMs += 86_400_000;
    const again = await hand(corpus(100));
    expect(again).toMatchObject({ isNew: false, deferred: [{ ...first.deferred[0], delay: { rowsInLine: 100 } }] });
    expect((await ledger.readClient('etl', nowMs)).days).toMatchObject([{ requests: 50, requestsOver: 10 }]);
    expect((await ledger.readClient('bi', nowMs)).days).toMatchObject([{ requests: 50, requestsOver: 0 }]);
  });

  it('is refused row by row where its tier says so, in the order of the source', async () => {
    const lines = [...corpus(90), '{"bad', ...corpus(100).slice(90)];
    const production = await hand(lines, { terms: { tiers: { pilot: { ...pilot, over: 'refuse' } }, clients: { etl: 'pilot' } } });
    expect(production).toMatchObject({ accepted: 90, rejected: 11, deferred: [{ over: 'refuse', fromRow: 81, requestsOver: 10, delay: undefined }] });
    const rejects = gunzipSync(await store.readWhole(production.rejectsKey ?? '')).toString('utf8').trimEnd().split('\n').map((row) => JSON.parse(row) as { line: number; code: string; raw: string });
    expect(rejects.map((row) => row.line)).toEqual([81, 83, 85, 87, 89, 91, 92, 94, 96, 98, 100]);
    expect(rejects.filter((row) => row.line !== 91).every((row) => row.code === 'quota_exceeded' && row.raw === lines[row.line - 1])).toBe(true);
    expect([...(await segmentsOf()).keys()]).toHaveLength(90);
  });

  it('may be the default: whoever has no tier of his own', async () => {
    const production = await hand(corpus(100), { terms: { tiers: { pilot }, clients: {}, other: 'pilot' } });
    expect(production.deferred.map(({ client, fromRow }) => [client, fromRow])).toEqual([['bi', 82], ['etl', 81]]);
    expect(await lanesOf()).toBe(`${'.'.repeat(80)}${'f'.repeat(20)}`);
  });
});

describe('what a tier says of one prompt', () => {
  const strict: Tier = { ...pilot, requestsPerMinute: undefined, contextTokensMax: 1_000, metadata: ['team'], priorities: ['low'] };

  it('refuses what could never fit, and says by how much', async () => {
    const long = line('a', { client: 'etl', metadata: { team: 'x' } }, 'word '.repeat(1_000));
    const production = await hand([long, line('b', { client: 'etl', metadata: { team: 'x' }, priority: 'high' }), line('c', { client: 'etl' }), line('d', { client: 'etl', metadata: { team: '' } }), line('e', { client: 'bi' })], { terms: { tiers: { pilot: strict }, clients: { etl: 'pilot' } } });
    expect(production).toMatchObject({ accepted: 2, rejected: 3, deferred: [] });
    const rejects = gunzipSync(await store.readWhole(production.rejectsKey ?? '')).toString('utf8').trimEnd().split('\n').map((row) => JSON.parse(row) as { code: string; message: string });
    expect(rejects.map(({ code }) => code)).toEqual(['tier_context_exceeded', 'tier_metadata_missing', 'tier_metadata_missing']);
    expect(rejects[0]?.message).toMatch(/may take up to (\d+) tokens; the tier pilot of the client "etl" takes 1000: shorten the prompt or max_tokens by \d+$/);
    expect(rejects[1]?.message).toContain('"team" is missing');
    expect([...(await segmentsOf()).values()]).toEqual(['docs.8k.low|etl', 'docs.8k.normal|bi']);
  });

  it('holds as the run was opened, also when an operator has moved the client meanwhile', async () => {
    const failing = failingAfter('addChunk', 3);
    await expect(hand(corpus(100), { ledger: failing })).rejects.toThrow('died');
    await ledger.setTier({ client: 'etl', tier: null, ordinal: 1, by: 'ada', setAtMs: nowMs });
    expect((await hand(corpus(100))).deferred).toMatchObject([{ fromRow: 81 }]);
    expect(await lanesOf()).toBe(`${'.'.repeat(80)}${'f.'.repeat(10)}`);
    expect((await hand(corpus(100), { run: 'later' as RunKey })).deferred).toEqual([]);
  });

  it('an operator has named a tier that the configuration does not have: nothing is taken in', async () => {
    await ledger.setTier({ client: 'etl', tier: 'gold', ordinal: 1, by: 'ada', setAtMs: nowMs });
    const error: unknown = await hand(corpus(1)).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(PlimsollError);
    expect(error).toMatchObject({ code: 'tier_unknown', where: 'tiers.gold' });
    expect(await ledger.listRuns()).toEqual([]);
  });
});

/** The ledger of a producer that dies around the nth call of a method. */
function failingAfter(method: keyof Ledger, times: number): Ledger {
  let left = times;
  return new Proxy(ledger, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name !== method) return value;
      return async (...given: unknown[]): Promise<unknown> => {
        left -= 1;
        if (left < 0) throw new Error('died');
        return await (value as (...all: unknown[]) => Promise<unknown>).apply(target, given);
      };
    },
  });
}

/** The lake with another `put`. */
function lakeWith(put: (key: string, object: never) => Promise<unknown>): Store {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'put') return put;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** The lake of a producer that dies before or after the nth object that is put under a prefix. */
function dyingAt(prefix: string, times: number, moment: 'before' | 'after'): Store {
  let left = times;
  return lakeWith(async (key, object) => {
    const isIt = key.startsWith(prefix) && --left === 0;
    if (isIt && moment === 'before') throw new Error('died');
    const result = await store.put(key, object);
    if (isIt) throw new Error('died');
    return result;
  });
}

/** The lake of a producer that dies with nothing of the topic `docs` in it, but with something of `mails`, whichever comes first. */
function dyingWithoutDocs(): Store {
  let tell = (): void => undefined;
  const isBegun = new Promise<void>((resolve) => (tell = resolve));
  return lakeWith(async (key, object) => {
    if (key.includes('.docs.')) {
      await isBegun;
      throw new Error('died');
    }
    const result = await store.put(key, object);
    if (key.includes('.mails.')) tell();
    return result;
  });
}

/** Redis forgets everything, and the ledger is made again from the lake. */
async function forget(): Promise<void> {
  await test.flush();
  await rebuild({ store, restore: openRestore(test.connect(), keys), budgets: [], archiveRowsMax: 1_000, owner: 'test', now: () => atMs, onRun: () => undefined });
}

describe('a producer that dies', () => {
  const expected = `${'.'.repeat(80)}${'f.'.repeat(10)}`;
  const deaths: readonly (readonly [string, () => Given])[] = [
    ['before the decision is written down', () => ({ store: dyingAt('journal/runs/nightly/deferrals/', 1, 'before') })],
    ['after it was written down', () => ({ store: dyingAt('journal/runs/nightly/deferrals/', 1, 'after') })],
    ['with chunks under way', () => ({ ledger: failingAfter('addChunk', 5) })],
    ['after its last measurement', () => ({ ledger: failingAfter('flushRun', 0) })],
    ['before its first measurement', () => ({ ledger: failingAfter('measureClients', 0) })],
  ];

  it.each(deaths)('%s finds the same row when it is started again, a day later', async (_when, given) => {
    await expect(hand(corpus(100), given())).rejects.toThrow('died');
    // Another day has room for everything; what was decided stays decided.
    const isDecided = (await ledger.readClient('etl', nowMs)).days.length > 0;
    atMs += isDecided ? 86_400_000 : 0;
    const production = await hand(corpus(100));
    expect(production.deferred).toMatchObject([{ fromRow: 81, requests: 50, requestsOver: 10 }]);
    expect(await lanesOf()).toBe(expected);
    expect((await ledger.readClient('etl', atMs)).days.reduce((sum, day) => sum + day.requests, 0)).toBe(50);
  });

  it.each(deaths.slice(0, 4))('%s, and whose Redis forgets, spools no row twice', async (_when, given) => {
    await expect(hand(corpus(100), given())).rejects.toThrow('died');
    const before = await segmentsOf();
    await forget();
    atMs += 30_000;
    const production = await hand(corpus(100));
    const after = await segmentsOf();
    expect(after.size).toBe(100);
    for (const [row, segment] of before) expect(after.get(row)).toBe(segment);
    expect(production.accepted).toBe(100);
  });

  it('keeps durable rows where they are, although another run has used the minute up that a rebuild has begun anew', async () => {
    // The last row of the client is one of `docs`, so it stands behind all that are durable; what lies in the lake alone is durable too.
    await expect(hand(corpus(70), { store: dyingWithoutDocs() })).rejects.toThrow('died');
    await forget();
    const before = await segmentsOf();
    expect(before.size).toBeGreaterThan(0);
    expect((await hand(corpus(100), { run: 'other' as RunKey })).deferred).toMatchObject([{ fromRow: 81 }]);
    const production = await hand(corpus(70));
    const after = await segmentsOf();
    expect(after.size).toBe(70);
    for (const [row, segment] of before) expect(after.get(row)).toBe(segment);
    const last = Math.max(...[...before].filter(([, segment]) => segment.endsWith('|etl')).map(([row]) => row));
    expect(production.deferred[0]?.fromRow).toBeGreaterThan(last);
  });

  it('behind a section goes on with what was counted before it', async () => {
    const lines = corpus(400);
    const bytes = Math.floor(Buffer.byteLength(lines.join('\n')) / 4);
    await expect(hand(lines, { sectionBytes: bytes, store: dyingAt('journal/runs/nightly/sections/000003.json', 1, 'before') })).rejects.toThrow('died');
    atMs += 86_400_000;
    const production = await hand(lines, { sectionBytes: bytes });
    expect(production.deferred).toMatchObject([{ fromRow: 81, requests: 200, requestsOver: 160 }]);
    expect(await lanesOf()).toBe(`${'.'.repeat(80)}${'f.'.repeat(160)}`);
  });

  it('behind a section finds the ids of prompts that were refused', async () => {
    const lines = corpus(400);
    const bytes = Math.floor(Buffer.byteLength(lines.join('\n')) / 4);
    const terms = { tiers: { pilot: { ...pilot, over: 'refuse' } as Tier }, clients: { etl: 'pilot' } };
    await expect(hand(lines, { terms, sectionBytes: bytes, store: dyingAt('journal/runs/nightly/sections/000003.json', 1, 'before') })).rejects.toThrow('died');
    const reads: string[] = [];
    const watched = new Proxy(store, { get: (target, name) => { const value: unknown = Reflect.get(target, name); return typeof value !== 'function' ? value : (key: string, ...rest: never[]) => { reads.push(`${String(name)} ${key}`); return (value as (...all: unknown[]) => unknown).call(target, key, ...rest); }; } });
    const production = await hand(lines, { terms, sectionBytes: bytes, store: watched });
    expect(production).toMatchObject({ accepted: 240, rejected: 160, deferred: [{ requests: 200, requestsOver: 160 }] });
    expect(reads, 'it begins behind the second section').toContain('read journal/runs/nightly/sections/000002.ids');
  });
});

describe('rows that are durable', () => {
  it('are known by their client in every lane, those of shared prefixes included', async () => {
    const asked: MeasureRequest[] = [];
    const admission = new Admission({
      run: nightly, terms: undefined, store, deferrals: [], tallies: {}, now: () => atMs, spool: () => undefined, refuse: async () => undefined, meet: async () => undefined,
      ledger: { measureClients: async (request) => { asked.push(request); return { deferrals: new Map(), split: [] }; } },
      highWater: new Map([['docs.8k.normal|etl', 20], ['mails.8k.normal|etl|00ff', 50], ['docs.8k.normal|bi', 90]]),
    });
    const prompt: Prompt = {
      id: 'a', topic: 'docs', priority: 'normal', client: 'etl', deadlineMs: undefined, metadataJson: undefined, params: Buffer.alloc(1), model: 'm', source: { uri: 'x', row: 60, byteOffset: 0 },
      estimate: { inputTokensExpected: 1, inputTokensMax: 1, outputTokensMax: 1, tokensMax: 2, microUsdMax: 1 },
    };
    await admission.take({ row: 60, byteOffset: 0, bytes: Buffer.alloc(1), sizeBytes: 1 }, { prompt, segment: 'docs.8k.normal' as SegmentName, isGeoPinned: false }, 5, 9);
    await admission.flush();
    expect(asked.flatMap(({ clients }) => clients).map(({ client, floorRow, parts }) => [client, floorRow, parts])).toEqual([['etl', 50, [[60, 60, 1, 5, 9]]]]);
  });
});

describe('a rebuild', () => {
  it('restores what operators have said last, and the budgets that tiers give', async () => {
    const word = { client: 'etl', by: 'ada', reason: 'trial', setAtMs: nowMs, fromUnset: 'pilot' };
    await journalTier(store, { ...word, tier: 'internal' });
    await journalTier(store, { ...word, tier: null, by: 'bob' });
    expect(await journalTier(store, { ...word, tier: null })).toMatchObject({ isNew: false, document: { by: 'bob' } });
    await hand(corpus(100));
    await test.flush();
    await rebuild({
      store, restore: openRestore(test.connect(), keys), archiveRowsMax: 1_000, owner: 'test', now: () => atMs, onRun: () => undefined,
      budgets: [{ target: 'client:bi', tokens: 7, microUsd: undefined, window: 'total' }],
      tierBudgets: (clients, assigned) => [...clients, ...assigned.map(({ client, tier }) => `${client}-${String(tier)}`)].map((client) => ({ target: `client:${client}`, tokens: 5, microUsd: undefined, window: 'total' })),
    });
    expect(await ledger.readTiers()).toEqual([{ client: 'etl', tier: null, ordinal: 2, by: 'bob', setAtMs: nowMs }]);
    expect((await ledger.listBudgets()).map(({ target, tokens }) => [target, tokens])).toEqual([['client:bi', 7], ['client:etl', 5], ['client:etl-null', 5]]);
  });

  it('numbers two words at the same moment one after the other, each with what held before it', async () => {
    const word = { client: 'etl', by: 'ada', reason: 'trial', setAtMs: nowMs, fromUnset: null };
    const written = await Promise.all(['a', 'b', 'c'].map(async (tier) => await journalTier(store, { ...word, tier })));
    const chain = written.map(({ document }) => document).sort((a, b) => a.ordinal - b.ordinal);
    expect(chain.map(({ ordinal }) => ordinal)).toEqual([1, 2, 3]);
    expect(chain.map(({ from }) => from)).toEqual([null, chain[0]?.tier, chain[1]?.tier]);
  });
});
