/**
 * What operators decide, written into the lake before the ledger acts on it: limits, holds, cancellations, tiers and archives that are given up. A ledger
 * that is rebuilt must not spend, let go, send or admit what a person has forbidden.
 */
import { PlimsollError } from '../errors.ts';
import { decodeJournal, type ForgoingDocument, type TierDocument } from '../journal.ts';
import { budgetKey, forgoneKey, holdKey, runCanceledKey, tierHistoryPrefix, tierKey } from '../lake.ts';
import type { Budget, HoldTarget } from '../ledger/ledger.ts';
import type { IntentId, RunKey } from '../segment.ts';
import { putDocument, readDocument } from './document.ts';
import type { Store } from './store.ts';

/** Writes a limit down; the newest of a target holds. @throws as `Store.put` */
export async function journalBudget(store: Store, budget: Budget, nowMs: number): Promise<void> {
  await putNext(store, (ordinal) => budgetKey(budget.target, ordinal), { v: 1, ...budget, setAtMs: nowMs });
}

/** Writes down what is held from now on, or let go. @throws as `Store.put` */
export async function journalHold(store: Store, target: HoldTarget, isHeld: boolean, setAtMs: number): Promise<void> {
  const scope = target.kind === 'run' ? `run:${target.run}` : `segment:${target.segment}`;
  await putNext(store, (ordinal) => holdKey(scope, ordinal), { v: 1, scope, isHeld, setAtMs });
}

/** Writes down that a doubt is left to a person; what ends the doubt ends that too. @throws as `Store.put` */
export async function journalDoubtHold(store: Store, intent: IntentId, nowMs: number): Promise<void> {
  const scope = `doubt:${intent}`;
  await putNext(store, (ordinal) => holdKey(scope, ordinal), { v: 1, scope, isHeld: true, setAtMs: nowMs });
}

/** Writes down that a run was canceled; twice is once. @throws as `Store.put` */
export async function journalCancellation(store: Store, run: RunKey): Promise<void> {
  await putDocument(store, runCanceledKey(run), { v: 1, run });
}

/**
 * Writes down that an archive in doubt is given up, and returns the word that holds: the first one said of this intent.
 * @throws as `Store.put`, and PlimsollError `ledger_corrupt`
 */
export async function journalForgoing(store: Store, word: ForgoingDocument): Promise<ForgoingDocument> {
  try {
    const known = await readForgoing(store, word.run, word.intent);
    if (known) return known;
    await putDocument(store, forgoneKey(word.run, word.intent), { v: 1, ...word });
    return word;
  } catch (error) {
    if (!(error instanceof PlimsollError) || error.code !== 'lake_conflict') throw error;
    // Somebody else was faster; what they said is what was decided.
    return (await readForgoing(store, word.run, word.intent)) ?? word;
  }
}

/** Who gave up the archive of this intent, when and why; undefined: nobody. @throws PlimsollError `ledger_corrupt` */
export async function readForgoing(store: Store, run: RunKey, intent: IntentId): Promise<ForgoingDocument | undefined> {
  const key = forgoneKey(run, intent);
  const document = await readDocument(store, key);
  return document === undefined ? undefined : decodeJournal('forgoing', key, document);
}

/**
 * Writes down that a client goes into a tier, or out of every one (null), and returns the word that holds. A client that is
 * there already stays there, with the word that has brought it. @throws as `Store.put`
 */
export async function journalTier(store: Store, word: Omit<TierDocument, 'ordinal' | 'from'> & { readonly fromUnset: string | null }): Promise<{ readonly document: TierDocument; readonly isNew: boolean }> {
  const { fromUnset, ...said } = word;
  for (;;) {
    // Read again after somebody was faster: each word names the one before it, so the trail has no gap.
    const last = (await readTierHistory(store, word.client)).at(-1);
    if (last?.tier === word.tier) return { document: last, isNew: false };
    const document: TierDocument = { ...said, from: last ? last.tier : fromUnset, ordinal: (last?.ordinal ?? 0) + 1 };
    try {
      await putDocument(store, tierKey(word.client, document.ordinal), { v: 1, ...document });
      return { document, isNew: true };
    } catch (error) {
      if (!(error instanceof PlimsollError) || error.code !== 'lake_conflict') throw error;
    }
  }
}

/** Every word of operators on a client's tier, oldest first. @throws PlimsollError `ledger_corrupt` */
export async function readTierHistory(store: Store, client: string): Promise<readonly TierDocument[]> {
  const found: TierDocument[] = [];
  for await (const { key } of store.list(tierHistoryPrefix(client))) found.push(decodeJournal('tier', key, await readDocument(store, key)));
  return found;
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
