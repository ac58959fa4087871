/** `budget`: what a topic, a segment, a client or the installation may spend, and what it has. */
import { Command } from 'commander';
import { parseBudget } from '../config/budget-set.ts';
import { durationText } from '../config/quantity.ts';
import type { ExitCode } from '../segments/errors.ts';
import type { AccountRecord, Budget } from '../segments/ledger/ledger.ts';
import { journalBudget } from '../segments/store/decisions.ts';
import { accountsShown, budgetOf } from './budget-accounts.ts';
import { enterDecision } from './guard.ts';
import { overrunOf, overrunsOf, overrunText } from './overrun.ts';
import { groupExitCodes, withCommon, withInstallation, type CommonOptions } from './options.ts';
import { countText, dollarText, print, printJson, tableText, tell } from './terminal.ts';
import { microUsdToUsd } from '../segments/price.ts';
import { isCalendarUnit } from '../segments/window.ts';

interface SetOptions extends CommonOptions {
  readonly tokens?: string;
  readonly usd?: string;
  readonly runtime?: string;
  readonly onLate?: string;
  readonly window?: string;
  readonly timeZone?: string;
  readonly mode?: string;
}

/** The `budget` verb with `set` and `show`. */
export function budgetCommand(exit: (code: ExitCode) => void): Command {
  const budget = new Command('budget')
    .description('Set and show budgets.')
    .addHelpText('after', `\nA budget in the configuration (budgets) holds until one is set here.\n\nExamples:\n  plimsoll budget set topic:invoices --usd 5\n  plimsoll budget show\n\n${groupExitCodes}`);
  withCommon(budget.command('set'))
    .description('Set the limits of a target; what it holds flows again where there is room.')
    .argument('<target>', 'all, topic:NAME, client:NAME or segment:TOPIC.CLASS.PRIORITY')
    .option('--tokens <n>', 'tokens, input and output together')
    .option('--usd <x>', 'dollars, at most six decimals')
    .option('--mode <mode>', 'strict: reserve the most that a prompt can cost; estimate: what prompts like it have cost (default: as it was, else strict)')
    .option('--runtime <duration>', 'upper bound on the wall time of the work within the window, for example 6h')
    .option('--on-late <policy>', 'what is done with a batch that outlives the runtime: wait or cancel (default: as it was, else wait)')
    .option('--window <window>', 'run, total, hour, day, week, month, or a span such as 6h (UTC); default: as it was, else total')
    .option('--time-zone <name>', 'where hour, day, week and month begin, for example Europe/Berlin; default: as it was, else UTC')
    .addHelpText('after', '\nExamples:\n  plimsoll budget set topic:invoices --usd 5\n  plimsoll budget set segment:invoices.8k.high --tokens 2000000 --window 1d\n  plimsoll budget set all --usd 4000 --window month --time-zone Europe/Berlin\n  plimsoll budget set topic:mails --runtime 6h --on-late cancel --window run\n\nExit codes: 0 set, 2 usage')
    .action(async (target: string, options: SetOptions) => {
      exit(
        await withInstallation(options, 'words', async (installation) => {
          await enterDecision(installation);
          const { ledger, store, wake, now } = installation;
          const known = (await ledger.listBudgets()).find((each) => each.target === target);
          const window = options.window ?? known?.window;
          const timeZone = options.timeZone ?? (window !== undefined && isCalendarUnit(window) ? known?.timeZone : undefined);
          const parsed = parseBudget(target, { tokens: options.tokens, usd: options.usd, runtime: options.runtime, window, timeZone, mode: options.mode ?? known?.mode, onLate: options.onLate ?? known?.onLate }, 'plimsoll budget set');
          // A limit that is not named stays as it was.
          const merged: Budget = {
            target,
            tokens: parsed.tokens ?? known?.tokens,
            microUsd: parsed.microUsd ?? known?.microUsd,
            runtimeMs: parsed.runtimeMs ?? known?.runtimeMs,
            onLate: parsed.onLate,
            window: parsed.window,
            timeZone: parsed.timeZone,
            mode: parsed.mode,
          };
          // The journal first: a limit that holds must still hold when the ledger is rebuilt.
          await journalBudget(store, merged, now());
          await ledger.setBudget(merged, 'operator', now());
          const resumed = await ledger.resumeHeld(now());
          for (const chunk of resumed) await wake.enqueueChunk(chunk.segment, chunk.chunk, chunk.epoch);
          if (options.json) printJson({ target, tokens: merged.tokens ?? null, usd: merged.microUsd === undefined ? null : microUsdToUsd(merged.microUsd), runtime_ms: merged.runtimeMs ?? null, on_late: merged.onLate, window: merged.window, time_zone: timeZoneOf(merged) ?? null, mode: merged.mode, resumed_chunks: resumed.length });
          else if (!options.quiet) tell(`${target}: ${limitText(merged)}; ${resumed.length} held chunks flow again`);
          return 0;
        }),
      );
    });
  withCommon(budget.command('show'))
    .description('Show every budget and what is reserved and spent.')
    .addHelpText('after', '\nExample:\n  plimsoll budget show --json\n\nExit codes: 0 ok, 2 configuration or Redis')
    .action(async (options: CommonOptions) => {
      exit(
        await withInstallation(options, 'words', async ({ ledger, now }) => {
          const budgets = await ledger.listBudgets();
          const accounts = accountsShown(budgets, await ledger.listAccounts(), now());
          if (options.json) {
            printJson(accounts.map((account) => accountDocument(account, budgets)));
            return 0;
          }
          print(tableText(['account', 'window', 'tokens reserved', 'spent', 'cost reserved', 'spent', 'limit'], accounts.map((account) => {
            const limits = budgetOf(account, budgets);
            return [account.target, account.windowId, countText(account.tokensReserved), countText(account.tokensSpent), dollarText(account.microUsdReserved), dollarText(account.microUsdSpent), limits ? limitText(limits) : 'none'];
          })));
          for (const overrun of overrunsOf(accounts, budgets)) print(`\n${overrunText(overrun)}`);
          return 0;
        }),
      );
    });
  return budget;
}

