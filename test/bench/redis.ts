/** A Redis of the benchmark's own, in a home below a scratch folder, and what it holds. */
import { Redis } from 'ioredis';
import { openHome, type Home } from '../../local/home.ts';

/** Opens the home of a scratch folder; it stops its Redis when it is closed. */
export async function openBenchHome(directory: string): Promise<Home> {
  return await openHome({ directory, searchPath: process.env['PATH'] ?? '', install: false, announce: () => undefined });
}

/** A connection to the Redis of a home. */
export function connectTo(home: Home): Redis {
  if (home.redis.kind !== 'socket') throw new Error('the benchmark uses a Redis of its own');
  return new Redis({ path: home.redis.path, maxRetriesPerRequest: null });
}

/** The time that Redis has spent in scripts since it was started, ms. */
export async function scriptTime(redis: Redis): Promise<number> {
  const stats = await redis.info('commandstats');
  const used = [...stats.matchAll(/^cmdstat_eval(?:sha)?:calls=\d+,usec=(\d+)/gm)];
  return used.reduce((sum, [, usec]) => sum + Number(usec), 0) / 1_000;
}

/** Lets Redis note every command with its time, so that `ledgerTime` can tell whose scripts they were. */
export async function noteCommands(redis: Redis): Promise<void> {
  await redis.config('SET', 'slowlog-max-len', '2000000');
  await redis.config('SET', 'slowlog-log-slower-than', '0');
  await redis.slowlog('RESET');
}

/**
 * What of the noted time was spent in scripts of the ledger, ms. They name one key, the prefix of the installation; the
 * queues' scripts name many. `BENCH_SCRIPTS=1` prints calls and time of each script to standard error.
 */
export async function ledgerTime(redis: Redis, prefix: string): Promise<number> {
  await redis.config('SET', 'slowlog-log-slower-than', '-1');
  const entries = (await redis.slowlog('GET', 2_000_000)) as readonly (readonly [number, number, number, readonly string[]])[];
  const byScript = new Map<string, { calls: number; usec: number }>();
  for (const [, , usec, [command = '', sha = '', keys, first]] of entries) {
    if (!command.toLowerCase().startsWith('eval')) continue;
    const name = keys === '1' && first === prefix ? sha : 'queues';
    const sums = byScript.get(name) ?? { calls: 0, usec: 0 };
    byScript.set(name, { calls: sums.calls + 1, usec: sums.usec + usec });
  }
  if (process.env['BENCH_SCRIPTS'] === '1') {
    for (const [name, { calls, usec }] of [...byScript].sort(([, a], [, b]) => b.usec - a.usec)) process.stderr.write(`${name} ${calls} calls ${Math.round(usec / 1_000)} ms\n`);
  }
  return [...byScript].filter(([name]) => name !== 'queues').reduce((sum, [, { usec }]) => sum + usec, 0) / 1_000;
}

/** Memory of the data set in bytes. */
export async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1] ?? '0');
}
