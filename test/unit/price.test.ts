import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boundMicroUsd, femtoUsdHalfUp, femtoUsdOf, femtoUsdText, microUsdToUsd, ratesFor, rowFemtoUsd, rowMicroUsd, type ModelPrice, type Rates } from '../../segments/price.ts';
import { noUsage, type Usage } from '../../segments/segment.ts';

/** Batch rates of 0.50 in and 2.50 out, USD per million tokens, in pico-USD per token; dearer above 200,000 tokens. */
const rates = (factor: number): Rates => ({
  input: 500_000 * factor, output: 2_500_000 * factor, cacheWrite5m: 625_000 * factor, cacheWrite1h: 1_000_000 * factor, cacheRead: 50_000 * factor,
});
const price: ModelPrice = {
  model: 'claude-test',
  batch: rates(1),
  standard: rates(2),
  longContext: { thresholdTokens: 200_000, batch: rates(2), standard: rates(4) },
  geoPermille: 1100,
  contextTokensMax: 1_000_000,
  outputTokensMax: 64_000,
  outputTokensMaxExtended: undefined,
  status: 'active',
};
const usage = (given: Partial<Usage>): Usage => ({ ...noUsage, ...given });

describe('the bill of a row', () => {
  it('prices each class at its own rate', () => {
    expect(rowMicroUsd(usage({ inputTokens: 1_000_000 / 10, outputTokens: 0 }), price, 'batch', false)).toBe(50_000);
    expect(rowMicroUsd(usage({ outputTokens: 1_000 }), price, 'batch', false)).toBe(2_500);
    expect(rowMicroUsd(usage({ cacheReadInputTokens: 1_000 }), price, 'batch', false)).toBe(50);
    expect(rowMicroUsd(usage({ cacheWriteInputTokens: 1_000 }), price, 'batch', false)).toBe(625);
    expect(rowMicroUsd(usage({ cacheWriteInputTokens: 1_000, cacheWrite1hInputTokens: 1_000 }), price, 'batch', false)).toBe(1_000);
  });
  it('is exact, in femto-USD, and rounded up where micro-USD are asked for', () => {
    expect(rowFemtoUsd(usage({ inputTokens: 1 }), price, 'batch', false)).toBe(500_000_000n);
    expect(rowFemtoUsd(usage({ cacheReadInputTokens: 1 }), price, 'batch', true)).toBe(55_000_000n);
    expect([0, 1, 20, 21].map((cacheReadInputTokens) => rowMicroUsd(usage({ cacheReadInputTokens }), price, 'batch', false))).toEqual([0, 1, 1, 2]);
  });
  it('stays exact where plain numbers would not', () => {
    const huge = usage({ inputTokens: 9_000_000_001, outputTokens: 9_000_000_007, cacheWriteInputTokens: 9_000_000_001 });
    expect(rowFemtoUsd(huge, { ...price, longContext: undefined }, 'batch', false)).toBe((9_000_000_001n * 1_125_000n + 9_000_000_007n * 2_500_000n) * 1_000n);
  });
  it('is the same by plain numbers and by large ones', () => {
    const count = fc.integer({ min: 0, max: 3_000_000_000 });
    fc.assert(fc.property(count, count, count, (inputTokens, outputTokens, write) => {
      const exact = (BigInt(inputTokens) * 500_000n + BigInt(outputTokens) * 2_500_000n + BigInt(write) * 1_000_000n) * 1_100n;
      const given = usage({ inputTokens, outputTokens, cacheWriteInputTokens: write, cacheWrite1hInputTokens: write });
      expect(rowFemtoUsd(given, { ...price, longContext: undefined }, 'batch', true)).toBe(exact);
    }));
  });
  it('is dearer for the whole request when its prompt, cached or not, exceeds the step', () => {
    expect(ratesFor(price, 200_000, 'batch')).toBe(price.batch);
    expect(rowMicroUsd(usage({ inputTokens: 100_000, cacheReadInputTokens: 100_001 }), price, 'batch', false)).toBe(Math.ceil(2 * (50_000 + 5_000.05)));
  });
  it('is a tenth dearer where a geography was named, and not where the model knows none', () => {
    expect(rowMicroUsd(usage({ outputTokens: 1_000 }), price, 'batch', true)).toBe(2_750);
    expect(rowMicroUsd(usage({ outputTokens: 1_000 }), { ...price, geoPermille: undefined }, 'batch', true)).toBe(2_500);
  });
  it('costs the double one by one', () => {
    expect(rowMicroUsd(usage({ outputTokens: 1_000 }), price, 'standard', false)).toBe(5_000);
  });
});

describe('the bound of a row', () => {
  it('is never below the bill of any usage that it covers', () => {
    const count = fc.integer({ min: 0, max: 400_000 });
    fc.assert(
      fc.property(count, count, count, count, fc.boolean(), (fresh, read, write5m, write1h, isGeoPinned) => {
        const billed = usage({ inputTokens: fresh, outputTokens: 1_234, cacheReadInputTokens: read, cacheWriteInputTokens: write5m + write1h, cacheWrite1hInputTokens: write1h });
        const bound = boundMicroUsd(fresh + read + write5m + write1h, 1_234, price, { mayWriteCache: true, isGeoPinned });
        expect(rowMicroUsd(billed, price, 'batch', isGeoPinned)).toBeLessThanOrEqual(bound);
        if (write5m + write1h === 0) {
          expect(rowMicroUsd(billed, price, 'batch', isGeoPinned)).toBeLessThanOrEqual(boundMicroUsd(fresh + read, 1_234, price, { mayWriteCache: false, isGeoPinned }));
        }
      }),
      { numRuns: 300 },
    );
  });
  it('is rounded up', () => {
    expect(boundMicroUsd(1, 0, { ...price, batch: { ...price.batch, input: 1 } }, { mayWriteCache: false, isGeoPinned: false })).toBe(1);
  });
  it('stays exact where floating point would not', () => {
    expect(boundMicroUsd(999_999_999, 999_999_999, price, { mayWriteCache: true, isGeoPinned: true })).toBe(Number((999_999_999n * 2_000_000n + 999_999_999n * 5_000_000n) * 1100n / 1_000_000_000n) + 1);
  });
});

describe('an exact amount', () => {
  it.each([
    [0n, '0'], [1n, '0.000000000000001'], [1_250_000_000n, '0.00000125'], [20_500_000_000n, '0.0000205'], [10n ** 15n, '1'], [1_234_567n * 10n ** 9n, '1.234567'], [12n * 10n ** 15n + 10n, '12.00000000000001'],
  ])('%s femto-USD is the JSON number %s', (femtoUsd, text) => {
    expect(femtoUsdText(femtoUsd)).toBe(text);
    expect(JSON.stringify(JSON.parse(text))).toBe(JSON.stringify(Number(femtoUsd) / 1e15));
  });
  it('of whole micro-USD is written as it always was', () => {
    fc.assert(fc.property(fc.nat(2_000_000_000), (microUsd) => {
      expect(femtoUsdText(femtoUsdOf(microUsd))).toBe(JSON.stringify(microUsdToUsd(microUsd)));
    }));
  });
  it('of before is rounded half up', () => {
    expect([499_999_999n, 500_000_000n, 1_499_999_999n, 1_500_000_000n].map(femtoUsdHalfUp)).toEqual([0n, 1_000_000_000n, 1_000_000_000n, 2_000_000_000n]);
  });
});

describe('microUsdToUsd', () => {
  it('divides by a million', () => expect(microUsdToUsd(1_234_567)).toBe(1.234567));
});
