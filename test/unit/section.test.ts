/** Restarts that begin behind the last durable section of a source. Invariants Z1 to Z3, N4, Y1, A4. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { produce } from '../../producers/producer.ts';
import type { Production, ProducerSettings, SourceLocation } from '../../producers/producer.ts';
import { rejectsKey } from '../../segments/lake.ts';
import { openFolderStore } from '../../segments/store/folder.ts';
import type { Store } from '../../segments/store/store.ts';
import { fakeLedger, line, openedAtMs, readLines, run, settingsIn } from './producer-world.ts';
import type { FakeLedger } from './producer-world.ts';

/** One attempt after another on one lake and one ledger. */
interface Place {
  readonly folder: string;
  readonly store: Store;
  ledger: FakeLedger;
  /** Keys that were read from the lake. */
  readonly reads: string[];
  /** Called before and after every write to the lake and before every chunk; may throw. */
  step: (name: string) => void;
  produce(source: SourceLocation, changes?: Partial<ProducerSettings>): Promise<Production>;
}

const made: string[] = [];
beforeEach(() => made.splice(0));
afterEach(async () => {
  for (const folder of made) {
    const scratch = await readdir(join(folder, 'scratch')).catch(() => []);
    expect(scratch.filter((name) => name.endsWith('.part'))).toEqual([]);
    await rm(folder, { recursive: true, force: true });
  }
});

async function open(): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'section-'));
  made.push(folder);
  const lake = await openFolderStore(join(folder, 'lake'), openedAtMs);
  const reads: string[] = [];
  const around = async <Result>(name: string, act: () => Promise<Result>): Promise<Result> => {
    place.step(`before ${name}`);
    const result = await act();
    place.step(`after ${name}`);
    return result;
  };
  const store: Store = {
    uri: lake.uri,
    ...(lake.stagingDirectory === undefined ? {} : { stagingDirectory: lake.stagingDirectory }),
    put: async (key, content) => await around(key, async () => await lake.put(key, content)),
    putFile: async (key, path, content) => await around(key, async () => await lake.putFile(key, path, content)),
    read: (key, range) => {
      reads.push(key);
      return lake.read(key, range);
    },
    readWhole: async (key, range) => await lake.readWhole(key, range),
    head: async (key) => await lake.head(key),
    list: (prefix) => lake.list(prefix),
    close: async () => await lake.close(),
  };
  const place: Place = {
    folder,
    store,
    ledger: fakeLedger(),
    reads,
    step: () => undefined,
    async produce(source, changes = {}) {
      place.ledger.beforeAdd = ({ footer }) => place.step(`before chunk ${footer.chunk}`);
      place.ledger.beforeFlush = () => place.step('before flush');
      return await produce({
        runKey: run,
        source,
        settings: { ...settingsIn(folder), chunkRowsMax: 3, ...changes },
        ledger: place.ledger.port,
        store,
        wake: { wake: async () => undefined, enqueueChunk: async () => undefined, close: async () => undefined },
        installationId: 'test-installation',
        now: () => openedAtMs,
        signal: new AbortController().signal,
      });
    },
  };
  return place;
}

/** Every object of the lake with the digest of its content. */
async function contentOf({ store }: Place): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {};
  for await (const { key } of store.list('')) found[key] = createHash('sha256').update(await store.readWhole(key)).digest('hex');
  return found;
}

const boom = new Error('the process died here');

/** Lines with three topics, two clients, a line that is no JSON, one that is blank, and an id that comes again much later. */
function corpus(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, index) => {
    if (index % 11 === 4) return '{"id":';
    if (index % 13 === 6) return '';
    return line(index % 17 === 14 ? 'id-0' : `id-${from + index}`, { topic: `t${index % 3}`, client: `c${index % 2}` });
  });
}

interface Bucket {
  readonly source: SourceLocation;
  /** What was fetched: `key` or `key@start`. */
  readonly fetched: string[];
  readonly objects: Map<string, { readonly body: Buffer; readonly etag: string }>;
}

function bucket(bodies: Readonly<Record<string, string | Buffer>>): Bucket {
  const fetched: string[] = [];
  const objects = new Map(Object.entries(bodies).map(([key, body]) => [key, { body: Buffer.from(body), etag: `etag-of-${key}` }]));
  const source: SourceLocation = {
    kind: 'objects',
    uri: 's3://in/',
    async *objects() {
      for (const [key, { body, etag }] of [...objects].sort(([a], [b]) => (a < b ? -1 : 1))) {
        const uri = `s3://in/${key}`;
        yield {
          uri,
          etag,
          open: async () => ({
            uri,
            etag,
            version: undefined,
            async *read(start: number, end = body.length) {
              if (end !== 4) fetched.push(start === 0 ? key : `${key}@${start}`);
              // In odd pieces, so that no end of a section lies where a block ends.
              for (let at = start; at < Math.min(end, body.length); at += 97) yield Buffer.from(body.subarray(at, Math.min(at + 97, end, body.length)));
            },
          }),
        };
      }
    },
  };
  return { source, fetched, objects };
}

