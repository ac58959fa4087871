/**
 * Checks results beside the thread that receives them. Receiving and digesting a large batch costs about as much as reading
 * its lines, so two cores halve the time; and the process goes on renewing its leases while a gigabyte is read.
 *
 * Invariants
 *   K1  The verdict is that of `checkResults` on the same blocks: the thread runs the very same check, and the digest is
 *       taken here.
 *   K2  At most {@link blocksAhead} blocks wait for the thread; the stream waits for it then.
 */
import { createHash } from 'node:crypto';
import { invariant } from '../segments/errors.ts';
import { ResultIndex, type ResultCounts } from '../segments/result-index.ts';
import { checkResults, type ExpectedRows, type ResultsCheck } from '../segments/results.ts';
import { shaDigits } from '../segments/row-mark.ts';
import { Thread, threadModule } from '../segments/thread.ts';
import type { CheckAnswer, CheckQuestion } from './check-thread.ts';

/** Below this a thread costs more than it saves; so much is held until it is known, unless the number of rows says it. */
export const asideBytesMin = 8 * 1024 * 1024;
/** Few answers are shorter with all that stands around them. */
const lineBytesUsual = 400;
const blocksAhead = 4;
/** Blocks of a mebibyte that are still looked at when the next one is asked for: those that are held, or that wait. */
export const blocksHeldMax = asideBytesMin / (1024 * 1024) + blocksAhead;

/** Checks a stream as `checkResults` does. A block must not be changed before {@link blocksHeldMax} others were yielded. */
export async function checkAside(blocks: AsyncIterable<Buffer>, expected: ExpectedRows, counts: ResultCounts): Promise<ResultsCheck> {
  const held: Buffer[] = [];
  let heldBytes = 0;
  // A thread takes a while to begin, in which the provider can.
  let thread = expected.rows * lineBytesUsual < asideBytesMin ? undefined : new CheckThread(expected);
  try {
    for await (const block of blocks) {
      if (thread) {
        await thread.add(block);
        continue;
      }
      held.push(block);
      heldBytes += block.length;
      if (heldBytes < asideBytesMin) continue;
      thread = new CheckThread(expected);
      for (const each of held.splice(0)) await thread.add(each);
    }
    return thread ? await thread.end(counts) : await checkResults(held, expected, counts);
  } finally {
    await thread?.close();
  }
}

/** One check on a thread of its own. */
class CheckThread {
  readonly #hash = createHash('sha256');
  readonly #thread = new Thread<CheckQuestion, CheckAnswer>(threadModule('check-thread', import.meta.url));
  readonly #rows: number;
  /** The questions that are not answered yet, oldest first. */
  readonly #asked: Promise<CheckAnswer>[] = [];

  constructor(expected: ExpectedRows) {
    const { archive, rows } = expected;
    this.#rows = rows;
    this.#ask({ kind: 'begin', archive, rows, shas: expected.shas ?? sharedShas(expected) });
  }

  async add(block: Buffer): Promise<void> {
    this.#ask({ kind: 'block', block });
    this.#hash.update(block);
    if (this.#asked.length > blocksAhead) await this.#asked.shift();
  }

  async end(counts: ResultCounts): Promise<ResultsCheck> {
    this.#ask({ kind: 'end', counts });
    const answers = await Promise.all(this.#asked.splice(0));
    const last = answers.at(-1);
    invariant(last?.kind === 'checked', 'the last answer of a check is its verdict');
    return { ...last.check, index: new ResultIndex(this.#rows, last.index), sha256: this.#hash.digest('hex') };
  }

  async close(): Promise<void> {
    await this.#thread.end();
  }

  #ask(question: CheckQuestion): void {
    const asked = this.#thread.ask(question);
    // It is awaited in turn; until then a failure must not count as unhandled.
    asked.catch(() => undefined);
    this.#asked.push(asked);
  }
}

/** Shared and not copied, and never one long string: there may be a hundred thousand of them. */
function sharedShas({ rows, shaOf }: ExpectedRows): Buffer {
  const shas = Buffer.from(new SharedArrayBuffer(rows * shaDigits));
  for (let index = 0; index < rows; index += 1) shas.write(shaOf(index), index * shaDigits, 'latin1');
  return shas;
}
