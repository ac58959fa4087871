/** The reads of the provider with which a lost batch is searched: the list of a workspace, and whose results a batch holds. */
import type Anthropic from '@anthropic-ai/sdk';
import { providerLimits } from '../config/limits.ts';
import { PlimsollError } from '../segments/errors.ts';
import { asBatchId, type BatchId } from '../segments/segment.ts';
import type { BatchListing, ListedBatch, UnreadPart } from './claude.ts';
import { batchesPath, readFault } from './provider-fault.ts';

/** 20,000 batches in one look: 500 times what a full queue of the highest tier can hold in large batches. */
const pagesMax = 20;
/** A first line longer than this has no `custom_id` of ours near its beginning. */
const firstLineBytesMax = 64 * 1024;

/** A batch of another form of id is named this far in a warning. */
const idShownMax = 80;

/** One page of the list (claude-batches.md 1.3). Nothing of it is believed before it was looked at. */
interface Page {
  readonly data: readonly { readonly id?: unknown; readonly processing_status?: unknown; readonly created_at?: unknown; readonly request_counts?: unknown }[];
  readonly has_more?: unknown;
  readonly last_id?: unknown;
}

/**
 * Pages through the list, newest first, until a batch is older than `sinceMs`. What cannot be read of it may be the very
 * batch that is searched: to leave it out and call the rest complete would prove an absence that is none, and the archive
 * would be paid for again. So the listing is complete only when it was read to its end and all of it was understood.
 */
export async function listBatches(client: Anthropic, sinceMs: number, signal: AbortSignal): Promise<BatchListing> {
  const batches: ListedBatch[] = [];
  let unread: UnreadPart | undefined;
  let after: string | undefined;
  for (let page = 0; page < pagesMax; page += 1) {
    const query = { limit: providerLimits.listPageMax, ...(after === undefined ? {} : { after_id: after }) };
    const found = await client.get<Page>(batchesPath, { query, signal, maxRetries: 0 }).catch((error: unknown) => {
      throw readFault(error, 'list batches');
    });
    for (const each of found.data) {
      const read = readListed(each);
      if (read.kind === 'unread') {
        // An id or a count of another form is of no concern in a batch that is too old to be searched.
        if (read.createdAtMs !== undefined && read.createdAtMs < sinceMs) return listingOf(batches, unread);
        unread ??= read.part;
        if (read.ended) batches.push(read.ended);
        continue;
      }
      if (read.listed.createdAtMs < sinceMs) return listingOf(batches, unread);
      batches.push(read.listed);
    }
    // The page before has promised more than it held. What was promised may be the batch that is searched.
    if (after !== undefined && found.data.length === 0) return listingOf(batches, unread ?? { reason: 'page_empty', batch: after });
    if (found.has_more === false) return listingOf(batches, unread);
    // There is more, and nothing says where it begins.
    if (typeof found.last_id !== 'string') return listingOf(batches, unread ?? { reason: 'page_without_end', batch: undefined });
    after = found.last_id;
  }
  return listingOf(batches, unread ?? { reason: 'too_large', batch: undefined });
}

function listingOf(batches: readonly ListedBatch[], unread: UnreadPart | undefined): BatchListing {
  return unread === undefined ? { batches, isComplete: true } : { batches, isComplete: false, unread };
}

type ReadListed =
  | { readonly kind: 'listed'; readonly listed: ListedBatch }
  /** `createdAtMs` undefined: not even its age is known. `ended`: only its counters are not understood, and as it has ended its
   *  results tell whose it is, whatever it counts. */
  | { readonly kind: 'unread'; readonly part: UnreadPart; readonly createdAtMs: number | undefined; readonly ended?: ListedBatch };

function readListed(each: Page['data'][number]): ReadListed {
  const created = typeof each.created_at === 'string' ? Date.parse(each.created_at) : Number.NaN;
  const createdAtMs = Number.isNaN(created) ? undefined : created;
  const batch = typeof each.id === 'string' ? asBatchId(each.id) : undefined;
  const isEnded = each.processing_status === 'ended';
  const { rows, isUnderstood } = rowsOf(each.request_counts);
  if (batch !== undefined && createdAtMs !== undefined) {
    const listed = { batch, isEnded, createdAtMs, rows };
    if (isUnderstood) return { kind: 'listed', listed };
    return { kind: 'unread', part: { reason: 'request_counts', batch }, createdAtMs, ...(isEnded ? { ended: listed } : {}) };
  }
  const reason = createdAtMs === undefined ? 'created_at' : 'id';
  return { kind: 'unread', part: { reason, batch: typeof each.id === 'string' ? each.id.slice(0, idShownMax) : undefined }, createdAtMs };
}

/** What a batch counts (claude-batches.md 1.6): each of its requests in one of these. */
const counters: ReadonlySet<string> = new Set(['processing', 'succeeded', 'errored', 'canceled', 'expired']);

/**
 * The number of a batch's requests by the counters that are known. It is not understood when one of them is no number, or when
 * one that is not known holds something: nobody can say then whether that counts requests of its own or those of others once
 * more, and a batch with a wrong number would be taken for somebody else's.
 */
function rowsOf(counts: unknown): { readonly rows: number; readonly isUnderstood: boolean } {
  let rows = 0;
  let isUnderstood = typeof counts === 'object' && counts !== null;
  for (const [name, count] of Object.entries(counts ?? {})) {
    if (counters.has(name) && Number.isSafeInteger(count)) rows += Number(count);
    else if (count !== 0) isUnderstood = false;
  }
  // No batch is without requests (claude-batches.md 1.2).
  return { rows, isUnderstood: isUnderstood && rows > 0 };
}

/** Reads the beginning of the results and hangs up. Any line names the archive, so the first one is enough. */
export async function firstResult(client: Anthropic, batch: BatchId, signal: AbortSignal): Promise<string | undefined> {
  const hangUp = new AbortController();
  try {
    const response = await client
      .get(`${batchesPath}/${batch}/results`, { headers: { accept: 'application/binary' }, signal: AbortSignal.any([signal, hangUp.signal]), maxRetries: 0 })
      .asResponse();
    let head = Buffer.alloc(0);
    for await (const block of response.body ?? []) {
      head = Buffer.concat([head, block]);
      if (head.includes(0x0a) || head.length > firstLineBytesMax) break;
    }
    return customIdOf(head.subarray(0, firstLineBytesMax).toString('utf8'));
  } catch (error) {
    const fault = readFault(error, `read the results of ${batch}`);
    // Not there yet, or not any more: this batch cannot be told apart by its results now.
    if (fault instanceof PlimsollError && fault.code === 'provider_refused') return undefined;
    throw fault;
  } finally {
    hangUp.abort();
  }
}

/** The `custom_id` at the beginning of a line; the line itself may be cut and is not parsed: an answer can be megabytes. */
function customIdOf(head: string): string | undefined {
  return /^\s*\{\s*"custom_id"\s*:\s*"([A-Za-z0-9_-]{1,64})"/.exec(head)?.[1] ?? parsedId(head);
}

/** The key may stand elsewhere in the line; then the line has to be whole. */
function parsedId(head: string): string | undefined {
  try {
    const line = JSON.parse(head.slice(0, head.indexOf('\n'))) as { custom_id?: unknown };
    return typeof line.custom_id === 'string' ? line.custom_id : undefined;
  } catch {
    return undefined;
  }
}
