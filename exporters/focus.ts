/**
 * Spending in the columns of FOCUS, the FinOps Open Cost and Usage Specification, version 1.2 (June 2025,
 * github.com/FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec, tag v1.2): all columns that it calls mandatory, and those of the
 * others that say something here. 1.2 is the last version with ProviderName and PublisherName, which most importers ask for.
 *
 * It is FOCUS-shaped, not a bill: the provider is the biller, and these are the ledger's amounts. The ledger rounds up to a
 * micro-USD once for each chunk, model and rate, so what the classes of a line's day cost together is above unit price times
 * quantity by less than one for each chunk (in outcomes of before, half of one for each row either way).
 *
 * One line is a UTC day, account, topic, client, run, model, rate and token class. ListCost is the price one by one,
 * BilledCost, EffectiveCost and ContractedCost what the batch cost: the discount is the difference.
 */
import { dateOf } from '../segments/lake.ts';
import { addUsage, totalTokens } from '../segments/segment.ts';
import { ratesOf, type SpendFact } from '../segments/spend.ts';
import { compareText, csvLine, millionthsText, shareOut, tokenClasses } from './cost.ts';

type FocusClass = (typeof tokenClasses)[number] | 'unconfirmed' | 'unknown';

/** In the order of the specification, which is that of the alphabet; ours begin with `x_`, as it asks. */
const columns = [
  'BilledCost', 'BillingAccountId', 'BillingAccountName', 'BillingCurrency', 'BillingPeriodEnd', 'BillingPeriodStart', 'ChargeCategory', 'ChargeClass',
  'ChargeDescription', 'ChargeFrequency', 'ChargePeriodEnd', 'ChargePeriodStart', 'ConsumedQuantity', 'ConsumedUnit', 'ContractedCost', 'ContractedUnitPrice',
  'EffectiveCost', 'InvoiceIssuerName', 'ListCost', 'ListUnitPrice', 'PricingCategory', 'PricingQuantity', 'PricingUnit', 'ProviderName', 'PublisherName',
  'ServiceCategory', 'ServiceName', 'ServiceSubcategory', 'SkuId', 'SkuMeter', 'SkuPriceId', 'Tags', 'x_PriceVersion',
] as const;
type Column = (typeof columns)[number];

const meters: Readonly<Record<FocusClass, string>> = {
  input: 'Input Tokens',
  output: 'Output Tokens',
  cache_read: 'Cache Read Tokens',
  cache_write_5m: 'Cache Write Tokens (5 minutes)',
  cache_write_1h: 'Cache Write Tokens (1 hour)',
  unconfirmed: 'Unconfirmed Tokens',
  unknown: 'Tokens',
};

/** The header line. */
export function focusHead(): string {
  return csvLine(columns);
}

/**
 * Turns facts into lines. Facts come run by run, as `readSpending` brings them, and a line belongs to one run; so only
 * one run's lines are held at a time.
 */
export class FocusLines {
  readonly #facts = new Map<string, SpendFact>();
  #run: string | undefined;

  /** Takes a fact; returns the lines of the run before, when this is the first one of another. */
  add(fact: SpendFact): string {
    const finished = this.#run !== undefined && this.#run !== fact.run ? this.end() : '';
    this.#run = fact.run;
    const key = [dateOf(fact.endedAtMs), fact.account, fact.topic, fact.client, fact.model, fact.rate, fact.isGeoPinned, fact.priceVersion].join('\n');
    const known = this.#facts.get(key);
    this.#facts.set(key, known ? { ...known, usage: addUsage(known.usage, fact.usage), microUsd: known.microUsd + fact.microUsd, standardMicroUsd: known.standardMicroUsd + fact.standardMicroUsd } : fact);
    return finished;
  }

