/** Every command of the README is run, in the order in which it stands there, as a newcomer would run it. */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const home = mkdtempSync(join(tmpdir(), 'plimsoll-readme-'));
const env = { PATH: process.env['PATH'] ?? '', HOME: home, PLIMSOLL_HOME: join(home, 'home'), PLIMSOLL_POLL__MIN: '100ms', CI: '1' };
// The Redis of the home ends by itself behind the last command, and writes its file while it does.
afterAll(() => rmSync(home, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 }));

/** Lines of the shell blocks. `npm ci` is what brought this test here, and `npm test` is what runs it. */
function commands(): readonly string[] {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  return [...readme.matchAll(/```sh\n([\s\S]*?)```/g)]
    .flatMap((block) => (block[1] ?? '').split('\n'))
    .map((line) => line.trim().replace(/^npm ci && /, ''))
    .filter((line) => line !== '' && !line.startsWith('#') && line !== 'npm test');
}

async function run(command: string): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)('sh', ['-c', command], { cwd: root, env, maxBuffer: 64e6 });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const failed = error as { code: number; stdout: string; stderr: string };
    return { code: failed.code, stdout: failed.stdout, stderr: failed.stderr };
  }
}

it('the commands of the README do what it says', async () => {
  const lines = commands();
  expect(lines).toContain('npm run demo');
  expect(lines.length).toBeGreaterThan(5);
  // What runs until it is stopped runs beside the others, as in a second terminal.
  const endless = lines.filter((line) => / (work|listen|simulate|watch)( |$)/.test(line));
  const servers = endless.map((line) => spawn('sh', ['-c', `exec ${line}`], { cwd: root, env, stdio: 'ignore', detached: true }));
  try {
    for (const line of lines) {
      if (endless.includes(line)) continue;
      const ended = await run(line);
      expect({ line, code: ended.code, stderr: ended.code === 0 ? '' : ended.stderr }).toEqual({ line, code: 0, stderr: '' });
      if (line.includes('demo')) expect(ended.stdout).toMatch(/every row is accounted for/);
    }
  } finally {
    for (const server of servers) {
      const gone = once(server, 'exit');
      if (server.exitCode !== null) throw new Error(`a command that should run until it is stopped ended with ${server.exitCode}`);
      if (server.pid !== undefined) process.kill(-server.pid, 'SIGTERM');
      await gone;
    }
  }
}, 180_000);

it.skipIf(spawnSync('python3', ['--version']).status !== 0)('a CSV file becomes lines as it says', async () => {
  const [, block = ''] = /```console\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? [];
  const [convert = '', plan = ''] = block.trim().split(/^\$ /m).slice(1).map((command) => command.replaceAll('\n> ', '\n').replaceAll('reviews.', join(home, 'reviews.')));
  writeFileSync(join(home, 'reviews.csv'), 'id,text\nr-1,"Good, and ""cheap"" too."\nr-2,"Two\nlines of nothing."\n');
  expect(await run(convert)).toMatchObject({ code: 0, stderr: '' });
  const lines = readFileSync(join(home, 'reviews.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as unknown);
  expect(lines).toEqual([
    { id: 'r-1', prompt: 'Is this review positive? Good, and "cheap" too.', topic: 'reviews' },
    { id: 'r-2', prompt: 'Is this review positive? Two\nlines of nothing.', topic: 'reviews' },
  ]);
  const planned = await run(`${plan.trim()} --json`);
  expect(planned.code, planned.stderr).toBe(0);
  expect(JSON.parse(planned.stdout)).toMatchObject({ rejects: [] });
}, 60_000);
