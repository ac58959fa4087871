/** A lake in memory with the rules of the store port: created once, never changed. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { PlimsollError } from '../../../segments/errors.ts';
import type { ByteRange, ObjectContent, Store, StoredObject } from '../../../segments/store/store.ts';

export class MemoryStore implements Store {
  readonly uri = 'memory://lake';
  readonly objects = new Map<string, Buffer>();

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
    const found = this.objects.get(key);
    if (!found) throw new PlimsollError('lake_missing', { message: 'no such object', where: key });
    return range ? found.subarray(range.start, range.end) : found;
  }

  async head(key: string): Promise<StoredObject | undefined> {
    const found = this.objects.get(key);
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
