/** A Redis of its own for schedules that flush it: no disk, no network, gone with its caller. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';

/** Starts a server on a socket in a temporary folder. */
export async function privateRedis(): Promise<{ readonly redis: Redis; close(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-redis-'));
  const path = join(folder, 'redis.sock');
  const server = spawn('redis-server', ['--port', '0', '--unixsocket', path, '--save', '', '--appendonly', 'no', '--dir', folder], { stdio: 'ignore' });
  const redis = new Redis({ path, maxRetriesPerRequest: null, retryStrategy: () => 20 });
  redis.on('error', () => undefined);
  await redis.ping();
  return {
    redis,
    async close() {
      redis.disconnect();
      server.kill();
      await new Promise((resolve) => server.once('exit', resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
