/** Lines that are judged on another thread get the judgements that they get here. Invariants G1 to G3, I3, A5. */
import { hash } from 'node:crypto';
import { afterEach, expect, test } from 'vitest';
import { Intake } from '../../producers/intake.ts';
import type { JudgedLine } from '../../producers/intake.ts';
import { Judge } from '../../producers/judge.ts';
import type { IntakeRules } from '../../producers/judge.ts';
import { aheadBytesMax, JudgingThread } from '../../producers/judging.ts';
import type { JudgedBatch } from '../../producers/judging.ts';
import { LineReader } from '../../producers/lines.ts';
import type { Line } from '../../producers/lines.ts';
import { intakeRules } from '../../producers/settings.ts';
import { line, openWorld, settingsIn } from './producer-world.ts';
import type { World } from './producer-world.ts';

const rules: IntakeRules = { ...intakeRules(settingsIn('/nowhere')), lineBytesMax: 3_000_000, cache: { topics: ['invoices'], after: 1, isPriming: false } };
/** Long enough to be cached. */
const manual = 'Follow the manual. '.repeat(1_500);
const threads: JudgingThread[] = [];
afterEach(async () => {
  for (const thread of threads.splice(0)) await thread.end();
});

function start(isDigested = true, over: Partial<IntakeRules> = {}): JudgingThread {
  const thread = new JudgingThread({ ...rules, ...over }, isDigested);
  threads.push(thread);
  return thread;
}

/** One line of each kind that a judgement can be, blank ones included. */
function lines(): readonly Line[] {
  const params = { model: 'claude-haiku-4-5', max_tokens: 64, messages: [{ role: 'user', content: 'grüße 𝒳 ½' }] };
  const texts = [
    line('a'),
    line('b', { topic: 'invoices', priority: 'high', client: 'x@y', deadline: '2026-11-22T06:00:00Z', metadata: { batch: 'ä', n: [1, 2] } }),
    JSON.stringify({ id: 'c', prompt: 'Sum up: \u0000 é' }),
    JSON.stringify({ custom_id: 'd', params: { ...params, inference_geo: 'us' } }),
    '  ',
    '{"id":"e","params":{',
    JSON.stringify({ id: 'f', params: { ...params, model: 'claude-hiku-4-5' } }),
    line('g', {}, 'A long text with “quotes”. '.repeat(2_000)),
    line('h', {}, 'x'.repeat(2_900_000)),
    line('i', {}, 'x'.repeat(3_100_000)),
    JSON.stringify({ id: 'j', prompt: 'The last of the short ones.' }),
    line('a', {}, 'The id of the first.'),
    line('k', { metadata: {} }),
    JSON.stringify({ id: 'l', topic: 'invoices', params: { ...params, system: manual } }),
  ];
  const whole = Buffer.from(texts.map((text) => `${text}\n`).join(''));
  const reader = new LineReader(rules.lineBytesMax);
  reader.begin({ uri: 's3://in/a.jsonl', etag: 'e1', version: undefined });
  reader.hash(whole);
  const broken: Line = { row: 15, byteOffset: whole.length, bytes: Buffer.from([0x7b, 0xff]), sizeBytes: 2 };
  return [...reader.cut(whole), broken];
}

/** What of a line is worth comparing. Bytes are copied: they are valid for a moment. */
function facts({ bytes, ...place }: Line, found: object): unknown {
  return { place, bytes: hash('sha256', bytes, 'hex'), found: JSON.parse(JSON.stringify(found)) as unknown };
}

function factsOf(batch: JudgedBatch): readonly unknown[] {
  return [...batch.lines()].map((each) => facts(each.line, each.judgement));
}

test('a line is judged on the thread as it is judged here, and comes back with its bytes and its place (G1, G2)', async () => {
  const thread = start();
  const judge = new Judge(rules);
  const given = lines().filter(({ bytes }) => bytes.toString().trim() !== '');
  const here = given.map((each) => facts(each, judge.judge(each)));
  for (const each of given) thread.add(each);
  thread.send();
  const there: unknown[] = [];
  while (thread.owed > 0) there.push(...factsOf(await thread.take()));
  expect(there).toEqual(here);
});

test('the digest of the params comes along where it is wanted', async () => {
  const [given] = lines();
  for (const isDigested of [true, false]) {
    const thread = start(isDigested);
    if (given) thread.add(given);
    thread.send();
    for (const { judgement, paramsSha } of (await thread.take()).lines()) {
      const sha = judgement.kind === 'prompt' ? hash('sha256', judgement.prompt.params, 'hex') : '';
      expect(paramsSha).toBe(isDigested ? sha : undefined);
    }
  }
});

test('what is on its way is bounded by bytes, however long the lines are (G3)', async () => {
  const thread = start();
  const long = lines().filter(({ sizeBytes }) => sizeBytes > 2_000_000 && sizeBytes < 3_000_000);
  expect(long.length).toBe(1);
  let added = 0;
  for (; !thread.isFull; added += 1) for (const each of long) thread.add(each);
  expect(added * 2_900_000).toBeLessThan(aheadBytesMax + 2 * 3_000_000);
  thread.send();
  for (let taken = 0; taken < added; taken += 1) {
    const batch = await thread.take();
    expect(factsOf(batch).length).toBe(1);
    thread.give(batch);
  }
  expect(thread.isFull).toBe(false);
});

