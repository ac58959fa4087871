/**
 * The gathering of a run: its archive manifests become `manifest.json`, `run.json`, `cost.csv` and, last of all,
 * `_SUCCESS`, the object that downstream triggers wait for.
 *
 * Invariants
 *   N1  `_SUCCESS` exists only when every accepted prompt is a result, a dead letter or left out by a replan, and every rejected line is in the
 *       rejects file; a run with failed rows still gets it, since complete is not the same as perfect.
 *   N2  The documents are a function of the run's record and the archive manifests: gathering again writes the same bytes.
 */
import { createHash } from 'node:crypto';
import { PlimsollError } from '../segments/errors.ts';
import { rejectsKey, runCostKey, runManifestKey, runReportKey, runSuccessKey } from '../segments/lake.ts';
import type { RunRecord } from '../segments/ledger/ledger.ts';
import { microUsdToUsd } from '../segments/price.ts';
import type { ArchiveId, BatchId, RunKey } from '../segments/segment.ts';
import { isRehearsal } from '../segments/side.ts';
import { putDocument } from '../segments/store/document.ts';
import { urlOf, type Store } from '../segments/store/store.ts';
import { costCsv, mergeCostLines } from './cost.ts';
import { isoTime, type UsageDocument } from './encode.ts';
import { digestsOf } from './files.ts';
import {
  readArchiveManifest, schemaVersion, sortEntries, sumCounts,
  type ArchiveManifest, type ManifestCounts, type ManifestEntry, type TopicSummary,
} from './manifest.ts';

/** `run.json`: what a run did and cost. */
export interface RunReport {
  readonly schema_version: 1;
  readonly run_key: RunKey;
  /** The run whose dead letters this one sent once more; absent for any other run. */
  readonly retry_of?: RunKey;
  /** The simulator answered it, so nothing was billed; absent for any other run. */
  readonly is_rehearsal?: true;
  readonly status: 'succeeded' | 'partial';
  readonly dt: string;
  readonly source: string;
  /** Digests of the input and of the settings that cut it. */
  readonly input_sha256: string;
  readonly settings_sha256: string;
  readonly opened_at: string | null;
  readonly completed_at: string | null;
  readonly counts: {
    readonly accepted: number;
    readonly rejected: number;
    readonly succeeded: number;
    readonly dead_lettered: number;
    readonly retried: number;
    /** Rows that a replan left out of a sample, and rows that it sent with other parameters. */
    readonly not_sampled: number;
    readonly replanned: number;
    readonly truncated: number;
    readonly refused: number;
  };
  readonly batches: number;
  readonly batch_ids: readonly BatchId[];
  readonly usage: UsageDocument;
  readonly micro_usd: number;
  readonly standard_micro_usd: number;
  readonly cost_usd_estimated: number;
  readonly standard_cost_usd_estimated: number;
  readonly saved_usd_estimated: number;
  /** What the prompt cache saved at batch rates: what was read and written at the price of plain input, less its cost. Negative
   *  when more was written than read. */
  readonly cache_saved_micro_usd: number;
  readonly cache_saved_usd_estimated: number;
  readonly price_versions: readonly string[];
  readonly topics: readonly TopicSummary[];
  readonly reasons: Readonly<Record<string, number>>;
  readonly files: { readonly results: number; readonly errors: number; readonly bytes: number };
  readonly lake: string;
  readonly manifest: string;
}

export interface GatherRequest {
  readonly run: RunRecord;
  readonly archives: readonly ArchiveId[];
  readonly store: Store;
  /** From recorded state, such as the time of the last settlement, so that a replay writes the same (N2). */
  readonly completedAtMs: number;
}

/**
 * Gathers a run whose archives are all exported.
 * @throws PlimsollError `rows_unaccounted` when rows are missing (N1), `lake_missing` when an archive is not committed
 */
