import { rateLimited, type Refusal } from './refusal.ts';
import { instantText, type SimulatedClock } from './clock.ts';

/**
 * The account's meters. Numbers per minute are token buckets that start full and refill continuously in simulated time
 * (claude-batches.md 2.3).
 *
 * Invariants
 *   M1  A refused call takes nothing from any bucket.
 *   M2  Batch calls share one bucket over all six endpoints and take nothing from the Messages buckets (claude-batches.md 2.1).
 */

export type TierName = 'evaluation' | 'start' | 'build' | 'scale' | 'former1' | 'unlimited';

/** Requests, input tokens and output tokens per minute of one model class. */
export interface ClassLimits {
  readonly requests: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export interface Tier {
  readonly batchCallsPerMinute: number;
  /** Requests that may wait in unfinished batches. */
  readonly queuedRequests: number;
  readonly countTokensPerMinute: number;
  readonly fable: ClassLimits;
  /** Opus, Sonnet and Haiku from 4.5 on. */
  readonly usual: ClassLimits;
  readonly haiku35: ClassLimits;
  /** Haiku 4.5 where it differs from the others (former tier 1). */
  readonly haiku45: ClassLimits;
  readonly sonnet37: ClassLimits;
}

const classOf = (requests: number, inputTokens: number, outputTokens: number): ClassLimits => ({ requests, inputTokens, outputTokens });
const UNBOUNDED = classOf(Infinity, Infinity, Infinity);

/** claude-batches.md 2.1 and 2.2. The evaluation row is an assumption: its figures were not found. */
export const TIERS: Readonly<Record<TierName, Tier>> = {
  evaluation: tier(50, 20_000, 100, classOf(5, 10_000, 4_000), classOf(5, 25_000, 5_000), classOf(5, 25_000, 5_000)),
  start: tier(1_000, 200_000, 2_000, classOf(1_000, 500_000, 100_000), classOf(1_000, 2_000_000, 400_000), classOf(1_000, 100_000, 20_000)),
  build: tier(2_000, 300_000, 4_000, classOf(2_000, 1_500_000, 300_000), classOf(5_000, 5_000_000, 1_000_000), classOf(2_000, 200_000, 40_000)),
  scale: tier(4_000, 500_000, 8_000, classOf(4_000, 4_000_000, 800_000), classOf(10_000, 10_000_000, 2_000_000), classOf(4_000, 400_000, 80_000)),
  former1: {
    ...tier(50, 100_000, 100, classOf(50, 30_000, 8_000), classOf(50, 30_000, 8_000), classOf(50, 50_000, 10_000)),
    haiku45: classOf(50, 50_000, 10_000),
    sonnet37: classOf(50, 20_000, 8_000),
  },
  unlimited: tier(Infinity, Infinity, Infinity, UNBOUNDED, UNBOUNDED, UNBOUNDED),
};

function tier(batchCalls: number, queued: number, countTokens: number, fable: ClassLimits, usual: ClassLimits, haiku35: ClassLimits): Tier {
  return {
    batchCallsPerMinute: batchCalls,
    queuedRequests: queued,
    countTokensPerMinute: countTokens,
    fable,
    usual,
    haiku35,
    haiku45: usual,
    sonnet37: usual,
  };
}

/** One per-minute meter. Units are calls or tokens. */
export class Bucket {
  readonly limit: number;
  readonly #capacity: number;
  readonly #clock: SimulatedClock;
  #level: number;
  #sinceMs: number;

  /** `windowSeconds` is the stretch over which the limit may be spent at once; 60 is the whole minute (claude-batches.md 2.3). */
  constructor(limit: number, clock: SimulatedClock, windowSeconds: number) {
    this.limit = limit;
    this.#capacity = Math.max(1, (limit * windowSeconds) / 60);
    this.#clock = clock;
    this.#level = this.#capacity;
    this.#sinceMs = clock.nowMs();
  }

  /** What may be taken now. Below zero when more was produced than the limit allows. */
  remaining(): number {
    if (this.limit === Infinity) {
      return Infinity;
    }
    const nowMs = this.#clock.nowMs();
    this.#level = Math.min(this.#capacity, this.#level + ((nowMs - this.#sinceMs) * this.limit) / 60_000);
    this.#sinceMs = nowMs;
    return this.#level;
  }

  /** Takes without asking; output is metered only once it has been produced. */
  spend(amount: number): void {
    this.remaining();
    this.#level -= amount;
  }

  /** Simulated seconds until `amount` could be taken; an amount beyond the capacity waits for a full bucket. */
  secondsUntil(amount: number): number {
    const missing = Math.min(amount, this.#capacity) - this.remaining();
    return missing <= 0 ? 0 : (missing * 60) / this.limit;
  }

  /** The three headers of this meter. Token remainders are rounded to thousands (claude-batches.md 2.3). */
  headers(family: string): Record<string, string> {
    if (this.limit === Infinity) {
      return {};
    }
    const left = Math.max(0, this.remaining());
    const resetMs = this.#clock.nowMs() + this.secondsUntil(this.#capacity) * 1000;
    return {
      [`anthropic-ratelimit-${family}-limit`]: String(this.limit),
      [`anthropic-ratelimit-${family}-remaining`]: String(family === 'requests' ? Math.floor(left) : Math.round(left / 1000) * 1000),
      [`anthropic-ratelimit-${family}-reset`]: instantText(Math.floor(resetMs) * 1000).replace(/\.\d{6}\+00:00$/, 'Z'),
    };
  }
}

/** Refuses one call too many of a bucket; takes it otherwise. `what` names the limit in the text. */
export function takeCall(bucket: Bucket, what: string, clockScale: number): Refusal | undefined {
  if (bucket.remaining() >= 1) {
    bucket.spend(1);
    return undefined;
  }
  const text = `This request would exceed your organization's rate limit of ${bucket.limit} ${what}. Please reduce the rate of your requests or contact sales for an increase.`;
  return rateLimited(text, wallSeconds(bucket.secondsUntil(1), clockScale));
}

/** Simulated seconds as the seconds a client has to wait on its own clock. With time standing still the simulated figure is told. */
export function wallSeconds(simulatedSeconds: number, clockScale: number): number {
  return clockScale > 0 ? simulatedSeconds / clockScale : simulatedSeconds;
}
