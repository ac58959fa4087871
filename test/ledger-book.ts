/**
 * The simple book that the ledger is compared with: chunks, limits and a clock, and nothing else. It keeps no accounts; it
 * adds up, each time anew, what the chunks of a target have reserved and spent in a window.
 */
import type { Budget } from '../segments/ledger/ledger.ts';
import type { ArchiveId, ChunkId, RunKey, SegmentName } from '../segments/segment.ts';
import { windowAt, windowName } from '../segments/window.ts';
import { nowMs, perRow, runA, runB } from './ledger-world.ts';

export interface BookChunk {
  readonly run: RunKey;
  readonly segment: SegmentName;
  readonly client: string;
  readonly from: number;
  readonly to: number;
  state: 'queued' | 'held' | 'packed' | 'settled' | 'split';
  archive: ArchiveId | undefined;
  /** Where its reservation stands, and where its cost is booked; empty while it has none. */
  accounts: readonly string[];
  /** Those of them that hold an estimate, and how much; as on its admission. */
  estimated: { readonly accounts: readonly string[]; readonly tokens: number; readonly microUsd: number };
  /** What it consumed, tokens and micro-USD alike. */
  spent: number;
}

export interface Book {
  readonly chunks: Map<ChunkId, BookChunk>;
  readonly limits: Map<string, Budget>;
  readonly lastRow: Map<string, number>;
  /** Percent of their bounds that the settled rows of each topic have consumed, of tokens; a row consumes half that of money. */
  readonly shares: Map<string, number[]>;
  nowMs: number;
  batches: number;
}

export const runs = [runA, runB];
export const segments = ['invoices.8k.normal', 'invoices.8k.high', 'letters.8k.normal'] as SegmentName[];
export const clients = ['etl', 'bi'];
export const targetsOf = ({ segment, client }: Pick<BookChunk, 'segment' | 'client'>): readonly string[] => ['all', `client:${client}`, `topic:${segment.split('.')[0] ?? ''}`, `segment:${segment}`];
export const targets = [...new Set(segments.flatMap((segment) => clients.flatMap((client) => targetsOf({ segment, client }))))];
export const windows: readonly Pick<Budget, 'window' | 'timeZone'>[] = [
  { window: 'total' }, { window: 'run' }, { window: '6h' }, { window: 'hour', timeZone: 'Asia/Kolkata' }, { window: 'day', timeZone: 'America/New_York' },
  { window: 'week' }, { window: 'month', timeZone: 'Europe/Berlin' },
];

export function emptyBook(): Book {
  return { chunks: new Map(), limits: new Map(), lastRow: new Map(), shares: new Map(), nowMs, batches: 0 };
}

export const rowsOf = (chunk: BookChunk): number => chunk.to - chunk.from + 1;

/** The account of a target that a reservation made now stands in. */
function accountNow(book: Book, target: string, run: RunKey): string {
  const { window, timeZone } = book.limits.get(target) ?? { window: 'total', timeZone: undefined };
  if (window === 'run') return `${target}@run=${run}`;
  const bounds = windowAt(window, timeZone, book.nowMs);
  return bounds ? `${target}@${windowName(window, timeZone)}=${bounds.startMs}` : `${target}@total`;
}

/** Every account that a reservation of this chunk stands in; the total of each target is always kept. */
export function accountsNow(book: Book, chunk: BookChunk): readonly string[] {
  return [...new Set(targetsOf(chunk).flatMap((target) => [`${target}@total`, accountNow(book, target, chunk.run)]))];
}

/** `[tokens reserved, tokens spent, micro-USD reserved, micro-USD spent]`. */
export type Amounts = readonly [number, number, number, number];