/** Three objects: one with a byte order mark and no newline at its end, one compressed, one plain. */
function threeObjects(): Bucket {
  const all = corpus(42);
  return bucket({
    'a.jsonl': `\ufeff${all.slice(0, 14).join('\n')}`,
    'b.jsonl.gz': gzipSync(`${all.slice(14, 28).join('\n')}\n`),
    'c.jsonl': `${all.slice(28).join('\n')}\n`,
  });
}

function rows(text: string): SourceLocation {
  return { kind: 'rows', uri: 'made', rows: (async function* () {
    yield Buffer.from(text);
  })() };
}

describe.each([1, 900, 2_500])('with sections of %i bytes', (sectionBytes) => {
  test('a run that was killed anywhere ends with the very objects of one that was not', async () => {
    const whole = await open();
    const steps: string[] = [];
    whole.step = (name) => void steps.push(name);
    await whole.produce(threeObjects().source, { sectionBytes });
    const expected = await contentOf(whole);
    expect(Object.keys(expected).filter((key) => key.endsWith('.ids')).length).toBeGreaterThan(sectionBytes > 2_000 ? 0 : 2);
    // Every step of the second section's end, and of the rest as many as are worth their time.
    const chosen = steps.filter((name, index) => name.includes('/000002.') || index % Math.ceil(steps.length / 10) === 0);
    for (const doomed of new Set(chosen)) {
      const place = await open();
      place.step = (name) => {
        if (name === doomed) throw boom;
      };
      await expect(place.produce(threeObjects().source, { sectionBytes }), doomed).rejects.toThrow(boom.message);
      place.step = () => undefined;
      const production = await place.produce(threeObjects().source, { sectionBytes });
      expect(production.run.state, doomed).toBe('open');
      expect(await contentOf(place), doomed).toEqual(expected);
    }
  }, 120_000);
});

test('a run with shared prefixes that was killed anywhere makes the same chunks, marked alike in every section (F1, I1)', async () => {
  // Two prefixes and prompts without one, in turn; sections end in the middle of each.
  const systems = ['The clerk. ', 'The harbour master. ', ''].map((word) => word.repeat(800));
  const lines = Array.from({ length: 40 }, (_, at) => {
    const system = systems[at % 3];
    return JSON.stringify({ id: `doc-${at}`, params: { model: 'claude-opus-5', max_tokens: 8, ...(system ? { system } : {}), messages: [{ role: 'user', content: `Question ${at}?` }] } });
  });
  const source = (): SourceLocation => bucket({ 'a.jsonl': `${lines.join('\n')}\n` }).source;
  const settings = { sectionBytes: 80_000, cache: { topics: ['*'], after: 1, isPriming: true } };
  const whole = await open();
  const steps: string[] = [];
  whole.step = (name) => void steps.push(name);
  await whole.produce(source(), settings);
  const expected = await contentOf(whole);
  const prefixes = whole.ledger.chunks.map(({ footer }) => footer.prefix);
  expect(new Set(prefixes).size).toBe(3);
  expect(whole.ledger.chunks.filter(({ footer }) => footer.primes).map(({ footer }) => [footer.rows, footer.previousRow])).toEqual([[1, 0], [1, 0]]);
  expect(Object.keys(expected).filter((key) => key.endsWith('.ids')).length).toBeGreaterThan(2);
  for (const doomed of new Set(steps.filter((name, index) => name.includes('/000002.') || index % Math.ceil(steps.length / 12) === 0))) {
    const place = await open();
    place.step = (name) => {
      if (name === doomed) throw boom;
    };
    await expect(place.produce(source(), settings), doomed).rejects.toThrow(boom.message);
    place.step = () => undefined;
    await place.produce(source(), settings);
    expect(await contentOf(place), doomed).toEqual(expected);
  }
}, 60_000);

