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
  readonly from: number;
  readonly to: number;
  state: 'queued' | 'held' | 'packed' | 'settled' | 'split';
  archive: ArchiveId | undefined;
  /** Where its reservation stands, and where its cost is booked; empty while it has none. */
  accounts: readonly string[];
  /** What it consumed, tokens and micro-USD alike. */
  spent: number;
}

export interface Book {
  readonly chunks: Map<ChunkId, BookChunk>;
  readonly limits: Map<string, Budget>;
  readonly lastRow: Map<string, number>;
  /** Share of its bound that each archive will consume, in percent; decided when its settlement begins. */
  readonly shares: Map<ArchiveId, number>;
  nowMs: number;
  batches: number;
}

export const runs = [runA, runB];
export const segments = ['invoices.8k.normal', 'invoices.8k.high', 'letters.8k.normal'] as SegmentName[];
export const targetsOf = (segment: SegmentName): readonly string[] => ['all', 'client:etl', `topic:${segment.split('.')[0] ?? ''}`, `segment:${segment}`];
export const targets = [...new Set(segments.flatMap(targetsOf))];
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

/** Every account that a reservation of this chunk stands in; the total of the installation is always kept. */
export function accountsNow(book: Book, chunk: BookChunk): readonly string[] {
  return [...new Set(['all@total', ...targetsOf(chunk.segment).map((target) => accountNow(book, target, chunk.run))])];
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
        sum[0] += rowsOf(chunk) * perRow.tokensMax;
        sum[2] += rowsOf(chunk) * perRow.microUsdMax;
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

/** Whether all budgets agree to `rows` rows of a chunk. */
export function fits(book: Book, chunk: BookChunk, rows = rowsOf(chunk)): boolean {
  return targetsOf(chunk.segment).every((target) => {
    const room = roomOf(book, target, chunk);
    return rows * perRow.tokensMax <= room.tokens && rows * perRow.microUsdMax <= room.microUsd;
  });
}

/** The chunk that a number picks among those of a state. */
export function pick(book: Book, at: number, state: BookChunk['state'], rowsMin = 1): [ChunkId, BookChunk] | undefined {
  const found = [...book.chunks].filter(([, chunk]) => chunk.state === state && rowsOf(chunk) >= rowsMin);
  return found[at % found.length];
}
