/** The budgets that hold, without Redis: those of the settings, and over them what operators have set, from the journal. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Config } from '../config/config.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { Budget } from '../segments/ledger/ledger.ts';
import { readBudgets } from '../segments/store/evidence.ts';
import { openStore } from './store.ts';

export interface BudgetsSet {
  readonly budgets: readonly Budget[];
  /** The lake could not be read, so what operators have set is missing. */
  readonly warning: string | undefined;
}

/** Reads them; a budget that an operator has set is not undone by the settings. A lake that nobody has made is not made here. */
export async function readBudgetsSet(config: Config): Promise<BudgetsSet> {
  if (!config.lake.startsWith('s3://') && !existsSync(resolve(config.lake))) return { budgets: config.budgets, warning: undefined };
  try {
    const store = await openStore(config, Date.now());
    try {
      const byTarget = new Map<string, Budget>(config.budgets.map((budget) => [budget.target, budget]));
      for (const { target, tokens, microUsd, runtimeMs, onLate, mode, window, timeZone } of await readBudgets(store)) {
        byTarget.set(target, { target, tokens, microUsd, runtimeMs, onLate, mode, window, ...(timeZone === undefined ? {} : { timeZone }) });
      }
      return { budgets: [...byTarget.values()].sort((a, b) => (a.target < b.target ? -1 : 1)), warning: undefined };
    } finally {
      await store.close();
    }
  } catch (error) {
    // A plan needs no lake: it is made without these budgets, and says so.
    if (!(error instanceof PlimsollError)) throw error;
    return { budgets: config.budgets, warning: `what plimsoll budget set has set is not in this plan, because the lake cannot be read (${error.code}): ${error.message}` };
  }
}
