/** Seeded schedules on one thread: crashes around every port call, resent scripts, lost wake-ups, a faulty provider. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { playSeed } from './box/box.ts';
import { privateRedis } from './box/private-redis.ts';

/** `npm run chaos:box -- --seeds N --seed S` plays more. */
const seeds = 25;

let server: Awaited<ReturnType<typeof privateRedis>>;
beforeAll(async () => {
  server = await privateRedis();
});
afterAll(async () => await server.close());

it(`${seeds} schedules end with every prompt once, one batch per archive, and the bill in the ledger`, async () => {
  const broken: string[] = [];
  let faults = 0;
  for (let seed = 1; seed <= seeds; seed += 1) {
    const verdict = await playSeed(seed, server.redis);
    faults += verdict.faults.length;
    if (verdict.breaches.length > 0) broken.push(`seed ${seed}: ${verdict.breaches.join('; ')} after ${verdict.faults.join(', ')}`);
  }
  expect(broken).toEqual([]);
  // A harness that injects nothing proves nothing.
  expect(faults).toBeGreaterThan(seeds);
}, 180_000);
