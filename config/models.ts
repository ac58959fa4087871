/**
 * The price table: what the models cost and allow, read from `models.json` beside this file. Prices there are USD per
 * million tokens as people publish them; here they become integers of pico-USD per token, which is the same number
 * times a million. The table's date is its version and is repeated in every exported row.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { ModelPrice, Rates } from '../segments/price.ts';
import { tableOf } from './price-table.ts';

/** A model's price and the facts about it that estimates need. */
export interface ModelEntry extends ModelPrice {
  /** `newer` counts about 30 % more tokens for the same text (claude-batches.md 4.2). */
  readonly tokenizer: 'previous' | 'newer';
  /** The shortest prefix that the provider caches, tokens; undefined: it caches nothing of this model. */
  readonly cacheTokensMin: number | undefined;
  /** Other names that the provider accepts for it. */
  readonly aliases: readonly string[];
  /** Day on which the provider retires it, `YYYY-MM-DD`; undefined while none is announced. */
  readonly retiresOn: string | undefined;
}

/** The prices in force. */
export interface PriceTable {
  /** The day of the table, `YYYY-MM-DD`; with prices of one's own also theirs, `+YYYY-MM-DD.<digest>`. */
  readonly version: string;
  /** Every model under its full id, newest generation first. */
  readonly models: readonly ModelEntry[];
  /** The entry of a model id or alias. */
  find(model: string): ModelEntry | undefined;
  /** The known name closest to a mistyped one; models that can be used come before retired ones. */
  nearest(model: string): string | undefined;
}

const usdPerMillion = z.strictObject({
  input: z.number().nonnegative(),
  output: z.number().nonnegative(),
  cache_write_5m: z.number().nonnegative(),
  cache_write_1h: z.number().nonnegative(),
  cache_read: z.number().nonnegative(),
});

const modelSchema = z.strictObject({
  id: z.string().min(1),
  aliases: z.array(z.string().min(1)),
  status: z.enum(['active', 'deprecated', 'retired']),
  context_window: z.int().positive(),
  max_output: z.int().positive(),
  max_output_batch_beta: z.int().positive().nullable(),
  price_per_mtok: usdPerMillion,
  batch_price_per_mtok: usdPerMillion,
  long_context: z
    .strictObject({
      threshold_tokens: z.int().positive(),
      price_per_mtok: usdPerMillion,
      batch_price_per_mtok: usdPerMillion,
    })
    .nullable(),
  us_inference_geo_multiplier: z.number().min(1).nullable(),
  min_cacheable_tokens: z.int().positive().nullable(),
  tokenizer: z.enum(['previous', 'newer']),
  retires: z.iso.date().nullable(),
  retires_not_before: z.iso.date().nullable(),
  confidence: z.string(),
});

const tableSchema = z.strictObject({
  schema_version: z.literal(1),
  as_of: z.iso.date(),
  currency: z.literal('USD'),
  unit: z.literal('per million tokens'),
  models: z.array(modelSchema).min(1),
});

let loaded: PriceTable | undefined;

/** The table that is shipped with Plimsoll. It is read once per process. */
export function priceTable(): PriceTable {
  loaded ??= decodePriceTable(shippedDocument());
  return loaded;
}

/** The shipped table as it stands in its file. */
export function shippedDocument(): z.infer<typeof tableSchema> {
  return tableSchema.parse(JSON.parse(readFileSync(new URL('./models.json', import.meta.url), 'utf8')));
}

/**
 * Decodes a price table.
 * @throws {z.ZodError} when it does not have the shape of `models.json`
 * @throws {RangeError} when a price is not a whole number of pico-USD per token, or a name stands for two models
 */
export function decodePriceTable(document: unknown): PriceTable {
  const table = tableSchema.parse(document);
  return tableOf(table.as_of, table.models.map(entryOf));
}

function entryOf(row: z.infer<typeof modelSchema>): ModelEntry {
  return {
    model: row.id,
    aliases: row.aliases,
    batch: ratesOf(row.id, row.batch_price_per_mtok),
    standard: ratesOf(row.id, row.price_per_mtok),
    longContext: row.long_context
      ? {
          thresholdTokens: row.long_context.threshold_tokens,
          batch: ratesOf(row.id, row.long_context.batch_price_per_mtok),
          standard: ratesOf(row.id, row.long_context.price_per_mtok),
        }
      : undefined,
    geoPermille: row.us_inference_geo_multiplier === null ? undefined : Math.round(row.us_inference_geo_multiplier * 1000),
    contextTokensMax: row.context_window,
    outputTokensMax: row.max_output,
    outputTokensMaxExtended: row.max_output_batch_beta ?? undefined,
    status: row.status,
    tokenizer: row.tokenizer,
    cacheTokensMin: row.min_cacheable_tokens ?? undefined,
    retiresOn: row.retires ?? undefined,
  };
}

function ratesOf(model: string, usd: z.infer<typeof usdPerMillion>): Rates {
  return {
    input: picoUsdPerToken(model, usd.input),
    output: picoUsdPerToken(model, usd.output),
    cacheWrite5m: picoUsdPerToken(model, usd.cache_write_5m),
    cacheWrite1h: picoUsdPerToken(model, usd.cache_write_1h),
    cacheRead: picoUsdPerToken(model, usd.cache_read),
  };
}

/** 1 USD per million tokens is 1,000,000 pico-USD per token. A price that does not come out whole would be rounded money. */
function picoUsdPerToken(model: string, usdPerMillionTokens: number): number {
  const pico = Math.round(usdPerMillionTokens * 1_000_000);
  if (Math.abs(pico - usdPerMillionTokens * 1_000_000) > 1e-6) {
    throw new RangeError(`price table: ${usdPerMillionTokens} USD per million tokens of ${model} is finer than a pico-USD per token`);
  }
  return pico;
}
