/**
 * Takes up a source behind its last durable section. Objects are opened there: that those before are still the same is told
 * by their addresses and etags. Of anything else, and of objects that are not the same, the part before is read again, only
 * to be hashed: then its digest decides.
 */
import { PlimsollError } from '../segments/errors.ts';
import type { RunKey } from '../segments/segment.ts';
import type { LineReader } from './lines.ts';
import { inputDiffers } from './same-input.ts';
import type { Section } from './section.ts';
import type { SourceLocation, SourceObject } from './source.ts';
import { emptyTrail, follow } from './trail.ts';
import type { Trail } from './trail.ts';

/** A source, and how much of its first object is left out. */
export interface SourceStart {
  readonly source: SourceLocation;
  readonly skipBytes: number;
}

/** The way back into a source. */
export class Resumption {
  readonly #run: RunKey;
  readonly #reader: LineReader;
  readonly #section: Section;
  #isThere = false;

  constructor(run: RunKey, reader: LineReader, section: Section) {
    this.#run = run;
    this.#reader = reader;
    this.#section = section;
  }

  /** Finds where to begin to read, and sets the reader there if that is the end of the section. */
  async begin(source: SourceLocation): Promise<SourceStart> {
    const { object } = this.#section.place;
    if (source.kind !== 'objects' || !object) return { source, skipBytes: 0 };
    const { objects, isSame } = await beginWith(source.objects(), object.trail);
    if (!isSame) return { source: { ...source, objects }, skipBytes: 0 };
    this.#reader.resume(this.#section.place);
    this.#isThere = true;
    return { source: { ...source, objects }, skipBytes: object.byte };
  }

  /**
   * Called when a part of the source was hashed. true: its lines were taken before and must not be taken again.
   * @throws PlimsollError `run_input_differs` when the source is not the one that the section has ended in
   */
  isBefore(): boolean {
    if (this.#isThere) return false;
    const { place } = this.#section;
    if (this.#reader.bytes < place.bytes) return true;
    const found = this.#reader.position();
    if (found.bytes !== place.bytes || found.sha256 !== place.sha256) throw inputDiffers(this.#run, place, found);
    this.#reader.resume(place);
    this.#isThere = true;
    return true;
  }

  /** Called at the end of the source. @throws PlimsollError `run_input_differs` when it is shorter than the section */
  end(): void {
    if (!this.#isThere) throw inputDiffers(this.#run, this.#section.place, this.#reader.position());
  }
}

/** Whether the objects of a source are those of a trail, no more and no fewer; nothing is opened. */
export async function isTrail(objects: AsyncIterable<SourceObject>, expected: Trail): Promise<boolean> {
  let trail = emptyTrail;
  try {
    for await (const object of objects) trail = follow(trail, object);
  } catch (error) {
    // Whoever reads the source finds out the same and says it with what it means there.
    if (error instanceof PlimsollError) return false;
    throw error;
  }
  return trail.objects === expected.objects && trail.sha256 === expected.sha256;
}

/** Looks whether objects begin with those of a trail. What comes back begins with the last of them, or else with the first. */
async function beginWith(objects: AsyncIterable<SourceObject>, expected: Trail): Promise<{ readonly isSame: boolean; readonly objects: () => AsyncIterable<SourceObject> }> {
  const iterator = objects[Symbol.asyncIterator]();
  const begun: SourceObject[] = [];
  let trail = emptyTrail;
  while (trail.objects < expected.objects) {
    const next = await iterator.next();
    if (next.done) break;
    begun.push(next.value);
    trail = follow(trail, next.value);
  }
  const isSame = trail.objects === expected.objects && trail.sha256 === expected.sha256;
  return { isSame, objects: () => followedBy(isSame ? begun.slice(-1) : begun, iterator) };
}

async function* followedBy(first: readonly SourceObject[], rest: AsyncIterator<SourceObject>): AsyncGenerator<SourceObject, void, void> {
  try {
    yield* first;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    // The rest holds a connection to the bucket.
    await rest.return?.();
  }
}
