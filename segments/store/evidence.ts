/**
 * Reads what the lake says of runs, for a rebuild: small documents, the last line of each spool object, and an index only
 * where two objects overlap. Nothing is written.
 *
 * Invariant W1: whatever is listed and cannot be read stops the reading; a hole is never taken for an empty place.
 */
import type { ChunkFooter } from '../chunk.ts';
import type { DerivedChunk, RunEvidence } from '../derive.ts';
import { overlappingKeys, type SpooledObject } from '../derive-rows.ts';
import { PlimsollError } from '../errors.ts';
import { decodeJournal, type AcceptedDocument, type BudgetDocument, type IntentDocument, type JournalDocuments, type TierDocument } from '../journal.ts';
import { budgetPrefix, deferralPrefix, holdPrefix, runCanceledKey, runIngestedKey, runOpenKey, runReportKey, runSuccessKey, tierPrefix } from '../lake.ts';
import { decodeOutcome, type ArchiveOutcome } from '../outcome.ts';
import type { HoldTarget } from '../ledger/ledger.ts';
import type { Deferral } from '../quota.ts';
import type { ArchiveId, IntentId, RunKey, SegmentName } from '../segment.ts';
import type { ReplanDocument } from '../replan-document.ts';
import { readDocument } from './document.ts';
import { readReplans } from './replans.ts';
import { readSpoolRows } from './spool.ts';
import type { Store, StoredObject } from './store.ts';

/** Reads under way at once: enough to hide the latency of an object store, few enough to hold little. */
const readsAtOnce = 16;
/** A footer is one line of a few hundred bytes; names make it longer. */
const tailBytes = 4_096;

/** The documents of all runs whose keys do not name runs: intents and acceptances name accounts, replans name segments. */
export interface IntentEvidence {
  readonly intents: ReadonlyMap<RunKey, readonly IntentDocument[]>;
  readonly accepted: ReadonlyMap<RunKey, readonly AcceptedDocument[]>;
  /** A replan is of a segment, so it may hold chunks of several runs; here each run has its own. */
  readonly replans: ReadonlyMap<RunKey, readonly ReplanDocument[]>;
}

/** Reads all intents, acceptances and replans. */
export async function readIntentEvidence(store: Store): Promise<IntentEvidence> {
  return { intents: byRun(await readAll(store, 'journal/intents/', 'intent')), accepted: byRun(await readAll(store, 'journal/accepted/', 'accepted')), replans: replansByRun(await readReplans(store)) };
}

function replansByRun(replans: readonly ReplanDocument[]): ReadonlyMap<RunKey, readonly ReplanDocument[]> {
  return byRun(replans.flatMap((replan) => [...new Set(replan.chunks.map(({ run }) => run))].map((run) => ({ ...replan, run, chunks: replan.chunks.filter((chunk) => chunk.run === run) }))));
}

/** Reads everything that the lake says of a run. @throws PlimsollError `ledger_corrupt`, `lake_missing` */
export async function readRunEvidence(store: Store, run: RunKey, shared: IntentEvidence): Promise<RunEvidence> {
  const opening = decodeJournal('opening', runOpenKey(run), await readDocument(store, runOpenKey(run)));
  const ingested = await readDocument(store, runIngestedKey(run));
  const isComplete = (await store.head(runSuccessKey(opening.dt, run))) !== undefined;
  const report = await readDocument(store, runReportKey(opening.dt, run));
  const archives = await readArchiveDocuments(store, run);
  return {
    opening,
    ingestion: ingested === undefined ? undefined : decodeJournal('ingestion', runIngestedKey(run), ingested),
    isCanceled: (await store.head(runCanceledKey(run))) !== undefined,
    spool: isComplete ? [] : await readSpool(store, run),
    ...archives,
    intents: shared.intents.get(run) ?? [],
    accepted: shared.accepted.get(run) ?? [],
    replans: shared.replans.get(run) ?? [],
    outcomes: await readOutcomes(store, run),
    exported: await readExported(store, opening.dt, run),
    completion: report === undefined ? undefined : decodeJournal('completion', runReportKey(opening.dt, run), report),
    isComplete,
  };
}

