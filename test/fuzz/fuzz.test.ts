/** Every parser of what comes from outside is fed with damaged input. `npm run fuzz -- --inputs N --seed S` feeds more. */
import { expect, it } from 'vitest';
import { parsers, shareOf } from './parsers.ts';
import { fuzz } from './run.ts';

const inputs = 100_000;

it.each(parsers.map((parser) => [parser.name, parser] as const))('%s neither crashes nor hangs, and names a reason for every refusal', async (_name, parser) => {
  const tally = await fuzz(parser, shareOf(parser, parsers, inputs), 1);
  expect(tally.failures).toEqual([]);
  // A parser that refuses everything, or nothing, was not tried.
  expect(tally.outcomes.size).toBeGreaterThan(1);
  expect(tally.outcomes.get('taken')).toBeGreaterThan(0);
}, 120_000);
