/**
 * The claude port: the provider's batch calls as the stages need them. Creating a batch costs money and has no
 * idempotency key, so it is never retried here; its outcome is a value with a class, decided by what was observed.
 */
import type { BatchId } from '../segments/segment.ts';
import type { Side } from '../segments/side.ts';

/** What one POST proved (reliability.md 4.5). */
export type CreateOutcome =
  /** A reply names the batch. `rows`: how many requests the provider counts. */
  | { readonly kind: 'accepted'; readonly batch: BatchId; readonly rows: number }
  /** No batch was made. `scope` says what is wrong: this archive, the account, or only this moment. */
  | {
      readonly kind: 'refused';
      readonly scope: 'archive' | 'account' | 'moment';
      readonly reason: string;
      readonly status: number | undefined;
      readonly retryAfterMs: number | undefined;
    }
  /** The last byte was released and nothing proves what became of it. `status`: a reply came that proves nothing, so the
   *  provider is in trouble and is left alone for as long as it asks. */
  | { readonly kind: 'in_doubt'; readonly reason: string; readonly status?: number; readonly retryAfterMs?: number | undefined };

/** State of a batch at the provider. */
export interface BatchStatus {
  readonly batch: BatchId;
  readonly isEnded: boolean;
  /** A cancellation was asked for and is not through yet. */
  readonly isCanceling: boolean;
  readonly createdAtMs: number;
  readonly counts: { readonly processing: number; readonly succeeded: number; readonly errored: number; readonly canceled: number; readonly expired: number };
  readonly retryAfterMs: number | undefined;
}

/** A batch as the list of the workspace shows it. */
export interface ListedBatch {
  readonly batch: BatchId;
  readonly isEnded: boolean;
  readonly createdAtMs: number;
  /** Sum of all its counters. */
  readonly rows: number;
}

/** Part of a workspace. `isComplete` false: there are more batches than one look may read, or some that it could not read,
 *  so what is missing proves nothing. */
export interface BatchListing {
  readonly batches: readonly ListedBatch[];
  readonly isComplete: boolean;
  /** The first thing that kept it from being complete. */
  readonly unread?: UnreadPart;
}

/** What a listing lacks: more pages than one look may read, a page that does not say where the next one begins, what a page
 *  has promised and the next one does not hold, or a batch with a field of another form. `batch`: its id as the provider wrote
 *  it, cut after 80 characters; of an empty page, the last one before it. */
export interface UnreadPart {
  readonly reason: 'too_large' | 'page_without_end' | 'page_empty' | 'id' | 'created_at' | 'request_counts';
  readonly batch: string | undefined;
}

/** The body of a create: a stream whose last byte is held back until the gate opens. */
export interface GatedBody {
  readonly blocks: AsyncIterable<Uint8Array>;
  /** Gives a block back that has left; it must not be looked at any more. Blocks may also be kept. */
  readonly give: (block: Uint8Array) => void;
  readonly sizeBytes: number;
  /** True as soon as the last byte may have left. */
  readonly isReleased: () => boolean;
}

export interface Claude {
  /** Fingerprint of key and base URL; a batch may only be polled by the account that made it. */
  readonly account: string;
  /** Who answers there: `simulated` for the simulator of the home alone, `real` for any other address. */
  readonly side: Side;
  /** Proves that provider and key answer, and reads the provider's clock, ms. @throws PlimsollError `credentials_refused`, `provider_unavailable` */
  probe(signal: AbortSignal): Promise<number>;
  createBatch(body: GatedBody, replyTimeoutMs: number, signal: AbortSignal): Promise<CreateOutcome>;
  /** Asks the provider to cancel a batch; what has begun may still finish and is billed. Asking twice is harmless (1.6).
   *  @throws PlimsollError `provider_unavailable`, `provider_refused`, `credentials_refused` */
  cancelBatch(batch: BatchId, signal: AbortSignal): Promise<void>;
  /** @throws PlimsollError `provider_unavailable`, `provider_refused`, `credentials_refused` */
  retrieveBatch(batch: BatchId, signal: AbortSignal): Promise<BatchStatus>;
  /** The result lines as they come, unverified. */
  readResults(batch: BatchId, signal: AbortSignal): AsyncIterable<Buffer>;
}

/** The reads with which a lost batch is searched. */
export interface BatchSearch {
  /** Every batch of the workspace that was created at `sinceMs` (provider's clock) or later, newest first, within a bound.
   *  @throws PlimsollError `provider_unavailable`, `provider_refused`, `credentials_refused` */
  listBatches(sinceMs: number, signal: AbortSignal): Promise<BatchListing>;
  /** The `custom_id` of the first result line of an ended batch; undefined when it has no results that can be read.
   *  @throws PlimsollError `provider_unavailable`, `credentials_refused` */
  firstResult(batch: BatchId, signal: AbortSignal): Promise<string | undefined>;
}
