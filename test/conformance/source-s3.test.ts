/** A source in a bucket that is taken up again, on a server of others: what is fetched, and what is refused. */
import { gzipSync } from 'node:zlib';
import { PutBucketVersioningCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SourceLocation } from '../../producers/producer.ts';
import { namedObjects } from '../../producers/s3.ts';
import { startFaultyProxy, type FaultyProxy } from '../faulty-proxy.ts';
import { isMotoThere, startMoto, type Moto } from '../moto.ts';
import { line, openWorld, type World } from '../unit/producer-world.ts';

const sectionBytes = 2_000;

describe.skipIf(!isMotoThere)('a source in a bucket that is taken up again', () => {
  let moto: Moto;
  let proxy: FaultyProxy;
  let world: World;
  let bucket: string;
  beforeAll(async () => void (moto = await startMoto()));
  afterAll(async () => await moto.stop());
  beforeEach(async () => {
    proxy = await startFaultyProxy(moto.url);
    world = await openWorld();
    world.settings = { ...world.settings, sectionBytes };
    bucket = await moto.bucket();
  });
  afterEach(async () => {
    await world.close();
    await proxy.stop();
  });

  const text = (name: string): string => `${Array.from({ length: 40 }, (_, index) => line(`${name}-${index}`)).join('\n')}\n`;
  const put = async (key: string, body: string | Buffer): Promise<void> => void (await moto.s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body })));
  const source = (): SourceLocation => ({ kind: 'objects', uri: `s3://${bucket}/in/`, objects: () => namedObjects(`s3://${bucket}/in/`, moto.settings(proxy.url)) });
  /** What was got of objects: key, range and condition. */
  const gets = (from: number) =>
    proxy.seen.slice(from).filter(({ method, path }) => method === 'GET' && path.includes('/in/')).map(({ path, headers }) => [path.replace(/^.*\/in\//, '').replace(/\?.*$/, ''), headers['range'] ?? 'whole', headers['if-match'] !== undefined] as const);

  /** Reads everything and dies before the end is written down. */
  async function interrupt(): Promise<number> {
    world.ledger.beforeFlush = () => {
      throw new Error('the process died here');
    };
    await expect(world.produce(source())).rejects.toThrow('the process died here');
    world.ledger.beforeFlush = () => undefined;
    return proxy.seen.length;
  }

  it('fetches a plain object from the byte on at which the last section has ended, if it is still the same', async () => {
    await put('in/a.jsonl.gz', gzipSync(text('a')));
    await put('in/b.jsonl', text('b'));
    const from = await interrupt();
    expect(await world.produce(source())).toMatchObject({ accepted: 80 });
    const [head, rest, ...more] = gets(from);
    expect(more).toEqual([]);
    expect(head).toEqual(['b.jsonl', 'bytes=0-3', true]);
    expect([rest?.[0], rest?.[2]]).toEqual(['b.jsonl', true]);
    expect(Number(/^bytes=(\d+)-/.exec(rest?.[1] ?? '')?.[1])).toBeGreaterThan(text('b').length - 2 * sectionBytes);
    expect((await world.rows()).map(({ id }) => id)).toEqual([...Array.from({ length: 40 }, (_, index) => `a-${index}`), ...Array.from({ length: 40 }, (_, index) => `b-${index}`)]);
  });

  it('fetches a compressed object from its start, and nothing of those before it', async () => {
    await put('in/a.jsonl', text('a'));
    await put('in/b.jsonl.gz', gzipSync(text('b')));
    const from = await interrupt();
    expect(await world.produce(source())).toMatchObject({ accepted: 80 });
    expect(gets(from)).toEqual([['b.jsonl.gz', 'bytes=0-3', true], ['b.jsonl.gz', 'whole', true]]);
  });

  it('goes on behind the last byte of an object whose end is that of a section', async () => {
    const last = text('b').split('\n').slice(0, 1).join('');
    // Without a newline at its end, so the place lies one byte behind what the bucket has.
    await put('in/a.jsonl', `${line('a')}\n${last}`);
    world.settings = { ...world.settings, sectionBytes: line('a').length + 1 + last.length + 1 };
    await interrupt();
    expect(await world.produce(source())).toMatchObject({ accepted: 2 });
  });

  it('refuses an object that was replaced, until the old content is put back', async () => {
    await put('in/a.jsonl', text('a'));
    await put('in/b.jsonl', text('b'));
    await interrupt();
    await put('in/a.jsonl', text('x'));
    await expect(world.produce(source())).rejects.toMatchObject({ code: 'run_input_differs' });
    await put('in/a.jsonl', text('a'));
    expect(await world.produce(source())).toMatchObject({ accepted: 80 });
  });

  it('finds a finished run by a listing alone', async () => {
    await put('in/a.jsonl', text('a'));
    await world.produce(source());
    const from = proxy.seen.length;
    expect(await world.produce(source())).toMatchObject({ isNew: false, accepted: 40 });
    expect(gets(from)).toEqual([]);
  });

  it('in a bucket with versions needs s3:GetObjectVersion, and says so', async () => {
    const server = await startMoto();
    const identity = { id: process.env['AWS_ACCESS_KEY_ID'], secret: process.env['AWS_SECRET_ACCESS_KEY'] };
    try {
      const versioned = await server.bucket();
      await server.s3.send(new PutBucketVersioningCommand({ Bucket: versioned, VersioningConfiguration: { Status: 'Enabled' } }));
      await server.s3.send(new PutObjectCommand({ Bucket: versioned, Key: 'in/a.jsonl', Body: text('a') }));
      const actions = ['s3:GetObject', 's3:ListBucket'];
      const [few, enough] = [await server.identity([{ Effect: 'Allow', Action: actions, Resource: '*' }]), await server.identity([{ Effect: 'Allow', Action: [...actions, 's3:GetObjectVersion'], Resource: '*' }])];
      await server.checkIdentities(true);
      const readAs = async ({ id, secret }: typeof few): Promise<unknown> => {
        Object.assign(process.env, { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret });
        const uri = `s3://${versioned}/in/a.jsonl`;
        return await world.produce({ kind: 'objects', uri, objects: () => namedObjects(uri, server.settings()) }).catch((error: unknown) => error);
      };
      expect(await readAs(few)).toMatchObject({ code: 'source_unreadable', message: expect.stringContaining('access is denied') as string, hint: expect.stringContaining('Allow this identity s3:GetObjectVersion, because a version is asked for, ') as string });
      expect(await readAs(enough)).toMatchObject({ accepted: 40 });
    } finally {
      Object.assign(process.env, { AWS_ACCESS_KEY_ID: identity.id, AWS_SECRET_ACCESS_KEY: identity.secret });
      await server.stop();
    }
  });
});
