import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { asJson, at, batchBody, rowsOf, scratchFolder } from './rig.ts';

/** `plimsoll simulate` as a process: the first line, exit codes, one line per mistake, help. */

function start(flags: readonly string[], folder: string): ChildProcess {
  const program = join(process.cwd(), 'test/conformance/simulator/simulate-process.ts');
  return spawn(process.execPath, ['--import', 'tsx', program, folder, ...flags]);
}

async function run(...flags: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const child = start(flags, scratchFolder());
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => (stdout += String(chunk)));
  child.stderr?.on('data', (chunk) => (stderr += String(chunk)));
  const [code] = await once(child, 'close');
  return { code, stdout, stderr };
}

describe('plimsoll simulate', () => {
  it('prints its base URL first, serves, and stops cleanly on SIGTERM', async () => {
    const child = start([], scratchFolder());
    const lines = createInterface({ input: child.stdout ?? process.stdin });
    const [url] = await once(lines, 'line');
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await fetch(`${String(url)}/v1/models`, { headers: { 'x-api-key': 'k', 'anthropic-version': '2023-06-01' } })).status).toBe(200);
    child.kill('SIGTERM');
    expect(await once(child, 'close')).toEqual([0, null]);
  });

  it('prints URL and state folder as one document with --json', async () => {
    const folder = scratchFolder();
    const child = start(['--json'], folder);
    const [line] = await once(createInterface({ input: child.stdout ?? process.stdin }), 'line');
    expect(JSON.parse(String(line))).toEqual({ url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) as string, state: folder });
    child.kill('SIGTERM');
    expect(await once(child, 'close')).toEqual([0, null]);
  });

  it.each([
    ['an unknown flag', ['--wings'], /unknown option '--wings'/],
    ['a port that is no number', ['--port', 'x'], /--port/],
    ['a port out of range', ['--port', '70000'], /port is 70000/],
    ['an unknown tier', ['--tier', 'gold'], /--tier/],
    ['an argument too many', ['extra'], /too many arguments/],
    ['an unknown fault', ['--fault', 'wings=1'], /"wings" is not a fault/],
    ['a script that is not there', ['--script', '/nowhere.json'], /\/nowhere\.json cannot be read/],
    ['an answers module that is not there', ['--answers', '/nowhere.mjs'], /\/nowhere\.mjs cannot be loaded: there is no such file/],
    ['an answers module that is no module', ['--answers', 'README.md'], /README\.md cannot be loaded/],
    ['an address of another machine', ['--host', '203.0.113.1'], /cannot listen on 203\.0\.113\.1/],
    ['a truth log that cannot be written', ['--truth', '/dev/null/truth'], /truth log \/dev\/null\/truth cannot be written/],
    ['a folder that cannot be made', ['--state', '/dev/null/plimsoll'], /cannot use the folder/],
  ])('%s is one line on stderr and exit code 2', async (_name, flags, what) => {
    const { code, stdout, stderr } = await run(...flags);
    expect([code, stdout, stderr.trim().split('\n').length]).toEqual([2, '', 1]);
    expect(stderr).toMatch(what);
  });

  it('a script that is no script is one line and exit code 2', async () => {
    const path = join(scratchFolder(), 'faults.json');
    writeFileSync(path, '{"faults":[{"fault":"wings"}]}');
    const { code, stderr } = await run('--script', path);
    expect([code, stderr.trim().split('\n').length]).toEqual([2, 1]);
  });

  it('a busy port is one line and exit code 2, and the folder is left alone', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const { code, stderr } = await run('--port', String(typeof address === 'object' ? address?.port : 0));
    server.close();
    expect([code, stderr.trim().split('\n').length]).toEqual([2, 1]);
    expect(stderr).toContain('is in use');
  });

  it('an answers module without the function is one line and exit code 2', async () => {
    const path = join(scratchFolder(), 'answers.mjs');
    writeFileSync(path, 'export const nothing = 1;\n');
    const { code, stderr } = await run('--answers', path);
    expect([code, stderr.trim().split('\n').length]).toEqual([2, 1]);
  });

  it.each(['README.md', 'local/simulator/README.md'])('the script printed in %s accepts a batch without a reply and cuts one download in half', async (readme) => {
    const [, script = ''] = /```json\n(\{\n {2}"seed"[\s\S]*?)```/.exec(readFileSync(readme, 'utf8')) ?? [];
    expect(script.trim().split('\n').length).toBeLessThanOrEqual(10);
    const folder = scratchFolder();
    writeFileSync(join(folder, 'faults.json'), script);
    const child = start(['--script', join(folder, 'faults.json'), '--batch-seconds', '0'], join(folder, 'state'));
    const [url] = await once(createInterface({ input: child.stdout ?? process.stdin }), 'line');
    const headers = { 'x-api-key': 'k', 'anthropic-version': '2023-06-01' };
    const get = async (path: string): Promise<string> => (await fetch(`${String(url)}${path}`, { headers })).text();
    await expect(fetch(`${String(url)}/v1/messages/batches`, { method: 'POST', headers, body: JSON.stringify(batchBody(10)) })).rejects.toThrow('fetch failed');
    const id = String(at(asJson(await get('/v1/messages/batches')), 'first_id'));
    const downloads = [await get(`/v1/messages/batches/${id}/results`), await get(`/v1/messages/batches/${id}/results`)];
    expect([id, ...downloads.map((text) => rowsOf(text).size)]).toEqual([expect.stringMatching(/^msgbatch_/), 5, 10]);
    child.kill('SIGTERM');
    await once(child, 'close');
  });

  it('explains faults with examples', async () => {
    const { code, stdout } = await run('--help');
    expect(code).toBe(0);
    for (const word of ['--fault reply_lost=1', 'results_cut', 'accept_late', '_simulator/clock', '--script']) {
      expect(stdout).toContain(word);
    }
  });
});
