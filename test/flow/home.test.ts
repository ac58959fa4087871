import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstat, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openHome, RedisUnavailable, type Home } from '../../local/home.ts';
import { installRedis } from '../../local/install.ts';
import { identifyProcess } from '../../local/process-identity.ts';
import { writeRecord } from '../../local/record.ts';
import { redisForTest } from '../redis.ts';
import {
  askIdentity,
  exists,
  prepareGround,
  processesNaming,
  sendVisitor,
  socketOf,
  withRedis,
  writeProgram,
  type Ground,
} from './home-fixture.ts';

let ground: Ground;

beforeAll(async () => {
  ground = await prepareGround();
});

afterAll(async () => {
  await ground.clear();
});

async function refusal(opening: Promise<Home>): Promise<RedisUnavailable> {
  const outcome = await opening.then(() => undefined, (error: unknown) => error);
  if (outcome instanceof RedisUnavailable) return outcome;
  throw new Error(`The home was not refused: ${String(outcome)}`);
}

describe('a private Redis', () => {
  test('has every write on disk before it answers, forgets nothing, and listens on no port', async () => {
    const home = await openHome(ground.options(ground.newHome()));
    const settings = await withRedis(home.redis, async (redis) => {
      const pairs: [string, unknown][] = [];
      for (const name of ['appendonly', 'appendfsync', 'maxmemory-policy', 'save', 'port', 'dir']) {
        pairs.push([name, (await redis.config('GET', name))]);
      }
      return Object.fromEntries(pairs.map(([name, reply]) => [name, Array.isArray(reply) ? reply[1] : reply]));
    });
    const socket = await lstat(socketOf(home));
    const folder = await lstat(dirname(socketOf(home)));
    await home.close();
    expect(settings).toEqual({
      appendonly: 'yes',
      appendfsync: 'always',
      'maxmemory-policy': 'noeviction',
      save: '',
      port: '0',
      dir: join(home.directory, 'redis'),
    });
    expect([socket.mode & 0o077, folder.mode & 0o077]).toEqual([0, 0]);
  });

  test('works in a home whose path is too long for a socket, with blanks and umlauts in it', async () => {
    const directory = join(ground.newHome(), 'ein langer Weg für den Anschluß', 'x'.repeat(120));
    const home = await openHome(ground.options(directory));
    const second = await openHome(ground.options(directory));
    const folder = dirname(socketOf(home));
    expect(Buffer.byteLength(socketOf(home))).toBeLessThanOrEqual(103);
    expect((await lstat(folder)).mode & 0o777).toBe(0o700);
    expect(second.redis).toEqual(home.redis);
    expect(await withRedis(home.redis, (redis) => redis.ping())).toBe('PONG');
    await home.close();
    await second.close();
    expect(await exists(folder)).toBe(false);
  });

  test('is not the first program of that name, but the first that runs', async () => {
    const broken = join(ground.folder, 'broken');
    await writeProgram(broken, 'valkey-server', 'echo "version GLIBC_2.38 not found" >&2; exit 1');
    await writeProgram(broken, 'redis-server', 'echo "Redis server v=5.0.3 sha=0"');
    const directory = ground.newHome();
    const home = await openHome({ ...ground.options(directory), searchPath: `${broken}:${ground.searchPath}` });
    await home.close();
    const refused = await refusal(openHome({ ...ground.options(directory), searchPath: broken }));
    expect(refused.code).toBe('redis_not_found');
    expect(refused.message).toMatch(/valkey-server: does not run \(version GLIBC.*redis-server: is version 5\.0/);
  });

  test('that cannot read its data is reported with the place of its log, and leaves nothing behind', async () => {
    const directory = ground.newHome();
    await mkdir(join(directory, 'redis', 'appendonlydir'), { recursive: true });
    await writeFile(join(directory, 'redis', 'appendonlydir', 'appendonly.aof.manifest'), 'nonsense\n');
    const refused = await refusal(openHome(ground.options(directory)));
    expect(refused.code).toBe('redis_start_failed');
    expect(refused.hint).toContain(join(directory, 'redis', 'redis.log'));
    expect(await readdir(join(directory, 'processes'))).toEqual([]);
    expect(processesNaming(directory)).toEqual([]);
  });
});

describe('what is not of this home', () => {
  test('a stranger who got the recorded pid is not signalled, and a new server starts (V3)', async () => {
    const directory = ground.newHome();
    const stranger = spawn('sleep', ['600']);
    await once(stranger, 'spawn');
    const identity = identifyProcess(stranger.pid ?? 0);
    await mkdir(join(directory, 'servers'), { recursive: true });
    const reused = { ...identity, startedAt: '1' };
    await writeRecord(join(directory, 'servers', 'redis.json'), { name: 'redis', process: reused, address: '/nowhere', mark: 'x' });
    const home = await openHome(ground.options(directory));
    expect((await askIdentity(home.redis)).pid).not.toBe(stranger.pid);
    await home.close();
    expect(identifyProcess(stranger.pid ?? 0)).toEqual(identity);
    stranger.kill();
    await once(stranger, 'exit');
  });

  test.each([
    ['says it is a Redis', '$40\r\nrun_id:feed\r\nprocess_id:1\r\nloading:0\r\n\r\n'],
    ['speaks something else', 'HTTP/1.1 200 OK\r\n\r\n'],
    ['says nothing', ''],
  ])('a server on our socket that we did not start and that %s is refused, not replaced', async (_, reply) => {
    const directory = ground.newHome();
    await mkdir(join(directory, 'redis'), { recursive: true });
    const heard: string[] = [];
    const stranger = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (data) => {
        heard.push(data.toString());
        if (reply !== '') socket.write(reply);
      });
    });
    stranger.listen(join(directory, 'redis', 'redis.sock'));
    await once(stranger, 'listening');
    const refused = await refusal(openHome(ground.options(directory)));
    expect(refused.code).toBe('redis_foreign');
    expect(new Set(heard)).toEqual(new Set(['*1\r\n$4\r\nINFO\r\n']));
    expect(stranger.listening && (await exists(join(directory, 'redis', 'redis.sock')))).toBe(true);
    expect(processesNaming(directory)).toEqual([]);
    await new Promise((resolve) => stranger.close(resolve));
  });

  test('a server that answers under another run id than the recorded one is refused', async () => {
    const directory = ground.newHome();
    const starter = sendVisitor({ directory, searchPath: ground.searchPath });
    await starter.opened();
    const path = join(directory, 'servers', 'redis.json');
    const record: unknown = JSON.parse(await readFile(path, 'utf8'));
    await writeRecord(path, Object.assign({}, record, { mark: 'another' }));
    expect((await refusal(openHome(ground.options(directory)))).code).toBe('redis_foreign');
    await starter.leave();
  });

  test('a Redis that was named is used, and outlives the home (H4)', async () => {
    const named = await openHome(ground.options(ground.newHome()));
    const directory = ground.newHome();
    const home = await openHome({ ...ground.options(directory), redisUrl: socketOf(named) });
    expect(home.redis).toEqual({ kind: 'url', url: socketOf(named) });
    await home.close();
    expect(await withRedis(named.redis, (redis) => redis.ping())).toBe('PONG');
    expect(await readdir(join(directory, 'redis'))).toEqual([]);
    await named.close();
  });
});

