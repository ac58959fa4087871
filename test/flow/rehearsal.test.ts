/** A rehearsal and the provider: what was begun with `--simulate` is never sent to the provider, and what is real is never simulated. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openHome, type Home } from '../../local/home.ts';
import { corpus, openWorld, type Ended, type World } from '../chaos/world.ts';

let world: World;
let home: Home;
let redis: Redis;
let source: string;
beforeAll(async () => {
  world = await openWorld();
  home = await openHome({ directory: world.home, searchPath: process.env['PATH'] ?? '', install: true, announce: () => undefined });
  if (home.redis.kind !== 'socket') throw new Error('a home starts a Redis of its own');
  redis = new Redis({ path: home.redis.path });
  source = world.write('in.jsonl', corpus(40, 3));
});
afterAll(async () => {
  redis.disconnect();
  await home.close();
  await world.close();
});

/** How often anybody has asked the provider for anything. */
const asked = (): number => (existsSync(world.truthFile) ? readFileSync(world.truthFile, 'utf8').split('\n').filter((line) => line.includes('"request_received"')).length : 0);
const json = (end: Ended): Record<string, unknown> => JSON.parse(end.stdout) as Record<string, unknown>;
const status = async () => JSON.parse((await world.run(['status', '--json'])).stdout) as { runs: { run_key: string; is_rehearsal?: boolean; status: string }[]; archives: { run_key: string; state: string; waits_for: string | null }[] };

/** Begins a rehearsal and waits for nothing: its rows are queued, and its batches have not ended. */
async function interrupted(run: string): Promise<void> {
  const end = await world.run(['run', source, '--run-key', run, '--simulate', '--timeout', '1ms', '--json']);
  expect(end.code, end.stderr).toBe(6);
  expect(json(end)).toMatchObject({ run_key: run, is_rehearsal: true, status: 'running', counts: { accepted: 40 } });
}

/** A worker with the provider's key works until it has said that it leaves the rehearsal alone; returns its log. */
async function realWorker(): Promise<string> {
  const worker = world.start(['work']);
  await worker.said('other_side"');
  // Everything that it might have sent is in line by now, and it looks again and again.
  await worker.said('worker.started');
  const view = await status();
  worker.process.kill('SIGTERM');
  const end = await worker.ended;
  expect(end.code, end.stderr).toBe(0);
  expect(view.runs.some((run) => run.is_rehearsal === true && run.status === 'running')).toBe(true);
  return end.stderr;
}

it('an interrupted rehearsal is left alone by a worker with a key, is shown with what it waits for, and ends with --simulate', { timeout: 120_000 }, async () => {
  await interrupted('first');
  const log = await realWorker();
  expect(asked()).toBe(0);
  for (const event of ['submit.other_side', 'batch.other_side']) expect(log.split(event).length, 'it is told once').toBeLessThanOrEqual(3);
  const { archives } = await status();
  const waiting = archives.filter((archive) => archive.state === 'sealed' || archive.state === 'accepted');
  expect(waiting.length).toBeGreaterThan(0);
  expect(waiting.every((archive) => archive.waits_for === 'plimsoll work --simulate')).toBe(true);
  expect((await world.run(['status'])).stdout).toMatch(/run first is a rehearsal: \d archives? with \d+ rows? waits? for: plimsoll work --simulate/);
  expect((await world.run(['watch', 'first', '--timeout', '1ms'])).stdout).toMatch(/first {2}running, rehearsal/);

  const end = await world.run(['run', source, '--run-key', 'first', '--simulate', '--json']);
  expect(end.code, end.stderr).toBe(0);
  expect(json(end)).toMatchObject({ run_key: 'first', is_rehearsal: true, status: 'succeeded', counts: { accepted: 40, succeeded: 40 } });
  expect(asked()).toBe(0);
  const report = readdirSync(join(world.lake, 'runs'), { recursive: true }).map(String).find((name) => name.endsWith('first/run.json'));
  expect(JSON.parse(readFileSync(join(world.lake, 'runs', report ?? ''), 'utf8'))).toMatchObject({ run_key: 'first', is_rehearsal: true });
});

it.each([
  ['run', ['run', 'SOURCE', '--run-key', 'first'], /the run first was rehearsed/, /another --run-key for the real run.*plimsoll cancel first --simulate/],
  ['retry', ['retry', 'first'], /the run first was rehearsed/, /never answered for real: run the file under another run key/],
])('%s without --simulate is refused at once where the run was rehearsed', async (_verb, args, message, hint) => {
  const end = await world.run(args.map((arg) => (arg === 'SOURCE' ? source : arg)));
  expect(end.code).toBe(2);
  expect(end.stderr).toContain('[run_side_differs]');
  expect(end.stderr).toMatch(message);
  expect(end.stderr.replaceAll('\n', ' ')).toMatch(hint);
  expect(asked()).toBe(0);
});

