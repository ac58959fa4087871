/** Events reach queues and webhooks at least once, in order, from one relay at a time, on a server of others. */
import { once } from 'node:events';
import { createHash, createHmac } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DeleteMessageCommand, ReceiveMessageCommand } from '@aws-sdk/client-sqs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Sink } from '../../config/sinks.ts';
import { startRelay, type Relay } from '../../exporters/relay.ts';
import { openSinks } from '../../exporters/sinks.ts';
import { groupOf, openQueueSender } from '../../exporters/sqs.ts';
import { signatureHeaders } from '../../exporters/webhook.ts';
import { cloudEvent } from '../../segments/event.ts';
import { ledgerKeys } from '../../segments/ledger/keys.ts';
import type { Ledger } from '../../segments/ledger/ledger.ts';
import { openRedisLedger } from '../../segments/ledger/redis.ts';
import { startFaultyProxy, type FaultyProxy } from '../faulty-proxy.ts';
import { isMotoThere, startMoto, type Moto } from '../moto.ts';
import { redisForTest, type TestRedis } from '../redis.ts';

const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
let redis: TestRedis;
let ledger: Ledger;
let relays: Relay[];
let tag: string;

beforeEach(() => {
  redis = redisForTest();
  tag = redis.tag.slice(1, -1);
  ledger = openRedisLedger(redis.connect(), ledgerKeys(tag));
  relays = [];
});
afterEach(async () => {
  await Promise.all(relays.map(async (relay) => await relay.drain(0)));
  await redis.close();
});

/** Writes `count` events as the scripts do: numbered without gaps. */
async function emit(count: number, from = 1): Promise<void> {
  const client = redis.connect();
  for (let sequence = from; sequence < from + count; sequence += 1) {
    await client.set(`${redis.tag}:events:sequence`, sequence);
    await client.xadd(`${redis.tag}:events`, `${sequence}-0`, 'id', `run-${sequence}:completed`, 'type', 'run.completed', 'subject', `run-${sequence}`, 'time', '1795000000000', 'data', JSON.stringify({ run_key: `run-${sequence}`, topic: sequence % 2 === 0 ? 'even' : 'odd' }));
  }
}

async function relay(sinks: readonly Sink[], owner = 'relay-1', settings: { endpoint?: string | undefined; leaseMs?: number } = {}): Promise<Relay> {
  const open = await openSinks(sinks, { sqs: { region: 'eu-west-1', endpoint: settings.endpoint }, webhookSecret: secret, timeoutMs: 5_000, now: Date.now });
  const started = startRelay({ sinks: open, ledger, tag, owner, leaseMs: settings.leaseMs ?? 1_000, now: Date.now, log: () => undefined });
  relays.push(started);
  return started;
}

const sinkOf = (url: string, more: Partial<Sink> = {}): Sink => ({ name: 'etl', kind: 'sqs', url, group: 'topic', types: undefined, from: 'first', ...more });

