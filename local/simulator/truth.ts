import { closeSync, createReadStream, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { isObject, parseJson, type JsonObject } from './shape.ts';

/**
 * The truth log: what the simulated provider really did, one JSON object per line, written before the client is told. A test that settles
 * an argument with a product reads this file and needs nothing else.
 *
 * Invariants
 *   L1  Lines are only ever appended. The one exception is a final line that a kill tore in the middle: it was never finished, so the next
 *       start cuts it off.
 *   L2  A line holds ids, counts, digests, usage and fault names, never prompt text, answer text or an API key.
 *   L3  A line is in the operating system's hands (not in a buffer of this process) when `append` returns: killing the process loses none.
 *
 * One line of each important kind:
 *   {"kind":"request_received","at":"…","request_id":"req_…","operation":"batches.create","method":"POST","path":"/v1/messages/batches","retry_count":"0"}
 *   {"kind":"batch_accepted","batch_id":"msgbatch_…","at":"…","requests":2,"custom_ids_sha256":"…","request_id":"req_…"}
 *   {"kind":"row_billed","batch_id":"msgbatch_…","custom_id":"a","model":"claude-haiku-4-5-20251001","usage":{"input_tokens":9,…}}
 *   {"kind":"fault_injected","at":"…","fault":"reply_lost","rule":0,"operation":"batches.create","request_id":"req_…"}
 */
export class TruthLog {
  readonly path: string;
  #descriptor: number | undefined;

  constructor(path: string) {
    this.path = path;
    const descriptor = openSync(path, 'a+', 0o600);
    cutTornTail(descriptor);
    this.#descriptor = descriptor;
  }

  /** Appends one line (L3). `record.kind` names what happened. */
  append(record: JsonObject & { readonly kind: string }): void {
    this.appendText(`${JSON.stringify(record)}\n`);
  }

  /** Appends whole lines that are already text, each ending in LF. */
  appendText(lines: string | Buffer): void {
    if (this.#descriptor === undefined || lines.length === 0) {
      return;
    }
    const bytes = typeof lines === 'string' ? Buffer.from(lines) : lines;
    for (let written = 0; written < bytes.length; ) {
      written += writeSync(this.#descriptor, bytes, written);
    }
  }

  /** Reads the log from the start, one parsed line at a time. */
  async *read(): AsyncGenerator<JsonObject> {
    for await (const line of createInterface({ input: createReadStream(this.path), crlfDelay: Number.POSITIVE_INFINITY })) {
      const record = parseJson(line);
      if (isObject(record)) {
        yield record;
      }
    }
  }

  /** Closes the file. Later appends are dropped: the world they describe has stopped. */
  close(): void {
    if (this.#descriptor !== undefined) {
      closeSync(this.#descriptor);
      this.#descriptor = undefined;
    }
  }
}

/** Cuts a last line without LF (L1). Reads backwards in steps, because a torn line can be long. */
function cutTornTail(descriptor: number): void {
  const step = Buffer.alloc(65_536);
  for (let end = fstatSync(descriptor).size; end > 0; ) {
    const start = Math.max(0, end - step.length);
    const length = readSync(descriptor, step, 0, end - start, start);
    const newline = step.subarray(0, length).lastIndexOf(0x0a);
    if (newline >= 0 || start === 0) {
      const keep = newline >= 0 ? start + newline + 1 : 0;
      if (keep < fstatSync(descriptor).size) {
        ftruncateSync(descriptor, keep);
      }
      return;
    }
    end = start;
  }
}
