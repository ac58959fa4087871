/**
 * What would become of held rows with another model, a smaller `max_tokens` or as a sample. Pure: from the index lines of
 * the rows to sums and to a choice of rows, so that what is shown is what is applied.
 *
 * The bounds are not estimated anew. A bound of input tokens is a bound of the text, whatever model reads it
 * (estimate.ts); only the window of a model caps it. So a row keeps its bound, and another price and another output bound
 * give its new cost, to the micro-dollar the same here and in the chunk that is written.
 *
 * A sample is drawn by strata of size. The rows are put into ten strata of equal count by the length of their params; within
 * a stratum they stand in the order of a digest of their ids. A row's rank is its place in its stratum as a share of the
 * stratum, and the sample of n rows is the n smallest ranks: every stratum gives its share, give or take one row; the same
 * rows give the same sample; and a smaller sample is part of every larger one.
 *
 * Invariants
 *   V1  The cost bound of a changed row is a bound: whatever is not known of it is taken at the dearest.
 *   V2  A sample depends on the ids and sizes of the rows alone.
 */
import { hash } from 'node:crypto';
import type { ChunkRow } from './chunk.ts';
import { tokensPerToken, type EstimatedModel } from './estimate.ts';
import { boundMicroUsd, ratesFor } from './price.ts';
import type { ReplanOption } from './replan-document.ts';

/** The model of a name of the price table; undefined: the table does not know it. */
export type FindModel = (name: string) => EstimatedModel | undefined;

/** What of a row can change. Tokens, and micro-USD at most. */
export type RowTerms = Pick<ChunkRow, 'model' | 'expect' | 'in' | 'out' | 'usd'>;

/** What a plan needs of a row. */
export type PlannedRow = RowTerms & Pick<ChunkRow, 'id' | 'bytes' | 'geo'>;

/** The parameters of a row under an option (V1); the row itself where nothing changes. */
export function termsUnder(row: RowTerms & Pick<ChunkRow, 'geo'>, option: Pick<ReplanOption, 'model' | 'maxTokens'>, find: FindModel): RowTerms {
  const out = Math.min(row.out, option.maxTokens ?? row.out);
  const model = option.model ?? row.model;
  if (out === row.out && model === row.model) return row;
  const before = find(row.model);
  const after = find(model);
  if (!after) throw new RangeError(`${model} is not in the price table`);
  // A bound that is the whole window of its model may have been cut off there.
  const isWindow = before !== undefined && row.in >= before.contextTokensMax;
  const inputMax = isWindow ? after.contextTokensMax : Math.min(row.in, after.contextTokensMax);
  const isGeoPinned = row.geo === 1;
  // Where the row's own bound is not that of plain input, it marks the cache, or its prices have changed since.
  const mayWriteCache = before === undefined || row.usd !== boundMicroUsd(row.in, row.out, before, { mayWriteCache: false, isGeoPinned });
  const expect = before === undefined ? row.expect : Math.ceil(row.expect * tokensPerToken(before.tokenizer, after.tokenizer));
  return { model, expect: Math.min(expect, inputMax), in: inputMax, out, usd: boundMicroUsd(inputMax, out, after, { mayWriteCache, isGeoPinned }) };
}

/** Sums over rows; tokens and micro-USD, integers. */
export interface PlannedSums {
  readonly rows: number;
  /** Rows that a sample leaves out. */
  readonly notSampled: number;
  readonly tokensExpected: number;
  readonly tokensMax: number;
  readonly microUsdExpected: number;
  readonly microUsdMax: number;
}

/** The terms of many rows in columns: there may be a million of them. */
export class PlannedRows {
  readonly #tokensExpected: Float64Array;
  readonly #tokensMax: Float64Array;
  readonly #microUsdMax: Float64Array;
  /** Pico-USD, expected; cheap rows must not round to nothing before they are added up. */
  readonly #picoExpected: Float64Array;
  readonly rows: number;

