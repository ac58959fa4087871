/**
 * What an operator reads when a bucket is not as it should be, and that the same command, once it is mended, goes on and
 * ends exactly. The server of others raises what it can; the rest is answered in its place.
 */
import { gunzipSync } from 'node:zlib';
import { CreateBucketCommand, DeleteBucketPolicyCommand, GetObjectCommand, PutBucketPolicyCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { corpus, openWorld, type Ended, type World } from '../chaos/world.ts';
import { startFaultyProxy, type FaultyProxy, type Mishap } from '../faulty-proxy.ts';
import { isMotoThere, motoCredentials, startMoto, type Moto } from '../moto.ts';

const rows = 30;
const page = '<html><body>Sign in<hr></body></html>';
const xmlError = (code: string): string => `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>no</Message></Error>`;

describe.skipIf(!isMotoThere)('a run on a bucket that is not as it should be', () => {
  let moto: Moto;
  let proxy: FaultyProxy;
  let world: World;
  let bucket: string;
  beforeAll(async () => void (moto = await startMoto()));
  afterAll(async () => await moto.stop());
  beforeEach(async () => {
    proxy = await startFaultyProxy(moto.url);
    bucket = await moto.bucket();
  });
  afterEach(async () => {
    await world.close();
    await proxy.stop();
  });

  const open = async (): Promise<void> => {
    world = await openWorld({}, { ...motoCredentials, AWS_ENDPOINT_URL: proxy.url, PLIMSOLL_LAKE: `s3://${bucket}/lake`, PLIMSOLL_CHUNK__BYTES_MAX: '2000', PLIMSOLL_ARCHIVE__BYTES_MAX: '6000' });
    world.write('in.jsonl', corpus(rows, 5));
  };
  const command = (): readonly string[] => ['run', `${world.folder}/in.jsonl`, '--run-key', 'nightly', '--json'];

  /** Every row of the run is in a file of the bucket, once. */
  async function expectWhole({ code, stdout, stderr }: Ended): Promise<void> {
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ status: 'succeeded', counts: { succeeded: rows } });
    const ids: string[] = [];
    for (const key of await moto.keys(bucket, 'lake/results/')) {
      const bytes = await (await moto.s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }))).Body?.transformToByteArray();
      for (const line of gunzipSync(bytes ?? Buffer.alloc(0)).toString('utf8').trimEnd().split('\n')) ids.push((JSON.parse(line) as { id: string }).id);
    }
    expect(ids.sort()).toEqual(Array.from({ length: rows }, (_, index) => `doc-${index}`).sort());
  }

  const credentialsFix = 'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of this machine; `aws sts get-caller-identity` shows who it is.';
  const answer = (status: number, body: string, headers: Readonly<Record<string, string>> = {}): Mishap => ({ kind: 'answer', status, headers, body });
  it.each([
    ['credentials that have expired', answer(400, xmlError('ExpiredToken')), 'cannot write: the AWS credentials are refused (ExpiredToken)', credentialsFix],
    ['another region', answer(301, xmlError('PermanentRedirect'), { 'x-amz-bucket-region': 'us-west-2' }), 'cannot write: the bucket BUCKET is in the region us-west-2, not in eu-west-1', 'Set AWS_REGION=us-west-2.'],
    ['a page of a proxy', answer(403, page, { 'content-type': 'text/html' }), 'cannot write: something answered 403 that is not S3', 'Check that ENDPOINT is reached and that no proxy or login page answers in its place; it is tried again.'],
    ['no conditional writes', { kind: 'strip', header: 'if-none-match' }, 'the bucket BUCKET ignores If-None-Match on PUT: it has no conditional writes, so results could be overwritten in silence', 'Use a store with conditional writes: AWS S3, or a recent version of one that is compatible with it. Nothing was lost; no run can use this bucket.'],
  ] as const)('%s: is told before anything starts, and works when it is mended', async (_what, mishap, message, fix) => {
    await open();
    proxy.rule = ({ method }) => (method === 'PUT' ? mishap : undefined);
    const refused = await world.run(command());
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    const told = (text: string): string => text.replace('BUCKET', bucket).replace('ENDPOINT', proxy.url);
    expect(refused.stderr).toContain(`plimsoll: ${told(message)} (s3://${bucket}/lake/.conditional-write)\n  ${told(fix)}\n  [lake_unavailable]\n`);
    proxy.rule = () => undefined;
    await expectWhole(await world.run(command()));
  }, 60_000);

  it('a bucket that is not there is told with the command that makes it, and then works', async () => {
    bucket = `${bucket}-later`;
    await open();
    const refused = await world.run(command());
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`plimsoll: cannot write: there is no bucket ${bucket} at ${proxy.url} (s3://${bucket}/lake/.conditional-write)\n  Create it (aws s3 mb s3://${bucket}), or correct the name; the region and the account must be right too.\n  [lake_unavailable]\n`);
    await moto.s3.send(new CreateBucketCommand({ Bucket: bucket, CreateBucketConfiguration: { LocationConstraint: 'eu-west-1' } }));
    await expectWhole(await world.run(command()));
  }, 60_000);

  it('puts that a policy of the bucket denies hold the exports, loudly; when they are allowed the run ends whole', async () => {
    await open();
    await moto.s3.send(new PutBucketPolicyCommand({
      Bucket: bucket, Policy: JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:PutObject', Resource: `arn:aws:s3:::${bucket}/lake/results/*` }] }),
    }));
    const running = world.start(command());
    await running.said('cannot write: access is denied');
    await running.said('Allow this identity s3:PutObject on the bucket');
    expect(await moto.keys(bucket, 'lake/results/')).toEqual([]);
    expect(await moto.keys(bucket, 'lake/runs/')).toEqual([]);
    await moto.s3.send(new DeleteBucketPolicyCommand({ Bucket: bucket }));
    await expectWhole(await running.ended);
  }, 60_000);
});
