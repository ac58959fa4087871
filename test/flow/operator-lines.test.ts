/** One file with every kind of bad line, through the command line: each gets its message, its place and its row; the rest goes on. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openHome, type Home } from '../../local/home.ts';
import { openWorld, type Ended, type World } from '../chaos/world.ts';
import { badLines, goodLine } from './bad-lines.ts';

interface RejectRow {
  readonly line: number;
  readonly byte_offset: number;
  readonly code: string;
  readonly message: string;
  readonly raw?: string;
  readonly raw_base64?: string;
}

let world: World;
let home: Home;
let source: string;
let bytes: Buffer;
let end: Ended;
let rejects: readonly RejectRow[];

beforeAll(async () => {
  world = await openWorld({}, { PLIMSOLL_INPUT__LINE_BYTES_MAX: '65000B' });
  // Whoever is in the home keeps its Redis running, so that not every command has to start it.
  home = await openHome({ directory: world.home, searchPath: process.env['PATH'] ?? '', install: false, announce: () => undefined });
  source = join(world.folder, 'bad.jsonl');
  bytes = Buffer.concat([goodLine, ...badLines.map(({ line }) => line)].flatMap((line) => [line, Buffer.from('\n')]));
  writeFileSync(source, bytes);
  end = await world.run(['run', source, '--run-key', 'bad', '--json', '--model', 'claude-haiku-4-5', '--max-tokens', '16']);
  const folder = readdirSync(join(world.lake, 'errors'), { recursive: true }).map(String).find((name) => name.includes('bad-rejects'));
  rejects = gunzipSync(readFileSync(join(world.lake, 'errors', folder ?? ''))).toString('utf8').trim().split('\n').map((line) => JSON.parse(line) as RejectRow);
});
afterAll(async () => {
  await home.close();
  await world.close();
});

it('the good line is answered, every bad one is counted, and the exit code is 3', () => {
  expect(end.code, end.stderr).toBe(3);
  expect(JSON.parse(end.stdout)).toMatchObject({ status: 'partial', counts: { accepted: 1, succeeded: 1, rejected: badLines.length, dead_lettered: 0 } });
  expect(end.stderr.match(/^rejected: /gm)).toHaveLength(10);
  expect(end.stderr).toContain('more lines are rejected; all of them are in the rejects file');
});

it.each(badLines.map((bad, index) => ({ ...bad, index })))('$name is rejected as $code with file, line and what is wrong', ({ index, code, says, line }) => {
  const row = rejects[index];
  expect(row).toMatchObject({ line: index + 2, code });
  expect(row?.message.startsWith(`${source}:${index + 2}`)).toBe(true);
  expect(row?.message).toMatch(says);
  expect(bytes.subarray(row?.byte_offset, (row?.byte_offset ?? 0) + 8)).toEqual(line.subarray(0, 8));
  const raw = row?.raw === undefined ? Buffer.from(row?.raw_base64 ?? '', 'base64') : Buffer.from(row.raw);
  expect(raw.equals(line.subarray(0, raw.length)) && raw.length > 0).toBe(true);
});

describe('bounds and broken files', () => {
  const run = async (args: readonly string[]): Promise<Ended> => await world.run(['enqueue', ...args, '--model', 'claude-haiku-4-5', '--max-tokens', '16']);

  it.each([
    { flags: ['--strict'], says: /19 of 20 lines of .* are bad.*no run was opened/ },
    { flags: ['--max-bad-rows', '50%'], says: /no run was opened/ },
  ])('$flags queues nothing when too many lines are bad, and says where they are listed', async ({ flags, says }) => {
    const refused = await run([source, '--run-key', 'bounded', ...flags]);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toMatch(says);
    expect(refused.stderr).toMatch(/bounded\.rejects\.jsonl/);
    expect(refused.stderr).toContain('[input_rejected]');
  });

  it('a plan under --strict says that nothing would be queued, ends like the run, and cannot be applied', async () => {
    const args = ['plan', source, '--strict', '--model', 'claude-haiku-4-5', '--max-tokens', '16'];
    const told = await world.run(args);
    expect(told).toMatchObject({ code: 2 });
    expect(told.stderr).toContain('[input_rejected]');
    expect(told.stdout.trimEnd().split('\n').at(-1)).toBe(`Plan: 19 of 20 lines of ${source} are bad, more than --strict allows; nothing would be queued. The first: ${source}:2:11`);
    expect(told.stdout).not.toMatch(/would be rejected|segment +rows|\$/);
    const path = join(world.folder, 'plan.json');
    const planned = await world.run([...args, '--json', '--out', path]);
    expect(planned).toMatchObject({ code: 2 });
    expect(JSON.parse(planned.stdout)).toMatchObject({ refused: { code: 'input_rejected', where: `${source}:2:11` }, rejects: badLines.map(({ code }, index) => ({ line: index + 2, code })), rejects_unlisted: 0 });
    const applied = await world.run(['apply', path, '--run-key', 'planned']);
    expect(applied).toMatchObject({ code: 2, stdout: '' });
    expect(applied.stderr).toMatch(/this plan queues nothing: 19 of 20 lines[\s\S]*\[input_rejected\]/);
  });

  it('a run of which no line is good says that its key is used up, because the same command with the forgotten flag would find it', async () => {
    const path = join(world.folder, 'flagless.jsonl');
    writeFileSync(path, '{"id":"a","prompt":"x"}\n');
    const first = await world.run(['run', path, '--run-key', 'flagless']);
    expect(first.code, first.stderr).toBe(3);
    expect(first.stderr).toMatch(/flagless\.jsonl:1: no model is given[\s\S]*no line was good, and this run key is used up/);
  });

  it('a refused file leaves no run behind', async () => {
    const status = JSON.parse((await world.run(['status', '--json'])).stdout) as { runs: { run_key: string }[] };
    expect(status.runs.map((run) => run.run_key)).toEqual(['bad', 'flagless']);
  });

  it.each([
    { name: 'an empty file', content: Buffer.alloc(0), says: /the source is empty/, code: 'source_damaged' },
    { name: 'a truncated gzip', content: gzipSync(Buffer.concat(Array.from({ length: 2000 }, (_, index) => Buffer.from(`{"id":"t-${index}-${Math.imul(index, 2_654_435_761)}","prompt":"x"}\n`)))).subarray(0, -500), says: /broken or ends early/, code: 'source_damaged' },
    { name: 'a gzip bomb', content: gzipSync(Buffer.alloc(64_000_000, 0x20)), says: /decompression bomb/, code: 'source_damaged' },
  ])('$name is refused with its own message', async ({ name, content, says, code }) => {
    const path = join(world.folder, `${name.replaceAll(' ', '-')}.jsonl.gz`);
    writeFileSync(path, content);
    // A plan and a run open and read a source in the same way; a plan needs no Redis.
    const refused = await world.run(['plan', path]);
    expect(refused.code, refused.stderr).toBe(2);
    expect(refused.stderr).toMatch(says);
    expect(refused.stderr).toContain(path);
    expect(refused.stderr).toContain(`[${code}]`);
  });
});
