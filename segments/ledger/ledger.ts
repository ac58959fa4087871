/**
 * The ledger port: live states, budgets and the outbox, in Redis. Each method is one Lua script, atomic over everything
 * it touches, and harmless when it is sent twice: the client resends a call whose reply was lost, so every script first
 * looks whether its effect is there already.
 *
 * Invariants
 *   G1  `0 <= reserved` and `reserved + spent <= limit` for every account at every instant (strict mode).
 *   G2  A reservation is taken once, on admission, and is returned once, at settlement; it belongs to a chunk, and an
 *       attempt is a chunk of its own, so no split and no retry can reserve twice or not at all.
 *   G3  An archive has at most one intent that is neither `refused` nor `absent`.
 *   G4  At most one intent per account holds the lane; nobody else's last byte may leave.
 *   G5  A state is changed together with everything that follows from it: counters, queues, due times, events.
 *   G6  Memory is O(chunks + archives + segments), never O(prompts).
 */
import type { StopReason, RunState, ChunkState, ArchiveState, IntentState, SegmentState } from '../lifecycle.ts';
import type { ChunkFooter } from '../chunk.ts';
import type { ChunkOutcome } from '../outcome.ts';
import type { ArchiveId, BatchId, ChunkId, IntentId, Priority, RunKey, SegmentName, Usage } from '../segment.ts';
import type { Stage } from '../wake.ts';

/** Live state of a run. Counts are of prompts, amounts in tokens and micro-USD. */
export interface RunRecord {
  readonly run: RunKey;
  readonly state: RunState;
  readonly tag: string;
  readonly dt: string;
  readonly openedAtMs: number;
  readonly completedAtMs: number | undefined;
  /** When the producer added its newest chunk; absent before the first. */
  readonly lastChunkAtMs?: number;
  readonly source: string;
  /** Digest of the settings that decide how a source is cut; a resumed run must match it. */
  readonly cutSha256: string;
  /** The run whose dead letters this one sends once more. */
  readonly retryOf?: RunKey | undefined;
  /** How much of the source was read when the newest chunk became durable, and the digest of that much. */
  readonly checkpoint: Checkpoint;
  readonly accepted: number;
  readonly rejected: number;
  readonly succeeded: number;
  readonly deadLettered: number;
  /** Rows that went round again; each of them is in `succeeded` or `deadLettered` in the end. */
  readonly retried: number;
  readonly chunks: number;
  /** Chunks that are not yet `done` or `split`. */
  readonly chunksOpen: number;
  readonly chunksHeld: number;
  /** Rows that wait for a packer, by priority. */
  readonly rowsQueued: number;
  readonly rowsHeld: number;
  /** Since when an operator holds it; then its sealed archives wait too. */
  readonly heldAtMs?: number | undefined;
  readonly archivesInDoubt: number;
  /** Batches that the provider accepted. */
  readonly batches: number;
  readonly usage: Usage;
  readonly microUsd: number;
  readonly standardMicroUsd: number;
  /** `succeeded` when every accepted row succeeded and none was rejected; set with `complete`. */
  readonly result: 'succeeded' | 'partial' | undefined;
}

/** A position in a source: bytes of the decompressed source and the sha256 of them, hex. */
export interface Checkpoint {
  readonly bytes: number;
  readonly rows: number;
  readonly sha256: string;
}

/** Live state of a chunk. `from` and `to` are the rows of the spool object it covers, 0-based and inclusive. */
export interface ChunkRecord {
  readonly chunk: ChunkId;
  readonly run: RunKey;
  readonly segment: SegmentName;
  readonly client: string;
  readonly attempt: number;
  readonly state: ChunkState;
  readonly reason: string | undefined;
  readonly spoolKey: string;
  /** Rows, params bytes and index bytes of the whole spool object, which children share. */
  readonly spoolRows: number;
  readonly spoolParamsBytes: number;
  readonly spoolIndexBytes: number;
  readonly from: number;
  readonly to: number;
  readonly rows: number;
  readonly paramsBytes: number;
  readonly tokensExpected: number;
  readonly tokensMax: number;
  readonly microUsdMax: number;
  readonly archive: ArchiveId | undefined;
  /** The accounts that its reservation stands in; undefined while it has none. */
  readonly accounts?: readonly string[];
}

