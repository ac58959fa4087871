import { createHash } from 'node:crypto';
import type { CacheLife, PromptBlock } from './content.ts';
import type { ModelEntry } from './modeltable.ts';
import { uniform } from './seeded.ts';

/**
 * The prompt cache: entries keyed by workspace, model and the digest of a prefix, alive for five minutes or an hour of simulated time
 * (claude-batches.md 5).
 *
 * Invariants
 *   C1  Input, written and read tokens of a request always add up to its whole prompt.
 *   C2  A prefix below the model's minimum is neither written nor read.
 *   C3  A read needs an entry that an earlier request wrote; whether it is granted is drawn from seed and request, so that a rerun agrees.
 *   C4  An entry that stood before the reader's batch was created is read more surely than one of the same batch: an entry becomes readable
 *       only once its writer's answer has begun, and rows of a batch run at once.
 */

/** What the cache did to one prompt, in tokens. */
export interface CacheUse {
  readonly input: number;
  readonly write5m: number;
  readonly write1h: number;
  readonly read: number;
}

export interface CacheQuestion {
  readonly workspaceId: string;
  readonly model: ModelEntry;
  readonly blocks: readonly PromptBlock[];
  /** Tokens of each block. */
  readonly tokens: readonly number[];
  /** Tokens that belong to no block. */
  readonly overhead: number;
  /** Names this request for the draw of C3. */
  readonly label: string;
  /** When the request, or the batch that holds it, arrived (C4). */
  readonly arrivedMs: number;
  readonly nowMs: number;
}

interface Boundary {
  readonly key: string;
  readonly tokens: number;
  readonly life: CacheLife | undefined;
}

interface Entry {
  readonly writtenMs: number;
  readonly untilMs: number;
}

/** The share of possible reads that happens, 0 … 1: of entries written by rows that run at the same time, and of entries that stood before. */
export interface HitRates {
  readonly together: number;
  readonly standing: number;
}

const LIFE_MS: Readonly<Record<CacheLife, number>> = { '5m': 300_000, '1h': 3_600_000 };
const LOOK_BACK = 20;

export class PromptCache {
  readonly #seed: number;
  readonly #rates: HitRates;
  /** Prefix key → its entry, in simulated ms. */
  readonly #entries = new Map<string, Entry>();

  constructor(seed: number, rates: HitRates) {
    this.#seed = seed;
    this.#rates = rates;
  }

  /** Serves one prompt from the cache as far as possible and writes the rest of its marked prefix. */
  use(question: CacheQuestion): CacheUse {
    const total = question.tokens.reduce((sum, tokens) => sum + tokens, question.overhead);
    if (!question.blocks.some((block) => block.cache !== undefined)) {
      return { input: total, write5m: 0, write1h: 0, read: 0 };
    }
    const boundaries = boundariesOf(question);
    const read = this.#longestRead(boundaries, question);
    const written = this.#write(boundaries, read, question);
    return { input: total - read - written.write5m - written.write1h, read, ...written };
  }

  #longestRead(boundaries: readonly Boundary[], question: CacheQuestion): number {
    const luck = uniform(this.#seed, 'cache', question.label);
    for (let marked = boundaries.length - 1; marked >= 0; marked -= 1) {
      if (boundaries[marked]?.life === undefined) {
        continue;
      }
      for (let back = marked; back >= Math.max(0, marked - LOOK_BACK); back -= 1) {
        const boundary = boundaries[back];
        const entry = boundary === undefined ? undefined : this.#entries.get(boundary.key);
        if (boundary !== undefined && entry !== undefined && entry.untilMs > question.nowMs) {
          return luck < (entry.writtenMs <= question.arrivedMs ? this.#rates.standing : this.#rates.together) ? boundary.tokens : 0;
        }
      }
    }
    return 0;
  }

  #write(boundaries: readonly Boundary[], read: number, question: CacheQuestion): { write5m: number; write1h: number } {
    let covered = read;
    let write5m = 0;
    let write1h = 0;
    for (const { key, tokens, life } of boundaries) {
      if (life === undefined || tokens < question.model.cacheable) {
        continue;
      }
      const before = this.#entries.get(key);
      const isAlive = before !== undefined && before.untilMs > question.nowMs;
      this.#entries.set(key, { writtenMs: isAlive ? before.writtenMs : question.nowMs, untilMs: Math.max(before?.untilMs ?? 0, question.nowMs + LIFE_MS[life]) });
      const fresh = Math.max(0, tokens - covered);
      covered = Math.max(covered, tokens);
      write5m += life === '5m' ? fresh : 0;
      write1h += life === '1h' ? fresh : 0;
    }
    return { write5m, write1h };
  }
}

/** The prefix after each block: its digest and its length. */
function boundariesOf(question: CacheQuestion): Boundary[] {
  const digest = createHash('sha256').update(`${question.workspaceId}|${question.model.id}`);
  let tokens = 0;
  return question.blocks.map((block, index) => {
    digest.update(`|${block.place}|${block.text.length}|`).update(block.text).update(block.media?.data ?? '');
    tokens += question.tokens[index] ?? 0;
    return { key: digest.copy().digest('base64'), tokens, life: block.cache };
  });
}
