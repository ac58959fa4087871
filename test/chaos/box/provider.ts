/**
 * A provider in memory behind the claude port, with the truth of what it accepted and billed. It shares no code with the
 * product but the port: ids, bodies and results are made and read here.
 */
import { createHash } from 'node:crypto';
import { PlimsollError } from '../../../segments/errors.ts';
import type { BatchId } from '../../../segments/segment.ts';
import type { BatchSearch, BatchStatus, Claude, CreateOutcome, GatedBody } from '../../../workers/claude.ts';
import type { Random } from './random.ts';

/** What the provider does with one create. */
export type CreateFault = 'ok' | 'reply_lost' | 'late' | 'swallowed' | 'refused_429' | 'refused_413' | 'refused_400' | 'drop_mid' | 'error_500';

export interface Accepted {
  readonly id: BatchId;
  readonly customIds: readonly string[];
  readonly createdAtMs: number;
  /** When it shows in listings; later than its creation after a `late` create. */
  readonly visibleAtMs: number;
  readonly endsAtMs: number;
  readonly lines: readonly string[];
  readonly counts: { succeeded: number; errored: number; canceled: number; expired: number };
  readonly billedTokens: number;
}

export interface ProviderPlan {
  /** Fault of the nth create, by chance. */
  readonly createFault: () => CreateFault;
  readonly erroredRate: number;
  readonly expiredRate: number;
  /** Chance that a download of results is short, doubled or torn. */
  readonly badDownloadRate: number;
  readonly batchMs: number;
}

export class MemoryProvider {
  readonly accepted: Accepted[] = [];
  creates = 0;
  readonly #badDownloads = new Map<string, number>();
  readonly #random: Random;
  readonly #now: () => number;
  readonly plan: ProviderPlan;

  constructor(random: Random, now: () => number, plan: ProviderPlan) {
    this.#random = random;
    this.#now = now;
    this.plan = plan;
  }

