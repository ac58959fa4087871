/**
 * The result lines of one archive, readable in the order of its rows. The provider returns them shuffled, so they are
 * read once while their places are noted, and each line is then read at its place: from the page cache of the machine, with
 * one line in memory. A lake that is not on this machine is copied to a scratch file on the way.
 *
 * The set was verified when it was settled, and its digest is compared here, on another thread while the rows are read,
 * unless this process has settled it and its file was not touched since; so noting a line's place takes no more than a look at
 * its `custom_id`. Each line is read, and its id is checked against its
 * prompt, when its row's turn comes. Where the process that has settled them hands over its index, they are not read for
 * their places, and of a row that has one plain answer no more is read than what is spliced from it.
 *
 * Invariants
 *   A1  A line answers a row only if its `custom_id` carries the archive, the row and the checksum of the row's prompt.
 *   A2  What is read counts only once `proven` has resolved: the bytes are then the ones that were settled.
 *   A3  A line is known to be sound JSON when its row was settled as succeeded and no other line claims the row: then it is
 *       the very line that the settler read in full. Only such a line is read without looking at every byte again.
 *   A4  An index counts only for a file that this process has put there and nobody has touched since: its lines were then
 *       checked, ids included, in these very bytes.
 */
import { readSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { CustomIdReader } from '../segments/custom-id.ts';
import { invariant, PlimsollError } from '../segments/errors.ts';
import type { ArchiveOutcome } from '../segments/outcome.ts';
import type { PlacedAnswer, ResultIndex } from '../segments/result-index.ts';
import { ResultLine } from '../segments/result-line.ts';
import { GrowingFile, writingTo } from '../segments/store/scratch.ts';
import type { Store } from '../segments/store/store.ts';
import type { SourceLine } from './encode.ts';
import { LinePlaces } from './line-places.ts';
import type { Press } from './press.ts';

const newline = 0x0a;

/** Random access to the lines of an archive. */
export class Answers {
  /** Where the lines stand: by the settler's index, or as they were found here. */
  readonly #places: Pick<LinePlaces, 'placesOf'>;
  /** What the settler has said of them, where it is known (A4). */
  readonly #index: ResultIndex | undefined;
  readonly #ids: CustomIdReader;
  readonly #file: FileHandle | undefined;
  readonly #line = new ResultLine();
  #bytes = Buffer.allocUnsafeSlow(64 * 1024);

  readonly #proof: Promise<void>;

  private constructor(ids: CustomIdReader, places: Pick<LinePlaces, 'placesOf'>, file: FileHandle | undefined, proof: Promise<void>, index?: ResultIndex) {
    this.#ids = ids;
    this.#places = places;
    this.#index = index;
    this.#file = file;
    this.#proof = proof;
    // It is awaited by whoever commits; until then a failure must not count as unhandled.
    proof.catch(() => undefined);
  }

  /**
   * Notes where each line of the archive's results stands; they are copied to `path` when the lake is elsewhere. An archive
   * that was never accepted has none. `index`: what is known of a complete set with the outcome's digest.
   */
  static async open(outcome: ArchiveOutcome, store: Store, path: string, press: Press, index?: ResultIndex): Promise<Answers> {
    const ids = new CustomIdReader(outcome.archive);
    if (outcome.resultsKey === null) return new Answers(ids, new LinePlaces(0, ids), undefined, Promise.resolve());
    const local = store.localPath?.(outcome.resultsKey);
    const isKnown = local !== undefined && (await store.knownSha256?.(outcome.resultsKey)) === outcome.resultsSha256;
    if (isKnown && index?.rows === outcome.rows) return new Answers(ids, index, await open(local, 'r'), Promise.resolve(), index);
    const places = new LinePlaces(outcome.rows, ids);
    const blocks = store.read(outcome.resultsKey);
    if (local !== undefined) for await (const block of blocks) places.add(block);
    const file = await open(local ?? path, local === undefined ? 'wx+' : 'r');
    try {
      if (local === undefined) for await (const block of writingTo(new GrowingFile(file, Infinity), blocks, 1)) places.add(block);
      const answers = new Answers(ids, places, file, isKnown ? Promise.resolve() : compare(press, local ?? path, outcome));
      answers.#placeUnrecognised(places);
      return answers;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Resolves when the results are the ones that were settled (A2). @throws PlimsollError `lake_conflict` when they are not */
  async proven(): Promise<void> {
    await this.#proof;
  }

  /** Where the parts of a succeeded row's answer stand, when the settler has said so (A4); otherwise {@link lineOf} has to look. */
  placedOf(index: number): PlacedAnswer | undefined {
    return this.#index?.answerOf(index);
  }

  /** Reads a part of the results into `target`, from `at` on. */
  readInto(target: Buffer, at: number, offset: number, length: number): void {
    invariant(this.#file !== undefined, 'an archive with answers has results');
    for (let read = 0; read < length; ) {
      const count = readSync(this.#file.fd, target, at + read, length - read, offset + read);
      if (count === 0) throw new Error(`the results end before byte ${offset + length}`);
      read += count;
    }
  }

  /**
   * The line that answers a row whose params have this digest (A1); undefined when there is none. Valid until the next call.
   * `isSucceeded`: the row was settled as succeeded (A3).
   */
  lineOf(index: number, promptSha256: string, isSucceeded: boolean): SourceLine | undefined {
    const places = this.#places.placesOf(index);
    const isSound = isSucceeded && places.length === 1;
    for (const { offset, length } of places) {
      const source = this.#read(offset, length, isSound);
      if (!source) continue;
      const { from, to } = source.line.customId;
      const isOurs = this.#ids.indexOf(source.bytes, from, to) === index && this.#ids.matches(source.bytes, from, index, promptSha256);
      if (isOurs) return source;
    }
    return undefined;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  /** Lines that do not begin with their id are read whole. */
  #placeUnrecognised(places: LinePlaces): void {
    for (const { offset, length } of places.unrecognised) {
      const source = this.#read(offset, length, false);
      if (!source) continue;
      const { customId } = source.line;
      places.place(this.#ids.indexOf(source.bytes, customId.from, customId.to), offset, length);
    }
  }

  #read(offset: number, length: number, isSound: boolean): SourceLine | undefined {
    if (!this.#file) return undefined;
    if (this.#bytes.length < length + 1) this.#bytes = Buffer.allocUnsafeSlow(length + 1);
    this.readInto(this.#bytes, 0, offset, length);
    this.#bytes[length] = newline;
    return this.#line.read(this.#bytes, 0, length, isSound, isSound) ? { bytes: this.#bytes, line: this.#line } : undefined;
  }
}

/** Compares the file with what was settled. */
async function compare(press: Press, path: string, outcome: ArchiveOutcome): Promise<void> {
  const { sizeBytes, sha256 } = await press.digest(path);
  if (sha256 === outcome.resultsSha256 && sizeBytes === outcome.resultsBytes) return;
  throw new PlimsollError('lake_conflict', {
    message: `the results of an archive are not the ones that were settled (${sizeBytes} bytes, ${outcome.resultsBytes} expected)`,
    where: outcome.resultsKey ?? outcome.archive,
    hint: 'Objects under journal/ must never change. Restore the object from a version or a backup.',
  });
}
