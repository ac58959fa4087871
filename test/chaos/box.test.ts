/** Seeded schedules on one thread: crashes around every port call, stopped processes, resent scripts, lost wake-ups, a faulty provider. */
import { expect, it } from 'vitest';
import { playSeeds } from './box/many.ts';

/** `box-long.test.ts` plays the next ones, `npm run chaos:box -- --seeds N --seed S` as many as wanted. */
const stage = playSeeds(1, 100);

it('the same seed gives the same schedule', async () => {
  const [first, second] = [await stage().play(7), await stage().play(7)];
  expect(second.trace).toEqual(first.trace);
  expect(second.faults).toEqual(first.faults);
});
