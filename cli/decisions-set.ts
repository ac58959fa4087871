/** What holds besides the settings file, without Redis: budgets and tiers as operators have set them, from the journal. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Config } from '../config/config.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { TierDocument } from '../segments/journal.ts';
import type { Budget } from '../segments/ledger/ledger.ts';
import { readBudgets, readTiers } from '../segments/store/evidence.ts';
import { openStore } from './store.ts';

export interface DecisionsSet {
  /** Those of the settings, and over them what operators have set. */
  readonly budgets: readonly Budget[];
  /** The newest word of operators on each client. */
  readonly tiers: readonly TierDocument[];
  /** The lake could not be read, so what operators have set is missing. */
  readonly warning: string | undefined;
}

/** Reads them; what an operator has set is not undone by the settings. A lake that nobody has made is not made here. */
export async function readDecisionsSet(config: Config): Promise<DecisionsSet> {
  if (!config.lake.startsWith('s3://') && !existsSync(resolve(config.lake))) return { budgets: config.budgets, tiers: [], warning: undefined };
  try {
    const store = await openStore(config, Date.now());
    try {
      const byTarget = new Map<string, Budget>(config.budgets.map((budget) => [budget.target, budget]));
      for (const { target, tokens, microUsd, runtimeMs, onLate, mode, window, timeZone } of await readBudgets(store)) {
        byTarget.set(target, { target, tokens, microUsd, runtimeMs, onLate, mode, window, ...(timeZone === undefined ? {} : { timeZone }) });
      }
      return { budgets: [...byTarget.values()].sort((a, b) => (a.target < b.target ? -1 : 1)), tiers: await readTiers(store), warning: undefined };
    } finally {
      await store.close();
    }
  } catch (error) {
    // A plan needs no lake: it is made without these decisions, and says so.
    if (!(error instanceof PlimsollError)) throw error;
    return { budgets: config.budgets, tiers: [], warning: `what plimsoll budget set and plimsoll quota set have set is not in this plan, because the lake cannot be read (${error.code}): ${error.message}` };
  }
}
