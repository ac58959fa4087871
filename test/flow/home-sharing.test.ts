import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openHome } from '../../local/home.ts';
import { withLock } from '../../local/lock.ts';
import { pollUntil } from '../../local/poll.ts';
import { identifyProcess, identifySelf, judgeLiveness } from '../../local/process-identity.ts';
import { writeRecord } from '../../local/record.ts';
import { askIdentity, exists, prepareGround, processesNaming, sendVisitor, socketOf, withRedis, type Ground } from './home-fixture.ts';

const soon = { limitMs: 20_000, firstMs: 1, longestMs: 10 };
let ground: Ground;

beforeAll(async () => {
  ground = await prepareGround();
});

afterAll(async () => {
  await ground.clear();
});

/** Ends a process for good and waits until the system has forgotten it. */
async function killAndWait(pid: number): Promise<void> {
  const identity = identifyProcess(pid);
  process.kill(pid, 'SIGKILL');
  if (identity !== undefined) await pollUntil(() => (judgeLiveness(identity) === 'dead' ? true : undefined), soon);
}

describe('processes of one home', () => {
  test('share one Redis, and the last to leave stops it (H2)', async () => {
    const directory = ground.newHome();
    const order = { directory, searchPath: ground.searchPath };
    const [first, second] = [sendVisitor(order), sendVisitor(order)];
    const [one, two] = [await first.opened(), await second.opened()];
    expect(two.redis).toEqual(one.redis);
    const before = await askIdentity(one.redis);
    await first.leave();
    expect(await askIdentity(one.redis)).toEqual(before);
    await second.leave();
    expect(identifyProcess(before.pid)).toBeUndefined();
    expect(await readdir(join(directory, 'servers'))).not.toContain('redis.json');
  });

  test('closing twice leaves once', async () => {
    const directory = ground.newHome();
    const [one, two] = [await openHome(ground.options(directory)), await openHome(ground.options(directory))];
    await Promise.all([one.close(), one.close()]);
    expect(await withRedis(two.redis, (redis) => redis.ping())).toBe('PONG');
    await two.close();
    expect(await exists(socketOf(two))).toBe(false);
  });

  test('adopt the Redis of a process that was killed, which held none of its output open (H3)', async () => {
    const directory = ground.newHome();
    const starter = sendVisitor({ directory, searchPath: ground.searchPath });
    const { redis } = await starter.opened();
    const before = await askIdentity(redis);
    await withRedis(redis, (client) => client.set('cargo', 'kept'));
    await starter.kill();
    const home = await openHome(ground.options(directory));
    expect(home.redis).toEqual(redis);
    expect(await askIdentity(home.redis)).toEqual(before);
    expect(await withRedis(home.redis, (client) => client.get('cargo'))).toBe('kept');
    await home.close();
    expect(identifyProcess(before.pid)).toBeUndefined();
  });

  test('restart a killed Redis on its data, at the address where the others still wait', async () => {
    const directory = ground.newHome();
    const home = await openHome(ground.options(directory));
    const before = await askIdentity(home.redis);
    await withRedis(home.redis, async (redis) => {
      for (let i = 0; i < 500; i += 1) await redis.rpush('cargo', `crate ${i}`);
    });
    await killAndWait(before.pid);
    const next = await openHome(ground.options(directory));
    expect(next.redis).toEqual(home.redis);
    expect((await askIdentity(next.redis)).runId).not.toBe(before.runId);
    const cargo = await withRedis(home.redis, (redis) => redis.lrange('cargo', 0, -1));
    expect(cargo).toEqual(Array.from({ length: 500 }, (_, i) => `crate ${i}`));
    await home.close();
    await next.close();
  });

  test('end with one server when ten open at the same instant, over a lock that a killed process left (H1, L2)', async () => {
    const directory = ground.newHome();
    const dead = sendVisitor({ directory, searchPath: '' });
    const claim = { token: 'of-the-dead', process: identifyProcess(dead.pid) };
    expect(await dead.next()).toEqual({ kind: 'refused', code: 'redis_not_found' });
    await dead.leave();
    await writeRecord(join(directory, 'lock', 'owner'), claim);

    const order = { directory, searchPath: ground.searchPath, waitsAtDoor: true };
    const visitors = Array.from({ length: 10 }, () => sendVisitor(order));
    for (const visitor of visitors) expect(await visitor.next()).toEqual({ kind: 'at_door' });
    for (const visitor of visitors) visitor.enter();
    const opened = await Promise.all(visitors.map((visitor) => visitor.opened()));
    const identities = await Promise.all(opened.map(({ redis }) => askIdentity(redis)));
    expect(new Set(identities.map(({ runId }) => runId)).size).toBe(1);
    expect(processesNaming(join(directory, 'redis'))).toEqual([identities[0]?.pid]);
    await Promise.all(visitors.map((visitor) => visitor.leave()));
    expect(processesNaming(join(directory, 'redis'))).toEqual([]);
    expect(await readdir(join(directory, 'processes'))).toEqual([]);
    expect(await readdir(join(directory, 'lock'))).toEqual([]);
  });

  // A killed process may have got this far and no further. The file is what shows it.
  test.each([
    ['taken the lock', 'lock/owner'],
    ['spawned the server at its gate', 'servers/redis.out'],
    ['recorded the server (V2)', 'servers/redis.json'],
    ['seen the server begin', 'redis/redis.log'],
    ['seen the server listen', 'redis/redis.sock'],
  ])('recover from one that was killed when it had %s', async (_, file) => {
    const directory = ground.newHome();
    const victim = sendVisitor({ directory, searchPath: ground.searchPath });
    await pollUntil(async () => ((await exists(join(directory, file))) ? true : undefined), soon);
    await victim.kill();
    const home = await openHome(ground.options(directory));
    const { pid } = await askIdentity(home.redis);
    expect(processesNaming(join(directory, 'redis'))).toEqual([pid]);
    await home.close();
    expect(processesNaming(directory)).toEqual([]);
  });
});

