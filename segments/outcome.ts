/**
 * Outcomes: what became of each prompt of an archive, and the closed lists of final statuses and reasons that consumers
 * see. A reason outside the list is a defect, so there is no `unknown`.
 */
import { z } from 'zod';
import { PlimsollError } from './errors.ts';
import type { CalibrationSample } from './calibration.ts';
import type { ModelPrice } from './price.ts';
import type { ModelSpend } from './spend.ts';
import type { ArchiveId, BatchId, ChunkId, RunKey, SegmentName, Usage } from './segment.ts';
import type { SpoolRange } from './store/spool.ts';

/** The final status of a prompt in an exported row. */
export const rowStatuses = ['succeeded', 'dead_lettered', 'rejected', 'not_sampled'] as const;
export type RowStatus = (typeof rowStatuses)[number];

/** Why a prompt has no answer (reliability.md 4.10). */
export const deadLetterReasons = [
  'invalid_request',
  'too_large',
  'account_fault',
  'attempts_exhausted',
  'expired',
  'deadline',
  'canceled',
  'canceled_externally',
  'result_missing',
  'result_conflict',
  'submission_in_doubt',
] as const;
export type DeadLetterReason = (typeof deadLetterReasons)[number];

/** Why a row was left out on purpose: the one reason of the status `not_sampled`. */
export const notSampledReason = 'replan';

/** What the provider said of one row. `retryable`: the same request may succeed later. */
export type RowVerdict =
  | { readonly kind: 'succeeded'; readonly usage: Usage; readonly model: string }
  | { readonly kind: 'retryable'; readonly cause: 'expired' | 'provider_fault' | 'account_fault'; readonly errorType: string | undefined }
  | { readonly kind: 'dead'; readonly reason: DeadLetterReason; readonly errorType: string | undefined };

/** What one chunk consumed; booked against the chunk's own reservation. */
export interface ChunkOutcome {
  readonly chunk: ChunkId;
  readonly succeeded: number;
  readonly retried: number;
  readonly deadLettered: number;
  readonly usage: Usage;
  /** What the tokens cost, and what they would have cost one by one; integer micro-USD. */
  readonly microUsd: number;
  readonly standardMicroUsd: number;
  /** Rows that were billed above their bound: always 0 unless the bound's one assumption is wrong. */
  readonly overBound: number;
  /** What its answered rows consumed of their bounds, by model; absent in documents of before it was noted. */
  readonly samples?: readonly CalibrationSample[];
  /** Rows that a replan left out of a sample, and rows that it carries on in other chunks; absent where there was none. */
  readonly notSampled?: number;
  readonly replanned?: number;
}

/** Archive indexes as inclusive ranges, ascending. */
export type IndexRanges = readonly (readonly [first: number, last: number])[];

/** One chunk's share of an archive: its outcome, and where its rows stand in the spool and in the archive. */
export interface ArchiveChunkOutcome extends ChunkOutcome, SpoolRange {
  readonly segment: SegmentName;
  readonly client: string;
  /** 1 for a first submission. */
  readonly attempt: number;
  /** Index in the archive of the chunk's first row; the others follow. */
  readonly firstIndex: number;
  /** The accounts in which it was booked; absent in documents of before they were noted. */
  readonly accounts?: readonly string[];
  /** What was reserved for it; absent like `accounts`. */
  readonly reserved?: { readonly tokens: number; readonly microUsd: number };
  /** Its rows and its spending by model and rate, in the order of those; they add up to the chunk's own. Absent like
   *  `accounts`. */
  readonly spends?: readonly ModelSpend[];
}

/** One row that ends without an answer. `index` is its place in the archive. */
export interface DeadRow {
  readonly index: number;
  readonly reason: DeadLetterReason;
  /** The provider's error type; null when it gave none. */
  readonly errorType: string | null;
}

/**
 * What became of every row of an archive, written once by the settling stage before anything is exported, so that an
 * export depends on recorded state alone. A row that is neither in `retried` nor in `dead` nor part of a replan succeeded.
 */
export interface ArchiveOutcome {
  readonly v: 1;
  readonly archive: ArchiveId;
  readonly run: RunKey;
  /** The run's start date (UTC), `YYYY-MM-DD`. */
  readonly dt: string;
  /** Fingerprint of the account; null: it was never submitted. */
  readonly account: string | null;
  /** Null: the provider never accepted it. */
  readonly batch: BatchId | null;
  readonly rows: number;
  /** The verified result lines in the lake; null with `batch`. */
  readonly resultsKey: string | null;
  readonly resultsBytes: number;
  /** Hex; empty without results. */
  readonly resultsSha256: string;
  /** When the run that holds the rows was opened; Unix ms, as the other times. */
  readonly acceptedAtMs: number;
  readonly submittedAtMs: number | null;
  readonly endedAtMs: number | null;
  /** What the caller named as the source of the run. */
  readonly source: string;
  readonly priceVersion: string;
  /** How amounts were rounded. `part`: rows are exact, and the sum of each part of a chunk's spending is rounded up (M1 of
   *  `spend.ts`). Absent in documents of before: every row was rounded half up by itself, and is exported as it was. */
  readonly rounding?: 'part';
  /** The price at which each answered model was settled, by the model's name in the results. A later price table must
   *  not change a file that is exported again. */
  readonly prices: Readonly<Record<string, ModelPrice>>;
  /** In the order of their rows in the archive; together they cover all of them. */
  readonly chunks: readonly ArchiveChunkOutcome[];
  /** Rows that went round again: inclusive ranges of indexes, ascending. */
  readonly retried: IndexRanges;
  /** Those of `retried` that the provider refused for a fault of the account: they keep their attempt. Absent: none. */
  readonly rested?: IndexRanges;
  /** Ascending by index. */
  readonly dead: readonly DeadRow[];
  /** Of an archive whose chunks were replanned and that was therefore never sent; absent in every other. */
  readonly replan?: ReplanOutcome;
}

