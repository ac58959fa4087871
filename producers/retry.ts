/**
 * A run's dead letters become a run of their own. Nothing is read from the source again and nothing is judged anew: the
 * rows are taken by reference, with the bytes, ids and source positions that the old run's spool holds, and the old run's
 * files stay as they are.
 *
 * Invariants
 *   Q1  The rows and their order are a function of the old run's outcomes, so a second start writes the same chunks and
 *       goes on where the first one stopped; two starts at once meet as duplicates.
 *   Q2  A row is taken exactly when its last attempt ended as a dead letter.
 */
import { createHash } from 'node:crypto';
import { ChunkWriter, type ChunkRow } from '../segments/chunk.ts';
import { invariant, PlimsollError } from '../segments/errors.ts';
import { outcomeKey, spoolKey } from '../segments/lake.ts';
import { behind } from '../segments/ledger/behind.ts';
import type { Checkpoint, Ledger, RunRecord } from '../segments/ledger/ledger.ts';
import { decodeOutcome, type ArchiveChunkOutcome } from '../segments/outcome.ts';
import type { ArchiveId, ChunkId, RunKey } from '../segments/segment.ts';
import { assertSide, type Side } from '../segments/side.ts';
import { readSpoolParams, readSpoolRows } from '../segments/store/spool.ts';
import type { Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';
import { canceled } from './ingest.ts';
import { closeJournal, openJournal } from './journal.ts';
import type { Production } from './producer.ts';
import { inputDiffers } from './same-input.ts';

export interface RetryRequest {
  /** The run whose dead letters are sent once more; it has ended. */
  readonly old: RunRecord;
  readonly runKey: RunKey;
  /** Who answers it: the side that has answered the old run. */
  readonly side: Side;
  readonly chunkBytesMax: number;
  readonly chunkRowsMax: number;
  readonly ledger: Ledger;
  readonly store: Store;
  readonly wake: Wake;
  readonly installationId: string;
  readonly now: () => number;
  readonly signal: AbortSignal;
}

/**
 * Makes the new run. @throws PlimsollError `run_busy`, `run_canceled`, `run_input_differs`, `run_side_differs`, `lake_missing`, and what
 * store and ledger raise; the signal's reason when it is aborted. The same call goes on from there.
 */
export async function produceRetry(request: RetryRequest): Promise<Production> {
  const { old, runKey, side, ledger, store, wake, now, signal } = request;
  assertSide(old.run, old.side, side);
  const opening = await openJournal(store, { run: runKey, installationId: request.installationId, nowMs: now(), source: old.source, cutSha256: old.cutSha256, retryOf: old.run, side });
  assertSide(runKey, opening.side, side);
  const opened = await ledger.openRun({ run: runKey, tag: opening.tag, dt: opening.dt, source: old.source, cutSha256: old.cutSha256, retryOf: old.run, side: opening.side, nowMs: opening.openedAtMs });
  assertSide(runKey, opened.run.side, side);
  if (opened.run.retryOf !== old.run) throw keyTaken(runKey, old.run);
  if (opened.run.state !== 'ingesting') return foundOf(opened.run);
  const spool = new RetrySpool(request, opening.tag);
  for (const archive of [...(await ledger.listArchives(old.run))].sort()) {
    signal.throwIfAborted();
    await takeArchive(request, archive, spool);
  }
  await spool.end();
  const { rows: accepted } = spool.taken;
  await closeJournal(store, runKey, { accepted, rejected: 0, input: spool.taken });
  const flush = await ledger.flushRun({ run: runKey, accepted, rejected: 0, high: spool.durableRows, input: spool.taken, nowMs: now() });
  if (flush.kind === 'canceled') throw canceled(runKey);
  const run = await ledger.readRun(runKey);
  if (run && flush.kind === 'mismatch') throw inputDiffers(runKey, run.checkpoint, spool.taken);
  // The rows follow from the outcomes of the old run (Q1), so other counts cannot come from another input.
  if (run && flush.kind === 'miscount') throw behind(`it knows ${run.accepted} of the ${accepted} prompts of a retry`, runKey);
  if (run === undefined || run.state === 'ingesting') throw behind('the end of a retry that was written at this moment is not known to the ledger', runKey);
  await wake.wake({ stage: 'pack', entity: 'all', epoch: now() });
  return { run, accepted, rejected: 0, rejectsKey: undefined, deferred: [], isNew: true };
}

/** Hands the dead rows of one archive to the spool, in the order of the archive. */
async function takeArchive({ old, store }: RetryRequest, archive: ArchiveId, spool: RetrySpool): Promise<void> {
  const outcome = decodeOutcome(await store.readWhole(outcomeKey(old.run, archive)));
  const dead = new Set(outcome.dead.map((row) => row.index));
  for (const chunk of outcome.chunks) {
    if (chunk.deadLettered === 0) continue;
    const spooled = await readSpoolRows(store, chunk);
    let index = chunk.firstIndex;
    for await (const params of readSpoolParams(store, chunk, spooled)) {
      const row = spooled.rows[index - chunk.firstIndex];
      invariant(row !== undefined, `row ${index} of ${archive} has no index line`);
      if (dead.has(index)) await spool.take(chunk, params, row);
      index += 1;
    }
  }
}

/** The open chunks of the new run, one per segment and client, and what was taken so far. */
class RetrySpool {
  readonly #request: RetryRequest;
  readonly #tag: string;
  readonly #open = new Map<string, ChunkWriter>();
  readonly #lastRows = new Map<string, number>();
  readonly #hash = createHash('sha256');
  #rows = 0;
  #bytes = 0;
  #chunks = 0;

  constructor(request: RetryRequest, tag: string) {
    this.#request = request;
    this.#tag = tag;
  }

  /** Size, count and digest of what was taken: the input of the new run. */
  get taken(): Checkpoint {
    return { bytes: this.#bytes, rows: this.#rows, sha256: this.#hash.copy().digest('hex') };
  }

  /** The last row of each lane that is in the ledger. */
  get durableRows(): ReadonlyMap<string, number> {
    return this.#lastRows;
  }

  async take(chunk: Pick<ArchiveChunkOutcome, 'segment' | 'client'>, params: Buffer, row: ChunkRow): Promise<void> {
    const { segment, client } = chunk;
    const { runKey, old, chunkBytesMax, chunkRowsMax } = this.#request;
    const lane = `${segment}|${client}`;
    let writer = this.#open.get(lane);
    if (writer && (writer.rows >= chunkRowsMax || writer.paramsBytes + params.length > chunkBytesMax)) {
      await this.#seal(lane, writer);
      writer = undefined;
    }
    writer ??= new ChunkWriter({ run: runKey, segment, client, attempt: 1, source: old.source });
    this.#open.set(lane, writer);
    writer.addRow(params, row);
    this.#rows += 1;
    this.#bytes += params.length;
    this.#hash.update(`${row.row}\n${row.sha}\n`);
  }

  async end(): Promise<void> {
    for (const [lane, writer] of this.#open) await this.#seal(lane, writer);
  }

  async #seal(lane: string, writer: ChunkWriter): Promise<void> {
    const { runKey, ledger, store, wake, now } = this.#request;
    this.#chunks += 1;
    // Named by its ordinal and not by source rows: the rows are scattered over the source.
    const id = `${this.#tag}.${writer.heading.segment}.retry-${this.#chunks}` as ChunkId;
    const sealed = writer.seal(id);
    const key = spoolKey(runKey, id);
    await store.put(key, sealed);
    const previousRow = this.#lastRows.get(lane) ?? 0;
    const reply = await ledger.addChunk({ footer: sealed.footer, spoolKey: key, previousRow, checkpoint: this.taken, isReleased: true, nowMs: now() });
    if (reply.kind === 'canceled') throw canceled(runKey);
    if (reply.kind === 'stale') {
      throw new PlimsollError('run_busy', { message: `somebody else is making the run ${runKey} at this moment`, where: id, hint: 'Let it finish; the same command then reports what it did.' });
    }
    this.#lastRows.set(lane, sealed.footer.lastRow);
    if (reply.kind === 'added') await wake.enqueueChunk(sealed.footer.segment, id, reply.epoch);
  }
}

function foundOf(run: RunRecord): Production {
  return { run, accepted: run.accepted, rejected: 0, rejectsKey: undefined, deferred: [], isNew: false };
}

function keyTaken(runKey: RunKey, old: RunKey): PlimsollError {
  return new PlimsollError('run_input_differs', { message: `the run ${runKey} exists and is no retry of ${old}`, where: runKey, hint: `Retries of ${old} are named ${old}.retry-N; give other runs other names.` });
}
