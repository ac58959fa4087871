/**
 * A provider in memory behind the claude port, with the truth of what it accepted and billed. It shares no code with the
 * product but the port: ids, bodies and results are made and read here. Other tenants share its workspace.
 */
import { createHash } from 'node:crypto';
import { PlimsollError } from '../../../segments/errors.ts';
import type { BatchId } from '../../../segments/segment.ts';
import type { BatchListing, BatchSearch, BatchStatus, Claude, CreateOutcome, GatedBody } from '../../../workers/claude.ts';
import type { Random } from './random.ts';
import { readStrangeLists, type ListForm, type StrangeLists } from './strange-lists.ts';

/** What the provider does with one create. */
export const createFaults = ['reply_lost', 'late', 'swallowed', 'refused_401', 'refused_429', 'refused_413', 'refused_400', 'limited_but_made', 'overloaded', 'overloaded_but_made', 'drop_mid', 'error_500'] as const;
export type CreateFault = 'ok' | (typeof createFaults)[number];
/** The classes that a create can end with, and what became of each row. */
export const createClasses = ['accepted', 'refused_archive', 'refused_account', 'refused_moment', 'not_sent', 'in_doubt'] as const;
export const rowClasses = ['succeeded', 'errored_invalid', 'errored_account', 'errored_passing', 'expired', 'canceled'] as const;

export interface Accepted {
  readonly id: BatchId;
  readonly customIds: readonly string[];
  readonly createdAtMs: number;
  /** When it shows in listings; later than its creation after a `late` create. */
  readonly visibleAtMs: number;
  endsAtMs: number;
  isCanceling: boolean;
  /** Fixed when it ends or is canceled. */
  readonly rows: readonly AcceptedRow[];
  /** It was made although the reply was a 429: the assumption that such a reply proves that nothing was made is broken. */
  readonly isAgainstReply: boolean;
  /** Not ours: another tenant of the workspace made it. */
  readonly isForeign: boolean;
}

interface AcceptedRow {
  readonly customId: string;
  kind: (typeof rowClasses)[number];
  line: string;
  tokens: number;
}

export interface ProviderPlan {
  /** Fault of the nth create, by chance. */
  readonly createFault: () => CreateFault;
  readonly erroredRate: number;
  readonly expiredRate: number;
  /** Chance that a batch is canceled by somebody else. */
  readonly canceledRate: number;
  /** Every row of a batch fails for the account's sake. */
  readonly accountFaultRate: number;
  /** Chance that a download of results is short, doubled or torn. */
  readonly badDownloadRate: number;
  /** A download that is bad stays so: rows are missing or contradict each other. */
  readonly isDownloadBadForEver: boolean;
  readonly batchMs: number;
  /** Chance that another tenant makes a batch of the same row count right after a create without a reply. */
  readonly strangerRate: number;
  /** Chance that a list of the workspace is cut off. */
  readonly partialListRate: number;
  /** For a while its lists have another form; undefined: always the known one. */
  readonly strangeLists: StrangeLists | undefined;
  /** Refuses every batch that holds this text, with this status. */
  readonly poison: { readonly text: string; readonly status: 400 | 413 } | undefined;
}

export class MemoryProvider {
  readonly accepted: Accepted[] = [];
  /** How often each class was shown. */
  readonly classes = new Map<string, number>();
  /** How often a list of each strange form was read. */
  readonly forms = new Map<ListForm, number>();
  /** Workers whose create has begun and not ended. */
  readonly uploading = new Set<string>();
  /** Batches of which no complete results can be read. */
  readonly unreadable = new Set<BatchId>();
  readonly #badDownloads = new Map<string, number>();
  readonly #random: Random;
  readonly #now: () => number;
  readonly #openedAtMs: number;
  readonly plan: ProviderPlan;

  constructor(random: Random, now: () => number, plan: ProviderPlan) {
    this.#random = random;
    this.#now = now;
    this.#openedAtMs = now();
    this.plan = plan;
  }