/** Adds up every account that has ever had a reservation. */
export function sumsOf(book: Book): ReadonlyMap<string, Amounts> {
  const sums = new Map<string, [number, number, number, number]>();
  for (const chunk of book.chunks.values()) {
    if (chunk.state !== 'packed' && chunk.state !== 'settled') continue;
    for (const name of chunk.accounts) {
      const sum = sums.get(name) ?? [0, 0, 0, 0];
      if (chunk.state === 'packed') {
        const isEstimated = chunk.estimated.accounts.includes(name);
        sum[0] += isEstimated ? chunk.estimated.tokens : rowsOf(chunk) * perRow.tokensMax;
        sum[2] += isEstimated ? chunk.estimated.microUsd : rowsOf(chunk) * perRow.microUsdMax;
      } else {
        sum[1] += chunk.spent;
        sum[3] += chunk.spent;
      }
      sums.set(name, sum);
    }
  }
  return sums;
}

/** The room of a target for a chunk now; Infinity where it has no limit. */
export function roomOf(book: Book, target: string, chunk: BookChunk): { readonly tokens: number; readonly microUsd: number } {
  const limit = book.limits.get(target);
  const [tokensReserved, tokensSpent, microUsdReserved, microUsdSpent] = sumsOf(book).get(accountNow(book, target, chunk.run)) ?? [0, 0, 0, 0];
  return { tokens: (limit?.tokens ?? Infinity) - tokensReserved - tokensSpent, microUsd: (limit?.microUsd ?? Infinity) - microUsdReserved - microUsdSpent };
}

/** What `rows` rows of a chunk reserve by estimate: of at least a hundred rows, what nine in ten stay below, and a tenth. */
export function estimateOf(book: Book, chunk: BookChunk, rows = rowsOf(chunk)): { readonly tokens: number; readonly microUsd: number } {
  const seen = [...(book.shares.get(chunk.segment.split('.')[0] ?? '') ?? [])].sort((a, b) => a - b);
  const share = (bound: number, percentOf: (percent: number) => number): number => {
    if (seen.length < 100) return bound;
    const quantile = Math.max(1, percentOf(seen[Math.ceil(seen.length * 0.9) - 1] ?? 100));
    return Math.ceil((bound * Math.min(1000, quantile * 11)) / 1000);
  };
  return { tokens: share(rows * perRow.tokensMax, (percent) => percent), microUsd: share(rows * perRow.microUsdMax, (percent) => Math.ceil(percent / 2)) };
}

/** What `rows` rows of a chunk reserve in the accounts of a target. */
export function neededIn(book: Book, target: string, chunk: BookChunk, rows = rowsOf(chunk)): { readonly tokens: number; readonly microUsd: number } {
  if (book.limits.get(target)?.mode === 'estimate') return estimateOf(book, chunk, rows);
  return { tokens: rows * perRow.tokensMax, microUsd: rows * perRow.microUsdMax };
}

/** Reserves for a chunk. */
export function take(book: Book, chunk: BookChunk): void {
  const estimating = targetsOf(chunk).filter((target) => book.limits.get(target)?.mode === 'estimate');
  chunk.accounts = accountsNow(book, chunk);
  chunk.estimated = { accounts: estimating.map((target) => accountNow(book, target, chunk.run)), ...estimateOf(book, chunk) };
  chunk.state = 'packed';
}

/** Lets what the runs have packed before count in a budget of theirs that is set now. */
export function joinRuns(book: Book, target: string): void {
  for (const chunk of book.chunks.values()) {
    if (chunk.accounts.length === 0 || !targetsOf(chunk).includes(target)) continue;
    chunk.accounts = [...new Set([...chunk.accounts, `${target}@run=${chunk.run}`])];
  }
}

/** Whether all budgets agree to `rows` rows of a chunk. */
export function fits(book: Book, chunk: BookChunk, rows = rowsOf(chunk)): boolean {
  return targetsOf(chunk).every((target) => {
    const room = roomOf(book, target, chunk);
    const need = neededIn(book, target, chunk, rows);
    return need.tokens <= room.tokens && need.microUsd <= room.microUsd;
  });
}

/** The chunk that a number picks among those of a state. */
export function pick(book: Book, at: number, state: BookChunk['state'], rowsMin = 1): [ChunkId, BookChunk] | undefined {
  const found = [...book.chunks].filter(([, chunk]) => chunk.state === state && rowsOf(chunk) >= rowsMin);
  return found[at % found.length];
}
