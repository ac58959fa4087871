/**
 * A corner of the real Redis as a ledger, and short words for the steps of a chunk's life. Nothing here waits: time is the
 * number that is passed. Every verb of the ledger that changes something can be sent twice by `twice`.
 */
import type { Redis } from 'ioredis';
import type { ChunkFooter } from '../segments/chunk.ts';
import { ledgerKeys, type LedgerKeys } from '../segments/ledger/keys.ts';
import type { Admission, ChunkPart, Ledger, PackLimits, SettleRequest } from '../segments/ledger/ledger.ts';
import { openRedisLedger } from '../segments/ledger/redis.ts';
import type { ChunkOutcome } from '../segments/outcome.ts';
import { entryOverheadBytes, envelopeBytes } from '../segments/pack.ts';
import { noUsage, type ArchiveId, type BatchId, type ChunkId, type IntentId, type Priority, type RunKey, type SegmentName } from '../segments/segment.ts';
import { redisForTest, type TestRedis } from './redis.ts';

/** What one row of a test chunk may cost; a chunk of n rows n times as much. */
export const perRow = { paramsBytes: 100, tokensExpected: 5, tokensMax: 10, microUsdMax: 20 };
export const nowMs = 1_795_000_000_000;
export const limits: PackLimits = { bytesMax: 1_000_000, rowsMax: 1_000, entryOverheadBytes, envelopeBytes, fullPermille: 970, lingerMs: 60_000 };
export const normal = 'invoices.8k.normal' as SegmentName;
export const input = { bytes: 100, rows: 10, sha256: 'ab' };
export const account = 'acct';

export interface ChunkGiven {
  readonly run?: RunKey;
  readonly segment?: SegmentName;
  readonly client?: string;
  readonly attempt?: number;
}

export interface LedgerWorld {
  readonly ledger: Ledger;
  readonly keys: LedgerKeys;
  readonly redis: Redis;
  readonly test: TestRedis;
  /** Opens a run; its tag is made of its key. */
  open(run: RunKey): Promise<void>;
  /** Adds a chunk of `rows` rows to a run and returns its id. */
  add(rows: number, given?: ChunkGiven): Promise<ChunkId>;
  admit(chunk: ChunkId, given?: Partial<PackLimits>, isFillEnough?: boolean): Promise<Admission>;
  /** Admits a chunk that must fit, and names its archive. */
  pack(chunk: ChunkId, given?: Partial<PackLimits>): Promise<ArchiveId>;
  /** Ends the ingest of a run with the counts that it has. */
  flush(run: RunKey): Promise<void>;
  /** Shares and closes what is open, and seals it. */
  seal(run: RunKey, priority?: Priority): Promise<readonly ArchiveId[]>;
  sealOne(archive: ArchiveId): Promise<void>;
  /** Prepares, arms and sends the next archive. */
  send(owner?: string): Promise<{ readonly intent: IntentId; readonly archive: ArchiveId }>;
  /** Sends and accepts the next archive. */
  accept(batch: string, owner?: string): Promise<{ readonly intent: IntentId; readonly archive: ArchiveId }>;
  /** Settles an ended archive, every row of it succeeded with `tokens` tokens and as many micro-USD, and exports it. */
  finish(archive: ArchiveId, tokens: number): Promise<void>;
  connect(): Promise<Ledger>;
  close(): Promise<void>;
}

export const runA = 'run-a' as RunKey;
export const runB = 'run-b' as RunKey;

/** Ten hex characters for a run, as an installation would give it. */
export function tagOf(run: string): string {
  return Buffer.from(run).toString('hex').padEnd(10, '0').slice(-10);
}

export async function ledgerForTest(): Promise<LedgerWorld> {
  const test = redisForTest();
  const redis = test.connect();
  const keys = ledgerKeys(test.tag.slice(1, -1));
  const ledger = openRedisLedger(redis, keys);
  const rowsByLane = new Map<string, number>();

  const world: LedgerWorld = {
    ledger, keys, redis, test,
    async open(run) {
      await ledger.openRun({ run, tag: tagOf(run), dt: '2026-11-21', source: 'docs.jsonl', cutSha256: 'cut', nowMs });
    },
    async add(rows, given = {}) {
      const run = given.run ?? runA;
      const segment = given.segment ?? normal;
      const client = given.client ?? 'etl';
      const lane = `${run}|${segment}|${client}`;
      const previousRow = rowsByLane.get(lane) ?? 0;
      const footer = footerOf(rows, previousRow + 1, { ...given, run, segment, client });
      await ledger.addChunk({ footer, spoolKey: `spool/${footer.chunk}`, previousRow, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs });
      rowsByLane.set(lane, footer.lastRow);
      return footer.chunk;
    },
    admit: async (chunk, given = {}, isFillEnough = false) => await ledger.admit(chunk, { ...limits, ...given }, isFillEnough, nowMs),
    async pack(chunk, given = {}) {
      const admission = await world.admit(chunk, given);
      if (admission.kind !== 'packed') throw new Error(`${chunk} was not packed but ${admission.kind}`);
      return admission.archive;
    },
    async flush(run) {
      const found = await ledger.readRun(run);
      await ledger.flushRun({ run, accepted: found?.accepted ?? 0, rejected: 0, high: new Map(), input, nowMs });
    },
    async seal(run, priority = 'normal') {
      const archives = await ledger.flushArchives(run, priority, limits, nowMs);
      for (const archive of archives) await world.sealOne(archive);
      return archives;
    },
    sealOne: async (archive) => void (await ledger.sealArchive({ archive, bodyBytes: 1_000, bodySha256: 'cd', nowMs })),
    async send(owner = 'me') {
      const prepared = await ledger.prepareIntent({ account, side: 'real', owner, leaseMs: 1_000, queueRowsMax: 100_000, nowMs });
      if (prepared.kind !== 'prepared') throw new Error(`nothing was prepared: ${prepared.kind}`);
      const isSent = (await ledger.armIntent(prepared.intent, owner, nowMs, nowMs)) && (await ledger.sendIntent(prepared.intent, owner, nowMs));
      if (!isSent) throw new Error(`${prepared.intent} was not sent`);
      return prepared;
    },
    async accept(batch, owner = 'me') {
      const sent = await world.send(owner);
      await ledger.acceptIntent({ intent: sent.intent, batch: batch as BatchId, pollAtMs: nowMs, nowMs });
      return sent;
    },
    async finish(archive, tokens) {
      await ledger.endArchive(archive, undefined, nowMs);
      await ledger.settle(await settlementOf(ledger, archive, tokens));
      await ledger.exportArchive(archive, { archive }, nowMs);
    },
    connect: async () => await Promise.resolve(openRedisLedger(test.connect(), keys)),
    close: async () => await test.close(),
  };
  await world.open(runA);
  return world;
}

