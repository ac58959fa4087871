import { closeSync, openSync, readFileSync, readSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';
import { fateOf } from './batchview.ts';
import { infer, type Inference, type InferenceRequest, type InferenceWorld } from './inference.ts';
import type { BatchRecord, Outcomes } from './records.ts';
import type { FaultRule } from './faults.ts';
import { rowFaultOf } from './rowfaults.ts';
import { identifier, shuffledOrder } from './seeded.ts';
import { isObject, numberOf, parseJson } from './shape.ts';

/**
 * Computes the outcome of every row of a batch, once, when its time has come, and writes results and bill beside the body.
 *
 * Rows are taken in the shuffled order in which they are served, each read from the body by its offset, so that a 256 MB batch costs one
 * row of memory. The pass gives the event loop a turn every few milliseconds.
 *
 * Invariants
 *   P1  Exactly one result line per request, whatever happens to it (claude-batches.md 1.7). A row on which the simulator itself fails is
 *       errored like one on which the service fails: it must not take its batch along, now and at every later start.
 *   P2  Only succeeded rows are billed, each with one line.
 *   P3  `ended.json` is written last: where it exists, results and bill are complete and are never computed again.
 */

export interface SettlementWorld {
  readonly seed: number;
  readonly finishAfterCancel: number;
  readonly inference: InferenceWorld;
  readonly nowMs: () => number;
  /** True when the simulator is being stopped; the pass is then given up and done again after the next start. */
  readonly isStopping: () => boolean;
  /** Tells of a row on which the simulator failed. `what` names the kind of failure; its text could quote the prompt. */
  readonly onDefect: (batchId: string, customId: string, what: string) => void;
}

/** What `ended.json` holds. */
export interface Settled {
  readonly outcomes: Outcomes;
  /** Exact cost of the batch in pico-USD. */
  readonly costPicoUsd: number;
}

/** The result of an earlier, complete pass. */
export function readSettled(folder: string): Settled | undefined {
  let text: string;
  try {
    text = readFileSync(join(folder, 'ended.json'), 'utf8');
  } catch {
    return undefined;
  }
  const value = parseJson(text);
  if (!isObject(value) || !isObject(value.outcomes)) {
    return undefined;
  }
  const { succeeded, errored, canceled, expired } = value.outcomes;
  const count = (field: unknown): number => numberOf(field) ?? 0;
  return {
    outcomes: { succeeded: count(succeeded), errored: count(errored), canceled: count(canceled), expired: count(expired) },
    costPicoUsd: count(value.costPicoUsd),
  };
}

/** Runs the pass; undefined when the simulator was stopped meanwhile. */
export async function settleRows(world: SettlementWorld, record: BatchRecord, folder: string): Promise<Settled | undefined> {
  const rows = new RowReader(folder, record.requests);
  const results = new LineWriter(join(folder, 'results.jsonl'));
  const billed = new LineWriter(join(folder, 'billed.jsonl'));
  const tally = { succeeded: 0, errored: 0, canceled: 0, expired: 0 };
  let costPicoUsd = 0;
  let sliceStart = performance.now();
  try {
    for (const position of shuffledOrder(record.requests, world.seed, record.id)) {
      if (performance.now() - sliceStart > 8) {
        await breathe();
        if (world.isStopping()) {
          return undefined;
        }
        sliceStart = performance.now();
      }
      const customId = rows.customIdOf(position);
      const outcome = await outcomeOf(world, record, rows, position, customId);
      if (typeof outcome === 'string') {
        tally[outcome] += 1;
        results.add(`{"custom_id":"${customId}","result":{"type":"${outcome}"}}\n`);
      } else if (outcome.kind === 'refused') {
        tally.errored += 1;
        results.add(erroredLine(world.seed, record.id, customId, outcome));
      } else {
        tally.succeeded += 1;
        costPicoUsd += outcome.costPicoUsd;
        results.add(`{"custom_id":"${customId}","result":{"type":"succeeded","message":${JSON.stringify(outcome.message)}}}\n`);
        billed.add(billedLine(record.id, customId, outcome));
      }
    }
    results.finish();
    billed.finish();
  } finally {
    rows.close();
    results.close();
    billed.close();
  }
  const settled: Settled = { outcomes: tally, costPicoUsd };
  writeFileSync(join(folder, 'ended.json.part'), JSON.stringify(settled));
  renameSync(join(folder, 'ended.json.part'), join(folder, 'ended.json'));
  return settled;
}

async function outcomeOf(world: SettlementWorld, record: BatchRecord, rows: RowReader, position: number, customId: string): Promise<Inference | 'canceled' | 'expired'> {
  const fate = fateOf(record, customId, world.seed, world.finishAfterCancel);
  if (fate !== 'runs') {
    return fate;
  }
  const fault = rowFaultOf(record.rowRules, position, record.requests, world.seed, `${record.id}|${customId}`);
  if (fault?.fault === 'expired' || fault?.fault === 'canceled') {
    return fault.fault;
  }
  if (fault?.fault === 'errored' || fault?.fault === 'account_fault') {
    return injectedError(fault);
  }
  const params = parseJson(rows.paramsOf(position));
  const request: InferenceRequest = {
    params: isObject(params) ? params : {},
    surface: 'batch',
    apiVersion: record.apiVersion,
    betas: record.betas,
    nowMs: world.nowMs(),
    arrivedMs: record.createdUs / 1000,
    workspaceId: record.workspaceId,
    label: `${record.id}|${customId}`,
    batchId: record.id,
    customId,
    forced: fault?.fault === 'refused' ? 'refusal' : fault?.fault === 'truncated' ? 'max_tokens' : undefined,
  };
  try {
    return await infer(world.inference, request);
  } catch (cause) {
    world.onDefect(record.id, customId, cause instanceof Error ? cause.name : typeof cause);
    return { kind: 'refused', refusal: { status: 500, type: 'api_error', message: 'Internal server error' }, isRunning: true };
  }
}

function injectedError(rule: FaultRule): Inference {
  const isAccount = rule.fault === 'account_fault';
  const type = rule.error_type ?? (isAccount ? 'invalid_request_error' : 'api_error');
  const usual = isAccount
    ? 'Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.'
    : 'Internal server error';
  return { kind: 'refused', refusal: { status: 0, type, message: rule.message ?? usual }, isRunning: !isAccount };
}

/** The doubly nested error (claude-batches.md 1.7): `request_id` is null unless the row failed while running. */
function erroredLine(seed: number, batchId: string, customId: string, { refusal, isRunning }: { readonly refusal: { readonly type: string; readonly message: string }; readonly isRunning: boolean }): string {
  const error = { details: { error_visibility: 'user_facing' }, type: refusal.type, message: refusal.message };
  const requestId = isRunning ? identifier('workerreq_01', 22, seed, 'worker', batchId, customId) : null;
  const result = { type: 'errored', error: { type: 'error', error, request_id: requestId } };
  return `${JSON.stringify({ custom_id: customId, result })}\n`;
}

function billedLine(batchId: string, customId: string, outcome: Inference & { readonly kind: 'answered' }): string {
  const { model, billed: usage, costPicoUsd } = outcome;
  return `${JSON.stringify({ kind: 'row_billed', batch_id: batchId, custom_id: customId, model: model.id, usage, cost_pico_usd: costPicoUsd })}\n`;
}

/** Reads params by position. */
class RowReader {
  readonly #ids: readonly string[];
  readonly #index: Buffer;
  readonly #requests: number;
  readonly #body: number;
  #space = Buffer.allocUnsafe(65_536);

  constructor(folder: string, requests: number) {
    this.#requests = requests;
    this.#ids = readFileSync(join(folder, 'custom_ids.txt'), 'latin1').split('\n', requests);
    this.#index = readFileSync(join(folder, 'index.bin'));
    this.#body = openSync(join(folder, 'body.json'), 'r');
  }

  customIdOf(position: number): string {
    return this.#ids[position] ?? '';
  }

  paramsOf(position: number): string {
    const offset = this.#index.readDoubleLE(position * 8);
    const length = this.#index.readUInt32LE(this.#requests * 8 + position * 4);
    if (this.#space.length < length) {
      this.#space = Buffer.allocUnsafe(length);
    }
    for (let read = 0; read < length; ) {
      read += readSync(this.#body, this.#space, read, length - read, offset + read);
    }
    return this.#space.toString('utf8', 0, length);
  }

  close(): void {
    closeSync(this.#body);
  }
}

/** Gathers lines as bytes and writes them a megabyte at a time. Kept as strings, they would be copied by every collection of garbage. */
class LineWriter {
  readonly #descriptor: number;
  #space = Buffer.allocUnsafeSlow(1_048_576);
  #length = 0;

  constructor(path: string) {
    this.#descriptor = openSync(path, 'w');
  }

  add(line: string): void {
    // A character of a string takes three bytes at most.
    if (this.#space.length - this.#length < line.length * 3) {
      this.finish();
    }
    if (this.#space.length < line.length * 3) {
      this.#space = Buffer.allocUnsafeSlow(line.length * 3);
    }
    this.#length += this.#space.write(line, this.#length);
  }

  finish(): void {
    for (let written = 0; written < this.#length; ) {
      written += writeSync(this.#descriptor, this.#space, written, this.#length - written);
    }
    this.#length = 0;
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
