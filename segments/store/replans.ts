/** Reads and writes the documents of replans. They are few: each is one decision of a person. */
import { PlimsollError } from '../errors.ts';
import { decodeJournal } from '../journal.ts';
import { replanKey, replanPrefix } from '../lake.ts';
import type { ReplanDocument } from '../replan-document.ts';
import type { SegmentName } from '../segment.ts';
import { putDocument, readDocument } from './document.ts';
import type { Store } from './store.ts';

/**
 * Writes a replan down, and returns the document that holds. The same decision has the same name, so a command that was
 * interrupted finds its own document, with the words and the time of the first try. @throws as `Store.put`
 */
export async function journalReplan(store: Store, document: ReplanDocument): Promise<ReplanDocument> {
  try {
    await putDocument(store, replanKey(document.replan), document);
    return document;
  } catch (error) {
    if (error instanceof PlimsollError && error.code === 'lake_conflict') return await readReplan(store, document.replan);
    throw error;
  }
}

/** Reads one replan. @throws PlimsollError `ledger_corrupt` when it is not there or is none */
export async function readReplan(store: Store, replan: string): Promise<ReplanDocument> {
  return decodeJournal('replan', replanKey(replan), await readDocument(store, replanKey(replan)));
}

/** Every replan of a segment, or of all, in the order of their names. @throws PlimsollError `ledger_corrupt` */
export async function readReplans(store: Store, segment?: SegmentName): Promise<readonly ReplanDocument[]> {
  const found: ReplanDocument[] = [];
  for await (const { key } of store.list(segment === undefined ? replanPrefix : `${replanPrefix}${segment}.`)) {
    found.push(decodeJournal('replan', key, await readDocument(store, key)));
  }
  return found;
}
