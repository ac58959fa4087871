/**
 * Documents put into a bucket come back as rows, and nobody asks in between: object created -> SQS -> prompts -> a batch
 * -> results/ -> object created -> SQS -> a consumer. The server of both is nobody's here; every message comes twice, the
 * reply of every write to the bucket is lost once, and a worker is killed.
 */
import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { DeleteObjectCommand, GetObjectCommand, PutBucketNotificationConfigurationCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { DeleteMessageCommand, GetQueueAttributesCommand, ReceiveMessageCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readTruth } from '../chaos/oracle.ts';
import { corpus, openWorld, type World } from '../chaos/world.ts';
import { onceEach, startFaultyProxy, type FaultyProxy } from '../faulty-proxy.ts';
import { isMotoThere, motoCredentials, startMoto, type Moto } from '../moto.ts';

interface Announcement {
  readonly Records?: readonly { readonly s3: { readonly bucket: { readonly name: string }; readonly object: { readonly key: string } } }[];
}

describe.skipIf(!isMotoThere)('a lake and documents in a bucket', () => {
  let moto: Moto;
  let proxy: FaultyProxy;
  let world: World;
  let bucket: string;
  beforeAll(async () => void (moto = await startMoto()));
  afterAll(async () => await moto.stop());
  afterEach(async () => {
    await world.close();
    await proxy.stop();
  });

  /** Opens a bucket whose events go to two queues, and a world whose lake it is. */
  async function open(settings: Readonly<Record<string, string>> = {}) {
    proxy = await startFaultyProxy(moto.url);
    bucket = await moto.bucket();
    const [dead, consumer, sink] = [await moto.queue(), await moto.queue(), await moto.queue({ FifoQueue: 'true' })];
    const documents = await moto.queue({ RedrivePolicy: JSON.stringify({ deadLetterTargetArn: dead.arn, maxReceiveCount: '1' }), VisibilityTimeout: '1' });
    const notify = (arn: string, name: 'prefix' | 'suffix', value: string) => ({ QueueArn: arn, Events: ['s3:ObjectCreated:*' as const], Filter: { Key: { FilterRules: [{ Name: name, Value: value }] } } });
    await moto.s3.send(new PutBucketNotificationConfigurationCommand({
      Bucket: bucket, NotificationConfiguration: { QueueConfigurations: [notify(documents.arn, 'prefix', 'in/'), notify(consumer.arn, 'suffix', '_SUCCESS')] },
    }));
    world = await openWorld({}, {
      ...motoCredentials,
      AWS_ENDPOINT_URL: proxy.url,
      PLIMSOLL_LAKE: `s3://${bucket}`,
      PLIMSOLL_LISTEN__QUEUE: documents.url,
      PLIMSOLL_LISTEN__SOURCES: `[s3://${bucket}/in/]`,
      PLIMSOLL_EVENTS__SINKS: `{etl: {kind: sqs, url: '${sink.url}'}}`,
      PLIMSOLL_AUDIT__TOPICS: '["*"]',
      PLIMSOLL_CHUNK__BYTES_MAX: '20000',
      PLIMSOLL_ARCHIVE__BYTES_MAX: '60000',
      ...settings,
    });
    return { documents, consumer, sink, dead };
  }

  /** Receives and removes messages until there were `count`. */
  async function take(queueUrl: string, count: number): Promise<readonly string[]> {
    const bodies: string[] = [];
    while (bodies.length < count) {
      const { Messages: messages = [] } = await moto.sqs.send(new ReceiveMessageCommand({ QueueUrl: queueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 5 }));
      for (const message of messages) {
        bodies.push(message.Body ?? '');
        await moto.sqs.send(new DeleteMessageCommand({ QueueUrl: queueUrl, ReceiptHandle: message.ReceiptHandle }));
      }
    }
    return bodies;
  }

  const read = async (key: string): Promise<Buffer> => Buffer.from((await (await moto.s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }))).Body?.transformToByteArray()) ?? []);
  const keyOf = (url: string): string => url.replace(`s3://${bucket}/`, '');

  /** What a consumer does that is woken by `_SUCCESS`: the manifest, then every file that it lists. */
  async function consume(successKey: string): Promise<{ readonly ids: readonly string[]; readonly rows: readonly Record<string, unknown>[] }> {
    const manifest = JSON.parse((await read(successKey.replace('_SUCCESS', 'manifest.json'))).toString('utf8')) as { entries: { url: string; sha256: string; meta: { content_length: number; record_count: number } }[] };
    const rows: Record<string, unknown>[] = [];
    for (const { url, sha256, meta } of manifest.entries) {
      const bytes = await read(keyOf(url));
      expect([bytes.length, createHash('sha256').update(bytes).digest('hex')]).toEqual([meta.content_length, sha256]);
      const lines = gunzipSync(bytes).toString('utf8').trimEnd().split('\n');
      expect(lines).toHaveLength(meta.record_count);
      rows.push(...lines.map((line) => JSON.parse(line) as Record<string, unknown>));
    }
    return { ids: rows.map(({ id }) => String(id)), rows };
  }

  it('end to end: each id once, although every message comes twice, every reply is lost once and a worker is killed', async () => {
    const { documents, consumer, sink } = await open();
    // Before the world begins: what has a plus, a blank and an umlaut in its name, plain and compressed.
    const names = ['in/day 1/a+b ü.jsonl', 'in/day 1/plain.jsonl.gz'];
    const texts = [corpus(120, 1), corpus(60, 2).replaceAll('"doc-', '"more-')];
    await moto.s3.send(new PutObjectCommand({ Bucket: bucket, Key: names[0], Body: texts[0] ?? '' }));
    await moto.s3.send(new PutObjectCommand({ Bucket: bucket, Key: names[1], Body: gzipSync(texts[1] ?? '') }));
    // One body per record, and each of them twice.
    const bodies = (await take(documents.url, 3)).filter((body) => (JSON.parse(body) as Announcement).Records !== undefined);
    expect(bodies).toHaveLength(2);
    const test = JSON.stringify({ Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: bucket });
    for (const body of [...bodies, ...bodies, test]) await moto.sqs.send(new SendMessageCommand({ QueueUrl: documents.url, MessageBody: body }));

    const lost = onceEach(({ method, path }) => (method === 'PUT' || method === 'POST') && path.startsWith(`/${bucket}`) ? `${method} ${path}` : undefined, { kind: 'lose' });
    proxy.rule = lost.rule;
    const listener = await world.run(['listen', '--until-empty', '--topic', 'documents']);
    expect(listener.code, listener.stderr).toBe(0);
    expect((listener.stderr.match(/document\.taken/g) ?? []).length).toBe(2);

    // Killed as soon as the first file of results is written.
    const doomed = world.start(['work', '--quiet']);
    await expect.poll(() => [...lost.struck].some((kind) => kind.includes(`/${bucket}/results/`)), { timeout: 40_000, interval: 20 }).toBe(true);
    doomed.process.kill('SIGKILL');
    await doomed.ended;
    const worker = world.start(['work', '--quiet']);
    const announced = (await take(consumer.url, 3)).flatMap((body) => (JSON.parse(body) as Announcement).Records ?? []).map(({ s3 }) => decodeURIComponent(s3.object.key.replaceAll('+', ' ')));
    expect(new Set(announced).size).toBe(2);
    const found = await Promise.all([...new Set(announced)].map(consume));
    const ids = found.flatMap((each) => each.ids);
    expect([...ids].sort()).toEqual([...Array.from({ length: 120 }, (_, index) => `doc-${index}`), ...Array.from({ length: 60 }, (_, index) => `more-${index}`)].sort());
    const truth = readTruth(world.truthFile);
    expect([...truth.billedTimes.values()].filter((times) => times > 1)).toEqual([]);
    // Every row says where it stood: object, line of the object, etag.
    const row = found.flatMap((each) => each.rows).find(({ id }) => id === 'more-17');
    expect(row).toMatchObject({ source_uri: `s3://${bucket}/${names[1]}`, source_row: 18, source_etag: expect.stringMatching(/^[0-9a-f]{32}$/) as string });

    // The product's own events, in a FIFO queue: of each run one completion, and no id twice.
    const events = (await take(sink.url, 4 + 2 * truth.batches.size)).map((body) => JSON.parse(body) as { id: string; type: string; sequence: string });
    expect(events.filter(({ type }) => type === 'dev.plimsoll.run.completed.v1')).toHaveLength(2);
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    worker.process.kill('SIGTERM');
    const ended = await worker.ended;
    expect(ended.code, ended.stderr).toBe(0);

    // One zip per archive, which proves itself against journal and ledger; and the events of a run once more, on request.
    const zips = await moto.keys(bucket, 'audit/');
    expect(zips).toHaveLength(truth.batches.size);
    const proof = await world.run(['archive', 'verify', zips[0]?.split('/').at(-1)?.replace('.zip', '') ?? '', '--json']);
    expect(proof.code, proof.stderr).toBe(0);
    expect((JSON.parse(proof.stdout) as { proved: string[] }).proved.join()).toContain('the ledger says exported');
    const replay = await world.run(['events', 'replay', '--run', String(row?.['run_key']), '--json']);
    expect({ code: replay.code, report: JSON.parse(replay.stdout) as unknown }).toMatchObject({ code: 0, report: [{ sink: 'etl', refused: 0, sent: expect.any(Number) as number }] });
  }, 120_000);

  it('a poisonous message and a vanished object go to the dead letters with their reasons; what is good goes on, and what is mended', async () => {
    const { documents, dead } = await open({ PLIMSOLL_LISTEN__VISIBILITY: '10s' });
    await moto.s3.send(new PutObjectCommand({ Bucket: bucket, Key: 'in/gone.jsonl', Body: corpus(3, 1) }));
    await moto.s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: 'in/gone.jsonl' }));
    await moto.s3.send(new PutObjectCommand({ Bucket: bucket, Key: 'in/good.jsonl', Body: corpus(5, 1) }));
    await moto.sqs.send(new SendMessageCommand({ QueueUrl: documents.url, MessageBody: '{"QueueUrl":"https://sqs.elsewhere.example/1/evil"}' }));
    const listener = world.start(['listen']);
    const refused = await take(dead.url, 2);
    expect(refused.map((body) => (body.includes('gone.jsonl') ? 'gone' : 'malformed')).sort()).toEqual(['gone', 'malformed']);
    await expect.poll(async () => (await moto.sqs.send(new GetQueueAttributesCommand({ QueueUrl: documents.url, AttributeNames: ['All'] }))).Attributes, { timeout: 10_000 }).toMatchObject({ ApproximateNumberOfMessages: '0', ApproximateNumberOfMessagesNotVisible: '0' });
    // As its message says: put there again, and the message redriven.
    await moto.s3.send(new PutObjectCommand({ Bucket: bucket, Key: 'in/gone.jsonl', Body: corpus(3, 1) }));
    await moto.sqs.send(new SendMessageCommand({ QueueUrl: documents.url, MessageBody: refused.find((body) => body.includes('gone.jsonl')) ?? '' }));
    await listener.said('"subject":"gone.jsonl-');
    listener.process.kill('SIGTERM');
    const { stderr } = await listener.ended;
    expect(stderr).toMatch(/"document\.taken".*good\.jsonl|good\.jsonl.*"document\.taken"/);
    expect(stderr).toContain('an announced object is not there any more');
    expect(stderr).toContain('It was deleted before it was read. Put it there again and redrive the message, or purge the message.');
    expect(stderr).toContain('a message is no event of S3: it has neither Records nor an event of aws.s3');
    expect(stderr).toContain('Only the event notifications of the bucket may feed this queue. The message is left to the dead-letter queue; read it there.');
    expect(stderr).toMatch(/"subject":"gone\.jsonl-[^"]*".*"accepted":3/);
  }, 90_000);
});
