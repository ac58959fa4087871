import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FaultRule } from './faults.ts';
import { isObject, parseJson } from './shape.ts';

/**
 * The batches on disk. One folder per batch under `<stateDir>/batches/`:
 *
 *   batch.json       the record below
 *   body.json        the body exactly as received
 *   index.bin        where each `params` lies in the body: all offsets (float64), then all lengths (uint32), little-endian
 *   custom_ids.txt   one custom_id per line, in body order
 *   results.jsonl    one row per request in the order they are served, once the batch has ended
 *   billed.jsonl     the `row_billed` lines of the truth log, once the batch has ended
 *
 * Invariants
 *   S1  A batch exists from one rename: a folder under `batches/` is complete, whatever was killed while it was made.
 *   S2  A record is replaced by rename, so a reader or a restart sees the old one or the new one.
 *   S3  A deleted batch keeps its record (without the rest), so its sequence number is not given again.
 */

/** The four outcomes of rows. */
export interface Outcomes {
  readonly succeeded: number;
  readonly errored: number;
  readonly canceled: number;
  readonly expired: number;
}

/** One batch. Instants are epoch microseconds of simulated time. */
export interface BatchRecord {
  readonly id: string;
  /** Order of acceptance on this folder, from 1. */
  readonly sequence: number;
  readonly workspaceId: string;
  readonly createdUs: number;
  /** From when the batch can be seen: 0, except under the fault `accept_late`. */
  readonly visibleUs: number;
  readonly requests: number;
  readonly bodyBytes: number;
  readonly customIdsSha256: string;
  readonly requestId: string;
  readonly apiVersion: string;
  readonly betas: readonly string[];
  /** How long processing takes, simulated ms. */
  readonly durationMs: number;
  /** Faults that strike rows of this batch. */
  readonly rowRules: readonly FaultRule[];
  readonly cancelUs: number | null;
  /** When a canceled batch ends. */
  readonly cancelEndUs: number | null;
  readonly endedUs: number | null;
  readonly outcomes: Outcomes | null;
  readonly deleted: boolean;
}

export class BatchRecords {
  readonly #root: string;
  readonly #incoming: string;
  readonly #byId = new Map<string, BatchRecord>();
  #sequence = 0;
  #attempts = 0;

  /** Reads every record under `stateDir` and clears away uploads that were never accepted. */
  constructor(stateDir: string) {
    this.#root = join(stateDir, 'batches');
    this.#incoming = join(stateDir, 'incoming');
    rmSync(this.#incoming, { recursive: true, force: true });
    mkdirSync(this.#incoming, { recursive: true });
    mkdirSync(this.#root, { recursive: true });
    const records: BatchRecord[] = [];
    for (const name of readdirSync(this.#root)) {
      const record = decodeRecord(readFileSync(join(this.#root, name, 'batch.json'), 'utf8'));
      if (record !== undefined) {
        records.push(record);
      }
    }
    records.sort((a, b) => a.sequence - b.sequence);
    for (const record of records) {
      this.#byId.set(record.id, record);
      this.#sequence = record.sequence;
    }
  }

  /** A fresh folder for an upload that has not been accepted yet. */
  openUpload(): string {
    this.#attempts += 1;
    const folder = join(this.#incoming, String(this.#attempts));
    mkdirSync(folder);
    return folder;
  }

  /** Throws an upload away. */
  dropUpload(folder: string): void {
    rmSync(folder, { recursive: true, force: true });
  }

  /** The sequence number of the next batch. */
  nextSequence(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  /** Makes an upload a batch (S1). */
  publish(record: BatchRecord, uploadFolder: string): void {
    writeFileSync(join(uploadFolder, 'batch.json'), JSON.stringify(record));
    renameSync(uploadFolder, this.folderOf(record.id));
    this.#byId.set(record.id, record);
  }

  /** Replaces the record of a batch (S2). */
  save(record: BatchRecord): void {
    const path = join(this.folderOf(record.id), 'batch.json');
    writeFileSync(`${path}.part`, JSON.stringify(record));
    renameSync(`${path}.part`, path);
    this.#byId.set(record.id, record);
  }

  /** Deletes a batch; only its record stays (S3). */
  remove(record: BatchRecord): void {
    this.save({ ...record, deleted: true });
    for (const name of ['body.json', 'index.bin', 'custom_ids.txt', 'results.jsonl', 'billed.jsonl']) {
      rmSync(join(this.folderOf(record.id), name), { force: true });
    }
  }

  /** The batch with this id in any state, deleted ones included. */
  get(id: string): BatchRecord | undefined {
    return this.#byId.get(id);
  }

  /** All batches that are not deleted, oldest first. */
  all(): readonly BatchRecord[] {
    return [...this.#byId.values()].filter((record) => !record.deleted);
  }

  folderOf(id: string): string {
    return join(this.#root, id);
  }
}

/** Records are written by this file only, so one check for the identifying fields is enough. */
function decodeRecord(text: string): BatchRecord | undefined {
  const value = parseJson(text);
  if (!isObject(value) || typeof value.id !== 'string' || typeof value.sequence !== 'number') {
    return undefined;
  }
  return value as unknown as BatchRecord;
}
