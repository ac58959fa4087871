/**
 * What became of one archive, from what the lake says of it: its state, its intents, its batch. Pure. Invariants B2 and B3
 * of `derive.ts`.
 */
import type { ChunkFooter } from './chunk.ts';
import { isOfSource, type SpooledObject } from './derive-rows.ts';
import { ordinalOf, type AcceptedDocument, type CompletionDocument, type ForgoingDocument, type IngestionDocument, type IntentDocument, type OpeningDocument, type RefusalDocument, type SealedArchive, type SealedChunkRange } from './journal.ts';
import type { ArchiveState, IntentState } from './lifecycle.ts';
import type { ArchiveOutcome } from './outcome.ts';
import type { ReplanDocument } from './replan-document.ts';
import { segmentParts, type ArchiveId, type BatchId, type ChunkId, type IntentId, type Priority } from './segment.ts';

/** Everything that the lake says of one run. */
export interface RunEvidence {
  readonly opening: OpeningDocument;
  readonly ingestion: IngestionDocument | undefined;
  readonly isCanceled: boolean;
  /** Empty for a run whose `_SUCCESS` is there: its archives say it all. */
  readonly spool: readonly SpooledObject[];
  readonly sealed: readonly SealedArchive[];
  readonly intents: readonly IntentDocument[];
  readonly accepted: readonly AcceptedDocument[];
  readonly halved: readonly RefusalDocument[];
  readonly rejected: readonly RefusalDocument[];
  /** Intents in doubt whose archives were given up. */
  readonly forgone: readonly ForgoingDocument[];
  readonly outcomes: readonly ArchiveOutcome[];
  readonly exported: ReadonlySet<ArchiveId>;
  /** Replans that hold chunks of the run, each with those chunks only. */
  readonly replans: readonly ReplanDocument[];
  readonly completion: CompletionDocument | undefined;
  /** Its `_SUCCESS` is in the lake. */
  readonly isComplete: boolean;
}

export interface DerivedIntent {
  readonly intent: IntentId;
  readonly state: IntentState;
  readonly account: string;
  readonly owner: string;
  readonly rows: number;
  readonly bodyBytes: number;
  readonly providerDateMs: number;
  readonly preparedAtMs: number;
  readonly batch: BatchId | '';
  /** When its archive was given up, Unix ms; undefined: it was not. */
  readonly forgoneAtMs?: number | undefined;
}

export interface DerivedArchive {
  readonly archive: ArchiveId;
  readonly state: Extract<ArchiveState, 'sealed' | 'in_doubt' | 'accepted' | 'ended' | 'settled' | 'exported' | 'canceled'>;
  readonly reason: string;
  readonly priority: Priority;
  readonly rows: number;
  readonly bodyBytes: number;
  readonly bodySha256: string;
  readonly intent: IntentId | '';
  readonly account: string;
  readonly batch: BatchId | '';
  readonly acceptedAtMs: number | undefined;
  readonly endedAtMs: number | undefined;
  readonly chunks: readonly ChunkId[];
  readonly intents: readonly DerivedIntent[];
}

/** An archive that is alive or done, before its rows are placed. */
export interface ArchiveDraft {
  readonly archive: ArchiveId;
  readonly state: DerivedArchive['state'];
  /** It was sent, or may have been, or is over. */
  readonly isSpokenFor: boolean;
  readonly ranges: readonly SealedChunkRange[];
  readonly outcome: ArchiveOutcome | undefined;
  readonly record: DerivedArchive;
  readonly openedAtMs: number;
}

/** Every archive of a run that is alive or done, in the order of the ordinals. */
export function draftsOf(evidence: RunEvidence): readonly ArchiveDraft[] {
  const sealed = new Map(evidence.sealed.map((each) => [each.archive, each]));
  const outcomes = new Map(evidence.outcomes.map((each) => [each.archive, each]));
  const ids = [...new Set([...sealed.keys(), ...outcomes.keys()])].sort();
  const drafts: ArchiveDraft[] = [];
  for (const id of ids) {
    const draft = draftOf(evidence, id, sealed.get(id), outcomes.get(id));
    if (draft) drafts.push(draft);
  }
  return drafts;
}

