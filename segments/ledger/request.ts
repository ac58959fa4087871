/** What the scripts of the ledger are asked, and what they answer. */
import type { ChunkFooter } from '../chunk.ts';
import type { ChunkOutcome } from '../outcome.ts';
import type { ArchiveId, ChunkId, IntentId, RunKey, SegmentName } from '../segment.ts';
import type { Side } from '../side.ts';
import type { Stage } from '../wake.ts';
import type { Checkpoint } from './record.ts';

export interface OpenRunRequest {
  readonly run: RunKey;
  readonly tag: string;
  readonly dt: string;
  readonly source: string;
  readonly cutSha256: string;
  readonly retryOf?: RunKey | undefined;
  /** Who answers it; undefined: its first intent decides. */
  readonly side?: Side | undefined;
  readonly nowMs: number;
}

/** What an operator holds and lets go. */
export type HoldTarget = { readonly kind: 'segment'; readonly segment: SegmentName } | { readonly kind: 'run'; readonly run: RunKey };

/** What a cancellation found. */
export interface Cancellation {
  /** `ended`: the run is over already. */
  readonly kind: 'canceling' | 'ended' | 'unknown';
  /** Archives that end without a batch, to be settled. */
  readonly settle: readonly ArchiveId[];
  /** Archives whose batch is to be canceled at the provider. */
  readonly track: readonly ArchiveId[];
  /** Archives on their way to the provider at this moment; they follow. */
  readonly submitting: number;
  readonly inDoubt: number;
}

/** The chunks of a journaled replan. */
export interface ReplanRequest {
  /** `<segment>.<digest>`. */
  readonly replan: string;
  readonly segment: SegmentName;
  readonly by: string;
  readonly chunks: readonly ChunkId[];
  /** What the whole replan keeps and leaves out. */
  readonly rows: { readonly kept: number; readonly notSampled: number };
  /** Rows of one archive. */
  readonly rowsMax: number;
  readonly nowMs: number;
}

/** What became of the chunks of a replan. */
export interface Replacement {
  /** Archives that end without a batch, to be settled; the new chunks are queued then. */
  readonly archives: readonly ArchiveId[];
  readonly taken: readonly ChunkId[];
  /** Chunks that did not wait any more: they go on as they were. */
  readonly gone: readonly ChunkId[];
}

/** What a look at an unfinished batch says. */
export interface BatchWatch {
  /** Its run was canceled, or it outlives a runtime budget whose policy is `cancel`. */
  readonly isCancelDue: boolean;
  /** It was found late just now. */
  readonly isNewlyLate: boolean;
  /** The nearest end of a runtime budget, Unix ms. */
  readonly deadlineMs?: number;
}

export interface AddChunkRequest {
  readonly footer: ChunkFooter;
  readonly spoolKey: string;
  /** Last durable source row of this run and lane, as this producer knows it; another value means that
   *  someone else ingests the same run. */
  readonly previousRow: number;
  /** Last source row of the lane that the ledger itself has acknowledged to this producer: a ledger that knows less has
   *  forgotten. At most `previousRow`, which takes for granted what is still on its way; undefined: not known. */
  readonly acknowledgedRow?: number;
  readonly checkpoint: Checkpoint;
  /** false: the chunk stays `spooled` until the run is flushed. */
  readonly isReleased: boolean;
  readonly nowMs: number;
}

/** What an admission found. */
export type Admission =
  | { readonly kind: 'packed'; readonly archive: ArchiveId; readonly closed: readonly ArchiveId[]; readonly isFlushDue: boolean }
  /** The archive that would take it has this much room left: split here, or ask again with `isFillEnough`. */
  | { readonly kind: 'overfull'; readonly archive: ArchiveId; readonly bytesFree: number; readonly rowsFree: number }
  /** A budget has no room for the whole chunk; undefined: no limit of that kind. */
  | {
      readonly kind: 'refused';
      readonly target: string;
      /** `budget_runtime`: the work is likely to end too late, however much room there is. */
      readonly reason: 'budget_tokens' | 'budget_cost' | 'budget_runtime';
      readonly tokensFree: number | undefined;
      readonly microUsdFree: number | undefined;
    }
  | { readonly kind: 'held'; readonly reason: string; readonly isFlushDue: boolean }
  /** The chunk is not `queued` any more: another packer was first. */
  | { readonly kind: 'stale'; readonly isFlushDue: boolean };

export interface PackLimits {
  readonly bytesMax: number;
  readonly rowsMax: number;
  /** Bytes that one row adds beyond its params, and bytes of a body beyond its entries. */
  readonly entryOverheadBytes: number;
  readonly envelopeBytes: number;
  /** An archive filled to this many thousandths counts as full. */
  readonly fullPermille: number;
  readonly lingerMs: number;
}

/** A part of a chunk: its rows and their sums. */
export interface ChunkPart {
  readonly from: number;
  readonly to: number;
  readonly paramsBytes: number;
  readonly tokensExpected: number;
  readonly tokensMax: number;
  readonly microUsdMax: number;
}

/** The ledger as it was when it was found to know all that the lake knows. */
export interface LedgerProof {
  /** How often a worker of the installation had been started. */
  readonly generation: number;
  /** How often the ledger had been rebuilt. */
  readonly epoch: number;
  /** The run id of the Redis. */
  readonly server: string;
}

/** What the submitter may do next. */
export type Preparation =
  | { readonly kind: 'prepared'; readonly intent: IntentId; readonly archive: ArchiveId }
  | { readonly kind: 'nothing' }
  /** Everything in line has the row count of an archive in doubt, and would be taken for it. */
  | { readonly kind: 'counts_taken'; readonly rows: number }
  /** Everything in line waits for a primer of its prefix, the first of it until then, Unix ms. */
  | { readonly kind: 'awaiting_primer'; readonly untilMs: number }
  /** What is left in line is put aside, because its bodies could not be made. */
  | { readonly kind: 'set_aside'; readonly untilMs: number }
  /** All that is left in line is of runs that the other side answers; another look then may find work of this one. Unix ms. */
  | { readonly kind: 'other_side'; readonly untilMs: number }
  | { readonly kind: 'lane_busy'; readonly untilMs: number }
  /** The provider's queue has no room for the next archive. */
  | { readonly kind: 'queue_full'; readonly rows: number; readonly rowsFree: number }
  | { readonly kind: 'paused'; readonly untilMs: number; readonly reason: string }
  /** This is not the ledger that was compared with the lake; prove it again. */
  | { readonly kind: 'unproven'; readonly reason: string };

export interface SettleRequest {
  readonly archive: ArchiveId;
  readonly chunks: readonly ChunkOutcome[];
  /** Chunks that carry retryable rows once more. */
  readonly retries: readonly { readonly footer: ChunkFooter; readonly spoolKey: string }[];
  /** How many of its rows show a fault of the account, which is the how-manieth round of theirs, and until when the account
   *  rests, Unix ms; absent: none do. */
  readonly rest?: { readonly rows: number; readonly round: number; readonly untilMs: number };
  readonly nowMs: number;
}

/** A chunk that has just become `queued`: its segment's queue needs a job. */
export interface QueuedChunk {
  readonly chunk: ChunkId;
  readonly segment: SegmentName;
  readonly epoch: number;
}

/** Something that waits for a stage. */
export interface DueEntity {
  readonly stage: Stage;
  readonly entity: string;
  readonly epoch: number;
}
