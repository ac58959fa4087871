import type { SimulatedClock } from './clock.ts';
import { Bucket, TIERS, takeCall, wallSeconds, type ClassLimits, type Tier } from './limits.ts';
import type { ModelEntry } from './modeltable.ts';
import { rateLimited, type Refusal } from './refusal.ts';
import type { Settings } from './settings.ts';

/** The buckets of one account: batch calls, count_tokens calls, and three per model class for Messages. */

interface ClassBuckets {
  readonly requests: Bucket;
  readonly input: Bucket;
  readonly output: Bucket;
}

export class Meters {
  readonly #clock: SimulatedClock;
  readonly #tier: Tier;
  readonly #windowSeconds: number;
  readonly #batchCalls: Bucket;
  readonly #countCalls: Bucket;
  readonly #classes = new Map<string, ClassBuckets>();

  constructor(settings: Settings, clock: SimulatedClock) {
    this.#clock = clock;
    this.#tier = TIERS[settings.tier];
    this.#windowSeconds = settings.rateWindowSeconds;
    this.#batchCalls = new Bucket(this.#tier.batchCallsPerMinute, clock, settings.rateWindowSeconds);
    this.#countCalls = new Bucket(this.#tier.countTokensPerMinute, clock, settings.rateWindowSeconds);
  }

  /** One call to any batch endpoint. */
  takeBatchCall(): Refusal | undefined {
    return takeCall(this.#batchCalls, 'batch requests per minute', this.#clock.scale);
  }

  /** One call to count_tokens. */
  takeCountCall(): Refusal | undefined {
    return takeCall(this.#countCalls, 'token counting requests per minute', this.#clock.scale);
  }

  /** Headers of a reply on a batch endpoint. */
  batchHeaders(): Record<string, string> {
    return this.#batchCalls.headers('requests');
  }

  /** Headers of a reply on count_tokens. */
  countHeaders(): Record<string, string> {
    return this.#countCalls.headers('requests');
  }

  /** Refuses `adding` requests if `queued` already wait and the queue would overflow. The real text is not known (claude-batches.md 10). */
  checkQueue(queued: number, adding: number): Refusal | undefined {
    const limit = this.#tier.queuedRequests;
    if (queued + adding <= limit) {
      return undefined;
    }
    const text = `This request would exceed your organization's limit of ${limit} enqueued batch requests. ${queued} requests are in the processing queue. Please wait until they have been processed.`;
    return rateLimited(text, wallSeconds(60, this.#clock.scale));
  }

  /**
   * Admits one Messages call whose uncached input was estimated (tokens), or refuses it. Cache reads are not part of the estimate, except on
   * Haiku 3.5 (claude-batches.md 2.3). Nothing is taken from any bucket when one of them is short.
   */
  takeMessage(model: ModelEntry, inputTokens: number): Refusal | undefined {
    const buckets = this.#bucketsOf(model);
    const short = (
      [
        [buckets.requests, 1, 'requests per minute'],
        [buckets.input, inputTokens, 'input tokens per minute'],
        [buckets.output, 1, 'output tokens per minute'],
      ] as const
    ).find(([bucket, amount]) => bucket.secondsUntil(amount) > 0);
    if (short !== undefined) {
      const [bucket, amount, what] = short;
      const text = `This request would exceed your organization's rate limit of ${bucket.limit.toLocaleString('en-US')} ${what}. Please reduce the prompt length or the maximum tokens requested, or try again later.`;
      return rateLimited(text, wallSeconds(bucket.secondsUntil(amount), this.#clock.scale));
    }
    buckets.requests.spend(1);
    buckets.input.spend(inputTokens);
    return undefined;
  }

  /** Corrects the input estimate and meters the output of a finished Messages call. */
  settleMessage(model: ModelEntry, inputCorrection: number, outputTokens: number): void {
    const buckets = this.#bucketsOf(model);
    buckets.input.spend(inputCorrection);
    buckets.output.spend(outputTokens);
  }

  /** Headers of a Messages reply; the bare `tokens` family shows the most restrictive limit in force. */
  messageHeaders(model: ModelEntry): Record<string, string> {
    const { requests, input, output } = this.#bucketsOf(model);
    const tightest = input.remaining() / input.limit <= output.remaining() / output.limit ? input : output;
    return { ...requests.headers('requests'), ...tightest.headers('tokens'), ...input.headers('input-tokens'), ...output.headers('output-tokens') };
  }

  #bucketsOf(model: ModelEntry): ClassBuckets {
    const name = classNameOf(model);
    const known = this.#classes.get(name);
    if (known !== undefined) {
      return known;
    }
    const limits = this.#limitsOf(model);
    const bucket = (limit: number): Bucket => new Bucket(limit, this.#clock, this.#windowSeconds);
    const made = { requests: bucket(limits.requests), input: bucket(limits.inputTokens), output: bucket(limits.outputTokens) };
    this.#classes.set(name, made);
    return made;
  }

  #limitsOf(model: ModelEntry): ClassLimits {
    if (model.line === 'fable' || model.line === 'mythos') {
      return this.#tier.fable;
    }
    if (model.line === 'haiku') {
      return model.generation < 40 ? this.#tier.haiku35 : this.#tier.haiku45;
    }
    return model.generation === 37 ? this.#tier.sonnet37 : this.#tier.usual;
  }
}

/** Models that share one set of buckets: Opus 4.x and Sonnet 4.x are pooled, newer ones stand alone (claude-batches.md 2.2). */
function classNameOf(model: ModelEntry): string {
  const isPooled = (model.line === 'opus' || model.line === 'sonnet') && model.generation < 50;
  return isPooled ? `${model.line}-4` : model.line === 'fable' || model.line === 'mythos' ? 'fable-5' : `${model.line}-${model.generation}`;
}
