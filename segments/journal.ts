/**
 * The documents of the journal that a rebuild of the ledger reads: what each of them says, and how it is decoded. They
 * are written by different rooms (producers, sealer, submitter, settler, the operator's door), once and create-only.
 *
 * Invariant J1: a document that does not say what its key promises stops the reader; it is never taken for absent,
 * because an absent intent means "never sent".
 */
import { z } from 'zod';
import { PlimsollError } from './errors.ts';
import { priorities, type ArchiveId, type BatchId, type ChunkId, type IntentId, type Priority, type RunKey, type SegmentName } from './segment.ts';
import { quotaRates, type Deferral } from './quota.ts';
import type { ReplanDocument } from './replan-document.ts';
import { sides, type Side } from './side.ts';
import type { SpoolRange } from './store/spool.ts';

/** One chunk of a sealed archive; `firstIndex` is the archive index of its first row. */
export interface SealedChunkRange extends SpoolRange {
  readonly chunk: ChunkId;
  readonly segment: SegmentName;
  readonly client: string;
  readonly attempt: number;
  readonly firstIndex: number;
  readonly tokensMax: number;
  readonly microUsdMax: number;
  /** The accounts that its reservation stands in, `<target>@<window>`; absent in documents of before they were noted. */
  readonly accounts?: readonly string[];
  /** Those of them that hold an estimate instead of the bounds, and how much; absent where none does. */
  readonly estimated?: { readonly accounts: readonly string[]; readonly tokens: number; readonly microUsd: number };
}

/** `journal/archives/<run>/<archive>.json`: enough to make a body again without Redis. */
export interface SealedArchive {
  readonly v: 1;
  readonly archive: ArchiveId;
  readonly run: RunKey;
  readonly dt: string;
  readonly priority: Priority;
  readonly rows: number;
  readonly bodyBytes: number;
  readonly bodySha256: string;
  readonly chunks: readonly SealedChunkRange[];
}

/** `journal/runs/<run>/open.json`. */
export interface OpeningDocument {
  readonly run: RunKey;
  readonly tag: string;
  readonly dt: string;
  readonly openedAtMs: number;
  readonly source: string;
  readonly cutSha256: string;
  /** The run whose dead letters this one sends once more. */
  readonly retryOf?: string | undefined;
  /** Who answers it; absent: its first intent says so, or it is from before runs had a side. */
  readonly side?: Side | undefined;
}

/** `journal/runs/<run>/ingested.json`. */
export interface IngestionDocument {
  readonly accepted: number;
  readonly rejected: number;
  readonly input: { readonly bytes: number; readonly rows: number; readonly sha256: string };
}

/** `journal/intents/<account>/<intent>.json`. */
export interface IntentDocument {
  readonly intent: IntentId;
  readonly archive: ArchiveId;
  readonly run: RunKey;
  readonly account: string;
  readonly owner: string;
  readonly rows: number;
  readonly bodyBytes: number;
  /** The provider's clock just before the upload, ms. */
  readonly providerDateMs: number;
  readonly preparedAtMs: number;
  /** Who answers at its account; absent in documents of before that was noted. */
  readonly side?: Side | undefined;
}

/** `journal/accepted/<account>/<intent>.json`. */
export interface AcceptedDocument {
  readonly intent: IntentId;
  readonly archive: ArchiveId;
  readonly run: RunKey;
  readonly account: string;
  readonly batch: BatchId;
}

/** `journal/archives/<run>/<intent>.rejected.json` and `.halved.json`: what the provider's refusal led to. */
export interface RefusalDocument {
  readonly intent: IntentId;
  readonly archive: ArchiveId;
  readonly reason: string;
}

/** `journal/archives/<run>/<intent>.forgone.json`: an archive in doubt was given up; by whom, when and why. */
export interface ForgoingDocument {
  readonly intent: IntentId;
  readonly archive: ArchiveId;
  readonly run: RunKey;
  readonly by: string;
  readonly reason: string;
  readonly decidedAtMs: number;
}

/** `journal/budgets/<target>/<n>.json`. */
export interface BudgetDocument {
  readonly target: string;
  readonly tokens?: number | undefined;
  readonly microUsd?: number | undefined;
  readonly runtimeMs?: number | undefined;
  readonly onLate?: 'wait' | 'cancel' | undefined;
  readonly window: string;
  readonly timeZone?: string | undefined;
  readonly mode?: 'strict' | 'estimate' | undefined;
  readonly setAtMs: number;
}

/** `journal/holds/<scope>/<n>.json`. */
export interface HoldDocument {
  /** `segment:NAME`, `run:KEY`, or `doubt:INTENT` for a doubt that is left to a person. */
  readonly scope: string;
  readonly isHeld: boolean;
  /** When the operator said so. */
  readonly setAtMs: number;
}

/** `journal/tiers/<client>/<n>.json`: one word of an operator, and what held before it. */
export interface TierDocument {
  readonly client: string;
  /** null: out of every tier. */
  readonly tier: string | null;
  readonly from: string | null;
  readonly by: string;
  readonly reason: string;
  readonly ordinal: number;
  readonly setAtMs: number;
}

/** `journal/runs/<run>/deferrals/<client>.json`. */
export interface DeferralDocument extends Deferral {
  readonly run: RunKey;
}