/** One archive; undefined when two others carry its chunks on. */
function draftOf(evidence: RunEvidence, archive: ArchiveId, sealed: SealedArchive | undefined, outcome: ArchiveOutcome | undefined): ArchiveDraft | undefined {
  const of = <Each extends { readonly archive: ArchiveId; readonly intent: IntentId }>(all: readonly Each[]): readonly Each[] =>
    all.filter((each) => each.archive === archive).sort((a, b) => ordinalOf(a.intent) - ordinalOf(b.intent));
  const intents = of(evidence.intents);
  // A batch whose id came to be known after its archive was given up and settled is nobody's any more.
  const accepted = outcome?.batch === null ? undefined : of(evidence.accepted).at(-1);
  const newest = accepted ?? intents.at(-1);
  // Any proof is better than the word that there is none: it may have come after that was said.
  const isUnproven = accepted === undefined && (outcome?.batch ?? null) === null;
  const forgone = isUnproven ? evidence.forgone.find((each) => each.intent === newest?.intent) : undefined;
  const rejected = of(evidence.rejected).find((each) => each.intent === newest?.intent);
  if (isHalved(evidence, archive)) return undefined;
  const ranges: readonly SealedChunkRange[] = sealed?.chunks ?? outcome?.chunks.map((chunk) => ({ ...chunk, tokensMax: 0, microUsdMax: 0 })) ?? [];
  const state = stateOf(evidence, archive, outcome, accepted, rejected ?? forgone, newest);
  const sent = evidence.intents.find((each) => each.intent === newest?.intent);
  return {
    archive,
    state,
    isSpokenFor: newest !== undefined || outcome !== undefined,
    ranges,
    outcome: state === 'settled' || state === 'exported' ? outcome : undefined,
    openedAtMs: evidence.opening.openedAtMs,
    record: {
      archive,
      state,
      reason: state === 'in_doubt' ? 'ledger_rebuilt' : (rejected?.reason ?? (forgone ? 'submission_in_doubt' : '')),
      priority: sealed?.priority ?? priorityOf(ranges),
      rows: sealed?.rows ?? outcome?.rows ?? 0,
      bodyBytes: sealed?.bodyBytes ?? 0,
      bodySha256: sealed?.bodySha256 ?? '',
      intent: newest?.intent ?? '',
      account: newest?.account ?? outcome?.account ?? '',
      batch: accepted?.batch ?? outcome?.batch ?? '',
      acceptedAtMs: outcome ? (outcome.submittedAtMs ?? undefined) : accepted ? (sent?.preparedAtMs ?? evidence.opening.openedAtMs) : undefined,
      endedAtMs: outcome?.endedAtMs ?? (rejected ? (sent?.preparedAtMs ?? evidence.opening.openedAtMs) : forgone?.decidedAtMs),
      chunks: ranges.map((range) => range.chunk),
      intents: intents.map((each): DerivedIntent => {
        const isNewest = each.intent === newest?.intent;
        const isForgone = isNewest && forgone !== undefined && rejected === undefined;
        if (isForgone) return { ...each, state: 'forgone', batch: '', forgoneAtMs: forgone.decidedAtMs };
        const batch = evidence.accepted.find((one) => one.intent === each.intent)?.batch ?? '';
        const isOpen = isNewest && state === 'in_doubt';
        return { ...each, state: batch !== '' ? 'accepted' : isOpen ? 'in_doubt' : 'refused', batch };
      }),
    },
  };
}

/** Whether two others carry its chunks on. A refusal speaks of its own intent only: a later one may have gone through. */
function isHalved(evidence: RunEvidence, archive: ArchiveId): boolean {
  const of = <Each extends { readonly archive: ArchiveId }>(all: readonly Each[]): readonly Each[] => all.filter((each) => each.archive === archive);
  if (of(evidence.accepted).length > 0 || of(evidence.outcomes).length > 0) return false;
  const newest = of(evidence.intents).reduce<IntentDocument | undefined>((last, each) => (last && ordinalOf(last.intent) > ordinalOf(each.intent) ? last : each), undefined);
  return of(evidence.halved).some((each) => each.intent === newest?.intent);
}

/**
 * The archives that were refused whole and halved. They hold no rows any more, but their intents stay in the lake for
 * ever: a ledger that did not know them would be taken for one that has forgotten them.
 */
export function halvedOf(evidence: RunEvidence): readonly DerivedArchive[] {
  return [...new Set(evidence.halved.map((each) => each.archive))].filter((archive) => isHalved(evidence, archive)).sort().map((archive) => {
    const sealed = evidence.sealed.find((each) => each.archive === archive);
    const intents = evidence.intents.filter((each) => each.archive === archive).sort((a, b) => ordinalOf(a.intent) - ordinalOf(b.intent));
    const newest = intents.at(-1);
    return {
      archive, state: 'canceled', reason: evidence.halved.find((each) => each.intent === newest?.intent)?.reason ?? '', priority: sealed?.priority ?? 'normal',
      rows: sealed?.rows ?? 0, bodyBytes: sealed?.bodyBytes ?? 0, bodySha256: sealed?.bodySha256 ?? '', intent: newest?.intent ?? '', account: newest?.account ?? '',
      batch: '', acceptedAtMs: undefined, endedAtMs: undefined, chunks: [], intents: intents.map((each): DerivedIntent => ({ ...each, state: 'refused', batch: '' })),
    };
  });
}

function stateOf(
  evidence: RunEvidence,
  archive: ArchiveId,
  outcome: ArchiveOutcome | undefined,
  accepted: AcceptedDocument | undefined,
  concluded: RefusalDocument | ForgoingDocument | undefined,
  newest: { readonly intent: IntentId } | undefined,
): DerivedArchive['state'] {
  if (evidence.exported.has(archive)) return 'exported';
  // Without all of its retries the settlement is done again; it takes the outcome that is there (B3).
  if (outcome) return evidence.isComplete || areRetriesSpooled(evidence, outcome) ? 'settled' : 'ended';
  if (accepted) return 'accepted';
  if (concluded) return 'ended';
  return newest ? 'in_doubt' : 'sealed';
}

function areRetriesSpooled(evidence: RunEvidence, outcome: ArchiveOutcome): boolean {
  const retried = outcome.retried.reduce((sum, [first, last]) => sum + last - first + 1, 0);
  const spooled = evidence.spool.filter(({ footer }) => !isOfSource(footer) && sourceOf(footer) === outcome.archive);
  return spooled.reduce((sum, { footer }) => sum + footer.rows, 0) === retried;
}

/** The archive whose rows a retry chunk carries on: its name begins with it. */
export function sourceOf(footer: ChunkFooter): ArchiveId {
  return footer.chunk.slice(0, footer.chunk.indexOf('.')) as ArchiveId;
}

function priorityOf(ranges: readonly SealedChunkRange[]): Priority {
  return (ranges[0] && segmentParts(ranges[0].segment)?.priority) ?? 'normal';
}
