/**
 * The lake of a seed in a bucket: S3 as moto plays it, behind a proxy that does to chosen requests what networks and
 * stores do. The oracle reads a copy, which is fetched past the proxy.
 *
 * Invariants
 *   B1  A mishap strikes once, at requests that are counted over all processes of the seed.
 *   B2  What the oracle reads comes from the server itself: no mishap is between them.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CreateBucketCommand, DeleteObjectsCommand, GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { startFaultyProxy, type FaultyProxy, type Mishap, type SeenRequest } from '../../faulty-proxy.ts';
import { motoCredentials, type Moto } from '../../moto.ts';

/**
 * What a bucket does. `lost_write`: the object is there, its reply is not. `contested`: 409, as two writers at once get it.
 * `slow_down`: 503 to whatever comes. `cut_read`: a body breaks off. `silent`: no reply at all. `denied`: 403 to whatever comes.
 */
export type BucketFault = 'lost_write' | 'contested' | 'slow_down' | 'cut_read' | 'silent' | 'denied';

/** One fault of the bucket of a seed: it begins at the nth request that it is about, and strikes `times` in a row. */
export interface BucketMishap {
  readonly id: string;
  readonly what: BucketFault;
  readonly nth: number;
  readonly times: number;
  /** Bytes of the body that pass; for `cut_read`. */
  readonly afterBytes: number;
}

const prefix = 'lake/';
/** The most that one listing names, and one request deletes. */
const pageKeys = 1_000;
/** Shorter than the leases of a seed are long, so that silence is noticed by whoever waits and not by the next. */
const timeout = '2s';

const errorBody = (code: string): string => `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>a fault of this seed</Message></Error>`;

function mishapOf({ what, afterBytes }: BucketMishap): Mishap {
  switch (what) {
    case 'lost_write':
      return { kind: 'lose' };
    case 'contested':
      return { kind: 'answer', status: 409, body: errorBody('ConditionalRequestConflict') };
    case 'slow_down':
      return { kind: 'answer', status: 503, body: errorBody('SlowDown') };
    case 'cut_read':
      return { kind: 'cut', afterBytes };
    case 'silent':
      return { kind: 'hang' };
    case 'denied':
      return { kind: 'answer', status: 403, body: errorBody('AccessDenied') };
  }
}

export class BucketLake {
  readonly #moto: Moto;
  readonly #name: string;
  readonly #proxy: FaultyProxy;
  readonly #copy: string;
  readonly #onMishap: (id: string) => void;
  /** Etag of every object that stands in the copy. */
  readonly #copied = new Map<string, string>();
  #armed: { readonly mishap: BucketMishap; seen: number }[] = [];
  /** Keys of runs whose `_SUCCESS` the server has taken. */
  readonly successes = new Set<string>();

  private constructor(moto: Moto, name: string, proxy: FaultyProxy, copy: string, onMishap: (id: string) => void) {
    this.#moto = moto;
    this.#name = name;
    this.#proxy = proxy;
    this.#copy = copy;
    this.#onMishap = onMishap;
    proxy.rule = (request) => this.#strike(request);
    proxy.heard = (request, status) => {
      const run = /\/([^/]+)\/_SUCCESS$/.exec(this.#keyOf(request) ?? '')?.[1];
      if (run !== undefined && request.method === 'PUT' && status === 200) this.successes.add(run);
    };
  }

  /** A new bucket. `copy` is the folder that `fetch` fills. */
  static async open(moto: Moto, name: string, copy: string, onMishap: (id: string) => void): Promise<BucketLake> {
    await moto.s3.send(new CreateBucketCommand({ Bucket: name, CreateBucketConfiguration: { LocationConstraint: motoCredentials.AWS_REGION } }));
    return new BucketLake(moto, name, await startFaultyProxy(moto.url), copy, onMishap);
  }

  get uri(): string {
    return `s3://${this.#name}/${prefix.slice(0, -1)}`;
  }

  /** What the paths of its objects begin with. */
  get path(): string {
    return `/${this.#name}/${prefix}`;
  }

  /** What a process of the product needs to know. */
  get env(): Readonly<Record<string, string>> {
    return { ...motoCredentials, AWS_ENDPOINT_URL: this.#proxy.url, PLIMSOLL_LAKE: this.uri, PLIMSOLL_S3__TIMEOUT: timeout };
  }

  arm(mishaps: readonly BucketMishap[]): void {
    this.#armed = mishaps.map((mishap) => ({ mishap, seen: 0 }));
  }

  /** Brings the copy up to date (B2). */
  async fetch(): Promise<void> {
    const there = await this.#list();
    for (const [key, etag] of there) {
      if (this.#copied.get(key) === etag) continue;
      const { Body: body } = await this.#moto.s3.send(new GetObjectCommand({ Bucket: this.#name, Key: prefix + key }));
      const path = join(this.#copy, key);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, (await body?.transformToByteArray()) ?? '');
      this.#copied.set(key, etag);
    }
    for (const key of [...this.#copied.keys()].filter((each) => !there.has(each))) {
      rmSync(join(this.#copy, key));
      this.#copied.delete(key);
    }
  }

  async remove(keys: readonly string[]): Promise<void> {
    for (let from = 0; from < keys.length; from += pageKeys) {
      await this.#moto.s3.send(new DeleteObjectsCommand({ Bucket: this.#name, Delete: { Objects: keys.slice(from, from + pageKeys).map((key) => ({ Key: prefix + key })) } }));
    }
    await this.fetch();
  }

  async close(): Promise<void> {
    await this.#proxy.stop();
    // The server holds everything in memory, and a command plays a thousand seeds.
    await this.remove([...(await this.#list()).keys()]);
  }

  async #list(): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    let token: string | undefined;
    do {
      const page = await this.#moto.s3.send(new ListObjectsV2Command({ Bucket: this.#name, Prefix: prefix, ...(token === undefined ? {} : { ContinuationToken: token }) }));
      for (const { Key: key = '', ETag: etag = '' } of page.Contents ?? []) found.set(key.slice(prefix.length), etag);
      token = page.NextContinuationToken;
    } while (token !== undefined);
    return found;
  }

  /** The key of the lake that a request is about, if it is about one. */
  #keyOf({ path }: SeenRequest): string | undefined {
    const plain = decodeURIComponent(path.replace(/\?.*/, ''));
    return plain.startsWith(this.path) ? plain.slice(this.path.length) : undefined;
  }

  #strike(request: SeenRequest): Mishap | undefined {
    const isObject = this.#keyOf(request) !== undefined;
    for (const armed of this.#armed) {
      const { what, nth, times, id } = armed.mishap;
      const isMeant = what === 'lost_write' || what === 'contested' ? isObject && request.method === 'PUT' : what === 'cut_read' ? isObject && request.method === 'GET' : true;
      if (!isMeant) continue;
      armed.seen += 1;
      if (armed.seen < nth || armed.seen >= nth + times) continue;
      this.#onMishap(id);
      return mishapOf(armed.mishap);
    }
    return undefined;
  }
}
