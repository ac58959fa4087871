/** What has a high priority is sent first, however much is in line before it. The same trial with 100,000 rows: test/latecomer.ts. */
import { expect, it } from 'vitest';
import { playLatecomer } from '../latecomer.ts';

it('a small run of high priority that is enqueued later gets the next place in the provider’s queue', async () => {
  const found = await playLatecomer({ rowsLow: 500, rowsHigh: 7, batchesLow: 5 });
  expect(found.codes).toEqual([0, 0]);
  expect(found.inLine).toBe(4);
  // One batch of the large run was at the provider when the small one came, and none of those in line went before it.
  expect(found.batches).toEqual([100, 7, 100, 100, 100, 100]);
  expect(found.passedBy).toBe(0);
}, 120_000);
