/**
 * Lists of the workspace in another form than the provider has shown so far, for some seeds and for a while: the product's own
 * reader goes through them page by page. Which seeds, and which form, is drawn from a stream of its own.
 */
import type Anthropic from '@anthropic-ai/sdk';
import { listBatches } from '../../../workers/batch-search.ts';
import type { BatchListing } from '../../../workers/claude.ts';
import { seeded } from './random.ts';

/** What is strange about a list. */
export const listForms = ['short', 'reordered', 'cut', 'status', 'counter'] as const;
export type ListForm = (typeof listForms)[number];

export interface StrangeLists {
  readonly forms: ReadonlySet<ListForm>;
  /** Batches of a page where they are short, or in front of the cut. */
  readonly rows: number;
  /** How long from the beginning, ms: longer than it takes to prove that a batch does not exist. */
  readonly forMs: number;
  /** Batches run for longer than that takes, too: only one that has not ended is told by its count. */
  readonly isSlow: boolean;
}

/** The strange lists of a seed; undefined: none. */
export function strangeListsOf(seed: number): StrangeLists | undefined {
  const random = seeded(seed * 61 + 17);
  if (!random.chance(0.06)) return undefined;
  const forms = new Set([random.pick(listForms), ...(random.chance(0.4) ? [random.pick(listForms)] : [])]);
  return { forms, rows: 1 + random.int(2), forMs: 70_000 + random.int(120_000), isSlow: random.chance(0.6) };
}

/** A batch of the provider, as far as lists show it. */
export interface ShownBatch {
  readonly id: string;
  readonly createdAtMs: number;
  readonly isEnded: boolean;
  readonly rows: number;
}

/** Reads the list as a worker does, from a provider that answers in this form. */
export async function readStrangeLists(batches: readonly ShownBatch[], { forms, rows }: StrangeLists, sinceMs: number, signal: AbortSignal): Promise<BatchListing> {
  const second = (batch: ShownBatch): number => Math.floor(batch.createdAtMs / 1_000);
  const within = forms.has('reordered') ? -1 : 1;
  const all = [...batches].sort((a, b) => second(b) - second(a) || within * (b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : -1)));
  const get = async (_path: string, { query }: { readonly query: { readonly limit: number; readonly after_id?: string } }): Promise<object> => {
    const from = query.after_id === undefined ? 0 : all.findIndex((batch) => batch.id === query.after_id) + 1;
    const isBehindCut = forms.has('cut') && query.after_id !== undefined;
    const shown = isBehindCut ? [] : all.slice(from, from + (forms.has('short') || forms.has('cut') ? rows : query.limit));
    return await Promise.resolve({
      data: shown.map((batch) => pageEntry(batch, forms)),
      has_more: !isBehindCut && (forms.has('cut') || from + shown.length < all.length),
      first_id: shown[0]?.id ?? null,
      last_id: shown.at(-1)?.id ?? null,
    });
  };
  return await listBatches({ get } as unknown as Anthropic, sinceMs, signal);
}

function pageEntry({ id, createdAtMs, isEnded, rows }: ShownBatch, forms: ReadonlySet<ListForm>): object {
  const counts = { processing: isEnded ? 0 : rows, succeeded: isEnded ? rows : 0, errored: 0, canceled: 0, expired: 0 };
  return {
    id,
    processing_status: isEnded ? 'ended' : forms.has('status') ? 'queued_for_capacity' : 'in_progress',
    ...(forms.has('status') ? { capacity: { region: 'any' } } : {}),
    created_at: new Date(createdAtMs).toISOString(),
    request_counts: forms.has('counter') ? { ...counts, total: rows } : counts,
  };
}
