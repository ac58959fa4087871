/**
 * From what the lake says of one run to what the ledger has to say of it. Pure: the same evidence always gives the same
 * records, so a rebuild that is killed and begun again ends the same.
 *
 * Which rows belong to whom is decided in three steps. Archives with an intent or an outcome come first: their rows are
 * spoken for, whatever else the lake holds. Then sealed archives that were never sent; one that would take a row a second
 * time is left over from a ledger that was set back, and is dropped. What is left of the spool is queued again.
 *
 * Spool objects may overlap, because a producer that was interrupted may have written a chunk that was never registered
 * and its successor cut the rows differently. An object names the row before its first one, so objects of a segment and
 * client that join up are known to miss nothing; what lies behind a gap comes again from the producer.
 *
 * Invariants
 *   B1  A row is in exactly one chunk that is alive.
 *   B2  An archive that may have been sent is never derived as one that may be sent: an intent without a proof is a doubt.
 *   B3  A retry chunk exists exactly when the outcome that it came from is settled.
 *   B4  What is reserved are the bounds of living archives; what is spent are the outcomes that are settled.
 *   B5  An ordinal that was ever used names no new archive.
 *   B6  A chunk that a replan has written exists exactly when the outcome of the one in whose place it stands is settled. Of
 *       a replan that was decided and has no outcome yet, the original waits, to be replanned again.
 */
import { draftsOf, halvedOf, sourceOf, type ArchiveDraft, type DerivedArchive, type RunEvidence } from './derive-archive.ts';
import { accountsOf, addAccounts, calibrationsOf, joinedBy, sumsOf, type AccountSums, type JoinedRun, type RunSums, type RunTargets } from './derive-money.ts';
import { Cover, isOfSource, type SpooledObject } from './derive-rows.ts';
import type { ChunkFooter } from './chunk.ts';
import { invariant, PlimsollError } from './errors.ts';
import type { IngestionDocument, OpeningDocument, SealedChunkRange } from './journal.ts';
import type { ChunkState, RunState } from './lifecycle.ts';
import type { ArchiveChunkOutcome } from './outcome.ts';
import type { ReplanDocument, ReplannedChunk } from './replan-document.ts';
import { childChunkId, isReplanned, type ArchiveId, type ChunkId, type SegmentName, type Usage } from './segment.ts';
import type { Side } from './side.ts';
import type { SpoolRange } from './store/spool.ts';

export type { DerivedArchive, DerivedIntent, RunEvidence } from './derive-archive.ts';

/** A chunk as the ledger will hold it. `needsSums`: its bounds are known only from the index of its spool object. */
export interface DerivedChunk extends SpoolRange {
  readonly chunk: ChunkId;
  readonly state: Extract<ChunkState, 'spooled' | 'queued' | 'packed' | 'done'>;
  readonly segment: SegmentName;
  readonly client: string;
  readonly attempt: number;
  readonly paramsBytes: number;
  readonly tokensExpected: number;
  readonly tokensMax: number;
  readonly microUsdMax: number;
  readonly archive: ArchiveId | '';
  readonly reservation: 'reserved' | 'settled' | '';
  readonly accounts: readonly string[];
  /** The accounts into which budgets put it that were set after its admission. */
  readonly joined?: readonly string[];
  /** What it was billed, integer micro-USD, and its rows over their bound; undefined until it is settled. */
  readonly spent?: { readonly usage: Usage; readonly microUsd: number; readonly overBound: number };
  /** As in the journal of its archive. */
  readonly estimated?: SealedChunkRange['estimated'];
  /** The models of its rows, as far as they are known. */
  readonly models?: readonly string[] | undefined;
  readonly needsSums: boolean;
}

export interface DerivedRun {
  readonly opening: OpeningDocument;
  readonly state: Extract<RunState, 'ingesting' | 'open' | 'complete' | 'canceled'>;
  /** As its opening has it, else as its first intent decided; undefined: it was never decided. */
  readonly side: Side | undefined;
  /** It was canceled and has not ended: the cancellation has to be carried on. */
  readonly isCanceling: boolean;
  readonly result: 'succeeded' | 'partial' | undefined;
  readonly completedAtMs: number | undefined;
  readonly accepted: number;
  readonly rejected: number;
  readonly input: IngestionDocument['input'] | undefined;
  /** Last durable source row by `segment|client`. */
  readonly highWater: ReadonlyMap<string, number>;
  /** The highest ordinal of an archive that may have been used. */
  readonly archiveOrdinal: number;
  readonly sums: RunSums;
  readonly chunks: readonly DerivedChunk[];
  readonly archives: readonly DerivedArchive[];
  readonly accounts: ReadonlyMap<string, AccountSums>;
  /** What remains to be done of replans, once the records are there. */
  readonly replans: readonly ReplanDocument[];
  /** Sealed archives that another one stands in the way of; they were never sent. */
  readonly superseded: readonly ArchiveId[];
  /** Segments in which a row was billed above its bound: they stay stopped until an operator has looked. */
  readonly overBound: readonly SegmentName[];
  /** What its settled rows consumed of their bounds. */
  readonly calibrations: ReturnType<typeof calibrationsOf>;
}

