/**
 * Gives up an archive in doubt (reliability.md 4.5, fence (c)): nobody can prove what became of it and nobody wants to pay
 * twice, so it is never sent again and its rows end as dead letters. What its batch may cost counts as spent, because
 * nobody can say that it was not.
 *
 * Invariant W1: the word stands in the lake before the ledger acts on it. Killed in between, the next look of the adopter
 * carries it out; killed after it, the sweeper finds the archive due for its settlement; a rebuild finds the word.
 */
import type { ForgoingDocument } from '../segments/journal.ts';
import type { ArchiveRecord, Ledger } from '../segments/ledger/ledger.ts';
import type { IntentId } from '../segments/segment.ts';
import type { Log, Now } from '../segments/stage.ts';
import { journalForgoing } from '../segments/store/decisions.ts';
import type { Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';

export interface ForgoDependencies {
  readonly ledger: Pick<Ledger, 'forgoIntent'>;
  readonly store: Store;
  readonly wake: Wake;
  readonly now: Now;
  readonly log: Log;
}

/**
 * Writes down that an archive is given up and carries it out; the first word said of an intent holds. False: it is not in
 * doubt any more. @throws what lake and ledger raise
 */
export async function forgo(dependencies: ForgoDependencies, archive: ArchiveRecord, intent: IntentId, by: string, reason: string): Promise<boolean> {
  const word = await journalForgoing(dependencies.store, { intent, archive: archive.archive, run: archive.run, by, reason, decidedAtMs: dependencies.now() });
  return await carryOutForgoing(dependencies, word);
}

/** Carries out what was written down. Twice is once. @throws what the ledger raises */
export async function carryOutForgoing({ ledger, wake, now, log }: ForgoDependencies, { intent, archive, by, decidedAtMs }: ForgoingDocument): Promise<boolean> {
  if (!(await ledger.forgoIntent({ intent, by, decidedAtMs, nowMs: now() }))) return false;
  log({ level: 'error', event: 'archive.forgone', subject: archive, detail: { intent, by } });
  await wake.wake({ stage: 'settle', entity: archive, epoch: 0 });
  return true;
}
