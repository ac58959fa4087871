/**
 * Quotas: what a tier lets a client hand in, and what a client is told that hands in more. Pure: limits, clocks and what
 * was measured are arguments.
 *
 * Minutes and days are those of the clock, in UTC. So a limit says the same to everybody who measures, its end is known,
 * and the statistics of past days answer exactly whether another tier would have admitted them (`tier-choice.ts`).
 *
 * Tokens of a quota are expected ones, the same that `plimsoll plan` shows: the expected input and half of `max_tokens`.
 * A context is judged on its upper bound, as context classes are.
 */
import { priorities, type Priority } from './segment.ts';

/** The rates that a tier may limit, those of a day first: what a day has used up comes back latest. */
export const quotaRates = ['requestsPerDay', 'tokensPerDay', 'requestsPerMinute', 'tokensPerMinute'] as const;
export type QuotaRate = (typeof quotaRates)[number];

/** What clients of a tier may hand in; integers, undefined: no limit. */
export interface Tier {
  readonly requestsPerMinute?: number | undefined;
  readonly requestsPerDay?: number | undefined;
  readonly tokensPerMinute?: number | undefined;
  readonly tokensPerDay?: number | undefined;
  /** Upper bound of the tokens of one prompt and its answer. */
  readonly contextTokensMax?: number | undefined;
  /** Lanes that its prompts may ask for; `fallback` is open to all. */
  readonly priorities: readonly Priority[];
  /** Keys that the metadata of every prompt must have, so that what it costs can be told apart later. */
  readonly metadata: readonly string[];
  /** What becomes of prompts over a rate: they wait in the lane `fallback`, or their lines are refused. */
  readonly over: 'fallback' | 'refuse';
}

/** Whom which tier applies to. A run keeps the terms that it was opened under, so its rows are judged alike to its end. */
export interface Terms {
  readonly tiers: Readonly<Record<string, Tier>>;
  /** Tier by client. */
  readonly clients: Readonly<Record<string, string>>;
  /** Tier of every other client; undefined: it has none, and no limits. */
  readonly other?: string | undefined;
}

/** That, and from which row of its source on, a client of a run was over its tier. Decided once for a run and client. */
export interface Deferral {
  readonly client: string;
  readonly tier: string;
  readonly over: Tier['over'];
  /** The first row that was too much; from it on every prompt of the client in this run is. */
  readonly fromRow: number;
  readonly limit: QuotaRate;
  readonly allowed: number;
  /** What the minute or day would have had with that row. */
  readonly measured: number;
  /** Time between the call before and this one, ms; null where this was the first that was measured. */
  readonly intervalMs: number | null;
  readonly decidedAtMs: number;
}

/** What one client has handed in with one run; tokens as quotas count them. */
export interface ClientTally {
  readonly requests: number;
  readonly tokens: number;
  /** Those of them from the row on that was too much. */
  readonly requestsOver: number;
  readonly tokensOver: number;
}

/** A deferral at the end of an ingest, with what it was about. */
export interface DeferredPart extends Deferral, ClientTally {}

/** What a client can do so that a call like this one is admitted. */
export interface QuotaAdvice {
  /** Prompts of one call, at most; undefined: their number is not the trouble. */
  readonly promptsMax: number | undefined;
  /** Tokens that each prompt must be shorter by, on average; undefined: shorter prompts would not help. */
  readonly contextTokens: number | undefined;
  /** Time between two calls of this size, ms. */
  readonly callIntervalMs: number;
  /** Time between two prompts like these, ms. */
  readonly promptIntervalMs: number;
}

/** How long what was deferred has to be expected to take, ms. */
export interface DeferralDelay {
  /** Upper bound as the line is now. */
  readonly expectedMs: number;
  /** Upper bound when work that goes before it keeps coming. */
  readonly longestMs: number;
  /** What it rests on: the turnaround of one batch, how many were seen (0: the provider's worst case), prompts in line. */
  readonly turnaroundMs: number;
  readonly turnaroundsSeen: number;
  readonly rowsInLine: number;
}

const minuteMs = 60_000;
const dayMs = 86_400_000;

/** The stretch of time that a rate applies to, ms. */
export function rateWindowMs(rate: QuotaRate): number {
  return rate.endsWith('Minute') ? minuteMs : dayMs;
}

