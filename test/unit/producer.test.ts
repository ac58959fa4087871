/** The producer, end to end, over a lake in a folder and a ledger in memory. Invariants A1 to A4, P1 to P5. */
import { createHash } from 'node:crypto';
import { readdir, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { survey } from '../../producers/producer.ts';
import { PlimsollError } from '../../segments/errors.ts';
import { line, openWorld, readLines, run } from './producer-world.ts';
import type { World } from './producer-world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(async () => {
  const scratch = await readdir(world.settings.scratchDirectory).catch(() => []);
  expect(scratch.filter((name) => name.endsWith('.part'))).toEqual([]);
  await world.close();
});

function many(count: number, from = 0): string {
  return Array.from({ length: count }, (_, index) => line(`id-${from + index}`, { topic: `t${index % 3}`, client: `c${index % 2}` })).join('\n') + '\n';
}

async function failure(promise: Promise<unknown>): Promise<PlimsollError> {
  const error: unknown = await promise.then(() => undefined, (thrown: unknown) => thrown);
  if (error instanceof PlimsollError) return error;
  throw new Error(`expected a PlimsollError, got ${String(error)}`);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

test('a source of the three shapes becomes chunks, one per segment and client, and the run is flushed', async () => {
  const source = [
    line('a', { topic: 'invoices', priority: 'high', client: 'x' }),
    JSON.stringify({ id: 'b', prompt: 'Hello', system: 'Be brief.', topic: 'invoices' }),
    JSON.stringify({ custom_id: 'c', params: { model: 'claude-haiku-4-5', max_tokens: 5, messages: [{ role: 'user', content: 'ä' }] } }),
  ].join('\n');
  const production = await world.produce(await world.write('in.jsonl', source));
  expect(production).toMatchObject({ accepted: 3, rejected: 0, rejectsKey: undefined, isNew: true });
  expect(production.run.state).toBe('open');
  expect(production.run.checkpoint).toEqual({ bytes: Buffer.byteLength(source), rows: 3, sha256: sha256(source) });
  const rows = await world.rows();
  expect(rows.map(({ id, segment, client }) => [id, segment, client])).toEqual([
    ['a', 'invoices.8k.high', 'x'],
    ['b', 'invoices.8k.normal', 'etl'],
    ['c', 'docs.8k.normal', 'etl'],
  ]);
  expect(JSON.parse(rows[1]?.params ?? '')).toEqual({
    model: 'claude-haiku-4-5',
    max_tokens: 256,
    system: 'Be brief.',
    messages: [{ role: 'user', content: 'Hello' }],
  });
  expect(world.queued).toEqual(world.ledger.chunks.map(({ footer }) => footer.chunk));
  expect(world.wakeUps.map(({ stage }) => stage)).toEqual(['pack']);
});

test('the params that are spooled are the very bytes of the line, whatever tries to look like them', async () => {
  const params = '{ "model":"claude-haiku-4-5" , "max_tokens":5,"messages":[{"role":"user","content":"\\"params\\":{} é \\ud83d\\ude00 }"}] }';
  const source = `{"metadata":{"params":{"model":"x"}},"id":"a","p\\u0061rams" :  ${params}\t}\n`;
  await world.produce(await world.write('in.jsonl', source));
  expect((await world.rows()).map((row) => row.params)).toEqual([params]);
});

test('bad lines go to the rejects file with line, offset, column and code, and the rest goes on', async () => {
  const lines = [line('a'), '{"id":"b","params":{', '', line('a'), line('c', { priority: 'hgih' })];
  const path = await world.write('in.jsonl', `${lines.join('\n')}\n`);
  const production = await world.produce(path);
  expect(production).toMatchObject({ accepted: 1, rejected: 3 });
  const rejects = await world.rejects(production);
  expect(rejects.map((row) => [row['line'], row['code'], row['byte_offset']])).toEqual([
    [2, 'invalid_json', lines[0]?.length === undefined ? 0 : lines[0].length + 1],
    [4, 'id_duplicate', expect.any(Number)],
    [5, 'priority_invalid', expect.any(Number)],
  ]);
  expect(rejects[0]?.['message']).toBe(`${path}:2:21: invalid JSON: expected a key in double quotes or '}'`);
  expect(rejects[0]?.['raw']).toBe(lines[1]);
  expect(rejects[1]?.['message']).toBe(`${path}:4: line 1 has the same id`);
  expect(rejects[2]?.['message']).toContain('did you mean "high"?');
});

test('the same run key with the same input costs nothing twice', async () => {
  const path = await world.write('in.jsonl', many(10));
  await world.produce(path);
  const chunks = world.ledger.chunks.length;
  const again = await world.produce(path);
  expect(again).toMatchObject({ isNew: false, accepted: 10, rejected: 0 });
  expect(world.ledger.chunks).toHaveLength(chunks);
});

test('the same run key with another input is refused and both digests are named', async () => {
  await world.produce(await world.write('in.jsonl', many(10)));
  const error = await failure(world.produce(await world.write('in.jsonl', many(11))));
  expect(error.code).toBe('run_input_differs');
  expect(error.message).toContain(sha256(many(10)));
  expect(error.message).toContain(sha256(many(11)));
});

test.each([1, 2, 5, 11, 17])('a producer that dies after %i chunks goes on where the durable chunks end, and no row is lost or doubled', async (chunksMax) => {
  const path = await world.write('in.jsonl', many(60));
  world.settings = { ...world.settings, chunkRowsMax: 3 };
  world.ledger.beforeAdd = () => {
    if (world.ledger.chunks.length >= chunksMax) throw new Error('the process died here');
  };
  await expect(world.produce(path)).rejects.toThrow('the process died here');
  expect(world.ledger.chunks).toHaveLength(chunksMax);
  world.ledger.beforeAdd = () => undefined;
  const production = await world.produce(path, { chunkRowsMax: 4 });
  expect(production).toMatchObject({ accepted: 60, isNew: true });
  const rows = await world.rows();
  expect(rows.map(({ row }) => row).sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
  const seen = new Map<string, number>();
  for (const { segment, client, row } of rows) {
    expect(row).toBeGreaterThan(seen.get(`${segment}|${client}`) ?? 0);
    seen.set(`${segment}|${client}`, row);
  }
});

test('an interrupted run adds nothing from a source whose beginning has changed', async () => {
  const path = await world.write('in.jsonl', many(60));
  world.settings = { ...world.settings, chunkRowsMax: 3 };
  world.ledger.beforeAdd = () => {
    if (world.ledger.chunks.length >= 4) throw new Error('the process died here');
  };
  await expect(world.produce(path)).rejects.toThrow('the process died here');
  world.ledger.beforeAdd = () => undefined;
  const error = await failure(world.produce(await world.write('in.jsonl', many(60, 1))));
  expect(error.code).toBe('run_input_differs');
  expect(world.ledger.chunks).toHaveLength(4);
});

test('a source that ends before the checkpoint of its run is another input', async () => {
  const path = await world.write('in.jsonl', many(60));
  world.ledger.beforeFlush = () => {
    throw new Error('the process died here');
  };
  await expect(world.produce(path)).rejects.toThrow('the process died here');
  world.ledger.beforeFlush = () => undefined;
  await truncate(path, many(59).length);
  expect((await failure(world.produce(path))).code).toBe('run_input_differs');
});

test('a run whose source was read to its end takes nothing that was appended since', async () => {
  const path = await world.write('in.jsonl', many(6));
  world.ledger.beforeFlush = () => {
    throw new Error('the process died here');
  };
  await expect(world.produce(path)).rejects.toThrow('the process died here');
  const chunks = world.ledger.chunks.length;
  world.ledger.beforeFlush = () => undefined;
  expect((await failure(world.produce(await world.write('in.jsonl', many(9)), { chunkRowsMax: 1 }))).code).toBe('run_input_differs');
  expect(world.ledger.chunks).toHaveLength(chunks);
  expect(await world.produce(await world.write('in.jsonl', many(6)))).toMatchObject({ accepted: 6 });
});

test('a run that lost its Redis finds its tag, its date and its chunk objects again', async () => {
  const path = await world.write('in.jsonl', many(9));
  const first = await world.produce(path);
  const chunks = world.ledger.chunks.map(({ footer }) => footer.chunk);
  const spooled = (await readdir(join(world.folder, 'lake/spool/nightly'))).length;
  const empty = await openWorld();
  world.ledger.record = undefined;
  world.ledger.chunks.length = 0;
  Object.assign(world.ledger.port, empty.ledger.port, { readRun: empty.ledger.port.readRun });
  await empty.close();
  const second = await world.produce(path);
  expect([second.run.tag, second.run.dt]).toEqual([first.run.tag, first.run.dt]);
  expect(empty.ledger.chunks.map(({ footer }) => footer.chunk)).toEqual(chunks);
  expect((await readdir(join(world.folder, 'lake/spool/nightly'))).length).toBe(spooled);
});

test('a run is not resumed under settings that would cut it differently', async () => {
  const path = await world.write('in.jsonl', many(6));
  world.ledger.beforeAdd = () => {
    throw new Error('the process died here');
  };
  await expect(world.produce(path)).rejects.toThrow('the process died here');
  world.ledger.beforeAdd = () => undefined;
  const error = await failure(world.produce(path, { contextClasses: [{ name: 'all', tokensMax: 1_000_000 }] }));
  expect(error.code).toBe('run_config_differs');
  expect(world.ledger.chunks).toHaveLength(0);
});

test('a second producer of the same run finds it busy and stops', async () => {
  const path = await world.write('in.jsonl', many(60));
  world.ledger.beforeAdd = ({ footer }) => {
    // Somebody else has made the same rows durable in the meantime.
    if (footer.firstRow > 20) Object.assign(world.ledger.port, { addChunk: async () => ({ kind: 'stale', epoch: 0 }) });
  };
  expect((await failure(world.produce(path, { chunkRowsMax: 2 }))).code).toBe('run_busy');
});

test('a canceled run takes nothing more', async () => {
  const path = await world.write('in.jsonl', many(3));
  await world.produce(path);
  if (world.ledger.record) world.ledger.record = { ...world.ledger.record, state: 'canceled' };
  expect((await failure(world.produce(path))).code).toBe('run_canceled');
});

test.each(['', '\n \n\r\n'])('a source without a line (%j) is refused before a run is opened', async (content) => {
  const error = await failure(world.produce(await world.write('in.jsonl', content)));
  expect([error.code, error.exit]).toEqual(['source_damaged', 2]);
  expect(world.ledger.record).toBeUndefined();
  expect(await world.store.head('journal/runs/nightly/open.json')).toBeUndefined();
});

test('a source that is not there, or is a folder, is unreadable and the hint says what to do', async () => {
  const missing = await failure(world.produce(join(world.folder, 'nothing.jsonl')));
  expect([missing.code, missing.message]).toEqual(['source_unreadable', 'there is no such file']);
  const folder = await failure(world.produce(world.folder));
  expect(folder.code).toBe('source_unreadable');
  expect(folder.hint).toContain('Give one file');
});

test('under --strict a file with a bad line opens no run, and every bad line is listed', async () => {
  const path = await world.write('in.jsonl', `${many(5)}{}\nnonsense\n`);
  const error = await failure(world.produce(path, { isStrict: true }));
  expect([error.code, error.exit]).toEqual(['input_rejected', 2]);
  expect(error.message).toContain('2 of 7 lines');
  expect((await readLines(error.where ?? '')).map((row) => row['line'])).toEqual([6, 7]);
  expect(world.ledger.record).toBeUndefined();
  // The run key is still free for the mended file.
  expect(await world.produce(await world.write('in.jsonl', many(5)), { isStrict: true })).toMatchObject({ accepted: 5 });
});

test('under --strict nothing from standard input is released before the end, and nothing at all when a line is bad', async () => {
  const bad = Readable.from([Buffer.from(many(6)), Buffer.from('{}\n')]);
  const error = await failure(world.produce({ kind: 'stdin', stream: bad }, { isStrict: true, chunkRowsMax: 1 }));
  expect(error.code).toBe('input_rejected');
  expect(error.message).toContain('1 of 7 lines of - are bad');
  expect(world.queued).toEqual([]);
  expect(world.ledger.chunks.every((chunk) => !chunk.isReleased)).toBe(true);
  expect(world.ledger.record?.state).toBe('ingesting');
});

test('under --strict a good source is released when it was read to the end', async () => {
  const good = Readable.from([Buffer.from(many(6))]);
  await world.produce({ kind: 'stdin', stream: good }, { isStrict: true });
  expect(world.ledger.chunks.every((chunk) => !chunk.isReleased)).toBe(true);
  expect(world.queued).toEqual(world.ledger.chunks.map(({ footer }) => footer.chunk));
});

test.each([
  ['one bad row of two is within a bound of 1 row', { kind: 'rows', rows: 1 }, 1, true],
  ['two bad rows break a bound of 1 row', { kind: 'rows', rows: 1 }, 2, false],
  ['two bad of ten are within 20 %', { kind: 'percent', percent: 20 }, 2, true],
  ['two bad of ten break 19 %', { kind: 'percent', percent: 19 }, 2, false],
] as const)('%s', async (_name, badRowsMax, bad, isFine) => {
  const source = '{}\n'.repeat(bad) + many(10 - bad);
  const path = await world.write('in.jsonl', source);
  if (isFine) expect(await world.produce(path, { badRowsMax })).toMatchObject({ accepted: 10 - bad, rejected: bad });
  else expect((await failure(world.produce(path, { badRowsMax }))).code).toBe('input_rejected');
});

test('gzip is recognised by its first bytes, and positions are those of the decompressed source', async () => {
  const production = await world.produce(await world.write('in.data', Buffer.concat([gzipSync(many(4)), gzipSync(many(4, 4))])));
  expect(production.accepted).toBe(8);
  expect(production.run.checkpoint.sha256).toBe(sha256(many(4) + many(4, 4)));
});

test('a gzip that ends early is damaged; the mended file goes on under the same run key', async () => {
  // Random ids keep the compressed size above one block, so that a part of the source is durable before the damage.
  const body = Array.from({ length: 4_000 }, (_, index) => line(`id-${index}`, {}, createHash('sha512').update(String(index)).digest('hex').repeat(6))).join('\n');
  const whole = gzipSync(`${body}\n`, { level: 1 });
  const path = await world.write('in.gz', whole.subarray(0, whole.length - 1_000));
  const error = await failure(world.produce(path, { chunkRowsMax: 100 }));
  expect(error.code).toBe('source_damaged');
  expect(error.message).toMatch(/ends early, after \d+ bytes of the file/);
  const durable = world.ledger.chunks.length;
  expect(durable).toBeGreaterThan(0);
  expect(world.ledger.record?.state).toBe('ingesting');
  expect(await world.produce(await world.write('in.gz', whole))).toMatchObject({ accepted: 4_000, isNew: true });
  expect(new Set((await world.rows()).map(({ row }) => row)).size).toBe(4_000);
});

test('a gzip bomb is stopped long before it is unpacked', async () => {
  const error = await failure(world.produce(await world.write('bomb.gz', gzipSync(Buffer.alloc(64_000_000, 'x')))));
  expect(error.code).toBe('source_damaged');
  expect(error.message).toContain('decompression bomb');
  expect(world.ledger.record).toBeUndefined();
});

test('memory over open chunks is bounded: the largest is sealed when the sum grows beyond it', async () => {
  const text = 'x'.repeat(10_000);
  const source = Array.from({ length: 100 }, (_, index) => line(`id-${index}`, { topic: `t${index % 10}` }, text)).join('\n');
  await world.produce(await world.write('in.jsonl', source), { openBytesMax: 200_000 });
  expect(world.ledger.chunks.length).toBeGreaterThan(10);
  expect(Math.max(...world.ledger.chunks.map(({ footer }) => footer.paramsBytes))).toBeLessThan(200_000);
});

test('the checkpoint that goes with a chunk covers every row of it', async () => {
  const source = many(50);
  await world.produce(await world.write('in.jsonl', source), { chunkRowsMax: 4 });
  for (const { footer, checkpoint } of world.ledger.chunks) {
    expect(checkpoint.sha256).toBe(sha256(source.slice(0, checkpoint.bytes)));
    expect(source.slice(0, checkpoint.bytes).split('\n').length).toBeGreaterThanOrEqual(footer.lastRow);
  }
});

test('an aborted producer leaves no write under way and can be started again', async () => {
  const abort = new AbortController();
  const blocks = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from(many(8_000));
    abort.abort(new Error('interrupted'));
    yield Buffer.from(many(8_000, 8_000));
  };
  const source = { kind: 'rows', uri: 'made', rows: blocks() } as const;
  await expect(world.produce(source, { chunkRowsMax: 100 }, abort.signal)).rejects.toThrow('interrupted');
  const added = world.ledger.chunks.length;
  expect(added).toBeGreaterThan(0);
  const again = { kind: 'rows', uri: 'made', rows: Readable.from([Buffer.from(many(8_000)), Buffer.from(many(8_000, 8_000))]) } as const;
  expect(await world.produce(again)).toMatchObject({ accepted: 16_000 });
  expect((await world.rows()).length).toBe(16_000);
});

test('an abort ends the wait for a pipe that stays silent', async () => {
  const abort = new AbortController();
  const silent = new Readable({ read: () => setImmediate(() => abort.abort(new Error('interrupted'))) });
  silent.push(many(3));
  await expect(world.produce({ kind: 'stdin', stream: silent }, {}, abort.signal)).rejects.toThrow('interrupted');
});

test('lines made by a program need no newline of their own', async () => {
  const rows = Readable.from([Buffer.from(line('a')), Buffer.from(`${line('b')}\n`), Buffer.from(line('c'))]);
  expect(await world.produce({ kind: 'rows', uri: 'demo:', rows })).toMatchObject({ accepted: 3 });
});

test('a run of nothing but bad lines wakes the stage that writes its manifest', async () => {
  expect(await world.produce(await world.write('in.jsonl', '{}\n'))).toMatchObject({ accepted: 0, rejected: 1 });
  expect(world.wakeUps.map(({ stage, entity }) => [stage, entity])).toEqual([['pack', 'all'], ['gather', run]]);
});

test('a survey counts what a run would ingest and writes nothing', async () => {
  const path = await world.write('in.jsonl', `${many(30)}{}\n`);
  const plan = await survey({ kind: 'file', path }, world.settings);
  expect(await readdir(join(world.folder, 'lake'))).toEqual(['.tmp']);
  await world.produce(path);
  expect(plan).toMatchObject({ accepted: 30, rejected: 1, rejectedByCode: { shape_unknown: 1 }, input: world.ledger.record?.checkpoint });
  expect(plan.segments.map(({ segment, rows }) => [segment, rows])).toEqual([['t0.8k.normal', 10], ['t1.8k.normal', 10], ['t2.8k.normal', 10]]);
  const reserved = world.ledger.chunks.reduce((sum, { footer }) => sum + footer.microUsdMax, 0);
  expect(plan.segments.reduce((sum, segment) => sum + segment.microUsdMax, 0)).toBe(reserved);
  for (const segment of plan.segments) {
    expect(segment.tokensExpected).toBeLessThan(segment.tokensMax);
    expect(segment.microUsdExpected).toBeLessThanOrEqual(segment.microUsdMax);
  }
});
