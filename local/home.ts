/**
 * The local home of Plimsoll: one folder that holds all local state, and the servers that its processes share. This
 * file owns coming and going; `redis.ts` says which Redis, `server.ts` how a server is shared, `lock.ts` whose turn it is.
 *
 * ```
 * <home>/redis/      data (AOF), socket and log of the private Redis
 * <home>/servers/    one record per running server: pid, start, address, id; and what it printed
 * <home>/processes/  one record per process that has the home open
 * <home>/lock/       who may start and stop right now
 * <home>/cache/      what was downloaded      <home>/lake/  the object store, when it is a folder
 * ```
 *
 * - H1 Whatever is opened or closed at the same instant, a home has at most one Redis.
 * - H2 A server lives while any process is in the home, whoever started it; the last to leave stops it.
 * - H3 A killed process keeps nobody out and nothing running for ever: the next one adopts what it left. (Killed in
 *   another container that shares the folder, its death cannot be seen from here; then its server is left running.)
 * - H4 A Redis that the operator named is used and never started, configured or stopped.
 */
import { mkdir } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { withLock } from './lock.ts';
import { enterHome, leaveHome, listOccupants, type Occupant } from './occupancy.ts';
import { joinPrivateRedis } from './redis.ts';
import { confirmNamedRedis } from './redis-greeting.ts';
import { stopServers } from './server.ts';
import { forgetSocketFolder } from './socket-folder.ts';

export { RedisUnavailable } from './unavailable.ts';

/** Everything a home needs to know; the environment is read by the caller. */
export interface HomeOptions {
  /** Absolute path of PLIMSOLL_HOME; created when missing. */
  readonly directory: string;
  /** REDIS_URL if set: then nothing is started. */
  readonly redisUrl?: string;
  /** The value of PATH, on which a server and the package manager are looked for. */
  readonly searchPath: string;
  /** false (`--no-install`): the package manager is not used. */
  readonly install: boolean;
  /** One-line messages for the operator. */
  readonly announce: (line: string) => void;
}

/** Where Redis answers. */
export type RedisAddress =
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'url'; readonly url: string };

/** An open home. */
export interface Home {
  readonly directory: string;
  readonly redis: RedisAddress;
  /** Leaves the home; the last process to leave stops what the home started. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens the home of this directory for this process: enters it, and finds, adopts or starts its Redis.
 *
 * Raises `RedisUnavailable`, and leaves the home as it was. The same process may open a home several times; each
 * opening counts and is closed on its own.
 */
export async function openHome(options: HomeOptions): Promise<Home> {
  if (!isAbsolute(options.directory)) {
    throw new Error(`The home directory must be an absolute path, not "${options.directory}".`);
  }
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  for (const folder of ['redis', 'cache', 'lake']) {
    await mkdir(join(options.directory, folder), { recursive: true, mode: 0o700 });
  }
  return withLock(options.directory, options, async () => {
    const occupant = await enterHome(options.directory);
    try {
      return new OpenHome(options, occupant, await joinRedis(options));
    } catch (error) {
      // What went wrong first tells the operator more than what then goes wrong in tidying up.
      await departure(options.directory, occupant).catch(() => undefined);
      throw error;
    }
  });
}

class OpenHome implements Home {
  readonly directory: string;
  readonly redis: RedisAddress;
  readonly #options: HomeOptions;
  readonly #occupant: Occupant;
  #closing: Promise<void> | undefined;

  constructor(options: HomeOptions, occupant: Occupant, redis: RedisAddress) {
    this.directory = options.directory;
    this.redis = redis;
    this.#options = options;
    this.#occupant = occupant;
  }

  close(): Promise<void> {
    this.#closing ??= withLock(this.directory, this.#options, () => departure(this.directory, this.#occupant));
    return this.#closing;
  }
}

async function joinRedis(options: HomeOptions): Promise<RedisAddress> {
  if (options.redisUrl === undefined) return { kind: 'socket', path: await joinPrivateRedis(options) };
  await confirmNamedRedis(options.redisUrl);
  return { kind: 'url', url: options.redisUrl };
}

/** Under the lock, so that nobody can enter between the count and the stop. */
async function departure(directory: string, occupant: Occupant): Promise<void> {
  await leaveHome(occupant);
  if ((await listOccupants(directory)).length > 0) return;
  await stopServers(directory);
  await forgetSocketFolder(directory);
}
