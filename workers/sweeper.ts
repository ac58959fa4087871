/**
 * The sweeper: wakes again whatever the ledger says has waited too long. It is what makes a lost job, a dead worker and a
 * crash between a transition and its wake-up mere delays. Every process has one; their looks are harmless together.
 *
 * Invariant V1: whatever is due and unclaimed is woken within two intervals.
 */
import { PlimsollError } from '../segments/errors.ts';
import type { Ledger } from '../segments/ledger/ledger.ts';
import type { Log, Now } from '../segments/stage.ts';
import type { Wake } from '../segments/wake.ts';

export interface SweeperDependencies {
  readonly ledger: Ledger;
  readonly wake: Wake;
  readonly sweepIntervalMs: number;
  readonly now: Now;
  readonly log: Log;
  /** Told when the ledger refuses a look because it is behind or being rebuilt. */
  readonly onBehind: (fault: PlimsollError) => void;
}

export interface Sweeper {
  stop(): Promise<void>;
}

const perLook = 200;

/** How often accounts of windows that are over are looked for; each look costs one pass over their names. */
const accountsEveryMs = 3_600_000;

/** Looks at once and then every interval. */
export function startSweeper(dependencies: SweeperDependencies): Sweeper {
  const { ledger, sweepIntervalMs, now, log, onBehind } = dependencies;
  let looking: Promise<void> | undefined;
  let accountsAtMs = 0;
  const look = (): void => {
    looking ??= sweep(dependencies)
      .then(async () => {
        if (now() < accountsAtMs) return;
        await ledger.sweepAccounts(now());
        accountsAtMs = now() + accountsEveryMs;
      })
      .catch((error: unknown) => {
        if (error instanceof PlimsollError && error.code === 'ledger_behind') onBehind(error);
        else log({ level: 'warn', event: 'sweep.fault', subject: 'ledger', detail: { error: error instanceof Error ? error.name : 'unknown' } });
      })
      .finally(() => {
        looking = undefined;
      });
  };
  look();
  const timer = setInterval(look, sweepIntervalMs);
  return {
    async stop() {
      clearInterval(timer);
      await looking;
    },
  };
}

/** One look: wakes what is overdue, lets go what has room again, and wakes the packer when something is queued. */
export async function sweep(dependencies: Omit<SweeperDependencies, 'log' | 'onBehind'>): Promise<void> {
  const { ledger, wake, sweepIntervalMs, now } = dependencies;
  for (const due of await ledger.overdue(now(), sweepIntervalMs * 2, perLook)) await wake.wake(due);
  for (const chunk of await ledger.resumeHeld(now())) await wake.enqueueChunk(chunk.segment, chunk.chunk, chunk.epoch);
  if ((await ledger.nextSegment([])) !== undefined) await wake.wake({ stage: 'pack', entity: 'all', epoch: now() });
}
