import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { dueUs } from './batchview.ts';
import { instantText, type SimulatedClock } from './clock.ts';
import type { BatchRecord, BatchRecords } from './records.ts';
import { readSettled, settleRows, type SettlementWorld } from './settlement.ts';
import { isObject, parseJson } from './shape.ts';
import type { TruthLog } from './truth.ts';

/**
 * Lets batches end when simulated time says so.
 *
 * It owns the alarm of every unfinished batch and the one settlement pass that runs at a time. It does not decide what a row becomes
 * (`settlement.ts`) nor what a client sees (`batchview.ts`).
 *
 * Invariants
 *   B1  A batch is settled exactly once: its bill and its end appear in the truth log once, even if the process is killed in the middle
 *       of writing them, or between them and the record.
 *   B2  A batch reads as ended only after its results and its bill are complete.
 *   B3  One pass at a time, so memory does not grow with the number of batches that end together.
 *   B4  A pass that fails as a whole (a full disk) ends nothing: the truth log tells of it, and the next look at the batch tries again.
 */
export class BatchRunner {
  readonly #clock: SimulatedClock;
  readonly #truth: TruthLog;
  readonly #records: BatchRecords;
  readonly #world: SettlementWorld;
  readonly #alarms = new Map<string, () => void>();
  readonly #settling = new Map<string, Promise<void>>();
  /** Ids of rows that an earlier process billed before it was killed. */
  readonly #billedBefore = new Map<string, Set<string>>();
  /** Batches whose bill is in the truth log, whole, and those whose end is: their records do not say so yet. */
  readonly #billed = new Set<string>();
  readonly #told = new Set<string>();
  #last: Promise<void> = Promise.resolve();
  #stopping = false;

  constructor(clock: SimulatedClock, truth: TruthLog, records: BatchRecords, world: Omit<SettlementWorld, 'isStopping' | 'nowMs' | 'onDefect'>) {
    this.#clock = clock;
    this.#truth = truth;
    this.#records = records;
    this.#world = { ...world, nowMs: () => clock.nowMs(), isStopping: () => this.#stopping, onDefect: (id, customId, what) => this.#noteDefect(id, what, customId) };
  }

  /** Takes up the unfinished batches found on disk, and completes what the truth log lacks about them. */
  async recover(): Promise<void> {
    const unfinished = new Map(this.#records.all().filter((record) => record.endedUs === null).map((record) => [record.id, record]));
    if (unfinished.size === 0) {
      return;
    }
    const accepted = new Set<unknown>();
    for await (const line of this.#truth.read()) {
      if (line.kind === 'batch_accepted') {
        accepted.add(line.batch_id);
      } else if (line.kind === 'row_billed' && typeof line.batch_id === 'string' && unfinished.has(line.batch_id)) {
        const ids = this.#billedBefore.get(line.batch_id) ?? new Set<string>();
        this.#billedBefore.set(line.batch_id, ids.add(String(line.custom_id)));
      } else if (line.kind === 'batch_ended' && typeof line.batch_id === 'string' && unfinished.has(line.batch_id)) {
        this.#told.add(line.batch_id);
      }
    }
    for (const record of unfinished.values()) {
      if (!accepted.has(record.id)) {
        this.logAccepted(record);
      }
      this.schedule(record);
      if (this.#told.has(record.id)) {
        // What the truth log calls ended is ended, before any client can cancel it.
        await this.#ring(record.id);
      }
    }
  }

  /** Writes the acceptance of a batch into the truth log. */
  logAccepted(record: BatchRecord): void {
    this.#truth.append({
      kind: 'batch_accepted',
      batch_id: record.id,
      at: instantText(this.#clock.nowUs()),
      requests: record.requests,
      custom_ids_sha256: record.customIdsSha256,
      body_bytes: record.bodyBytes,
      workspace_id: record.workspaceId,
      created_at: instantText(record.createdUs),
      visible_at: instantText(Math.max(record.createdUs, record.visibleUs)),
      request_id: record.requestId,
    });
  }

  /** Sets the alarm of a batch, anew after a cancel. */
  schedule(record: BatchRecord): void {
    this.#alarms.get(record.id)?.();
    this.#alarms.set(record.id, this.#clock.at(dueUs(record), () => this.#ring(record.id)));
  }