describe.skipIf(!isMotoThere)('a queue', () => {
  let moto: Moto;
  let proxy: FaultyProxy;
  beforeAll(async () => {
    moto = await startMoto();
    proxy = await startFaultyProxy(moto.url);
  });
  afterAll(async () => {
    await proxy.stop();
    await moto.stop();
  });

  interface Received { readonly id: string; readonly sequence: number; readonly attributes: Readonly<Record<string, string>> }

  async function receive(url: string, count: number): Promise<readonly Received[]> {
    const found: Received[] = [];
    while (found.length < count) {
      const { Messages: messages = [] } = await moto.sqs.send(new ReceiveMessageCommand({ QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 2, MessageSystemAttributeNames: ['All'] }));
      for (const { Body: body, ReceiptHandle: receipt, Attributes: attributes } of messages) {
        const event = JSON.parse(body ?? '') as { id: string; sequence: string };
        found.push({ id: event.id, sequence: Number(event.sequence), attributes: attributes ?? {} });
        await moto.sqs.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: receipt }));
      }
    }
    return found;
  }

  it('gets every event once, in a standard queue and in a FIFO queue with its group and deduplication id', async () => {
    const [standard, fifo] = [await moto.queue(), await moto.queue({ FifoQueue: 'true' })];
    await emit(25);
    await relay([sinkOf(standard.url, { name: 'a' }), sinkOf(fifo.url, { name: 'b' })], 'one', { endpoint: moto.url });
    const plain = await receive(standard.url, 25);
    expect(plain.map(({ sequence }) => sequence).sort((a, b) => a - b)).toEqual(Array.from({ length: 25 }, (_, index) => index + 1));
    const ordered = await receive(fifo.url, 25);
    for (const parity of ['even', 'odd']) {
      const own = ordered.filter(({ attributes }) => attributes['MessageGroupId'] === parity).map(({ sequence }) => sequence);
      expect(own).toEqual([...own].sort((a, b) => a - b));
    }
    for (const { id, attributes } of ordered) {
      expect(attributes['MessageDeduplicationId']).toBe(createHash('sha256').update(`urn:plimsoll:${tag}\n${id}`).digest('hex'));
    }
  });

  it('in order, gets the events of two installations that have the same ids', async () => {
    const { url } = await moto.queue({ FifoQueue: 'true' });
    const sender = openQueueSender(sinkOf(url), { sqs: { region: 'eu-west-1', endpoint: moto.url }, timeoutMs: 5_000 });
    for (const installation of ['prod', 'staging', 'prod']) {
      expect(await sender.send([cloudEvent({ sequence: 1, id: 'nightly:completed', type: 'run.completed', subject: 'nightly', timeMs: 0, data: {} }, installation)])).toEqual([]);
    }
    sender.close();
    const { Messages: messages = [] } = await moto.sqs.send(new ReceiveMessageCommand({ QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 }));
    expect(messages.map(({ Body: body }) => (JSON.parse(body ?? '') as { source: string }).source)).toEqual(['urn:plimsoll:prod', 'urn:plimsoll:staging']);
  });

  it('gets only those entries again that it did not take, and the position waits for them (Y1, Y3)', async () => {
    const { url } = await moto.queue();
    await emit(5);
    // The SDK compares the digest of what the server says it took.
    const digests = (await ledger.readEvents(0, 5)).map((event) => createHash('md5').update(JSON.stringify(cloudEvent(event, tag))).digest('hex'));
    let calls = 0;
    proxy.rule = ({ headers }) => {
      if (headers['x-amz-target'] !== 'AmazonSQS.SendMessageBatch') return undefined;
      calls += 1;
      // The server has not seen this first batch; two of its entries are named as failed, the others as sent.
      return calls === 1
        ? { kind: 'answer', status: 200, headers: { 'content-type': 'application/x-amz-json-1.0' }, body: JSON.stringify({ Successful: ['0', '2', '4'].map((Id) => ({ Id, MessageId: Id, MD5OfMessageBody: digests[Number(Id)] })), Failed: ['1', '3'].map((Id) => ({ Id, SenderFault: false, Code: 'InternalError' })) }) }
        : undefined;
    };
    await relay([sinkOf(url)], 'one', { endpoint: proxy.url });
    const again = await receive(url, 2);
    expect(again.map(({ sequence }) => sequence)).toEqual([2, 4]);
    expect(calls).toBe(2);
    await expect.poll(async () => (await ledger.claimRelay({ sink: 'etl', owner: 'one', leaseMs: 1_000, isFromNow: false, nowMs: Date.now() })).sequence).toBe(5);
    proxy.rule = () => undefined;
  });

  it('hears from one relay at a time, and from the next one where the last one ended (Y2)', async () => {
    const { url } = await moto.queue();
    await emit(10);
    await Promise.all(['one', 'two', 'three'].map(async (owner) => await relay([sinkOf(url)], owner, { endpoint: moto.url })));
    expect((await receive(url, 10)).map(({ id }) => id)).toHaveLength(10);
    await relays.shift()?.drain(1_000);
    await relays.shift()?.drain(1_000);
    await emit(3, 11);
    expect((await receive(url, 3)).map(({ sequence }) => sequence).sort((a, b) => a - b)).toEqual([11, 12, 13]);
    const { Messages: more } = await moto.sqs.send(new ReceiveMessageCommand({ QueueUrl: url, WaitTimeSeconds: 0 }));
    expect(more ?? []).toEqual([]);
  });

  it('is asked at the configured endpoint, whatever host its URL names', async () => {
    const { url } = await moto.queue();
    await emit(1);
    await relay([sinkOf(url.replace(/^http:\/\/[^/]+/, 'http://queue.example.invalid'))], 'one', { endpoint: moto.url });
    expect((await receive(url, 1))[0]?.sequence).toBe(1);
  });
});

it('a sink that begins now hears only of what comes, and only of the types that it wants', async () => {
  await emit(3);
  const claim = await ledger.claimRelay({ sink: 'new', owner: 'o', leaseMs: 1, isFromNow: true, nowMs: 1 });
  expect(claim).toMatchObject({ isClaimed: true, sequence: 3 });
  expect(await ledger.claimRelay({ sink: 'new', owner: 'p', leaseMs: 5, isFromNow: true, nowMs: 1 })).toMatchObject({ isClaimed: false });
  expect(await ledger.advanceRelay({ sink: 'new', owner: 'p', sequence: 9, leaseMs: 5, eventsKept: 10, sinkForgottenMs: 1e9, nowMs: 1 })).toBe(false);
});