/** Live state of an archive. */
export interface ArchiveRecord {
  readonly archive: ArchiveId;
  readonly run: RunKey;
  readonly dt: string;
  readonly priority: Priority;
  readonly state: ArchiveState;
  readonly reason: string | undefined;
  /** Why nothing more goes in: `full`, `linger`, `flush`, `halved`; undefined while it admits chunks. */
  readonly closing: string | undefined;
  readonly rows: number;
  readonly paramsBytes: number;
  readonly openedAtMs: number;
  /** Size and sha256 of the body; known from `sealed` on. */
  readonly bodyBytes: number | undefined;
  readonly bodySha256: string | undefined;
  readonly sealedAtMs: number | undefined;
  /** How many intents it has had. */
  readonly intents: number;
  readonly intent: IntentId | undefined;
  /** Fingerprint of the account that its batch belongs to; only that account may poll it. */
  readonly account: string | undefined;
  readonly batch: BatchId | undefined;
  readonly acceptedAtMs: number | undefined;
  readonly endedAtMs: number | undefined;
  readonly exportedAtMs: number | undefined;
  /** When we decided to cancel its batch; undefined: we did not, so whatever is canceled was canceled by somebody else. */
  readonly cancelAskedAtMs?: number | undefined;
  /** When it was found to outlive a runtime budget. */
  readonly lateAtMs?: number | undefined;
  readonly epoch: number;
}

export interface IntentRecord {
  readonly intent: IntentId;
  readonly archive: ArchiveId;
  readonly account: string;
  readonly state: IntentState;
  readonly reason: string | undefined;
  readonly rows: number;
  readonly bodyBytes: number;
  /** The provider's own clock just before the upload; a batch of this intent cannot be older. */
  readonly providerDateMs: number | undefined;
  readonly preparedAtMs: number;
  readonly sentAtMs: number | undefined;
  /** Process that made it: host, pid, boot id and start, for the fence. */
  readonly owner: string;
  readonly batch: BatchId | undefined;
  /** What is known of its doubt; undefined: it never was in doubt. */
  readonly doubt?: DoubtRecord | undefined;
}

/** The evidence of a doubt. Times are Unix ms. */
export interface DoubtRecord {
  readonly sinceMs: number;
  /** Since when its sender can certainly send nothing more, and how that is known; undefined: nobody can prove it yet. */
  readonly fencedAtMs: number | undefined;
  readonly fence: string | undefined;
  /** Looks into the workspace so far, the last one, and how many in a row were empty after the landing wait. */
  readonly looks: number;
  readonly lookedAtMs: number | undefined;
  readonly scans: number;
  readonly heldAtMs: number | undefined;
  /** Unclaimed batches that the last look could not rule out. */
  readonly candidates: readonly DoubtCandidate[];
}

/** A batch that may be the one of an intent in doubt. */
export interface DoubtCandidate {
  readonly batch: BatchId;
  readonly createdAtMs: number;
  readonly rows: number;
  readonly isEnded: boolean;
}

/** To whom a batch belongs, as far as the ledger knows. */
export type BatchClaim =
  /** Bound to an intent. `isConfirmed` false: adopted, and its results have not been read. */
  | { readonly kind: 'bound'; readonly intent: IntentId; readonly rows: number; readonly isConfirmed: boolean }
  | { readonly kind: 'leaked' }
  | { readonly kind: 'stranger' };

export interface SegmentRecord {
  readonly segment: SegmentName;
  readonly state: SegmentState;
  readonly rowsQueued: number;
  readonly rowsHeld: number;
  readonly chunksQueued: number;
  readonly chunksHeld: number;
  readonly stops: readonly StopRecord[];
}

