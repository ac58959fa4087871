/** How far accounts were billed beyond their limits: what estimate mode may come to, and strict mode only where a limit was lowered. */
import type { AccountRecord, Budget } from '../segments/ledger/ledger.ts';
import { budgetOf } from './budget-accounts.ts';
import { countText, dollarText } from './terminal.ts';

/** One account that spent more than its limits; tokens and micro-USD, 0 for the limit that it kept. */
export interface Overrun {
  readonly target: string;
  readonly windowId: string;
  readonly tokens: number;
  readonly microUsd: number;
}

/** The overrun of an account; zeros where it has none. */
export function overrunOf(account: AccountRecord, budgets: readonly Budget[]): Overrun {
  const budget = budgetOf(account, budgets);
  const over = (spent: number, limit: number | undefined): number => (limit === undefined ? 0 : Math.max(0, spent - limit));
  return { target: account.target, windowId: account.windowId, tokens: over(account.tokensSpent, budget?.tokens), microUsd: over(account.microUsdSpent, budget?.microUsd) };
}

/** Every account that spent more than its limits. */
export function overrunsOf(accounts: readonly AccountRecord[], budgets: readonly Budget[]): readonly Overrun[] {
  return accounts.map((account) => overrunOf(account, budgets)).filter((each) => each.tokens > 0 || each.microUsd > 0);
}

/** One overrun as a line. */
export function overrunText({ target, windowId, tokens, microUsd }: Overrun): string {
  const parts = [...(tokens > 0 ? [`${countText(tokens)} tokens`] : []), ...(microUsd > 0 ? [dollarText(microUsd)] : [])];
  return `the budget of ${target} (${windowId}) is overrun by ${parts.join(' and ')}`;
}
