/**
 * What was spent, grouped by whatever a reader asks for. Every fact falls into exactly one group, and all amounts are
 * integers, so the groups of any report add up to the same total: to what the ledger booked.
 */
import { dateOf } from '../segments/lake.ts';
import { addUsage, noUsage, type Usage } from '../segments/segment.ts';
import { cacheSavedMicroUsd, type SpendFact } from '../segments/spend.ts';
import { compareText, csvLine, millionthsText } from './cost.ts';
import { usageDocument, type UsageDocument } from './encode.ts';

/** What spending can be grouped by. `day` is the UTC day on which the provider had ended the batch. */
export const costKeys = ['topic', 'client', 'model', 'run', 'day'] as const;
export type CostKey = (typeof costKeys)[number];

/** Sums of a group. Amounts are integer micro-USD. */
export interface CostSums {
  readonly succeeded: number;
  readonly deadLettered: number;
  /** Rows that went round again; they are counted once more where they ended. */
  readonly retried: number;
  readonly usage: Usage;
  readonly microUsd: number;
  /** What the same tokens cost one by one. */
  readonly standardMicroUsd: number;
  /** What the prompt cache saved at batch rates; negative when it cost more than it saved. */
  readonly cacheSavedMicroUsd: number;
  /** The part of `microUsd` that was booked although no result proves it. */
  readonly unconfirmedMicroUsd: number;
}

export interface CostGroup extends CostSums {
  /** The value of each key that was asked for, in their order. */
  readonly names: readonly string[];
}

/** A row or the total of a report, as programs read it. Dollars are decimals of six places, so they are exact. */
export interface CostSumsDocument {
  readonly rows: number;
  readonly succeeded: number;
  readonly dead_lettered: number;
  readonly retried: number;
  readonly usage: UsageDocument;
  readonly spent_micro_usd: number;
  readonly spent_usd: string;
  readonly standard_usd: string;
  readonly batch_saved_usd: string;
  readonly cache_saved_usd: string;
  readonly unconfirmed_usd: string;
}

const nothing: CostSums = { succeeded: 0, deadLettered: 0, retried: 0, usage: noUsage, microUsd: 0, standardMicroUsd: 0, cacheSavedMicroUsd: 0, unconfirmedMicroUsd: 0 };

/** Adds facts up. Memory is one entry per group. */
export class CostReport {
  readonly keys: readonly CostKey[];
  readonly #groups = new Map<string, CostGroup>();
  #total = nothing;

  constructor(keys: readonly CostKey[]) {
    this.keys = keys;
  }

  add(fact: SpendFact): void {
    const names = this.keys.map((key) => nameOf(fact, key));
    const id = names.join('\n');
    this.#groups.set(id, { names, ...addFact(this.#groups.get(id) ?? nothing, fact) });
    this.#total = addFact(this.#total, fact);
  }

  get total(): CostSums {
    return this.#total;
  }

  /** By name where days are among the keys, so that time runs downwards; else the dearest first. */
  groups(): readonly CostGroup[] {
    const byName = (a: CostGroup, b: CostGroup): number => compareText(a.names.join('\n'), b.names.join('\n'));
    if (this.keys.includes('day')) return [...this.#groups.values()].sort(byName);
    return [...this.#groups.values()].sort((a, b) => b.microUsd - a.microUsd || byName(a, b));
  }
}

function nameOf(fact: SpendFact, key: CostKey): string {
  return key === 'day' ? dateOf(fact.endedAtMs) : fact[key];
}

function addFact(sums: CostSums, fact: SpendFact): CostSums {
  return {
    succeeded: sums.succeeded + fact.succeeded,
    deadLettered: sums.deadLettered + fact.deadLettered,
    retried: sums.retried + fact.retried,
    usage: addUsage(sums.usage, fact.usage),
    microUsd: sums.microUsd + fact.microUsd,
    standardMicroUsd: sums.standardMicroUsd + fact.standardMicroUsd,
    cacheSavedMicroUsd: sums.cacheSavedMicroUsd + cacheSavedMicroUsd(fact),
    unconfirmedMicroUsd: sums.unconfirmedMicroUsd + (fact.rate === 'unconfirmed' ? fact.microUsd : 0),
  };
}

/** Sums for programs. */
export function costSumsDocument(sums: CostSums): CostSumsDocument {
  return {
    rows: sums.succeeded + sums.deadLettered,
    succeeded: sums.succeeded,
    dead_lettered: sums.deadLettered,
    retried: sums.retried,
    usage: usageDocument(sums.usage),
    spent_micro_usd: sums.microUsd,
    spent_usd: millionthsText(sums.microUsd),
    standard_usd: millionthsText(sums.standardMicroUsd),
    batch_saved_usd: millionthsText(sums.standardMicroUsd - sums.microUsd),
    cache_saved_usd: millionthsText(sums.cacheSavedMicroUsd),
    unconfirmed_usd: millionthsText(sums.unconfirmedMicroUsd),
  };
}

/** The groups for programs, each with the names of its keys. */
export function costGroupDocuments(report: CostReport): readonly (CostSumsDocument & Partial<Record<CostKey, string>>)[] {
  return report.groups().map((group) => ({ ...Object.fromEntries(report.keys.map((key, place) => [key, group.names[place] ?? ''])), ...costSumsDocument(group) }));
}

/** The groups as CSV, one line each; without a total, so that a spreadsheet's own sum is right. */
export function costReportCsv(report: CostReport): string {
  const head = [...report.keys, 'rows', 'succeeded', 'dead_lettered', 'retried', 'input_tokens', 'output_tokens', 'cache_read_input_tokens', 'cache_write_input_tokens', 'spent_usd', 'standard_usd', 'batch_saved_usd', 'cache_saved_usd', 'unconfirmed_usd'];
  const lines = report.groups().map((group) => {
    const { rows, succeeded, dead_lettered, retried, usage, spent_usd, standard_usd, batch_saved_usd, cache_saved_usd, unconfirmed_usd } = costSumsDocument(group);
    return csvLine([...group.names, rows, succeeded, dead_lettered, retried, usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens, usage.cache_write_input_tokens, spent_usd, standard_usd, batch_saved_usd, cache_saved_usd, unconfirmed_usd]);
  });
  return csvLine(head) + lines.join('');
}