/** Archives that were open when the ledger was lost have used ordinals that the lake does not know (B5). */
const ordinalGap = 1_000;

/**
 * Derives the records of a run. `runTargets`: the targets of budgets whose window is a run.
 * @throws PlimsollError `ledger_corrupt` when the lake contradicts itself, `lake_missing` when rows that were
 *   acknowledged are in no object of the spool
 */
export function deriveRun(evidence: RunEvidence, runTargets: RunTargets = new Set()): DerivedRun {
  const { opening, ingestion } = evidence;
  const joined: JoinedRun = { run: opening.run, targets: evidence.isComplete ? new Set() : runTargets };
  const drafts = draftsOf(evidence);
  const cover = new Cover(evidence.spool);
  const superseded = place(cover, drafts, opening.run);
  const living = drafts.filter((draft) => !superseded.includes(draft.archive));
  const chunks = living.flatMap((draft) => draft.ranges.map((range, index) => packedChunk(draft, range, draft.outcome?.chunks[index], joined, cover)));
  const isReleased = ingestion !== undefined || living.length > 0;
  const settledFrom = new Set(living.filter((draft) => draft.state === 'settled' || draft.state === 'exported').map((draft) => draft.archive));
  const successors = new Set(living.flatMap((draft) => draft.outcome?.replan?.chunks ?? []));
  const isAlive = (footer: ChunkFooter): boolean => (isReplanned(footer.chunk) ? successors.has(footer.chunk) : isOfSource(footer) || settledFrom.has(sourceOf(footer)));
  const replans = evidence.isComplete ? [] : unfinishedReplans(evidence, cover, isAlive);
  for (const { chunks: waiting } of replans) for (const chunk of waiting) chunks.push(replannedChunk(chunk, cover));
  for (const { object, from, to } of cover.free(ingestion !== undefined, isAlive)) {
    chunks.push(waitingChunk(object, from, to, isReleased ? 'queued' : 'spooled'));
  }
  const accepted = acceptedRows(evidence, cover);
  const sums = sumsOf(living, chunks);
  const isEnded = evidence.isComplete;
  return {
    opening,
    state: isEnded ? (evidence.isCanceled ? 'canceled' : 'complete') : ingestion === undefined ? 'ingesting' : 'open',
    // All intents of a run are of one side.
    side: opening.side ?? evidence.intents.find((intent) => intent.side !== undefined)?.side,
    isCanceling: evidence.isCanceled && !isEnded,
    result: isEnded ? (evidence.completion?.status ?? 'partial') : undefined,
    completedAtMs: evidence.completion?.completed_at ? Date.parse(evidence.completion.completed_at) : undefined,
    accepted,
    rejected: ingestion?.rejected ?? 0,
    input: ingestion?.input,
    highWater: cover.highWater(),
    archiveOrdinal: lastOrdinal(evidence) + (isEnded ? 0 : ordinalGap),
    sums,
    chunks,
    archives: [...living.map((draft) => draft.record), ...halvedOf(evidence)],
    accounts: addAccounts(living, joined),
    calibrations: calibrationsOf(living),
    replans,
    superseded,
    overBound: [...new Set(evidence.outcomes.flatMap((outcome) => outcome.chunks.filter((chunk) => chunk.overBound > 0).map((chunk) => chunk.segment)))].sort(),
  };
}

/** Gives the archives their rows (B1) and returns those that were dropped. */
function place(cover: Cover, drafts: readonly ArchiveDraft[], run: string): readonly ArchiveId[] {
  const dropped: ArchiveId[] = [];
  for (const draft of drafts.filter((each) => each.isSpokenFor)) {
    if (cover.take(draft.ranges)) continue;
    throw new PlimsollError('ledger_corrupt', {
      message: `the archive ${draft.archive} holds rows that another archive of the run holds too, and both may have been sent`,
      where: `journal/archives/${run}`,
      hint: 'Find both batches in the workspace and cancel one. Nothing was rebuilt; report this, it must not happen.',
    });
  }
  for (const draft of drafts.filter((each) => !each.isSpokenFor).reverse()) {
    if (!cover.take(draft.ranges)) dropped.push(draft.archive);
  }
  return dropped;
}

