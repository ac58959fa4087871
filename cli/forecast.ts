/** `forecast`: what the window of each budget will have cost at its end, and when its limit will be reached. */
import { Command, Option } from 'commander';
import { isoTime } from '../exporters/encode.ts';
import type { ExitCode } from '../segments/errors.ts';
import { forecast, type BudgetAlert, type Forecast } from '../segments/forecast.ts';
import { SpendHistory } from '../segments/spend-history.ts';
import { readSpending } from '../segments/store/spending.ts';
import type { Store } from '../segments/store/store.ts';
import { readLimits, type LimitNow } from './budget-windows.ts';
import type { Installation } from './compose.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { countText, dollarText, print, printJson, tableText } from './terminal.ts';

/** From the mildest to the worst. */
const alerts = ['warning', 'forecast', 'exceeded'] as const satisfies readonly BudgetAlert[];

interface ForecastOptions extends CommonOptions {
  readonly failOn?: BudgetAlert;
}

/** A limit with its forecast; undefined for a budget of each run. */
export interface ForecastLine {
  readonly limit: LimitNow;
  readonly forecast: Forecast | undefined;
}

/** The `forecast` verb. */
export function forecastCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('forecast'))
    .description('Project what each budget will have spent at the end of its window, and when it will be used up.')
    .addOption(new Option('--fail-on <alert>', 'exit 5 when a budget has this alert or a worse one').choices([...alerts]))
    .addHelpText('after', `
The range holds eight of ten likely ends (10th to 90th percentile of 1,000 draws from the hours of this window and of up to
eight former ones; the same facts give the same range). It says what would be spent without the limit: a budget is never
exceeded, it holds work back.

Alerts: warning (80 % spent), forecast (more likely than not used up before the window ends), exceeded (used up, or work is
held back).

Examples:
  plimsoll forecast
  plimsoll forecast --json | jq '.budgets[] | {target, exceeds_by}'
  plimsoll forecast --fail-on forecast || notify-finance

Exit codes: 0 ok, 2 usage, configuration or Redis, 5 a budget has the alert of --fail-on or a worse one`)
    .action(async (options: ForecastOptions) => {
      exit(
        await withInstallation(options, 'words', async ({ ledger, store, now }) => {
          const nowMs = now();
          const lines = await forecastAll(await readLimits(ledger, nowMs), store, nowMs);
          if (options.json) printJson(forecastDocument(lines, nowMs));
          else show(lines);
          return lines.some((line) => isAsBadAs(line, options.failOn)) ? 5 : 0;
        }),
      );
    });
}

/** The document of `forecast --json`. */
export interface ForecastDocument {
  readonly at: string | null;
  readonly budgets: readonly ReturnType<typeof documentOf>[];
}

/**
 * What the window of each budget will have cost at its end: the document of `plimsoll forecast --json`.
 * @throws PlimsollError as ledger and store
 */
export async function readForecast({ ledger, store, now }: Pick<Installation, 'ledger' | 'store' | 'now'>): Promise<ForecastDocument> {
  const nowMs = now();
  return forecastDocument(await forecastAll(await readLimits(ledger, nowMs), store, nowMs), nowMs);
}

function forecastDocument(lines: readonly ForecastLine[], nowMs: number): ForecastDocument {
  return { at: isoTime(nowMs), budgets: lines.map((line) => documentOf(line)) };
}

/** Forecasts limits. Reads the history of all targets at once, in one pass over the lake. @throws PlimsollError as the store */
export async function forecastAll(limits: readonly LimitNow[], store: Store, nowMs: number): Promise<readonly ForecastLine[]> {
  const windows = limits.flatMap(({ window }) => (window ? [window] : []));
  const sinceMs = Math.min(nowMs, ...windows.map((window) => window.former.at(-1)?.startMs ?? window.startMs));
  const history = new SpendHistory(windows.map(({ target }) => target), sinceMs);
  if (windows.length > 0) for await (const outcome of readSpending(store)) history.add(outcome);
  return limits.map((limit) => ({ limit, forecast: limit.window && forecast(limit.window, history.of(limit.window.target, limit.unit), nowMs) }));
}

function isAsBadAs({ forecast: found }: ForecastLine, failOn: BudgetAlert | undefined): boolean {
  if (failOn === undefined || !found) return false;
  return found.alerts.some((alert) => alerts.indexOf(alert) >= alerts.indexOf(failOn));
}

