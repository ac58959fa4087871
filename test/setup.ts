import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { openHome, RedisUnavailable, type Home, type RedisAddress } from '../local/home.ts';
import { withLock } from '../local/lock.ts';
import { listOccupants } from '../local/occupancy.ts';
import { stopServers } from '../local/server.ts';
import { bundleProduct } from './product.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The one Redis of this test run. Tests reach it through `test/redis.ts`. */
    redisAddress: RedisAddress;
  }
}

const prefix = 'plimsoll-test-';
const announce = (line: string): void => void process.stderr.write(`${line}\n`);
let home: Home | undefined;
let directory: string | undefined;
let product: string | undefined;

/** Makes one Redis available to the whole run: the one REDIS_URL names, or a private one in a temporary home. */
export async function setup(project: TestProject): Promise<void> {
  await sweepAbandonedHomes();
  directory = await mkdtemp(join(tmpdir(), prefix));
  const redisUrl = process.env['REDIS_URL'] ?? '';
  try {
    home = await openHome({
      directory,
      searchPath: process.env['PATH'] ?? '',
      install: true,
      announce,
      ...(redisUrl === '' ? {} : { redisUrl }),
    });
  } catch (error) {
    await teardown();
    throw error instanceof RedisUnavailable ? new Error(`${error.message}\n${error.hint}`) : error;
  }
  project.provide('redisAddress', home.redis);
  await buildProduct();
}

/**
 * Builds what is shipped, beside nothing that a user has: tests with real processes start it instead of the sources,
 * which also starts faster. `test/chaos/world.ts` finds it by this variable.
 */
async function buildProduct(): Promise<void> {
  product = await mkdtemp(join(tmpdir(), 'plimsoll-product-'));
  process.env['TEST_PRODUCT'] = await bundleProduct(product);
}

/** Stops the private Redis and removes its home. */
export async function teardown(): Promise<void> {
  await home?.close();
  if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  if (product !== undefined) await rm(product, { recursive: true, force: true });
}

/** A run that was killed left its Redis behind, in a folder no later run opens again: stop it and remove both. */
async function sweepAbandonedHomes(): Promise<void> {
  for (const name of (await readdir(tmpdir())).filter((candidate) => candidate.startsWith(prefix))) {
    const abandoned = join(tmpdir(), name);
    const found = await lstat(abandoned).catch(() => undefined);
    const holdsServers = await readdir(join(abandoned, 'servers')).then(() => true, () => false);
    // Without servers it is empty, or a run of this moment that is just opening it.
    if (found?.uid !== process.getuid?.() || !holdsServers) continue;
    await withLock(abandoned, { announce }, async () => {
      if ((await listOccupants(abandoned)).length > 0) return;
      await stopServers(abandoned);
      await rm(abandoned, { recursive: true, force: true });
    });
  }
}
