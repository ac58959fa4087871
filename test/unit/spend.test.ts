/** What a chunk consumed by model and rate: the parts add up to the chunk, in new outcomes and in old ones. */
import { describe, expect, it } from 'vitest';
import { rowMicroUsd, type ModelPrice, type Rates } from '../../segments/price.ts';
import { noUsage, type Usage } from '../../segments/segment.ts';
import { cacheSavedMicroUsd, SpendTally, spendFacts, type SpendFact } from '../../segments/spend.ts';
import { outcomeOf, runEvidence, sealedOf } from '../evidence-world.ts';

const rates = (factor: number): Rates => ({ input: 500_000 * factor, output: 2_500_000 * factor, cacheWrite5m: 625_000 * factor, cacheWrite1h: 1_000_000 * factor, cacheRead: 50_000 * factor });
const price: ModelPrice = {
  model: 'claude-a', batch: rates(1), standard: rates(2), longContext: { thresholdTokens: 1_000, batch: rates(2), standard: rates(4) }, geoPermille: 1100,
  contextTokensMax: 200_000, outputTokensMax: 64_000, outputTokensMaxExtended: undefined, status: 'active',
};
const usage = (given: Partial<Usage>): Usage => ({ ...noUsage, ...given });
const add = (tally: SpendTally, given: Usage, isGeoPinned = false): void =>
  tally.addRow(price, given, isGeoPinned, rowMicroUsd(given, price, 'batch', isGeoPinned), rowMicroUsd(given, price, 'standard', isGeoPinned));

describe('the spending of a chunk', () => {
  it('keeps rates and geographies apart, because tokens of each cost something else', () => {
    const tally = new SpendTally();
    add(tally, usage({ inputTokens: 100, outputTokens: 10 }));
    add(tally, usage({ inputTokens: 1_001, outputTokens: 10 }));
    add(tally, usage({ inputTokens: 100, outputTokens: 10 }), true);
    tally.addBound('claude-a', usage({ inputTokens: 500 }), 900, 1_800);
    tally.count('deadLettered', 'claude-a');
    const parts = tally.list();
    expect(parts.map((part) => [part.rate, part.isGeoPinned, part.succeeded, part.deadLettered, part.microUsd])).toEqual([
      ['long_context', false, 1, 0, 1_051], ['unconfirmed', false, 0, 0, 900], ['usual', false, 1, 1, 75], ['usual', true, 1, 0, 83],
    ]);
  });

  it('does not depend on the order of the rows', () => {
    const [one, other] = [new SpendTally(), new SpendTally()];
    const rows = [usage({ inputTokens: 7 }), usage({ inputTokens: 2_000 }), usage({ outputTokens: 3 })];
    for (const row of rows) add(one, row);
    for (const row of rows.toReversed()) add(other, row);
    expect(one.list()).toEqual(other.list());
  });
});

describe('the facts of an outcome', () => {
  const evidence = runEvidence({ rows: [4] });
  const outcome = outcomeOf(sealedOf(evidence, 1, [0]));

  it('of before parts were noted: all of it is the only model that was priced', () => {
    const facts = spendFacts({ ...outcome, prices: { 'claude-a-20260101': price } });
    expect(facts).toMatchObject([{ model: 'claude-a', rate: 'usual', succeeded: 4, microUsd: 28, standardMicroUsd: 56, topic: 'invoices' }]);
  });

  it('of before parts were noted: with several models only the sums are known', () => {
    const facts = spendFacts({ ...outcome, prices: { a: price, b: { ...price, model: 'claude-b' } } });
    expect(facts).toMatchObject([{ model: '', rate: 'unknown', price: undefined, microUsd: 28 }]);
  });

  it('have the time of the submission where no end was recorded', () => {
    expect(spendFacts({ ...outcome, endedAtMs: null })[0]).toMatchObject({ submittedAtMs: 2_100, endedAtMs: 2_100 });
    expect(spendFacts({ ...outcome, endedAtMs: null, submittedAtMs: null })[0]).toMatchObject({ submittedAtMs: 1_000, endedAtMs: 1_000 });
  });
});

describe('what the prompt cache saved', () => {
  const factOf = (given: Partial<Usage>, over: Partial<SpendFact> = {}): SpendFact => {
    const [fact] = spendFacts({ ...outcomeOf(sealedOf(runEvidence({ rows: [4] }), 1, [0])), prices: { a: price } });
    if (!fact) throw new Error('the fixture has no fact');
    return { ...fact, usage: usage(given), ...over };
  };

  it.each([
    ['reads cost a tenth', { cacheReadInputTokens: 1_000 }, {}, 450],
    ['writes for five minutes cost a quarter more', { cacheWriteInputTokens: 1_000 }, {}, -125],
    ['writes for one hour cost twice as much', { cacheWriteInputTokens: 1_000, cacheWrite1hInputTokens: 1_000 }, {}, -500],
    ['a pinned geography raises both', { cacheReadInputTokens: 1_000 }, { isGeoPinned: true }, 495],
    ['the long-context rate raises both', { cacheReadInputTokens: 1_000 }, { rate: 'long_context' as const }, 900],
    ['nothing is known of unconfirmed rows', { cacheReadInputTokens: 1_000 }, { rate: 'unconfirmed' as const, price: undefined }, 0],
  ])('%s', (_what, given, over, saved) => expect(cacheSavedMicroUsd(factOf(given, over))).toBe(saved));

  it('is what the same row would have cost more without a cache', () => {
    const cached = usage({ inputTokens: 10, cacheReadInputTokens: 900 });
    const plain = usage({ inputTokens: 910 });
    expect(rowMicroUsd(plain, price, 'batch', false) - rowMicroUsd(cached, price, 'batch', false)).toBe(cacheSavedMicroUsd(factOf(cached)));
  });
});