/** Why a segment stands still, for all runs or for one. */
export interface StopRecord {
  /** Empty when a whole run is held. */
  readonly segment: SegmentName;
  /** Set when a run is held, or when the budget's window is a run: other runs of the segment flow on. */
  readonly run: RunKey | undefined;
  readonly reason: StopReason;
  /** The account that has no room: `segment:…`, `topic:…`, `client:…`, `all`; empty for an operator's stop. */
  readonly target: string;
  readonly stoppedAtMs: number;
  /** The bounds of the next prompt in line: it flows again when the account has this much room. */
  readonly tokensNeeded: number;
  readonly microUsdNeeded: number;
  /** Bounds of everything that is held by this stop. */
  readonly tokensHeld: number;
  readonly microUsdHeld: number;
  readonly rowsHeld: number;
  /** Room left on the account; undefined where it has no limit of that kind. */
  readonly tokensFree: number | undefined;
  readonly microUsdFree: number | undefined;
  /** Of a stop for the runtime, ms: the limit, when the work began, how long an archive is expected to take, and on how
   *  many archives that rests (0: none was seen, the worst case is assumed). */
  readonly runtime?: {
    readonly limitMs: number;
    readonly startedAtMs: number;
    readonly turnaroundMs: number;
    readonly turnaroundsSeen: number;
  };
}

/** A budget: what a target may reserve and spend within a window. */
export interface Budget {
  /** `all`, `topic:invoices`, `segment:invoices.8k.high`, `client:etl`. */
  readonly target: string;
  readonly tokens: number | undefined;
  readonly microUsd: number | undefined;
  /** `run`, `total`, or a span such as `1h` and `1d`, aligned to the Unix epoch (UTC). */
  readonly window: string;
  /** Upper bound on the wall time of the work within the window, ms. Where the window is `total`, of one stretch of work:
   *  from the first reservation until nothing is reserved any more. */
  readonly runtimeMs?: number | undefined;
  /** What is done with a batch that outlives `runtimeMs`. */
  readonly onLate?: 'wait' | 'cancel' | undefined;
}

/** One account of the ledger: a target in one window. */
export interface AccountRecord {
  readonly target: string;
  /** `total`, `run=<key>` or `<span>=<start in ms>`. */
  readonly windowId: string;
  readonly tokensReserved: number;
  readonly tokensSpent: number;
  readonly microUsdReserved: number;
  readonly microUsdSpent: number;
  readonly usage: Usage;
  /** Rows billed above their bound. */
  readonly overBound: number;
}

