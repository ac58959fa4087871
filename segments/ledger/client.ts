/** What the ledger knows of clients: which tier operators have put them into, and what they hand in. */
import type { Deferral, QuotaRate, Tier } from '../quota.ts';
import type { RunKey } from '../segment.ts';

/** The newest word of an operator on a client. */
export interface TierAssignment {
  readonly client: string;
  /** null: it was taken out of every tier. */
  readonly tier: string | null;
  /** Which word it was, from 1; in the lake it has the same number. */
  readonly ordinal: number;
  readonly by: string;
  readonly setAtMs: number;
}

/** Prompts of one client: its first and last source row, their number, tokens as quotas count them, the largest context. */
export type MeasuredPart = readonly [firstRow: number, lastRow: number, requests: number, tokens: number, contextTokensMax: number];

/** Prompts of one client of a run, in the order of their rows. */
export interface MeasuredClient {
  readonly client: string;
  /** All rows together, or each for itself. */
  readonly parts: readonly MeasuredPart[];
  /** The last row of the client that is durable: it was measured when it came first, whatever the ledger remembers. */
  readonly floorRow: number;
  /** undefined: it is only counted. */
  readonly tier: { readonly name: string; readonly limits: Readonly<Partial<Record<QuotaRate, number>>>; readonly over: Tier['over'] } | undefined;
  /** What was decided before, as the lake has it. */
  readonly known: Deferral | undefined;
}

/** What a measurement has found. */
export interface Measurement {
  /** What is decided, by client. */
  readonly deferrals: ReadonlyMap<string, Deferral>;
  /** Clients of which nothing was counted, because a row within a part divides it: their rows must come each for itself. */
  readonly split: readonly string[];
}

export interface MeasureRequest {
  readonly run: RunKey;
  readonly clients: readonly MeasuredClient[];
  readonly nowMs: number;
}

/** One UTC day of a client: everything that it has handed in, admitted or not. */
export interface ClientDay {
  /** `2026-11-21`. */
  readonly day: string;
  readonly requests: number;
  readonly tokens: number;
  /** The most of one minute. */
  readonly requestsPerMinuteMax: number;
  readonly tokensPerMinuteMax: number;
  readonly contextTokensMax: number;
  /** What was over its tier. */
  readonly requestsOver: number;
  readonly tokensOver: number;
}

/** What was measured of a client. */
export interface ClientRecord {
  readonly client: string;
  readonly lastCallAtMs: number | undefined;
  /** Time between its last two calls, ms; undefined: there was one. A call is a run that it has handed prompts in with. */
  readonly intervalMs: number | undefined;
  /** What its tier has admitted in the current minute and day (UTC); zeros where it handed nothing in. */
  readonly admitted: Readonly<Record<QuotaRate, number>>;
  /** Oldest first. */
  readonly days: readonly ClientDay[];
}
