/** A Redis of its own for schedules that flush it: found as users find theirs, then freed of its duty to the disk. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { openHome } from '../../../local/home.ts';
import { leanRedis } from './lean-redis.ts';

/** Starts a server in a temporary home. */
export async function privateRedis(): Promise<{ readonly redis: Redis; close(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-redis-'));
  const home = await openHome({ directory: folder, searchPath: process.env['PATH'] ?? '', install: true, announce: (line) => process.stderr.write(`${line}\n`) });
  if (home.redis.kind !== 'socket') throw new Error('a home without a named Redis has one on a socket');
  const { redis, close } = leanRedis(home.redis.path);
  // What a power cut would lose is not what these schedules are about.
  await redis.config('SET', 'appendonly', 'no');
  return {
    redis,
    async close() {
      close();
      await home.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