test('a restart opens the object in which the last section has ended, at its byte, and none before it', async () => {
  const place = await open();
  const { source, fetched } = threeObjects();
  place.step = (name) => {
    if (name === 'before flush') throw boom;
  };
  await expect(place.produce(source, { sectionBytes: 900 })).rejects.toThrow(boom.message);
  fetched.splice(0);
  place.step = () => undefined;
  expect(await place.produce(source, { sectionBytes: 900 })).toMatchObject({ accepted: 33, rejected: 6 });
  expect(fetched).toEqual([expect.stringMatching(/^c\.jsonl@\d+$/)]);
});

test('a compressed object is decompressed from its start, and the part before the section is not taken twice', async () => {
  const place = await open();
  const { source, fetched } = bucket({ 'a.jsonl.gz': gzipSync(`${corpus(42).join('\n')}\n`) });
  place.step = (name) => {
    if (name === 'before flush') throw boom;
  };
  await expect(place.produce(source, { sectionBytes: 900 })).rejects.toThrow(boom.message);
  place.step = () => undefined;
  fetched.splice(0);
  expect(await place.produce(source, { sectionBytes: 900 })).toMatchObject({ accepted: 33, rejected: 6 });
  expect(fetched).toEqual(['a.jsonl.gz']);
  expect(place.reads.filter((key) => key.endsWith('.ids')).length).toBeGreaterThan(3);
});

describe('a source that has changed since the last section', () => {
  /** Reads objects until a chunk behind the second section is added, and dies. */
  async function interrupted(): Promise<{ readonly place: Place; readonly bucket: Bucket }> {
    const place = await open();
    const found = threeObjects();
    let isBehind = false;
    place.step = (name) => {
      isBehind ||= name === 'after journal/runs/nightly/sections/000004.json';
      if (isBehind && name.startsWith('before chunk')) throw boom;
    };
    await expect(place.produce(found.source, { sectionBytes: 900 })).rejects.toThrow(boom.message);
    place.step = () => undefined;
    found.fetched.splice(0);
    return { place, bucket: found };
  }

  test('is refused when an object before it was replaced', async () => {
    const { place, bucket: found } = await interrupted();
    const added = place.ledger.chunks.length;
    found.objects.set('a.jsonl', { body: Buffer.from(corpus(14, 1).join('\n')), etag: 'another' });
    await expect(place.produce(found.source, { sectionBytes: 900 })).rejects.toMatchObject({ code: 'run_input_differs' });
    expect(place.ledger.chunks).toHaveLength(added);
  });

  test('is refused when there is another object before it', async () => {
    const { place, bucket: found } = await interrupted();
    found.objects.set('aa.jsonl', { body: Buffer.from(`${line('new')}\n`), etag: 'new' });
    await expect(place.produce(found.source, { sectionBytes: 900 })).rejects.toMatchObject({ code: 'run_input_differs' });
  });

  test('is refused when it has become shorter', async () => {
    const { place, bucket: found } = await interrupted();
    found.objects.delete('b.jsonl.gz');
    found.objects.delete('c.jsonl');
    await expect(place.produce(found.source, { sectionBytes: 900 })).rejects.toMatchObject({ code: 'run_input_differs' });
  });

  test('is taken on when an object came behind everything that was read', async () => {
    const { place, bucket: found } = await interrupted();
    found.objects.set('d.jsonl', { body: Buffer.from(`${line('new')}\n`), etag: 'new' });
    expect(await place.produce(found.source, { sectionBytes: 900 })).toMatchObject({ accepted: 34, rejected: 6 });
    expect(found.fetched.filter((each) => each.startsWith('a'))).toEqual([]);
  });

  test('is read again and taken on when the content is the same under another etag', async () => {
    const { place, bucket: found } = await interrupted();
    const before = found.objects.get('a.jsonl');
    found.objects.set('a.jsonl', { body: before?.body ?? Buffer.alloc(0), etag: 'another' });
    expect(await place.produce(found.source, { sectionBytes: 900 })).toMatchObject({ accepted: 33, rejected: 6 });
    expect(found.fetched).toEqual(['a.jsonl', 'b.jsonl.gz', 'c.jsonl']);
  });
});

test('a source without etags is hashed up to the section, and refused when that part has changed', async () => {
  const place = await open();
  const text = `${corpus(60).join('\n')}\n`;
  const die = (name: string): void => {
    if (name === 'before flush') throw boom;
  };
  place.step = die;
  await expect(place.produce(rows(text), { sectionBytes: 900 })).rejects.toThrow(boom.message);
  place.step = () => undefined;
  await expect(place.produce(rows(text.replace('id-1"', 'id-x"')), { sectionBytes: 900 })).rejects.toMatchObject({ code: 'run_input_differs' });
  await expect(place.produce(rows(text.slice(0, 2_000)), { sectionBytes: 900 })).rejects.toMatchObject({ code: 'run_input_differs' });
  expect(await place.produce(rows(text), { sectionBytes: 900 })).toMatchObject({ run: { state: 'open' } });
  expect(await place.produce(rows(text), { sectionBytes: 5_000 }), 'finished, and a run keeps its sections').toMatchObject({ isNew: false });
});

