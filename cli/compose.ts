/**
 * The composition root: the only place that says which adapter stands behind which port. Start order is listed once,
 * stop order is its reverse; senders close before what they send to.
 */
import { join } from 'node:path';
import { Redis, type RedisOptions } from 'ioredis';
import type { Config } from '../config/config.ts';
import type { PriceTable } from '../config/models.ts';
import { pricesInForce } from '../config/prices.ts';
import { openQueues } from '../config/queues.ts';
import type { ExporterSettings } from '../exporters/exporter.ts';
import { startRelay } from '../exporters/relay.ts';
import { openSinks } from '../exporters/sinks.ts';
import { pressFor } from '../exporters/press.ts';
import { makeExporter, makeGatherer } from '../exporters/stages.ts';
import { openHome, RedisUnavailable, type Home, type RedisAddress } from '../local/home.ts';
import { errnoOf, PlimsollError } from '../segments/errors.ts';
import { dateOf } from '../segments/lake.ts';
import { openClock } from '../segments/ledger/clock.ts';
import { ledgerKeys, type LedgerKeys } from '../segments/ledger/keys.ts';
import type { Ledger, PackLimits } from '../segments/ledger/ledger.ts';
import type { LedgerGuard } from '../segments/ledger/guard.ts';
import { openRedisLedger } from '../segments/ledger/redis.ts';
import { entryOverheadBytes, envelopeBytes } from '../segments/pack.ts';
import { SettledResults } from '../segments/settled-results.ts';
import type { Log } from '../segments/stage.ts';
import type { Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';
import { makeAdopter } from '../workers/adopter.ts';
import type { BatchSearch, Claude } from '../workers/claude.ts';
import { OpenCalls } from '../workers/fence.ts';
import { makePacker } from '../workers/packer.ts';
import { makeSealer } from '../workers/sealer.ts';
import { openSegmentQueues } from '../workers/segment-queues.ts';
import { makeSettler } from '../workers/settler.ts';
import { makeSubmitter } from '../workers/submitter.ts';
import { makeTracker } from '../workers/tracker.ts';
import { startWorker, type Worker } from '../workers/worker.ts';
import { openForeseer } from './foresee.ts';
import { watchLedger } from './guard.ts';
import { installationId, lakeOfRuns, proveTogether } from './identity.ts';
import { proveCreateOnly } from './lake-proof.ts';
import { proveFit } from './redis-proof.ts';
import { connectionName, type Role } from './peers.ts';
import { clearScratch } from './scratch.ts';
import { openStore } from './store.ts';
import { applyTiers } from './tiers.ts';
import { isOwnerGone, ownerName } from './owner.ts';

/** What every verb that touches the ledger needs. */
export interface Installation {
  readonly config: Config;
  readonly home: Home;
  readonly ledger: Ledger;
  readonly store: Store;
  readonly wake: Wake;
  readonly keys: LedgerKeys;
  /** Unlike any other lake's; part of every run's tag. */
  readonly id: string;
  readonly prices: PriceTable;
  readonly scratchDirectory: string;
  readonly now: () => number;
  readonly log: Log;
  /** A connection of its own, named after what it is for; closed with the installation. */
  connect(role?: Role): Redis;
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly config: Config;
  /** false: nothing is installed to get a Redis. */
  readonly install: boolean;
  readonly announce: (line: string) => void;
  readonly log: Log;
}

/** Opens home, Redis, ledger and lake. @throws PlimsollError `redis_unavailable`, `redis_unfit`, `lake_unavailable` */
export async function openInstallation(options: OpenOptions): Promise<Installation> {
  const { config, log } = options;
  const closers: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const home = await openHomeOf(options);
    closers.push(async () => await home.close());
    const connections = new Set<Redis>();
    closers.push(() => connections.forEach((redis) => redis.disconnect()));
    const connect = (role: Role = 'view'): Redis => {
      const redis = new Redis({ ...connectionOf(home.redis), connectionName: connectionName(config.redis.tag, role) });
      redis.on('error', (error) => log({ level: 'debug', event: 'redis.fault', subject: 'connection', detail: { error: error.name } }));
      connections.add(redis);
      // A listener makes a connection for every object: one that has ended is not kept for as long as the process lives.
      redis.once('end', () => connections.delete(redis));
      return redis;
    };
    const redis = connect();
    await proveFit(redis);
    const clock = await openClock(redis);
    closers.push(() => clock.stop());
    const store = await openStore(config, Date.now());
    closers.push(async () => await store.close());
    const keys = ledgerKeys(config.redis.tag);
    const ledger = openRedisLedger(redis, keys);
    const wake = openQueues(connect(), keys, log);
    closers.push(async () => await wake.close());
    await applySettings(config, ledger, clock.now());
    const id = await installationId(store, config, async () => await lakeOfRuns(redis, keys, ledger));
    await proveTogether(ledger, id, config);
    const scratchDirectory = join(config.home, 'scratch');
    await clearScratch(scratchDirectory, Date.now());
    return {
      config, home, ledger, store, wake, keys, log, connect, close, id,
      prices: pricesInForce(config.prices.file),
      scratchDirectory,
      now: () => clock.now(),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Brings the ledger in line with the configuration. One that is behind or being rebuilt is left alone: its rebuild does the same. */
async function applySettings(config: Config, ledger: Ledger, nowMs: number): Promise<void> {
  try {
    await applyTiers(config, ledger, nowMs);
    for (const budget of config.budgets) await ledger.setBudget({ ...budget }, 'config', nowMs);
  } catch (error) {
    if (!(error instanceof PlimsollError) || error.code !== 'ledger_behind') throw error;
  }
}

/** How long the end of a process may wait for its events to be told; another worker, or the next one, tells the rest. */
const relayDrainMs = 5_000;
/** Shorter than the drain: a process that ends outlasts the claim of one that was killed, and tells what that one left. */
const relayLeaseMaxMs = 4_000;

export interface Stages {
  readonly worker: Worker;
  readonly guard: LedgerGuard;
  close(graceMs: number): Promise<void>;
}

/**
 * Starts all stages in this process. `onAccountFault` is told when nothing can be posted until a person acts.
 * @throws PlimsollError `ledger_behind`, `lake_unfit`
 */
export async function startStages(installation: Installation, claude: Claude & BatchSearch, onAccountFault: (fault: PlimsollError) => void): Promise<Stages> {
  const { config, ledger, store, wake, keys, prices, scratchDirectory, now, log } = installation;
  const owner = ownerName();
  const calls = new OpenCalls();
  await proveCreateOnly(store, dateOf(now()));
  const { guard, stop } = await watchLedger(installation, owner, onAccountFault);
  const queues = openSegmentQueues(installation.connect('stages'), keys.queuePrefix);
  const shared = { ledger, store, wake, now, log, guard };
  const exporting = exporterSettings(installation, config);
  // The threads of an export begin while its archive is still judged.
  const settled = new SettledResults(pressFor);
  const foreseer = openForeseer({ ledger, store, now, log });
  const sinks = await openSinks(config.events.sinks, { sqs: config.sqs, webhookSecret: config.events.webhookSecret, timeoutMs: config.events.timeoutMs, now });
  const worker = startWorker({
    handlers: [
      makePacker({ ...shared, queues, limits: packLimits(config) }),
      makeSealer({ ...shared, lingerMs: config.archive.lingerMs }),
      makeSubmitter({
        ...shared, claude, owner, calls, onAccountFault, leaseMs: config.submit.leaseMs, replyTimeoutMs: config.submit.timeoutMs,
        queueRowsMax: config.submit.queueRows, patienceMs: config.submit.patienceMs, primerWaitMs: config.cache.primerWaitMs, pollMinMs: config.poll.minMs,
      }),
      makeAdopter({
        ...shared, claude, fence: { owner, calls, isOwnerGone }, landingWaitMs: config.submit.landingWaitMs, unprovable: config.submit.unprovable, orphansEveryMs: config.sweep.workspaceMs,
        pollMinMs: config.poll.minMs, priceOf: priceOf(prices),
      }),
      makeTracker({ ...shared, claude, pollMinMs: config.poll.minMs, pollMaxMs: config.poll.maxMs }),
      makeSettler({
        ...shared, claude, onAccountFault, scratchDirectory, settled, attemptsMax: config.retry.attemptsMax, accountRoundsMax: config.retry.accountRounds,
        accountRestMs: config.retry.accountRestMs, chunkBytesMax: config.chunk.bytesMax,
        chunkRowsMax: config.chunk.rowsMax, priceOf: priceOf(prices), priceVersion: prices.version,
      }),
      makeExporter({ ...shared, settings: exporting, settled, onSpent: foreseer.onSpent }),
      makeGatherer({ ...shared, settings: exporting, onSpent: foreseer.onSpent }),
    ],
    ledger, wake, owner, now, log,
    redis: installation.connect('stages'),
    queuePrefix: keys.queuePrefix,
    claimLeaseMs: config.sweep.leaseMs,
    sweepIntervalMs: config.sweep.intervalMs,
    onBehind: onAccountFault,
  });
  const relay = startRelay({ sinks, ledger, tag: config.redis.tag, owner, leaseMs: Math.min(config.sweep.leaseMs, relayLeaseMaxMs), now, log });
  return {
    worker,
    guard,
    async close(graceMs) {
      stop();
      await worker.drain(graceMs);
      await foreseer.stop();
      // The stages have said their last; a run that just ended here is told before the process leaves.
      await relay.drain(Math.min(graceMs, relayDrainMs));
      await queues.close();
    },
  };
}

/** Opens the home of a configuration. @throws PlimsollError `redis_unavailable` */
export async function openHomeOf({ config, install, announce }: OpenOptions): Promise<Home> {
  try {
    return await openHome({ directory: config.home, searchPath: config.searchPath, install, announce, ...(config.redis.url ? { redisUrl: config.redis.url } : {}) });
  } catch (error) {
    if (error instanceof RedisUnavailable) throw new PlimsollError('redis_unavailable', { message: error.message, where: config.redis.url ? 'REDIS_URL' : config.home, hint: error.hint, cause: error });
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    throw new PlimsollError('home_unavailable', {
      message: `cannot open the home ${config.home}: ${errno}`,
      where: config.origins.get('home') === 'default' ? 'PLIMSOLL_HOME is not set' : (config.origins.get('home') ?? 'home'),
      hint: 'Set PLIMSOLL_HOME to a folder that this user may create and write to, on a disk with room.',
      cause: error,
    });
  }
}

/** How a Redis is connected to. */
export function connectionOf(address: RedisAddress): RedisOptions & { replyMapping?: never } {
  // BullMQ needs null here: its blocking calls wait for a Redis that comes back.
  const common = { maxRetriesPerRequest: null } as const;
  if (address.kind === 'socket') return { ...common, path: address.path };
  // REDIS_URL may also name a unix socket.
  if (address.url.startsWith('/')) return { ...common, path: address.url };
  const url = new URL(address.url);
  return {
    ...common,
    host: url.hostname,
    port: Number(url.port || 6379),
    ...(url.username ? { username: decodeURIComponent(url.username) } : {}),
    ...(url.password ? { password: decodeURIComponent(url.password) } : {}),
    ...(url.pathname.length > 1 ? { db: Number(url.pathname.slice(1)) } : {}),
    ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
  };
}

/** How files are cut and compressed; a replay must use the same. */
export function exporterSettings({ scratchDirectory }: Pick<Installation, 'scratchDirectory'>, config: Config): ExporterSettings {
  return { partBytesMax: config.export.partBytes, gzipLevel: config.export.gzipLevel, scratchDirectory, auditTopics: config.audit.topics };
}

export function packLimits(config: Config): PackLimits {
  const { bytesMax, rowsMax, fullPermille, lingerMs } = config.archive;
  return { bytesMax, rowsMax, fullPermille, lingerMs, entryOverheadBytes, envelopeBytes };
}

function priceOf(prices: PriceTable) {
  return (model: string) => prices.find(model);
}
