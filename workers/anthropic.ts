/**
 * The claude port over the official SDK. The SDK is told to retry nothing: a create would be paid for twice, and a read
 * is tried again by its stage, which knows when. Redirects are refused and `results_url` is never followed.
 *
 * A create sends its body and a read of results receives its lines by a `fetch` of their own (upload.ts, reception.ts), which
 * hold a few blocks of them and never follow a redirect.
 * For the rest, `window: null` with `redirect: 'error'` keeps fetch from cloning requests (claude-batches.md 7.2). A dispatcher of our own lifts fetch's 300 s limit on response headers (7.4).
 */
import Anthropic, { APIConnectionError, APIError, APIUserAbortError, type ClientOptions } from '@anthropic-ai/sdk';
import { createHash } from 'node:crypto';
import { Agent, fetch as undiciFetch } from 'undici';
import { asBatchId, type BatchId } from '../segments/segment.ts';
import type { Side } from '../segments/side.ts';
import type { BatchSearch, BatchStatus, Claude, CreateOutcome, GatedBody } from './claude.ts';
import { firstResult, listBatches } from './batch-search.ts';
import { batchesPath, readFault } from './provider-fault.ts';
import { Reception } from './reception.ts';
import { fetchWith } from './upload.ts';

export interface AnthropicSettings {
  readonly apiKey: string | undefined;
  readonly authToken: string | undefined;
  readonly baseUrl: string;
  /** `anthropic-version` header; the SDK's own is 2026-10-21. */
  readonly version: string;
  /** Names the account where its address does not: the simulator's port changes with every start. */
  readonly account?: string;
  /** `simulated` for the simulator of the home; absent: `real`, whatever the address is. */
  readonly side?: Side;
}

const readTimeoutMs = 60_000;
/** Longer than any upload and reply: phases are bounded by the signals that the stages pass. */
const unboundedMs = 2 ** 31 - 1;

/** Connects to the provider. Nothing is sent before the first call. */
export function openClaude(settings: AnthropicSettings): Claude & BatchSearch & { close(): Promise<void> } {
  // A connection is used once: a reused one can die between two requests and make a refusal look like a doubt.
  const dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0, connect: { timeout: 15_000 }, pipelining: 0 });
  const client = new Anthropic({
    apiKey: settings.apiKey ?? null,
    authToken: settings.authToken ?? null,
    baseURL: settings.baseUrl,
    maxRetries: 0,
    logLevel: 'off',
    timeout: readTimeoutMs,
    defaultHeaders: { 'anthropic-version': settings.version },
    // The same library as the dispatcher: a dispatcher of another version than the runtime's own fetch may not fit it.
    fetch: undiciFetch as unknown as typeof globalThis.fetch,
    fetchOptions: { redirect: 'error', window: null, dispatcher } as unknown as NonNullable<ClientOptions['fetchOptions']>,
  });
  const account = settings.account ?? fingerprint(`${settings.baseUrl}\n${settings.apiKey ?? settings.authToken ?? ''}`);

  return {
    account,
    side: settings.side ?? 'real',
    async probe(signal) {
      const { response } = await client
        .get(batchesPath, { query: { limit: 1 }, signal, maxRetries: 0 })
        .withResponse()
        .catch((error: unknown) => {
          throw readFault(error, 'list batches');
        });
      const date = Date.parse(response.headers.get('date') ?? '');
      return Number.isNaN(date) ? 0 : date;
    },
    createBatch: async (body, replyTimeoutMs, signal) => await create(client, body, replyTimeoutMs, signal),
    async retrieveBatch(batch, signal) {
      const { data, response } = await client.messages.batches
        .retrieve(batch, undefined, { signal, maxRetries: 0 })
        .withResponse()
        .catch((error: unknown) => {
          throw readFault(error, `retrieve ${batch}`);
        });
      return {
        batch,
        isEnded: data.processing_status === 'ended',
        isCanceling: data.processing_status === 'canceling',
        createdAtMs: Date.parse(data.created_at),
        counts: data.request_counts,
        retryAfterMs: retryAfterMs(response.headers),
      } satisfies BatchStatus;
    },
    async cancelBatch(batch, signal) {
      await client.messages.batches.cancel(batch, undefined, { signal, maxRetries: 0 }).catch((error: unknown) => {
        throw readFault(error, `cancel ${batch}`);
      });
    },
    listBatches: async (sinceMs, signal) => await listBatches(client, sinceMs, signal),
    firstResult: async (batch, signal) => await firstResult(client, batch, signal),
    async *readResults(batch: BatchId, signal: AbortSignal) {
      const reception = new Reception(signal);
      try {
        await client
          .withOptions({ fetch: reception.fetch })
          .get(`${batchesPath}/${batch}/results`, { headers: { accept: 'application/binary' }, signal, timeout: unboundedMs, maxRetries: 0 })
          .asResponse();
        yield* reception.blocks();
      } catch (error) {
        throw readFault(error, `read the results of ${batch}`);
      }
    },
    close: async () => await dispatcher.destroy(),
  };
}

