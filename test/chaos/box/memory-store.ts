/** A lake in memory with the rules of the store port: created once, never changed. Objects may be out of reach for a while. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { PlimsollError } from '../../../segments/errors.ts';
import type { ByteRange, ObjectContent, Store, StoredObject } from '../../../segments/store/store.ts';
import type { Random } from './random.ts';

export class MemoryStore implements Store {
  readonly uri = 'memory://lake';
  readonly objects = new Map<string, Buffer>();
  /** Whether somebody has moved an object away and not brought it back yet: it cannot be read, and nothing takes its place. */
  readonly #isMisplaced: (key: string) => boolean;

  constructor(isMisplaced: (key: string) => boolean = () => false) {
    this.#isMisplaced = isMisplaced;
  }

  async put(key: string, content: ObjectContent): Promise<'created' | 'same'> {
    const blocks: Uint8Array[] = [];
    for await (const block of content.blocks) blocks.push(Uint8Array.from(block));
    return this.#create(key, Buffer.concat(blocks));
  }

  async putFile(key: string, path: string): Promise<'created' | 'same'> {
    return this.#create(key, readFileSync(path));
  }

  async *read(key: string, range?: ByteRange): AsyncIterable<Buffer> {
    yield await this.readWhole(key, range);
  }

  async readWhole(key: string, range?: ByteRange): Promise<Buffer> {
    const found = this.#isMisplaced(key) ? undefined : this.objects.get(key);
    if (!found) throw new PlimsollError('lake_missing', { message: 'no such object', where: key });
    return range ? found.subarray(range.start, range.end) : found;
  }

  async head(key: string): Promise<StoredObject | undefined> {
    const found = this.#isMisplaced(key) ? undefined : this.objects.get(key);
    return found && { key, sizeBytes: found.length };
  }

  async *list(prefix: string): AsyncIterable<StoredObject> {
    for (const key of [...this.objects.keys()].sort()) if (key.startsWith(prefix)) yield { key, sizeBytes: this.objects.get(key)?.length ?? 0 };
  }

  async close(): Promise<void> {
    // Memory needs no closing.
  }

  #create(key: string, bytes: Buffer): 'created' | 'same' {
    const found = this.objects.get(key);
    if (!found) {
      this.objects.set(key, bytes);
      return 'created';
    }
    if (found.equals(bytes)) return 'same';
    throw new PlimsollError('lake_conflict', { message: `another object is there (${createHash('sha256').update(found).digest('hex').slice(0, 8)})`, where: key });
  }
}

/** Moves a share of the spool's objects away, and brings them back when `isOver` says so; which ones depends on the seed alone. */
export function misplacedBy(random: Random, share: number, isOver: () => boolean): (key: string) => boolean {
  const drawn = new Map<string, boolean>();
  return (key) => {
    if (!key.startsWith('spool/') || isOver()) return false;
    const isAway = drawn.get(key) ?? random.chance(share);
    drawn.set(key, isAway);
    return isAway;
  };
}