/** One account; its limits are null where no budget has its window. */
function accountDocument(account: AccountRecord, budgets: readonly Budget[]): object {
  const limits = budgetOf(account, budgets);
  const overrun = overrunOf(account, budgets);
  return {
    target: account.target,
    window: account.windowId,
    tokens_reserved: account.tokensReserved,
    tokens_spent: account.tokensSpent,
    usd_reserved: microUsdToUsd(account.microUsdReserved),
    usd_spent: microUsdToUsd(account.microUsdSpent),
    over_bound_rows: account.overBound,
    mode: limits?.mode ?? null,
    tokens_overrun: overrun.tokens,
    usd_overrun: microUsdToUsd(overrun.microUsd),
    tokens_limit: limits?.tokens ?? null,
    usd_limit: limits?.microUsd === undefined ? null : microUsdToUsd(limits.microUsd),
    runtime_limit_ms: limits?.runtimeMs ?? null,
  };
}

function limitText(budget: Budget): string {
  const parts = [
    ...(budget.tokens === undefined ? [] : [`${countText(budget.tokens)} tokens`]),
    ...(budget.microUsd === undefined ? [] : [dollarText(budget.microUsd)]),
    ...(budget.runtimeMs === undefined ? [] : [`${durationText(budget.runtimeMs)} (late: ${budget.onLate ?? 'wait'})`]),
  ];
  const timeZone = timeZoneOf(budget);
  const window = timeZone === undefined ? budget.window : `${budget.window} (${timeZone})`;
  return `${parts.join(' and ') || 'no limit'} ${window === 'total' ? 'in total' : `per ${window}`}${budget.mode === 'estimate' ? ', by estimate' : ''}`;
}

/** Where a calendar window begins; undefined for every other. */
function timeZoneOf(budget: Budget): string | undefined {
  return isCalendarUnit(budget.window) ? (budget.timeZone ?? 'UTC') : undefined;
}
