/** Seeded schedules on one thread: crashes around every port call, stopped processes, resent scripts, lost wake-ups, a faulty provider. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Stage } from './box/box.ts';
import { allEdges } from './box/edges.ts';
import { privateRedis } from './box/private-redis.ts';

/** `npm run chaos:box -- --seeds N --seed S` plays more. */
const seeds = 200;
let server: Awaited<ReturnType<typeof privateRedis>>;
let stage: Stage;
beforeAll(async () => {
  server = await privateRedis();
  stage = new Stage(server.redis);
});
afterAll(async () => {
  stage.close();
  await server.close();
});

it(`${seeds} schedules end with every prompt once, one batch per archive, and the bill in the ledger`, async () => {
  const broken: string[] = [];
  const reached = new Set<string>();
  let faults = 0;
  for (let seed = 1; seed <= seeds; seed += 1) {
    const verdict = await stage.play(seed);
    faults += verdict.faults.length;
    for (const name of Object.keys(verdict.coverage)) reached.add(name);
    if (verdict.breaches.length > 0) broken.push(`seed ${seed}: ${verdict.breaches.join('; ')} after ${verdict.faults.join(', ')}`);
  }
  expect(broken).toEqual([]);
  // A harness that injects nothing, or reaches nothing, proves nothing.
  expect(faults).toBeGreaterThan(seeds);
  expect(allEdges.filter((edge) => reached.has(`edge ${edge}`)).length).toBeGreaterThan(allEdges.length * 0.8);
}, 180_000);

it('the same seed gives the same schedule', async () => {
  const [first, second] = [await stage.play(7), await stage.play(7)];
  expect(second.trace).toEqual(first.trace);
  expect(second.faults).toEqual(first.faults);
});