it('a plan is not applied for real to a run that was rehearsed', async () => {
  const plan = join(world.home, 'plan.json');
  expect((await world.run(['plan', source, '--out', plan])).code).toBe(0);
  const end = await world.run(['apply', plan, '--run-key', 'first']);
  expect(end.code).toBe(2);
  expect(end.stderr).toContain('[run_side_differs]');
  expect(asked()).toBe(0);
});

it('a run without a key says first that its run key was rehearsed', async () => {
  const end = await world.run(['run', source, '--run-key', 'first'], { ANTHROPIC_API_KEY: '' });
  expect(end.code).toBe(2);
  expect(end.stderr).toContain('[run_side_differs]');
});

it('enqueue answers a rehearsed run key as before, and says whose answers those are', async () => {
  const end = await world.run(['enqueue', source, '--run-key', 'first']);
  expect(end.code, end.stderr).toBe(0);
  expect(end.stderr).toMatch(/The run first is a rehearsal: the simulator answers it\. For real answers use another --run-key\./);
});

it('a rehearsal is canceled with its simulator: without --simulate the command is refused before anything is written down', { timeout: 120_000 }, async () => {
  await interrupted('second');
  const refused = await world.run(['cancel', 'second']);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(/plimsoll cancel second --simulate[^]*\[run_side_differs\]/);
  expect(existsSync(join(world.lake, 'journal/runs/second/canceled.json'))).toBe(false);
  const end = await world.run(['cancel', 'second', '--simulate', '--json']);
  expect(end.code, end.stderr).toBe(0);
  expect(json(end)).toMatchObject({ run_key: 'second', status: 'canceled', is_rehearsal: true });
  expect((await world.run(['cancel', 'second'])).code, 'there is nothing to work any more').toBe(0);
  expect(asked()).toBe(0);
});

it('a ledger that was rebuilt still knows what a rehearsal is, also one that no command has opened as one', { timeout: 120_000 }, async () => {
  expect((await world.run(['enqueue', source, '--run-key', 'third'])).code).toBe(0);
  const worker = world.start(['work', '--simulate']);
  await worker.said('batch.accepted');
  worker.process.kill('SIGTERM');
  expect((await worker.ended).code).toBe(0);
  await interrupted('fourth');
  await redis.flushall();
  const end = await world.run(['recover', '--json']);
  expect(end.code, end.stderr).toBe(0);
  const rehearsals = (await status()).runs.filter((run) => run.is_rehearsal === true).map((run) => run.run_key);
  expect(rehearsals.sort()).toEqual(['first', 'fourth', 'second', 'third']);
  await realWorker();
  expect(asked()).toBe(0);
  for (const run of ['third', 'fourth']) {
    const ended = await world.run(['run', source, '--run-key', run, '--simulate', '--json']);
    expect(ended.code, ended.stderr).toBe(0);
    expect(json(ended)).toMatchObject({ status: 'succeeded', is_rehearsal: true, counts: { succeeded: 40 } });
  }
  expect(asked()).toBe(0);
});

it('a rehearsal beside workers with a key ends, and they send nothing of it', { timeout: 120_000 }, async () => {
  const workers = [world.start(['work']), world.start(['work'])];
  for (const worker of workers) await worker.said('worker.started');
  const end = await world.run(['run', source, '--run-key', 'beside', '--simulate', '--json']);
  for (const worker of workers) worker.process.kill('SIGTERM');
  for (const worker of workers) expect((await worker.ended).code).toBe(0);
  expect(end.code, end.stderr).toBe(0);
  expect(json(end)).toMatchObject({ status: 'succeeded', is_rehearsal: true, counts: { succeeded: 40 } });
  expect(asked()).toBe(0);
});

it('a real run is left alone by the simulator, finished or not', { timeout: 120_000 }, async () => {
  const end = await world.run(['run', source, '--run-key', 'real', '--timeout', '1ms', '--json']);
  expect(end.code, end.stderr).toBe(6);
  expect(json(end)).not.toHaveProperty('is_rehearsal');
  for (const args of [['run', source, '--run-key', 'real', '--simulate'], ['cancel', 'real', '--simulate']]) {
    const refused = await world.run(args);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/the run real is a real one[^]*\[run_side_differs\]/);
  }
  const other = world.start(['work', '--simulate']);
  await other.said('other_side"');
  other.process.kill('SIGTERM');
  expect((await other.ended).code).toBe(0);
  const done = await world.run(['run', source, '--run-key', 'real', '--json']);
  expect(done.code, done.stderr).toBe(0);
  expect(json(done)).toMatchObject({ status: 'succeeded', counts: { succeeded: 40 } });
  const refused = await world.run(['retry', 'real', '--simulate']);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(/plimsoll retry real[^]*\[run_side_differs\]/);
});