it('the outbox is trimmed behind what every sink has heard, and not before', async () => {
  await emit(400);
  const advance = async (sink: string, sequence: number): Promise<number> => {
    await ledger.claimRelay({ sink, owner: 'o', leaseMs: 1_000, isFromNow: false, nowMs: 1_000 });
    await ledger.advanceRelay({ sink, owner: 'o', sequence, leaseMs: 1_000, eventsKept: 50, sinkForgottenMs: 1e9, nowMs: 1_000 });
    return (await ledger.readEvents(0, 1_000)).length;
  };
  await ledger.claimRelay({ sink: 'slow', owner: 'o', leaseMs: 1_000, isFromNow: false, nowMs: 1_000 });
  expect(await advance('fast', 400)).toBe(400);
  // Redis trims whole nodes of a stream only.
  const left = await advance('slow', 390);
  expect(left).toBeGreaterThanOrEqual(50);
  expect(left).toBeLessThan(400);
});

describe('a webhook', () => {
  it('signs as Standard Webhooks do', () => {
    // The vector of the specification's reference libraries.
    const key = Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64');
    expect(signatureHeaders(key, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}')).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek', 'webhook-timestamp': '1614265330', 'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  it('hears every event in order, again after a refusal, and can prove who sent it', async () => {
    const heard: string[] = [];
    let refusals = 2;
    const server = createServer((request, reply) => {
      let body = '';
      request.on('data', (data) => (body += String(data)));
      request.on('end', () => {
        const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature } = request.headers;
        const expected = `v1,${createHmac('sha256', Buffer.alloc(32, 7)).update(`${String(id)}.${String(at)}.${body}`).digest('base64')}`;
        if (signature !== expected || Math.abs(Number(at) * 1000 - Date.now()) > 60_000) return void reply.writeHead(401).end();
        if (heard.length === 2 && refusals-- > 0) return void reply.writeHead(503).end();
        heard.push((JSON.parse(body) as { id: string }).id);
        reply.writeHead(204).end();
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    await emit(4);
    await relay([sinkOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?team=a`, { kind: 'webhook' })]);
    await expect.poll(() => heard, { timeout: 15_000, interval: 20 }).toEqual([1, 2, 3, 4].map((sequence) => `run-${sequence}:completed`));
    server.closeAllConnections();
    server.close();
  });

  /** A webhook that takes everything; the ids that it heard. */
  async function listen(answer: (reply: ServerResponse) => void = (reply) => void reply.writeHead(204).end()): Promise<{ readonly url: string; readonly heard: string[]; close(): void }> {
    const heard: string[] = [];
    const server = createServer((request, reply) => {
      let body = '';
      request.on('data', (data) => (body += String(data)));
      request.on('end', () => {
        heard.push((JSON.parse(body) as { id: string }).id);
        answer(reply);
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, heard,
      close() {
        server.closeAllConnections();
        server.close();
      },
    };
  }

  it('hears what a relay that was killed has left, from one that ends while the claim of the dead one still holds (Y4)', async () => {
    const { url, heard, close } = await listen();
    await ledger.claimRelay({ sink: 'etl', owner: 'killed', leaseMs: 700, isFromNow: false, nowMs: Date.now() });
    await emit(2);
    await (await relay([sinkOf(url, { kind: 'webhook' })], 'next')).drain(5_000);
    expect(heard).toEqual(['run-1:completed', 'run-2:completed']);
    close();
  });

  it('hears what was written while it was being told something, when the process ends meanwhile (Y4)', async () => {
    let tell: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => (tell = resolve));
    let release: () => void = () => undefined;
    const { url, heard, close } = await listen((reply) => {
      release = () => void reply.writeHead(204).end();
      if (heard.length > 1) return release();
      tell();
    });
    await emit(1);
    const slow = await relay([sinkOf(url, { kind: 'webhook' })], 'slow');
    await asked;
    await emit(1, 2);
    const drained = slow.drain(5_000);
    release();
    await drained;
    expect(heard).toEqual(['run-1:completed', 'run-2:completed']);
    close();
  });

  it('is left to a living relay as soon as that one has told everything (Y4)', async () => {
    const { url, heard, close } = await listen();
    await emit(3);
    await relay([sinkOf(url, { kind: 'webhook' })], 'living');
    await expect.poll(() => heard).toHaveLength(3);
    const idle = await relay([sinkOf(url, { kind: 'webhook' })], 'idle');
    await idle.drain(60_000);
    expect(heard).toHaveLength(3);
    close();
  });

  it('without a secret is refused before anything starts', async () => {
    await expect(openSinks([sinkOf('https://hooks.example.com', { kind: 'webhook' })], { sqs: { region: undefined, endpoint: undefined }, webhookSecret: undefined, timeoutMs: 1, now: Date.now })).rejects.toMatchObject({ code: 'config_invalid', where: 'events.webhookSecret' });
  });
});

it('the group of an event is its topic, else its run', () => {
  const event = (data: Readonly<Record<string, unknown>>) => cloudEvent({ sequence: 1, id: 'i', type: 't', subject: 's', timeMs: 0, data }, 'x');
  expect([{ topics: ['a'] }, { topics: ['a', 'b'], run_key: 'r' }, { segment: 'mails.8k.low', run_key: 'r' }, {}].map((data) => groupOf(event(data), 'topic'))).toEqual(['a', 'r', 'mails', 's']);
});