/** Reads the sums of chunks that cover only a part of their spool object. */
export async function fillSums(store: Store, chunks: readonly DerivedChunk[]): Promise<readonly DerivedChunk[]> {
  return await eachOf(chunks, async (chunk) => {
    if (!chunk.needsSums) return chunk;
    const { rows } = await readSpoolRows(store, chunk);
    const sum = (of: (row: (typeof rows)[number]) => number): number => rows.reduce((total, row) => total + of(row), 0);
    const own = { paramsBytes: sum((row) => row.bytes), tokensExpected: sum((row) => row.expect) };
    // What an archive has reserved for its chunk stands in its manifest; the index says the same.
    const bounds = chunk.archive === '' ? { tokensMax: sum((row) => row.in + row.out), microUsdMax: sum((row) => row.usd) } : {};
    return { ...chunk, ...own, ...bounds, needsSums: false };
  });
}

/** The newest limit of every target that an operator has set. */
export async function readBudgets(store: Store): Promise<readonly BudgetDocument[]> {
  return await readNewest(store, budgetPrefix, 'budget');
}

/** The newest word of operators on every client's tier. */
export async function readTiers(store: Store): Promise<readonly TierDocument[]> {
  return await readNewest(store, tierPrefix, 'tier');
}

/** What was decided about the clients of a run. @throws PlimsollError `ledger_corrupt` */
export async function readDeferrals(store: Store, run: RunKey): Promise<readonly Deferral[]> {
  return await eachOf(await listed(store, deferralPrefix(run)), async ({ key }): Promise<Deferral> => {
    const { client, tier, over, fromRow, limit, allowed, measured, intervalMs, decidedAtMs } = decodeJournal('deferral', key, await readDocument(store, key));
    return { client, tier, over, fromRow, limit, allowed, measured, intervalMs, decidedAtMs };
  });
}

/** What an operator holds, and when that was said (Unix ms). */
export interface HeldTarget {
  readonly target: HoldTarget;
  readonly setAtMs: number;
}

/** What operators hold at last: runs and segments, and the intents of doubts that are left to a person. */
export async function readHolds(store: Store): Promise<{ readonly targets: readonly HeldTarget[]; readonly doubts: readonly IntentId[] }> {
  const targets: HeldTarget[] = [];
  const doubts: IntentId[] = [];
  for (const { scope, isHeld, setAtMs } of await readNewest(store, holdPrefix, 'hold')) {
    if (!isHeld) continue;
    const name = scope.slice(scope.indexOf(':') + 1);
    if (scope.startsWith('doubt:')) doubts.push(name as IntentId);
    else targets.push({ target: scope.startsWith('run:') ? { kind: 'run', run: name as RunKey } : { kind: 'segment', segment: name as SegmentName }, setAtMs });
  }
  return { targets, doubts };
}

/** The newest document of each folder under a prefix: keys of one folder are listed in the order of their ordinals. */
async function readNewest<Kind extends keyof JournalDocuments>(store: Store, prefix: string, kind: Kind): Promise<readonly JournalDocuments[Kind][]> {
  const newest = new Map<string, string>();
  for (const { key } of await listed(store, prefix)) newest.set(key.slice(0, key.lastIndexOf('/')), key);
  return await eachOf([...newest.values()], async (key) => decodeJournal(kind, key, await readDocument(store, key)));
}

async function readArchiveDocuments(store: Store, run: RunKey): Promise<Pick<RunEvidence, 'sealed' | 'halved' | 'rejected' | 'forgone'>> {
  const keys = (await listed(store, `journal/archives/${run}/`)).map(({ key }) => key);
  const read = async <Kind extends keyof JournalDocuments>(kind: Kind, some: readonly string[]): Promise<readonly JournalDocuments[Kind][]> =>
    await eachOf(some, async (key) => decodeJournal(kind, key, await readDocument(store, key)));
  const halved = keys.filter((key) => key.endsWith('.halved.json'));
  const rejected = keys.filter((key) => key.endsWith('.rejected.json'));
  const sealed = keys.filter((key) => /\/[0-9a-f]{10}-\d{6}\.json$/.test(key));
  const forgone = keys.filter((key) => key.endsWith('.forgone.json'));
  return { sealed: await read('sealed', sealed), halved: await read('refusal', halved), rejected: await read('refusal', rejected), forgone: await read('forgoing', forgone) };
}