/** A limit for programs: amounts in the unit, micro-USD or tokens. */
function documentOf({ limit: { budget, window, unit, timeZone }, forecast: found }: ForecastLine) {
  return {
    target: budget.target,
    window: budget.window,
    time_zone: timeZone,
    mode: budget.mode ?? 'strict',
    unit,
    limit: (unit === 'tokens' ? budget.tokens : budget.microUsd) ?? null,
    spent: window?.spent ?? null,
    reserved: window?.reserved ?? null,
    held: window?.held ?? null,
    starts_at: window && !window.isEndless ? isoTime(window.startMs) : null,
    ends_at: window && !window.isEndless ? isoTime(window.endMs) : null,
    projected: found?.projection ? { p10: found.projection.low, p50: found.projection.median, p90: found.projection.high } : null,
    chance_of_exceeding: found?.chance ?? null,
    exceeds_at: found?.exceedsAtMs === undefined ? null : isoTime(found.exceedsAtMs),
    exceeds_by: found?.exceedsAtMs === undefined ? null : dayText(found.exceedsAtMs, timeZone),
    alerts: found?.alerts ?? [],
    rests_on: { hours: found ? Math.round(found.hoursSeen * 10) / 10 : 0, former_windows: found?.windowsSeen ?? 0 },
  } as const;
}

function show(lines: readonly ForecastLine[]): void {
  if (lines.length === 0) {
    print('There is no budget in money or tokens. Try: plimsoll budget set all --usd 100 --window day');
    return;
  }
  print(tableText(['budget', 'window', 'spent', 'reserved', 'limit', 'likely end', 'ends'], lines.map(({ limit: { budget, window, unit, timeZone }, forecast: found }) => {
    const amount = (value: number): string => (unit === 'tokens' ? countText(value) : dollarText(value));
    const limit = (unit === 'tokens' ? budget.tokens : budget.microUsd) ?? 0;
    const end = found?.projection ? `${amount(found.projection.low)} to ${amount(found.projection.high)}` : '-';
    return [
      `${budget.target}${unit === 'tokens' ? ' (tokens)' : ''}${budget.mode === 'estimate' ? ', by estimate' : ''}`, budget.window, window ? amount(window.spent) : '-', window ? amount(window.reserved) : '-', amount(limit), end,
      !window ? 'with its run' : window.isEndless ? 'never' : momentText(window.endMs, timeZone),
    ];
  }), 2));
  const told = lines.flatMap(sentencesOf);
  if (told.length > 0) print(`\n${told.join('\n')}`);
}

/** What a person should know of a limit. */
function sentencesOf({ limit: { budget, window, unit, timeZone }, forecast: found }: ForecastLine): readonly string[] {
  const name = `${budget.target}${unit === 'tokens' ? ' (tokens)' : ''}`;
  if (!window || !found) return [`${name}: a budget of each run is not projected; plimsoll plan says what a run would cost.`];
  const sentences: string[] = [];
  const percent = window.limit === 0 ? 0 : Math.floor((window.spent / window.limit) * 100);
  if (found.alerts.includes('exceeded')) {
    sentences.push(window.held > 0 ? `${name}: has no room; work is held back. What would make it fit: plimsoll status` : `${name}: is used up (${percent} % spent).`);
  } else if (found.alerts.includes('warning')) sentences.push(`${name}: ${percent} % are spent.`);
  if (budget.mode === 'estimate' && window.spent > window.limit) sentences.push(`${name}: estimates were too low by ${unit === 'tokens' ? `${countText(window.spent - window.limit)} tokens` : dollarText(window.spent - window.limit)}. With --mode strict a limit is never passed.`);
  if (found.alerts.includes('forecast') && found.exceedsAtMs !== undefined) {
    sentences.push(`${name}: will exceed by ${dayText(found.exceedsAtMs, timeZone)} (in ${Math.round((found.chance ?? 0) * 100)} of 100 likely courses); from then on work is held back.`);
  }
  if (found.chance === undefined) sentences.push(`${name}: too early to project; ${hoursText(found.hoursSeen)} of this window are known, and no former one.`);
  else if (window.isEndless && found.exceedsAtMs === undefined) sentences.push(`${name}: lasts more than eight weeks at the pace of the last four.`);
  return sentences;
}

function hoursText(hours: number): string {
  return hours < 1 ? `${Math.floor(hours * 60)} minutes` : `${hours.toFixed(1)} hours`;
}

/** A day as people name it: `Thursday 2026-11-26`. */
export function dayText(atMs: number, timeZone: string): string {
  const weekday = new Intl.DateTimeFormat('en-US', { timeZone, weekday: 'long' }).format(atMs);
  return `${weekday} ${new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' }).format(atMs)}`;
}

function momentText(atMs: number, timeZone: string): string {
  const time = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit' }).format(atMs);
  return `${dayText(atMs, timeZone).split(' ')[1] ?? ''} ${time} ${timeZone}`;
}
