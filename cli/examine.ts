/**
 * The doctor's examination: it opens what a worker opens, one thing after the other, and goes on where something is
 * missing, so that one look tells all that is wrong.
 */
import { statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Redis } from 'ioredis';
import type { Config } from '../config/config.ts';
import { pricesInForce } from '../config/prices.ts';
import type { Home } from '../local/home.ts';
import { PlimsollError } from '../segments/errors.ts';
import { dateOf } from '../segments/lake.ts';
import { findGap } from '../segments/ledger/guard.ts';
import { ledgerKeys, type LedgerKeys } from '../segments/ledger/keys.ts';
import { openRedisLedger } from '../segments/ledger/redis.ts';
import { openStanding } from '../segments/ledger/standing.ts';
import type { ChunkRecord, Ledger } from '../segments/ledger/ledger.ts';
import { replyCodeOf } from '../segments/ledger/refusal.ts';
import { readSpoolRows } from '../segments/store/spool.ts';
import type { Store } from '../segments/store/store.ts';
import { stages } from '../segments/wake.ts';
import { connectionOf, openHomeOf } from './compose.ts';
import { connectClaude } from './provider.ts';
import { judgeClock, judgeDisk, judgeModels, judgeNode, judgePrices, judgeRedis, judgeWorkers, type Finding } from './fitness.ts';
import { proveCreateOnly } from './lake-proof.ts';
import { connectionName, listPeers } from './peers.ts';
import { openStore } from './store.ts';

export interface ExamineOptions {
  readonly config: Config;
  readonly install: boolean;
  readonly isSimulated: boolean;
  readonly announce: (line: string) => void;
}

export interface Examination {
  readonly findings: readonly Finding[];
  readonly areCredentialsRefused: boolean;
}

/** A server or a provider that is silent for longer is taken for absent. */
const patienceMs = 15_000;
/** Segments whose oldest waiting chunk is looked into for its models. */
const segmentsLooked = 20;
/** Something that has been due for longer than any sweep takes is not being handled. */
const overdueMs = 60_000;

/** Looks at everything; never throws for what it finds. */
export async function examine(options: ExamineOptions): Promise<Examination> {
  const { config } = options;
  const findings: Finding[] = [judgeNode(process.version)];
  const closers: (() => Promise<void> | void)[] = [];
  let areCredentialsRefused = false;
  try {
    const home = await attempt(findings, 'redis.reachable', async () => await openHomeOf({ ...options, log: () => undefined }));
    if (home) closers.push(async () => await home.close());
    const redis = home && (await attempt(findings, 'redis.reachable', async () => await connect(home, config)));
    if (redis) {
      closers.push(() => redis.disconnect());
      findings.push({ check: 'redis.reachable', verdict: 'ok', detail: home.redis.kind === 'socket' ? home.redis.path : 'the named Redis answers' });
      await look(findings, 'redis.settings', async () => judgeRedis(await redis.info(), await fsyncOf(redis)));
      await look(findings, 'clock.redis', async () => [judgeClock('clock.redis', 'Redis', await redisOffset(redis))]);
    }
    const store = await attempt(findings, 'lake.create_only', async () => await openStore(config, Date.now()));
    if (store) {
      closers.push(async () => await store.close());
      findings.push(...(await lookAtLake(store)));
    }
    findings.push(...(await lookAtDisks(config)));
    const models = new Set(config.defaults.model === undefined ? [] : [config.defaults.model]);
    if (redis && store) {
      const keys = ledgerKeys(config.redis.tag);
      const ledger = openRedisLedger(redis, keys);
      await look(findings, 'ledger.current', async () => [await lookAtLedger(redis, keys, ledger, store)]);
      await look(findings, 'workers', async () => [judgeWorkers(await waitingIn(redis, keys, ledger), (await listPeers(redis, config.redis.tag))?.filter((peer) => peer.role === 'stages').length)]);
      for (const model of (await attempt(findings, 'prices', async () => await waitingModels(ledger, store))) ?? []) models.add(model);
    }
    if (home) areCredentialsRefused = await lookAtProvider(findings, options, home, redis);
    const prices = pricesInForce(config.prices.file);
    findings.push(judgePrices(prices, Date.now()), ...judgeModels([...models].sort(), prices, Date.now()));
  } finally {
    for (const closer of closers.reverse()) await closer();
  }
  return { findings, areCredentialsRefused };
}

/** Does something, or notes why it could not be done. */
async function attempt<Result>(findings: Finding[], check: string, act: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await act();
  } catch (error) {
    findings.push(failureOf(check, error));
    return undefined;
  }
}

/** Adds what a look finds, or why it could not be taken. */
async function look(findings: Finding[], check: string, act: () => Promise<readonly Finding[]>): Promise<void> {
  findings.push(...((await attempt(findings, check, act)) ?? []));
}

function failureOf(check: string, error: unknown): Finding {
  // A server that has users may let ours do less than it needs.
  if (replyCodeOf(error) === 'NOPERM') return { check, verdict: 'fail', detail: 'the user of REDIS_URL may not ask this', fix: 'ACL LOG on the server names the command; allow it with ACL SETUSER.' };
  if (!(error instanceof PlimsollError)) return { check, verdict: 'fail', detail: error instanceof Error ? `${error.name}: ${error.message}` : 'an unknown fault', fix: 'This is a defect; report it.' };
  const detail = `${error.message}${error.where === undefined ? '' : ` (${error.where})`}`;
  return { check, verdict: 'fail', detail, ...(error.hint === undefined ? {} : { fix: error.hint }) };
}

