/** Open chunks that outgrow the memory go on in files and become the objects that they would have been (P5, P6, F1, K1). */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { produce } from '../../producers/producer.ts';
import type { ProduceRequest, Production } from '../../producers/producer.ts';
import { PlimsollError } from '../../segments/errors.ts';
import type { Store } from '../../segments/store/store.ts';
import { line, openedAtMs, openWorld, run } from './producer-world.ts';
import type { World } from './producer-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(async () => await world.close());

const topics = 20;
/** The long rows and the short ones of a topic differ in context class. */
const segments = topics * 2;
/** Long rows, whose params fill the memory, and then short ones, whose index lines do. */
const texts = [...Array.from({ length: 400 }, (_, row) => `${row} `.repeat(4_000)), ...Array.from({ length: 12_000 }, (_, row) => `${row}`)];
const ids = texts.map((_, row) => `id-${row}`);
const source = texts.map((text, row) => line(`id-${row}`, { topic: `t${row % topics}` }, text)).join('\n');
const bound = { openBytesMax: 5_000_000 };

const staged = async (): Promise<readonly string[]> => await readdir(join(world.folder, 'lake', '.tmp'));

async function objects(): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for await (const { key } of world.store.list('spool/')) found.set(key, (await world.store.readWhole(key)).toString('latin1'));
  return found;
}

/** Produces into another store than the world's own. */
async function produceInto(store: Store, changes: Partial<ProduceRequest> = {}): Promise<Production> {
  const path = await world.write('in.jsonl', source);
  const wake = { wake: async () => undefined, enqueueChunk: async () => undefined, close: async () => undefined };
  return await produce({
    runKey: run, source: { kind: 'file', path }, settings: { ...world.settings, ...bound }, ledger: world.ledger.port, store, wake,
    installationId: 'test-installation', now: () => openedAtMs, signal: new AbortController().signal, ...changes,
  });
}

/** The world's store with something else about it. */
function storeWith(changes: Partial<Store>): Store {
  const { store } = world;
  return {
    uri: store.uri,
    put: async (key, content) => await store.put(key, content),
    putFile: async (key, path, content) => await store.putFile(key, path, content),
    read: (key, range) => store.read(key, range),
    readWhole: async (key, range) => await store.readWhole(key, range),
    head: async (key) => await store.head(key),
    list: (prefix) => store.list(prefix),
    close: async () => undefined,
    ...changes,
  };
}

test('a chunk that has left the memory becomes the same object as one that never did, and no file stays', async () => {
  await world.produce(await world.write('in.jsonl', source), bound);
  expect(world.ledger.chunks.length).toBe(segments);
  expect((await world.rows()).map(({ id }) => id).sort()).toEqual([...ids].sort());
  const spilled = await objects();
  expect(await staged()).toEqual([]);
  await world.close();
  world = await openWorld();
  await world.produce(await world.write('in.jsonl', source));
  const kept = await objects();
  expect([...spilled.keys()]).toEqual([...kept.keys()]);
  // The name of the source stands in the footer, and the worlds lie in different folders.
  for (const [key, bytes] of kept) expect(bytes.slice(0, bytes.lastIndexOf('{"v":1')) === spilled.get(key)?.slice(0, bytes.lastIndexOf('{"v":1')), key).toBe(true);
});

test('a chunk that has left the memory is not read once more for a digest that nobody needs', async () => {
  const put: string[] = [];
  const digested: string[] = [];
  const { store } = world;
  const { stagingDirectory = '' } = store;
  const watching = storeWith({
    stagingDirectory,
    async putFile(key, path, content) {
      put.push(key);
      const { sizeBytes, isDigested = false } = content;
      return await store.putFile(key, path, {
        sizeBytes,
        isDigested,
        get sha256() {
          digested.push(key);
          return content.sha256;
        },
      });
    },
  });
  await produceInto(watching);
  expect(put).not.toEqual([]);
  expect(digested).toEqual([]);
});

test('a store without a staging folder gets small chunks, and the same rows', async () => {
  await produceInto(storeWith({}));
  expect(world.ledger.chunks.length).toBeGreaterThan(segments);
  expect((await world.rows()).map(({ id }) => id).sort()).toEqual([...ids].sort());
});

test('an interrupted producer leaves no file, and the next one meets the objects that nobody acknowledged', async () => {
  world.ledger.beforeAdd = () => {
    throw new PlimsollError('redis_unavailable', { message: 'gone' });
  };
  const path = await world.write('in.jsonl', source);
  await expect(world.produce(path, bound)).rejects.toThrow('gone');
  expect(await staged()).toEqual([]);
  const orphans = (await objects()).size;
  expect(orphans).toBeGreaterThan(0);
  world.ledger.beforeAdd = () => undefined;
  expect(await world.produce(path, bound)).toMatchObject({ accepted: texts.length });
  expect((await objects()).size).toBe(segments);
  expect((await world.rows()).map(({ id }) => id).sort()).toEqual([...ids].sort());
});

test('an abort while chunks are open leaves no file (P6)', async () => {
  const abort = new AbortController();
  const rows = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from(`${source.slice(0, source.indexOf('"id-399"'))}\n`);
    abort.abort(new Error('interrupted'));
    yield Buffer.from('{}\n');
  };
  await expect(produceInto(world.store, { source: { kind: 'rows', uri: 'made', rows: rows() }, signal: abort.signal })).rejects.toThrow('interrupted');
  expect(await staged()).toEqual([]);
  expect(world.ledger.chunks).toEqual([]);
});

test.each([
  ['has vanished', 'gone'],
  ['is a file', 'in.jsonl/x'],
])('a staging folder that %s stops the producer with a word about it, and nothing is acknowledged', async (_, name) => {
  const error = await produceInto(storeWith({ stagingDirectory: join(world.folder, name) })).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'lake_unavailable', message: expect.stringContaining('unfinished chunk') as string });
  expect(world.ledger.chunks).toEqual([]);
});
