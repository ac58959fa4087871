/**
 * What every store must do, whatever holds its objects (T1 to T3 of `segments/store/store.ts`). A test file calls
 * `storeSuite` with a way to open its store; two openings of one world see the same objects.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PlimsollError } from '../../segments/errors.ts';
import { putDocument, readDocument } from '../../segments/store/document.ts';
import { urlOf, type ObjectContent, type Store } from '../../segments/store/store.ts';

export interface StoreWorld {
  /** Opens the same lake once more, as another process would. */
  open(): Promise<Store>;
  /** Every object that a reader outside could see; what a crash left behind and hides is not among them. */
  visible(): Promise<readonly string[]>;
  close(): Promise<void>;
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Content in blocks of `step` bytes. */
export function contentOf(bytes: Buffer, step = 1_000): ObjectContent {
  const blocks: Buffer[] = [];
  for (let from = 0; from < bytes.length; from += step) blocks.push(bytes.subarray(from, from + step));
  return { blocks, sizeBytes: bytes.length, sha256: sha256(bytes) };
}

async function keysOf(store: Store, prefix: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  await promise.then(
    () => 'none',
    (error: unknown) => (error instanceof PlimsollError ? error.code : `not ours: ${String(error)}`),
  );

/** Runs the suite against one kind of store. */
export function storeSuite(kind: string, openWorld: () => Promise<StoreWorld>): void {
  describe(`a lake in ${kind}`, () => {
    let world: StoreWorld;
    let store: Store;
    let scratch: string;
    beforeEach(async () => {
      world = await openWorld();
      store = await world.open();
      scratch = await mkdtemp(join(tmpdir(), 'plimsoll-scratch-'));
    });
    afterEach(async () => {
      await store.close();
      await world.close();
      await rm(scratch, { recursive: true, force: true });
    });
    const local = async (bytes: Buffer): Promise<string> => {
      const path = join(scratch, sha256(bytes).slice(0, 8));
      await writeFile(path, bytes);
      return path;
    };

    it.each([0, 1, 999, 1_000, 2_500_000])('gives back the %i bytes that were put (T1)', async (size) => {
      const bytes = Buffer.alloc(size, 'äbc');
      expect(await store.put('spool/run/a.chunk', contentOf(bytes))).toBe('created');
      expect((await store.readWhole('spool/run/a.chunk')).equals(bytes)).toBe(true);
      expect(await store.head('spool/run/a.chunk')).toMatchObject({ key: 'spool/run/a.chunk', sizeBytes: size });
    });

    it('shows an object to everyone once put has returned (T1)', async () => {
      const other = await world.open();
      await store.put('a/b', contentOf(Buffer.from('x')));
      expect((await other.readWhole('a/b')).toString()).toBe('x');
      await other.close();
    });

    it('shows nothing while the bytes are still coming (T1)', async () => {
      const bytes = Buffer.from('first second');
      const seen: unknown[] = [];
      const blocks = async function* (): AsyncGenerator<Uint8Array> {
        yield bytes.subarray(0, 6);
        seen.push(await store.head('a/slow'), await keysOf(store, ''));
        yield bytes.subarray(6);
      };
      await store.put('a/slow', { ...contentOf(bytes), blocks: blocks() });
      expect(seen).toEqual([undefined, []]);
    });

    it.each([
      ['are fewer than', 'shor', 'short'],
      ['are more than', 'shortt', 'short'],
      ['differ from', 'shirt', 'short'],
    ])('creates nothing when the bytes %s what was announced', async (_what, given, announced) => {
      await expect(store.put('a/b', { ...contentOf(Buffer.from(announced)), blocks: [Buffer.from(given)] })).rejects.toThrow();
      expect(await store.head('a/b')).toBeUndefined();
      expect(await world.visible()).toEqual([]);
      expect(await store.put('a/b', contentOf(Buffer.from(announced)))).toBe('created');
    });

    it('creates nothing when the source of the bytes fails', async () => {
      const broken = async function* (): AsyncGenerator<Uint8Array> {
        yield Buffer.from('some');
        throw new Error('the source broke');
      };
      await expect(store.put('a/b', { ...contentOf(Buffer.from('some more')), blocks: broken() })).rejects.toThrow('the source broke');
      expect(await world.visible()).toEqual([]);
    });

    it('answers `same` to equal content and never changes an object (T2)', async () => {
      const bytes = Buffer.from('once');
      expect(await store.put('a/b', contentOf(bytes))).toBe('created');
      expect(await store.put('a/b', contentOf(bytes, 1))).toBe('same');
      expect(await codeOf(store.put('a/b', contentOf(Buffer.from('twice'))))).toBe('lake_conflict');
      expect(await codeOf(store.put('a/b', contentOf(Buffer.from('0nce'))))).toBe('lake_conflict');
      expect((await store.readWhole('a/b')).toString()).toBe('once');
    });

    it('names the key of a conflict and not a byte of its content', async () => {
      await store.put('a/b', contentOf(Buffer.from('secret one')));
      const error = await store.put('a/b', contentOf(Buffer.from('secret two'))).catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code: 'lake_conflict', where: expect.stringMatching(/(^|\/)a\/b$/) as string });
      expect(JSON.stringify(error) + String(error)).not.toContain('secret');
    });

    it('lets one of fifty writers of different content win, and all of fifty writers of equal content (T2)', async () => {
      const stores = await Promise.all(Array.from({ length: 5 }, async () => await world.open()));
      const race = async (key: string, content: (index: number) => Buffer): Promise<readonly string[]> =>
        await Promise.all(
          Array.from({ length: 50 }, async (_, index) => {
            const writer = stores[index % stores.length] ?? store;
            return await writer.put(key, contentOf(content(index), 7)).catch((error: unknown) => (error instanceof PlimsollError ? error.code : String(error)));
          }),
        );
      const different = await race('race/different', (index) => Buffer.from(`writer ${index} `.repeat(50)));
      expect(different.filter((answer) => answer === 'created')).toHaveLength(1);
      expect(different.filter((answer) => answer === 'lake_conflict')).toHaveLength(49);
      expect((await store.readWhole('race/different')).toString()).toBe(`writer ${different.indexOf('created')} `.repeat(50));
      const equal = await race('race/equal', () => Buffer.from('the same '.repeat(50)));
      expect(equal.filter((answer) => answer === 'created')).toHaveLength(1);
      expect(equal.filter((answer) => answer === 'same')).toHaveLength(49);
      await Promise.all(stores.map(async (each) => await each.close()));
    });

    it('creates an object from a finished file, once, like any other', async () => {
      const bytes = Buffer.alloc(1_500_000, 'xyz');
      const content = { sizeBytes: bytes.length, sha256: sha256(bytes) };
      expect(await store.putFile('results/f', await local(bytes), content)).toBe('created');
      expect(await store.putFile('results/f', await local(bytes), content)).toBe('same');
      const other = Buffer.alloc(1_500_000, 'xyZ');
      expect(await codeOf(store.putFile('results/f', await local(other), { sizeBytes: other.length, sha256: sha256(other) }))).toBe('lake_conflict');
      expect((await store.readWhole('results/f')).equals(bytes)).toBe(true);
    });

    it('does not change an object when the file that it was made from is removed', async () => {
      const bytes = Buffer.from('kept');
      const path = await local(bytes);
      await store.putFile('results/f', path, { sizeBytes: 4, sha256: sha256(bytes) });
      await rm(path, { force: true });
      expect((await store.readWhole('results/f')).toString()).toBe('kept');
    });

    it('creates nothing from a file of another size than announced', async () => {
      await expect(store.putFile('results/f', await local(Buffer.from('short')), { sizeBytes: 6, sha256: sha256(Buffer.from('short!')) })).rejects.toThrow();
      expect(await store.head('results/f')).toBeUndefined();
    });

    it('reads any range, its end exclusive, as a slice of the whole', async () => {
      const bytes = Buffer.from(Array.from({ length: 5_000 }, (_, index) => index % 251));
      await store.put('a/r', contentOf(bytes));
      await fc.assert(
        fc.asyncProperty(fc.nat({ max: 5_000 }), fc.nat({ max: 5_000 }), async (one, two) => {
          const [start, end] = one < two ? [one, two] : [two, one];
          expect((await store.readWhole('a/r', { start, end })).equals(bytes.subarray(start, end))).toBe(true);
        }),
        { numRuns: 40, examples: [[0, 0], [0, 1], [4_999, 5_000], [0, 5_000]] },
      );
    });

    it('streams a large object in blocks', async () => {
      const bytes = Buffer.alloc(3_000_000, 'block');
      await store.put('a/large', contentOf(bytes, 100_000));
      const sizes: number[] = [];
      for await (const block of store.read('a/large')) sizes.push(block.length);
      expect(sizes.length).toBeGreaterThan(1);
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(bytes.length);
    });

    it('lists keys in byte order, whole and by any prefix', async () => {
      const keys = ['b/2', 'a/b/c', 'a/b', 'a/b-1', 'a/B', 'a/é', 'a/z', 'ab', 'a.b/1', 'a/b.txt'];
      for (const key of keys.filter((key) => key !== 'a/b')) await store.put(key, contentOf(Buffer.from(key)));
      const sorted = keys.filter((key) => key !== 'a/b').sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect(await keysOf(store, '')).toEqual(sorted);
      for (const prefix of ['a', 'a/', 'a/b', 'a/b/', 'b', 'a/b.', 'nothing', 'nothing/at/all']) {
        expect(await keysOf(store, prefix), prefix).toEqual(sorted.filter((key) => key.startsWith(prefix)));
      }
    });

    it('lists sizes', async () => {
      await store.put('a/b', contentOf(Buffer.from('four')));
      const listed: unknown[] = [];
      for await (const object of store.list('a/')) listed.push(object);
      expect(listed).toEqual([{ key: 'a/b', sizeBytes: 4 }]);
    });

    it('says that an object is missing, and which', async () => {
      expect(await store.head('a/none')).toBeUndefined();
      const error = await store.readWhole('a/none').catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code: 'lake_missing', where: expect.stringMatching(/(^|\/)a\/none$/) as string });
    });

    it.each(['', '/a', 'a/', 'a//b', '../a', 'a/../../b', './a', 'a/./b', 'a\0b'])('takes no key that could lead elsewhere: %j', async (key) => {
      await expect(store.put(key, contentOf(Buffer.from('x')))).rejects.toThrow();
      expect(await world.visible()).toEqual([]);
    });

    it('keeps small documents, whose replay is the same', async () => {
      const value = { v: 1, text: 'ü', list: [] };
      expect(await putDocument(store, 'journal/d.json', value)).toBe('created');
      expect(await putDocument(store, 'journal/d.json', value)).toBe('same');
      expect(await codeOf(putDocument(store, 'journal/d.json', { ...value, v: 2 }))).toBe('lake_conflict');
      expect(await readDocument(store, 'journal/d.json')).toEqual(value);
      expect(await readDocument(store, 'journal/none.json')).toBeUndefined();
      await store.put('journal/bad.json', contentOf(Buffer.from('{"half')));
      expect(await codeOf(readDocument(store, 'journal/bad.json'))).toBe('ledger_corrupt');
    });

    it('has an address, and every object one below it', async () => {
      expect(store.uri).not.toMatch(/\/$/);
      expect(urlOf(store, 'a/b')).toBe(`${store.uri}/a/b`);
    });
  });
}