async function connect(home: Home, config: Config): Promise<Redis> {
  const redis = new Redis({ ...connectionOf(home.redis), connectionName: connectionName(config.redis.tag, 'view'), maxRetriesPerRequest: 1, connectTimeout: patienceMs, retryStrategy: () => null, lazyConnect: true });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    return redis;
  } catch (cause) {
    redis.disconnect();
    throw new PlimsollError('redis_unavailable', { message: 'Redis does not answer', where: 'REDIS_URL', hint: 'Start it, or unset REDIS_URL to use one in the home.', cause });
  }
}

/** A managed Redis may refuse CONFIG. */
async function fsyncOf(redis: Redis): Promise<string | undefined> {
  try {
    const reply: unknown = await redis.config('GET', 'appendfsync');
    return Array.isArray(reply) ? String(reply[1]) : undefined;
  } catch {
    return undefined;
  }
}

async function redisOffset(redis: Redis): Promise<number> {
  const before = Date.now();
  const [seconds, microseconds] = await redis.time();
  return Math.round(Number(seconds) * 1_000 + Number(microseconds) / 1_000 - (before + Date.now()) / 2);
}

async function lookAtLake(store: Store): Promise<readonly Finding[]> {
  try {
    const made = await proveCreateOnly(store, dateOf(Date.now()));
    return [{ check: 'lake.create_only', verdict: 'ok', detail: `${store.uri}: an object was ${made === 'created' ? 'created' : 'found'}, overwriting it was refused, it was read back` }];
  } catch (error) {
    return [failureOf('lake.create_only', error)];
  }
}

async function lookAtDisks(config: Config): Promise<readonly Finding[]> {
  const places: readonly (readonly [string, string])[] = [['disk.scratch', join(config.home, 'scratch')], ...(config.lake.startsWith('s3://') ? [] : [['disk.lake', resolve(config.lake)] as const])];
  return await Promise.all(places.map(async ([check, path]) => {
    const { bavail, bsize } = await statfsOf(path);
    return judgeDisk(check, path, bavail * bsize);
  }));
}

/** The file system of the nearest folder that exists. */
async function statfsOf(path: string): Promise<{ readonly bavail: number; readonly bsize: number }> {
  try {
    return await statfs(path);
  } catch (error) {
    if (dirname(path) === path) throw error;
    return await statfsOf(dirname(path));
  }
}

async function lookAtLedger(redis: Redis, keys: LedgerKeys, ledger: Ledger, store: Store): Promise<Finding> {
  const check = 'ledger.current';
  try {
    const standing = openStanding(redis, keys);
    const gap = await findGap({ standing, ledger, store });
    const { generation, epoch } = await standing.read();
    if (!gap) return { check, verdict: 'ok', detail: `it knows what the lake knows; generation ${generation}, rebuilt ${epoch} times` };
    return { check, verdict: 'fail', detail: `the ledger in Redis is behind the lake: ${gap.reason} (${gap.where})`, fix: 'Nothing is posted. Stop all producers and workers, then run: plimsoll recover' };
  } catch (error) {
    return failureOf(check, error);
  }
}

/** What has been due for long, by stage, and what waits for the packer. */
async function waitingIn(redis: Redis, keys: LedgerKeys, ledger: Ledger): Promise<Readonly<Record<string, number>>> {
  const waiting: Record<string, number> = {};
  for (const stage of stages) waiting[stage] = await redis.zcount(keys.of(`due:${stage}`), '-inf', Date.now() - overdueMs);
  const queued = (await ledger.listSegments(Date.now())).reduce((sum, segment) => sum + segment.chunksQueued, 0);
  return { ...waiting, pack: (waiting['pack'] ?? 0) + queued };
}

/** The models of the oldest chunk that waits in each segment. */
async function waitingModels(ledger: Ledger, store: Store): Promise<ReadonlySet<string>> {
  const models = new Set<string>();
  for (const { segment } of (await ledger.listSegments(Date.now())).filter((each) => each.chunksQueued > 0).slice(0, segmentsLooked)) {
    const oldest = await ledger.nextQueued(segment);
    const chunk: ChunkRecord | undefined = oldest && (await ledger.readChunk(oldest.chunk));
    if (!chunk) continue;
    try {
      for (const row of (await readSpoolRows(store, chunk)).rows) models.add(row.model);
    } catch {
      // A chunk that is gone is the ledger's line to tell, not this one's.
    }
  }
  return models;
}

/** Asks the provider once; true when it refuses the credentials. */
async function lookAtProvider(findings: Finding[], options: ExamineOptions, home: Home, redis: Redis | undefined): Promise<boolean> {
  const { config, isSimulated, announce } = options;
  const id = redis ? ((await redis.get(ledgerKeys(config.redis.tag).of('lake'))) ?? 'unknown') : 'unknown';
  try {
    const claude = await connectClaude({ config, home, id }, { isSimulated, announce });
    try {
      const dateMs = await claude.probe(AbortSignal.timeout(patienceMs));
      findings.push({ check: 'provider.key', verdict: 'ok', detail: `${isSimulated ? 'the simulator' : config.anthropic.baseUrl} accepts the key` });
      // The Date header counts whole seconds, so half of one is the best guess.
      findings.push(judgeClock('clock.provider', 'the provider', Math.round(dateMs + 500 - Date.now())));
    } finally {
      await claude.close();
    }
    return false;
  } catch (error) {
    if (error instanceof PlimsollError && error.code === 'credentials_missing') {
      findings.push({ check: 'provider.key', verdict: 'warning', detail: 'no API key is set: only --simulate works', fix: 'Set ANTHROPIC_API_KEY.' });
      return false;
    }
    findings.push(failureOf('provider.key', error));
    return error instanceof PlimsollError && error.code === 'credentials_refused';
  }
}
