/** Events that Redis no longer holds are told again from the lake: the same facts under the same ids. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import type { CloudEvent } from '../../segments/event.ts';
import { corpus, openWorld, type World } from '../chaos/world.ts';
import { redisForTest, type TestRedis } from '../redis.ts';

let redis: TestRedis;
let world: World;
let server: Server;
let heard: CloudEvent[];

beforeEach(async () => {
  heard = [];
  server = createServer((request, reply) => {
    let body = '';
    request.on('data', (data) => (body += String(data)));
    request.on('end', () => {
      heard.push(JSON.parse(body) as CloudEvent);
      reply.writeHead(204).end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  redis = redisForTest();
  const address = inject('redisAddress');
  world = await openWorld({}, {
    REDIS_URL: address.kind === 'socket' ? address.path : address.url,
    PLIMSOLL_REDIS__TAG: redis.tag.slice(1, -1),
    PLIMSOLL_EVENTS__SINKS: `{ops: {kind: webhook, url: 'http://127.0.0.1:${(server.address() as AddressInfo).port}/', from: now}}`,
    PLIMSOLL_EVENTS__WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
    PLIMSOLL_CHUNK__BYTES_MAX: '2000',
    PLIMSOLL_ARCHIVE__BYTES_MAX: '6000',
  });
});
afterEach(async () => {
  await world.close();
  server.closeAllConnections();
  server.close();
  await redis.close();
});

const comparable = (events: readonly CloudEvent[]): readonly unknown[] => events.map(({ id, source, type, subject, data }) => ({ id, source, type, subject, data })).sort((a, b) => (a.id < b.id ? -1 : 1));

it('exports and ends of runs are told again from the lake with their ids and data, each once, and what is missing is said', async () => {
  for (const [place, run] of ['first', 'second'].entries()) {
    const ended = await world.run(['run', world.write(`${run}.jsonl`, corpus(20, place)), '--run-key', run, '--quiet']);
    expect(ended.code, ended.stderr).toBe(0);
  }
  const told = (await world.run(['events', 'tail'])).stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as CloudEvent);
  const lasting = told.filter(({ type }) => /\.(?:batch\.exported|run\.completed)\./.test(type));
  const ofFirst = lasting.filter(({ data }) => data['run_key'] === 'first');
  expect(ofFirst.length).toBeGreaterThan(3);

  // Everything of the first run is gone, as it is behind a hundred thousand later events; the end of the second is held.
  const last = told.at(-1);
  await redis.connect().xtrim(`${redis.tag}:events`, 'MINID', `${Number(last?.sequence)}-0`);
  heard.length = 0;
  const replayed = await world.run(['events', 'replay', '--json']);
  expect(replayed.code, replayed.stderr).toBe(0);
  expect(comparable(heard)).toEqual(comparable(lasting));
  expect(heard.filter(({ sequence }) => sequence !== undefined).map(({ id }) => id)).toEqual([last?.id]);
  expect(JSON.parse(replayed.stdout)).toEqual([{ sink: 'ops', sent: lasting.length, refused: 0, from_lake: lasting.length - 1 }]);

  heard.length = 0;
  const one = await world.run(['events', 'replay', '--run', 'first']);
  expect(comparable(heard)).toEqual(comparable(ofFirst));
  expect(heard.at(-1)?.type).toBe('dev.plimsoll.run.completed.v1');
  expect(one.stderr).toContain(`ops: ${ofFirst.length} sent, ${ofFirst.length} of them from the lake`);
  expect(one.stderr).toContain(`Redis holds events from sequence ${Number(last?.sequence)} on. Of before, the lake tells of exported batches and ended runs`);

  heard.length = 0;
  const after = await world.run(['events', 'replay', '--after', '1']);
  expect(heard.map(({ id }) => id)).toEqual([last?.id]);
  expect(after.stderr).toContain('Without --after, exports and ends of runs of before are made again from the lake.');
}, 90_000);
