/**
 * One seed: a Redis, a provider, a lake and the processes of the product, through a schedule of faults and out of it.
 *
 * Invariants
 *   V1  Faults come only in the first part; then the world is calm, and everything must come to its end within a bound (I14).
 *   V2  Whatever the outcome, no process, server or folder is left.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pollUntil } from '../../../local/poll.ts';
import { startSimulator, type Simulator } from '../../../local/simulator/simulator.ts';
import { filesBelow } from '../oracle.ts';
import { FragileRedis } from './fragile-redis.ts';
import { judge, type Findings } from './judge.ts';
import { corpusOf } from './corpus.ts';
import { Players, type Exit, type Player } from './players.ts';
import type { Struck } from './points.ts';
import type { Product } from './product.ts';
import { RedisProxy } from './redis-proxy.ts';
import { describeFault, type Fault, type Schedule, type Slot } from './schedule.ts';

/** What a seed came to; one line of the log. */
export interface Verdict extends Findings {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly string[];
  /** Those of them that really struck. */
  readonly struck: readonly string[];
  /** How often each named crash point was struck. */
  readonly points: Readonly<Record<string, number>>;
  readonly rebuilds: number;
  readonly powerCuts: number;
  readonly bytesCut: number;
}

const canary = 'canary-text-4711';
const apiKey = 'sk-ant-canary-7781';
const tag = 'chaos';
/** After the last fault everything must end within this; leases, landing wait and rests after refusals are in it. */
const calmBoundMs = 45_000;
/** Faults have this long, unless all runs have ended before. */
const stormMs = 4_500;
const look = { limitMs: 0, firstMs: 20, longestMs: 60 };

/** Short waits, so that a seed takes seconds. */
const impatient = {
  PLIMSOLL_POLL__MIN: '30ms', PLIMSOLL_POLL__MAX: '300ms', PLIMSOLL_SUBMIT__LEASE: '3s', PLIMSOLL_SUBMIT__TIMEOUT: '2s', PLIMSOLL_SUBMIT__LANDING_WAIT: '1500ms',
  PLIMSOLL_SWEEP__INTERVAL: '150ms', PLIMSOLL_SWEEP__LEASE: '1500ms', PLIMSOLL_SWEEP__WORKSPACE: '1s', PLIMSOLL_ARCHIVE__LINGER: '200ms',
};