/** What a replan made of the rows of an archive: each of them is left out, or goes on in one of `chunks`. */
export interface ReplanOutcome {
  /** `<segment>.<digest>`: names the document of the journal. */
  readonly replan: string;
  readonly notSampled: IndexRanges;
  readonly replanned: IndexRanges;
  readonly chunks: readonly ChunkId[];
}

/** Ascending indexes as inclusive ranges. */
export function rangesOfIndexes(indexes: Iterable<number>): IndexRanges {
  const ranges: [number, number][] = [];
  for (const index of indexes) {
    const last = ranges.at(-1);
    if (last && last[1] === index - 1) last[1] = index;
    else ranges.push([index, index]);
  }
  return ranges;
}

/** How many indexes ranges hold. */
export function sizeOfRanges(ranges: IndexRanges): number {
  return ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
}

const amount = z.int().min(0);
const tokens = z.looseObject({ inputTokens: amount, outputTokens: amount, cacheReadInputTokens: amount, cacheWriteInputTokens: amount, cacheWrite1hInputTokens: amount });

/** What an export and a rebuild rely on; documents of other versions may hold more. */
const shape = z.looseObject({
  v: z.number(), archive: z.string(), run: z.string(), dt: z.string(), rows: amount, rounding: z.literal('part').optional(),
  chunks: z.array(z.looseObject({ chunk: z.string(), from: amount, to: amount, firstIndex: amount, succeeded: amount, retried: amount, deadLettered: amount, microUsd: amount, usage: tokens })),
  retried: z.array(z.tuple([amount, amount])),
  rested: z.array(z.tuple([amount, amount])).optional(),
  dead: z.array(z.looseObject({ index: amount, reason: z.enum(deadLetterReasons) })),
});

/**
 * Decodes an outcome document and checks what an export relies on.
 * @throws PlimsollError `ledger_corrupt` when it is no outcome, or its rows do not add up.
 */
export function decodeOutcome(bytes: Uint8Array): ArchiveOutcome {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch {
    // What is no JSON is no outcome either; the schema says so.
  }
  const decoded = shape.safeParse(value);
  const outcome = decoded.success ? (decoded.data as unknown as ArchiveOutcome) : undefined;
  const fault = outcome ? faultOf(outcome) : 'it does not have the shape of an outcome';
  if (outcome && fault === undefined) return outcome;
  throw new PlimsollError('ledger_corrupt', {
    message: `the outcome of an archive contradicts itself: ${fault}`,
    where: `outcome of ${outcome?.archive ?? 'an archive'}`,
    hint: 'Nothing was exported from it. Keep the object and report it; it was written by the settling stage.',
  });
}

function faultOf(outcome: ArchiveOutcome): string | undefined {
  if (outcome.v !== 1) return `version ${String(outcome.v)} is not known`;
  let next = 0;
  let succeeded = 0;
  let retried = 0;
  let deadLettered = 0;
  let notSampled = 0;
  let replanned = 0;
  for (const chunk of outcome.chunks) {
    if (chunk.firstIndex !== next) return `chunk ${chunk.chunk} begins at row ${chunk.firstIndex}, expected ${next}`;
    next += chunk.to - chunk.from + 1;
    succeeded += chunk.succeeded;
    retried += chunk.retried;
    deadLettered += chunk.deadLettered;
    notSampled += chunk.notSampled ?? 0;
    replanned += chunk.replanned ?? 0;
    const parts = chunk.spends?.reduce((sum, spend) => sum + spend.microUsd, 0) ?? chunk.microUsd;
    if (parts !== chunk.microUsd) return `chunk ${chunk.chunk} booked ${chunk.microUsd} micro-USD, its parts add up to ${parts}`;
  }
  if (next !== outcome.rows) return `its chunks hold ${next} rows, expected ${outcome.rows}`;
  const retriedRows = sizeOfRanges(outcome.retried);
  if (retriedRows !== retried) return `${retriedRows} rows are listed as retried, its chunks say ${retried}`;
  const restedRows = sizeOfRanges(outcome.rested ?? []);
  if (restedRows > retriedRows) return `${restedRows} rows went round for a fault of the account, ${retriedRows} in all`;
  const leftOut = sizeOfRanges(outcome.replan?.notSampled ?? []);
  if (leftOut !== notSampled) return `${leftOut} rows are listed as left out, its chunks say ${notSampled}`;
  const carriedOn = sizeOfRanges(outcome.replan?.replanned ?? []);
  if (carriedOn !== replanned) return `${carriedOn} rows are listed as replanned, its chunks say ${replanned}`;
  if (outcome.dead.length !== deadLettered) return `${outcome.dead.length} dead letters are listed, its chunks say ${deadLettered}`;
  const outcomes = succeeded + retried + deadLettered + notSampled + replanned;
  if (outcomes !== outcome.rows) return `${outcomes} outcomes for ${outcome.rows} rows`;
  return undefined;
}