  /** @param outputExpectedPermille how much of `max_tokens` an answer is expected to use */
  constructor(rows: readonly PlannedRow[], option: Pick<ReplanOption, 'model' | 'maxTokens'>, find: FindModel, outputExpectedPermille: number) {
    const count = rows.length;
    this.rows = count;
    this.#tokensExpected = new Float64Array(count);
    this.#tokensMax = new Float64Array(count);
    this.#microUsdMax = new Float64Array(count);
    this.#picoExpected = new Float64Array(count);
    for (const [place, row] of rows.entries()) {
      const terms = termsUnder(row, option, find);
      const outputExpected = Math.ceil((terms.out * outputExpectedPermille) / 1000);
      const model = find(terms.model);
      const rates = model && ratesFor(model, terms.expect, 'batch');
      this.#tokensExpected[place] = terms.expect + outputExpected;
      this.#tokensMax[place] = terms.in + terms.out;
      this.#microUsdMax[place] = terms.usd;
      // A model without a price is expected to cost what it may at most.
      this.#picoExpected[place] = rates ? terms.expect * rates.input + outputExpected * rates.output : terms.usd * 1_000_000;
    }
  }

  /** The sums of the rows at these places, in their order; of all of them without. */
  sums(places?: ArrayLike<number>, count = places?.length ?? this.rows): PlannedSums {
    const sum = { tokensExpected: 0, tokensMax: 0, microUsdMax: 0, pico: 0 };
    for (let at = 0; at < count; at += 1) this.#add(sum, places ? (places[at] ?? 0) : at);
    return {
      rows: count, notSampled: this.rows - count, tokensExpected: sum.tokensExpected, tokensMax: sum.tokensMax,
      microUsdExpected: Math.ceil(sum.pico / 1_000_000), microUsdMax: sum.microUsdMax,
    };
  }

  /** How many rows from the first on stay within both amounts, in the order of `places` or of the rows themselves. */
  leading(room: { readonly tokens: number; readonly microUsd: number }, places?: ArrayLike<number>, count = places?.length ?? this.rows): number {
    const sum = { tokensExpected: 0, tokensMax: 0, microUsdMax: 0, pico: 0 };
    for (let at = 0; at < count; at += 1) {
      this.#add(sum, places ? (places[at] ?? 0) : at);
      if (sum.tokensMax > room.tokens || sum.microUsdMax > room.microUsd) return at;
    }
    return count;
  }

  #add(sum: { tokensExpected: number; tokensMax: number; microUsdMax: number; pico: number }, place: number): void {
    sum.tokensExpected += this.#tokensExpected[place] ?? 0;
    sum.tokensMax += this.#tokensMax[place] ?? 0;
    sum.microUsdMax += this.#microUsdMax[place] ?? 0;
    sum.pico += this.#picoExpected[place] ?? 0;
  }
}

const strata = 10;

/** The places of rows in the order in which samples take them (V2). */
export function samplingOrder(rows: readonly Pick<ChunkRow, 'id' | 'bytes'>[]): Uint32Array {
  const count = rows.length;
  const sizes = new Float64Array(count);
  const draws = new Float64Array(count);
  for (const [place, { id, bytes }] of rows.entries()) {
    sizes[place] = bytes;
    // 48 bits of a digest as a share of one: ids that follow one another are scattered.
    draws[place] = Number.parseInt(hash('sha256', id, 'hex').slice(0, 12), 16) / 2 ** 48;
  }
  const bySize = Uint32Array.from({ length: count }, (_, index) => index).sort((a, b) => (sizes[a] ?? 0) - (sizes[b] ?? 0) || (draws[a] ?? 0) - (draws[b] ?? 0) || a - b);
  const ranks = new Float64Array(count);
  for (let stratum = 0; stratum < strata; stratum += 1) {
    const begin = Math.floor((count * stratum) / strata);
    const members = bySize.subarray(begin, Math.floor((count * (stratum + 1)) / strata)).slice().sort((a, b) => (draws[a] ?? 0) - (draws[b] ?? 0) || a - b);
    // Its own draw shifts a row within its step, so that the first of all strata do not tie.
    for (const [at, member] of members.entries()) ranks[member] = (at + (draws[member] ?? 0)) / members.length;
  }
  return Uint32Array.from({ length: count }, (_, index) => index).sort((a, b) => (ranks[a] ?? 0) - (ranks[b] ?? 0) || a - b);
}

/** How many of `held` rows a sample takes. */
export function sampleSize(sample: ReplanOption['sample'], held: number): number {
  if (sample === undefined) return held;
  return Math.min(held, 'rows' in sample ? sample.rows : Math.round((held * sample.percent) / 100));
}

/** The longest that archives are expected to take, ms, from what the last ones took: as runtime budgets count
 *  (prelude/runtime.lua). undefined: none was settled yet. */
export function turnaroundMax(seen: readonly number[]): number | undefined {
  if (seen.length === 0) return undefined;
  return Math.min(Math.floor(Math.max(...seen) * (1 + 2 / seen.length)), 86_400_000);
}
