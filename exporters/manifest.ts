/**
 * The manifest of one archive: the commit point of its files. What it does not list is not there. The shape is the one
 * that Redshift's COPY reads, with counts beside it (conventions.md 1 b).
 *
 * Invariants
 *   M1  A manifest is a function of the outcome document and the results: no clock, and keys in a fixed order.
 *   M2  Tokens and money are the ledger's, summed over the chunks' outcomes; the lines in `costs` add up to them.
 */
import { z } from 'zod';
import { PlimsollError } from '../segments/errors.ts';
import { archiveManifestKey } from '../segments/lake.ts';
import type { ArchiveOutcome } from '../segments/outcome.ts';
import { microUsdToUsd } from '../segments/price.ts';
import { addUsage, noUsage, type ArchiveId, type BatchId, type RunKey } from '../segments/segment.ts';
import type { Store } from '../segments/store/store.ts';
import { mergeCostLines, type CostLine } from './cost.ts';
import { isoTime, usageDocument, type UsageDocument } from './encode.ts';

export const schemaVersion = 1;

/** One file. COPY reads `url` and `mandatory`. */
export interface ManifestEntry {
  readonly url: string;
  readonly mandatory: true;
  readonly meta: { readonly content_length: number; readonly record_count: number };
  readonly sha256: string;
  readonly topic: string;
  readonly kind: 'results' | 'errors';
}

/** What one topic contributed. `truncated` and `refused` rows succeeded on the wire but hold no full answer. */
export interface TopicSummary {
  readonly topic: string;
  readonly succeeded: number;
  readonly retried: number;
  readonly dead_lettered: number;
  /** Rows that a replan left out of a sample; their lines stand in the errors. */
  readonly not_sampled: number;
  /** Rows that a replan carries on; another archive of the run says what became of them. */
  readonly replanned: number;
  readonly truncated: number;
  readonly refused: number;
  readonly usage: UsageDocument;
  readonly micro_usd: number;
  readonly standard_micro_usd: number;
  /** What the prompt cache saved at batch rates; negative when more was written than read. */
  readonly cache_saved_micro_usd: number;
}

/** Sums over topics. */
export interface ManifestCounts {
  readonly rows: number;
  readonly succeeded: number;
  /** Rows that went round again; another archive of the run says what became of them. */
  readonly retried: number;
  readonly dead_lettered: number;
  readonly not_sampled: number;
  readonly replanned: number;
  readonly truncated: number;
  readonly refused: number;
}

