/**
 * Whether a source is the one that a run was begun with. A run remembers how many bytes it had read when its newest
 * chunk became durable, and their digest; until the source at hand has shown the same bytes, nothing may be added.
 */
import { PlimsollError } from '../segments/errors.ts';
import type { Checkpoint } from '../segments/ledger/ledger.ts';
import type { RunKey } from '../segments/segment.ts';
import { LineReader } from './lines.ts';
import type { ProducerSettings } from './settings.ts';
import { readSource } from './source.ts';
import type { SourceLocation } from './source.ts';

/** Holds the gate of a resumed run shut until the prefix is verified. */
export class InputGuard {
  /** Resolves when chunks may be added; rejects when they must not. */
  readonly opened: Promise<void>;
  readonly #run: RunKey;
  readonly #reader: LineReader;
  readonly #expected: Checkpoint | undefined;
  /** The run's source was read to its end before, so it must end where it ended then. */
  readonly #isWhole: boolean;
  #isOpen = false;
  #found: string | undefined;
  #open: () => void = () => undefined;
  #refuse: (error: unknown) => void = () => undefined;

  /**
   * @param checkpoint what the ledger remembers of a run that is being ingested
   * @param ingested the input of a run that was read to its end but not flushed
   * @param verifiedBytes how much is verified in another way
   */
  constructor(run: RunKey, reader: LineReader, checkpoint: Checkpoint | undefined, ingested: Checkpoint | undefined, verifiedBytes = 0) {
    this.#run = run;
    this.#reader = reader;
    this.#isWhole = ingested !== undefined;
    this.#expected = ingested ?? (checkpoint && checkpoint.bytes > verifiedBytes ? checkpoint : undefined);
    this.opened = new Promise((resolve, reject) => {
      this.#open = () => {
        this.#isOpen = true;
        resolve();
      };
      this.#refuse = reject;
    });
    // Whoever waits at the gate gets the error; when nobody does, `check` and `end` have thrown it already.
    this.opened.catch(() => undefined);
    if (!this.#expected) this.#open();
    else reader.watch(this.#expected.bytes, (sha256) => this.#compare(sha256));
  }

  /** Whether chunks may be added. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Called when a block was hashed, before it is cut. @throws PlimsollError `run_input_differs` */
  check(): void {
    const expected = this.#expected;
    if (!expected) return;
    if (this.#found !== undefined && this.#found !== expected.sha256) throw inputDiffers(this.#run, expected, { ...expected, sha256: this.#found });
    if (this.#isWhole && this.#reader.bytes > expected.bytes) throw inputDiffers(this.#run, expected, this.#reader.position());
  }

  /** Called at the end of the source. @throws PlimsollError `run_input_differs` when it is shorter than what was read before */
  end(): void {
    this.check();
    if (this.#expected && this.#found === undefined) throw inputDiffers(this.#run, this.#expected, this.#reader.position());
  }

  /** Shuts the gate for good, so that nobody waits at it for ever. */
  abandon(error: unknown): void {
    this.#refuse(error);
  }

  #compare(sha256: string): void {
    this.#found = sha256;
    if (sha256 === this.#expected?.sha256) this.#open();
  }
}

/** Reads a source to its end for nothing but its size and digest, as a run has it that reads it in sections of that size. */
export async function readDigest(source: SourceLocation, settings: ProducerSettings, signal: AbortSignal, sectionBytes?: number): Promise<Checkpoint> {
  const reader = new LineReader(settings.lineBytesMax, sectionBytes);
  for await (const block of readSource(source, settings.expansionMax, signal)) {
    signal.throwIfAborted();
    for (const part of reader.parts(block)) reader.hash(part);
  }
  return reader.position();
}

/** The error for a run key that stands for another input. */
export function inputDiffers(run: RunKey, begun: Checkpoint, found: Checkpoint): PlimsollError {
  return new PlimsollError('run_input_differs', {
    message:
      `the run ${run} was begun with another input: ${begun.bytes} bytes with sha256 ${begun.sha256} then, ` +
      `${found.bytes} bytes with sha256 ${found.sha256} now`,
    where: run,
    hint: 'Give the new input a run key of its own, or start again with the input that this run was begun with.',
  });
}

/**
 * The same error where no digest tells: a rebuilt ledger knows the rows of a run that is still read, but not what their
 * source was like, so that a change before the last of them shows only in the numbers.
 */
export function countDiffers(run: RunKey, begun: number, found: number): PlimsollError {
  return new PlimsollError('run_input_differs', {
    message: `the run ${run} was begun with another input: up to the same row it holds ${begun} prompts, the input at hand ${found}`,
    where: run,
    hint: 'Give the new input a run key of its own, or start again with the input that this run was begun with.',
  });
}
