/**
 * Which tier would have been enough for what a client did. Pure: the statistics of its days and the tiers are arguments.
 */
import type { Budget } from './ledger/ledger.ts';
import type { ClientDay } from './ledger/client.ts';
import { quotaRates, type QuotaRate, type Tier } from './quota.ts';

/** A tier as it is proposed: limits, and what it lets a client spend. */
export interface PricedTier extends Tier {
  readonly budget?: Omit<Budget, 'target'> | undefined;
}

/** What a client really did in some days, at its busiest. */
export interface ClientPeaks extends Readonly<Record<QuotaRate, number>> {
  readonly contextTokensMax: number;
  readonly days: number;
  /** All days together. */
  readonly requests: number;
  readonly tokens: number;
}

/** Days of a month in which costs are compared. */
export const monthDays = 30;
const dayMs = 86_400_000;
const spanMs: Readonly<Record<string, number>> = { hour: 3_600_000, day: dayMs, week: 7 * dayMs, month: monthDays * dayMs };
const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: dayMs };

/** The busiest of some days, rate by rate. `spanDays`: how many days they stand for, quiet ones included. */
export function peaksOf(days: readonly ClientDay[], spanDays: number): ClientPeaks {
  const most = (of: (day: ClientDay) => number): number => Math.max(0, ...days.map(of));
  const sum = (of: (day: ClientDay) => number): number => days.reduce((total, day) => total + of(day), 0);
  return {
    requestsPerDay: most((day) => day.requests), tokensPerDay: most((day) => day.tokens),
    requestsPerMinute: most((day) => day.requestsPerMinuteMax), tokensPerMinute: most((day) => day.tokensPerMinuteMax),
    contextTokensMax: most((day) => day.contextTokensMax),
    days: spanDays, requests: sum((day) => day.requests), tokens: sum((day) => day.tokens),
  };
}

/** The limits of a tier that what was measured would have met; a budget counts by what it allows in a month. */
export function shortfallsOf(tier: PricedTier, peaks: ClientPeaks, monthly: { readonly tokens: number; readonly microUsd: number | undefined }): readonly string[] {
  const short: string[] = quotaRates.filter((rate) => (tier[rate] ?? Infinity) < peaks[rate]);
  if ((tier.contextTokensMax ?? Infinity) < peaks.contextTokensMax) short.push('contextTokensMax');
  const windows = tier.budget === undefined ? undefined : monthsWindows(tier.budget.window);
  if (tier.budget === undefined || windows === undefined) return short;
  const { tokens, microUsd } = tier.budget;
  if (tokens !== undefined && tokens * windows < monthly.tokens) short.push('budget.tokens');
  if (microUsd !== undefined && monthly.microUsd !== undefined && microUsd * windows < monthly.microUsd) short.push('budget.usd');
  return short;
}

/** What a budget lets a client spend in a month, micro-USD; undefined: nothing bounds it, or its window has no length. */
export function monthlyMicroUsd({ budget }: PricedTier): number | undefined {
  const windows = budget === undefined ? undefined : monthsWindows(budget.window);
  return windows === undefined || budget?.microUsd === undefined ? undefined : Math.round(budget.microUsd * windows);
}

/** The smallest tier without a shortfall, or undefined. Smaller is what allows less on the first of these that differ. */
export function smallestTier<Named extends { readonly tier: PricedTier }>(tiers: readonly Named[], peaks: ClientPeaks, monthly: { readonly tokens: number; readonly microUsd: number | undefined }): Named | undefined {
  return [...tiers].sort((a, b) => compareTiers(a.tier, b.tier)).find(({ tier }) => shortfallsOf(tier, peaks, monthly).length === 0);
}

function compareTiers(a: PricedTier, b: PricedTier): number {
  const sizes = (tier: PricedTier): readonly number[] => [
    tier.tokensPerDay ?? Infinity, tier.requestsPerDay ?? Infinity, tier.tokensPerMinute ?? Infinity, tier.requestsPerMinute ?? Infinity, tier.contextTokensMax ?? Infinity, monthlyMicroUsd(tier) ?? Infinity,
  ];
  const [left, right] = [sizes(a), sizes(b)];
  const at = left.findIndex((size, index) => size !== right[index]);
  return at < 0 ? 0 : (left[at] ?? 0) < (right[at] ?? 0) ? -1 : 1;
}

/** How many windows a month has; undefined for a run and for all time. */
function monthsWindows(window: string): number | undefined {
  const match = /^(\d+)([smhd])$/.exec(window);
  const lengthMs = match ? Number(match[1]) * (unitMs[match[2] ?? ''] ?? 0) : spanMs[window];
  return lengthMs === undefined || lengthMs === 0 ? undefined : (monthDays * dayMs) / lengthMs;
}