export async function gatherRun({ run, archives, store, completedAtMs }: GatherRequest): Promise<RunReport> {
  const manifests: ArchiveManifest[] = [];
  for (const archive of [...archives].sort()) manifests.push(await readArchiveManifest(store, run.dt, run.run, archive));
  const rejects = await rejectsEntry(run, store);
  const counts = sumCounts(manifests.map((manifest) => manifest.counts));
  assertAccounted(run, counts, rejects?.meta.record_count ?? 0);
  const entries = sortEntries([...manifests.flatMap((manifest) => manifest.entries), ...(rejects ? [rejects] : [])]);
  const report = reportOf(run, manifests, counts, entries, store, completedAtMs);
  const costs = mergeCostLines(manifests.flatMap((manifest) => manifest.costs));
  await putDocument(store, runManifestKey(run.dt, run.run), runManifest(report, manifests, entries));
  await putDocument(store, runReportKey(run.dt, run.run), report);
  await putText(store, runCostKey(run.dt, run.run), costCsv(run.run, run.dt, costs));
  await putDocument(store, runSuccessKey(run.dt, run.run), successSummary(report));
  return report;
}

/** The rejects file as the producer left it; undefined when no line was rejected. */
async function rejectsEntry(run: RunRecord, store: Store): Promise<ManifestEntry | undefined> {
  const key = rejectsKey(run.dt, run.run);
  if (!(await store.head(key))) return undefined;
  const found = await digestsOf(store.read(key));
  if (!found) return undefined;
  const meta = { content_length: found.sizeBytes, record_count: found.lines };
  return { url: urlOf(store, key), mandatory: true, meta, sha256: found.sha256, topic: 'rejected', kind: 'errors' };
}

function assertAccounted(run: RunRecord, counts: ManifestCounts, rejects: number): void {
  const ended = counts.succeeded + counts.dead_lettered + counts.not_sampled;
  if (ended === run.accepted && rejects === run.rejected) return;
  throw new PlimsollError('rows_unaccounted', {
    message:
      `the run accepted ${run.accepted} prompts and rejected ${run.rejected} lines, but its archives account for ` +
      `${counts.succeeded} results, ${counts.dead_lettered} dead letters and ${counts.not_sampled} left out, and its rejects file for ${rejects} lines`,
    where: `run ${run.run}`,
    hint: 'No _SUCCESS was written. Compare the archives of the run in the ledger with the manifests in the lake.',
  });
}

function reportOf(
  run: RunRecord,
  manifests: readonly ArchiveManifest[],
  counts: ManifestCounts,
  entries: readonly ManifestEntry[],
  store: Store,
  completedAtMs: number,
): RunReport {
  const sum = (of: (manifest: ArchiveManifest) => number): number => manifests.reduce((total, manifest) => total + of(manifest), 0);
  const microUsd = sum((manifest) => manifest.micro_usd);
  const standardMicroUsd = sum((manifest) => manifest.standard_micro_usd);
  const cacheSavedMicroUsd = sum((manifest) => manifest.cache_saved_micro_usd);
  const batchIds = manifests.flatMap((manifest) => (manifest.batch_id === null ? [] : [manifest.batch_id]));
  const { succeeded, dead_lettered, retried, not_sampled, replanned, truncated, refused } = counts;
  return {
    schema_version: schemaVersion,
    run_key: run.run,
    ...(run.retryOf === undefined ? {} : { retry_of: run.retryOf }),
    ...(isRehearsal(run) ? { is_rehearsal: true as const } : {}),
    status: succeeded === run.accepted && run.rejected === 0 ? 'succeeded' : 'partial',
    dt: run.dt,
    source: run.source,
    input_sha256: run.checkpoint.sha256,
    settings_sha256: run.cutSha256,
    opened_at: isoTime(run.openedAtMs),
    completed_at: isoTime(completedAtMs),
    counts: { accepted: run.accepted, rejected: run.rejected, succeeded, dead_lettered, retried, not_sampled, replanned, truncated, refused },
    batches: batchIds.length,
    batch_ids: batchIds,
    usage: sumUsage(manifests.map((manifest) => manifest.usage)),
    micro_usd: microUsd,
    standard_micro_usd: standardMicroUsd,
    cost_usd_estimated: microUsdToUsd(microUsd),
    standard_cost_usd_estimated: microUsdToUsd(standardMicroUsd),
    saved_usd_estimated: microUsdToUsd(standardMicroUsd - microUsd),
    cache_saved_micro_usd: cacheSavedMicroUsd,
    cache_saved_usd_estimated: microUsdToUsd(cacheSavedMicroUsd),
    price_versions: [...new Set(manifests.map((manifest) => manifest.price_version))].sort(),
    topics: sumTopics(manifests.flatMap((manifest) => manifest.topics)),
    reasons: sumReasons(manifests),
    files: {
      results: entries.filter((entry) => entry.kind === 'results').length,
      errors: entries.filter((entry) => entry.kind === 'errors').length,
      bytes: entries.reduce((total, entry) => total + entry.meta.content_length, 0),
    },
    lake: store.uri,
    manifest: urlOf(store, runManifestKey(run.dt, run.run)),
  };
}

