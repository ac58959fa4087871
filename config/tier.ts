/**
 * Tiers as they are written: what the clients of one may hand in, and what becomes of the rest.
 *
 *   tiers:
 *     pilot: { requestsPerDay: 1_000, tokensPerDay: 2_000_000, contextTokensMax: 64_000, priorities: [low] }
 *   clients:
 *     etl: { tier: pilot }
 */
import { z } from 'zod';
import type { Budget } from '../segments/ledger/ledger.ts';
import type { Terms, Tier } from '../segments/quota.ts';
import type { PricedTier } from '../segments/tier-choice.ts';
import { budgetType, toBudget } from './budget.ts';
import type { ConfiguredClient } from './client.ts';
import { choice, integer, noNote, notes, text } from './setting.ts';

const tiersMax = 100;
const rateMax = 1_000_000_000_000;
const weightMax = 1_000;
const keysMax = 32;
/** `none` is what an operator says who takes a client out of every tier. */
export const tierPattern = /^(?!none$)[a-z0-9][a-z0-9_-]{0,39}$/;
export const tierNameAllowed = 'at most 40 of a-z, 0-9, _ and -, beginning with a letter or digit, and not none';
const lanesAllowed = 'a list of high, normal and low';
const keysAllowed = `a list of at most ${keysMax} keys of metadata`;

/** The limits of one tier. */
const tierType = z
  .strictObject(
    {
      requestsPerMinute: z.optional(integer(1, rateMax)).describe('Prompts of each minute of the clock.'),
      requestsPerDay: z.optional(integer(1, rateMax)).describe('Prompts of each day (UTC).'),
      tokensPerMinute: z.optional(integer(1, rateMax)).describe('Expected tokens of each minute of the clock, input and half of max_tokens.'),
      tokensPerDay: z.optional(integer(1, rateMax)).describe('Expected tokens of each day (UTC).'),
      contextTokensMax: z.optional(integer(1, 100_000_000)).describe('Upper bound of the tokens of one prompt and its answer; a larger prompt is refused.'),
      priorities: z
        .array(choice(['high', 'normal', 'low']), { error: lanesAllowed })
        .prefault(['high', 'normal', 'low'])
        .describe('Lanes that prompts may ask for; one that asks for another gets the next lower one, at last fallback.'),
      metadata: z
        .array(text(/^[^\0]{1,100}$/, 'a key of metadata'), { error: keysAllowed })
        .max(keysMax, { error: keysAllowed })
        .prefault([])
        .describe('Keys that the metadata of every prompt must have, with a value; a prompt without them is refused.'),
      weight: z.optional(integer(1, weightMax)).describe('Share of the line of clients that have no weight of their own.'),
      budget: z.optional(budgetType).describe('What each client of the tier may spend, unless budgets has client:NAME.'),
      over: choice(['fallback', 'refuse'])
        .prefault('fallback')
        .describe('What becomes of prompts over a rate: they wait in the lane fallback, or their lines are refused.'),
    },
    { error: (issue) => (issue.code === 'invalid_type' ? 'a tier such as { requestsPerDay: 1000 }' : undefined) },
  )
  .superRefine((tier, context) => {
    const { contextTokensMax } = tier;
    for (const rate of ['tokensPerMinute', 'tokensPerDay'] as const) {
      const allowed = tier[rate];
      if (contextTokensMax === undefined || allowed === undefined || allowed >= contextTokensMax) continue;
      context.addIssue({ code: 'custom', path: [rate], message: `at least contextTokensMax (${contextTokensMax}), or a prompt could be allowed that is never admitted` });
    }
  });

/** All tiers, by name. */
export const tiersType = z
  .record(z.string().regex(tierPattern, { error: tierNameAllowed }), tierType, { error: (issue) => (issue.code === 'invalid_key' ? tierNameAllowed : 'a map from names to tiers') })
  .refine((tiers) => Object.keys(tiers).length <= tiersMax, { error: `a map of at most ${tiersMax} tiers` })
  .register(notes, { ...noNote, isStructure: true });

/** One tier of the configuration; money in micro-USD. */
export interface ConfiguredTier extends PricedTier {
  readonly weight: number | undefined;
  readonly budget: Omit<Budget, 'target'> | undefined;
}

/** One tier in the units of the ledger. */
export function toTier(given: z.output<typeof tierType>): ConfiguredTier {
  const { budget, ...tier } = given;
  if (budget === undefined) return { ...tier, weight: tier.weight, budget: undefined };
  const { target: _target, ...limits } = toBudget('', budget);
  return { ...tier, weight: tier.weight, budget: limits };
}

interface TierSettings {
  readonly tiers: Readonly<Record<string, ConfiguredTier>>;
  readonly clients: Readonly<Record<string, ConfiguredClient>>;
  readonly defaults: { readonly tier: string | undefined };
  readonly budgets: readonly Budget[];
}

/** The terms that the configuration gives its clients, before any operator's word. */
export function configuredTerms({ tiers, clients, defaults }: TierSettings): Terms {
  return {
    tiers: Object.fromEntries(Object.entries(tiers).map(([name, tier]) => [name, limitsOf(tier)])),
    clients: Object.fromEntries(Object.entries(clients).flatMap(([client, { tier }]) => (tier === undefined ? [] : [[client, tier]]))),
    ...(defaults.tier === undefined ? {} : { other: defaults.tier }),
  };
}

/** The budget that a tier gives a client; undefined where the tier has none or the client has one of its own. */
export function tierBudget({ tiers, budgets }: TierSettings, client: string, tier: string): Budget | undefined {
  const target = `client:${client}`;
  const limits = Object.hasOwn(tiers, tier) ? tiers[tier]?.budget : undefined;
  return limits === undefined || budgets.some((budget) => budget.target === target) ? undefined : { target, ...limits };
}

/** How the named clients share; `tierOf` says in which tier each of them is. */
export function weightsOf({ tiers, clients }: TierSettings, assigned: Iterable<string>, tierOf: (client: string) => string | undefined): Readonly<Record<string, number>> {
  const names = new Set([...Object.keys(clients), ...assigned]);
  return Object.fromEntries([...names].map((client) => {
    const tier = tierOf(client);
    const own = Object.hasOwn(clients, client) ? clients[client]?.weight : undefined;
    return [client, own ?? (tier !== undefined && Object.hasOwn(tiers, tier) ? tiers[tier]?.weight : undefined) ?? 1];
  }));
}

/** What of a tier judges prompts; the rest is about money and shares. */
function limitsOf({ requestsPerMinute, requestsPerDay, tokensPerMinute, tokensPerDay, contextTokensMax, priorities, metadata, over }: ConfiguredTier): Tier {
  return { requestsPerMinute, requestsPerDay, tokensPerMinute, tokensPerDay, contextTokensMax, priorities, metadata, over };
}
