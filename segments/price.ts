/**
 * Money. Prices are integers of pico-USD per token (a millionth of a micro-USD), because the cheapest published rate,
 * 0.005 USD per million tokens, is 5,000 of them and stays exact under the 1.1 geography factor. Amounts are integers
 * of micro-USD: a bound is rounded up, a bill is rounded half up, so a bill never exceeds its bound.
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

const picoPerMicro = 1_000_000n;

function picoOf(usage: Usage, rates: Rates): bigint {
  const write5m = usage.cacheWriteInputTokens - usage.cacheWrite1hInputTokens;
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

/** What one row costs, in integer micro-USD rounded half up. `isGeoPinned`: the request named an inference geography. */
export function rowMicroUsd(usage: Usage, price: ModelPrice, lane: 'batch' | 'standard', isGeoPinned: boolean): number {
  const promptTokens = usage.inputTokens + usage.cacheReadInputTokens + usage.cacheWriteInputTokens;
  const pico = picoOf(usage, ratesFor(price, promptTokens, lane));
  const permille = BigInt(isGeoPinned ? (price.geoPermille ?? 1000) : 1000);
  const divisor = picoPerMicro * 1000n;
  return Number((pico * permille + divisor / 2n) / divisor);
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
  const permille = BigInt(exposure.isGeoPinned ? (price.geoPermille ?? 1000) : 1000);
  const divisor = picoPerMicro * 1000n;
  return Number((pico * permille + divisor - 1n) / divisor);
}

/** Micro-USD as a decimal USD number for documents that people and spreadsheets read. */
export function microUsdToUsd(microUsd: number): number {
  return microUsd / 1_000_000;
}
