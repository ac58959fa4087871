/**
 * Money. Prices are integers of pico-USD per token (a millionth of a micro-USD), because the cheapest published rate,
 * 0.005 USD per million tokens, is 5,000 of them. A factor for geographies is in thousandths, so what a row costs is an
 * integer of femto-USD (10^-15 USD) and is never rounded by itself. Amounts in the ledger are integers of micro-USD and are
 * rounded up: the bound of each row, and of what was billed the sum over one part of a chunk's spending (`spend.ts`), once.
 *
 * So rounding passes no limit. What is booked is never below the bill. And a part never exceeds its rows' bounds: the bound
 * of a row is an integer that is at least its exact cost, the sum of such bounds is an integer that is at least the sum of
 * the costs, and rounding that sum up cannot pass an integer above it. Rounded to the nearest instead, rows that all cost
 * 1.25 would be booked at 1 each, and the bill would pass a limit by a quarter.
 */
import type { Usage } from './segment.ts';

/** Pico-USD per token, by billing class. */
export interface Rates {
  readonly input: number;
  readonly output: number;
  readonly cacheWrite5m: number;
  readonly cacheWrite1h: number;
  readonly cacheRead: number;
}

/** The price of one model. `batch` is what a Message Batch costs, `standard` what the same tokens cost one by one. */
export interface ModelPrice {
  readonly model: string;
  readonly batch: Rates;
  readonly standard: Rates;
  /** The dearer rates of a request whose prompt exceeds `thresholdTokens`; the whole request is billed at them. */
  readonly longContext: { readonly thresholdTokens: number; readonly batch: Rates; readonly standard: Rates } | undefined;
  /** Factor for requests pinned to one geography, in thousandths (1100 = x1.1); undefined when the model has none. */
  readonly geoPermille: number | undefined;
  readonly contextTokensMax: number;
  readonly outputTokensMax: number;
  /** The longest output that the batch-only extension allows; undefined where it does not apply. */
  readonly outputTokensMaxExtended: number | undefined;
  readonly status: 'active' | 'deprecated' | 'retired';
}

const femtoPerMicro = 1_000_000_000n;

/** What tokens cost at these rates, in pico-USD. */
function picoOf(usage: Usage, rates: Rates): bigint {
  const write5m = usage.cacheWriteInputTokens - usage.cacheWrite1hInputTokens;
  const pico =
    usage.inputTokens * rates.input + usage.outputTokens * rates.output + usage.cacheReadInputTokens * rates.cacheRead +
    write5m * rates.cacheWrite5m + usage.cacheWrite1hInputTokens * rates.cacheWrite1h;
  // No addend is negative, so a sum below 2^53, which is 9,007 USD, had no step above it and each was exact. Plain numbers
  // take a fraction of the time, and this runs for every row.
  if (write5m >= 0 && Number.isSafeInteger(pico)) return BigInt(pico);
  return (
    BigInt(usage.inputTokens) * BigInt(rates.input) +
    BigInt(usage.outputTokens) * BigInt(rates.output) +
    BigInt(usage.cacheReadInputTokens) * BigInt(rates.cacheRead) +
    BigInt(write5m) * BigInt(rates.cacheWrite5m) +
    BigInt(usage.cacheWrite1hInputTokens) * BigInt(rates.cacheWrite1h)
  );
}

/** The rates of a request with this many prompt tokens, whichever class they are billed in. */
export function ratesFor(price: ModelPrice, promptTokens: number, lane: 'batch' | 'standard'): Rates {
  const { longContext } = price;
  return longContext && promptTokens > longContext.thresholdTokens ? longContext[lane] : price[lane];
}

/** The factor of a request that named an inference geography, in thousandths. */
function permilleOf(price: ModelPrice, isGeoPinned: boolean): bigint {
  return BigInt(isGeoPinned ? (price.geoPermille ?? 1000) : 1000);
}

/** What one row costs, exactly, in integer femto-USD. `isGeoPinned`: the request named an inference geography. */
export function rowFemtoUsd(usage: Usage, price: ModelPrice, lane: 'batch' | 'standard', isGeoPinned: boolean): bigint {
  const promptTokens = usage.inputTokens + usage.cacheReadInputTokens + usage.cacheWriteInputTokens;
  return picoOf(usage, ratesFor(price, promptTokens, lane)) * permilleOf(price, isGeoPinned);
}

/** What one row costs, in integer micro-USD rounded up. For a comparison with its bound; sums are made of exact costs. */
export function rowMicroUsd(usage: Usage, price: ModelPrice, lane: 'batch' | 'standard', isGeoPinned: boolean): number {
  return microUsdUp(rowFemtoUsd(usage, price, lane, isGeoPinned));
}

/** Femto-USD, not negative, as integer micro-USD rounded up. */
export function microUsdUp(femtoUsd: bigint): number {
  return Number((femtoUsd + femtoPerMicro - 1n) / femtoPerMicro);
}

/** Femto-USD, not negative, rounded half up to whole micro-USD, in femto-USD again. */
export function femtoUsdHalfUp(femtoUsd: bigint): bigint {
  return ((femtoUsd + femtoPerMicro / 2n) / femtoPerMicro) * femtoPerMicro;
}

/** Integer micro-USD in femto-USD. */
export function femtoUsdOf(microUsd: number): bigint {
  return BigInt(microUsd) * femtoPerMicro;
}

/** Femto-USD, not negative, as the exact decimal of USD, which is a JSON number: 1,250,000,000 is `0.00000125`. */
export function femtoUsdText(femtoUsd: bigint): string {
  const digits = String(femtoUsd).padStart(16, '0');
  const decimals = digits.slice(-15).replace(/0+$/, '');
  return decimals === '' ? digits.slice(0, -15) : `${digits.slice(0, -15)}.${decimals}`;
}

/** How the tokens of a request may be billed, as far as its params tell. */
export interface RateExposure {
  /** A `cache_control` marker stands somewhere: input may be billed as a cache write. */
  readonly mayWriteCache: boolean;
  readonly isGeoPinned: boolean;
}

/**
 * The most that one request can cost, in integer micro-USD rounded up: every input token at the dearest class that can
 * apply, the long-context rate as soon as the bound reaches it, the geography factor when it is asked for.
 */
export function boundMicroUsd(inputTokensMax: number, outputTokensMax: number, price: ModelPrice, exposure: RateExposure): number {
  const rates = ratesFor(price, inputTokensMax, 'batch');
  const inputRate = exposure.mayWriteCache ? Math.max(rates.input, rates.cacheWrite5m, rates.cacheWrite1h) : rates.input;
  const pico = BigInt(inputTokensMax) * BigInt(inputRate) + BigInt(outputTokensMax) * BigInt(rates.output);
  return microUsdUp(pico * permilleOf(price, exposure.isGeoPinned));
}

/** Micro-USD as a decimal USD number for documents that people and spreadsheets read. */
export function microUsdToUsd(microUsd: number): number {
  return microUsd / 1_000_000;
}