/**
 * Takes the chunks of replans whose outcome is not written. A chunk of which an archive holds a row went on before the replan
 * could act; it goes on as it was.
 */
function unfinishedReplans(evidence: RunEvidence, cover: Cover, isAlive: (footer: ChunkFooter) => boolean): readonly ReplanDocument[] {
  return [...evidence.replans].sort((a, b) => a.decidedAtMs - b.decidedAtMs || (a.replan < b.replan ? -1 : 1)).flatMap((replan) => {
    const chunks = replan.chunks.filter((chunk) => {
      const footer = cover.footerOf(chunk.spoolKey);
      return footer !== undefined && isAlive(footer) && cover.take([chunk]);
    });
    return chunks.length === 0 ? [] : [{ ...replan, chunks }];
  });
}

function replannedChunk({ chunk, spoolKey, from, to }: ReplannedChunk, cover: Cover): DerivedChunk {
  const footer = cover.footerOf(spoolKey);
  invariant(footer !== undefined, `${spoolKey} is in the spool`);
  return { ...waitingChunk({ key: spoolKey, footer }, from, to, 'queued'), chunk };
}

function packedChunk(draft: ArchiveDraft, range: SealedChunkRange, outcome: ArchiveChunkOutcome | undefined, joined: JoinedRun, cover: Cover): DerivedChunk {
  const isOver = draft.state === 'exported';
  const isWhole = range.from === 0 && range.to === range.spoolRows - 1;
  const isSettled = outcome !== undefined;
  return {
    ...placeOf(range),
    chunk: range.chunk,
    state: isOver ? 'done' : 'packed',
    paramsBytes: isWhole ? range.spoolParamsBytes : 0,
    tokensExpected: isWhole ? (cover.footerOf(range.spoolKey)?.tokensExpected ?? 0) : 0,
    tokensMax: range.tokensMax,
    microUsdMax: range.microUsdMax,
    archive: draft.archive,
    reservation: isSettled ? 'settled' : 'reserved',
    accounts: accountsOf(range),
    joined: joinedBy(range, joined),
    ...(outcome === undefined ? {} : { spent: { usage: outcome.usage, microUsd: outcome.microUsd, overBound: outcome.overBound } }),
    ...(range.estimated === undefined || isSettled ? {} : { estimated: range.estimated }),
    needsSums: !isWhole && !isSettled,
  };
}

function waitingChunk({ key, footer }: SpooledObject, from: number, to: number, state: 'queued' | 'spooled'): DerivedChunk {
  const isWhole = from === 0 && to === footer.rows - 1;
  return {
    segment: footer.segment, client: footer.client, attempt: footer.attempt,
    spoolKey: key, spoolRows: footer.rows, spoolParamsBytes: footer.paramsBytes, spoolIndexBytes: footer.indexBytes,
    from, to,
    chunk: isWhole ? footer.chunk : childChunkId(footer.chunk, from, to),
    state,
    paramsBytes: footer.paramsBytes,
    tokensExpected: footer.tokensExpected,
    tokensMax: footer.tokensMax,
    microUsdMax: footer.microUsdMax,
    archive: '',
    reservation: '',
    accounts: [],
    models: footer.models,
    needsSums: !isWhole,
  };
}

function placeOf(range: SealedChunkRange) {
  const { segment, client, attempt, spoolKey, spoolRows, spoolParamsBytes, spoolIndexBytes, from, to } = range;
  return { segment, client, attempt, spoolKey, spoolRows, spoolParamsBytes, spoolIndexBytes, from, to };
}

function lastOrdinal(evidence: RunEvidence): number {
  const names = [...evidence.sealed, ...evidence.outcomes, ...evidence.intents, ...evidence.halved].map((each) => each.archive);
  return Math.max(0, ...names.map((name) => Number(name.slice(name.lastIndexOf('-') + 1))));
}

/** How many prompts were acknowledged; a run that was read to its end says so itself, and all of them must be there. */
function acceptedRows({ ingestion, isComplete, opening }: RunEvidence, cover: Cover): number {
  const found = cover.acknowledgedRows();
  if (!ingestion) return found;
  if (!isComplete && found !== ingestion.accepted) {
    throw new PlimsollError('lake_missing', {
      message: `the run ${opening.run} acknowledged ${ingestion.accepted} prompts, the objects of its spool hold ${found}`,
      where: `spool/${opening.run}/`,
      hint: 'Restore the missing spool objects from a copy of the lake. Nothing of this run was rebuilt.',
    });
  }
  return ingestion.accepted;
}
