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
 *   G7  An intent is prepared only for a run of its own side, and the side of a run is decided once (`side.ts`).
 *
 * This file is the door of the folder: whoever uses the ledger finds its records and requests here too.
 */
import type { StopReason } from '../lifecycle.ts';
import type { ArchiveId, BatchId, ChunkId, IntentId, Priority, RunKey, SegmentName, Usage } from '../segment.ts';
import type { Side } from '../side.ts';
import type { Stage } from '../wake.ts';
import type { AccountRecord, Budget, ForecastTold, SegmentRecord, StopRecord } from './account.ts';
import type { ClientRecord, Measurement, MeasureRequest, TierAssignment } from './client.ts';
import type { ArchiveRecord, BatchClaim, Checkpoint, ChunkRecord, DoubtCandidate, IntentRecord, OutboxEvent, RunRecord } from './record.ts';
import type { AddChunkRequest, Admission, BatchWatch, Cancellation, ChunkPart, DueEntity, HoldTarget, LedgerProof, OpenRunRequest, PackLimits, Preparation, QueuedChunk, Replacement, ReplanRequest, SettleRequest } from './request.ts';

export type { RunRecord, Checkpoint, ChunkRecord, EstimatedReservation, ArchiveRecord, IntentRecord, DoubtRecord, DoubtCandidate, BatchClaim, OutboxEvent } from './record.ts';
export type { SegmentRecord, StopRecord, Budget, AccountRecord } from './account.ts';
export type { ClientDay, ClientRecord, MeasuredClient, MeasuredPart, Measurement, MeasureRequest, TierAssignment } from './client.ts';
export type { OpenRunRequest, HoldTarget, Cancellation, BatchWatch, AddChunkRequest, Admission, PackLimits, ChunkPart, LedgerProof, Preparation, Replacement, ReplanRequest, SettleRequest, QueuedChunk, DueEntity } from './request.ts';

export interface Ledger {
  /** Opens a run or finds it; never changes one that exists. @throws PlimsollError `ledger_behind`, as `addChunk` and `flushRun` */
  openRun(request: OpenRunRequest): Promise<{ readonly kind: 'opened' | 'exists'; readonly run: RunRecord }>;
  readRun(run: RunKey): Promise<RunRecord | undefined>;
  listRuns(): Promise<readonly RunKey[]>;
  /** Last durable source row by `segment|client`. */
  readHighWater(run: RunKey): Promise<ReadonlyMap<string, number>>;
  /**
   * `canceled`: an operator has canceled the run.
   * @throws PlimsollError `ledger_behind` when the ledger is being rebuilt, has forgotten something, or is proven to by this call
   */
  addChunk(request: AddChunkRequest): Promise<{ readonly kind: 'added' | 'duplicate' | 'stale' | 'canceled'; readonly epoch: number }>;
  /**
   * Ends the ingest of a run: counts are final, spooled chunks are queued, tails may be shared. `mismatch`: it ended with
   * another input before. `miscount`: the ledger knows all that the caller was acknowledged, and another number of prompts.
   */
  flushRun(request: {
    readonly run: RunKey;
    readonly accepted: number;
    readonly rejected: number;
    /** The last row of each lane that the caller knows to be durable. */
    readonly high: ReadonlyMap<string, number>;
    readonly input: Checkpoint;
    readonly nowMs: number;
  }): Promise<{ readonly kind: 'flushed' | 'already' | 'mismatch' | 'miscount' | 'canceled'; readonly queued: readonly QueuedChunk[] }>;

