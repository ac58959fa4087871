/**
 * What a producer writes down in the lake about a run, so that the ledger can be rebuilt from it: that it was opened, as
 * whom and when, and later that its source was read to the end. Both are written once and never changed.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { PlimsollError } from '../segments/errors.ts';
import { dateOf, runIngestedKey, runOpenKey } from '../segments/lake.ts';
import { quotaRates, type Terms } from '../segments/quota.ts';
import { priorities, runTag } from '../segments/segment.ts';
import type { RunKey } from '../segments/segment.ts';
import { sides, type Side } from '../segments/side.ts';
import type { Store } from '../segments/store/store.ts';

const rate = z.int().optional();
const tierSchema = z.object({
  requestsPerMinute: rate, requestsPerDay: rate, tokensPerMinute: rate, tokensPerDay: rate, contextTokensMax: rate,
  priorities: z.array(z.enum(priorities)), metadata: z.array(z.string()), over: z.enum(['fallback', 'refuse']),
});
const termsSchema = z.object({ tiers: z.record(z.string(), tierSchema), clients: z.record(z.string(), z.string()), other: z.string().optional() });

const openSchema = z.object({
  v: z.literal(1),
  run: z.string(),
  tag: z.string().regex(/^[0-9a-f]{10}$/),
  dt: z.iso.date(),
  openedAtMs: z.int(),
  source: z.string(),
  cutSha256: z.string(),
  /** The run whose dead letters this one sends once more; absent for any other run. */
  retryOf: z.string().optional(),
  /** Who answers it; absent: its first intent decides. */
  side: z.enum(sides).optional(),
  /** How long a section of its source is, at least, bytes; absent: the source is one section. */
  sectionBytes: z.int().min(1).optional(),
  /** What tiers let the clients of the run hand in, whatever they let them later; absent: nobody had limits. */
  terms: termsSchema.optional(),
});

const ingestedSchema = z.object({
  v: z.literal(1),
  run: z.string(),
  accepted: z.int(),
  rejected: z.int(),
  input: z.object({ bytes: z.int(), rows: z.int(), sha256: z.string() }),
  /** The objects that its source was made of; absent for other sources. */
  trail: z.object({ objects: z.int(), sha256: z.string() }).optional(),
  /** Clients that were over their tiers; absent where none was. */
  deferred: z.array(z.object({
    client: z.string(), tier: z.string(), over: z.enum(['fallback', 'refuse']), fromRow: z.int(), limit: z.enum(quotaRates), allowed: z.int(), measured: z.int(), intervalMs: z.int().nullable(),
    decidedAtMs: z.int(), requests: z.int(), tokens: z.int(), requestsOver: z.int(), tokensOver: z.int(),
  })).optional(),
});

/** `journal/runs/<run>/open.json`. */
export type RunOpening = z.infer<typeof openSchema>;
/** `journal/runs/<run>/ingested.json`. */
export type RunIngestion = z.infer<typeof ingestedSchema>;

/** The opening of a run, or undefined when it was never opened. */
export async function readOpening(store: Store, run: RunKey): Promise<RunOpening | undefined> {
  return await readDocument(store, runOpenKey(run), openSchema);
}

/** The end of a run's ingest, or undefined when its source was never read to the end. */
export async function readIngestion(store: Store, run: RunKey): Promise<RunIngestion | undefined> {
  return await readDocument(store, runIngestedKey(run), ingestedSchema);
}

/**
 * Writes the opening of a run, or adopts the one that exists: tag and date stand in ids and keys, so a run that lost its
 * Redis must find the same ones again.
 */
export async function openJournal(
  store: Store,
  opening: { readonly run: RunKey; readonly installationId: string; readonly nowMs: number; readonly source: string; readonly cutSha256: string; readonly retryOf?: RunKey; readonly side?: Side | undefined; readonly sectionBytes?: number | undefined; readonly terms?: Terms | undefined },
): Promise<RunOpening> {
  const { run, installationId, nowMs, source, cutSha256, retryOf, side, sectionBytes, terms } = opening;
  const fresh: RunOpening = { v: 1, run, tag: runTag(installationId, run), dt: dateOf(nowMs), openedAtMs: nowMs, source, cutSha256, ...(retryOf === undefined ? {} : { retryOf }), ...(side === undefined ? {} : { side }), ...(sectionBytes === undefined ? {} : { sectionBytes }), ...(terms && { terms: journaledTerms(terms) }) };
  try {
    await putDocument(store, runOpenKey(run), fresh);
    return fresh;
  } catch (error) {
    if (!(error instanceof PlimsollError) || error.code !== 'lake_conflict') throw error;
    const existing = await readOpening(store, run);
    if (!existing) throw error;
    return existing;
  }
}

/** Writes the end of a run's ingest. @throws PlimsollError `lake_conflict` when it ended otherwise before */
export async function closeJournal(store: Store, run: RunKey, ingestion: Omit<RunIngestion, 'v' | 'run'>): Promise<void> {
  await putDocument(store, runIngestedKey(run), { v: 1, run, ...ingestion });
}

/** Creates a document. @throws PlimsollError `lake_conflict` when another one is there */
export async function putDocument(store: Store, key: string, document: unknown): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(document)}\n`, 'utf8');
  await store.put(key, { blocks: [bytes], sizeBytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
}

/** Reads a document, or undefined when there is none. @throws PlimsollError `lake_conflict` when it is not what its key promises */
export async function readDocument<Document>(store: Store, key: string, schema: z.ZodType<Document>): Promise<Document | undefined> {
  if (!(await store.head(key))) return undefined;
  const decoded = schema.safeParse(parseJson((await store.readWhole(key)).toString('utf8')));
  if (decoded.success) return decoded.data;
  throw new PlimsollError('lake_conflict', {
    message: 'a journal record is not what its key promises',
    where: key,
    hint: 'Somebody else wrote or damaged it. Restore it from a copy of the lake, or use another run key.',
    cause: decoded.error,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Terms as the journal gives them back: what is not limited is not in them. */
export function journaledTerms(terms: Terms): z.infer<typeof termsSchema> {
  return termsSchema.parse(JSON.parse(JSON.stringify(terms)));
}