async function putText(store: Store, key: string, text: string): Promise<void> {
  const bytes = Buffer.from(text, 'utf8');
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  await store.put(key, { blocks: [bytes], sizeBytes: bytes.length, sha256 });
}

function runManifest(report: RunReport, manifests: readonly ArchiveManifest[], entries: readonly ManifestEntry[]): object {
  return {
    entries,
    schema_version: schemaVersion,
    run_key: report.run_key,
    dt: report.dt,
    status: report.status,
    counts: report.counts,
    usage: report.usage,
    cost_usd_estimated: report.cost_usd_estimated,
    archives: manifests.map(({ archive, batch_id, counts }) => ({ archive, batch_id, counts })),
  };
}

function successSummary(report: RunReport): object {
  const { accepted, rejected, succeeded, dead_lettered, not_sampled } = report.counts;
  return {
    run_key: report.run_key,
    status: report.status,
    files: report.files.results + report.files.errors,
    rows: accepted + rejected,
    succeeded,
    dead_lettered,
    not_sampled,
    rejected,
    cost_usd_estimated: report.cost_usd_estimated,
    manifest: report.manifest,
  };
}

function sumUsage(usages: readonly UsageDocument[]): UsageDocument {
  const sum = { input_tokens: 0, output_tokens: 0, cache_read_input_tokens: 0, cache_write_input_tokens: 0 };
  for (const usage of usages) {
    sum.input_tokens += usage.input_tokens;
    sum.output_tokens += usage.output_tokens;
    sum.cache_read_input_tokens += usage.cache_read_input_tokens;
    sum.cache_write_input_tokens += usage.cache_write_input_tokens;
  }
  return sum;
}

function sumTopics(summaries: readonly TopicSummary[]): readonly TopicSummary[] {
  const names = [...new Set(summaries.map((summary) => summary.topic))].sort();
  return names.map((topic) => {
    const own = summaries.filter((summary) => summary.topic === topic);
    const { rows: _rows, ...counts } = sumCounts(own);
    const microUsd = own.reduce((sum, summary) => sum + summary.micro_usd, 0);
    const standardMicroUsd = own.reduce((sum, summary) => sum + summary.standard_micro_usd, 0);
    const usage = sumUsage(own.map((summary) => summary.usage));
    const cacheSavedMicroUsd = own.reduce((sum, summary) => sum + summary.cache_saved_micro_usd, 0);
    return { topic, ...counts, usage, micro_usd: microUsd, standard_micro_usd: standardMicroUsd, cache_saved_micro_usd: cacheSavedMicroUsd };
  });
}

function sumReasons(manifests: readonly ArchiveManifest[]): Readonly<Record<string, number>> {
  const sums = new Map<string, number>();
  for (const manifest of manifests) {
    for (const [reason, count] of Object.entries(manifest.reasons)) sums.set(reason, (sums.get(reason) ?? 0) + count);
  }
  return Object.fromEntries([...sums].sort(([a], [b]) => (a < b ? -1 : 1)));
}
