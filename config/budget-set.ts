/** A budget from the command line, judged by the same schema as one from the settings file. */
import { budgetsType, toBudget } from './budget.ts';
import type { ConfiguredBudget } from './budget.ts';
import { ConfigError } from './fault.ts';
import { judge } from './given.ts';
import { settings } from './tree.ts';
import { invariant } from '../segments/errors.ts';

/** What `plimsoll budget set` was given, as the user wrote it; at least one of tokens, usd and runtime. */
export interface BudgetText {
  readonly tokens?: string | number | undefined;
  readonly usd?: string | undefined;
  readonly runtime?: string | number | undefined;
  readonly window?: string | undefined;
  readonly timeZone?: string | undefined;
  readonly mode?: string | undefined;
  readonly onLate?: string | undefined;
}

/**
 * Reads a budget for a target such as `topic:invoices`. `origin` names the command in faults.
 * @throws ConfigError (`config_invalid`) with everything that is wrong with target and limits.
 */
export function parseBudget(target: string, limits: BudgetText, origin: string): ConfiguredBudget {
  const setting = settings.get('budgets');
  invariant(setting !== undefined, 'budgets is a setting');
  const written = Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
  const value = { [target]: written };
  const faults = judge({ setting, value, origin: () => origin });
  if (faults.length > 0) throw new ConfigError(faults);
  const parsed = budgetsType.parse(value)[target];
  invariant(parsed !== undefined, `the budget of ${target} was judged`);
  return toBudget(target, parsed);
}