/** The footer of a chunk of `rows` rows that begins at a source row. */
export function footerOf(rows: number, firstRow: number, given: ChunkGiven = {}): ChunkFooter {
  const run = given.run ?? runA;
  const segment = given.segment ?? normal;
  const client = given.client ?? 'etl';
  return {
    v: 1, chunk: `${tagOf(run)}.${segment}.${client}.${firstRow}-${firstRow + rows - 1}` as ChunkId, run, segment, client, attempt: given.attempt ?? 1, source: 'docs.jsonl', rows,
    firstRow, lastRow: firstRow + rows - 1, paramsBytes: rows * perRow.paramsBytes, indexBytes: rows * 200, tokensExpected: rows * perRow.tokensExpected,
    tokensMax: rows * perRow.tokensMax, microUsdMax: rows * perRow.microUsdMax,
  };
}

/** The two parts of a chunk that covers rows `from..to`, cut after `leading` rows. */
export function partsAfter(leading: number, from: number, to: number): [ChunkPart, ChunkPart] {
  const part = (first: number, last: number): ChunkPart => {
    const rows = last - first + 1;
    return { from: first, to: last, paramsBytes: rows * perRow.paramsBytes, tokensExpected: rows * perRow.tokensExpected, tokensMax: rows * perRow.tokensMax, microUsdMax: rows * perRow.microUsdMax };
  };
  return [part(from, from + leading - 1), part(from + leading, to)];
}

/** What one chunk consumed: all of its rows succeeded, with `tokens` input tokens and as many micro-USD altogether. */
export function outcomeOf(chunk: ChunkId, rows: number, tokens: number, given: Partial<ChunkOutcome> = {}): ChunkOutcome {
  return { chunk, succeeded: rows, retried: 0, deadLettered: 0, usage: { ...noUsage, inputTokens: tokens }, microUsd: tokens, standardMicroUsd: 2 * tokens, overBound: 0, ...given };
}

/** The settlement of an archive whose every chunk consumed `tokens`. */
export async function settlementOf(ledger: Ledger, archive: ArchiveId, tokens: number): Promise<SettleRequest> {
  const chunks = await ledger.readChunks(await ledger.readArchiveChunks(archive));
  return { archive, chunks: chunks.map((chunk) => outcomeOf(chunk.chunk, chunk.rows, tokens)), retries: [], nowMs };
}

/** An account's four amounts, `[tokens reserved, tokens spent, micro-USD reserved, micro-USD spent]`; zeros where it is unknown. */
export async function amounts(ledger: Ledger, target: string, windowId = 'total'): Promise<readonly [number, number, number, number]> {
  const found = (await ledger.listAccounts()).find((each) => each.target === target && each.windowId === windowId);
  return [found?.tokensReserved ?? 0, found?.tokensSpent ?? 0, found?.microUsdReserved ?? 0, found?.microUsdSpent ?? 0];
}

/** Sends a call twice, as a client does whose first reply was lost, and returns both answers. */
export async function twice<Answer>(call: () => Promise<Answer>): Promise<[Answer, Answer]> {
  return [await call(), await call()];
}

/** Everything that the ledger holds, for comparing before and after: all keys but the ones whose values are only times. */
export async function snapshot(world: LedgerWorld): Promise<Record<string, unknown>> {
  const { redis, keys } = world;
  const found: Record<string, unknown> = {};
  const names = (await redis.keys(`${keys.prefix}*`)).sort();
  for (const name of names) {
    const type = await redis.type(name);
    if (type === 'hash') found[name] = Object.entries(await redis.hgetall(name)).sort(([a], [b]) => (a < b ? -1 : 1));
    else if (type === 'set') found[name] = (await redis.smembers(name)).sort();
    else if (type === 'zset') found[name] = await redis.zrange(name, 0, '-1', 'WITHSCORES');
    else if (type === 'list') found[name] = await redis.lrange(name, 0, -1);
    else if (type === 'stream') found[name] = (await redis.xrange(name, '-', '+')).map(([id]) => id);
    else found[name] = await redis.get(name);
  }
  return found;
}