function fingerprint(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

async function create(client: Anthropic, body: GatedBody, replyTimeoutMs: number, signal: AbortSignal): Promise<CreateOutcome> {
  // The reply is waited for from the release of the last byte on; how long the upload takes is the lane's affair.
  const noReply = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const watched = async function* (): AsyncGenerator<Uint8Array> {
    for await (const block of body.blocks) {
      if (body.isReleased() && !timer) timer = setTimeout(() => noReply.abort(), replyTimeoutMs);
      yield block;
    }
  };
  try {
    const response = await client
      .withOptions({ fetch: fetchWith({ ...body, blocks: watched() }) })
      .post(batchesPath, {
        headers: { 'content-type': 'application/json', 'content-length': String(body.sizeBytes) },
        signal: AbortSignal.any([signal, noReply.signal]),
        timeout: unboundedMs,
        maxRetries: 0,
      })
      .asResponse();
    return readAcceptance(await response.text());
  } catch (error) {
    return classify(error, body.isReleased());
  } finally {
    clearTimeout(timer);
  }
}

/** A 2xx reply: accepted when it names a batch, else nobody knows. */
function readAcceptance(text: string): CreateOutcome {
  let reply: unknown;
  try {
    reply = JSON.parse(text);
  } catch {
    return { kind: 'in_doubt', reason: 'reply_unreadable' };
  }
  const { id, request_counts: counts } = reply as { id?: unknown; request_counts?: { processing?: unknown } };
  const batch = typeof id === 'string' ? asBatchId(id) : undefined;
  if (!batch) return { kind: 'in_doubt', reason: 'reply_without_batch' };
  return { kind: 'accepted', batch, rows: typeof counts?.processing === 'number' ? counts.processing : -1 };
}

/** Statuses that the API gives before it looks at a batch: none of them can have made one. */
const refusals: ReadonlyMap<number, 'archive' | 'account' | 'moment'> = new Map([
  [400, 'archive'],
  [401, 'account'],
  [402, 'account'],
  [403, 'account'],
  [404, 'account'],
  [413, 'archive'],
  [422, 'archive'],
  [429, 'moment'],
]);

/**
 * Decides what a failed create proved. Before the release of the last byte every failure is a refusal: an incomplete
 * body is never accepted. After it, only a status that the API gives before it accepts is one. A 529 is none, however well
 * formed: it says that the provider was too busy, not how far it had come, and a batch that it made all the same would be
 * paid twice before anybody could know (ARCHITECTURE.md says what that costs).
 */
export function classify(error: unknown, isReleased: boolean): CreateOutcome {
  if (error instanceof APIError && typeof error.status === 'number') {
    const status: number = error.status;
    const scope = refusals.get(status);
    const retryAfter = error.headers ? retryAfterMs(error.headers) : undefined;
    if (scope) {
      // A 400 with an error code speaks of the account (a hold, a disabled key), not of what was sent.
      const isAccount = scope === 'account' || (scope === 'archive' && error.errorCode !== null);
      return { kind: 'refused', scope: isAccount ? 'account' : scope, reason: `status_${status}`, status, retryAfterMs: retryAfter };
    }
    if (!isReleased) return { kind: 'refused', scope: 'moment', reason: `status_${status}`, status, retryAfterMs: retryAfter };
    return { kind: 'in_doubt', reason: `status_${status}`, status, retryAfterMs: retryAfter };
  }
  const reason = error instanceof APIUserAbortError ? 'aborted' : error instanceof APIConnectionError ? 'connection_lost' : 'upload_failed';
  if (!isReleased) return { kind: 'refused', scope: 'moment', reason: `not_sent_${reason}`, status: undefined, retryAfterMs: undefined };
  return { kind: 'in_doubt', reason: reason === 'aborted' ? 'no_reply' : reason };
}

/** `retry-after` in ms; the header is whole seconds. Bounded, because a server could otherwise stop a worker for weeks. */
function retryAfterMs(headers: { get(name: string): string | null }): number | undefined {
  const seconds = Number(headers.get('retry-after') ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 3600) * 1000 : undefined;
}
