/** What a plan says of clients and the rates of their tiers. */
import { describe, expect, it } from 'vitest';
import { ClientTallies, type ClientSurvey } from '../../producers/client-survey.ts';
import type { Terms, Tier } from '../../segments/quota.ts';

const tier = (given: Partial<Tier>): Tier => ({ priorities: ['normal'], metadata: [], over: 'fallback', ...given });
const survey = (terms: Terms | undefined, rows: Readonly<Record<string, number>>): readonly ClientSurvey[] => {
  const tallies = new ClientTallies(terms);
  for (const [client, count] of Object.entries(rows)) {
    for (let row = 0; row < count; row += 1) tallies.add(client, { tokensExpected: 10, tokensMax: 30, picoExpected: 1_500_000n, microUsdMax: 4 });
  }
  return tallies.finish();
};

describe('a survey of clients', () => {
  it('adds up what each of them hands in, to the pico-dollar', () => {
    expect(survey(undefined, { etl: 3, bi: 1 })).toEqual([
      { client: 'bi', tier: undefined, rows: 1, tokensExpected: 10, tokensMax: 30, microUsdExpected: 2, microUsdMax: 4, over: undefined },
      { client: 'etl', tier: undefined, rows: 3, tokensExpected: 30, tokensMax: 90, microUsdExpected: 5, microUsdMax: 12, over: undefined },
    ]);
  });

  it.each<[string, Partial<Tier>, ClientSurvey['over']]>([
    ['exactly as much as its tier allows', { requestsPerDay: 5, tokensPerMinute: 50 }, undefined],
    ['one prompt too many', { requestsPerDay: 4 }, { limit: 'requestsPerDay', allowed: 4, rows: 1, kind: 'fallback' }],
    ['too many tokens from its third prompt on', { tokensPerMinute: 29, over: 'refuse' }, { limit: 'tokensPerMinute', allowed: 29, rows: 3, kind: 'refuse' }],
    ['too much by two rates at once, of which the day comes first', { requestsPerMinute: 2, tokensPerDay: 20 }, { limit: 'tokensPerDay', allowed: 20, rows: 3, kind: 'fallback' }],
  ])('knows of %s', (_name, given, over) => {
    const terms: Terms = { tiers: { pilot: tier(given) }, clients: { etl: 'pilot' } };
    expect(survey(terms, { etl: 5, bi: 9 }).map((each) => [each.client, each.tier, each.over])).toEqual([['bi', undefined, undefined], ['etl', 'pilot', over]]);
  });

  it('takes a client that nobody names for one of the default tier', () => {
    expect(survey({ tiers: { pilot: tier({ requestsPerDay: 1 }) }, clients: {}, other: 'pilot' }, { constructor: 2 })[0]?.over?.rows).toBe(1);
  });
});
