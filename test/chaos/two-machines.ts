/**
 * Two worker machines that share nothing but Redis and a bucket: two processes with a home and a scratch folder each. One
 * of them is killed in the middle; the other ends the run, and the end is exact.
 *
 *   node --import tsx test/chaos/two-machines.ts 100000     (needs moto_server, see test/moto.ts)
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { openHome } from '../../local/home.ts';
import { motoCredentials, startMoto, type Moto } from '../moto.ts';
import { readTruth } from './oracle.ts';
import { corpus, openWorld } from './world.ts';

export interface Machines {
  readonly prompts: number;
  /** `REDIS_URL` of both machines, and their installation's name in it. */
  readonly redisUrl: string;
  readonly tag: string;
  readonly moto: Moto;
  readonly archiveBytesMax: number;
}

/** What the run came to. */
export interface MachinesEnd {
  readonly code: number | null;
  readonly stderr: string;
  readonly ids: number;
  readonly idsDistinct: number;
  readonly billedTwice: number;
  readonly batches: number;
  /** Objects below results/ when the first machine was killed. */
  readonly filesAtKill: number;
  /** Archives that the surviving machine exported. */
  readonly exportedBySurvivor: number;
  readonly reserved: number;
  readonly seconds: number;
}

/** Plays the story once. */
export async function playTwoMachines({ prompts, redisUrl, tag, moto, archiveBytesMax }: Machines): Promise<MachinesEnd> {
  const began = performance.now();
  const bucket = await moto.bucket();
  const world = await openWorld({ batchMs: 300 }, {
    ...motoCredentials, AWS_ENDPOINT_URL: moto.url, PLIMSOLL_LAKE: `s3://${bucket}/lake`, REDIS_URL: redisUrl, PLIMSOLL_REDIS__TAG: tag,
    PLIMSOLL_ARCHIVE__BYTES_MAX: String(archiveBytesMax), PLIMSOLL_CHUNK__BYTES_MAX: String(Math.min(8_000_000, Math.floor(archiveBytesMax / 6))),
  });
  try {
    const machine = (name: string): Readonly<Record<string, string>> => {
      mkdirSync(join(world.folder, name), { recursive: true });
      return { PLIMSOLL_HOME: join(world.folder, name, 'home') };
    };
    const source = world.write('in.jsonl', corpus(prompts, 11));
    const first = world.start(['work'], machine('first'));
    const second = world.start(['work'], machine('second'));
    const producer = await world.run(['enqueue', source, '--run-key', 'shared', '--quiet'], machine('third'));
    if (producer.code !== 0) throw new Error(producer.stderr);
    await first.said('"archive.exported"');
    first.process.kill('SIGKILL');
    await first.ended;
    const filesAtKill = (await keysOf(moto, bucket, 'lake/results/')).length;
    const follower = await world.run(['run', source, '--run-key', 'shared', '--json', '--timeout', '20m'], machine('third'));
    second.process.kill('SIGTERM');
    const survivor = await second.ended;
    const ids: string[] = [];
    for (const key of [...(await keysOf(moto, bucket, 'lake/results/')), ...(await keysOf(moto, bucket, 'lake/errors/'))]) {
      const bytes = await (await moto.s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }))).Body?.transformToByteArray();
      for (const line of gunzipSync(bytes ?? Buffer.alloc(0)).toString('utf8').trimEnd().split('\n')) ids.push((JSON.parse(line) as { id: string }).id);
    }
    const truth = readTruth(world.truthFile);
    const accounts = JSON.parse((await world.run(['budget', 'show', '--json'], machine('third'))).stdout) as { target: string; tokens_reserved: number }[];
    return {
      code: follower.code, stderr: follower.stderr, ids: ids.length, idsDistinct: new Set(ids).size, filesAtKill,
      billedTwice: [...truth.billedTimes.values()].filter((times) => times > 1).length,
      batches: truth.batches.size,
      exportedBySurvivor: (survivor.stderr.match(/"archive\.exported"/g) ?? []).length,
      reserved: accounts.find(({ target }) => target === 'all')?.tokens_reserved ?? -1,
      seconds: (performance.now() - began) / 1000,
    };
  } finally {
    await world.close();
  }
}

async function keysOf(moto: Moto, bucket: string, prefix: string): Promise<readonly string[]> {
  const keys: string[] = [];
  let token: string | undefined;
  do {
    const page = await moto.s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ...(token === undefined ? {} : { ContinuationToken: token }) }));
    for (const { Key: key } of page.Contents ?? []) if (key !== undefined) keys.push(key);
    token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
  } while (token !== undefined);
  return keys;
}

async function main(prompts: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-two-'));
  const home = await openHome({ directory: folder, searchPath: process.env['PATH'] ?? '', install: true, announce: (line) => void process.stderr.write(`${line}\n`) });
  const moto = await startMoto();
  try {
    const redisUrl = home.redis.kind === 'socket' ? home.redis.path : home.redis.url;
    const end = await playTwoMachines({ prompts, redisUrl, tag: 'two', moto, archiveBytesMax: 4_000_000 });
    process.stdout.write(`${JSON.stringify(end, undefined, 2)}\n`);
    const isExact = end.code === 0 && end.ids === prompts && end.idsDistinct === prompts && end.billedTwice === 0 && end.reserved === 0;
    process.exitCode = isExact ? 0 : 1;
  } finally {
    await moto.stop();
    await home.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === import.meta.filename) await main(Number(process.argv[2] ?? 100_000));
