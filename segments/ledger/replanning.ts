/**
 * Replans the held chunks of a segment: new chunks are written in their place, with other parameters or without the rows
 * that a sample leaves out, and the ledger lets the old ones go.
 *
 * It owns the order of the steps. `replan.ts` decides about rows, `replan-document.ts` says what is written down, and
 * `scripts/replan-chunks.lua` acts. The old chunks end in archives that are never sent; when those are settled, the new
 * chunks are queued and the rows that were left out are told apart (`workers/judge.ts`).
 *
 * Invariants
 *   R1  New chunks are durable before the document that names them, and the document before the ledger acts. A spool object
 *       that no carried out replan names is never sent, so a crash at any step is harmless.
 *   R2  A new chunk stands for exactly one old chunk, and is queued only if the ledger could take that one out of its queue:
 *       what was packed meanwhile goes on as it was, and no row is sent twice.
 *   R3  The same command finds what an earlier try has left and goes on with it. It never draws a sample of a sample, and
 *       another command never carries out what this one has decided.
 */
import { hash } from 'node:crypto';
import { ChunkWriter } from '../chunk.ts';
import { invariant, PlimsollError } from '../errors.ts';
import { spoolKey } from '../lake.ts';
import { rangesOfIndexes, sizeOfRanges } from '../outcome.ts';
import { editParams } from '../params-edit.ts';
import { rowsOf, type ReplanDocument, type ReplannedChunk, type ReplanOption } from '../replan-document.ts';
import { sampleSize, samplingOrder, termsUnder, type FindModel, type PlannedRow } from '../replan.ts';
import { replannedChunkId, type ArchiveId, type RunKey, type SegmentName } from '../segment.ts';
import type { Now } from '../stage.ts';
import { journalReplan, readReplans } from '../store/replans.ts';
import { readSpoolParams, readSpoolRows } from '../store/spool.ts';
import type { Store } from '../store/store.ts';
import type { ChunkRecord, Ledger } from './ledger.ts';

export interface ReplanningDependencies {
  readonly store: Store;
  readonly ledger: Pick<Ledger, 'listHeld' | 'readChunks' | 'readRun' | 'replanChunks'>;
  readonly find: FindModel;
  readonly priceVersion: string;
  /** Rows of one archive. */
  readonly archiveRowsMax: number;
  /** What is wrong with a request under changed parameters; undefined: nothing. */
  readonly faultOf: (params: Buffer) => string | undefined;
  readonly now: Now;
}

/** The held chunks of a segment with what a plan needs of their rows: O(rows) in memory while a command runs. */
export interface HeldRows {
  readonly segment: SegmentName;
  readonly chunks: readonly ChunkRecord[];
  /** The rows of all chunks one after the other. */
  readonly rows: readonly PlannedRow[];
}

/** What a replan has done. */
export interface AppliedReplan {
  readonly document: ReplanDocument;
  /** Archives to be settled; then the new chunks are queued. */
  readonly archives: readonly ArchiveId[];
  /** Of the chunks that the ledger gave. */
  readonly rowsKept: number;
  readonly rowsNotSampled: number;
  /** Rows that had gone on meanwhile, as they were. */
  readonly rowsGone: number;
}

/** Reads what a segment holds, of one run or of all. @throws PlimsollError `lake_missing` */
export async function readHeld({ store, ledger }: Pick<ReplanningDependencies, 'store' | 'ledger'>, segment: SegmentName, run?: RunKey): Promise<HeldRows> {
  const chunks = (await ledger.listHeld(segment)).filter((chunk) => run === undefined || chunk.run === run);
  const rows: PlannedRow[] = [];
  for (const chunk of chunks) {
    // Metadata may be large and is not needed here.
    for (const { id, bytes, model, expect, in: inputMax, out, usd, geo } of (await readSpoolRows(store, chunk)).rows) {
      rows.push({ id, bytes, model, expect, in: inputMax, out, usd, ...(geo === undefined ? {} : { geo }) });
    }
  }
  return { segment, chunks, rows };
}