test('a thread that has ended is told as what it is, with what to do', async () => {
  const thread = start();
  for (const each of lines()) thread.add(each);
  thread.send();
  await thread.end();
  await expect(thread.take()).rejects.toMatchObject({ code: 'thread_failed', hint: expect.stringContaining('Start the same run') });
});

test('a thread that cannot be told its rules is an error before the first line', async () => {
  // A function cannot be copied to another thread.
  const thread = start(true, { defaults: Object.assign({ ...rules.defaults }, { toString: () => 'x' }) });
  for (const each of lines()) thread.add(each);
  thread.send();
  await expect(thread.take()).rejects.toMatchObject({ name: 'DataCloneError' });
});

test('every line is handed out once and in order, whether it was judged before the thread had started or by it (I3)', async () => {
  const given = lines().filter(({ sizeBytes }) => sizeBytes < 100_000);
  const copyOf = (round: number): readonly Line[] => given.map((each) => ({ ...each, row: each.row + round * 100 }));
  const intake = new Intake('in.jsonl', rules, undefined, { afterBytes: 1_000, isDigested: true });
  const seen: unknown[] = [];
  const collect = async (portions: AsyncIterable<Iterable<JudgedLine>>): Promise<number> => {
    const before = seen.length;
    for await (const portion of portions) {
      for (const { line: each, verdict } of portion) seen.push(facts(each, verdict.kind === 'prompt' ? { ...verdict, paramsSha: '' } : verdict));
    }
    return seen.length - before;
  };
  const rounds = 40;
  expect(await collect(intake.verdicts(copyOf(1)))).toBeGreaterThan(0);
  // From here on the thread judges, and nothing comes back at once.
  expect(await collect(intake.verdicts(copyOf(2)))).toBe(0);
  for (let round = 3; round <= rounds; round += 1) await collect(intake.verdicts(copyOf(round)));
  await collect(intake.rest());
  await intake.close();

  const plain = new Intake('in.jsonl', rules);
  const expected: unknown[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    for (const each of copyOf(round)) {
      if (each.bytes.toString().trim() === '') continue;
      const verdict = plain.judge(each);
      expected.push(facts(each, verdict.kind === 'prompt' ? { ...verdict, paramsSha: '' } : verdict));
    }
  }
  expect(seen).toEqual(expected);
});

/** A source of some megabytes with bad lines in all of its parts. */
function largeSource(): string {
  const texts = Array.from({ length: 1_200 }, (_, index) => {
    if (index % 97 === 5) return `{"id":"row-${index}", "oops`;
    if (index % 29 === 3) return JSON.stringify({ id: `row-${index}`, topic: 'manuals', params: { model: 'claude-haiku-4-5', max_tokens: 64, system: manual, messages: [{ role: 'user', content: `Question ${index}` }] } });
    if (index % 89 === 7) return line(`row-${index - 3}`);
    return line(`row-${index}`, { topic: `topic-${index % 5}`, metadata: { index } }, `“Text” of row ${index}. `.repeat(10 + ((index * 37) % 300)));
  });
  return texts.map((text) => `${text}\n`).join('');
}

/** Everything that a run has left: its objects, its refused lines and what the ledger was told. */
async function remainsOf(world: World, production: Awaited<ReturnType<World['produce']>>): Promise<unknown> {
  const objects = await Promise.all(world.ledger.chunks.map(async ({ spoolKey }) => hash('sha256', await world.store.readWhole(spoolKey), 'hex')));
  const footers = world.ledger.chunks.map(({ footer }) => footer);
  const { accepted, rejected } = production;
  return { accepted, rejected, input: world.ledger.record?.checkpoint, rejects: await world.rejects(production), footers, objects };
}

test('a file leaves the very objects and refused lines that it leaves when it is judged here, also after an attempt that broke off', async () => {
  const worlds = [await openWorld(), await openWorld(), await openWorld()] as const;
  const [aside, here, broken] = worlds;
  const source = largeSource();
  expect(source.length).toBeGreaterThan(3_000_000);
  // The path stands in messages and footers, so all three are given the same one.
  const path = await aside.write('in.jsonl', source);
  const settings = { chunkBytesMax: 100_000, cache: { topics: ['manuals'], after: 2, isPriming: true } };
  const expected = await remainsOf(here, await here.produce({ kind: 'rows', uri: path, rows: (async function* () { yield Buffer.from(source); })() }, settings));
  expect(here.ledger.chunks.some(({ footer }) => footer.prefix !== undefined)).toBe(true);
  expect(await remainsOf(aside, await aside.produce(path, settings))).toEqual(expected);

  broken.ledger.beforeAdd = () => {
    if (broken.ledger.chunks.length === 20) throw new RangeError('the ledger is away');
  };
  await expect(broken.produce(path, settings)).rejects.toThrow('the ledger is away');
  broken.ledger.beforeAdd = () => undefined;
  expect(await remainsOf(broken, await broken.produce(path, settings))).toEqual(expected);
  for (const world of worlds) await world.close();
});
