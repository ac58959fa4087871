/** A bucket behind a network that fails: nothing is lost, written twice or overwritten, and every end has its words. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateMultipartUploadCommand, ListMultipartUploadsCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { partBytesOf } from '../../segments/store/s3-write.ts';
import { openS3Store } from '../../segments/store/s3.ts';
import type { S3Settings } from '../../segments/store/s3-client.ts';
import type { Store } from '../../segments/store/store.ts';
import { onceEach, startFaultyProxy, type FaultyProxy, type SeenRequest } from '../faulty-proxy.ts';
import { isMotoThere, startMoto, type Moto } from '../moto.ts';
import { contentOf, sha256 } from './store-suite.ts';

const largeBytes = 66 * 1024 * 1024;

function kindOf({ method, path }: SeenRequest): string | undefined {
  const key = path.split('?')[0] ?? '';
  if (method === 'POST') return `${path.includes('uploads') ? 'create' : 'complete'} ${key}`;
  if (method === 'PUT') return path.includes('partNumber=') ? `part ${/partNumber=(\d+)/.exec(path)?.[1]} ${key}` : `put ${key}`;
  return undefined;
}

const xmlError = (code: string): string => `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>no</Message></Error>`;

describe.skipIf(!isMotoThere)('a bucket behind a network that fails', () => {
  let moto: Moto;
  let proxy: FaultyProxy;
  let scratch: string;
  let bucket: string;
  let large: Buffer;
  beforeAll(async () => {
    moto = await startMoto();
    scratch = await mkdtemp(join(tmpdir(), 'plimsoll-scratch-'));
    large = Buffer.alloc(largeBytes);
    for (let at = 0; at < largeBytes; at += 4096) large.writeUInt32LE(at, at);
    await writeFile(join(scratch, 'large'), large);
  });
  afterAll(async () => {
    await moto.stop();
    await rm(scratch, { recursive: true, force: true });
  });
  beforeEach(async () => {
    proxy = await startFaultyProxy(moto.url);
    bucket = await moto.bucket();
  });
  afterEach(async () => await proxy.stop());

  const open = async (more: Partial<S3Settings> = {}, nowMs = Date.now(), uri = `s3://${bucket}/lake`): Promise<Store> =>
    await openS3Store({ uri, settings: { ...moto.settings(proxy.url), ...more }, scratchDirectory: scratch, nowMs });
  const putLarge = async (store: Store): Promise<string> => await store.putFile('results/large', join(scratch, 'large'), { sizeBytes: largeBytes, sha256: sha256(large) });

  it('writes every object once although the reply of every write is lost once', async () => {
    const lost = onceEach(kindOf, { kind: 'lose' });
    proxy.rule = lost.rule;
    const store = await open();
    const [small, middle] = [Buffer.from('{"a":1}\n'), Buffer.alloc(3_000_000, 'row')];
    expect(await store.put('journal/a.json', contentOf(small))).toMatch(/created|same/);
    expect(await store.put('spool/b.chunk', contentOf(middle))).toBe('same');
    // A server may answer the same completion twice with a yes.
    expect(await putLarge(store)).toMatch(/created|same/);
    expect([...lost.struck].filter((kind) => kind.startsWith('complete'))).toHaveLength(2);
    expect(lost.struck.size).toBeGreaterThan(4 + Math.ceil(largeBytes / partBytesOf(largeBytes)));
    expect((await store.readWhole('spool/b.chunk')).equals(middle)).toBe(true);
    expect((await store.readWhole('results/large')).equals(large)).toBe(true);
    // An upload whose name was lost with its reply is nobody's; a start a day later ends it.
    await (await open()).close();
    expect((await moto.s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? []).toEqual([]);
    await store.close();
  });

  it.each([
    ['is contested (409)', { kind: 'answer', status: 409, body: xmlError('ConditionalRequestConflict') }],
    ['answers 200 with an error in its body', { kind: 'answer', status: 200, body: xmlError('InternalError') }],
  ] as const)('begins a multipart upload again when its completion %s', async (_what, mishap) => {
    const store = await open();
    const rule = onceEach((request) => (kindOf(request)?.startsWith('complete') === true && request.path.includes('/large') ? 'complete' : undefined), mishap);
    proxy.rule = rule.rule;
    expect(await putLarge(store)).toBe('created');
    expect(rule.struck.size).toBe(1);
    expect(await store.head('results/large')).toEqual({ key: 'results/large', sizeBytes: largeBytes, sha256: sha256(large) });
    await store.close();
  });

  it.each([
    ['is denied', 403, 'AccessDenied'],
    ['keeps failing', 503, 'ServiceUnavailable'],
  ] as const)('gives an upload up whole when a part of it %s: nothing stands under its key, nothing is left of it (W4, W5)', async (_what, status, code) => {
    const store = await open();
    // The first part fails while the next ones are read, so nobody waits for it at that moment.
    proxy.rule = ({ path }) => (path.includes('/large') && /partNumber=1(&|$)/.test(path) ? { kind: 'answer', status, body: xmlError(code) } : undefined);
    await expect(putLarge(store)).rejects.toMatchObject({ code: 'lake_unavailable', where: `s3://${bucket}/lake/results/large`, message: expect.stringContaining(code) as string });
    expect(await store.head('results/large')).toBeUndefined();
    expect(proxy.seen.filter((request) => kindOf(request)?.startsWith('complete') === true && request.path.includes('/large'))).toEqual([]);
    expect((await moto.s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? []).toEqual([]);
    proxy.rule = () => undefined;
    expect(await putLarge(store)).toBe('created');
    await store.close();
  });

  it('goes on at the byte where a transfer broke, and reads each byte once', async () => {
    const store = await open();
    const bytes = Buffer.from(Array.from({ length: 400_000 }, (_, index) => index % 251));
    await store.put('spool/c.chunk', contentOf(bytes));
    let cuts = 0;
    proxy.rule = ({ method }) => (method === 'GET' && ++cuts < 4 ? { kind: 'cut', afterBytes: 100_001 } : undefined);
    expect((await store.readWhole('spool/c.chunk', { start: 10, end: 399_990 })).equals(bytes.subarray(10, 399_990))).toBe(true);
    const ranges = proxy.seen.filter(({ method }) => method === 'GET').map(({ headers }) => headers.range);
    expect(ranges.filter((range) => range !== undefined).slice(-4)).toEqual([10, 100_011, 200_012, 300_013].map((from) => `bytes=${from}-399989`));
    await store.close();
  });

  it('says so when an object is replaced while it is read', async () => {
    const store = await open();
    await store.put('spool/d.chunk', contentOf(Buffer.alloc(300_000, 'a')));
    proxy.rule = onceEach(({ method, path }) => (method === 'GET' && path.includes('d.chunk') ? 'get' : undefined), { kind: 'cut', afterBytes: 1_000 }).rule;
    const reading = store.read('spool/d.chunk')[Symbol.asyncIterator]();
    await reading.next();
    await moto.s3.send(new PutObjectCommand({ Bucket: bucket, Key: 'lake/spool/d.chunk', Body: Buffer.alloc(300_000, 'b') }));
    await expect((async () => { while (!(await reading.next()).done); })()).rejects.toMatchObject({ code: 'lake_conflict' });
    await store.close();
  });

  it('waits no longer than it is told for a store that keeps silent', async () => {
    const store = await open({ timeoutMs: 1_000 });
    proxy.rule = ({ path }) => (path.includes('silent') ? { kind: 'hang' } : undefined);
    await expect(store.head('silent')).rejects.toMatchObject({ code: 'lake_unavailable', where: `s3://${bucket}/lake/silent` });
    await store.close();
  });

  it('aborts the uploads that a crash left a day ago, and no younger one and no other', async () => {
    for (const key of ['lake/results/x', 'elsewhere/x']) await moto.s3.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key }));
    const left = async () => (await moto.s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? [];
    // The server names an instant of its own as the beginning of every upload.
    const begunMs = (await left())[0]?.Initiated?.getTime() ?? Number.NaN;
    await (await open({}, begunMs + 23 * 3_600_000)).close();
    expect(await left()).toHaveLength(2);
    await (await open({}, begunMs + 25 * 3_600_000)).close();
    expect((await left()).map(({ Key: key }) => key)).toEqual(['elsewhere/x']);
  });

  it('aborts none but its own when the lake is the whole bucket', async () => {
    const [own, others] = [['journal/results/r/x.jsonl', '.conditional-write', 'results/x'], ['.hidden/x', 'in/x', 'journalx', 'resultsx', 'spools/x']];
    for (const key of [...own, ...others]) await moto.s3.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key }));
    const left = async () => (await moto.s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? [];
    const begunMs = (await left())[0]?.Initiated?.getTime() ?? Number.NaN;
    await (await open({}, begunMs + 25 * 3_600_000, `s3://${bucket}`)).close();
    expect((await left()).map(({ Key: key }) => key).sort()).toEqual(others);
  });

  it('works without checksum headers where a store refuses them', async () => {
    const store = await open({ isChecksumMinimal: true });
    await store.put('a/b', contentOf(Buffer.alloc(2_000_000, 'x')));
    const written = proxy.seen.filter(({ method, path }) => method === 'PUT' && path.includes('a/b'));
    expect(written.flatMap(({ headers }) => Object.keys(headers).filter((name) => name.startsWith('x-amz-checksum') || name === 'x-amz-trailer'))).toEqual([]);
    expect(written[0]?.headers['x-amz-content-sha256']).toBe(sha256(Buffer.alloc(2_000_000, 'x')));
    await store.close();
  });

  it('names key and owner in what it writes where they are set', async () => {
    const store = await open({ kmsKeyId: 'arn:aws:kms:eu-west-1:123456789012:key/k', bucketOwner: '123456789012' });
    await store.put('a/b', contentOf(Buffer.from('x')));
    const put = proxy.seen.find(({ method, path }) => method === 'PUT' && path.includes('a/b'));
    expect(put?.headers).toMatchObject({ 'x-amz-server-side-encryption': 'aws:kms', 'x-amz-server-side-encryption-aws-kms-key-id': 'arn:aws:kms:eu-west-1:123456789012:key/k', 'x-amz-expected-bucket-owner': '123456789012', 'if-none-match': '*' });
    await store.close();
  });

  describe('is refused when it is opened, in words that name the fix:', () => {
    const answer = (status: number, code: string, headers: Readonly<Record<string, string>> = {}) => ({ kind: 'answer', status, headers, body: xmlError(code) }) as const;
    it.each([
      ['credentials that are refused', answer(403, 'InvalidAccessKeyId'), /credentials are refused \(InvalidAccessKeyId\)/, /AWS_ACCESS_KEY_ID/],
      ['a put that is denied', answer(403, 'AccessDenied'), /access is denied/, /s3:PutObject/],
      ['the wrong region', answer(301, 'PermanentRedirect', { 'x-amz-bucket-region': 'us-west-2' }), /in the region us-west-2, not in eu-west-1/, /AWS_REGION=us-west-2/],
      ['a store that does not know the condition', answer(501, 'NotImplemented'), /does not implement/, /conditional writes/],
      ['no conditional PUT', { kind: 'strip', header: 'if-none-match' }, /ignores If-None-Match on PUT/, /conditional writes/],
    ] as const)('%s', async (_what, mishap, message, hint) => {
      proxy.rule = ({ method }) => (method === 'PUT' ? mishap : undefined);
      const error: unknown = await open().catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code: 'lake_unavailable', message: expect.stringMatching(message) as string, hint: expect.stringMatching(hint) as string, where: expect.stringContaining(bucket) as string });
    });

    it('whom a server does not know, whom it knows by another secret, and who may not put', async () => {
      const server = await startMoto();
      const identity = { id: process.env['AWS_ACCESS_KEY_ID'], secret: process.env['AWS_SECRET_ACCESS_KEY'] };
      try {
        const lake = await server.bucket();
        const user = await server.identity([{ Effect: 'Allow', Action: 's3:ListBucket', Resource: '*' }]);
        await server.checkIdentities(true);
        const openAs = async (id: string, secret: string): Promise<unknown> => {
          Object.assign(process.env, { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret });
          return await openS3Store({ uri: `s3://${lake}/lake`, settings: server.settings(), scratchDirectory: scratch, nowMs: Date.now() }).then(async (store) => await store.close(), (error: unknown) => error);
        };
        const where = `s3://${lake}/lake/.conditional-write`;
        expect(await openAs('AKIAUNKNOWN', 'x')).toMatchObject({ code: 'lake_unavailable', message: 'cannot write: the AWS credentials are refused (InvalidAccessKeyId)', where });
        expect(await openAs(user.id, 'another')).toMatchObject({ code: 'lake_unavailable', message: 'cannot write: the AWS credentials are refused (SignatureDoesNotMatch)', where });
        expect(await openAs(user.id, user.secret)).toMatchObject({ code: 'lake_unavailable', message: 'cannot write: access is denied (AccessDenied)', hint: 'Allow this identity s3:PutObject on the bucket; an expected bucket owner must be the right account.', where });
        await server.checkIdentities(false);
        const allowed = await server.identity([{ Effect: 'Allow', Action: 's3:*', Resource: '*' }]);
        await server.checkIdentities(true);
        expect(await openAs(allowed.id, allowed.secret)).toBeUndefined();
      } finally {
        Object.assign(process.env, { AWS_ACCESS_KEY_ID: identity.id, AWS_SECRET_ACCESS_KEY: identity.secret });
        await server.stop();
      }
    });

    it('a bucket that is not there', async () => {
      await expect(open({}, Date.now(), 's3://there-is-no-such-bucket')).rejects.toMatchObject({ code: 'lake_unavailable', message: expect.stringMatching(/no bucket there-is-no-such-bucket/) as string, hint: expect.stringContaining('aws s3 mb') as string });
    });

    it('no conditional completion, before the first large object', async () => {
      const store = await open();
      proxy.rule = (request) => (kindOf(request)?.startsWith('complete') === true ? { kind: 'strip', header: 'if-none-match' } : undefined);
      await expect(putLarge(store)).rejects.toMatchObject({ code: 'lake_unavailable', message: expect.stringMatching(/the completion of a multipart upload/) as string });
      expect(await store.head('results/large')).toBeUndefined();
      await store.close();
    });
  });
});
