import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseBudget } from '../../config/budget-set.ts';
import { durationText, parseDuration, parseMicroUsd, parseSize } from '../../config/quantity.ts';
import { errorOf, faultsOf, load } from './config-world.ts';

describe('quantities', () => {
  test.each([
    ['200ms', 200], ['10s', 10_000], ['5m', 300_000], ['24h', 86_400_000], ['1d', 86_400_000], ['1500', 1_500], [250, 250], ['10 s', 10_000],
    ['10sec', undefined], ['-1s', undefined], ['1.5s', undefined], ['', undefined], [1.5, undefined], [-1, undefined], ['999999999999999d', undefined],
  ])('the duration %j is %j ms', (given, ms) => {
    expect(parseDuration(given)).toBe(ms);
  });

  test.each([
    ['8MB', 8_000_000], ['8MiB', 8_388_608], ['256 MB', 256_000_000], ['64kb', 64_000], ['1GiB', 1_073_741_824], ['12B', 12], ['200_000', 200_000],
    [7, 7], ['8M', undefined], ['8TB', undefined], ['2_00', undefined], ['0x10', undefined],
  ])('the size %j is %j bytes', (given, bytes) => {
    expect(parseSize(given)).toBe(bytes);
  });

  test.each([
    ['25', 25_000_000], ['25.1', 25_100_000], ['0.000001', 1], ['0', 0], ['9007199254.740991', 9_007_199_254_740_991], [3, 3_000_000],
    ['0.0000001', undefined], ['9007199254.740992', undefined], ['1e3', undefined], ['$5', undefined], ['-1', undefined], ['.5', undefined],
  ])('%j dollars are %j micro-USD', (given, microUsd) => {
    expect(parseMicroUsd(given)).toBe(microUsd);
  });

  test('money keeps every digit on its way in', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (microUsd) => {
        const digits = String(microUsd).padStart(7, '0');
        const dollars = `${digits.slice(0, -6)}.${digits.slice(-6)}`;
        expect(load({ yaml: `budgets: {all: {usd: ${dollars}}}` }).budgets[0]?.microUsd).toBe(microUsd);
      }),
      { seed: 11, numRuns: 200 },
    );
  });

  test('a duration is shown in the largest unit that divides it', () => {
    expect([0, 250, 1_000, 90_000, 3_600_000, 172_800_000].map(durationText)).toEqual(['0ms', '250ms', '1s', '90s', '1h', '2d']);
  });
});

describe('budgets', () => {
  test('become what the ledger keeps', () => {
    const yaml = 'budgets:\n  topic:invoices: {usd: 250.50, window: 1d}\n  segment:invoices.8k.high: {tokens: 40_000_000, runtime: 6h, onLate: cancel}\n  client:etl: {tokens: 0}\n  all: {usd: 1, window: run}\n';
    expect(load({ yaml }).budgets).toEqual([
      { target: 'topic:invoices', tokens: undefined, microUsd: 250_500_000, window: '1d', runtimeMs: undefined, mode: 'strict', onLate: 'wait' },
      { target: 'segment:invoices.8k.high', tokens: 40_000_000, microUsd: undefined, window: 'total', runtimeMs: 21_600_000, mode: 'strict', onLate: 'cancel' },
      { target: 'client:etl', tokens: 0, microUsd: undefined, window: 'total', runtimeMs: undefined, mode: 'strict', onLate: 'wait' },
      { target: 'all', tokens: undefined, microUsd: 1_000_000, window: 'run', runtimeMs: undefined, mode: 'strict', onLate: 'wait' },
    ]);
  });

  test.each([
    ['topics:a: {usd: 1}', 'budgets.topics:a', 'topic'],
    ['topic:A: {usd: 1}', 'budgets.topic:A', undefined],
    ['segment:a.8k: {usd: 1}', 'budgets.segment:a.8k', undefined],
    ['segment:a.8k.hgih: {usd: 1}', 'budgets.segment:a.8k.hgih', undefined],
    ['"client:a b": {usd: 1}', 'budgets.client:a b', undefined],
    ['everything: {usd: 1}', 'budgets.everything', undefined],
    ['all: {}', 'budgets.all', undefined],
    ['all: 5', 'budgets.all', undefined],
    ['all:', 'budgets.all', undefined],
    ['all: {usd: }', 'budgets.all.usd', undefined],
    ['all: {usd: 0.0000001}', 'budgets.all.usd', undefined],
    ['all: {usd: .inf}', 'budgets.all.usd', undefined],
    ['all: {tokens: 1.5}', 'budgets.all.tokens', undefined],
    ['all: {tokens: 1, window: year}', 'budgets.all.window', undefined],
    ['all: {tokens: 1, window: month, timeZone: Mars/Olympus}', 'budgets.all.timeZone', undefined],
    ['all: {tokens: 1, window: 1d, timeZone: Europe/Berlin}', 'budgets.all.timeZone', undefined],
    ['all: {tokens: 1, window: month, timezone: Europe/Berlin}', 'budgets.all.timezone', 'timeZone'],
    ['all: {tokens: 1, windw: 1d}', 'budgets.all.windw', 'window'],
    ['all: {tokens: 1, onLate: cancle}', 'budgets.all.onLate', 'cancel'],
  ])('that are not well-formed are faults: %s', (line, path, suggestion) => {
    expect(faultsOf({ yaml: `budgets:\n  ${line}` })).toMatchObject([{ path, suggestion }]);
  });

  test('that would move late work to single requests are told that there is no such lane yet', () => {
    const [fault] = faultsOf({ yaml: 'budgets:\n  all: {runtime: 6h, onLate: direct}' });
    expect(JSON.stringify(fault)).toContain('direct does not exist yet');
  });

  test('from the command line pass the same schema', () => {
    expect(parseBudget('topic:a', { usd: '12.5', window: '1h' }, 'budget set')).toEqual({
      target: 'topic:a', tokens: undefined, microUsd: 12_500_000, window: '1h', runtimeMs: undefined, mode: 'strict', onLate: 'wait',
    });
    const error = errorOf(() => parseBudget('topic:a', { tokens: 'many', usd: 'lots' }, 'budget set'));
    expect(error.faults.map(({ path, origin }) => `${origin} ${path}`)).toEqual(['budget set budgets.topic:a.tokens', 'budget set budgets.topic:a.usd']);
  });
});