/** Plays a schedule. */
export async function play(schedule: Schedule, product: Product): Promise<Verdict> {
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-seed-'));
  const trial = new Trial(schedule, product, folder);
  try {
    return await trial.play();
  } finally {
    await trial.close();
    if (process.env['CHAOS_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
    else process.stderr.write(`kept ${folder}\n`);
  }
}

class Trial {
  readonly #schedule: Schedule;
  readonly #product: Product;
  readonly #folder: string;
  readonly #lake: string;
  readonly #redis: FragileRedis;
  readonly #proxy: RedisProxy;
  readonly #struck = new Set<string>();
  readonly #points: Record<string, number> = {};
  readonly #delivered: { id: string; body: string }[] = [];
  readonly #strangers = new Set<string>();
  readonly #breaches: string[] = [];
  readonly #acknowledged = new Set<string>();
  readonly #sources: ReadonlyMap<string, { readonly ids: readonly string[]; readonly badLines: number; readonly path: string }>;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #underWay = new Set<Promise<void>>();
  #simulator: Simulator | undefined;
  #webhook: Server | undefined;
  #players: Players | undefined;
  /** Processes begin only while it is resolved: a rebuild needs to be alone. */
  #gate: Promise<void> = Promise.resolve();
  #isOver = false;
  #rebuilds = 0;
  #powerCuts = 0;
  #bytesCut = 0;

  constructor(schedule: Schedule, product: Product, folder: string) {
    this.#schedule = schedule;
    this.#product = product;
    this.#folder = folder;
    this.#lake = join(folder, 'home', 'lake');
    mkdirSync(join(folder, 'home'));
    this.#redis = new FragileRedis(product.redis, folder);
    this.#proxy = new RedisProxy(this.#redis.socketPath, (id) => this.#struck.add(id));
    this.#sources = corpusOf(schedule, folder, canary);
  }

  async play(): Promise<Verdict> {
    const began = performance.now();
    await this.#open();
    const { faults, workers } = this.#schedule;
    const loops = [...this.#sources.keys()].map(async (run) => await this.#produce(run, 'producer'));
    for (let index = 1; index <= workers; index += 1) loops.push(this.#work(`worker-${index}` as Slot));
    for (const fault of faults) this.#arm(fault);
    const last = Math.max(0, ...faults.map((fault) => ('atMs' in fault ? fault.atMs + ('forMs' in fault ? fault.forMs : 0) : 0)));
    await this.#until(() => this.#isDone() && performance.now() - began > last, Math.max(stormMs, last + 1_000));
    await this.#calm();
    const isDone = await this.#until(() => this.#isDone(), calmBoundMs);
    if (!isDone) this.#breaches.push(`I14: not at its end ${calmBoundMs / 1000} s after the last fault: ${this.#missing()}`);
    await this.#end(loops, isDone);
    const findings = judge({
      lake: this.#lake, provider: join(this.#folder, 'provider'), truthFile: join(this.#folder, 'truth.jsonl'),
      runs: new Map([...this.#sources].map(([run, { ids, badLines }]) => [run, { ids, badLines, isAcknowledged: isDone && this.#acknowledged.has(run) }])),
      strangers: this.#strangers, historyFiles: this.#redis.history, said: this.#players?.said ?? [], deaths: this.#players?.deaths ?? [],
      delivered: this.#delivered, rebuilds: this.#rebuilds, secrets: [canary, apiKey], prefix: `{${tag}}:`,
    });
    return {
      ...findings,
      seed: this.#schedule.seed,
      seconds: Math.round((performance.now() - began) / 10) / 100,
      breaches: [...this.#breaches, ...findings.breaches],
      faults: faults.map(describeFault),
      struck: faults.filter(({ id }) => this.#struck.has(id)).map(describeFault),
      points: this.#points, rebuilds: this.#rebuilds, powerCuts: this.#powerCuts, bytesCut: this.#bytesCut,
    };
  }

  async close(): Promise<void> {
    this.#isOver = true;
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#players?.stopAll(0);
    await Promise.allSettled(this.#underWay);
    await this.#proxy.stop().catch(() => undefined);
    await this.#redis.stop();
    await this.#simulator?.stop();
    this.#webhook?.closeAllConnections();
    this.#webhook?.close();
  }

  async #open(): Promise<void> {
    const { seed, batchMs, faults } = this.#schedule;
    await this.#redis.start();
    await this.#proxy.start();
    const rules = faults.flatMap((fault) => (fault.kind === 'provider' ? [fault.rule] : []));
    this.#simulator = await startSimulator({ stateDir: join(this.#folder, 'provider'), truthFile: join(this.#folder, 'truth.jsonl'), seed: seed % 4_294_967_296, batchMs, tier: 'unlimited', retryAfterSeconds: 0 });
    if (rules.length > 0) await this.#control('POST', 'faults', { faults: rules });
    this.#webhook = createServer((request, reply) => {
      let body = '';
      request.on('data', (data) => (body += String(data))).on('end', () => {
        this.#delivered.push({ id: (JSON.parse(body) as { id: string }).id, body });
        reply.writeHead(200).end();
      });
    }).listen(0, '127.0.0.1');
    await once(this.#webhook, 'listening');
    this.#writeConfig(this.#schedule.budgetTokens);
    this.#players = new Players({
      product: this.#product, folder: this.#folder, lake: this.#lake,
      env: {
        PATH: process.env['PATH'] ?? '', HOME: this.#folder, PLIMSOLL_HOME: join(this.#folder, 'home'), REDIS_URL: this.#proxy.url, PLIMSOLL_REDIS__TAG: tag,
        ANTHROPIC_API_KEY: apiKey, ANTHROPIC_BASE_URL: this.#simulator.url, PLIMSOLL_EVENTS__WEBHOOK_SECRET: `whsec_${randomBytes(32).toString('base64')}`,
        PLIMSOLL_ARCHIVE__BYTES_MAX: String(this.#schedule.archiveBytes), PLIMSOLL_CHUNK__BYTES_MAX: String(this.#schedule.chunkBytes), ...impatient,
      },
      strikes: faults.flatMap((fault) => (fault.kind === 'strike' ? [{ slot: fault.slot, strike: fault.strike }] : [])),
      onStruck: (struck, child) => this.#noteStrike(struck, child),
    });
    this.#proxy.arm(faults.flatMap((fault) => (fault.kind === 'redis_network' ? [{ ...fault.mishap, aim: this.#product.shaOf[fault.script] ?? '' }] : [])));
  }

  #writeConfig(budgetTokens: number | undefined): void {
    const { port } = this.#webhook?.address() as AddressInfo;
    const budget = budgetTokens === undefined ? '' : `budgets: { "topic:invoices": { tokens: ${budgetTokens} } }\n`;
    writeFileSync(join(this.#folder, 'plimsoll.yaml'), `events:\n  sinks:\n    ops: { kind: webhook, url: "http://127.0.0.1:${port}/", from: first }\n${budget}`);
  }

  #noteStrike(struck: Struck, child: { kill(signal: NodeJS.Signals): boolean }): void {
    this.#struck.add(struck.id);
    const fault = this.#schedule.faults.find(({ id }) => id === struck.id);
    if (fault?.kind !== 'strike') return;
    this.#points[fault.strike.point] = (this.#points[fault.strike.point] ?? 0) + 1;
    if (fault.strike.kind === 'stop') this.#later(fault.strike.ms, () => void child.kill('SIGCONT'));
  }

  #later(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, ms);
    this.#timers.add(timer);
  }

  /** Starts something that the end of the seed waits for. */
  #begin(id: string, act: () => Promise<void>): void {
    if (this.#isOver) return;
    this.#struck.add(id);
    const task = act().catch((error: unknown) => {
      if (!this.#isOver) this.#breaches.push(`harness: ${String(error)}`);
    });
    this.#underWay.add(task);
    void task.finally(() => this.#underWay.delete(task));
  }

  #arm(fault: Fault): void {
    switch (fault.kind) {
      case 'strike':
      case 'redis_network':
        return;
      case 'provider':
        this.#struck.add(fault.id);
        return;
      case 'kill':
        this.#later(fault.atMs, () => this.#begin(fault.id, async () => this.#bySlot.get(fault.slot)?.kill()));
        return;
      case 'twin':
        this.#later(fault.atMs, () => this.#begin(fault.id, async () => {
          await this.#gate;
          const run = [...this.#sources.keys()][0] ?? '';
          await this.#start('recover', ['enqueue', this.#sources.get(run)?.path ?? '', '--run-key', run, '--quiet']).ended;
        }));
        return;
      case 'silence':
        this.#later(fault.atMs, () => this.#begin(fault.id, async () => this.#proxy.freeze()));
        this.#later(fault.atMs + fault.forMs, () => this.#proxy.thaw());
        return;
      case 'stranger':
        this.#later(fault.atMs, () => this.#begin(fault.id, async () => await this.#postStranger(fault.rows)));
        return;
      case 'redis':
        this.#armRedis(fault);
    }
  }

  #armRedis(fault: Extract<Fault, { kind: 'redis' }>): void {
    const { id, what, atMs, forMs } = fault;
    let copy: string | undefined;
    if (what === 'roll_back') this.#later(Math.max(200, atMs - forMs * 1.5), () => {
      copy = this.#redis.copy();
    });
    this.#later(atMs, () => this.#begin(id, async () => {
      switch (what) {
        case 'restart':
          return await this.#redis.restart();
        case 'power_cut':
          return await this.#cutPower();
        case 'full':
          await this.#redis.fill(true);
          this.#later(forMs, () => void this.#redis.fill(false).catch(() => undefined));
          return;
        case 'flush':
          await this.#redis.flushAll();
          break;
        case 'roll_back':
          if (copy === undefined) return;
          await this.#redis.rollBack(copy);
      }
      // Whoever restored a copy or flushed knows what has to follow; until then the processes are on their own.
      const before = this.#rebuilds;
      await new Promise<void>((resolve) => this.#later(forMs, resolve));
      if (this.#rebuilds === before) await this.#rebuild();
    }));
  }

  async #cutPower(): Promise<void> {
    this.#powerCuts += 1;
    this.#proxy.freeze();
    const acknowledged = this.#redis.fileBytes;
    // What the server does now, it does for nobody: none of it is acknowledged.
    await new Promise<void>((resolve) => setTimeout(resolve, 15));
    this.#bytesCut += await this.#redis.powerCut(acknowledged);
    this.#proxy.cutAll();
    this.#proxy.thaw();
  }

  async #postStranger(rows: number): Promise<void> {
    const requests = Array.from({ length: rows }, (_, index) => ({ custom_id: `theirs-${index}`, params: { model: 'claude-haiku-4-5', max_tokens: 8, messages: [{ role: 'user', content: 'not ours' }] } }));
    const reply = await fetch(`${this.#simulator?.url}/v1/messages/batches`, { method: 'POST', headers: { 'x-api-key': apiKey, 'anthropic-version': '2023-06-01', 'content-type': 'application/json', 'x-stranger': '1' }, body: JSON.stringify({ requests }) }).catch(() => undefined);
    const id = reply?.ok ? ((await reply.json()) as { id: string }).id : undefined;
    if (id !== undefined) this.#strangers.add(id);
  }

  readonly #bySlot = new Map<Slot, Player>();

  #start(slot: Slot, args: readonly string[]): Player {
    if (!this.#players) throw new Error('the world is not open');
    const player = this.#players.start(slot, args);
    this.#bySlot.set(slot, player);
    return player;
  }

  /** A producer until its run is acknowledged. */
  async #produce(run: string, slot: Slot): Promise<void> {
    for (let tries = 0; tries < 40 && !this.#isOver; tries += 1) {
      await this.#gate;
      const exit = await this.#start(slot, ['enqueue', this.#sources.get(run)?.path ?? '', '--run-key', run, '--quiet']).ended;
      if (exit.code === 0 || exit.code === 3) return void this.#acknowledged.add(run);
      if (/run_input_differs|run_config_differs/.test(exit.stderr)) this.#breaches.push(`I1: the producer was refused: ${exit.stderr.slice(0, 300)}`);
      await this.#mind(exit);
    }
  }

  async #work(slot: Slot): Promise<void> {
    while (!this.#isOver) {
      await this.#gate;
      const exit = await this.#start(slot, ['work']).ended;
      await this.#mind(exit);
    }
  }

  /** What a supervisor does about an end. */
  async #mind(exit: Exit): Promise<void> {
    if (this.#isOver) return;
    if (/ledger_behind/.test(exit.stderr)) await this.#rebuild();
    // A Redis that is gone ends processes at once; nobody starts them again without a pause.
    else if (exit.code !== null && exit.code > 0) await new Promise<void>((resolve) => setTimeout(resolve, 200));
  }

  /** Stops everything, rebuilds, and lets everything begin again. Who comes while one is under way waits for it. */
  async #rebuild(): Promise<void> {
    const before = this.#gate;
    if (this.#isRebuilding) return await before;
    this.#isRebuilding = true;
    this.#gate = (async () => {
      await before;
      await this.#players?.stopAll(2_500);
      for (let tries = 0; tries < 6 && !this.#isOver; tries += 1) {
        const exit = await this.#start('recover', ['recover', '--json']).ended;
        if (exit.code === 0) {
          this.#rebuilds += 1;
          // A run that was acknowledged and is not at its end is brought again, as the producer's supervisor would not know.
          return;
        }
        if (tries === 5) this.#breaches.push(`I14: the ledger cannot be rebuilt: ${exit.stderr.slice(-300)}`);
      }
    })().finally(() => {
      this.#isRebuilding = false;
    });
    await this.#gate;
  }

  #isRebuilding = false;

  async #control(method: string, what: string, body: unknown): Promise<void> {
    await fetch(`${this.#simulator?.url}/_simulator/${what}`, { method, ...(method === 'DELETE' ? {} : { body: JSON.stringify(body) }) });
  }

  /** The end of all faults (V1). Strikes that have not struck yet are few; they only delay the end. */
  async #calm(): Promise<void> {
    await this.#control('DELETE', 'faults', {});
    this.#proxy.arm([]);
    this.#proxy.thaw();
    await Promise.allSettled(this.#underWay);
    await this.#redis.fill(false);
    if (this.#players) this.#players.isCalm = true;
    if (this.#schedule.budgetTokens !== undefined && !this.#isDone()) {
      await this.#gate;
      this.#writeConfig(1_000_000_000);
      await this.#start('recover', ['budget', 'set', 'topic:invoices', '--tokens', '1000000000', '--json']).ended;
    }
  }

  #successes(): ReadonlySet<string> {
    return new Set(filesBelow(join(this.#lake, 'runs')).flatMap((file) => /\/([^/]+)\/_SUCCESS$/.exec(file)?.[1] ?? []));
  }

  #isDone(): boolean {
    if (this.#acknowledged.size < this.#sources.size || !existsSync(this.#lake)) return false;
    const successes = this.#successes();
    return [...this.#sources.keys()].every((run) => successes.has(run));
  }

  #missing(): string {
    const successes = this.#successes();
    return [...this.#sources.keys()].map((run) => `${run} ${this.#acknowledged.has(run) ? (successes.has(run) ? 'ended' : 'acknowledged') : 'not acknowledged'}`).join(', ');
  }

  async #until(isTrue: () => boolean, limitMs: number): Promise<boolean> {
    return (await pollUntil(() => (isTrue() ? true : undefined), { ...look, limitMs })) === true;
  }

  /** Lets the workers drain, so that the last events are told, and stops the servers. */
  async #end(loops: readonly Promise<void>[], isDone: boolean): Promise<void> {
    this.#isOver = true;
    await Promise.allSettled(this.#underWay);
    await this.#gate;
    await this.#players?.stopAll(isDone ? 8_000 : 500);
    await Promise.allSettled(loops);
    await this.#redis.stop();
  }
}