  /** The lines of the last run. */
  end(): string {
    const facts = [...this.#facts].sort(([a], [b]) => compareText(a, b)).map(([, fact]) => fact);
    this.#facts.clear();
    return facts.flatMap(linesOf).join('');
  }
}

/** One line for each token class that was used. */
function linesOf(fact: SpendFact): readonly string[] {
  const batch = ratesOf(fact, 'batch');
  const standard = ratesOf(fact, 'standard');
  if (!batch || !standard) {
    const tokens = totalTokens(fact.usage);
    const token_class = fact.rate === 'unconfirmed' ? 'unconfirmed' : 'unknown';
    return tokens === 0 && fact.microUsd === 0 ? [] : [lineOf(fact, { token_class, tokens, microUsd: fact.microUsd, listMicroUsd: fact.standardMicroUsd })];
  }
  const { inputTokens, outputTokens, cacheReadInputTokens, cacheWriteInputTokens, cacheWrite1hInputTokens } = fact.usage;
  const tokens = [inputTokens, outputTokens, cacheReadInputTokens, cacheWriteInputTokens - cacheWrite1hInputTokens, cacheWrite1hInputTokens];
  const prices = [batch.input, batch.output, batch.cacheRead, batch.cacheWrite5m, batch.cacheWrite1h];
  const lists = [standard.input, standard.output, standard.cacheRead, standard.cacheWrite5m, standard.cacheWrite1h];
  const weigh = (rates: readonly number[]): readonly number[] => tokens.map((count, place) => count * (rates[place] ?? 0));
  const costs = shareOut(fact.microUsd, weigh(prices));
  const listCosts = shareOut(fact.standardMicroUsd, weigh(lists));
  const factor = (fact.isGeoPinned ? (fact.price?.geoPermille ?? 1000) : 1000) / 1000;
  return tokenClasses.flatMap((token_class, place) => {
    const count = tokens[place] ?? 0;
    if (count === 0) return [];
    const unit = { price: Math.round((prices[place] ?? 0) * factor), list: Math.round((lists[place] ?? 0) * factor) };
    return [lineOf(fact, { token_class, tokens: count, microUsd: costs[place] ?? 0, listMicroUsd: listCosts[place] ?? 0, unit })];
  });
}

interface Charge {
  readonly token_class: FocusClass;
  readonly tokens: number;
  readonly microUsd: number;
  readonly listMicroUsd: number;
  /** Pico-USD per token, which is micro-USD per million tokens. */
  readonly unit?: { readonly price: number; readonly list: number };
}

function lineOf(fact: SpendFact, charge: Charge): string {
  const day = dateOf(fact.endedAtMs);
  const model = fact.model === '' ? 'several models' : fact.model;
  const sku = `${model}/${charge.token_class}`;
  const variant = ['batch', ...(fact.rate === 'long_context' ? ['long_context'] : []), ...(fact.isGeoPinned ? ['geo'] : [])].join('/');
  const cost = millionthsText(charge.microUsd);
  const values: Readonly<Record<Column, string>> = {
    BilledCost: cost,
    BillingAccountId: fact.account,
    BillingAccountName: '',
    BillingCurrency: 'USD',
    BillingPeriodEnd: monthAfter(day),
    BillingPeriodStart: `${day.slice(0, 7)}-01T00:00:00Z`,
    ChargeCategory: 'Usage',
    ChargeClass: '',
    ChargeDescription: `${model}, Message Batches, ${meters[charge.token_class].toLowerCase()} of topic ${fact.topic}`,
    ChargeFrequency: 'Usage-Based',
    ChargePeriodEnd: dayAfter(day),
    ChargePeriodStart: `${day}T00:00:00Z`,
    ConsumedQuantity: String(charge.tokens),
    ConsumedUnit: 'Tokens',
    ContractedCost: cost,
    ContractedUnitPrice: charge.unit ? millionthsText(charge.unit.price) : '',
    EffectiveCost: cost,
    InvoiceIssuerName: 'Anthropic',
    ListCost: millionthsText(charge.listMicroUsd),
    ListUnitPrice: charge.unit ? millionthsText(charge.unit.list) : '',
    PricingCategory: 'Standard',
    PricingQuantity: millionthsText(charge.tokens),
    PricingUnit: '1000000 Tokens',
    ProviderName: 'Anthropic',
    PublisherName: 'Anthropic',
    ServiceCategory: 'AI and Machine Learning',
    ServiceName: 'Claude API',
    ServiceSubcategory: 'Generative AI',
    SkuId: sku,
    SkuMeter: meters[charge.token_class],
    SkuPriceId: `${sku}/${variant}`,
    Tags: JSON.stringify({ client: fact.client, run_key: fact.run, topic: fact.topic }),
    x_PriceVersion: fact.priceVersion,
  };
  return csvLine(columns.map((column) => values[column]));
}

function dayAfter(day: string): string {
  return `${dateOf(Date.parse(day) + 86_400_000)}T00:00:00Z`;
}

function monthAfter(day: string): string {
  return `${dateOf(Date.UTC(Number(day.slice(0, 4)), Number(day.slice(5, 7)), 1))}T00:00:00Z`;
}
