/**
 * What operators decide, written into the lake before the ledger acts on it: limits, holds and cancellations. A ledger
 * that is rebuilt must not spend, let go or send what a person has forbidden.
 */
import { PlimsollError } from '../errors.ts';
import { budgetKey, holdKey, runCanceledKey } from '../lake.ts';
import type { Budget, HoldTarget } from '../ledger/ledger.ts';
import type { RunKey } from '../segment.ts';
import { putDocument } from './document.ts';
import type { Store } from './store.ts';

/** Writes a limit down; the newest of a target holds. @throws as `Store.put` */
export async function journalBudget(store: Store, budget: Budget, nowMs: number): Promise<void> {
  await putNext(store, (ordinal) => budgetKey(budget.target, ordinal), { v: 1, ...budget, setAtMs: nowMs });
}

/** Writes down what is held from now on, or let go. @throws as `Store.put` */
export async function journalHold(store: Store, target: HoldTarget, isHeld: boolean, nowMs: number): Promise<void> {
  const scope = target.kind === 'run' ? `run:${target.run}` : `segment:${target.segment}`;
  await putNext(store, (ordinal) => holdKey(scope, ordinal), { v: 1, scope, isHeld, setAtMs: nowMs });
}

/** Writes down that a run was canceled; twice is once. @throws as `Store.put` */
export async function journalCancellation(store: Store, run: RunKey): Promise<void> {
  await putDocument(store, runCanceledKey(run), { v: 1, run });
}

/** Writes a document under the next free number: two operators at the same moment get one each. */
async function putNext(store: Store, keyOf: (ordinal: number) => string, document: unknown): Promise<void> {
  const folder = keyOf(0).slice(0, keyOf(0).lastIndexOf('/') + 1);
  let newest = 0;
  for await (const { key } of store.list(folder)) newest = Number(/(\d+)\.json$/.exec(key)?.[1] ?? newest);
  for (let ordinal = newest + 1; ; ordinal += 1) {
    try {
      await putDocument(store, keyOf(ordinal), document);
      return;
    } catch (error) {
      if (!(error instanceof PlimsollError) || error.code !== 'lake_conflict') throw error;
    }
  }
}
