/**
 * What the answers cost, by topic, model and token class, for `cost.csv`.
 *
 * The ledger keeps what each chunk consumed of a model at a rate, rounded up once. Neither the models that answered to one
 * name of the price table nor the classes of a row have rounded amounts of their own, so what was booked for a topic and
 * model is shared out between them by their weight, with the remainder going to the largest fractions: the lines of
 * `cost.csv` always add up to the ledger's figure.
 */
import type { ArchiveOutcome } from '../segments/outcome.ts';
import { femtoUsdHalfUp, microUsdUp, ratesFor, rowFemtoUsd, type ModelPrice } from '../segments/price.ts';
import { totalTokens, type Usage } from '../segments/segment.ts';
import type { ModelSpend } from '../segments/spend.ts';

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
  /** Its name in the price table. */
  readonly priced: string;
  readonly tokens: number[];
  /** Pico-USD as doubles: only their proportions are used. */
  readonly weights: number[];
  /** What its rows cost, as they are exported. */
  femtoUsd: bigint;
}

/** Adds up the spending of one topic. */
export class TopicSpend {
  readonly #topic: string;
  readonly #priceVersion: string;
  readonly #rounding: ArchiveOutcome['rounding'];
  readonly #tallies = new Map<string, Tally>();

  constructor(topic: string, { priceVersion, rounding }: Pick<ArchiveOutcome, 'priceVersion' | 'rounding'>) {
    this.#topic = topic;
    this.#priceVersion = priceVersion;
    this.#rounding = rounding;
  }

  /**
   * Books one succeeded row and returns its cost in femto-USD; null when its model has no price. It is exact, unless the
   * outcome is of a time when rows were rounded: such a row must be the same whenever it is exported again.
   */
  add(model: string, usage: Usage, price: ModelPrice | undefined, isGeoPinned: boolean): bigint | null {
    if (!price) return null;
    const exact = rowFemtoUsd(usage, price, 'batch', isGeoPinned);
    const femtoUsd = this.#rounding === 'part' ? exact : femtoUsdHalfUp(exact);
    const promptTokens = totalTokens(usage) - usage.outputTokens;
    const rates = ratesFor(price, promptTokens, 'batch');
    const tally = this.#tallyOf(model, price.model);
    const write5m = usage.cacheWriteInputTokens - usage.cacheWrite1hInputTokens;
    addTo(tally, 0, usage.inputTokens, rates.input);
    addTo(tally, 1, usage.outputTokens, rates.output);
    addTo(tally, 2, usage.cacheReadInputTokens, rates.cacheRead);
    addTo(tally, 3, write5m, rates.cacheWrite5m);
    addTo(tally, 4, usage.cacheWrite1hInputTokens, rates.cacheWrite1h);
    tally.femtoUsd += femtoUsd;
    return femtoUsd;
  }

  /**
   * The topic's lines. `spends`: the parts of its chunks; what the ledger booked beyond the rows, in tokens and micro-USD,
   * becomes a line of its own.
   */
  lines(bookedTokens: number, bookedMicroUsd: number, spends: readonly ModelSpend[]): readonly CostLine[] {
    const lines: CostLine[] = [];
    const common = { topic: this.#topic, price_version: this.#priceVersion };
    let tokens = 0;
    let microUsd = 0;
    const booked = this.#bookedOf(spends);
    for (const tally of [...this.#tallies.values()].sort((a, b) => compareText(a.model, b.model))) {
      const amount = booked.get(tally.model) ?? 0;
      for (const [place, share] of shareOut(amount, tally.weights).entries()) {
        const count = tally.tokens[place] ?? 0;
        tokens += count;
        const token_class = tokenClasses[place];
        if (token_class && count > 0) {
          lines.push({ ...common, model: tally.model, token_class, tokens: count, micro_usd: share });
        }
      }
      microUsd += amount;
    }
    if (bookedTokens !== tokens || bookedMicroUsd !== microUsd) {
      const rest = { tokens: bookedTokens - tokens, micro_usd: bookedMicroUsd - microUsd };
      lines.push({ ...common, model: '', token_class: 'unconfirmed', ...rest });
    }
    return lines;
  }

  /** What the ledger booked for the rows of each model that answered, integer micro-USD. */
  #bookedOf(spends: readonly ModelSpend[]): ReadonlyMap<string, number> {
    // Of before: whole micro-USD already, and the ledger has their sum.
    if (this.#rounding !== 'part') return new Map([...this.#tallies.values()].map(({ model, femtoUsd }) => [model, microUsdUp(femtoUsd)]));
    const booked = new Map<string, number>();
    const all = [...this.#tallies.values()];
    for (const priced of new Set(all.map((tally) => tally.priced))) {
      const tallies = all.filter((tally) => tally.priced === priced);
      const total = spends.reduce((sum, spend) => sum + (spend.model === priced && spend.rate !== 'unconfirmed' ? spend.microUsd : 0), 0);
      const shares = shareOut(total, tallies.map(({ femtoUsd }) => Number(femtoUsd)));
      for (const [place, { model }] of tallies.entries()) booked.set(model, shares[place] ?? 0);
    }
    return booked;
  }

  #tallyOf(model: string, priced: string): Tally {
    let tally = this.#tallies.get(model);
    if (!tally) {
      tally = { model, priced, tokens: tokenClasses.map(() => 0), weights: tokenClasses.map(() => 0), femtoUsd: 0n };
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
