/** The room that budgets leave a segment: now, when what is reserved has been settled, and in the next window. */
import type { AccountRecord, Budget, ChunkRecord, Ledger } from '../segments/ledger/ledger.ts';
import { segmentParts, type SegmentName } from '../segments/segment.ts';
import { windowAt, windowIdAt } from '../segments/window.ts';

/** One limit that a segment has to pass; tokens or micro-USD. */
export interface Limit {
  readonly target: string;
  readonly window: string;
  readonly unit: 'tokens' | 'micro_usd';
  /** Whether upper bounds are reserved in it, or estimates; a choice is judged by its bounds in both. */
  readonly mode: 'strict' | 'estimate';
  readonly limit: number;
  readonly spent: number;
  readonly reserved: number;
  /** When the next window begins, Unix ms; undefined: its window has no end that time brings. */
  readonly renewsAtMs: number | undefined;
}

/** Amounts that may be spent; Infinity where there is no limit. */
export interface Room {
  readonly tokens: number;
  readonly microUsd: number;
}

/** Every limit that the held chunks of a segment have to pass. */
export async function readSegmentLimits(ledger: Pick<Ledger, 'listBudgets' | 'listAccounts'>, segment: SegmentName, held: readonly ChunkRecord[], nowMs: number): Promise<readonly Limit[]> {
  const [budgets, accounts] = [await ledger.listBudgets(), await ledger.listAccounts()];
  const targets = new Set(['all', `topic:${segmentParts(segment)?.topic ?? ''}`, `segment:${segment}`, ...held.map(({ client }) => `client:${client}`)]);
  const runs = [...new Set(held.map(({ run }) => run))];
  return budgets.filter(({ target }) => targets.has(target)).flatMap((budget) => limitsOf(budget, accounts, runs, nowMs));
}

function limitsOf(budget: Budget, accounts: readonly AccountRecord[], runs: readonly string[], nowMs: number): readonly Limit[] {
  const { target, window, tokens, microUsd } = budget;
  const bounds = window === 'run' ? undefined : windowAt(window, budget.timeZone, nowMs);
  const ids = window === 'run' ? runs.map((run) => `run=${run}`) : [windowIdAt(window, budget.timeZone, nowMs)];
  const own = accounts.filter((account) => account.target === target && ids.includes(account.windowId));
  const sum = (of: (account: AccountRecord) => number): number => own.reduce((total, account) => total + of(account), 0);
  const common = { target, window, mode: budget.mode ?? 'strict', renewsAtMs: bounds?.endMs };
  return [
    // Each run has the whole of a budget whose window is a run.
    ...(tokens === undefined ? [] : [{ ...common, unit: 'tokens' as const, limit: tokens * ids.length, spent: sum((each) => each.tokensSpent), reserved: sum((each) => each.tokensReserved) }]),
    ...(microUsd === undefined ? [] : [{ ...common, unit: 'micro_usd' as const, limit: microUsd * ids.length, spent: sum((each) => each.microUsdSpent), reserved: sum((each) => each.microUsdReserved) }]),
  ];
}

/** The limits with another limit in dollars on one target. */
export function withLimit(limits: readonly Limit[], target: string, microUsd: number): readonly Limit[] {
  return limits.map((each) => (each.target === target && each.unit === 'micro_usd' ? { ...each, limit: microUsd } : each));
}

/** What all limits together leave. `reservedShare`: how much of what is reserved counts as gone; 1 now, less when it is settled. */
export function roomOf(limits: readonly Limit[], reservedShare: number): Room {
  const free = (unit: Limit['unit']): number => Math.min(Infinity, ...limits.filter((each) => each.unit === unit).map((each) => Math.max(0, each.limit - each.spent - Math.ceil(each.reserved * reservedShare))));
  return { tokens: free('tokens'), microUsd: free('micro_usd') };
}

/** The room when every limit that is in the way has begun a new window, and when that is; undefined: time alone brings none. */
export function nextWindow(limits: readonly Limit[], needed: Room): { readonly room: Room; readonly startsAtMs: number } | undefined {
  const isInTheWay = (each: Limit): boolean => (each.unit === 'tokens' ? needed.tokens : needed.microUsd) > each.limit - each.spent - each.reserved;
  const blocking = limits.filter(isInTheWay);
  const starts = blocking.map(({ renewsAtMs }) => renewsAtMs);
  if (blocking.length === 0 || starts.includes(undefined)) return undefined;
  const startsAtMs = Math.max(...starts.map((start) => start ?? 0));
  const then = limits.map((each) => (each.renewsAtMs !== undefined && each.renewsAtMs <= startsAtMs ? { ...each, spent: 0, reserved: 0 } : each));
  return { room: roomOf(then, 1), startsAtMs };
}
