/**
 * The packer: one loop per process that empties the queues of all segments into archives. The ledger names the next
 * segment; a bounded set of BullMQ handles fetches its job without blocking; the shared wake queue ends the wait. What a
 * lost job would have said, the ledger knows, so a chunk is never missed for want of a job.
 *
 * It owns: which chunk is tried next, and where a chunk is cut that does not fit. The ledger owns whether it fits.
 *
 * Invariants
 *   P1  A chunk enters an archive only through `admit`, which takes its reservation in the same step.
 *   P2  A chunk that does not fit a budget is cut at the last prompt that does; the rest is held, never dropped.
 *   P3  One loop runs at a time; a wake-up during the loop makes it look once more.
 *   P4  A chunk whose spool object cannot be read is held by itself and told; the others go on. While the lake is away, it
 *       is not the chunk's fault, and the stage is tried again.
 */
import type { ChunkPart, ChunkRecord, Ledger, PackLimits, QueuedChunk, Admission } from '../segments/ledger/ledger.ts';
import type { ChunkRow } from '../segments/chunk.ts';
import { rowsThatFit, type Room, type RowSize } from '../segments/pack.ts';
import { asRunKey, assertNever, priorities, type ChunkId, type SegmentName } from '../segments/segment.ts';
import { done, type Log, type Now, type StageHandler } from '../segments/stage.ts';
import { readSpoolRows } from '../segments/store/spool.ts';
import type { Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';
import { asideMaxMs, asideMs, readBodyFault } from './body-fault.ts';
import type { SegmentQueues } from './segment-queues.ts';

export interface PackerDependencies {
  readonly ledger: Ledger;
  readonly store: Store;
  readonly wake: Wake;
  readonly queues: SegmentQueues;
  readonly limits: PackLimits;
  readonly now: Now;
  readonly log: Log;
}

/** Makes the packer's stage. Its entities are `all` and `<priority>|<run>` for a flush that is due. */
export function makePacker(dependencies: PackerDependencies): StageHandler {
  const loop = new PackLoop(dependencies);
  return {
    stage: 'pack',
    concurrency: 1,
    isClaimed: false,
    async handle(entity, signal, drain) {
      const [priority, runText] = entity.split('|');
      const run = runText === undefined ? undefined : asRunKey(runText);
      const known = priorities.find((each) => each === priority);
      if (run && known) await loop.flush(run, known);
      await loop.empty(signal, drain);
      return done;
    },
  };
}

class PackLoop {
  readonly #dependencies: PackerDependencies;
  #running: Promise<void> | undefined;
  #isAskedAgain = false;

  constructor(dependencies: PackerDependencies) {
    this.#dependencies = dependencies;
  }

  /** Packs until no segment has queued work (P3). Once a drain was asked for no other chunk is begun. */
  async empty(signal: AbortSignal, drain?: AbortSignal): Promise<void> {
    this.#isAskedAgain = true;
    this.#running ??= this.#loop(() => signal.aborted || drain?.aborted === true).finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async flush(run: Parameters<Ledger['flushArchives']>[0], priority: Parameters<Ledger['flushArchives']>[1]): Promise<void> {
    const { ledger, wake, limits, now } = this.#dependencies;
    for (const archive of await ledger.flushArchives(run, priority, limits, now())) await wake.wake({ stage: 'seal', entity: archive, epoch: 0 });
  }

  async #loop(isEnding: () => boolean): Promise<void> {
    while (this.#isAskedAgain && !isEnding()) {
      this.#isAskedAgain = false;
      let segment = await this.#dependencies.ledger.nextSegment([]);
      while (segment !== undefined && !isEnding()) {
        await this.#packOne(segment);
        segment = await this.#dependencies.ledger.nextSegment([]);
      }
    }
  }

  /**
   * Takes one chunk of a segment. A job says that there is one; which one it is says the ledger, because the queue knows
   * nothing of the clients that share it.
   */
  async #packOne(segment: SegmentName): Promise<void> {
    const { queues, ledger } = this.#dependencies;
    const [job, next] = await Promise.all([queues.fetch(segment), ledger.nextQueued(segment)]);
    const chunk = next?.chunk;
    if (chunk !== undefined) await this.#place(chunk, segment);
    // Only now: after a crash before this the ledger names the chunk again.
    await job?.finish();
  }

  /** Admits a chunk, cutting it where it does not fit, until it is packed or held. */
  async #place(chunk: ChunkId, segment: SegmentName): Promise<void> {
    const { ledger, limits, now, log } = this.#dependencies;
    let isFillEnough = false;
    for (;;) {
      const admission = await ledger.admit(chunk, limits, isFillEnough, now());
      switch (admission.kind) {
        case 'packed':
          for (const archive of admission.closed) await this.#dependencies.wake.wake({ stage: 'seal', entity: archive, epoch: 0 });
          log({ level: 'debug', event: 'chunk.packed', subject: chunk, detail: { archive: admission.archive } });
          return await this.#flushIfDue(chunk, admission.isFlushDue);
        case 'held':
        case 'stale':
          return await this.#flushIfDue(chunk, admission.isFlushDue);
        case 'overfull': {
          const room = { rows: admission.rowsFree, bytes: admission.bytesFree, tokens: undefined, microUsd: undefined };
          // A first prompt that is larger than an empty archive goes alone: the provider's refusal makes it a dead letter.
          if (await this.#cut(chunk, room, admission.archive === '' ? 1 : 0)) return;
          // Not even the first prompt fits: the archive is as full as it can be.
          isFillEnough = true;
          break;
        }
        case 'refused':
          if (await this.#refuse(chunk, segment, admission)) return;
          break;
        default:
          return assertNever(admission, 'admission');
      }
    }
  }

  /** Deals with a budget that has no room for the whole chunk (P2). Returns false when there is room after all. */
  async #refuse(chunk: ChunkId, segment: SegmentName, admission: Extract<Admission, { kind: 'refused' }>): Promise<boolean> {
    const { ledger, now, log } = this.#dependencies;
    const room = { rows: undefined, bytes: undefined, tokens: admission.tokensFree, microUsd: admission.microUsdFree };
    if (await this.#cut(chunk, room)) return true;
    const record = await ledger.readChunk(chunk);
    const first = record ? (await this.#readOrHold(record))?.[0] : undefined;
    if (!first) return true;
    const stop = await ledger.stopOnBudget({
      chunk,
      target: admission.target,
      reason: admission.reason,
      tokensNeeded: first.in + first.out,
      microUsdNeeded: first.usd,
      nowMs: now(),
    });
    if (stop.kind === 'room') return false;
    if (stop.kind === 'stopped') log({ level: 'warn', event: 'segment.stopped', subject: segment, detail: { target: admission.target, reason: admission.reason } });
    await this.#flushIfDue(chunk, stop.isFlushDue);
    return true;
  }

  /**
   * Splits a queued chunk at the last row that fits the room, or after `rowsMin` rows when fewer fit; false when there is
   * no such row or nothing to split.
   */
  async #cut(chunk: ChunkId, room: Room, rowsMin = 0): Promise<boolean> {
    const { ledger, now } = this.#dependencies;
    const record = await ledger.readChunk(chunk);
    if (!record || record.state !== 'queued') return true;
    const rows = await this.#readOrHold(record);
    if (!rows) return true;
    const fitting = Math.max(rowsThatFit(rows.map(sizeOf), room), rowsMin);
    if (fitting === 0 || fitting === rows.length) return false;
    const children = await ledger.split(chunk, ...partsOf(record, rows, fitting), now());
    await this.#enqueue(children);
    return true;
  }

  /** The rows of a queued chunk; undefined: they cannot be read, and it is held (P4). */
  async #readOrHold(record: ChunkRecord): Promise<readonly ChunkRow[] | undefined> {
    const { ledger, store, now, log } = this.#dependencies;
    try {
      return (await readSpoolRows(store, record)).rows;
    } catch (error) {
      const fault = readBodyFault(error);
      if (!fault) throw error;
      const { isHeld, isFirst, untilMs, isFlushDue } = await ledger.holdChunk({ chunk: record.chunk, asideMs, asideMaxMs, nowMs: now() });
      const { code, where, message } = fault;
      if (isHeld) log({ level: isFirst ? 'error' : 'warn', event: 'chunk.unreadable', subject: record.chunk, detail: { code, where, message, untilMs, hint: 'bring its spool object back, or cancel its run' } });
      await this.#flushIfDue(record.chunk, isFlushDue);
      return undefined;
    }
  }

  async #enqueue(children: readonly QueuedChunk[]): Promise<void> {
    for (const child of children) await this.#dependencies.wake.enqueueChunk(child.segment, child.chunk, child.epoch);
  }

  async #flushIfDue(chunk: ChunkId, isFlushDue: boolean): Promise<void> {
    if (!isFlushDue) return;
    const record = await this.#dependencies.ledger.readChunk(chunk);
    if (!record) return;
    for (const priority of await this.#dependencies.ledger.flushDue(record.run)) await this.flush(record.run, priority);
  }
}

function sizeOf(row: ChunkRow): RowSize {
  return { bytes: row.bytes, tokensMax: row.in + row.out, microUsdMax: row.usd };
}

/** The two parts of a chunk that is cut after `leading` rows; their sums add up to the chunk's own. */
export function partsOf(record: ChunkRecord, rows: readonly ChunkRow[], leading: number): [ChunkPart, ChunkPart] {
  const part = (first: number, last: number): ChunkPart => {
    const taken = rows.slice(first, last + 1);
    return {
      from: record.from + first,
      to: record.from + last,
      paramsBytes: taken.reduce((sum, row) => sum + row.bytes, 0),
      tokensExpected: taken.reduce((sum, row) => sum + row.expect, 0),
      tokensMax: taken.reduce((sum, row) => sum + row.in + row.out, 0),
      microUsdMax: taken.reduce((sum, row) => sum + row.usd, 0),
    };
  };
  return [part(0, leading - 1), part(leading, rows.length - 1)];
}
