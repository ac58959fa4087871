/** What stands around the processes of the product: a Redis behind a proxy, a provider, a webhook, a home, and settings that make waits short. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { startSimulator, type Simulator } from '../../../local/simulator/simulator.ts';
import type { BucketLake } from './bucket.ts';
import { FragileRedis } from './fragile-redis.ts';
import { filesBelow } from '../oracle.ts';
import type { Product } from './product.ts';
import { RedisProxy } from './redis-proxy.ts';

/** Stands in every prompt; it must turn up nowhere but in the lake's own folders. */
export const canary = 'canary-text-4711';
export const apiKey = 'sk-ant-canary-7781';
export const tag = 'chaos';
/** What the ids of a stranger's requests begin with. */
export const strangersIds = 'theirs-';
export const prefix = `{${tag}}:`;

/** Short waits, so that a seed takes seconds; the sweep is no shorter than lost wake-ups need, because every worker makes it all the time. */
export const impatient = {
  PLIMSOLL_POLL__MIN: '30ms', PLIMSOLL_POLL__MAX: '300ms', PLIMSOLL_SUBMIT__LEASE: '3s', PLIMSOLL_SUBMIT__TIMEOUT: '2s', PLIMSOLL_SUBMIT__LANDING_WAIT: '1500ms',
  PLIMSOLL_RETRY__ACCOUNT_REST: '1s', PLIMSOLL_SWEEP__INTERVAL: '400ms', PLIMSOLL_SWEEP__LEASE: '1500ms', PLIMSOLL_SWEEP__WORKSPACE: '1s', PLIMSOLL_ARCHIVE__LINGER: '200ms',
};

export interface StageSettings {
  readonly seed: number;
  readonly batchMs: number;
  readonly archiveBytes: number;
  readonly chunkBytes: number;
  readonly budgetTokens: number | undefined;
  /** Environment variables of every process beside those that name the stage. */
  readonly env: Readonly<Record<string, string>>;
  /** Where the lake is; a folder in the home by default. */
  readonly lake?: 'folder' | 's3' | undefined;
  /** Further arguments of Redis, which replace shipped ones. */
  readonly redis?: readonly string[];
  readonly onMishap: (id: string) => void;
}

export class Stage {
  readonly #settings: StageSettings;
  readonly #product: Product;
  readonly folder: string;
  /** Folder of the lake; where it stands in a bucket, of its copy, as it was at the last `readLake`. */
  readonly lake: string;
  readonly truthFile: string;
  readonly redis: FragileRedis;
  readonly proxy: RedisProxy;
  /** What the webhook got. */
  readonly delivered: { id: string; body: string }[] = [];
  /** How often somebody else tried to make one. */
  strangersCreates = 0;
  #bucket: BucketLake | undefined;
  #simulator: Simulator | undefined;
  #webhook: Server | undefined;

  constructor(settings: StageSettings, product: Product) {
    this.#settings = settings;
    this.#product = product;
    this.folder = mkdtempSync(join(tmpdir(), 'plimsoll-seed-'));
    this.lake = settings.lake === 's3' ? join(this.folder, 'copy') : join(this.folder, 'home', 'lake');
    this.truthFile = join(this.folder, 'truth.jsonl');
    mkdirSync(join(this.folder, 'home'));
    this.redis = new FragileRedis(product.redis, this.folder, settings.redis ?? []);
    this.proxy = new RedisProxy(this.redis.socketPath, settings.onMishap);
  }

  get provider(): string {
    return join(this.folder, 'provider');
  }

  async open(): Promise<void> {
    const { seed, batchMs, budgetTokens } = this.#settings;
    await this.redis.start();
    await this.proxy.start();
    if (this.#settings.lake === 's3') this.#bucket = await this.#openBucket();
    this.#simulator = await startSimulator({ stateDir: this.provider, truthFile: this.truthFile, seed: seed % 4_294_967_296, batchMs, tier: 'unlimited', retryAfterSeconds: 0 });
    this.#webhook = createServer((request, reply) => {
      let body = '';
      request.on('data', (data) => (body += String(data))).on('end', () => {
        this.delivered.push({ id: (JSON.parse(body) as { id: string }).id, body });
        reply.writeHead(200).end();
      });
    }).listen(0, '127.0.0.1');
    await once(this.#webhook, 'listening');
    this.limitBudget(budgetTokens);
  }

  /** The lake as a bucket, where it is one. */
  get bucket(): BucketLake | undefined {
    return this.#bucket;
  }

  async #openBucket(): Promise<BucketLake> {
    const { buckets } = this.#product;
    if (buckets === undefined) throw new Error('there is no server for the bucket of this schedule');
    // Only where it is needed: it loads the client of S3.
    const { BucketLake: Bucket } = await import('./bucket.ts');
    return await Bucket.open(buckets, basename(this.folder).toLowerCase(), this.lake, this.#settings.onMishap);
  }

