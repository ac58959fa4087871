/**
 * A listener whose surroundings are not as they should be: a good message stays in hand whatever is wrong with the ledger
 * or the bucket, and makes its run when that is mended. The queue gives up a message that was received once and left.
 */
import { DeleteBucketPolicyCommand, PutBucketPolicyCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { GetQueueAttributesCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { corpus, openWorld, type Running, type World } from '../chaos/world.ts';
import { startFaultyProxy, type FaultyProxy } from '../faulty-proxy.ts';
import { isMotoThere, motoCredentials, startMoto, type Moto } from '../moto.ts';
import { redisForTest, type TestRedis } from '../redis.ts';

const rows = 4;

describe.skipIf(!isMotoThere)('a listener', () => {
  let moto: Moto;
  let proxy: FaultyProxy;
  let world: World;
  let redis: TestRedis;
  let client: Redis;
  let bucket: string;
  let queues: { readonly documents: string; readonly dead: string };
  beforeAll(async () => void (moto = await startMoto()));
  afterAll(async () => await moto.stop());
  beforeEach(async () => {
    proxy = await startFaultyProxy(moto.url);
    bucket = await moto.bucket();
    redis = redisForTest();
    client = redis.connect();
    const dead = await moto.queue();
    const documents = await moto.queue({ RedrivePolicy: JSON.stringify({ deadLetterTargetArn: dead.arn, maxReceiveCount: '1' }), VisibilityTimeout: '1' });
    queues = { documents: documents.url, dead: dead.url };
    const address = inject('redisAddress');
    world = await openWorld({}, {
      ...motoCredentials,
      AWS_ENDPOINT_URL: proxy.url,
      REDIS_URL: address.kind === 'socket' ? address.path : address.url,
      PLIMSOLL_REDIS__TAG: redis.tag.slice(1, -1),
      PLIMSOLL_LISTEN__QUEUE: documents.url,
      PLIMSOLL_LISTEN__SOURCES: `[s3://${bucket}/in/]`,
      PLIMSOLL_LISTEN__VISIBILITY: '10s',
    });
  });
  afterEach(async () => {
    await world.close();
    await proxy.stop();
    await redis.close();
  });

  /** An object, and the message that announces it. */
  async function put(key: string): Promise<void> {
    await moto.s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: corpus(rows, 1) }));
    const body = JSON.stringify({ Records: [{ eventVersion: '2.1', eventName: 'ObjectCreated:Put', s3: { bucket: { name: bucket }, object: { key } } }] });
    await moto.sqs.send(new SendMessageCommand({ QueueUrl: queues.documents, MessageBody: body }));
  }

  /** How many messages a queue has, in sight and in hand. */
  async function held(queueUrl: string): Promise<readonly (string | undefined)[]> {
    const { Attributes: facts } = await moto.sqs.send(new GetQueueAttributesCommand({ QueueUrl: queueUrl, AttributeNames: ['All'] }));
    return [facts?.['ApproximateNumberOfMessages'], facts?.['ApproximateNumberOfMessagesNotVisible']];
  }

  /** The listener has made runs of everything, and nothing was given up. */
  async function expectTaken(listener: Running, key: string): Promise<void> {
    await listener.said(`"subject":"${key.split('/').at(-1) ?? ''}-`);
    await expect.poll(async () => await held(queues.documents), { timeout: 10_000 }).toEqual(['0', '0']);
    expect(await held(queues.dead)).toEqual(['0', '0']);
    listener.process.kill('SIGTERM');
    const { code, stderr } = await listener.ended;
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(new RegExp(`"accepted":${rows},.*"event":"document\\.taken"`));
    expect(stderr).not.toContain('document.refused');
  }

  it('holds a message while the ledger is rebuilt, and takes it when that has ended; it does not start on such a ledger (L5)', async () => {
    const listener = world.start(['listen']);
    await listener.said('listener.started');
    await client.hset(`${redis.tag}:standing`, 'recovering', '1');
    await put('in/a.jsonl');
    await listener.said('"code":"ledger_behind"', 2);
    expect(await held(queues.documents)).toEqual(['0', '1']);
    const late = await world.run(['listen', '--until-empty']);
    expect(late).toMatchObject({ code: 1, stderr: expect.stringContaining('[ledger_behind]') as string });
    await client.hdel(`${redis.tag}:standing`, 'recovering');
    await expectTaken(listener, 'in/a.jsonl');
  }, 60_000);

  it('holds a message whose object may not be read, says which permission is missing, and takes it when that is given (L5)', async () => {
    await moto.s3.send(new PutBucketPolicyCommand({
      Bucket: bucket, Policy: JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:GetObject', Resource: `arn:aws:s3:::${bucket}/in/*` }] }),
    }));
    await put('in/a.jsonl');
    const listener = world.start(['listen']);
    await listener.said('access is denied', 2);
    await listener.said('Allow this identity s3:GetObject');
    expect(await held(queues.documents)).toEqual(['0', '1']);
    await moto.s3.send(new DeleteBucketPolicyCommand({ Bucket: bucket }));
    await expectTaken(listener, 'in/a.jsonl');
  }, 60_000);

  it.each([
    ['another region', 301, 'PermanentRedirect', 'Set AWS_REGION=us-west-2.'],
    ['credentials that have expired', 400, 'ExpiredToken', 'Check AWS_ACCESS_KEY_ID'],
    ['a bucket that is not there', 404, 'NoSuchBucket', 'Create it'],
  ])('holds a message of %s, says how it is mended, and takes it when it is (L5)', async (_what, status, code, fix) => {
    const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>no</Message></Error>`;
    // The reply to a HEAD has no body: a 400 says nothing there, and a 404 as much as of an object that is gone.
    proxy.rule = ({ method, path }) => (path.startsWith(`/${bucket}`) && (method === 'GET' || status !== 400) ? { kind: 'answer', status, headers: { 'x-amz-bucket-region': 'us-west-2' }, body } : undefined);
    await put('in/a.jsonl');
    const listener = world.start(['listen']);
    await listener.said(`"hint":"${fix}`, 2);
    expect(await held(queues.documents)).toEqual(['0', '1']);
    proxy.rule = () => undefined;
    await expectTaken(listener, 'in/a.jsonl');
  }, 60_000);

  it('is seen by a rebuild while it takes an object in, and not while it waits', async () => {
    const listener = world.start(['listen']);
    await listener.said('listener.started');
    const idle = await world.run(['recover']);
    expect(idle.code, idle.stderr).toBe(0);
    proxy.rule = ({ method, path }) => (method === 'GET' && path.includes('/in/') ? { kind: 'hang' } : undefined);
    await put('in/a.jsonl');
    await expect.poll(() => proxy.seen.some(({ method, path }) => method === 'GET' && path.includes('/in/')), { timeout: 10_000 }).toBe(true);
    const refused = await world.run(['recover']);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/\(ingest\)[\s\S]*\[ledger_busy\]/) as string });
  }, 60_000);
});
