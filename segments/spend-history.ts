/**
 * The history of spending by target and hour: the compact series that forecasts draw from. It is made of the outcomes in
 * the lake, so it is the same after Redis was lost. An hour is that in which the provider took the work, since that is
 * when it belongs to a budget's window; what is not settled yet is in no hour, but reserved.
 */
import type { ArchiveChunkOutcome, ArchiveOutcome } from './outcome.ts';
import { segmentParts, totalTokens } from './segment.ts';

export const hourMs = 3_600_000;

/** Amounts of one target in one unit, micro-USD or tokens. */
export interface TargetHistory {
  /** When the installation first had work at the provider, Unix ms; undefined: never. */
  readonly firstMs: number | undefined;
  /** What was spent in the hour that an instant lies in. */
  spentIn(atMs: number): number;
  /** Hour by hour, what was spent and what had been reserved for it; only where both are known. */
  readonly bounds: readonly { readonly spent: number; readonly reserved: number }[];
}

type Unit = 'micro_usd' | 'tokens';

interface HourSums {
  readonly spent: Record<Unit, number>;
  /** Of the chunks whose reservation is known. */
  readonly bounded: Record<Unit, number>;
  readonly reserved: Record<Unit, number>;
}

/** Gathers the history of some targets. Memory is one entry per target and hour in which it spent something. */
export class SpendHistory {
  readonly #sinceMs: number;
  readonly #targets: ReadonlyMap<string, Map<number, HourSums>>;
  #firstMs: number | undefined;

  /** What is older than `sinceMs` is left out. */
  constructor(targets: Iterable<string>, sinceMs: number) {
    this.#sinceMs = sinceMs;
    this.#targets = new Map([...targets].map((target) => [target, new Map<number, HourSums>()]));
  }

  add(outcome: ArchiveOutcome): void {
    if (outcome.batch === null) return;
    const atMs = outcome.submittedAtMs ?? outcome.acceptedAtMs;
    if (this.#firstMs === undefined || atMs < this.#firstMs) this.#firstMs = atMs;
    if (atMs < this.#sinceMs) return;
    for (const chunk of outcome.chunks) {
      for (const target of targetsOf(chunk)) {
        const hours = this.#targets.get(target);
        if (hours) addChunk(hours, Math.floor(atMs / hourMs), chunk);
      }
    }
  }

  of(target: string, unit: Unit): TargetHistory {
    const hours = this.#targets.get(target) ?? new Map<number, HourSums>();
    const bounds = [...hours.values()].filter((sums) => sums.reserved[unit] > 0).map((sums) => ({ spent: sums.bounded[unit], reserved: sums.reserved[unit] }));
    return { firstMs: this.#firstMs, spentIn: (atMs) => hours.get(Math.floor(atMs / hourMs))?.spent[unit] ?? 0, bounds };
  }
}

/** The targets of budgets that a chunk counts for. */
function targetsOf({ segment, client }: ArchiveChunkOutcome): readonly string[] {
  return ['all', `client:${client}`, `topic:${segmentParts(segment)?.topic ?? ''}`, `segment:${segment}`];
}

function addChunk(hours: Map<number, HourSums>, hour: number, chunk: ArchiveChunkOutcome): void {
  let sums = hours.get(hour);
  if (!sums) {
    sums = { spent: { micro_usd: 0, tokens: 0 }, bounded: { micro_usd: 0, tokens: 0 }, reserved: { micro_usd: 0, tokens: 0 } };
    hours.set(hour, sums);
  }
  const tokens = totalTokens(chunk.usage);
  sums.spent.micro_usd += chunk.microUsd;
  sums.spent.tokens += tokens;
  if (!chunk.reserved) return;
  sums.bounded.micro_usd += chunk.microUsd;
  sums.bounded.tokens += tokens;
  sums.reserved.micro_usd += chunk.reserved.microUsd;
  sums.reserved.tokens += chunk.reserved.tokens;
}
