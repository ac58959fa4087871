/** The reads of the provider with which a lost batch is searched: the list of a workspace, and whose results a batch holds. */
import type Anthropic from '@anthropic-ai/sdk';
import { providerLimits } from '../config/limits.ts';
import { PlimsollError } from '../segments/errors.ts';
import { asBatchId, type BatchId } from '../segments/segment.ts';
import type { BatchListing, ListedBatch } from './claude.ts';
import { batchesPath, readFault } from './provider-fault.ts';

/** 20,000 batches in one look: 500 times what a full queue of the highest tier can hold in large batches. */
const pagesMax = 20;
/** A first line longer than this has no `custom_id` of ours near its beginning. */
const firstLineBytesMax = 64 * 1024;

interface Page {
  readonly data: readonly { readonly id: string; readonly processing_status: string; readonly created_at: string; readonly request_counts: Readonly<Record<string, number>> }[];
  readonly has_more: boolean;
  readonly last_id: string | null;
}

/** Pages through the list, newest first, until a batch is older than `sinceMs`. */
export async function listBatches(client: Anthropic, sinceMs: number, signal: AbortSignal): Promise<BatchListing> {
  const batches: ListedBatch[] = [];
  let after: string | undefined;
  for (let page = 0; page < pagesMax; page += 1) {
    const query = { limit: providerLimits.listPageMax, ...(after === undefined ? {} : { after_id: after }) };
    const found = await client.get<Page>(batchesPath, { query, signal, maxRetries: 0 }).catch((error: unknown) => {
      throw readFault(error, 'list batches');
    });
    for (const each of found.data) {
      const createdAtMs = Date.parse(each.created_at);
      if (createdAtMs < sinceMs) return { batches, isComplete: true };
      const batch = asBatchId(each.id);
      const rows = Object.values(each.request_counts).reduce((sum, count) => sum + count, 0);
      if (batch !== undefined) batches.push({ batch, isEnded: each.processing_status === 'ended', createdAtMs, rows });
    }
    if (!found.has_more || found.last_id === null) return { batches, isComplete: true };
    after = found.last_id;
  }
  return { batches, isComplete: false };
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