  /** The provider as one worker sees it. */
  client(account: string): Claude & BatchSearch {
    const find = (id: BatchId): Accepted => {
      const batch = this.accepted.find((each) => each.id === id && each.visibleAtMs <= this.#now());
      if (!batch) throw new PlimsollError('provider_refused', { message: `no batch ${id}` });
      return batch;
    };
    return {
      account,
      probe: async () => this.#now(),
      createBatch: async (body, _timeoutMs, signal) => await this.#create(body, signal),
      cancelBatch: async () => undefined,
      retrieveBatch: async (id): Promise<BatchStatus> => {
        const batch = find(id);
        const isEnded = this.#now() >= batch.endsAtMs;
        return {
          batch: id,
          isEnded,
          isCanceling: false,
          createdAtMs: batch.createdAtMs,
          counts: isEnded ? { processing: 0, ...batch.counts } : { processing: batch.customIds.length, succeeded: 0, errored: 0, canceled: 0, expired: 0 },
          retryAfterMs: undefined,
        };
      },
      readResults: (id) => this.#download(find(id)),
      listBatches: async (sinceMs) => ({
        isComplete: true,
        batches: this.accepted
          .filter((batch) => batch.visibleAtMs <= this.#now() && batch.createdAtMs >= sinceMs)
          .map((batch) => ({ batch: batch.id, isEnded: this.#now() >= batch.endsAtMs, createdAtMs: batch.createdAtMs, rows: batch.customIds.length })),
      }),
      firstResult: async (id) => {
        const batch = find(id);
        return this.#now() >= batch.endsAtMs ? (JSON.parse(batch.lines[0] ?? '{}') as { custom_id?: string }).custom_id : undefined;
      },
    };
  }

  async #create(body: GatedBody, signal: AbortSignal): Promise<CreateOutcome> {
    this.creates += 1;
    const fault = this.plan.createFault();
    const refused = (status: number, scope: 'archive' | 'account' | 'moment'): CreateOutcome => ({ kind: 'refused', scope, reason: `status_${status}`, status, retryAfterMs: undefined });
    const notSent: CreateOutcome = { kind: 'refused', scope: 'moment', reason: 'not_sent_connection_lost', status: undefined, retryAfterMs: undefined };
    const blocks: Uint8Array[] = [];
    try {
      for await (const block of body.blocks) {
        blocks.push(Uint8Array.from(block));
        if (fault === 'drop_mid' || signal.aborted) return notSent;
      }
    } catch {
      return notSent;
    }
    const bytes = Buffer.concat(blocks);
    if (bytes.length !== body.sizeBytes) return notSent;
    switch (fault) {
      case 'refused_429':
        return refused(429, 'moment');
      case 'refused_413':
        return refused(413, 'archive');
      case 'refused_400':
        return refused(400, 'archive');
      case 'swallowed':
        return { kind: 'in_doubt', reason: 'connection_lost' };
      case 'error_500':
        return { kind: 'in_doubt', reason: 'status_500' };
      default: {
        const batch = this.#accept(bytes, fault === 'late' ? 20_000 : 0);
        if (fault === 'ok' || fault === 'drop_mid') return { kind: 'accepted', batch: batch.id, rows: batch.customIds.length };
        return { kind: 'in_doubt', reason: 'connection_lost' };
      }
    }
  }

  #accept(bytes: Buffer, lateMs: number): Accepted {
    const { requests } = JSON.parse(bytes.toString('utf8')) as { requests: { custom_id: string; params: { model: string; max_tokens: number } }[] };
    const ordinal = this.accepted.length + 1;
    const counts = { succeeded: 0, errored: 0, canceled: 0, expired: 0 };
    let billedTokens = 0;
    const lines = requests.map(({ custom_id, params }) => {
      if (this.#random.chance(this.plan.expiredRate)) {
        counts.expired += 1;
        return JSON.stringify({ custom_id, result: { type: 'expired' } });
      }
      if (this.#random.chance(this.plan.erroredRate)) {
        counts.errored += 1;
        const type = this.#random.chance(0.3) ? 'invalid_request_error' : 'api_error';
        return JSON.stringify({ custom_id, result: { type: 'errored', error: { type: 'error', error: { details: { error_visibility: 'user_facing' }, type, message: 'injected' }, request_id: null } } });
      }
      counts.succeeded += 1;
      const input = 5 + this.#random.int(10);
      const output = 1 + this.#random.int(params.max_tokens);
      billedTokens += input + output;
      const usage = { input_tokens: input, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 }, output_tokens: output, service_tier: 'batch', inference_geo: 'not_available' };
      const message = { id: `msg_${ordinal}`, type: 'message', role: 'assistant', model: 'claude-haiku-4-5-20251001', content: [{ type: 'text', text: `answer ${custom_id}` }], stop_reason: 'end_turn', stop_sequence: null, usage };
      return JSON.stringify({ custom_id, result: { type: 'succeeded', message } });
    });
    const createdAtMs = this.#now() + lateMs;
    const accepted: Accepted = {
      id: `msgbatch_${createHash('sha256').update(`${ordinal}`).digest('hex').slice(0, 24)}` as BatchId,
      customIds: requests.map((request) => request.custom_id),
      createdAtMs,
      visibleAtMs: createdAtMs,
      endsAtMs: createdAtMs + this.plan.batchMs,
      lines: lines.reverse(),
      counts,
      billedTokens,
    };
    this.accepted.push(accepted);
    return accepted;
  }

  async *#download(batch: Accepted): AsyncIterable<Buffer> {
    const text = batch.lines.map((line) => `${line}\n`).join('');
    // A download that stays bad for ever is another matter: then holes are booked at their bound, and the bill is only a floor.
    const bad = this.#badDownloads.get(batch.id) ?? 0;
    if (bad >= 3 || !this.#random.chance(this.plan.badDownloadRate)) return yield Buffer.from(text);
    this.#badDownloads.set(batch.id, bad + 1);
    const kind = this.#random.int(3);
    if (kind === 0) yield Buffer.from(text.slice(0, Math.floor(text.length / 2)));
    else if (kind === 1) yield Buffer.from(batch.lines.slice(1).map((line) => `${line}\n`).join(''));
    else yield Buffer.from(text + `${batch.lines[0] ?? ''}\n`);
  }
}
