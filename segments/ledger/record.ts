/** What the ledger knows of each noun on its way: runs, chunks, archives, intents and their doubts, and the events of the outbox. */
import type { ArchiveState, ChunkState, IntentState, RunState } from '../lifecycle.ts';
import type { ArchiveId, BatchId, ChunkId, IntentId, Priority, RunKey, SegmentName, Usage } from '../segment.ts';
import type { Side } from '../side.ts';

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
  /** Who answers it; undefined while that is not decided. */
  readonly side?: Side | undefined;
  /** How much of the source was read when the newest chunk became durable, and the digest of that much. */
  readonly checkpoint: Checkpoint;
  readonly accepted: number;
  readonly rejected: number;
  readonly succeeded: number;
  readonly deadLettered: number;
  /** Rows that a replan left out of a sample; they are never sent. */
  readonly notSampled: number;
  /** Rows that went round again; each of them ends as one of the above. */
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
  /** Those of them that hold an estimate instead of its bounds, and how much; undefined where none does. */
  readonly estimated?: EstimatedReservation;
}

/** What a chunk has reserved by estimate, tokens and micro-USD, in each of the accounts. */
export interface EstimatedReservation {
  readonly accounts: readonly string[];
  readonly tokens: number;
  readonly microUsd: number;
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
  /** GMAC of the body; undefined: not sealed, or restored from the lake, which does not keep it. */
  readonly bodyGmac: string | undefined;
  readonly sealedAtMs: number | undefined;
  /** How many intents it has had. */
  readonly intents: number;
  /** How often it was put aside because its body could not be made; absent: never, or not since a rebuild. */
  readonly asides?: number | undefined;
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
  /** The replan that put others in the place of its chunks; such an archive is never sent. */
  readonly replan?: string | undefined;
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