describe('a shared HTTP server', () => {
  const program = `const s = require('node:http').createServer((q, r) => r.end(String(process.pid)));
    s.listen(0, '127.0.0.1', () => console.log('http://127.0.0.1:' + s.address().port));`;
  const share = { command: process.execPath, args: ['-e', program] };

  test('is started once, adopted after its starter was killed, and stopped by the last to leave', async () => {
    const directory = ground.newHome();
    const starter = sendVisitor({ directory, searchPath: ground.searchPath, share });
    const one = await starter.opened();
    const pid = await (await fetch(one.shared ?? '')).text();
    await starter.kill();
    const next = sendVisitor({ directory, searchPath: ground.searchPath, share });
    const two = await next.opened();
    expect(two.shared).toBe(one.shared);
    expect(await (await fetch(two.shared ?? '')).text()).toBe(pid);
    await next.leave();
    expect(identifyProcess(Number(pid))).toBeUndefined();
  });
});

describe('the lock of a home', () => {
  test('admits one at a time after a chain of dead holders, and leaves no file behind (L1, L2)', async () => {
    const directory = ground.newHome();
    const folder = join(directory, 'lock');
    await mkdir(folder, { recursive: true });
    const dead = { ...identifySelf(), startedAt: '1' };
    await writeRecord(join(folder, 'owner'), { token: 'a', process: dead });
    await writeRecord(join(folder, 'after-a'), { token: 'b', process: dead });
    await writeRecord(join(folder, 'after-b'), { token: 'c', process: dead });
    let inside = 0;
    let most = 0;
    let turns = 0;
    await Promise.all(Array.from({ length: 30 }, () => withLock(directory, { announce: () => undefined }, async () => {
      inside += 1;
      most = Math.max(most, inside);
      await readdir(folder);
      turns += 1;
      inside -= 1;
    })));
    expect({ most, turns, left: await readdir(folder) }).toEqual({ most: 1, turns: 30, left: [] });
  });

  test('is released when what it guarded fails', async () => {
    const directory = ground.newHome();
    const failing = withLock(directory, { announce: () => undefined }, () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    expect(await withLock(directory, { announce: () => undefined }, async () => 'free')).toBe('free');
  });
});
