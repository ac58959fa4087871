/**
 * Compares what the outcomes say was spent with the reports of the runs. Both are in the lake and neither is made from
 * the other's file: an outcome comes from the settling stage, a report from the manifests of the archives.
 */
import { decodeJournal } from '../segments/journal.ts';
import { runOpenKey, runReportKey } from '../segments/lake.ts';
import type { RunKey } from '../segments/segment.ts';
import type { SpendFact } from '../segments/spend.ts';
import { readDocument } from '../segments/store/document.ts';
import type { Store } from '../segments/store/store.ts';
import type { RunReport } from './run-report.ts';

/** Sums of a run; amounts in integer micro-USD, rows are prompts. */
export interface RunSpend {
  readonly micro_usd: number;
  readonly standard_micro_usd: number;
  readonly succeeded: number;
  readonly dead_lettered: number;
}

export interface CostProof {
  /** Runs whose report says the same. */
  readonly equal: number;
  /** Runs without a report, because they have not ended. */
  readonly unfinished: number;
  readonly differing: readonly { readonly run_key: RunKey; readonly outcomes: RunSpend; readonly report: RunSpend }[];
}

const nothing: RunSpend = { micro_usd: 0, standard_micro_usd: 0, succeeded: 0, dead_lettered: 0 };

/** Sums by run, for the comparison. Memory is one entry per run. */
export class RunSpends {
  readonly #runs = new Map<RunKey, RunSpend>();

  add(fact: SpendFact): void {
    const known = this.#runs.get(fact.run) ?? nothing;
    this.#runs.set(fact.run, {
      micro_usd: known.micro_usd + fact.microUsd,
      standard_micro_usd: known.standard_micro_usd + fact.standardMicroUsd,
      succeeded: known.succeeded + fact.succeeded,
      dead_lettered: known.dead_lettered + fact.deadLettered,
    });
  }

  /** Compares with `run.json` of every run. @throws PlimsollError `ledger_corrupt` and the store's passing faults */
  async prove(store: Store): Promise<CostProof> {
    let [equal, unfinished] = [0, 0];
    const differing: CostProof['differing'][number][] = [];
    for (const [run, outcomes] of this.#runs) {
      const { dt } = decodeJournal('opening', runOpenKey(run), await readDocument(store, runOpenKey(run)));
      const found = (await readDocument(store, runReportKey(dt, run))) as RunReport | undefined;
      if (found === undefined) {
        unfinished += 1;
        continue;
      }
      const report: RunSpend = { micro_usd: found.micro_usd, standard_micro_usd: found.standard_micro_usd, succeeded: found.counts.succeeded, dead_lettered: found.counts.dead_lettered };
      if (JSON.stringify(report) === JSON.stringify(outcomes)) equal += 1;
      else differing.push({ run_key: run, outcomes, report });
    }
    return { equal, unfinished, differing };
  }
}
