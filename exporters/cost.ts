/**
 * What the answers cost, by topic, model and token class, for `cost.csv`.
 *
 * A row is billed as a whole, rounded once, and the ledger keeps the sum of those amounts. The classes of a row have no
 * rounded amounts of their own, so the sum over a topic and model is shared out between its classes by their weight, with
 * the remainder going to the largest fractions: the lines of `cost.csv` always add up to the ledger's figure.
 */
import { ratesFor, rowMicroUsd, type ModelPrice } from '../segments/price.ts';
import { totalTokens, type Usage } from '../segments/segment.ts';

export const tokenClasses = ['input', 'output', 'cache_read', 'cache_write_5m', 'cache_write_1h'] as const;
export type TokenClass = (typeof tokenClasses)[number] | 'unconfirmed';

/** One line of `cost.csv` without its run. */
export interface CostLine {
  readonly topic: string;
  /** As the provider named it; empty for `unconfirmed`. */
  readonly model: string;
  /** `unconfirmed`: booked although no result proves it, because a row's result never came. */
  readonly token_class: TokenClass;
  readonly tokens: number;
  readonly micro_usd: number;
  readonly price_version: string;
}

interface Tally {
  readonly model: string;
  readonly tokens: number[];
  /** Pico-USD as doubles: only their proportions are used. */
  readonly weights: number[];
  microUsd: number;
}

/** Adds up the spending of one topic. */
export class TopicSpend {
  readonly #topic: string;
  readonly #priceVersion: string;
  readonly #tallies = new Map<string, Tally>();

  constructor(topic: string, priceVersion: string) {
    this.#topic = topic;
    this.#priceVersion = priceVersion;
  }

  /** Books one succeeded row and returns its cost in micro-USD; null when its model has no price. */
  add(model: string, usage: Usage, price: ModelPrice | undefined, isGeoPinned: boolean): number | null {
    if (!price) return null;
    const microUsd = rowMicroUsd(usage, price, 'batch', isGeoPinned);
    const promptTokens = totalTokens(usage) - usage.outputTokens;
    const rates = ratesFor(price, promptTokens, 'batch');
    const tally = this.#tallyOf(model);
    const write5m = usage.cacheWriteInputTokens - usage.cacheWrite1hInputTokens;
    addTo(tally, 0, usage.inputTokens, rates.input);
    addTo(tally, 1, usage.outputTokens, rates.output);
    addTo(tally, 2, usage.cacheReadInputTokens, rates.cacheRead);
    addTo(tally, 3, write5m, rates.cacheWrite5m);
    addTo(tally, 4, usage.cacheWrite1hInputTokens, rates.cacheWrite1h);
    tally.microUsd += microUsd;
    return microUsd;
  }

  /** The topic's lines; what the ledger booked beyond the rows, in tokens and micro-USD, becomes a line of its own. */
  lines(bookedTokens: number, bookedMicroUsd: number): readonly CostLine[] {
    const lines: CostLine[] = [];
    const common = { topic: this.#topic, price_version: this.#priceVersion };
    let tokens = 0;
    let microUsd = 0;
    for (const tally of [...this.#tallies.values()].sort((a, b) => compareText(a.model, b.model))) {
      for (const [place, share] of shareOut(tally.microUsd, tally.weights).entries()) {
        const count = tally.tokens[place] ?? 0;
        tokens += count;
        const token_class = tokenClasses[place];
        if (token_class && count > 0) {
          lines.push({ ...common, model: tally.model, token_class, tokens: count, micro_usd: share });
        }
      }
      microUsd += tally.microUsd;
    }
    if (bookedTokens !== tokens || bookedMicroUsd !== microUsd) {
      const rest = { tokens: bookedTokens - tokens, micro_usd: bookedMicroUsd - microUsd };
      lines.push({ ...common, model: '', token_class: 'unconfirmed', ...rest });
    }
    return lines;
  }

  #tallyOf(model: string): Tally {
    let tally = this.#tallies.get(model);
    if (!tally) {
      tally = { model, tokens: tokenClasses.map(() => 0), weights: tokenClasses.map(() => 0), microUsd: 0 };
      this.#tallies.set(model, tally);
    }
    return tally;
  }
}

function addTo(tally: Tally, place: number, tokens: number, rate: number): void {
  tally.tokens[place] = (tally.tokens[place] ?? 0) + tokens;
  tally.weights[place] = (tally.weights[place] ?? 0) + tokens * rate;
}

/** Shares an integer out by weight: whole parts first, then one more for the largest fractions; the parts sum to it. */
export function shareOut(total: number, weights: readonly number[]): readonly number[] {
  const sum = weights.reduce((a, b) => a + b, 0);
  if (sum === 0) return weights.map((_, place) => (place === 0 ? total : 0));
  const exact = weights.map((weight) => (total * weight) / sum);
  const parts = exact.map(Math.floor);
  const order = exact.map((value, place) => ({ place, fraction: value - Math.floor(value) }));
  order.sort((a, b) => b.fraction - a.fraction || a.place - b.place);
  let left = total - parts.reduce((a, b) => a + b, 0);
  for (const { place } of order) {
    if (left <= 0) break;
    parts[place] = (parts[place] ?? 0) + 1;
    left--;
  }
  return parts;
}

/** Adds up lines of the same topic, model, class and price version, in the order of those names. */
export function mergeCostLines(lines: Iterable<CostLine>): readonly CostLine[] {
  const merged = new Map<string, CostLine>();
  for (const line of lines) {
    const key = `${line.topic}\n${line.model}\n${line.token_class}\n${line.price_version}`;
    const known = merged.get(key);
    const sum = known && { ...line, tokens: known.tokens + line.tokens, micro_usd: known.micro_usd + line.micro_usd };
    merged.set(key, sum ?? line);
  }
  const classes: readonly TokenClass[] = [...tokenClasses, 'unconfirmed'];
  return [...merged.values()].sort(
    (a, b) =>
      compareText(a.topic, b.topic) ||
      compareText(a.model, b.model) ||
      classes.indexOf(a.token_class) - classes.indexOf(b.token_class) ||
      compareText(a.price_version, b.price_version),
  );
}

/** `cost.csv` (RFC 4180 quoting, LF line ends, one header line). `usd` has six decimals, so it is exact. */
export function costCsv(run: string, dt: string, lines: readonly CostLine[]): string {
  const head = 'run_key,dt,topic,model,token_class,tokens,micro_usd,usd,price_version\n';
  const rows = lines.map((line) =>
    csvLine([run, dt, line.topic, line.model, line.token_class, line.tokens, line.micro_usd, millionthsText(line.micro_usd), line.price_version]),
  );
  return head + rows.join('');
}

/** An integer of millionths, such as micro-USD, as a decimal with six places, without a detour through floating point. */
export function millionthsText(millionths: number): string {
  const digits = String(Math.abs(millionths)).padStart(7, '0');
  return `${millionths < 0 ? '-' : ''}${digits.slice(0, -6)}.${digits.slice(-6)}`;
}

/** One record of a CSV file (RFC 4180 quoting, LF). */
export function csvLine(fields: readonly (string | number)[]): string {
  return `${fields.map((field) => csvField(String(field))).join(',')}\n`;
}

function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Orders by code unit, the same on every machine; a locale would not be. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