  /** Runs whose end stands in the lake. */
  get successes(): ReadonlySet<string> {
    return this.#bucket?.successes ?? new Set(filesBelow(join(this.lake, 'runs')).flatMap((file) => /\/([^/]+)\/_SUCCESS$/.exec(file)?.[1] ?? []));
  }

  /** Makes what stands in the lake readable in its folder. */
  async readLake(): Promise<void> {
    await this.#bucket?.fetch();
  }

  /** Takes objects out of the lake, as nobody but a person with the rights for it could. */
  async removeFromLake(keys: readonly string[]): Promise<void> {
    if (this.#bucket) await this.#bucket.remove(keys);
    else for (const key of keys) rmSync(join(this.lake, key));
  }

  /** The environment of every process. */
  get env(): Readonly<Record<string, string>> {
    const { archiveBytes, chunkBytes, env } = this.#settings;
    return {
      PATH: process.env['PATH'] ?? '', HOME: this.folder, PLIMSOLL_HOME: join(this.folder, 'home'), REDIS_URL: this.proxy.url, PLIMSOLL_REDIS__TAG: tag,
      ANTHROPIC_API_KEY: apiKey, ANTHROPIC_BASE_URL: this.#simulator?.url ?? '', PLIMSOLL_EVENTS__WEBHOOK_SECRET: `whsec_${randomBytes(32).toString('base64')}`,
      PLIMSOLL_ARCHIVE__BYTES_MAX: String(archiveBytes), PLIMSOLL_CHUNK__BYTES_MAX: String(chunkBytes), ...this.#bucket?.env, ...env,
    };
  }

  /** Writes the settings file: the webhook, and the limit of one topic. Processes read it when they begin. */
  limitBudget(tokens: number | undefined): void {
    const { port } = this.#webhook?.address() as AddressInfo;
    const budget = tokens === undefined ? '' : `budgets: { "topic:invoices": { tokens: ${tokens} } }\n`;
    writeFileSync(join(this.folder, 'plimsoll.yaml'), `events:\n  sinks:\n    ops: { kind: webhook, url: "http://127.0.0.1:${port}/", from: first }\n${budget}`);
  }

  async armProvider(faults: readonly Readonly<Record<string, string | number | boolean>>[]): Promise<void> {
    if (faults.length > 0) await this.#control('POST', { faults });
  }

  async disarmProvider(): Promise<void> {
    await this.#control('DELETE', undefined);
  }

  async #control(method: string, body: unknown): Promise<void> {
    const reply = await fetch(`${this.#simulator?.url}/_simulator/faults`, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    if (!reply.ok) throw new Error(`the simulator refuses: ${await reply.text()}`);
  }

  /** The power goes and comes back. Returns how many bytes of the append-only file were lost. */
  async cutPower(): Promise<number> {
    this.proxy.freeze();
    const acknowledged = this.redis.fileBytes;
    // What the server does now, it does for nobody: none of it is acknowledged.
    await new Promise<void>((resolve) => setTimeout(resolve, 15));
    const lost = await this.redis.powerCut(acknowledged);
    this.proxy.cutAll();
    this.proxy.thaw();
    return lost;
  }

  /** Somebody else makes a batch in the same workspace. */
  async postStranger(rows: number): Promise<void> {
    const requests = Array.from({ length: rows }, (_, index) => ({ custom_id: `${strangersIds}${index}`, params: { model: 'claude-haiku-4-5', max_tokens: 8, messages: [{ role: 'user', content: 'not ours' }] } }));
    this.strangersCreates += 1;
    const headers = { 'x-api-key': apiKey, 'anthropic-version': '2023-06-01', 'content-type': 'application/json' };
    // What becomes of it is theirs: its reply may be lost as ours may.
    await fetch(`${this.#simulator?.url}/v1/messages/batches`, { method: 'POST', headers, body: JSON.stringify({ requests }) }).then(async (reply) => await reply.text()).catch(() => undefined);
  }

  /** Rows of the archive that is on its way to the provider, or of which nobody knows whether it came there; undefined: there is none any more. */
  async rowsBeingSubmitted(): Promise<number | undefined> {
    const { admin } = this.redis;
    for (const key of await admin.keys(`${prefix}archive:*`)) {
      if (key.endsWith(':chunks')) continue;
      const [state, rows] = await admin.hmget(key, 'state', 'rows');
      if (state === 'submitting' || state === 'in_doubt') return Number(rows);
    }
    return undefined;
  }

  /** An archive that the ledger has in doubt; undefined: none, or Redis is away. */
  async archiveInDoubt(): Promise<string | undefined> {
    try {
      return (await this.redis.admin.smembers(`${prefix}doubts`))[0];
    } catch {
      return undefined;
    }
  }

  async close(): Promise<void> {
    await this.proxy.stop().catch(() => undefined);
    await this.redis.stop();
    await this.#simulator?.stop();
    await this.#bucket?.close();
    this.#webhook?.closeAllConnections();
    this.#webhook?.close();
    if (process.env['CHAOS_KEEP'] === undefined) rmSync(this.folder, { recursive: true, force: true });
    else process.stderr.write(`kept ${this.folder}\n`);
  }
}
