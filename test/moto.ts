/**
 * An S3 and SQS server that nobody here wrote: `moto_server`, from the Python registry, on a loopback port of its own.
 * It is found through PLIMSOLL_TEST_MOTO or on the PATH; without it the tests that need it are left out with one line,
 * unless PLIMSOLL_TEST_MOTO_REQUIRED is set, as it is in CI.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { delimiter, join } from 'node:path';
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { CreateQueueCommand, GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { S3Settings } from '../segments/store/s3-client.ts';

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function find(): string | undefined {
  const named = process.env['PLIMSOLL_TEST_MOTO'] ?? '';
  const candidates = named === '' ? (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'moto_server')) : [named];
  const found = candidates.find(isExecutable);
  if (found === undefined && (process.env['PLIMSOLL_TEST_MOTO_REQUIRED'] ?? '') !== '') throw new Error('moto_server is required here and was not found; set PLIMSOLL_TEST_MOTO to its path');
  return found;
}

/** Path of the server; undefined where it is not installed. */
export const motoExecutable = find();

/** Whether the server can be started; tells once per file that it cannot. */
export const isMotoThere = motoExecutable !== undefined;
if (!isMotoThere) process.stderr.write('moto_server is not installed: the tests of S3 and SQS are left out (pip install "moto[server]")\n');

/** What the SDK and the product need to reach the server. */
export const motoCredentials = { AWS_ACCESS_KEY_ID: 'test-key', AWS_SECRET_ACCESS_KEY: 'test-secret', AWS_REGION: 'eu-west-1' } as const;

export interface Moto {
  readonly url: string;
  readonly process: ChildProcess;
  readonly s3: S3Client;
  readonly sqs: SQSClient;
  /** Settings of a store on this server, perhaps through a proxy in front of it. */
  settings(endpoint?: string): S3Settings;
  /** A new bucket of its own. */
  bucket(): Promise<string>;
  /** A new queue; its URL and ARN. FIFO when the attributes say so. */
  queue(attributes?: Readonly<Record<string, string>>): Promise<{ readonly url: string; readonly arn: string }>;
  /** A user with these statements as his policy; what he signs with. */
  identity(statements: readonly object[]): Promise<{ readonly id: string; readonly secret: string }>;
  /** Whether signatures and policies of users are looked at; at the start they are not. */
  checkIdentities(isChecked: boolean): Promise<void>;
  /** Keys of a bucket below a prefix. */
  keys(bucket: string, prefix?: string): Promise<readonly string[]>;
  stop(): Promise<void>;
}

/** Starts a server. `more` is added to its environment. */
export async function startMoto(more: Readonly<Record<string, string>> = {}): Promise<Moto> {
  if (motoExecutable === undefined) throw new Error('moto_server is not installed');
  for (const [name, value] of Object.entries(motoCredentials)) process.env[name] = value;
  const port = await freePort();
  const child = spawn(motoExecutable, ['-H', '127.0.0.1', '-p', String(port)], { env: { PATH: process.env['PATH'] ?? '', ...more }, stdio: ['ignore', 'ignore', 'pipe'] });
  const url = `http://127.0.0.1:${port}`;
  await listening(child);
  const region = motoCredentials.AWS_REGION;
  const s3 = new S3Client({ endpoint: url, region, forcePathStyle: true });
  const sqs = new SQSClient({ endpoint: url, region });
  return {
    url, s3, sqs, process: child,
    settings: (endpoint = url) => ({ region, endpoint, isPathStyle: true, isChecksumMinimal: false, kmsKeyId: undefined, bucketOwner: undefined, timeoutMs: 10_000 }),
    async bucket() {
      const name = `b-${randomUUID()}`;
      await s3.send(new CreateBucketCommand({ Bucket: name, CreateBucketConfiguration: { LocationConstraint: region } }));
      return name;
    },
    async queue(attributes = {}) {
      const name = `q-${randomUUID().slice(0, 8)}${attributes['FifoQueue'] === 'true' ? '.fifo' : ''}`;
      const { QueueUrl: queueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: name, Attributes: { ...attributes } }));
      const { Attributes: facts } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: queueUrl, AttributeNames: ['QueueArn'] }));
      return { url: queueUrl ?? '', arn: facts?.['QueueArn'] ?? '' };
    },
    async identity(statements) {
      const name = `u-${randomUUID()}`;
      const ask = async (question: Readonly<Record<string, string>>): Promise<string> => {
        // The server tells its services apart by the scope of a signature, which it does not look at here.
        const authorization = 'AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=any';
        const reply = await fetch(url, { method: 'POST', headers: { authorization }, body: new URLSearchParams({ Version: '2010-05-08', UserName: name, ...question }) });
        const text = await reply.text();
        if (!reply.ok) throw new Error(text);
        return text;
      };
      await ask({ Action: 'CreateUser' });
      await ask({ Action: 'PutUserPolicy', PolicyName: 'own', PolicyDocument: JSON.stringify({ Version: '2012-10-17', Statement: statements }) });
      const made = await ask({ Action: 'CreateAccessKey' });
      const of = (tag: string): string => new RegExp(`<${tag}>([^<]+)<`).exec(made)?.[1] ?? '';
      return { id: of('AccessKeyId'), secret: of('SecretAccessKey') };
    },
    async checkIdentities(isChecked) {
      await (await fetch(`${url}/moto-api/reset-auth`, { method: 'POST', body: isChecked ? '0' : 'inf' })).text();
    },
    async keys(bucket, prefix = '') {
      const { Contents: contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }));
      return contents.map(({ Key: key }) => key ?? '');
    },
    async stop() {
      s3.destroy();
      sqs.destroy();
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Resolves when the server says that it listens. */
async function listening(child: ChildProcess): Promise<void> {
  let said = '';
  while (!said.includes('Running on')) {
    const [block] = (await Promise.race([
      once(child.stderr ?? child, 'data'),
      once(child, 'exit').then(() => Promise.reject(new Error(`moto_server did not start: ${said}`))),
    ])) as [Buffer];
    said += block.toString('utf8');
  }
  child.stderr?.resume();
}
