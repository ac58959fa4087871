/**
 * What a process still knows of results that it has settled: where each row's line stands and what it says. An export that
 * follows in the same process needs neither to search them for their lines nor to read the lines again.
 *
 * Invariants
 *   N1  Only complete sets are kept (R1 of `results.ts`): of these an export makes the same rows from the index as from the
 *       lines, so it does not matter which process exports.
 *   N2  An index stands for results of one digest. Whether the object in the lake still has it is for the taker to ask.
 *   N3  At most {@link heldMax} archives are kept, and each until it is taken: some six megabytes for a full one.
 */
import type { ResultIndex } from './result-index.ts';
import type { ResultsCheck } from './results.ts';

/** As many as are settled or exported at once; what more there is will be read again. */
const heldMax = 4;

/** Handed from the settler to the exporter of a process. */
export class SettledResults {
  /** By the sha256 of the results, oldest first. */
  readonly #indexes = new Map<string, ResultIndex>();
  readonly #onKept: (sizeBytes: number) => void;

  /** `onKept` is told the size of results that are about to be exported, so that what takes time to begin can begin. */
  constructor(onKept: (sizeBytes: number) => void = () => undefined) {
    this.#onKept = onKept;
  }

  /** Keeps the index of results on their way into the lake (N1). */
  keep({ sha256, index, isComplete, sizeBytes }: Pick<ResultsCheck, 'sha256' | 'index' | 'isComplete' | 'sizeBytes'>): void {
    if (!isComplete) return;
    this.#indexes.set(sha256, index);
    this.#onKept(sizeBytes);
    const [oldest] = this.#indexes.keys();
    if (this.#indexes.size > heldMax && oldest !== undefined) this.#indexes.delete(oldest);
  }

  /** The index of the results with this sha256, hex, if it is known; it is forgotten here. */
  take(sha256: string): ResultIndex | undefined {
    const index = this.#indexes.get(sha256);
    this.#indexes.delete(sha256);
    return index;
  }
}
