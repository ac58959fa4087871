/**
 * Which prefixes come again, decided while the source is read. A prefix is marked from its occurrence after the `after`th
 * one on: the first ones go as they are, because a write to the cache costs twice the input and a prefix that comes
 * once would never earn it back; and rows of one batch are worked side by side, so that each of the first few would
 * write (claude-batches.md 5).
 *
 * The counts begin anew with every section of the source, where a run may be taken up again.
 *
 * It owns the counts of the section and the lanes that it has given. Invariants
 *   F1  Whether a prompt is marked, and where it is spooled, depends on the settings and on the accepted prompts before it
 *       in its section alone. A run that is taken up again therefore makes the same chunks.
 *   F2  It remembers at most `countedMax` prefixes, the latest, so its memory does not grow with the source.
 *   F3  At most `lanesMax` prefixes of a segment and client have chunks of their own in a section. The others are marked and
 *       spooled with the rest: each open chunk costs memory, and each lane a short chunk at the end of a section.
 */
import type { PrefixCut } from './prefix.ts';

/** Prefixes that are remembered, in two halves of which the older is forgotten as a whole. */
const countedMax = 65_536;
const lanesMax = 64;

export class SharedPrefixes {
  readonly #after: number;
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  readonly #lanes = new Set<string>();

  /** @param after how many prompts of a prefix stay unmarked */
  constructor(after: number) {
    this.#after = after;
  }

  /** Counts the prefixes of a prompt, the longest first, and returns the longest that has come often enough before. */
  note(cuts: readonly PrefixCut[]): PrefixCut | undefined {
    let shared: PrefixCut | undefined;
    for (const cut of cuts) {
      const before = this.#young.get(cut.digest) ?? this.#old.get(cut.digest) ?? 0;
      this.#count(cut.digest, before + 1);
      if (before >= this.#after) shared ??= cut;
    }
    return shared;
  }

  /** Whether the prompts of a prefix have chunks of their own in this segment and client (F3). */
  hasLane(segment: string, client: string, digest: string): boolean {
    const lane = `${segment}|${client}|${digest}`;
    if (this.#lanes.size < lanesMax) this.#lanes.add(lane);
    return this.#lanes.has(lane);
  }

  /** Forgets everything: a section begins (F1). */
  beginSection(): void {
    this.#young.clear();
    this.#old.clear();
    this.#lanes.clear();
  }

  #count(digest: string, count: number): void {
    this.#young.set(digest, count);
    if (this.#young.size * 2 < countedMax) return;
    this.#old = this.#young;
    this.#young = new Map();
  }
}
