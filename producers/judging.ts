/**
 * Judges lines beside the thread that reads them. To judge a line costs about as much as everything else that is done to
 * it, so on two cores a source is read in half the time. Lines are copied into batches, whose memory goes to the thread and
 * comes back with the judgements, so that nothing is copied between the two.
 *
 * Invariants
 *   G1  The judgements are those of `Judge` in this thread: the other one runs the very same.
 *   G2  Batches come back in the order in which their lines were added.
 *   G3  At most {@link aheadBytesMax} bytes are on their way, and one batch more: a line longer than a batch has one to itself.
 */
import { invariant, PlimsollError } from '../segments/errors.ts';
import { bufferOf, Thread, threadModule } from '../segments/thread.ts';
import type { IntakeRules } from './judge.ts';
import type { JudgeAnswer, JudgeQuestion } from './judge-thread.ts';
import { unpack } from './judgements.ts';
import type { Unpacked } from './judgements.ts';
import type { Line } from './lines.ts';

/** To hand over a batch costs a fraction of a millisecond, whatever its size. */
const batchBytes = 1024 * 1024;
/** Enough that neither thread waits for the other while one of them is held up. */
export const aheadBytesMax = 4 * 1024 * 1024;

/** A batch that is filled or on its way. */
interface Batch {
  bytes: Uint8Array<ArrayBuffer>;
  readonly ends: number[];
  readonly sizes: number[];
  /** The lines as they were added; their bytes are gone. */
  readonly lines: Line[];
}

/** A batch that is on its way. */
interface Asked {
  readonly batch: Batch;
  readonly sizeBytes: number;
  readonly answer: Promise<JudgeAnswer>;
  isBack: boolean;
}

/** A line that came back, with its own bytes again. */
export interface JudgedAside extends Unpacked {
  readonly line: Line;
}

/** Lines that came back. They are valid until the batch is given back. */
export interface JudgedBatch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  lines(): Iterable<JudgedAside>;
}

export class JudgingThread {
  readonly #thread = new Thread<JudgeQuestion, JudgeAnswer>(threadModule('judge-thread', import.meta.url));
  readonly #free: Uint8Array<ArrayBuffer>[] = [];
  readonly #asked: Asked[] = [];
  readonly #isDigested: boolean;
  /** Whether the batch that was taken last had to be waited for. */
  #isLate = false;
  #aheadBytes = 0;
  #filling: Batch | undefined;
  /** Settles when the thread knows the rules. */
  readonly #begun: Promise<unknown>;

  /** @param isDigested whether params may come back with their sha256: they do while the other thread has time for it */
  constructor({ price, ...rules }: IntakeRules, isDigested: boolean) {
    this.#isDigested = isDigested;
    this.#begun = this.#thread.ask({ kind: 'begin', rules: { ...rules, price: { version: price.version, models: price.models } } });
    // Both are awaited in `take`; until then a failure must not count as unhandled.
    this.#begun.catch(() => undefined);
  }

  /** Whether `take` has to be called before more is added (G3). */
  get isFull(): boolean {
    return this.#aheadBytes >= aheadBytesMax;
  }

  /** How many batches `take` can be called for. */
  get owed(): number {
    return this.#asked.length;
  }

  /** Adds a line; its bytes are copied. */
  add(line: Line): void {
    const { bytes } = line;
    if (this.#filling && endOf(this.#filling) + bytes.length > this.#filling.bytes.length) this.send();
    const batch = (this.#filling ??= this.#open(bytes.length));
    const from = endOf(batch);
    batch.bytes.set(bytes, from);
    batch.ends.push(from + bytes.length);
    batch.sizes.push(line.sizeBytes);
    batch.lines.push(line);
  }

  /** Sends what was added and is not on its way yet. */
  send(): void {
    const batch = this.#filling;
    if (!batch) return;
    this.#filling = undefined;
    const { bytes, ends, sizes } = batch;
    const sizeBytes = bytes.length;
    // Digests are the work that either thread can do: where this one has to wait for the other, it had better make them itself.
    const answer = this.#thread.ask({ kind: 'lines', bytes, ends, sizes, isDigested: this.#isDigested && !this.#isLate }, [bytes.buffer]);
    const asked: Asked = { batch, sizeBytes, answer, isBack: false };
    answer.then(
      () => (asked.isBack = true),
      () => undefined,
    );
    this.#aheadBytes += sizeBytes;
    this.#asked.push(asked);
  }

  /** Waits for the oldest batch that was sent (G2). @throws PlimsollError `thread_failed` */
  async take(): Promise<JudgedBatch> {
    const oldest = this.#asked.shift();
    invariant(oldest !== undefined, 'a batch is taken only where one is owed');
    const { lines, ends } = oldest.batch;
    this.#isLate = !oldest.isBack;
    try {
      await this.#begun;
      const answer = await oldest.answer;
      invariant(answer.kind === 'judged', 'lines are answered with judgements');
      this.#aheadBytes -= oldest.sizeBytes;
      return { bytes: answer.bytes, lines: () => judgedLines(lines, ends, answer) };
    } catch (error) {
      throw this.#thread.isBroken ? threadFailed(error) : error;
    }
  }

  /** Takes the memory of a batch back that nobody reads any more. */
  give({ bytes }: JudgedBatch): void {
    if (bytes.length === batchBytes) this.#free.push(bytes);
  }

  /** Ends the thread, whatever it owes. */
  async end(): Promise<void> {
    await this.#thread.end();
  }

  #open(lineBytes: number): Batch {
    const bytes = lineBytes > batchBytes ? new Uint8Array(lineBytes) : (this.#free.pop() ?? new Uint8Array(batchBytes));
    return { bytes, ends: [], sizes: [], lines: [] };
  }
}

function endOf(batch: Batch): number {
  return batch.ends.at(-1) ?? 0;
}

function* judgedLines(lines: readonly Line[], ends: readonly number[], answer: JudgeAnswer & { readonly kind: 'judged' }): Generator<JudgedAside, void, void> {
  const bytes = bufferOf(answer.bytes);
  let at = 0;
  let from = 0;
  for (const { judgement, idDigest, paramsSha } of unpack(answer.columns, bytes)) {
    const line = lines[at];
    const to = ends[at];
    invariant(line !== undefined && to !== undefined, 'a batch has no more judgements than lines');
    const { row, byteOffset, sizeBytes, origin } = line;
    yield { line: { row, byteOffset, sizeBytes, bytes: bytes.subarray(from, to), ...(origin && { origin }) }, judgement, idDigest, paramsSha };
    at += 1;
    from = to;
  }
}

function threadFailed(cause: unknown): PlimsollError {
  return new PlimsollError('thread_failed', {
    message: 'the thread that judges the lines of the source has ended before its work was done',
    hint: 'Start the same run once more: it goes on behind its last durable chunk. If it ends again, look for a limit on memory or on threads.',
    cause,
  });
}
