/**
 * What a look into the workspace says about an intent in doubt. Pure: from a listing, the ledger's claims and the times
 * of the intent to the batches that may be its own.
 *
 * A batch carries no name of ours before it ends, only its creation time and the number of its requests. Within a
 * narrow window both together are enough to bind it for the time being; its results confirm or refute that. A wider
 * window, for clocks that differ by more than they should, never binds, but nothing is absent while a batch in it may
 * still turn out to be ours.
 */
import type { BatchClaim, DoubtCandidate, IntentRecord } from '../segments/ledger/ledger.ts';
import { parseCustomId } from '../segments/pack.ts';
import type { ArchiveId, BatchId } from '../segments/segment.ts';
import type { BatchListing, ListedBatch } from './claude.ts';

/** What the journal keeps of an attempt; it outlives Redis, so it is believed before the ledger. */
export interface JournaledIntent {
  readonly owner: string;
  /** The provider's clock just before the upload; 0: it told none. */
  readonly providerDateMs: number;
  readonly preparedAtMs: number;
}

/** When a batch of an intent can have been created, on the provider's clock. Inclusive. */
export interface SubmitWindow {
  readonly fromMs: number;
  readonly toMs: number;
  readonly wideFromMs: number;
  readonly wideToMs: number;
}

const nearSlackMs = 5_000;
const wideSlackMs = 600_000;

/** Reads the journal's document of an intent; undefined when it has not the form that the submitter gives it. */
export function decodeJournaledIntent(document: unknown): JournaledIntent | undefined {
  const { owner, providerDateMs, preparedAtMs } = (document ?? {}) as Partial<Record<keyof JournaledIntent, unknown>>;
  if (typeof owner !== 'string' || typeof providerDateMs !== 'number' || typeof preparedAtMs !== 'number') return undefined;
  return { owner, providerDateMs, preparedAtMs };
}

/** The window of an intent in doubt. */
export function windowOf(intent: IntentRecord, journaled: JournaledIntent | undefined, landingWaitMs: number): SubmitWindow {
  // Redis was set back when the journal names another sender: when that one sent is only known to be before the doubt.
  const isSame = journaled === undefined || journaled.owner === intent.owner;
  const preparedAtMs = isSame ? intent.preparedAtMs : (journaled?.preparedAtMs ?? intent.preparedAtMs);
  const lastByteMs = (isSame ? intent.sentAtMs : undefined) ?? intent.doubt?.sinceMs ?? intent.preparedAtMs;
  const told = journaled?.providerDateMs ?? intent.providerDateMs ?? 0;
  const fromMs = told > 0 ? told : preparedAtMs;
  // The clock was told after `preparedAtMs`, so this is late rather than early.
  const toMs = fromMs + Math.max(0, lastByteMs - preparedAtMs) + landingWaitMs;
  return { fromMs: fromMs - nearSlackMs, toMs: toMs + nearSlackMs, wideFromMs: fromMs - wideSlackMs, wideToMs: toMs + wideSlackMs };
}

/** The batches of a listing that have to be looked at for an intent. */
export interface Sifted {
  /** Ended and nobody's yet: their first result says whose they are. */
  readonly ended: readonly ListedBatch[];
  /** Not ended, nobody's yet, with the row count of the intent. */
  readonly running: readonly ListedBatch[];
  /** With its row count, and bound to another intent on no better evidence than that: it may have to be given back. */
  readonly rivals: readonly ListedBatch[];
}

/** Sorts a listing. */
export function sift(listing: BatchListing, window: SubmitWindow, intent: IntentRecord, claims: ReadonlyMap<BatchId, BatchClaim>): Sifted {
  const inside = listing.batches.filter((each) => each.createdAtMs >= window.wideFromMs && each.createdAtMs <= window.wideToMs);
  const open = inside.filter((each) => !claims.has(each.batch));
  return {
    ended: open.filter((each) => each.isEnded),
    running: open.filter((each) => !each.isEnded && each.rows === intent.rows),
    rivals: inside.filter((each) => {
      const claim = claims.get(each.batch);
      return each.rows === intent.rows && claim?.kind === 'bound' && !claim.isConfirmed && claim.intent !== intent.intent;
    }),
  };
}

/** The one batch that can be adopted on time and count alone, or undefined. `candidates`: all that were not ruled out. */
export function onlyCandidate(candidates: readonly ListedBatch[], rivals: readonly ListedBatch[], window: SubmitWindow): ListedBatch | undefined {
  const [only, ...others] = candidates;
  if (only === undefined || others.length > 0 || rivals.length > 0) return undefined;
  return only.createdAtMs >= window.fromMs && only.createdAtMs <= window.toMs ? only : undefined;
}

/** Candidates as the ledger keeps them for people. */
export function asEvidence(candidates: readonly ListedBatch[]): readonly DoubtCandidate[] {
  return candidates.map(({ batch, createdAtMs, rows, isEnded }) => ({ batch, createdAtMs, rows, isEnded }));
}

/** The archive that a result's `custom_id` names; undefined: it is not of our making. */
export function archiveOf(customId: string): ArchiveId | undefined {
  return parseCustomId(customId)?.archive;
}