/** One event of the outbox; at least once, in order, numbered without gaps. */
export interface OutboxEvent {
  readonly sequence: number;
  /** Deterministic: consumers deduplicate by it. */
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly timeMs: number;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface OpenRunRequest {
  readonly run: RunKey;
  readonly tag: string;
  readonly dt: string;
  readonly source: string;
  readonly cutSha256: string;
  readonly retryOf?: RunKey | undefined;
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
  /** Last durable source row of this run, segment and client, as this producer knows it; another value means that
   *  someone else ingests the same run. */
  readonly previousRow: number;
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
  /** `isOverloadDoubtful`: a 529 of this account has made a batch before, so it proves nothing any more. */
  | { readonly kind: 'prepared'; readonly intent: IntentId; readonly archive: ArchiveId; readonly isOverloadDoubtful?: boolean }
  | { readonly kind: 'nothing' }
  /** Everything in line has the row count of an archive in doubt, and would be taken for it. */
  | { readonly kind: 'counts_taken'; readonly rows: number }
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

export interface Ledger {
  /** Opens a run or finds it; never changes one that exists. */
  openRun(request: OpenRunRequest): Promise<{ readonly kind: 'opened' | 'exists'; readonly run: RunRecord }>;
  readRun(run: RunKey): Promise<RunRecord | undefined>;
  listRuns(): Promise<readonly RunKey[]>;
  /** Last durable source row by `segment|client`. */
  readHighWater(run: RunKey): Promise<ReadonlyMap<string, number>>;
  /** `canceled`: an operator has canceled the run. */
  addChunk(request: AddChunkRequest): Promise<{ readonly kind: 'added' | 'duplicate' | 'stale' | 'canceled'; readonly epoch: number }>;
  /** Ends the ingest of a run: counts are final, spooled chunks are queued, tails may be shared. */
  flushRun(request: {
    readonly run: RunKey;
    readonly accepted: number;
    readonly rejected: number;
    readonly input: Checkpoint;
    readonly nowMs: number;
  }): Promise<{ readonly kind: 'flushed' | 'already' | 'mismatch' | 'canceled'; readonly queued: readonly QueuedChunk[] }>;

  readChunk(chunk: ChunkId): Promise<ChunkRecord | undefined>;
  readChunks(chunks: readonly ChunkId[]): Promise<readonly ChunkRecord[]>;
  /** The next segment that has queued work: by priority, then by age. */
  nextSegment(skip: readonly SegmentName[]): Promise<SegmentName | undefined>;
  /** The oldest queued chunk of a segment; what a lost queue job would have carried. */
  oldestQueued(segment: SegmentName): Promise<QueuedChunk | undefined>;
  /** Reserves for a chunk in every account that applies and puts it into an open archive (G1, G2). */
  admit(chunk: ChunkId, limits: PackLimits, isFillEnough: boolean, nowMs: number): Promise<Admission>;
  /** Replaces a chunk by two children whose sums add up to its own. */
  split(chunk: ChunkId, left: ChunkPart, right: ChunkPart, nowMs: number): Promise<readonly QueuedChunk[]>;
  /** Stops a segment on an account without room and holds the chunk. */
  stopOnBudget(request: {
    readonly chunk: ChunkId;
    readonly target: string;
    readonly reason: StopReason;
    readonly tokensNeeded: number;
    readonly microUsdNeeded: number;
    readonly nowMs: number;
  }): Promise<{ readonly kind: 'stopped' | 'room' | 'stale'; readonly isFlushDue: boolean }>;
  /** Cancels a run: nothing more of it is packed or sent. `rowsMax`: rows of one archive. */
  cancelRun(run: RunKey, rowsMax: number, nowMs: number): Promise<Cancellation>;
  /** Stops a segment or a run on an operator's word; false when it was held already. */
  hold(target: HoldTarget, nowMs: number): Promise<boolean>;
  /** Ends what waits for an operator's word. `left`: reasons of stops that only a budget can end. */
  resume(target: HoldTarget, nowMs: number): Promise<{ readonly queued: readonly QueuedChunk[]; readonly ended: readonly StopReason[]; readonly left: readonly StopReason[] }>;
  /** Lets held chunks go whose account has room again; call until it returns nothing. */
  resumeHeld(nowMs: number): Promise<readonly QueuedChunk[]>;
  /** Closes a run's open archives of one priority and shares the tails; returns archives that are now due to be sealed. */
  flushArchives(run: RunKey, priority: Priority, limits: PackLimits, nowMs: number): Promise<readonly ArchiveId[]>;
  /** Priorities of a run that have open archives and nothing left to wait for. */
  flushDue(run: RunKey): Promise<readonly Priority[]>;

  readArchive(archive: ArchiveId): Promise<ArchiveRecord | undefined>;
  readArchiveChunks(archive: ArchiveId): Promise<readonly ChunkId[]>;
  listArchives(run: RunKey): Promise<readonly ArchiveId[]>;
  /** Closes an archive whose linger is over. */
  closeArchive(archive: ArchiveId, reason: string, nowMs: number): Promise<void>;
  sealArchive(request: {
    readonly archive: ArchiveId;
    readonly bodyBytes: number;
    readonly bodySha256: string;
    readonly nowMs: number;
  }): Promise<boolean>;

  /** Takes the lane of an account for its next sealed archive and writes the intent down (G3, G4). */
  prepareIntent(request: {
    readonly account: string;
    readonly owner: string;
    readonly leaseMs: number;
    readonly queueRowsMax: number;
    /** What was proven of the ledger before; absent only where nothing is sent. */
    readonly proof?: LedgerProof | undefined;
    readonly nowMs: number;
  }): Promise<Preparation>;
  /** Keeps the lane. false: it is lost, and nothing more may be sent. */
  renewLane(account: string, owner: string, intent: IntentId, leaseMs: number, nowMs: number): Promise<boolean>;
  armIntent(intent: IntentId, owner: string, providerDateMs: number, nowMs: number): Promise<boolean>;
  /** The gate: true exactly when the last byte may leave. */
  sendIntent(intent: IntentId, owner: string, nowMs: number): Promise<boolean>;
  acceptIntent(request: {
    readonly intent: IntentId;
    readonly batch: BatchId;
    readonly pollAtMs: number;
    /** Only time and count speak for it: refused while another intent of the same count has no proven end. */
    readonly isTentative?: boolean;
    readonly nowMs: number;
  }): Promise<boolean>;
  /** The intent made no batch. `pauseUntilMs` keeps the whole account from sending before then. */
  refuseIntent(request: {
    readonly intent: IntentId;
    readonly reason: string;
    readonly pauseUntilMs: number | undefined;
    readonly nowMs: number;
  }): Promise<boolean>;
  /** `fencedAtMs`: since when its sender, who asks, can send nothing more. */
  doubtIntent(intent: IntentId, reason: string, nowMs: number, fencedAtMs?: number): Promise<boolean>;
  /** Ends a lane whose owner is gone: not sent means refused, sent means doubt. Returns what it found. */
  expireLane(account: string, nowMs: number): Promise<{ readonly kind: 'free' | 'held' | 'refused' | 'in_doubt'; readonly untilMs: number }>;
  /** The provider refused the whole archive for what is in it: two halves, or a dead letter when one row is left. */
  halveArchive(intent: IntentId, leftChunks: readonly ChunkId[], reason: string, nowMs: number): Promise<readonly ArchiveId[]>;
  rejectArchive(intent: IntentId, reason: string, nowMs: number): Promise<boolean>;
  readIntent(intent: IntentId): Promise<IntentRecord | undefined>;

  /** Archives in doubt, oldest first. */
  listDoubts(): Promise<readonly ArchiveId[]>;
  /** Notes that the sender of an intent in doubt is finished; the first proof holds. */
  fenceIntent(intent: IntentId, fence: string, nowMs: number): Promise<boolean>;
  /** Notes a look into the workspace. `isEmpty`: nothing there can be its batch; `askedAtMs`: when the listing began. */
  noteLook(request: {
    readonly intent: IntentId;
    readonly isEmpty: boolean;
    readonly candidates: readonly DoubtCandidate[];
    readonly landingWaitMs: number;
    readonly spacingMs: number;
    readonly alarmEveryMs: number;
    readonly askedAtMs: number;
    readonly nowMs: number;
  }): Promise<{ readonly scans: number; readonly looks: number; readonly isAlarm: boolean }>;
  /** No batch exists. By the adopter only with fence, landing wait and empty scans; by an operator on his word. */
  absolveIntent(request: {
    readonly intent: IntentId;
    readonly by: 'adopter' | 'operator';
    readonly reason: string;
    readonly scansMin: number;
    readonly landingWaitMs: number;
    readonly nowMs: number;
  }): Promise<boolean>;
  /** Leaves a doubt to a person. */
  holdIntent(intent: IntentId, reason: string, nowMs: number): Promise<boolean>;
  /** Undoes an adoption whose batch holds none of the archive's rows. */
  disownBatch(archive: ArchiveId, batch: BatchId, nowMs: number): Promise<boolean>;
  /** What the ledger knows of these batches; those that it does not know are not in the answer. */
  readClaims(account: string, batches: readonly BatchId[]): Promise<ReadonlyMap<BatchId, BatchClaim>>;
  /** Remembers a batch that is not ours. `archive`: what its results name where that has the form of ours; should the
   *  ledger come to know it, the batch is a stranger's no more. */
  noteStranger(request: { readonly account: string; readonly batch: BatchId; readonly archive: ArchiveId | undefined; readonly createdAtMs: number; readonly nowMs: number }): Promise<void>;
  /** Books a batch of ours that no archive claims to the account `leak`; once. */
  bookLeak(request: {
    readonly account: string;
    readonly archive: ArchiveId;
    readonly batch: BatchId;
    readonly rows: number;
    readonly usage: Usage;
    readonly microUsd: number;
    /** Its attempt was recorded as refused by a 529: from now on that status proves nothing for this account. */
    readonly isOverload: boolean;
    readonly nowMs: number;
  }): Promise<boolean>;

  /** Looks whether an unfinished batch is late or to be canceled, and notes it. */
  watchBatch(archive: ArchiveId, nowMs: number): Promise<BatchWatch>;
  /** Notes an unfinished poll. */
  deferPoll(archive: ArchiveId, pollAtMs: number): Promise<void>;
  endArchive(archive: ArchiveId, reason: string | undefined, nowMs: number): Promise<boolean>;
  /** Books spending, returns reservations, queues retries; once per archive (G2). */
  settle(request: SettleRequest): Promise<{ readonly isSettled: boolean; readonly queued: readonly QueuedChunk[] }>;
  /** The archive's files are committed. `isRunDone`: nothing of the run is left to do. */
  exportArchive(archive: ArchiveId, event: Readonly<Record<string, unknown>>, nowMs: number): Promise<{ readonly isRunDone: boolean }>;
  /** The run's manifest is committed. */
  completeRun(request: {
    readonly run: RunKey;
    readonly result: 'succeeded' | 'partial';
    readonly event: Readonly<Record<string, unknown>>;
    readonly nowMs: number;
  }): Promise<boolean>;

  /** Claims an entity for a stage; false while another worker has it. The claim is also the due time of the sweeper. */
  claim(stage: Stage, entity: string, owner: string, leaseMs: number, nowMs: number): Promise<boolean>;
  release(stage: Stage, entity: string, owner: string, dueAtMs: number | undefined): Promise<void>;
  /** Entities that have waited past their due time; their due time is moved on by `againMs`. */
  overdue(nowMs: number, againMs: number, limit: number): Promise<readonly DueEntity[]>;

  setBudget(budget: Budget, origin: 'config' | 'operator', nowMs: number): Promise<void>;
  listBudgets(): Promise<readonly Budget[]>;
  listAccounts(): Promise<readonly AccountRecord[]>;
  listSegments(nowMs: number): Promise<readonly SegmentRecord[]>;
  /** Everything that stands still, runs that are held included. */
  listStops(nowMs: number): Promise<readonly StopRecord[]>;
  /** Binds the ledger to a lake the first time; returns the id of the lake that it belongs to. */
  claimLake(lake: string): Promise<string>;

  /** Events after a sequence number, oldest first. */
  readEvents(afterSequence: number, limit: number): Promise<readonly OutboxEvent[]>;
  /** Claims the outbox for a sink; false while another relay has it. `sequence`: the last event that the sink was told. */
  claimRelay(request: {
    readonly sink: string;
    readonly owner: string;
    readonly leaseMs: number;
    /** Where a sink that was never told anything begins: behind the newest event, or with the oldest. */
    readonly isFromNow: boolean;
    readonly nowMs: number;
  }): Promise<{ readonly isClaimed: boolean; readonly sequence: number; readonly untilMs: number }>;
  /** Notes that a sink was told everything up to an event. `leaseMs` 0 gives the claim up. false: the claim is lost. */
  advanceRelay(request: {
    readonly sink: string;
    readonly owner: string;
    readonly sequence: number;
    readonly leaseMs: number;
    /** Events that are kept for whoever reads the outbox itself. */
    readonly eventsKept: number;
    /** A sink that nobody has served for this long holds nothing back. */
    readonly sinkForgottenMs: number;
    readonly nowMs: number;
  }): Promise<boolean>;
  close(): Promise<void>;
}
