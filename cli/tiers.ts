/** What tiers mean for the ledger besides the terms of a run: shares and budgets of the clients that are in them. */
import type { Config } from '../config/config.ts';
import { configuredTerms, tierBudget, weightsOf } from '../config/tier.ts';
import { setTierBudgets } from '../producers/tier-budgets.ts';
import { tierOf, termsWith } from '../segments/quota.ts';
import type { Budget, Ledger, TierAssignment } from '../segments/ledger/ledger.ts';

/** The tier of a client, as the configuration and the newest word of an operator have it; undefined: none. */
export function tierNameOf(config: Config, assigned: readonly TierAssignment[], client: string): string | undefined {
  const terms = termsWith(configuredTerms(config), new Map(assigned.map((each) => [each.client, each.tier])));
  return tierOf(terms, client)?.name;
}

/** The budgets that tiers give to these clients, and to all that the configuration or an operator names. */
export function tierBudgets(config: Config, clients: readonly string[], assigned: readonly TierAssignment[]): readonly Budget[] {
  return tierBudgetsOf(config, [...new Set([...clients, ...namedClients(config, assigned)])].sort(), assigned);
}

/** Every client that the configuration or an operator names. */
function namedClients(config: Config, assigned: readonly TierAssignment[]): readonly string[] {
  return [...new Set([...Object.keys(config.clients), ...assigned.map(({ client }) => client)])];
}

/** The budgets that tiers give to these clients and to no other. */
export function tierBudgetsOf(config: Config, clients: readonly string[], assigned: readonly TierAssignment[]): readonly Budget[] {
  const terms = termsWith(configuredTerms(config), new Map(assigned.map((each) => [each.client, each.tier])));
  return clients.flatMap((client) => {
    const tier = tierOf(terms, client)?.name;
    const budget = tier === undefined ? undefined : tierBudget(config, client, tier);
    return budget ? [budget] : [];
  });
}

/**
 * Brings shares and budgets of clients in line with their tiers. A client that an operator has moved into a tier without a
 * budget does not keep the one of the tier before, whoever has carried the word out and wherever that was cut off; a budget
 * that an operator has set stays.
 */
export async function applyTiers(config: Config, ledger: Ledger, nowMs: number): Promise<void> {
  const assigned = await ledger.readTiers();
  const terms = termsWith(configuredTerms(config), new Map(assigned.map((each) => [each.client, each.tier])));
  await ledger.setWeights(weightsOf(config, assigned.map(({ client }) => client), (client) => tierOf(terms, client)?.name));
  await setTierBudgets(namedClients(config, assigned), { ledger, tierBudgets: (clients, words) => tierBudgetsOf(config, clients, words), now: () => nowMs }, await formerBudgets(config, ledger, assigned));
}

/** What the tiers before may have left: the limited budgets of clients that operators have moved, but for those of the configuration. */
async function formerBudgets(config: Config, ledger: Ledger, assigned: readonly TierAssignment[]): Promise<readonly string[]> {
  // A tier that is not in the configuration at hand may well have a budget where it is.
  const moved = assigned.filter(({ tier }) => tier === null || Object.hasOwn(config.tiers, tier)).map(({ client }) => `client:${client}`);
  if (moved.length === 0) return [];
  const isLimited = new Set((await ledger.listBudgets()).filter(({ tokens, microUsd, runtimeMs }) => (tokens ?? microUsd ?? runtimeMs) !== undefined).map(({ target }) => target));
  return moved.filter((target) => isLimited.has(target) && !config.budgets.some((budget) => budget.target === target));
}