  /** The provider as one worker sees it. */
  client(account: string, owner: string): Claude & BatchSearch {
    const find = (id: BatchId): Accepted => {
      const batch = this.accepted.find((each) => each.id === id && each.visibleAtMs <= this.#now());
      if (!batch) throw new PlimsollError('provider_refused', { message: `no batch ${id}` });
      return batch;
    };
    return {
      account,
      side: 'real',
      probe: async () => this.#now(),
      createBatch: async (body, _timeoutMs, signal) => {
        this.uploading.add(owner);
        const outcome = this.#note(await this.#create(body, signal));
        this.uploading.delete(owner);
        return outcome;
      },
      cancelBatch: async (id) => this.#cancel(find(id), 1),
      retrieveBatch: async (id): Promise<BatchStatus> => {
        const batch = find(id);
        const isEnded = this.#now() >= batch.endsAtMs;
        const counted = (...kinds: readonly string[]): number => batch.rows.filter((row) => kinds.includes(row.kind)).length;
        const counts = { processing: 0, succeeded: counted('succeeded'), errored: counted('errored_invalid', 'errored_account', 'errored_passing'), canceled: counted('canceled'), expired: counted('expired') };
        return {
          batch: id,
          isEnded,
          isCanceling: batch.isCanceling,
          createdAtMs: batch.createdAtMs,
          counts: isEnded ? counts : { processing: batch.rows.length, succeeded: 0, errored: 0, canceled: 0, expired: 0 },
          retryAfterMs: undefined,
        };
      },
      readResults: (id) => this.#download(find(id)),
      listBatches: async (sinceMs, signal) => {
        const strange = this.plan.strangeLists;
        if (strange && this.#now() < this.#openedAtMs + strange.forMs) return await this.#showStrangely(strange, sinceMs, signal);
        const isComplete = !this.#random.chance(this.plan.partialListRate);
        const shown = this.accepted.filter((batch) => batch.visibleAtMs <= this.#now() && batch.createdAtMs >= sinceMs);
        return {
          isComplete,
          batches: (isComplete ? shown : shown.slice(1)).map((batch) => ({ batch: batch.id, isEnded: this.#now() >= batch.endsAtMs, createdAtMs: batch.createdAtMs, rows: batch.rows.length })),
        };
      },
      firstResult: async (id) => {
        const batch = find(id);
        return this.#now() >= batch.endsAtMs ? batch.rows.at(-1)?.customId : undefined;
      },
    };
  }

  async #showStrangely(strange: StrangeLists, sinceMs: number, signal: AbortSignal): Promise<BatchListing> {
    for (const form of strange.forms) this.forms.set(form, (this.forms.get(form) ?? 0) + 1);
    const shown = this.accepted.filter((batch) => batch.visibleAtMs <= this.#now());
    return await readStrangeLists(shown.map(({ id, createdAtMs, endsAtMs, rows }) => ({ id, createdAtMs, isEnded: this.#now() >= endsAtMs, rows: rows.length })), strange, sinceMs, signal);
  }

  /** Tokens that were billed for a batch. */
  billOf(batch: Accepted): number {
    return batch.rows.reduce((sum, row) => sum + row.tokens, 0);
  }

  #note(outcome: CreateOutcome): CreateOutcome {
    const isUnsent = outcome.kind === 'refused' && outcome.reason.startsWith('not_sent');
    const name = outcome.kind === 'refused' ? (isUnsent ? 'not_sent' : `refused_${outcome.scope}`) : outcome.kind;
    this.classes.set(name, (this.classes.get(name) ?? 0) + 1);
    return outcome;
  }

  async #create(body: GatedBody, signal: AbortSignal): Promise<CreateOutcome> {
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
    const { poison } = this.plan;
    if (poison && bytes.includes(poison.text)) return refused(poison.status, 'archive');
    switch (fault) {
      case 'refused_401':
        return refused(401, 'account');
      case 'refused_429':
        return refused(429, 'moment');
      case 'refused_413':
      case 'refused_400':
        return refused(Number(fault.slice(-3)), 'archive');
      case 'limited_but_made':
        this.#accept(bytes, 0, true);
        return refused(429, 'moment');
      case 'swallowed':
        this.#strange(bytes);
        return { kind: 'in_doubt', reason: 'connection_lost' };
      case 'error_500':
        return { kind: 'in_doubt', reason: 'status_500', status: 500 };
      case 'overloaded':
      case 'overloaded_but_made':
        if (fault === 'overloaded_but_made') this.#accept(bytes, 0, false);
        this.#strange(bytes);
        return { kind: 'in_doubt', reason: 'status_529', status: 529, retryAfterMs: this.#random.chance(0.5) ? 3_000 : undefined };
      default: {
        const batch = this.#accept(bytes, fault === 'late' ? 20_000 : 0, false);
        if (fault === 'ok' || fault === 'drop_mid') return { kind: 'accepted', batch: batch.id, rows: batch.rows.length };
        this.#strange(bytes);
        return { kind: 'in_doubt', reason: 'connection_lost' };
      }
    }
  }

  /** Another tenant makes a batch that looks the same until it has ended. */
  #strange(bytes: Buffer): void {
    if (!this.#random.chance(this.plan.strangerRate)) return;
    const { requests } = JSON.parse(bytes.toString('utf8')) as { requests: unknown[] };
    const createdAtMs = this.#now() + this.#random.int(2_000);
    const rows = requests.map((_request, index): AcceptedRow => ({ customId: `theirs-${index}`, kind: 'expired', tokens: 0, line: JSON.stringify({ custom_id: `theirs-${index}`, result: { type: 'expired' } }) }));
    this.accepted.push({ id: this.#nextId(), customIds: rows.map((row) => row.customId), createdAtMs, visibleAtMs: createdAtMs, endsAtMs: createdAtMs + 3_000 + this.#random.int(60_000), isCanceling: false, rows, isAgainstReply: false, isForeign: true });
  }

  #nextId(): BatchId {
    return `msgbatch_${createHash('sha256').update(`${this.accepted.length + 1}`).digest('hex').slice(0, 24)}` as BatchId;
  }

  #accept(bytes: Buffer, lateMs: number, isAgainstReply: boolean): Accepted {
    const { requests } = JSON.parse(bytes.toString('utf8')) as { requests: { custom_id: string; params: { model: string; max_tokens: number; messages: { content: string }[] } }[] };
    const id = this.#nextId();
    const isAccountAtFault = this.#random.chance(this.plan.accountFaultRate);
    const rows = requests.map(({ custom_id, params }): AcceptedRow => {
      if (isAccountAtFault) return errored(custom_id, 'errored_account', 'billing_error');
      if (this.#random.chance(this.plan.expiredRate)) return { customId: custom_id, kind: 'expired', tokens: 0, line: JSON.stringify({ custom_id, result: { type: 'expired' } }) };
      if (this.#random.chance(this.plan.erroredRate)) return this.#random.chance(0.3) ? errored(custom_id, 'errored_invalid', 'invalid_request_error') : errored(custom_id, 'errored_passing', 'api_error');
      const input = 5 + this.#random.int(10);
      const output = 1 + this.#random.int(params.max_tokens);
      const usage = { input_tokens: input, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 }, output_tokens: output, service_tier: 'batch', inference_geo: 'not_available' };
      const message = { id: `msg_${id}`, type: 'message', role: 'assistant', model: 'claude-haiku-4-5-20251001', content: [{ type: 'text', text: `answer to ${params.messages[0]?.content.split(' y')[0]?.trimEnd() ?? ''}` }], stop_reason: 'end_turn', stop_sequence: null, usage };
      return { customId: custom_id, kind: 'succeeded', tokens: input + output, line: JSON.stringify({ custom_id, result: { type: 'succeeded', message } }) };
    });
    const createdAtMs = this.#now() + lateMs;
    const accepted: Accepted = { id, customIds: rows.map((row) => row.customId), createdAtMs, visibleAtMs: createdAtMs, endsAtMs: createdAtMs + this.plan.batchMs, isCanceling: false, rows, isAgainstReply, isForeign: false };
    this.accepted.push(accepted);
    if (this.#random.chance(this.plan.canceledRate)) this.#cancel(accepted, 0.5);
    return accepted;
  }

  /** What has begun may still finish and is billed; the rest is canceled, within seconds. */
  #cancel(batch: Accepted, share: number): void {
    if (batch.isCanceling || this.#now() >= batch.endsAtMs) return;
    batch.isCanceling = true;
    batch.endsAtMs = Math.min(batch.endsAtMs, Math.max(this.#now(), batch.createdAtMs) + 2_000);
    for (const row of batch.rows) {
      if (!this.#random.chance(share * 0.8)) continue;
      Object.assign(row, { kind: 'canceled', tokens: 0, line: JSON.stringify({ custom_id: row.customId, result: { type: 'canceled' } }) });
    }
  }

  async *#download(batch: Accepted): AsyncIterable<Buffer> {
    const lines = batch.rows.map((row) => `${row.line}\n`).reverse();
    const text = lines.join('');
    const bad = this.#badDownloads.get(batch.id) ?? 0;
    const isBad = this.unreadable.has(batch.id) || ((this.plan.isDownloadBadForEver || bad < 3) && this.#random.chance(this.plan.badDownloadRate));
    if (!isBad) return yield Buffer.from(text);
    this.#badDownloads.set(batch.id, bad + 1);
    if (this.plan.isDownloadBadForEver) {
      this.unreadable.add(batch.id);
      // One row contradicts itself, or is not there.
      if (batch.createdAtMs % 2 === 0) yield Buffer.from(lines.slice(1).join(''));
      else yield Buffer.from(`${text}${JSON.stringify({ custom_id: batch.rows[0]?.customId, result: { type: batch.rows[0]?.kind === 'expired' ? 'canceled' : 'expired' } })}\n`);
      return;
    }
    const kind = this.#random.int(4);
    if (kind === 0) yield Buffer.from(text.slice(0, Math.floor(text.length / 2)));
    else if (kind === 1) yield Buffer.from(lines.slice(1).join(''));
    else if (kind === 2) yield Buffer.from(text + (lines[0] ?? ''));
    else {
      yield Buffer.from(text.slice(0, Math.floor(text.length / 3)));
      throw new PlimsollError('provider_unavailable', { message: 'the download broke off', where: batch.id });
    }
  }
}

function errored(customId: string, kind: AcceptedRow['kind'], type: string): AcceptedRow {
  const line = JSON.stringify({ custom_id: customId, result: { type: 'errored', error: { type: 'error', error: { details: { error_visibility: 'user_facing' }, type, message: 'injected' }, request_id: null } } });
  return { customId, kind, tokens: 0, line };
}
