/** Which costs are wanted, and the document of them that the verb `cost` prints and a program is given. */
import { suggest } from '../config/suggest.ts';
import { CostReport, costGroupDocuments, costKeys, costSumsDocument, type CostKey, type CostSumsDocument } from '../exporters/cost-report.ts';
import { PlimsollError } from '../segments/errors.ts';
import { dateOf, runOpenKey } from '../segments/lake.ts';
import { openedRuns } from '../segments/ledger/guard.ts';
import type { RunKey } from '../segments/segment.ts';
import { spendFacts, type SpendFact } from '../segments/spend.ts';
import { readSpending } from '../segments/store/spending.ts';
import type { Store } from '../segments/store/store.ts';
import type { Installation } from './compose.ts';
import { runKeyOf } from './options.ts';

/** Which facts are wanted: of one run, and of days between two, both included. */
export interface CostChoice {
  readonly run: RunKey | undefined;
  readonly since: string | undefined;
  readonly until: string | undefined;
}

/** The names by which a choice is refused: those of flags, or of a program's options. */
export interface CostChoiceNames {
  readonly run: string;
  readonly since: string;
  readonly until: string;
}

/** The document of `cost --json`; amounts in dollars. */
export interface CostDocument {
  readonly by: readonly CostKey[];
  readonly run_key: string | null;
  readonly since: string | null;
  readonly until: string | null;
  readonly groups: readonly (CostSumsDocument & Partial<Record<CostKey, string>>)[];
  readonly total: CostSumsDocument;
}

export interface CostQuestion {
  /** What costs are grouped by; the topic without it. */
  readonly by?: readonly CostKey[];
  readonly run?: string;
  /** Days (UTC) on which a batch ended, `2026-11-21`, both included. */
  readonly since?: string;
  readonly until?: string;
}

/**
 * What was spent, on what, and what batch and cache saved: the document of `plimsoll cost --json`. It reads the lake alone.
 * @throws PlimsollError `usage`, `run_unknown`, and what the store raises
 */
export async function readCost({ store }: Pick<Installation, 'store'>, { by = ['topic'], ...wanted }: CostQuestion = {}): Promise<CostDocument> {
  const choice = costChoiceOf(wanted, { run: 'run', since: 'since', until: 'until' });
  if (choice.run !== undefined) await proveCostRun(store, choice.run);
  const report = new CostReport(costKeysOf(by, 'by'));
  for await (const fact of costFacts(store, choice)) report.add(fact);
  return costDocument(report, choice);
}

export function costDocument(report: CostReport, { run, since, until }: CostChoice): CostDocument {
  return { by: report.keys, run_key: run ?? null, since: since ?? null, until: until ?? null, groups: costGroupDocuments(report), total: costSumsDocument(report.total) };
}

/** @throws PlimsollError `usage` */
export function costChoiceOf({ run, since, until }: { readonly run?: string | undefined; readonly since?: string | undefined; readonly until?: string | undefined }, names: CostChoiceNames): CostChoice {
  const choice: CostChoice = { run: run === undefined ? undefined : runKeyOf(run, names.run), since: dayOf(since, names.since), until: dayOf(until, names.until) };
  if (choice.since !== undefined && choice.until !== undefined && choice.since > choice.until) {
    throw new PlimsollError('usage', { message: `${choice.since} is after ${choice.until}, so no day lies between them`, where: names.since, hint: 'Swap the two dates.' });
  }
  return choice;
}

export async function* costFacts(store: Store, { run, since, until }: CostChoice): AsyncGenerator<SpendFact> {
  for await (const outcome of readSpending(store, run)) {
    for (const fact of spendFacts(outcome)) {
      const day = dateOf(fact.endedAtMs);
      if ((since === undefined || day >= since) && (until === undefined || day <= until)) yield fact;
    }
  }
}

/** @throws PlimsollError `usage` */
export function costKeysOf(words: readonly string[], where: string): readonly CostKey[] {
  const keys: CostKey[] = [];
  for (const word of words) {
    const key = costKeys.find((each) => each === word);
    if (key === undefined) {
      const near = suggest(word, costKeys);
      throw new PlimsollError('usage', { message: `${JSON.stringify(word)} is nothing that costs are grouped by`, where, hint: near === undefined ? `Choose from ${costKeys.join(', ')}; several with commas.` : `Did you mean ${near}?` });
    }
    if (keys.includes(key)) throw new PlimsollError('usage', { message: `${key} is named twice`, where, hint: 'Name each key once.' });
    keys.push(key);
  }
  return keys;
}

/** @throws PlimsollError `run_unknown` */
export async function proveCostRun(store: Store, run: RunKey): Promise<void> {
  if (await store.head(runOpenKey(run))) return;
  const near = suggest(run, await openedRuns(store));
  throw new PlimsollError('run_unknown', { message: `the lake knows no run called ${JSON.stringify(run)}`, where: '--run', hint: near === undefined ? 'plimsoll cost --by run lists all that have spent something.' : `Did you mean ${near}?` });
}

function dayOf(text: string | undefined, where: string): string | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(ms) && dateOf(ms) === text) return text;
  throw new PlimsollError('usage', { message: `${JSON.stringify(text)} is not a day`, where, hint: 'Write year, month and day, for example 2026-11-01.' });
}
