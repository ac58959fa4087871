/** A limit that a part of the documents needs, replanned to samples of what is held. The same trial with 20,000 documents: test/budget-trial.ts. */
import { expect, it } from 'vitest';
import { playBudget } from '../budget-trial.ts';

it('a budget stops a run within it, is replanned to a sample of many rows with more money, and the report adds up to the bill', async () => {
  const [limitMicroUsd, raiseMicroUsd] = [100_000, 50_000];
  const found = await playBudget({ documents: 300, limitMicroUsd, raiseMicroUsd, billing: 'worst' });
  expect(found.broken).toEqual([]);
  expect(found.stopped.code).toBe(5);
  // No prompt of these documents has a bound above three thousandths of a dollar.
  expect(found.stopped.takenMicroUsd).toBeGreaterThan(limitMicroUsd - 3_000);
  expect(found.stopped.takenMicroUsd).toBeLessThanOrEqual(limitMicroUsd);

  const sampled = found.samples.reduce((sum, { rows }) => sum + rows, 0);
  expect(found.samples.length).toBeGreaterThan(1);
  expect(sampled).toBeGreaterThan(15);
  // The last of them is asked about with the larger limit.
  expect(found.samples.at(-1)?.fit).toBe('now');
  const leftOut = 300 - found.stopped.rowsDone - sampled;
  expect(found.end).toMatchObject({ code: 3, statuses: { succeeded: found.stopped.rowsDone + sampled, not_sampled: leftOut }, counts: { accepted: 300, not_sampled: leftOut, replanned: sampled, dead_lettered: 0 } });
  expect(found.rowsBilled).toBe(found.stopped.rowsDone + sampled);
  // What a chunk consumed is rounded up to the micro-dollar, and no chunk is without a row.
  expect(found.reportMicroUsd).toBe(found.linesMicroUsd);
  expect(found.reportMicroUsd - found.billedMicroUsd).toBeGreaterThanOrEqual(0);
  expect(found.reportMicroUsd - found.billedMicroUsd).toBeLessThan(found.rowsBilled);
}, 180_000);