export interface ArchiveManifest {
  readonly entries: readonly ManifestEntry[];
  readonly schema_version: 1;
  readonly run_key: RunKey;
  readonly archive: ArchiveId;
  readonly batch_id: BatchId | null;
  readonly dt: string;
  readonly counts: ManifestCounts;
  readonly usage: UsageDocument;
  readonly micro_usd: number;
  readonly standard_micro_usd: number;
  readonly cache_saved_micro_usd: number;
  readonly cost_usd_estimated: number;
  readonly standard_cost_usd_estimated: number;
  readonly price_version: string;
  readonly topics: readonly TopicSummary[];
  /** Dead letters by reason. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly costs: readonly CostLine[];
  readonly accepted_at: string | null;
  readonly submitted_at: string | null;
  readonly ended_at: string | null;
}

/** What the export of one topic produced. */
export interface ExportedTopic {
  readonly entries: readonly ManifestEntry[];
  readonly summary: TopicSummary;
  readonly costs: readonly CostLine[];
}

/** Puts the manifest of an archive together (M1, M2). */
export function archiveManifest(outcome: ArchiveOutcome, topics: readonly ExportedTopic[]): ArchiveManifest {
  const microUsd = outcome.chunks.reduce((sum, chunk) => sum + chunk.microUsd, 0);
  const standardMicroUsd = outcome.chunks.reduce((sum, chunk) => sum + chunk.standardMicroUsd, 0);
  const usage = outcome.chunks.reduce((sum, chunk) => addUsage(sum, chunk.usage), noUsage);
  const entries = topics.flatMap((topic) => topic.entries);
  return {
    entries: sortEntries(entries),
    schema_version: schemaVersion,
    run_key: outcome.run,
    archive: outcome.archive,
    batch_id: outcome.batch,
    dt: outcome.dt,
    counts: sumCounts(topics.map((topic) => topic.summary)),
    usage: usageDocument(usage),
    micro_usd: microUsd,
    standard_micro_usd: standardMicroUsd,
    cache_saved_micro_usd: topics.reduce((sum, { summary }) => sum + summary.cache_saved_micro_usd, 0),
    cost_usd_estimated: microUsdToUsd(microUsd),
    standard_cost_usd_estimated: microUsdToUsd(standardMicroUsd),
    price_version: outcome.priceVersion,
    topics: topics.map((topic) => topic.summary),
    reasons: countReasons(outcome.dead.map((row) => row.reason)),
    costs: mergeCostLines(topics.flatMap((topic) => topic.costs)),
    accepted_at: isoTime(outcome.acceptedAtMs),
    submitted_at: isoTime(outcome.submittedAtMs),
    ended_at: isoTime(outcome.endedAtMs),
  };
}

/** Results before errors, each in the order of their addresses. */
export function sortEntries(entries: readonly ManifestEntry[]): readonly ManifestEntry[] {
  const rank = (entry: ManifestEntry): string => `${entry.kind === 'results' ? 0 : 1}${entry.url}`;
  return [...entries].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

/** Adds up the summaries of topics. */
export function sumCounts(topics: readonly Omit<ManifestCounts, 'rows'>[]): ManifestCounts {
  const sum = { rows: 0, succeeded: 0, retried: 0, dead_lettered: 0, not_sampled: 0, replanned: 0, truncated: 0, refused: 0 };
  for (const topic of topics) {
    sum.rows += topic.succeeded + topic.retried + topic.dead_lettered + topic.not_sampled + topic.replanned;
    sum.succeeded += topic.succeeded;
    sum.retried += topic.retried;
    sum.dead_lettered += topic.dead_lettered;
    sum.not_sampled += topic.not_sampled;
    sum.replanned += topic.replanned;
    sum.truncated += topic.truncated;
    sum.refused += topic.refused;
  }
  return sum;
}

function countReasons(reasons: readonly string[]): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  for (const reason of [...reasons].sort()) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return Object.fromEntries(counts);
}

/** What the report of a run adds up. */
const shape = z.looseObject({ entries: z.array(z.looseObject({ url: z.string(), sha256: z.string() })), topics: z.array(z.looseObject({ topic: z.string() })), counts: z.looseObject({}) });

/** Reads the manifest of an exported archive. @throws PlimsollError `lake_missing` when it was not committed, `ledger_corrupt` */
export async function readArchiveManifest(store: Store, dt: string, run: RunKey, archive: ArchiveId): Promise<ArchiveManifest> {
  const key = archiveManifestKey(dt, run, archive);
  const bytes = await store.readWhole(key);
  let manifest: ArchiveManifest;
  try {
    manifest = shape.parse(JSON.parse(bytes.toString('utf8'))) as unknown as ArchiveManifest;
  } catch (cause) {
    throw new PlimsollError('ledger_corrupt', {
      message: 'the manifest of an exported archive is not one',
      where: key,
      hint: 'Somebody changed or damaged it; restore it from a copy of the lake. The manifest of its run was not written.',
      cause,
    });
  }
  // Manifests of before replans were counted name no such rows: they have none. Nor do those of before prompts were marked
  // for the cache name what that saved.
  const none = { not_sampled: 0, replanned: 0 };
  const unsaved = { cache_saved_micro_usd: 0 };
  return { ...unsaved, ...manifest, counts: { ...none, ...manifest.counts }, topics: manifest.topics.map((topic) => ({ ...none, ...unsaved, ...topic })) };
}
