import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Launch } from './launch.ts';
import { pollUntil } from './poll.ts';
import { judgeLiveness } from './process-identity.ts';
import { serverEnvironment } from './install.ts';
import { findRedisBinary, type SearchOptions } from './redis-binary.ts';
import { greetRedis } from './redis-greeting.ts';
import { joinServer, ServerFailure, type ServerKind } from './server.ts';
import { findSocketPath } from './socket-folder.ts';
import { RedisUnavailable } from './unavailable.ts';

/**
 * Gives the path of the socket on which the home's own Redis answers, starting it if it does not run. Call it under the
 * lock of the home.
 *
 * Raises `RedisUnavailable`: `redis_not_found` (no binary), `redis_start_failed` (it came up dead or stays silent),
 * `redis_foreign` (another server answers on our socket), `home_locked` (the home is in use by another machine).
 */
export async function joinPrivateRedis(options: SearchOptions): Promise<string> {
  const folder = join(options.directory, 'redis');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // The mode of the folder is what keeps other users of this machine away from the socket.
  await chmod(folder, 0o700);
  const socketPath = await findSocketPath(options.directory);
  const kind: ServerKind = {
    name: 'redis',
    logPath: join(folder, 'redis.log'),
    launch: async () => {
      await refuseForeignServer(socketPath);
      const binary = await findRedisBinary(options);
      const env = serverEnvironment(binary);
      const launch: Launch = { command: binary.command, args: serverArguments(folder, socketPath), env };
      return launch;
    },
    // Another container shows its server's pid under another number; then the run id alone must match.
    greet: (process) => greetRedis(socketPath, judgeLiveness(process) === 'hidden' ? undefined : process.pid),
  };
  try {
    return (await joinServer(options.directory, kind)).address;
  } catch (error) {
    if (error instanceof ServerFailure) throw asRedisUnavailable(error);
    throw error;
  }
}

/**
 * Every setting that the product depends on, spelled out, so that no other default can come in.
 *
 * `appendfsync always`: what the ledger has acknowledged survives a power cut. `noeviction`: a full Redis must refuse,
 * never forget; BullMQ allows no other policy (infrastructure.md 4). No RDB snapshots: the AOF is the one truth, and a
 * fork per snapshot would double the memory. No TCP port: nobody else can connect, no port can clash.
 */
export function serverArguments(folder: string, socketPath: string): string[] {
  const settings: readonly (readonly [string, string])[] = [
    ['port', '0'],
    ['unixsocket', socketPath],
    ['unixsocketperm', '700'],
    ['dir', folder],
    ['appendonly', 'yes'],
    ['appendfsync', 'always'],
    ['save', ''],
    ['maxmemory-policy', 'noeviction'],
    ['daemonize', 'no'],
    ['supervised', 'no'],
    ['logfile', join(folder, 'redis.log')],
  ];
  return settings.flatMap(([name, value]) => [`--${name}`, value]);
}

/**
 * Our own server is known to be gone. Whoever listens on its socket now was not started by this home, may be using the
 * same files, and would lose its socket to ours: a starting Redis removes what is there. A moment of grace covers the
 * fork of a killed Redis that has not yet closed what it inherited.
 */
async function refuseForeignServer(socketPath: string): Promise<void> {
  const isFree = await pollUntil(
    async () => ((await greetRedis(socketPath, undefined)).kind === 'absent' ? true : undefined),
    { limitMs: 1_000, firstMs: 20, longestMs: 200 },
  );
  if (isFree === true) return;
  const message = `A server that this home did not start listens on ${socketPath}.`;
  throw new ServerFailure('server_foreign', message, 'Stop it, or choose another PLIMSOLL_HOME.');
}

function asRedisUnavailable(failure: ServerFailure): RedisUnavailable {
  switch (failure.code) {
    case 'server_start_failed':
      return new RedisUnavailable('redis_start_failed', failure.message, failure.hint);
    case 'server_foreign':
      return new RedisUnavailable('redis_foreign', failure.message, failure.hint);
    case 'server_elsewhere':
      return new RedisUnavailable('home_locked', failure.message, failure.hint);
  }
}