  /** Settles a batch for which nobody waits; a failure is told (B4). */
  #ring(id: string): Promise<void> {
    return this.#settle(id).catch((cause: unknown) => this.#noteDefect(id, cause instanceof Error ? cause.message : String(cause)));
  }

  #noteDefect(batchId: string, what: string, customId?: string): void {
    this.#truth.append({ kind: 'simulator_defect', batch_id: batchId, ...(customId === undefined ? {} : { custom_id: customId }), what });
  }

  /** True while the rows of the batch are being settled: its time is over and it can no longer be canceled. */
  isSettling(id: string): boolean {
    return this.#settling.has(id);
  }

  /** The record, settled if its time has come. Waits a moment for a pass under way, so that small batches end on time. */
  async current(record: BatchRecord): Promise<BatchRecord> {
    if (record.endedUs === null && dueUs(record) <= this.#clock.nowMs() * 1000) {
      await Promise.race([this.#settle(record.id), sleep(250, undefined, { ref: false })]);
    }
    return this.#records.get(record.id) ?? record;
  }

  /** Requests that wait in unfinished batches of the account. */
  queuedRequests(): number {
    return this.#records.all().reduce((sum, record) => sum + (record.endedUs === null ? record.requests : 0), 0);
  }

  /** Ends a batch now, whatever its duration. */
  async endNow(record: BatchRecord): Promise<void> {
    const elapsedMs = Math.max(0, this.#clock.nowMs() - record.createdUs / 1000);
    const shortened = { ...record, durationMs: Math.min(record.durationMs, elapsedMs) };
    this.#records.save(shortened);
    await this.#settle(record.id);
  }

  /** Gives up the pass under way and waits until it has let go. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#last;
  }

  #settle(id: string): Promise<void> {
    const running = this.#settling.get(id);
    if (running !== undefined) {
      return running;
    }
    const pass = this.#last.then(async () => {
      const record = this.#records.get(id);
      if (record !== undefined && record.endedUs === null && !this.#stopping) {
        await this.#run(record);
      }
    });
    this.#settling.set(id, pass);
    this.#last = pass.finally(() => this.#settling.delete(id)).catch(() => undefined);
    return pass;
  }

  async #run(record: BatchRecord): Promise<void> {
    const folder = this.#records.folderOf(record.id);
    const settled = readSettled(folder) ?? (await settleRows(this.#world, record, folder));
    if (settled === undefined) {
      return;
    }
    if (!this.#billed.has(record.id)) {
      await this.#bill(record, folder);
      this.#billed.add(record.id);
    }
    const endedUs = dueUs(record);
    // The line goes before the record: a kill between them leaves a batch that ends once more, and not an end that nothing tells.
    if (!this.#told.has(record.id)) {
      const { outcomes, costPicoUsd } = settled;
      this.#truth.append({ kind: 'batch_ended', batch_id: record.id, at: instantText(this.#clock.nowUs()), ended_at: instantText(endedUs), ...outcomes, cost_pico_usd: costPicoUsd });
      this.#told.add(record.id);
    }
    this.#records.save({ ...record, endedUs, outcomes: settled.outcomes });
    this.#billed.delete(record.id);
    this.#told.delete(record.id);
    this.#alarms.get(record.id)?.();
    this.#alarms.delete(record.id);
  }

  /** Copies the bill into the truth log, leaving out what an earlier process had already written (B1). */
  async #bill(record: BatchRecord, folder: string): Promise<void> {
    const path = join(folder, 'billed.jsonl');
    const before = this.#billedBefore.get(record.id);
    if (before === undefined) {
      for await (const piece of wholeLines(path)) {
        this.#truth.appendText(piece);
      }
      return;
    }
    for await (const line of createInterface({ input: createReadStream(path) })) {
      const value = parseJson(line);
      if (isObject(value) && !before.has(String(value.custom_id))) {
        this.#truth.appendText(`${line}\n`);
      }
    }
    this.#billedBefore.delete(record.id);
  }
}

/** The file in pieces that end with a line, so that lines of other events never fall into the middle of one. */
async function* wholeLines(path: string): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { highWaterMark: 1_048_576 })) {
    const all: Buffer = Buffer.concat([rest, chunk]);
    const end = all.lastIndexOf(0x0a) + 1;
    yield all.subarray(0, end);
    rest = all.subarray(end);
  }
}