describe('installing', () => {
  test('refused, with nothing on the PATH, it names the install line of each platform', async () => {
    const refused = await refusal(openHome({ ...ground.options(ground.newHome()), searchPath: '' }));
    expect(refused.code).toBe('redis_not_found');
    for (const line of ['apt-get install redis-server', 'dnf install valkey', 'apk add valkey', 'brew install redis', 'REDIS_URL']) {
      expect(refused.hint).toContain(line);
    }
  });

  test('is announced in one line before the package manager runs', async () => {
    const folder = join(ground.folder, 'brewery');
    const cache = join(folder, 'cache');
    await writeProgram(folder, 'brew', `echo "$@" >> '${folder}/ran'; test "$1" = --prefix && echo '${folder}'; exit 0`);
    const announced: string[] = [];
    const attempt = await installRedis({
      platform: 'darwin',
      isRoot: false,
      searchPath: folder,
      cache,
      announce: (line) => void announced.push(line),
    });
    expect(announced).toEqual(['No Redis on the PATH: running "brew install redis" (refuse with --no-install).']);
    expect(await readFile(join(folder, 'ran'), 'utf8')).toBe('install redis\n--prefix\n');
    expect(attempt).toEqual({ kind: 'installed', candidates: [{ command: join(folder, 'bin', 'redis-server'), libraryPath: '' }] });
  });

  test('that fails says which step failed, what was said last, and where all of it is', async () => {
    const folder = join(ground.folder, 'dry');
    await writeProgram(folder, 'brew', 'echo "no network" >&2; exit 1');
    const machine = { platform: 'darwin', isRoot: false, searchPath: folder, cache: folder } as const;
    const attempt = await installRedis({ ...machine, announce: () => undefined });
    const reason = `and "brew install redis" failed (no network); its output is in ${folder}/install.log`;
    expect(attempt).toEqual({ kind: 'failed', reason });
  });
});

describe('the Redis of the test run', () => {
  test('gives each test a corner that is flushed without touching the others', async () => {
    const [mine, other] = [redisForTest(), redisForTest()];
    const client = mine.connect();
    await client.mset(`${mine.tag}:a`, '1', `queue:${mine.tag}`, '2');
    await client.set(`${other.tag}:a`, '3');
    await mine.flush();
    expect(await client.exists(`${mine.tag}:a`, `queue:${mine.tag}`)).toBe(0);
    expect(await client.get(`${other.tag}:a`)).toBe('3');
    await other.close();
    await mine.close();
    expect(client.status).toBe('end');
  });
});
