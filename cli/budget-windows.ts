/** The limits of the budgets in their windows of now, as a forecast takes them. */
import type { AccountRecord, Budget, Ledger, StopRecord } from '../segments/ledger/ledger.ts';
import type { BudgetWindow } from '../segments/forecast.ts';
import { windowAt, windowIdAt, type TimeWindow } from '../segments/window.ts';

/** How many former windows a forecast looks at. */
const formerMax = 8;
const dayMs = 86_400_000;
/** A window without an end: from when its pace is taken, and how far is looked. */
const endless = { backMs: 28 * dayMs, aheadMs: 56 * dayMs };

/** One limit with the budget it belongs to. */
export interface LimitNow {
  readonly budget: Budget;
  /** The time zone in which its days are named. */
  readonly timeZone: string;
  /** Undefined for a budget of each run: a run ends with its source, which `plan` knows and time does not. */
  readonly window: BudgetWindow | undefined;
  /** The window as accounts name it; of a budget of each run, empty. */
  readonly windowId: string;
  readonly unit: BudgetWindow['unit'];
}

/** Every limit in money or tokens, in the order of the budgets. */
export async function readLimits(ledger: Pick<Ledger, 'listBudgets' | 'listAccounts' | 'listStops'>, nowMs: number): Promise<readonly LimitNow[]> {
  const [budgets, accounts, stops] = [await ledger.listBudgets(), await ledger.listAccounts(), await ledger.listStops(nowMs)];
  return budgets.flatMap((budget) => [
    ...(budget.microUsd === undefined ? [] : [limitNow(budget, 'micro_usd', budget.microUsd, accounts, stops, nowMs)]),
    ...(budget.tokens === undefined ? [] : [limitNow(budget, 'tokens', budget.tokens, accounts, stops, nowMs)]),
  ]);
}

function limitNow(budget: Budget, unit: BudgetWindow['unit'], limit: number, accounts: readonly AccountRecord[], stops: readonly StopRecord[], nowMs: number): LimitNow {
  const common = { budget, unit, timeZone: budget.timeZone ?? 'UTC' };
  if (budget.window === 'run') return { ...common, window: undefined, windowId: '' };
  const bounds = windowAt(budget.window, budget.timeZone, nowMs);
  const windowId = windowIdAt(budget.window, budget.timeZone, nowMs);
  const account = accounts.find((each) => each.target === budget.target && each.windowId === windowId);
  const own = stops.filter((stop) => stop.target === budget.target && stop.reason === (unit === 'tokens' ? 'budget_tokens' : 'budget_cost'));
  return {
    ...common,
    windowId,
    window: {
      target: budget.target,
      unit,
      limit,
      startMs: bounds?.startMs ?? nowMs - endless.backMs,
      endMs: bounds?.endMs ?? nowMs + endless.aheadMs,
      isEndless: bounds === undefined,
      former: bounds ? formerOf(budget, bounds.startMs) : [],
      spent: (unit === 'tokens' ? account?.tokensSpent : account?.microUsdSpent) ?? 0,
      reserved: (unit === 'tokens' ? account?.tokensReserved : account?.microUsdReserved) ?? 0,
      held: own.reduce((sum, stop) => sum + (unit === 'tokens' ? stop.tokensHeld : stop.microUsdHeld), 0),
    },
  };
}

/** The windows before one, newest first. */
function formerOf({ window, timeZone }: Budget, startMs: number): readonly TimeWindow[] {
  const former: TimeWindow[] = [];
  for (let atMs = startMs - 1; atMs >= 0 && former.length < formerMax; ) {
    const bounds = windowAt(window, timeZone, atMs);
    if (!bounds) break;
    former.push(bounds);
    atMs = bounds.startMs - 1;
  }
  return former;
}
