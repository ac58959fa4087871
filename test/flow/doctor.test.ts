/** The doctor with real processes: what it says of a healthy installation, of a weak one, and of refused credentials. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, expect, it } from 'vitest';
import { openHome, type Home } from '../../local/home.ts';
import { openWorld, type Ended, type World } from '../chaos/world.ts';

let world: World;
let home: Home | undefined;
afterEach(async () => {
  await home?.close();
  home = undefined;
  await world.close();
});

interface Report {
  readonly verdict: string;
  readonly checks: readonly { readonly check: string; readonly verdict: string; readonly detail: string; readonly fix: string | null }[];
}
const reportOf = (end: Ended): Report => JSON.parse(end.stdout) as Report;
const verdicts = (end: Ended): Record<string, string> => Object.fromEntries(reportOf(end).checks.map(({ check, verdict }) => [check, verdict]));

it('a fresh installation is ok; a weak Redis is a warning; what may lose money fails, and no worker starts', { timeout: 120_000 }, async () => {
  world = await openWorld();
  const well = await world.run(['doctor', '--json']);
  expect({ code: well.code, stderr: well.stderr }).toMatchObject({ code: 0 });
  expect(verdicts(well)).toMatchObject({ node: 'ok', 'redis.reachable': 'ok', 'redis.version': 'ok', 'redis.policy': 'ok', 'redis.aof': 'ok', 'lake.create_only': 'ok', 'ledger.current': 'ok', 'provider.key': 'ok', workers: 'ok' });

  home = await openHome({ directory: world.home, searchPath: process.env['PATH'] ?? '', install: true, announce: () => undefined });
  if (home.redis.kind !== 'socket') throw new Error('a home starts a Redis of its own');
  const redis = new Redis({ path: home.redis.path });
  await redis.config('SET', 'appendfsync', 'everysec');
  await redis.config('SET', 'maxmemory-policy', 'volatile-lru');
  // A worker of another time has left its number in the lake, and this Redis does not know it.
  mkdirSync(join(world.lake, 'journal/generation'), { recursive: true });
  writeFileSync(join(world.lake, 'journal/generation', '999999999992.json'), '{}\n');
  const ill = await world.run(['doctor'], { ANTHROPIC_API_KEY: '' });
  await redis.config('SET', 'maxmemory-policy', 'noeviction');
  expect(ill.code).toBe(1);
  expect(ill.stdout).toMatch(/^fail +redis\.policy .*volatile-lru/m);
  expect(ill.stdout).toMatch(/^warning +redis\.aof .*1,553 to 26,819/m);
  expect(ill.stdout).toMatch(/^fail +ledger\.current .*generation 7[^]*plimsoll recover/m);
  expect(ill.stdout).toMatch(/^warning +provider\.key .*no API key/m);

  // The fatal lines keep a worker from starting.
  const worker = await world.run(['work']);
  expect({ code: worker.code, stderr: worker.stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('[ledger_behind]') as string });
  redis.disconnect();
});

it('a Redis that lets its user ask less than is needed fails at each of these lines, and the others are still said', { timeout: 60_000 }, async () => {
  world = await openWorld();
  home = await openHome({ directory: world.home, searchPath: process.env['PATH'] ?? '', install: true, announce: () => undefined });
  if (home.redis.kind !== 'socket') throw new Error('a home starts a Redis of its own');
  const redis = new Redis({ path: home.redis.path });
  await redis.acl('SETUSER', 'default', '-time', '-zcount');
  const end = await world.run(['doctor', '--json']);
  await redis.acl('SETUSER', 'default', '+time', '+zcount');
  redis.disconnect();
  expect({ code: end.code, stderr: end.stderr }).toEqual({ code: 1, stderr: '' });
  expect(verdicts(end)).toMatchObject({ 'redis.reachable': 'ok', 'redis.policy': 'ok', 'clock.redis': 'fail', workers: 'fail', 'ledger.current': 'ok', 'provider.key': 'ok' });
  expect(reportOf(end).checks.find(({ check }) => check === 'clock.redis')?.fix).toContain('ACL');
});

it('credentials that the provider refuses are exit 4, and a lake that cannot be written is exit 1', { timeout: 60_000 }, async () => {
  world = await openWorld({ faults: { faults: [{ fault: 'status', on: 'batches.list', status: 401, error_type: 'authentication_error' }] } });
  const refused = await world.run(['doctor', '--json']);
  expect({ code: refused.code, verdict: verdicts(refused)['provider.key'] }, refused.stderr).toEqual({ code: 4, verdict: 'fail' });
  writeFileSync(join(world.folder, 'a-file'), '');
  const unwritable = await world.run(['doctor', '--json', '--simulate'], { PLIMSOLL_LAKE: join(world.folder, 'a-file/lake') });
  expect({ code: unwritable.code, verdict: verdicts(unwritable)['lake.create_only'] }, unwritable.stderr).toEqual({ code: 1, verdict: 'fail' });
});
