/** The mistakes that an operator makes: each has its own message, says what to do next, has its exit code, and loses nothing. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openHome, type Home } from '../../local/home.ts';
import { readTruth } from '../chaos/oracle.ts';
import { corpus, openWorld, type World } from '../chaos/world.ts';

const rightKey = 'sk-test-canary-7781';

let world: World;
let home: Home;
let source: string;
beforeAll(async () => {
  world = await openWorld({ apiKeys: [rightKey] });
  home = await openHome({ directory: world.home, searchPath: process.env['PATH'] ?? '', install: false, announce: () => undefined });
  source = world.write('in.jsonl', corpus(12, 4));
});
afterAll(async () => {
  await home.close();
  await world.close();
});

it('a wrong key submits nothing, names its origin and last four characters, and the right key goes on with the same rows', async () => {
  const end = await world.run(['run', source, '--run-key', 'key'], { ANTHROPIC_API_KEY: 'sk-ant-api03-secret-part-x4Qz' });
  expect(end.code).toBe(4);
  expect(end.stderr).toMatch(/the provider answered 401 .*\(request req_\w+\)/);
  expect(end.stderr).toContain(`The key comes from ANTHROPIC_API_KEY, ends …x4Qz, and was sent to ${world.simulator.url}.`);
  expect(end.stderr).toContain('Nothing more is submitted; 12 rows stay queued, and no attempt is used up.');
  expect(end.stderr).toContain('[credentials_refused]');
  expect(end.stderr + end.stdout).not.toContain('secret-part');
  expect(readTruth(world.truthFile).creates).toBe(0);
  const mended = await world.run(['run', source, '--run-key', 'key', '--json']);
  expect(mended.code, mended.stderr).toBe(0);
  expect(JSON.parse(mended.stdout)).toMatchObject({ status: 'succeeded', counts: { accepted: 12, succeeded: 12 } });
});

it('a Redis that does not answer is named with its variable', async () => {
  const end = await world.run(['status'], { REDIS_URL: 'redis://127.0.0.1:1', PLIMSOLL_HOME: join(world.folder, 'other') });
  expect(end).toMatchObject({ code: 2, stdout: '' });
  expect(end.stderr).toMatch(/redis:\/\/127\.0\.0\.1:1, named by REDIS_URL, does not answer[\s\S]*unset REDIS_URL[\s\S]*\[redis_unavailable\]/);
});

it('a Redis that may evict is refused before anything is written, with the command that mends it', async () => {
  const port = 20_000 + (process.pid % 20_000);
  const redis: ChildProcess = spawn('redis-server', ['--port', String(port), '--save', '', '--maxmemory-policy', 'allkeys-lru'], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    for await (const chunk of redis.stdout ?? []) if (String(chunk).includes('Ready to accept')) break;
    const end = await world.run(['run', source, '--run-key', 'evicted'], { REDIS_URL: `redis://127.0.0.1:${port}`, PLIMSOLL_HOME: join(world.folder, 'evicting') });
    expect(end.code, end.stderr).toBe(2);
    expect(end.stderr).toMatch(/maxmemory-policy allkeys-lru[\s\S]*config set maxmemory-policy noeviction[\s\S]*\[redis_unfit\]/);
  } finally {
    redis.kill();
    await once(redis, 'close');
  }
});

it('a lake and a home that cannot be written are named with what to do', async () => {
  const file = world.write('a-file', 'not a folder');
  const lake = await world.run(['status'], { PLIMSOLL_LAKE: join(file, 'lake') });
  expect(lake.code, lake.stderr).toBe(1);
  expect(lake.stderr).toMatch(/cannot open the lake: ENOTDIR[\s\S]*this user may write to it[\s\S]*\[lake_unavailable\]/);
  const unusable = await world.run(['status'], { PLIMSOLL_HOME: join(file, 'home') });
  expect(unusable.code, unusable.stderr).toBe(2);
  expect(unusable.stderr).toMatch(/cannot open the home .*ENOTDIR \(PLIMSOLL_HOME\)[\s\S]*\[home_unavailable\]/);
});

it('a port that is taken is named', async () => {
  const { port } = new URL(world.simulator.url);
  const end = await world.run(['simulate', '--port', port, '--state', join(world.folder, 'second')]);
  expect(end).toMatchObject({ code: 2, stdout: '' });
  expect(end.stderr).toMatch(new RegExp(`port ${port}: it is in use; name another port`));
});

it('two installations on one home are refused, with both ids or both tags', async () => {
  const lake = join(world.folder, 'another-lake');
  const empty = await world.run(['status'], { PLIMSOLL_LAKE: lake });
  expect(empty.code, empty.stderr).toBe(2);
  expect(empty.stderr).toMatch(/has no id[\s\S]*PLIMSOLL_LAKE[\s\S]*\[installation_differs\]/);
  expect(existsSync(join(lake, 'journal/installation.json'))).toBe(false);
  mkdirSync(join(lake, 'journal'), { recursive: true });
  writeFileSync(join(lake, 'journal/installation.json'), JSON.stringify({ v: 1, id: randomUUID(), tag: 'plimsoll' }));
  const elsewhere = await world.run(['status'], { PLIMSOLL_LAKE: lake });
  expect(elsewhere.code, elsewhere.stderr).toBe(2);
  expect(elsewhere.stderr.match(/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g)).toHaveLength(2);
  expect(elsewhere.stderr).toMatch(/PLIMSOLL_LAKE[\s\S]*\[installation_differs\]/);
  const tagged = await world.run(['status'], { PLIMSOLL_REDIS__TAG: 'staging' });
  expect(tagged.code, tagged.stderr).toBe(2);
  expect(tagged.stderr).toMatch(/belongs to the installation plimsoll, and this one is staging[\s\S]*PLIMSOLL_REDIS__TAG=plimsoll[\s\S]*\[installation_differs\]/);
  expect(existsSync(join(world.lake, 'journal/installation.json'))).toBe(true);
});