async function readOutcomes(store: Store, run: RunKey): Promise<readonly ArchiveOutcome[]> {
  return await eachOf(await listed(store, `journal/outcomes/${run}/`), async ({ key }) => decodeOutcome(await store.readWhole(key)));
}

async function readExported(store: Store, dt: string, run: RunKey): Promise<ReadonlySet<ArchiveId>> {
  const keys = await listed(store, `runs/dt=${dt}/${run}/archives/`);
  return new Set(keys.map(({ key }) => key.slice(key.lastIndexOf('/') + 1, -'.json'.length) as ArchiveId));
}

async function readSpool(store: Store, run: RunKey): Promise<readonly SpooledObject[]> {
  const objects = await eachOf(await listed(store, `spool/${run}/`), async (object) => ({ key: object.key, footer: await readFooter(store, object) }));
  const overlapping = overlappingKeys(objects);
  return await eachOf(objects, async (object): Promise<SpooledObject> => {
    if (!overlapping.has(object.key)) return object;
    const { footer, key } = object;
    const { rows } = await readSpoolRows(store, { spoolKey: key, spoolRows: footer.rows, spoolParamsBytes: footer.paramsBytes, spoolIndexBytes: footer.indexBytes, from: 0, to: footer.rows - 1 });
    return { ...object, sourceRows: rows.map((row) => row.row) };
  });
}

/** Reads the last line of a spool object. @throws PlimsollError `ledger_corrupt` */
export async function readFooter(store: Store, { key, sizeBytes }: StoredObject): Promise<ChunkFooter> {
  for (let length = Math.min(tailBytes, sizeBytes); ; length = Math.min(length * 4, sizeBytes)) {
    const lines = (await store.readWhole(key, { start: sizeBytes - length, end: sizeBytes })).toString('utf8').split('\n');
    const line = lines.at(-2);
    // The first piece of the tail may be the end of a line, so it is a whole one only at the start of the object.
    const isWhole = line !== undefined && (lines.length > 2 || length === sizeBytes);
    if (isWhole && lines.at(-1) === '') return decodeFooter(key, line);
    if (length === sizeBytes) throw damaged(key);
  }
}

function decodeFooter(key: string, line: string): ChunkFooter {
  let footer: Partial<ChunkFooter> | null;
  try {
    footer = JSON.parse(line) as Partial<ChunkFooter> | null;
  } catch {
    throw damaged(key);
  }
  const isWhole = footer !== null && footer.v === 1 && footer.chunk !== undefined && footer.segment !== undefined && footer.client !== undefined && Number.isInteger(footer.rows) && Number.isInteger(footer.firstRow) && Number.isInteger(footer.lastRow);
  if (!isWhole) throw damaged(key);
  return footer as ChunkFooter;
}

function damaged(key: string): PlimsollError {
  return new PlimsollError('ledger_corrupt', {
    message: 'a spool object does not end with the footer of a chunk',
    where: key,
    hint: 'Restore it from a copy of the lake. Nothing of its run was rebuilt.',
  });
}

async function readAll<Kind extends keyof JournalDocuments>(store: Store, prefix: string, kind: Kind): Promise<readonly JournalDocuments[Kind][]> {
  return await eachOf(await listed(store, prefix), async ({ key }) => decodeJournal(kind, key, await readDocument(store, key)));
}

function byRun<Document extends { readonly run: RunKey }>(documents: readonly Document[]): ReadonlyMap<RunKey, readonly Document[]> {
  const grouped = new Map<RunKey, Document[]>();
  for (const document of documents) {
    const known = grouped.get(document.run);
    if (known) known.push(document);
    else grouped.set(document.run, [document]);
  }
  return grouped;
}

async function listed(store: Store, prefix: string): Promise<readonly StoredObject[]> {
  const objects: StoredObject[] = [];
  for await (const object of store.list(prefix)) objects.push(object);
  return objects;
}

/** Maps in order, a bounded number at a time. */
async function eachOf<From, To>(items: readonly From[], map: (item: From) => Promise<To>): Promise<readonly To[]> {
  const results = new Map<number, To>();
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index];
      if (item !== undefined) results.set(index, await map(item));
    }
  };
  await Promise.all(Array.from({ length: Math.min(readsAtOnce, items.length) }, work));
  return [...results].sort(([a], [b]) => a - b).map(([, result]) => result);
}
