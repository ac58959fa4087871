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

/** Memory of the data set in bytes. */
export async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1] ?? '0');
}
