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

/** Brings shares and budgets of clients in line with their tiers. */
export async function applyTiers(config: Config, ledger: Ledger, nowMs: number): Promise<void> {
  const assigned = await ledger.readTiers();
  const terms = termsWith(configuredTerms(config), new Map(assigned.map((each) => [each.client, each.tier])));
  await ledger.setWeights(weightsOf(config, assigned.map(({ client }) => client), (client) => tierOf(terms, client)?.name));
  await setTierBudgets(namedClients(config, assigned), { ledger, tierBudgets: (clients, words) => tierBudgetsOf(config, clients, words), now: () => nowMs });
}