/** Which of the held rows go on under an option: 1 by place. */
export function keptOf({ rows }: Pick<HeldRows, 'rows'>, option: ReplanOption): Uint8Array {
  const size = sampleSize(option.sample, rows.length);
  if (size === rows.length) return new Uint8Array(rows.length).fill(1);
  const kept = new Uint8Array(rows.length);
  for (const place of samplingOrder(rows).subarray(0, size)) kept[place] = 1;
  return kept;
}

/**
 * Checks that every row that goes on may be sent with the parameters of an option.
 * @throws PlimsollError `replan_refused` with the first fault and how many rows have one
 */
export async function proveSendable({ store, find, faultOf }: Pick<ReplanningDependencies, 'store' | 'find' | 'faultOf'>, held: HeldRows, option: ReplanOption): Promise<void> {
  if (option.model === undefined && option.maxTokens === undefined) return;
  const kept = keptOf(held, option);
  let place = 0;
  let first: { readonly id: string; readonly fault: string } | undefined;
  let faults = 0;
  for (const chunk of held.chunks) {
    for await (const params of readSpoolParams(store, chunk, await readSpoolRows(store, chunk))) {
      const row = held.rows[place];
      invariant(row !== undefined, `${chunk.chunk} has the rows that were read of it`);
      if (kept[place] === 1) {
        const fault = faultOf(changedParams(params, row, option, find));
        if (fault !== undefined) faults += 1;
        if (fault !== undefined) first ??= { id: row.id, fault };
      }
      place += 1;
    }
  }
  if (!first) return;
  throw new PlimsollError('replan_refused', {
    message: `${faults} of ${sampleSize(option.sample, held.rows.length)} held prompts cannot be sent like this; the first is ${JSON.stringify(first.id)}: ${first.fault}`,
    where: held.segment,
    hint: 'Nothing was changed. Choose another model or max_tokens.',
  });
}

function changedParams(params: Buffer, row: PlannedRow, option: ReplanOption, find: FindModel): Buffer {
  const terms = termsUnder(row, option, find);
  return editParams(params, { model: terms.model === row.model ? undefined : terms.model, maxTokens: terms.out === row.out ? undefined : terms.out });
}

/** What earlier tries have decided for a segment and not done: some of its chunks still wait to be replaced. */
export async function readUnfinished({ store, ledger }: Pick<ReplanningDependencies, 'store' | 'ledger'>, segment: SegmentName): Promise<readonly ReplanDocument[]> {
  const unfinished: ReplanDocument[] = [];
  for (const document of await readReplans(store, segment)) if ((await waitingOf(ledger, document)).length > 0) unfinished.push(document);
  return unfinished;
}

/** Carries out what earlier tries have decided (R3); of a document whose chunks another one has taken meanwhile, nothing. */
export async function finishReplans(dependencies: ReplanningDependencies, documents: readonly ReplanDocument[]): Promise<readonly AppliedReplan[]> {
  const finished: AppliedReplan[] = [];
  for (const document of documents) {
    const waiting = await waitingOf(dependencies.ledger, document);
    if (waiting.length > 0) finished.push(await carryOut(dependencies, document, waiting));
  }
  return finished;
}

async function waitingOf(ledger: Pick<Ledger, 'readChunks'>, { chunks }: ReplanDocument): Promise<readonly ReplannedChunk[]> {
  const waiting = (await ledger.readChunks(chunks.map(({ chunk }) => chunk))).filter(({ state }) => state === 'held' || state === 'queued');
  const isWaiting = new Set(waiting.map(({ chunk }) => chunk));
  return chunks.filter(({ chunk }) => isWaiting.has(chunk));
}

/**
 * Applies an option to what is held. The caller has looked for unfinished replans and proven that the rows can be sent.
 * @throws PlimsollError `lake_missing`, `lake_full` and what ledger and store raise; the same call goes on from there
 */
