/** Seeded schedules against real processes, a few in the usual tests; `npm run chaos` plays more. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildProduct, type Product } from './product.ts';
import { drawSchedule } from './schedule.ts';
import { play } from './trial.ts';

/** A create that vanishes, a whole batch refused and a full disk, a power cut between kills. */
const seeds = [1007, 1009, 1010];

let product: Product;
beforeAll(async () => {
  product = await buildProduct();
});
afterAll(() => product.remove());

it(`${seeds.length} schedules with real processes end with every prompt once, one batch per archive, and the bill in the ledger`, { timeout: 120_000 }, async () => {
  const verdicts = await Promise.all(seeds.map(async (seed) => await play(drawSchedule(seed), product)));
  expect(verdicts.map(({ seed, breaches }) => ({ seed, breaches }))).toEqual(seeds.map((seed) => ({ seed, breaches: [] })));
  // A harness that injects nothing proves nothing.
  expect(verdicts.every(({ struck }) => struck.length > 0)).toBe(true);
  expect(verdicts.reduce((sum, { batches }) => sum + batches, 0)).toBeGreaterThan(seeds.length);
});
