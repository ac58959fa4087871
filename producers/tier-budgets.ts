/**
 * The budgets that tiers give to the clients of a run, set before anything of those clients is admitted.
 *
 * A run is judged by the terms that it was opened under, to its end; a budget is not of the run but of the client, so it is
 * that of the tier in which the client is now. With the terms of the run, a run that is still being read would put back what
 * `quota set` has taken away, and nothing would lift it again.
 *
 * Invariant B1: when `setTierBudgets` returns, the budget of each client is that of its newest word. An operator's word comes
 * before the budgets that follow from it, so a word that is not there after the budgets were set has its own set later.
 */
import type { Budget, Ledger, TierAssignment } from '../segments/ledger/ledger.ts';

/** How often words are read again: once, unless an operator moves one of the clients at this very moment. */
const looksMax = 10;

export interface TierBudgetDependencies {
  readonly ledger: Pick<Ledger, 'readTiers' | 'setBudget'>;
  /** The budgets of these clients under the words of operators; none for a client whose tier has none. */
  readonly tierBudgets: (clients: readonly string[], assigned: readonly TierAssignment[]) => readonly Budget[];
  readonly now: () => number;
}

/**
 * Sets them, and lifts what it has set itself under a word that was overtaken meanwhile. `former`: targets (`client:NAME`) whose
 * budgets may be those of a tier before, and are lifted as well where the tier of now gives none. @throws what the ledger raises
 */
export async function setTierBudgets(clients: readonly string[], { ledger, tierBudgets, now }: TierBudgetDependencies, former: readonly string[] = []): Promise<void> {
  const own = new Set<string>(former);
  let assigned = await ledger.readTiers();
  for (let looks = 0; looks < looksMax; looks += 1) {
    const budgets = tierBudgets(clients, assigned);
    // All at once: there may be thousands of clients, and each waits for Redis' flush to disk.
    await Promise.all(budgets.map(async (budget) => await ledger.setBudget(budget, 'config', now())));
    for (const { target } of budgets) own.delete(target);
    for (const target of own) await ledger.setBudget({ target, tokens: undefined, microUsd: undefined, window: 'total' }, 'config', now());
    for (const { target } of budgets) own.add(target);
    const [before, newest] = [ordinals(assigned), await ledger.readTiers()];
    const after = ordinals(newest);
    if (clients.every((client) => after.get(client) === before.get(client))) return;
    assigned = newest;
  }
  throw new Error(`the tiers of ${clients.length} clients were read ${looksMax} times, and each time one of them had just been moved`);
}

/** Which word is the newest of each client; a client without one is not in it. */
function ordinals(assigned: readonly TierAssignment[]): ReadonlyMap<string, number> {
  return new Map(assigned.map(({ client, ordinal }) => [client, ordinal]));
}
