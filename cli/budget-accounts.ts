/** The accounts that `budget show` lists: first those of the budgets in their windows of now, then every other. Pure. */
import type { AccountRecord, Budget } from '../segments/ledger/ledger.ts';
import { noUsage } from '../segments/segment.ts';
import { windowIdAt, windowName } from '../segments/window.ts';

/** The budget that limits an account: that of its target, where the account is of its window; undefined: none does. */
export function budgetOf({ target, windowId }: Pick<AccountRecord, 'target' | 'windowId'>, budgets: readonly Budget[]): Budget | undefined {
  const budget = budgets.find((each) => each.target === target);
  return budget && windowId.split('=')[0] === windowName(budget.window, budget.timeZone) ? budget : undefined;
}

/**
 * Every account once. A budget in whose window nothing was reserved yet has no account in the ledger; here it has one of
 * zeros, because its limit holds all the same. Of a budget of each run it is called `run`, until a run has reserved something.
 */
export function accountsShown(budgets: readonly Budget[], accounts: readonly AccountRecord[], nowMs: number): readonly AccountRecord[] {
  const leading = budgets.flatMap((budget) => {
    const { target, window, timeZone } = budget;
    const windowId = windowIdAt(window, timeZone, nowMs);
    const own = accounts.filter((account) => account.target === target && (window === 'run' ? account.windowId.startsWith('run=') : account.windowId === windowId));
    return own.length > 0 || !isLimiting(budget) ? own : [emptyAccount(target, windowId)];
  });
  const isLeading = new Set(leading);
  return [...leading, ...accounts.filter((account) => !isLeading.has(account))];
}

/** A budget that was lifted stays in the ledger without a limit. */
function isLimiting({ tokens, microUsd, runtimeMs }: Budget): boolean {
  return tokens !== undefined || microUsd !== undefined || runtimeMs !== undefined;
}

function emptyAccount(target: string, windowId: string): AccountRecord {
  return { target, windowId, tokensReserved: 0, tokensSpent: 0, microUsdReserved: 0, microUsdSpent: 0, usage: noUsage, overBound: 0 };
}
