/**
 * The result lines of one archive, readable in the order of its rows. The provider returns them shuffled, so they are
 * copied once from the lake to a scratch file while they are indexed, and each line is then read at its place: from the
 * page cache of the machine, with one line in memory.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { readSync } from 'node:fs';
import { PlimsollError } from '../segments/errors.ts';
import type { ArchiveOutcome } from '../segments/outcome.ts';
import { ResultLine } from '../segments/result-line.ts';
import { ResultIndex } from '../segments/result-index.ts';
import { checkResults } from '../segments/results.ts';
import type { Store } from '../segments/store/store.ts';
import type { SourceLine } from './encode.ts';

const newline = 0x0a;

/** Random access to the lines of an archive. */
export class Answers {
  readonly index: ResultIndex;
  readonly #file: FileHandle | undefined;
  readonly #line = new ResultLine();
  #bytes = Buffer.allocUnsafeSlow(64 * 1024);

  private constructor(index: ResultIndex, file: FileHandle | undefined) {
    this.index = index;
    this.#file = file;
  }

  /**
   * Copies the archive's results to `path` and indexes them. An archive that was never accepted has none.
   * @throws PlimsollError `lake_conflict` when the object is not the one that was settled.
   */
  static async open(outcome: ArchiveOutcome, shaOf: (index: number) => string, store: Store, path: string): Promise<Answers> {
    if (outcome.resultsKey === null) return new Answers(new ResultIndex(outcome.rows), undefined);
    const file = await open(path, 'wx+');
    try {
      const copied = copying(store.read(outcome.resultsKey), file);
      const check = await checkResults(copied, { archive: outcome.archive, rows: outcome.rows, shaOf });
      if (check.sha256 !== outcome.resultsSha256 || check.sizeBytes !== outcome.resultsBytes) {
        throw new PlimsollError('lake_conflict', {
          message: `the results of an archive are not the ones that were settled (${check.sizeBytes} bytes, ${outcome.resultsBytes} expected)`,
          where: outcome.resultsKey,
          hint: 'Objects under journal/ must never change. Restore the object from a version or a backup.',
        });
      }
      return new Answers(check.index, file);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The line that answers a row; undefined when none can be trusted. Valid until the next call. */
  lineOf(index: number): SourceLine | undefined {
    const length = this.index.lengthOf(index);
    if (length === 0 || !this.#file) return undefined;
    if (this.#bytes.length < length + 1) this.#bytes = Buffer.allocUnsafeSlow(length + 1);
    let read = 0;
    const offset = this.index.offsetOf(index);
    while (read < length) {
      const count = readSync(this.#file.fd, this.#bytes, read, length - read, offset + read);
      if (count === 0) throw new Error(`the scratch copy of the results ends before byte ${offset + length}`);
      read += count;
    }
    this.#bytes[length] = newline;
    // Its encoding was checked when it was indexed.
    return this.#line.read(this.#bytes, 0, length, true) ? { bytes: this.#bytes, line: this.#line } : undefined;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}

async function* copying(blocks: AsyncIterable<Buffer>, file: FileHandle): AsyncIterable<Buffer> {
  let written: Promise<unknown> = Promise.resolve();
  for await (const block of blocks) {
    // The block is on its way to the file while it is being checked.
    await written;
    written = file.appendFile(block);
    written.catch(() => undefined);
    yield block;
  }
  await written;
}
