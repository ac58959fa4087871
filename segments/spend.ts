/**
 * Spending: what a chunk consumed, by the model and the rate at which its rows were billed. The settling stage writes it
 * into the outcome, where it outlives Redis; cost reports and forecasts are sums over it. Pure.
 *
 * Invariant M1: a part's amounts are the exact sum of its rows, rounded up once. So what is booked is never below what was
 * billed, is above it by less than one micro-USD for each part, and is at most the sum of its rows' bounds (`price.ts`).
 *
 * One part of a chunk's spending, as it stands in an outcome:
 *   {"model":"claude-haiku-4-5","rate":"usual","isGeoPinned":false,"succeeded":40,"retried":0,"deadLettered":1,
 *    "usage":{"inputTokens":9120,…},"microUsd":5710,"standardMicroUsd":11420}
 */
import type { ArchiveChunkOutcome, ArchiveOutcome } from './outcome.ts';
import { femtoUsdOf, microUsdUp, ratesFor, type ModelPrice, type Rates } from './price.ts';
import { addUsage, noUsage, segmentParts, totalTokens, type ArchiveId, type RunKey, type SegmentName, type Usage } from './segment.ts';

/**
 * How the tokens of a part were billed. `usual` and `long_context`: at the rates of the model's price of that name.
 * `unconfirmed`: no result proves it; the rows' bounds were booked, because the provider may have billed them.
 * `unknown`: an outcome of before parts were noted, with several models; only its sums are known.
 */
export type SpendRate = 'usual' | 'long_context' | 'unconfirmed' | 'unknown';

/** What a chunk consumed of one model at one rate. Amounts are integer micro-USD. */
export interface ModelSpend {
  /** The model's name in the price table at settlement; empty where `rate` is `unknown`. */
  readonly model: string;
  readonly rate: SpendRate;
  /** Billed with the factor for requests that are pinned to one geography. */
  readonly isGeoPinned: boolean;
  readonly succeeded: number;
  readonly retried: number;
  readonly deadLettered: number;
  readonly usage: Usage;
  readonly microUsd: number;
  readonly standardMicroUsd: number;
}

/** One part of the spending of one chunk, with everything that it can be grouped by. */
export interface SpendFact extends ModelSpend {
  readonly run: RunKey;
  readonly archive: ArchiveId;
  readonly topic: string;
  readonly client: string;
  readonly segment: SegmentName;
  /** Fingerprint of the provider's account; empty: it was never submitted. */
  readonly account: string;
  /** When the provider took the archive, and when it had ended its batch; Unix ms. Where one of them is not known, the
   *  nearest time before it that is. */
  readonly submittedAtMs: number;
  readonly endedAtMs: number;
  readonly priceVersion: string;
  /** The price at which it was settled; undefined for `unconfirmed` and `unknown`. */
  readonly price: ModelPrice | undefined;
}

/** A part while rows are added to it: its money is exact, in femto-USD. */
interface OpenPart {
  readonly place: Pick<ModelSpend, 'model' | 'rate' | 'isGeoPinned'>;
  readonly counts: { succeeded: number; retried: number; deadLettered: number };
  usage: Usage;
  femtoUsd: bigint;
  standardFemtoUsd: bigint;
}

/** Adds up the rows of one chunk (M1). */
export class SpendTally {
  readonly #parts = new Map<string, OpenPart>();

  /** Books a succeeded row: its usage, and what it costs in a batch and one by one, in femto-USD. */
  addRow(price: ModelPrice, usage: Usage, isGeoPinned: boolean, femtoUsd: bigint, standardFemtoUsd: bigint): void {
    const promptTokens = totalTokens(usage) - usage.outputTokens;
    const isLong = ratesFor(price, promptTokens, 'batch') !== price.batch;
    // A model without a factor for geographies costs the same wherever it runs.
    const part = this.#partOf(price.model, isLong ? 'long_context' : 'usual', isGeoPinned && price.geoPermille !== undefined);
    part.counts.succeeded += 1;
    addSpend(part, usage, femtoUsd, standardFemtoUsd);
  }