export async function applyReplan(dependencies: ReplanningDependencies, held: HeldRows, decision: Pick<ReplanDocument, 'option' | 'run' | 'by' | 'reason'>): Promise<AppliedReplan> {
  const { store, priceVersion, now } = dependencies;
  const { option, run, by, reason } = decision;
  const places = held.chunks.map(({ chunk, spoolKey: key, from, to }) => [chunk, key, from, to]);
  const digest = hash('sha256', JSON.stringify({ v: 1, option: [option.model, option.maxTokens, option.sample], priceVersion, places }), 'hex').slice(0, 12);
  const replan = `${held.segment}.${digest}`;
  const kept = keptOf(held, option);
  const chunks: ReplannedChunk[] = [];
  let first = 0;
  for (const [ordinal, chunk] of held.chunks.entries()) {
    chunks.push(await writeSuccessor(dependencies, chunk, kept.subarray(first, first + chunk.rows), option, replan, ordinal));
    first += chunk.rows;
  }
  const document = await journalReplan(store, { v: 1, replan, segment: held.segment, ...(run === undefined ? {} : { run }), by, reason, decidedAtMs: now(), option, priceVersion, chunks });
  return await carryOut(dependencies, document, document.chunks);
}

/** Writes the chunk that stands in the place of a held one (R1). The same rows make the same bytes, so a rerun meets them. */
async function writeSuccessor(
  { store, ledger, find }: ReplanningDependencies,
  record: ChunkRecord,
  kept: Uint8Array,
  option: ReplanOption,
  replan: string,
  ordinal: number,
): Promise<ReplannedChunk> {
  const { chunk, run: runKey, client, attempt, segment, spoolKey: key, spoolRows, spoolParamsBytes, spoolIndexBytes, from, to } = record;
  const original = { chunk, run: runKey, client, attempt, spoolKey: key, spoolRows, spoolParamsBytes, spoolIndexBytes, from, to };
  const ranges = rangesOfIndexes([...kept.keys()].filter((place) => kept[place] === 1));
  if (ranges.length === 0) return { ...original, kept: ranges };
  const run = await ledger.readRun(runKey);
  invariant(run !== undefined, `the run of ${chunk} is in the ledger`);
  const writer = new ChunkWriter({ run: runKey, segment, client, attempt, source: run.source });
  const spooled = await readSpoolRows(store, record);
  let place = 0;
  for await (const params of readSpoolParams(store, record, spooled)) {
    const row = spooled.rows[place];
    invariant(row !== undefined, `${chunk} has no more params than rows`);
    if (kept[place] === 1) {
      const changed = changedParams(params, row, option, find);
      writer.addRow(changed, changed === params ? row : { ...row, ...termsUnder(row, option, find), bytes: changed.length, sha: hash('sha256', changed, 'hex') });
    }
    place += 1;
  }
  const id = replannedChunkId(run.tag, replan, ordinal);
  const sealed = writer.seal(id);
  await store.put(spoolKey(runKey, id), sealed);
  writer.release();
  return { ...original, kept: ranges, successor: { footer: sealed.footer, spoolKey: spoolKey(runKey, id) } };
}

async function carryOut({ ledger, archiveRowsMax, now }: ReplanningDependencies, document: ReplanDocument, chunks: readonly ReplannedChunk[]): Promise<AppliedReplan> {
  const { replan, segment, by } = document;
  // An archive is of one run.
  const byRun = [...chunks].sort((a, b) => (a.run < b.run ? -1 : a.run > b.run ? 1 : 0));
  const { archives, taken } = await ledger.replanChunks({ replan, segment, by, chunks: byRun.map(({ chunk }) => chunk), rows: rowsOf(document), rowsMax: archiveRowsMax, nowMs: now() });
  const isTaken = new Set(taken);
  const rowsAll = (some: readonly ReplannedChunk[]): number => some.reduce((sum, each) => sum + each.to - each.from + 1, 0);
  const own = chunks.filter(({ chunk }) => isTaken.has(chunk));
  const rowsKept = own.reduce((sum, each) => sum + sizeOfRanges(each.kept), 0);
  return { document, archives, rowsKept, rowsNotSampled: rowsAll(own) - rowsKept, rowsGone: rowsAll(chunks) - rowsAll(own) };
}