  readChunk(chunk: ChunkId): Promise<ChunkRecord | undefined>;
  readChunks(chunks: readonly ChunkId[]): Promise<readonly ChunkRecord[]>;
  /** How clients share, by name; integers of 1 to 1,000, and 1 for whoever is not named. In place of all set before. */
  setWeights(weights: Readonly<Record<string, number>>): Promise<void>;
  /** The next segment that has queued work: by priority, then in fair shares between clients, then by age. */
  nextSegment(skip: readonly SegmentName[]): Promise<SegmentName | undefined>;
  /** The queued chunk of a segment that is packed next: of the client that was served least, and of it the oldest. */
  nextQueued(segment: SegmentName): Promise<QueuedChunk | undefined>;
  /** Reserves for a chunk in every account that applies and puts it into an open archive (G1, G2). */
  admit(chunk: ChunkId, limits: PackLimits, isFillEnough: boolean, nowMs: number): Promise<Admission>;
  /**
   * Replaces a queued chunk by two children whose sums add up to its own; with `refused`, a packed one, while the archive
   * of that intent is still to be halved. A chunk that has moved on meanwhile is left as it is.
   */
  split(chunk: ChunkId, left: ChunkPart, right: ChunkPart, nowMs: number, refused?: IntentId): Promise<readonly QueuedChunk[]>;
  /** Stops a segment on an account without room and holds the chunk. */
  stopOnBudget(request: {
    readonly chunk: ChunkId;
    readonly target: string;
    readonly reason: StopReason;
    readonly tokensNeeded: number;
    readonly microUsdNeeded: number;
    readonly nowMs: number;
  }): Promise<{ readonly kind: 'stopped' | 'room' | 'stale'; readonly isFlushDue: boolean }>;
  /** Holds one queued chunk whose spool object cannot be read, for `asideMs`, doubling each time up to `asideMaxMs`. */
  holdChunk(request: {
    readonly chunk: ChunkId;
    readonly asideMs: number;
    readonly asideMaxMs: number;
    readonly nowMs: number;
  }): Promise<{ readonly isHeld: boolean; readonly isFirst: boolean; readonly untilMs: number; readonly isFlushDue: boolean }>;
  /** The chunks of a segment that a stop holds, in the order in which they would go. */
  listHeld(segment: SegmentName): Promise<readonly ChunkRecord[]>;
  /** Puts waiting chunks into archives that are never sent, because a replan has written others in their place. */
  replanChunks(request: ReplanRequest): Promise<Replacement>;
  /** How long the last archives took from their opening to their settlement, ms: of a segment, else of any. */
  readTurnarounds(segment: SegmentName): Promise<readonly number[]>;
  /** Cancels a run: nothing more of it is packed or sent. `rowsMax`: rows of one archive. */
  cancelRun(run: RunKey, rowsMax: number, nowMs: number): Promise<Cancellation>;
  /** Stops a segment or a run on an operator's word; false when it was held already, when no run has this key, or when the run has
   *  ended. `saidAtMs`: when it was said, as the lake has it; the same word told again has the same event. */
  hold(target: HoldTarget, saidAtMs: number): Promise<boolean>;
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
    /** Absent: not known, its sha256 is compared instead. */
    readonly bodyGmac?: string | undefined;
    readonly bodySha256: string;
    readonly nowMs: number;
  }): Promise<boolean>;

  /** Takes the lane of an account for its next sealed archive and writes the intent down (G3, G4, G7). */
  prepareIntent(request: {
    readonly account: string;
    /** Who answers at that account; it becomes the side of a run that has none. */
    readonly side: Side;
    readonly owner: string;
    readonly leaseMs: number;
    readonly queueRowsMax: number;
    /** After so long in line an archive goes before every other, whatever its priority, ms; absent: never. */
    readonly patienceMs?: number;
    /** How long an archive waits for the primers of its prefixes after it was sealed, ms; absent: it does not. */
    readonly primerWaitMs?: number;
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
  /** The intent made no batch. `pauseUntilMs` keeps the whole account from sending before then, `asideUntilMs` its archive alone. */
  refuseIntent(request: {
    readonly intent: IntentId;
    readonly reason: string;
    readonly pauseUntilMs: number | undefined;
    readonly asideUntilMs?: number;
    readonly nowMs: number;
  }): Promise<boolean>;
  /** `fencedAtMs`: since when its sender, who asks, can send nothing more. `pauseUntilMs`: until when the account rests. */
  doubtIntent(intent: IntentId, reason: string, nowMs: number, fencedAtMs?: number, pauseUntilMs?: number): Promise<boolean>;
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
  /**
   * Gives up an archive in doubt: it is never sent again, and its settlement books its bounds as spent. `decidedAtMs`: when
   * that was written down. For a day no other archive of its row count is bound to a batch by time and count alone, because
   * its batch may still turn up. False: it is not in doubt.
   */
  forgoIntent(request: { readonly intent: IntentId; readonly by: string; readonly decidedAtMs: number; readonly nowMs: number }): Promise<boolean>;
  /** Undoes an adoption whose batch holds none of the archive's rows. */
  disownBatch(archive: ArchiveId, batch: BatchId, nowMs: number): Promise<boolean>;
  /** What the ledger knows of these batches; those that it does not know are not in the answer. */
  readClaims(account: string, batches: readonly BatchId[]): Promise<ReadonlyMap<BatchId, BatchClaim>>;
  /** Remembers a batch that is not ours. `archive`: what its results name where that has the form of ours; should the
   *  ledger come to know it, the batch is a stranger's no more. */
  noteStranger(request: { readonly account: string; readonly batch: BatchId; readonly archive: ArchiveId | undefined; readonly createdAtMs: number; readonly nowMs: number }): Promise<void>;
  /** Books a batch of ours that no archive claims to the account `leak`; once. `isCovered`: the archive was given up, and the
   *  bounds that this booked cover the batch, so nothing is added. */
  bookLeak(request: {
    readonly account: string;
    readonly archive: ArchiveId;
    readonly batch: BatchId;
    readonly rows: number;
    readonly usage: Usage;
    readonly microUsd: number;
    /** Rows of which no result is to be had: `usage` and `microUsd` hold their bounds. */
    readonly rowsAtBound: number;
    readonly nowMs: number;
  }): Promise<{ readonly isBooked: boolean; readonly isCovered: boolean }>;

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
  /** Tells that a budget will probably be used up; once for each window and limit, and not when it is used up already. */
  tellForecast(told: ForecastTold): Promise<boolean>;
  listBudgets(): Promise<readonly Budget[]>;
  listAccounts(): Promise<readonly AccountRecord[]>;
  /** Forgets accounts of windows that have been over for {@link accountsKeptMs} and hold no reservation; returns how many. */
  sweepAccounts(nowMs: number): Promise<number>;
  listSegments(nowMs: number): Promise<readonly SegmentRecord[]>;
  /** Everything that stands still, runs that are held included. */
  listStops(nowMs: number): Promise<readonly StopRecord[]>;
  /** The accounts of which nothing is submitted for a while, and why; `untilMs`: Unix ms. */
  listRests(nowMs: number): Promise<readonly { readonly account: string; readonly reason: string; readonly untilMs: number }[]>;
  /** Measures what clients hand in with a run, each row once, and decides from which row on it is too much for the tier of each. */
  measureClients(request: MeasureRequest): Promise<Measurement>;
  /** Puts a client into a tier on an operator's word; false where a newer word holds. */
  setTier(assignment: TierAssignment): Promise<boolean>;
  /** What operators have decided last, by the names of the clients. */
  readTiers(): Promise<readonly TierAssignment[]>;
  /** Clients that have handed something in. */
  listClients(): Promise<readonly string[]>;
  readClient(client: string, nowMs: number): Promise<ClientRecord>;
  /** Prompts that wait for the provider or are with it, of all priorities. */
  countLine(): Promise<number>;
  /** Binds the ledger to a lake the first time; returns the id of the lake that it belongs to. */
  claimLake(lake: string): Promise<string>;

  /** Events after a sequence number, oldest first. */
  readEvents(afterSequence: number, limit: number): Promise<readonly OutboxEvent[]>;
  /** Claims the outbox for a sink; false while another relay has it. `sequence`: the last event that the sink was told; `newest`: the last that there is. */
  claimRelay(request: {
    readonly sink: string;
    readonly owner: string;
    readonly leaseMs: number;
    /** Where a sink that was never told anything begins: behind the newest event, or with the oldest. */
    readonly isFromNow: boolean;
    readonly nowMs: number;
  }): Promise<{ readonly isClaimed: boolean; readonly sequence: number; readonly newest: number; readonly untilMs: number }>;
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