  /** Books the bound of a row whose result is not known, in micro-USD; the row itself is counted by {@link count}. */
  addBound(model: string, usage: Usage, microUsd: number, standardMicroUsd: number): void {
    addSpend(this.#partOf(model, 'unconfirmed', false), usage, femtoUsdOf(microUsd), femtoUsdOf(standardMicroUsd));
  }

  /** Counts a row that consumed nothing that is known. */
  count(fate: 'retried' | 'deadLettered', model: string): void {
    this.#partOf(model, 'usual', false).counts[fate] += 1;
  }

  /** The parts, in an order that does not depend on the order of the rows. */
  list(): readonly ModelSpend[] {
    return [...this.#parts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { place, counts, usage, femtoUsd, standardFemtoUsd }]) => (
      { ...place, ...counts, usage, microUsd: microUsdUp(femtoUsd), standardMicroUsd: microUsdUp(standardFemtoUsd) }
    ));
  }

  #partOf(model: string, rate: SpendRate, isGeoPinned: boolean): OpenPart {
    const key = `${model}|${rate}|${isGeoPinned}`;
    let part = this.#parts.get(key);
    if (!part) {
      part = { place: { model, rate, isGeoPinned }, counts: { succeeded: 0, retried: 0, deadLettered: 0 }, usage: noUsage, femtoUsd: 0n, standardFemtoUsd: 0n };
      this.#parts.set(key, part);
    }
    return part;
  }
}

function addSpend(part: OpenPart, usage: Usage, femtoUsd: bigint, standardFemtoUsd: bigint): void {
  part.usage = addUsage(part.usage, usage);
  part.femtoUsd += femtoUsd;
  part.standardFemtoUsd += standardFemtoUsd;
}

/** The spending of an archive, chunk by chunk. The facts add up to the outcome's own sums, whatever its age. */
export function spendFacts(outcome: ArchiveOutcome): readonly SpendFact[] {
  const prices = new Map(Object.values(outcome.prices).map((price) => [price.model, price]));
  const submittedAtMs = outcome.submittedAtMs ?? outcome.acceptedAtMs;
  const endedAtMs = outcome.endedAtMs ?? submittedAtMs;
  return outcome.chunks.flatMap((chunk) =>
    spendsOf(chunk, prices).map((spend): SpendFact => ({
      ...spend,
      run: outcome.run, archive: outcome.archive, account: outcome.account ?? '',
      topic: segmentParts(chunk.segment)?.topic ?? '', client: chunk.client, segment: chunk.segment,
      submittedAtMs, endedAtMs, priceVersion: outcome.priceVersion,
      price: spend.rate === 'usual' || spend.rate === 'long_context' ? prices.get(spend.model) : undefined,
    })),
  );
}

function spendsOf(chunk: ArchiveChunkOutcome, prices: ReadonlyMap<string, ModelPrice>): readonly ModelSpend[] {
  if (chunk.spends) return chunk.spends;
  const [only] = prices.size === 1 ? [...prices.keys()] : [];
  const { succeeded, retried, deadLettered, usage, microUsd, standardMicroUsd } = chunk;
  return [{ model: only ?? '', rate: only === undefined ? 'unknown' : 'usual', isGeoPinned: false, succeeded, retried, deadLettered, usage, microUsd, standardMicroUsd }];
}

/** The rates of a fact; undefined where no single price applies. */
export function ratesOf({ price, rate }: SpendFact, lane: 'batch' | 'standard'): Rates | undefined {
  if (!price) return undefined;
  return rate === 'long_context' ? price.longContext?.[lane] : price[lane];
}

/**
 * What the prompt cache saved, integer micro-USD rounded half away from zero: the cached tokens at the price of plain
 * input, less what their reads and writes cost. Negative when more was written than read. At batch rates.
 */
export function cacheSavedMicroUsd(fact: SpendFact): number {
  const rates = ratesOf(fact, 'batch');
  if (!rates || !fact.price) return 0;
  const { cacheReadInputTokens, cacheWriteInputTokens, cacheWrite1hInputTokens } = fact.usage;
  const pico =
    BigInt(cacheReadInputTokens) * BigInt(rates.input - rates.cacheRead) +
    BigInt(cacheWriteInputTokens - cacheWrite1hInputTokens) * BigInt(rates.input - rates.cacheWrite5m) +
    BigInt(cacheWrite1hInputTokens) * BigInt(rates.input - rates.cacheWrite1h);
  const scaled = pico * BigInt(fact.isGeoPinned ? (fact.price.geoPermille ?? 1000) : 1000);
  const half = 500_000_000n;
  return Number((scaled < 0n ? scaled - half : scaled + half) / 1_000_000_000n);
}
