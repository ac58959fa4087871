/**
 * What a stage does with the archives of others. One whose batch belongs to another account is left to the workers of that
 * account: nothing is asked of a provider that does not know the batch. One in line whose run the other side answers is passed
 * over by the ledger itself (`prepare-intent.lua`). Both may last for days, so a process tells each of them once.
 */
import type { ArchiveRecord, Ledger } from '../segments/ledger/ledger.ts';
import type { Log, Now, StageOutcome } from '../segments/stage.ts';
import type { Claude } from './claude.ts';
import { waitAtAge } from './pace.ts';

/** A worker of the right side may be woken for it at the next moment, so a young archive waits only a little, ms; an old one's
 *  side may have no worker for days. */
const leastWaitMs = 1_000;

/** Makes what says once that this process leaves work of the other side in line; `plimsoll status` shows it all the time. */
export function tellerOfOtherSide({ claude, log }: { readonly claude: Pick<Claude, 'account' | 'side'>; readonly log: Log }): () => void {
  let isTold = false;
  return () => {
    if (!isTold) log({ level: 'info', event: 'submit.other_side', subject: claude.account, detail: { side: claude.side, hint: `what is passed over here waits for: plimsoll work${claude.side === 'real' ? ' --simulate' : ''}` } });
    isTold = true;
  };
}

/**
 * Leaves archives alone, for one stage of one process. `sinceMs`: since when the archive waits for the stage, Unix ms;
 * `waitMs`: how long an archive of the same side waits, and none waits longer. What is left to the other side is told once.
 */
export function makeLeaving({ ledger, claude, now, log }: { readonly ledger: Pick<Ledger, 'readRun'>; readonly claude: Pick<Claude, 'account' | 'side'>; readonly now: Now; readonly log: Log }): (archive: ArchiveRecord, sinceMs: number, waitMs: number) => Promise<StageOutcome> {
  let isTold = false;
  return async (archive, sinceMs, waitMs) => {
    const side = (await ledger.readRun(archive.run))?.side;
    if (side === undefined || side === claude.side) {
      log({ level: 'warn', event: 'batch.other_account', subject: archive.batch ?? '', detail: { archive: archive.archive } });
      return { kind: 'later', atMs: now() + waitMs, why: 'other_account' };
    }
    if (!isTold) log({ level: 'info', event: 'batch.other_side', subject: archive.batch ?? '', detail: { archive: archive.archive, side } });
    isTold = true;
    return { kind: 'later', atMs: now() + waitAtAge(now() - sinceMs, leastWaitMs, waitMs), why: 'other_side' };
  };
}
