/** What a chunk consumed by model and rate: the parts add up to the chunk, in new outcomes and in old ones. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { priceTable } from '../../config/models.ts';
import { boundMicroUsd, rowFemtoUsd, rowMicroUsd, type ModelPrice, type Rates } from '../../segments/price.ts';
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
  tally.addRow(price, given, isGeoPinned, rowFemtoUsd(given, price, 'batch', isGeoPinned), rowFemtoUsd(given, price, 'standard', isGeoPinned));

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

/** Short prompts of the cheapest model, whose tokens cost a twentieth and a quarter of a micro-USD in a batch. */
describe('the spending of rows that cost a micro-USD or so', () => {
  const cheap = priceTable().find('claude-haiku-5-5');
  if (!cheap) throw new Error('the price table has no claude-haiku-5-5');
  const exactOf = (rows: readonly Usage[], isGeoPinned: (place: number) => boolean): bigint => rows.reduce((sum, row, place) => sum + rowFemtoUsd(row, cheap, 'batch', isGeoPinned(place)), 0n);

  it('is 1,250 micro-USD for a thousand rows of 1.25, and not a thousand', () => {
    const tally = new SpendTally();
    const row = usage({ inputTokens: 20, outputTokens: 1 });
    for (let count = 0; count < 1_000; count += 1) tally.addRow(cheap, row, false, rowFemtoUsd(row, cheap, 'batch', false), rowFemtoUsd(row, cheap, 'standard', false));
    expect(tally.list()).toMatchObject([{ succeeded: 1_000, microUsd: 1_250, standardMicroUsd: 2_500 }]);
  });

  it('is never below the exact bill, above it by less than one for each part, and within the bounds of its rows (M1)', () => {
    const row = fc.record({ input: fc.integer({ min: 1, max: 60 }), output: fc.integer({ min: 1, max: 8 }), spare: fc.integer({ min: 0, max: 2 }), isGeoPinned: fc.boolean(), isMissing: fc.boolean() });
    fc.assert(fc.property(fc.array(row, { minLength: 1, maxLength: 300 }), (rows) => {
      const tally = new SpendTally();
      let bounds = 0;
      let unconfirmed = 0n;
      const answered = rows.filter(({ isMissing }) => !isMissing);
      for (const { input, output, spare, isGeoPinned, isMissing } of rows) {
        const billed = usage({ inputTokens: input, outputTokens: output });
        const bound = boundMicroUsd(input + spare, output, cheap, { mayWriteCache: false, isGeoPinned });
        bounds += bound;
        if (isMissing) {
          tally.addBound(cheap.model, billed, bound, bound);
          unconfirmed += BigInt(bound) * 1_000_000_000n;
        } else tally.addRow(cheap, billed, isGeoPinned, rowFemtoUsd(billed, cheap, 'batch', isGeoPinned), rowFemtoUsd(billed, cheap, 'standard', isGeoPinned));
      }
      const parts = tally.list();
      const booked = parts.reduce((sum, part) => sum + part.microUsd, 0);
      const exact = unconfirmed + exactOf(answered.map(({ input, output }) => usage({ inputTokens: input, outputTokens: output })), (place) => answered[place]?.isGeoPinned === true);
      const excess = BigInt(booked) * 1_000_000_000n - exact;
      expect(excess >= 0n && excess < BigInt(parts.length) * 1_000_000_000n).toBe(true);
      expect(booked).toBeLessThanOrEqual(bounds);
    }));
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