test('an id of a section before the restart is known after it, with its line', async () => {
  const place = await open();
  const text = `${[...Array.from({ length: 30 }, (_, index) => line(`id-${index}`)), line('id-3'), line('end')].join('\n')}\n`;
  let isArmed = false;
  place.step = (name) => {
    isArmed ||= name === 'after journal/runs/nightly/sections/000002.json';
    if (isArmed && name.startsWith('before chunk')) throw boom;
  };
  await expect(place.produce(rows(text), { sectionBytes: 900 })).rejects.toThrow(boom.message);
  place.step = () => undefined;
  const production = await place.produce(rows(text), { sectionBytes: 900 });
  expect(production).toMatchObject({ accepted: 31, rejected: 1 });
  const file = gunzipSync(await place.store.readWhole(rejectsKey(production.run.dt, run))).toString('utf8');
  expect(JSON.parse(file)).toMatchObject({ line: 31, message: 'made:31: line 4 has the same id' });
});

test('bad lines of before the restart count, and are listed with the others when they are too many', async () => {
  const place = await open();
  const good = Array.from({ length: 10 }, (_, index) => line(`id-${index}`));
  const text = `${['{"id":', ...good, 'no json', line('end'), '[1]'].join('\n')}\n`;
  const bounds = { sectionBytes: 900, badRowsMax: { kind: 'rows', rows: 2 } } as const;
  place.step = (name) => {
    if (name === 'after journal/runs/nightly/sections/000001.json') throw boom;
  };
  await expect(place.produce(rows(text), bounds)).rejects.toThrow(boom.message);
  place.step = () => undefined;
  const error = await place.produce(rows(text), bounds).then(() => undefined, (thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'input_rejected', message: expect.stringContaining('3 of 14 lines') as string });
  const { where = '' } = error as { where?: string };
  expect((await readLines(where)).map((row) => row['line'])).toEqual([1, 12, 14]);
});

test('a ledger that knows less than the journal gets every row again', async () => {
  const place = await open();
  const { source } = threeObjects();
  place.step = (name) => {
    if (name === 'before flush') throw boom;
  };
  await expect(place.produce(source, { sectionBytes: 900 })).rejects.toThrow(boom.message);
  const { record } = place.ledger;
  place.step = () => undefined;
  place.ledger = fakeLedger();
  if (record) place.ledger.record = { ...record, checkpoint: { bytes: 0, rows: 0, sha256: '' }, accepted: 0, chunks: 0 };
  await place.produce(source, { sectionBytes: 900 });
  expect(place.ledger.chunks.reduce((sum, { footer }) => sum + footer.rows, 0)).toBe(33);
});

test('a section without its ids is not believed', async () => {
  const place = await open();
  const { source, fetched } = threeObjects();
  place.step = (name) => {
    if (name === 'before flush') throw boom;
  };
  await expect(place.produce(source, { sectionBytes: 900 })).rejects.toThrow(boom.message);
  await rm(join(place.folder, 'lake/journal/runs/nightly/sections/000002.ids'));
  place.step = () => undefined;
  fetched.splice(0);
  expect(await place.produce(source, { sectionBytes: 900 })).toMatchObject({ accepted: 33, rejected: 6 });
  expect(fetched[0]).toMatch(/^a\.jsonl@\d+$/);
});

test('the objects of a finished run are compared by their etags, and only read where those differ', async () => {
  const place = await open();
  const { source, fetched, objects } = threeObjects();
  await place.produce(source, { sectionBytes: 900 });
  fetched.splice(0);
  expect(await place.produce(source)).toMatchObject({ isNew: false, accepted: 33, rejected: 6 });
  expect(fetched).toEqual([]);
  const { body = Buffer.alloc(0) } = objects.get('c.jsonl') ?? {};
  objects.set('c.jsonl', { body, etag: 'another' });
  expect(await place.produce(source)).toMatchObject({ isNew: false });
  objects.set('c.jsonl', { body: Buffer.from(`${line('x')}\n`), etag: 'third' });
  await expect(place.produce(source)).rejects.toMatchObject({ code: 'run_input_differs' });
});