/** Whether a rate counts tokens, not prompts. */
export function countsTokens(rate: QuotaRate): boolean {
  return rate.startsWith('tokens');
}

/** The tier of a client and its name, or undefined. Names come from input: `constructor` is a client like any other. */
export function tierOf(terms: Terms | undefined, client: string): { readonly name: string; readonly tier: Tier } | undefined {
  if (!terms) return undefined;
  const name = Object.hasOwn(terms.clients, client) ? terms.clients[client] : terms.other;
  const tier = name !== undefined && Object.hasOwn(terms.tiers, name) ? terms.tiers[name] : undefined;
  return tier && name !== undefined ? { name, tier } : undefined;
}

/**
 * Terms with what operators have decided put over them; a client that an operator has taken out of every tier (null) has no
 * limits. undefined where no client has any.
 */
export function termsWith(terms: Terms | undefined, assigned: ReadonlyMap<string, string | null>): Terms | undefined {
  const tiers = terms?.tiers ?? {};
  const clients = { ...terms?.clients };
  for (const [client, tier] of assigned) Object.assign(clients, { [client]: tier ?? '' });
  const found: Terms = { tiers, clients, ...(terms?.other === undefined ? {} : { other: terms.other }) };
  const isAny = found.other !== undefined || Object.values(clients).some((name) => name !== '');
  return isAny ? found : undefined;
}

/** The lane in which a prompt goes that asks for one: the next lower one that its tier is open to. */
export function priorityIn(tier: Tier, asked: Priority): Priority {
  const lower = priorities.slice(priorities.indexOf(asked));
  return lower.find((priority) => tier.priorities.includes(priority)) ?? 'fallback';
}

/** Works out what a client can change. */
export function adviceOn(part: DeferredPart): QuotaAdvice {
  const { limit, allowed, requests, tokens, tokensOver } = part;
  const windowMs = rateWindowMs(limit);
  const amount = countsTokens(limit) ? tokens : requests;
  const each = Math.max(1, Math.ceil(amount / Math.max(1, requests)));
  const mean = Math.ceil(tokens / Math.max(1, requests));
  const shorter = Math.ceil(tokensOver / Math.max(1, requests));
  const promptsMax = Math.max(1, Math.floor(allowed / each));
  return {
    promptsMax: requests > promptsMax ? promptsMax : undefined,
    contextTokens: countsTokens(limit) && shorter < mean ? shorter : undefined,
    callIntervalMs: intervalOf(windowMs, amount, allowed),
    promptIntervalMs: intervalOf(windowMs, each, allowed),
  };
}

/** The time in which a rate has room for an amount. A limit of 0 never has; what is said then is that of a limit of 1. */
function intervalOf(windowMs: number, amount: number, allowed: number): number {
  return Math.ceil((windowMs * amount) / Math.max(1, allowed));
}

/**
 * Bounds the time that deferred work takes. The provider's queue is filled once for every `queueRowsMax` prompts in line, and
 * each filling takes at most one turnaround; `patienceMs` bounds the wait in line whatever else comes (submit.patience).
 * Stops of budgets and operators are not foreseen.
 * @param turnaroundsMs how long the last archives took, newest first, as `Ledger.readTurnarounds` gives them
 */
export function delayOf(line: { readonly turnaroundsMs: readonly number[]; readonly rowsInLine: number; readonly queueRowsMax: number; readonly patienceMs: number }): DeferralDelay {
  const { turnaroundsMs, rowsInLine, queueRowsMax, patienceMs } = line;
  const seen = turnaroundsMs.length;
  // The margin shrinks as more were seen, as in the ledger's runtime budgets (prelude/runtime.lua).
  const turnaroundMs = seen === 0 ? dayMs : Math.min(dayMs, Math.floor(Math.max(...turnaroundsMs) * (1 + 2 / seen)));
  const longestMs = patienceMs + 2 * turnaroundMs;
  const expectedMs = Math.min(longestMs, (1 + Math.ceil(rowsInLine / queueRowsMax)) * turnaroundMs);
  return { expectedMs, longestMs, turnaroundMs, turnaroundsSeen: seen, rowsInLine };
}