/** What is read of `runs/dt=…/<run>/run.json`. */
export interface CompletionDocument {
  readonly status: 'succeeded' | 'partial';
  /** ISO 8601. */
  readonly completed_at: string | null;
}

const text = z.string().min(1);
const count = z.int().min(0);
const side = z.enum(sides);
const range = z.looseObject({
  chunk: text, segment: text, client: z.string(), attempt: count, spoolKey: text, spoolRows: count, spoolParamsBytes: count, spoolIndexBytes: count,
  from: count, to: count, firstIndex: count, tokensMax: count, microUsdMax: count, accounts: z.array(z.string()).optional(),
  estimated: z.looseObject({ accounts: z.array(z.string()), tokens: count, microUsd: count }).optional(),
});

const indexRanges = z.array(z.tuple([count, count]));
const replanned = z.looseObject({
  chunk: text, run: text, client: z.string(), attempt: count, spoolKey: text, spoolRows: count, spoolParamsBytes: count, spoolIndexBytes: count, from: count, to: count,
  kept: indexRanges, successor: z.looseObject({ spoolKey: text, footer: z.looseObject({ v: z.literal(1), chunk: text, run: text, segment: text, rows: count }) }).optional(),
});

const schemas = {
  sealed: z.looseObject({ v: z.literal(1), archive: text, run: text, dt: text, priority: z.enum(priorities), rows: count, bodyBytes: count, bodySha256: text, chunks: z.array(range) }),
  opening: z.looseObject({ run: text, tag: text, dt: text, openedAtMs: count, source: z.string(), cutSha256: z.string(), retryOf: z.string().optional(), side: side.optional() }),
  ingestion: z.looseObject({ accepted: count, rejected: count, input: z.looseObject({ bytes: count, rows: count, sha256: z.string() }) }),
  intent: z.looseObject({ intent: text, archive: text, run: text, account: text, owner: z.string(), rows: count, bodyBytes: count, providerDateMs: count, preparedAtMs: count, side: side.optional() }),
  accepted: z.looseObject({ intent: text, archive: text, run: text, account: text, batch: text }),
  refusal: z.looseObject({ intent: text, archive: text, reason: z.string() }),
  forgoing: z.looseObject({ v: z.literal(1), intent: text, archive: text, run: text, by: text, reason: text, decidedAtMs: count }),
  budget: z.looseObject({
    target: text, tokens: count.optional(), microUsd: count.optional(), runtimeMs: count.optional(), onLate: z.enum(['wait', 'cancel']).optional(), mode: z.enum(['strict', 'estimate']).optional(), window: text, timeZone: text.optional(), setAtMs: count,
  }),
  hold: z.looseObject({ scope: z.string().regex(/^(segment|run|doubt):/), isHeld: z.boolean(), setAtMs: count }),
  replan: z.looseObject({ v: z.literal(1), replan: text, segment: text, run: z.optional(text), by: text, reason: text, decidedAtMs: count, option: z.looseObject({}), priceVersion: text, chunks: z.array(replanned) }),
  tier: z.looseObject({ v: z.literal(1), client: text, tier: text.nullable(), from: text.nullable(), by: text, reason: text, ordinal: z.int().min(1), setAtMs: count }),
  deferral: z.looseObject({
    v: z.literal(1), run: text, client: text, tier: text, over: z.enum(['fallback', 'refuse']), fromRow: z.int().min(1), limit: z.enum(quotaRates),
    allowed: count, measured: count, intervalMs: count.nullable(), decidedAtMs: count,
  }),
  completion: z.looseObject({ status: z.enum(['succeeded', 'partial']), completed_at: z.string().nullable() }),
} as const;

/** The kinds of documents and what each of them holds. */
export interface JournalDocuments {
  readonly sealed: SealedArchive;
  readonly opening: OpeningDocument;
  readonly ingestion: IngestionDocument;
  readonly intent: IntentDocument;
  readonly accepted: AcceptedDocument;
  readonly refusal: RefusalDocument;
  readonly forgoing: ForgoingDocument;
  readonly budget: BudgetDocument;
  readonly hold: HoldDocument;
  readonly replan: ReplanDocument;
  readonly tier: TierDocument;
  readonly deferral: DeferralDocument;
  readonly completion: CompletionDocument;
}

/** Decodes a document of the journal (J1). @throws PlimsollError `ledger_corrupt` */
export function decodeJournal<Kind extends keyof JournalDocuments>(kind: Kind, key: string, value: unknown): JournalDocuments[Kind] {
  const decoded = schemas[kind].safeParse(value);
  if (decoded.success) return decoded.data as unknown as JournalDocuments[Kind];
  throw new PlimsollError('ledger_corrupt', {
    message: `a document of the journal is not the ${kind} that its key promises`,
    where: key,
    hint: 'Somebody changed or damaged it. Restore it from a copy of the lake; nothing is rebuilt from a lake that contradicts itself.',
    cause: decoded.error,
  });
}

/** Decodes the manifest of a sealed archive from its bytes. @throws PlimsollError `ledger_corrupt` */
export function decodeSealed(bytes: Uint8Array, key: string): SealedArchive {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch {
    // What is no JSON is no manifest either; the schema says so.
  }
  return decodeJournal('sealed', key, value);
}

/** How many intents an archive had when this one was made, from 1. */
export function ordinalOf(intent: IntentId): number {
  return Number(/-i(\d+)$/.exec(intent)?.[1] ?? 0);
}
