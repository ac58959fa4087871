/** What is installed is a bundle: its command, its threads and its library, from the folder that a user would have. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readRows } from '../chaos/oracle.ts';
import { corpus, openWorld, type World } from '../chaos/world.ts';

const product = dirname(dirname(dirname(process.env['TEST_PRODUCT'] ?? '')));
/** More than 8 MiB of results (press, check) and of a request body (body), 4 MB of that (judgeworker) and 1 MiB of a source (judge). */
const count = 14_000;

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(async () => await world.close());

it('runs and exports, with every thread that the work is large enough for', { timeout: 120_000 }, async () => {
  const heard = join(world.folder, 'threads.txt');
  // Loaded into every process and, by inheritance, into every thread of it; a thread is started with its module as second argument.
  const ear = world.write('ear.mjs', `import { appendFileSync } from 'node:fs'; import { isMainThread } from 'node:worker_threads'; if (!isMainThread) appendFileSync(${JSON.stringify(heard)}, process.argv[1] + '\\n');`);
  const listening = { NODE_OPTIONS: `--import ${ear}` };
  const simulator = world.start(['simulate', '--port', '0', '--state', join(world.folder, 'built-provider'), '--tier', 'unlimited', '--batch-seconds', '0.1', '--retry-after', '0'], listening);
  if (simulator.process.stdout === null) throw new Error('the simulator has no output');
  const [address] = (await once(simulator.process.stdout, 'data')) as [Buffer];
  // Of one priority, so that it is one archive.
  const source = world.write('in.jsonl', corpus(count, 7, { lengthMax: 1_300, maxTokens: 2_000 }).replaceAll(/"priority":"\w+"/g, '"priority":"normal"'));
  const end = await world.run(['run', source, '--run-key', 'built', '--json'], { ...listening, ANTHROPIC_BASE_URL: String(address).trim() });
  expect(end.code, end.stderr).toBe(0);
  expect(JSON.parse(end.stdout)).toMatchObject({ status: 'succeeded', counts: { accepted: count, succeeded: count } });
  expect(readRows(world.lake)).toHaveLength(count);
  const started = new Set(readFileSync(heard, 'utf8').trimEnd().split('\n').map((path) => basename(path)));
  expect([...started].sort()).toEqual([...(availableParallelism() > 1 ? ['body-thread.js'] : []), 'check-thread.js', 'judge-thread.js', 'judgeworker.js', 'press-thread.js']);
});

it('is imported by a program that has it installed', async () => {
  const installed = join(world.folder, 'job/node_modules');
  mkdirSync(installed, { recursive: true });
  symlinkSync(product, join(installed, 'plimsoll'));
  world.write('job/job.mjs', `
    import { enqueue, openPlimsoll, PlimsollError } from 'plimsoll';
    const plimsoll = await openPlimsoll();
    async function* rows() { for (const id of ['a', 'b']) yield Buffer.from(JSON.stringify({ id, prompt: 'Summarise this.', params: undefined })); }
    const production = await enqueue(plimsoll, { kind: 'rows', uri: 'etl://job', rows: rows() }, { runKey: 'job' });
    const refused = await enqueue(plimsoll, 'no-such-file.jsonl', { runKey: 'none' }).catch((error) => error instanceof PlimsollError && error.code);
    await plimsoll.close();
    console.log(JSON.stringify({ accepted: production.accepted, refused }));
  `);
  const env = { PATH: process.env['PATH'] ?? '', HOME: world.folder, PLIMSOLL_HOME: world.home, PLIMSOLL_DEFAULTS__MODEL: 'claude-haiku-4-5', PLIMSOLL_DEFAULTS__MAX_TOKENS: '16' };
  const job = spawn(process.execPath, ['job.mjs'], { cwd: join(world.folder, 'job'), env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr] = await Promise.all([text(job.stdout), text(job.stderr)]);
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual({ accepted: 2, refused: 'source_unreadable' });
});

it('tells its version as the manifest has it, and names the licence of every package that is in it', async () => {
  const { version } = JSON.parse(readFileSync(join(product, 'package.json'), 'utf8')) as { version: string };
  for (const flag of ['--version', '-V']) expect(await world.run([flag])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' });
  const notices = readFileSync(join(product, 'dist/THIRD-PARTY.txt'), 'utf8');
  const shipped = readdirSync(join(product, 'dist/chunks')).flatMap((chunk) =>
    [...readFileSync(join(product, 'dist/chunks', chunk), 'utf8').matchAll(/^\s*\/\/ (?:\S*\/)?node_modules\/((?:@[^/\s]+\/)?[^/\s]+)\//gm)].map((match) => match[1]));
  expect(new Set(shipped)).toContain('bullmq');
  expect([...new Set(shipped)].filter((name) => !new RegExp(`^=== ${String(name)} \\d`, 'm').test(notices))).toEqual([]);
  expect(existsSync(join(product, 'dist/segments/ledger/scripts/admit.lua'))).toBe(true);
});
