/**
 * The words of operators, carried out. Each stands in the lake before the ledger acts on it, so a ledger that was set back to
 * a time before it, or whose operator was killed in between, learns it from there: what a person has held or canceled must
 * not be sent, and a limit that somebody has lowered must hold, although nothing else in the ledger is missing.
 *
 * It owns no state. The lake says what was decided last, the ledger what it has done of that.
 *
 * Invariants
 *   W1  When this has returned, the newest word on every run, segment, doubt, limit and client that the lake had before is the ledger's.
 *   W2  A word that the ledger knows changes nothing, and an older one never undoes a newer one.
 */
import type { IntentId, RunKey } from '../segment.ts';
import type { Log, Now } from '../stage.ts';
import { readBudgets, readHolds, readTiers } from '../store/evidence.ts';
import type { Store } from '../store/store.ts';
import { heldByOperator } from './doubts.ts';
import { runsWith } from './guard.ts';
import type { HoldTarget, Ledger } from './ledger.ts';

export interface WordDependencies {
  readonly store: Store;
  readonly ledger: Pick<Ledger, 'readRun' | 'cancelRun' | 'hold' | 'holdIntent' | 'readIntent' | 'resume' | 'setBudget' | 'setTier'>;
  /** Rows of one archive, for a cancellation. */
  readonly archiveRowsMax: number;
  readonly now: Now;
  readonly log: Log;
}

/**
 * Carries out what the lake says and the ledger does not know. `movedClients`: how many went into another tier, whose
 * budgets its caller then applies. @throws PlimsollError `ledger_behind`, `ledger_corrupt`, and what store and ledger raise
 */
export async function carryOutWords(dependencies: WordDependencies): Promise<{ readonly movedClients: number }> {
  const { store, ledger } = dependencies;
  for (const run of await runsWith(store, 'canceled')) await cancel(dependencies, run);
  const { targets, doubts } = await readHolds(store);
  for (const { target, setAtMs } of targets) await hold(dependencies, target, setAtMs);
  for (const intent of doubts) await leave(dependencies, intent);
  // The time of the word, not of now: a word that was said meanwhile is newer (W2).
  for (const { setAtMs, ...budget } of await readBudgets(store)) await ledger.setBudget({ ...budget, tokens: budget.tokens, microUsd: budget.microUsd }, 'operator', setAtMs);
  let movedClients = 0;
  for (const { client, tier, ordinal, by, setAtMs } of await readTiers(store)) {
    if (!(await ledger.setTier({ client, tier, ordinal, by, setAtMs }))) continue;
    movedClients += 1;
    tell(dependencies, `client:${client}`, 'tier');
  }
  return { movedClients };
}

async function cancel(dependencies: WordDependencies, run: RunKey): Promise<void> {
  const { ledger, archiveRowsMax, now } = dependencies;
  const state = (await ledger.readRun(run))?.state;
  if (state !== 'ingesting' && state !== 'open') return;
  await ledger.cancelRun(run, archiveRowsMax, now());
  tell(dependencies, `run:${run}`, 'cancel');
}

async function hold(dependencies: WordDependencies, target: HoldTarget, saidAtMs: number): Promise<void> {
  const { store, ledger, now } = dependencies;
  if (!(await ledger.hold(target, saidAtMs))) return;
  // Somebody may have let it go between the look at the lake and this: they have written that down before they did it.
  if (!(await readHolds(store)).targets.some((each) => nameOf(each.target) === nameOf(target))) await ledger.resume(target, now());
  else tell(dependencies, nameOf(target), 'hold');
}

async function leave(dependencies: WordDependencies, intent: IntentId): Promise<void> {
  const { ledger, now } = dependencies;
  if ((await ledger.readIntent(intent))?.state !== 'in_doubt' || !(await ledger.holdIntent(intent, heldByOperator, now()))) return;
  tell(dependencies, `doubt:${intent}`, 'hold');
}

function nameOf(target: HoldTarget): string {
  return target.kind === 'run' ? `run:${target.run}` : `segment:${target.segment}`;
}

function tell({ log }: WordDependencies, subject: string, word: string): void {
  log({ level: 'warn', event: 'ledger.word_carried_out', subject, detail: { word, hint: 'the lake knew it and Redis did not: it was set back, or the command was cut off' } });
}
