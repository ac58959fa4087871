/**
 * Looks ahead while workers spend: tells by an event of every budget that will probably be used up before its window ends
 * (`budget.forecast`), once for each window and limit. It owns when it looks; what is likely is worked out by
 * `segments/forecast.ts`, and that it is told once is the ledger's care.
 *
 * Invariants
 *   Z1  A look never holds up a stage, and its faults are nobody else's: it is logged and the next one comes.
 *   Z2  At most one look is under way in a process, and looks begin at least `patienceMs` apart: each reads the outcomes of
 *       the lake, which for a bucket are that many requests.
 */
import { PlimsollError } from '../segments/errors.ts';
import type { Ledger } from '../segments/ledger/ledger.ts';
import type { Log, Now } from '../segments/stage.ts';
import type { Store } from '../segments/store/store.ts';
import { readLimits } from './budget-windows.ts';
import { dayText, forecastAll } from './forecast.ts';

/** Between two looks, ms: while a run goes on, and when one has ended. */
const patienceMs = { archive: 3_600_000, run: 60_000 } as const;

export interface ForeseerDependencies {
  readonly ledger: Pick<Ledger, 'listBudgets' | 'listAccounts' | 'listStops' | 'tellForecast'>;
  readonly store: Store;
  readonly now: Now;
  readonly log: Log;
}

export interface Foreseer {
  /** What is spent has changed: begins a look where it is time for one. */
  readonly onSpent: (noun: keyof typeof patienceMs) => void;
  /** Waits for the look that is under way; none begins any more. */
  stop(): Promise<void>;
}

/** Opens the foreseer of a process. */
export function openForeseer(dependencies: ForeseerDependencies): Foreseer {
  const { now, log } = dependencies;
  let underway: Promise<void> | undefined;
  let beganMs = Number.NEGATIVE_INFINITY;
  let isStopped = false;
  return {
    onSpent(noun) {
      if (isStopped || underway || now() - beganMs < patienceMs[noun]) return;
      beganMs = now();
      underway = tellForecasts(dependencies)
        .catch((error: unknown) => log({ level: 'warn', event: 'forecast.fault', subject: 'budgets', detail: { error: error instanceof PlimsollError ? error.code : 'unknown' } }))
        .finally(() => {
          underway = undefined;
        });
    },
    async stop() {
      isStopped = true;
      await underway;
    },
  };
}

/** Forecasts every limit and tells of those that will be used up. @throws PlimsollError as ledger and store */
export async function tellForecasts({ ledger, store, now, log }: ForeseerDependencies): Promise<void> {
  const nowMs = now();
  const limits = (await readLimits(ledger, nowMs)).filter(({ window }) => window !== undefined);
  if (limits.length === 0) return;
  for (const { limit, forecast } of await forecastAll(limits, store, nowMs)) {
    const { budget, window, windowId, unit, timeZone } = limit;
    if (!window || forecast?.exceedsAtMs === undefined || !forecast.alerts.includes('forecast')) continue;
    const exceedsBy = dayText(forecast.exceedsAtMs, timeZone);
    const isTold = await ledger.tellForecast({
      target: budget.target, windowId, unit, limit: window.limit, exceedsAtMs: forecast.exceedsAtMs, exceedsBy, chancePercent: Math.round((forecast.chance ?? 0) * 100), nowMs,
    });
    if (isTold) log({ level: 'warn', event: 'budget.forecast', subject: budget.target, detail: { unit, limit: window.limit, exceedsBy } });
  }
}
