/**
 * The document that `run --json` prints: where a run stands, in the words of its ledger record. Pure, so that the same
 * run prints the same document however often it is asked for.
 */
import { runManifestKey } from '../segments/lake.ts';
import type { RunRecord } from '../segments/ledger/ledger.ts';
import { microUsdToUsd } from '../segments/price.ts';
import type { RunKey } from '../segments/segment.ts';
import { isRehearsal } from '../segments/side.ts';
import { usageDocument, type UsageDocument } from './encode.ts';

/** `held`: everything that is left waits for a budget or an operator. `in_doubt`: an archive may or may not have been
 *  accepted, and nobody posts it again before that is known. */
export type RunStatus = 'succeeded' | 'partial' | 'canceled' | 'held' | 'in_doubt' | 'running';

export interface RunDocument {
  readonly run_key: RunKey;
  /** The run whose dead letters this one sends once more; absent for any other run. */
  readonly retry_of?: RunKey;
  /** The simulator answers it; absent for any other run. */
  readonly is_rehearsal?: true;
  readonly status: RunStatus;
  readonly counts: {
    readonly accepted: number;
    readonly rejected: number;
    readonly succeeded: number;
    readonly dead_lettered: number;
    /** Left out of a sample by a replan. */
    readonly not_sampled: number;
  };
  readonly batches: number;
  readonly usage: UsageDocument;
  readonly cost_usd: number;
  readonly standard_cost_usd: number;
  readonly lake: string;
  /** Null until the run is complete. */
  readonly manifest: string | null;
}

/**
 * Describes a run. `lakeUri` has no trailing slash. `rest` is what a look at its archives adds: the record alone cannot
 * tell a run whose queued or sealed work waits for an operator from one that goes on by itself.
 */
export function runDocument(run: RunRecord, lakeUri: string, rest?: 'held' | 'in_doubt'): RunDocument {
  return {
    run_key: run.run,
    ...(run.retryOf === undefined ? {} : { retry_of: run.retryOf }),
    ...(isRehearsal(run) ? { is_rehearsal: true as const } : {}),
    status: statusOf(run, rest),
    counts: { accepted: run.accepted, rejected: run.rejected, succeeded: run.succeeded, dead_lettered: run.deadLettered, not_sampled: run.notSampled },
    batches: run.batches,
    usage: usageDocument(run.usage),
    cost_usd: microUsdToUsd(run.microUsd),
    standard_cost_usd: microUsdToUsd(run.standardMicroUsd),
    lake: lakeUri,
    manifest: run.state === 'complete' || run.state === 'canceled' ? `${lakeUri}/${runManifestKey(run.dt, run.run)}` : null,
  };
}

function statusOf(run: RunRecord, rest: 'held' | 'in_doubt' | undefined): RunStatus {
  if (run.state === 'complete') return run.result ?? 'partial';
  if (run.state === 'canceled') return 'canceled';
  if (run.archivesInDoubt > 0) return 'in_doubt';
  if (rest !== undefined) return rest;
  const isAllHeld = run.state === 'open' && run.chunksHeld > 0 && run.chunksHeld === run.chunksOpen;
  return isAllHeld ? 'held' : 'running';
}
