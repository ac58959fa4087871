/** What a tier admits, what is advised, and which tier would have been enough. */
import { describe, expect, it } from 'vitest';
import { adviceOn, delayOf, priorityIn, termsWith, tierOf, type DeferredPart, type Terms, type Tier } from '../../segments/quota.ts';
import { monthlyMicroUsd, peaksOf, shortfallsOf, smallestTier, type PricedTier } from '../../segments/tier-choice.ts';

const dayMs = 86_400_000;
const tier: Tier = { priorities: ['high', 'normal', 'low'], metadata: [], over: 'fallback' };
const part: DeferredPart = {
  client: 'etl', tier: 'pilot', over: 'fallback', fromRow: 101, limit: 'requestsPerMinute', allowed: 100, measured: 101, intervalMs: null, decidedAtMs: 0,
  requests: 150, tokens: 1_500, requestsOver: 50, tokensOver: 500,
};

describe('terms', () => {
  const terms: Terms = { tiers: { pilot: tier, internal: { ...tier, requestsPerDay: 5 } }, clients: { etl: 'pilot' }, other: 'internal' };

  it('name the tier of a client, else that of all others', () => {
    expect(tierOf(terms, 'etl')?.name).toBe('pilot');
    expect(tierOf(terms, 'constructor')?.name).toBe('internal');
    expect(tierOf(undefined, 'etl')).toBeUndefined();
  });

  it('give way to the words of operators', () => {
    const moved = termsWith(terms, new Map([['etl', 'internal'], ['partner', null]]));
    expect(tierOf(moved, 'etl')?.name).toBe('internal');
    expect(tierOf(moved, 'partner')).toBeUndefined();
    expect(tierOf(moved, 'another')?.name).toBe('internal');
    expect(tierOf(terms, 'etl')?.name, 'and stay what they were').toBe('pilot');
  });

  it('are none where nobody has limits', () => {
    expect(termsWith({ tiers: { pilot: tier }, clients: {} }, new Map())).toBeUndefined();
    expect(termsWith(undefined, new Map([['etl', null]]))).toBeUndefined();
  });
});

describe('lanes', () => {
  it.each([
    [['high', 'normal', 'low'], 'high', 'high'],
    [['low'], 'high', 'low'],
    [['high'], 'low', 'fallback'],
    [[], 'normal', 'fallback'],
    [['high'], 'fallback', 'fallback'],
  ] as const)('a tier that is open to %j serves %s as %s', (priorities, asked, given) => {
    expect(priorityIn({ ...tier, priorities }, asked)).toBe(given);
  });
});

describe('advice', () => {
  it('on a rate of prompts names the size of a call and the intervals at which it would be admitted', () => {
    expect(adviceOn(part)).toEqual({ promptsMax: 100, contextTokens: undefined, callIntervalMs: 90_000, promptIntervalMs: 600 });
  });

  it('on a rate of tokens says by how much each prompt has to be shorter', () => {
    const advice = adviceOn({ ...part, limit: 'tokensPerDay', allowed: 1_000, measured: 1_010 });
    expect(advice).toEqual({ promptsMax: 100, contextTokens: 4, callIntervalMs: Math.ceil(1.5 * dayMs), promptIntervalMs: dayMs / 100 });
    // Shorter by that much, all of them fit into the room that there was.
    expect((1_500 / 150 - 4) * 150).toBeLessThanOrEqual(1_000);
  });

  it('says nothing of shorter prompts where there was no room at all', () => {
    expect(adviceOn({ ...part, limit: 'tokensPerMinute', allowed: 2_000, measured: 2_010, requestsOver: 150, tokensOver: 1_500 })).toMatchObject({ promptsMax: undefined, contextTokens: undefined, callIntervalMs: 45_000 });
  });
});

describe('the expected delay', () => {
  const line = { turnaroundsMs: [60_000, 30_000], rowsInLine: 250, queueRowsMax: 100, patienceMs: 600_000 };

  it('fills the queue of the provider once for what is in line, at the pace that was seen', () => {
    expect(delayOf(line)).toEqual({ expectedMs: 480_000, longestMs: 840_000, turnaroundMs: 120_000, turnaroundsSeen: 2, rowsInLine: 250 });
  });

  it('is the worst case of the provider while nothing was seen', () => {
    expect(delayOf({ ...line, turnaroundsMs: [] })).toMatchObject({ turnaroundMs: dayMs, turnaroundsSeen: 0, expectedMs: 600_000 + 2 * dayMs });
  });

  it('is never more than patience allows', () => {
    expect(delayOf({ ...line, rowsInLine: 1_000_000 }).expectedMs).toBe(840_000);
  });
});

describe('the smallest tier', () => {
  const day = { day: '2026-11-21', requests: 900, tokens: 90_000, requestsPerMinuteMax: 300, tokensPerMinuteMax: 30_000, contextTokensMax: 7_000, requestsOver: 0, tokensOver: 0 };
  const peaks = peaksOf([day, { ...day, requests: 400, tokens: 100_000 }], 10);
  const monthly = { tokens: 570_000, microUsd: 12_000_000 };
  const named = (tiers: Readonly<Record<string, Partial<PricedTier>>>) => Object.entries(tiers).map(([name, given]) => ({ name, tier: { ...tier, ...given } }));

  it('has room for the busiest of every kind', () => {
    expect(peaks).toMatchObject({ requestsPerDay: 900, tokensPerDay: 100_000, requestsPerMinute: 300, days: 10, requests: 1_300 });
    expect(shortfallsOf({ ...tier, requestsPerDay: 899, contextTokensMax: 6_999, tokensPerDay: 100_000 }, peaks, monthly)).toEqual(['requestsPerDay', 'contextTokensMax']);
  });

  it('is the one that allows least, and may be none', () => {
    const tiers = named({ enterprise: {}, internal: { tokensPerDay: 100_000 }, pilot: { tokensPerDay: 99_999 } });
    expect(smallestTier(tiers, peaks, monthly)?.name).toBe('internal');
    expect(smallestTier(tiers.slice(2), peaks, monthly)).toBeUndefined();
  });

  it.each([
    ['month', 12_000_000, []],
    ['month', 11_999_999, ['budget.usd']],
    ['1d', 400_000, []],
    ['day', 399_999, ['budget.usd']],
    ['total', 1, []],
    ['run', 1, []],
  ])('counts a budget by the month: %s of %i', (window, microUsd, short) => {
    expect(shortfallsOf({ ...tier, budget: { tokens: undefined, microUsd, window } }, peaks, monthly)).toEqual(short);
  });

  it('does not judge a budget while no cost is known', () => {
    const poor: PricedTier = { ...tier, budget: { tokens: undefined, microUsd: 1, window: 'month' } };
    expect(shortfallsOf(poor, peaks, { ...monthly, microUsd: undefined })).toEqual([]);
    expect(monthlyMicroUsd(poor)).toBe(1);
    expect(shortfallsOf({ ...tier, budget: { tokens: 569_999, microUsd: undefined, window: 'month' } }, peaks, monthly)).toEqual(['budget.tokens']);
  });
});
