/**
 * One seed: a Redis, a provider, a lake and the processes of the product, through a schedule of faults and out of it.
 *
 * Invariants
 *   V1  Faults come only in the first part; then the world is calm, and everything must come to its end within a bound (I14).
 *   V2  Whatever the outcome, no process, server or folder is left.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pollUntil } from '../../../local/poll.ts';
import { filesBelow } from '../oracle.ts';
import { judge, type Findings } from './judge.ts';
import { Agenda } from './agenda.ts';
import { corpusOf } from './corpus.ts';
import { Players, type Exit, type Player } from './players.ts';
import type { Struck } from './points.ts';
import type { Product } from './product.ts';
import { armRedisFault } from './redis-faults.ts';
import { describeFault, type Fault, type Schedule, type Slot } from './schedule.ts';
import { apiKey, canary, impatient, prefix, Stage } from './stage.ts';

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

/** After the last fault everything must end within this; leases, landing wait and rests after refusals are in it. */
const calmBoundMs = 45_000;
/** Faults have this long, unless all runs have ended before; most seeds come to their end in the storm. */
const stormMs = 20_000;
/** A worker that does not begin within this has met a strike on its way. */
const startMs = 6_000;
const look = { limitMs: 0, firstMs: 20, longestMs: 60 };

/** Plays a schedule. */
export async function play(schedule: Schedule, product: Product): Promise<Verdict> {
  const trial = new Trial(schedule, product);
  try {
    return await trial.play();
  } finally {
    await trial.close();
  }
}

class Trial {
  readonly #schedule: Schedule;
  readonly #product: Product;
  readonly #stage: Stage;
  readonly #struck = new Set<string>();
  readonly #points: Record<string, number> = {};
  readonly #breaches: string[] = [];
  readonly #acknowledged = new Set<string>();
  readonly #sources: ReadonlyMap<string, { readonly ids: readonly string[]; readonly badLines: number; readonly path: string }>;
  readonly #agenda = new Agenda((error) => this.#breaches.push(`harness: ${error instanceof Error ? error.stack : String(error)}`));
  #players: Players | undefined;
  /** Processes begin only while it is resolved: a rebuild needs to be alone. */
  #gate: Promise<void> = Promise.resolve();
  #isOver = false;
  #rebuilds = 0;
  #powerCuts = 0;
  #bytesCut = 0;

  constructor(schedule: Schedule, product: Product) {
    this.#schedule = schedule;
    this.#product = product;
    this.#stage = new Stage({ ...schedule, env: impatient, onMishap: (id) => this.#struck.add(id) }, product);
    this.#sources = corpusOf(schedule, this.#stage.folder, canary);
  }

  async play(): Promise<Verdict> {
    const began = performance.now();
    await this.#open();
    const { faults, workers } = this.#schedule;
    const loops = [...this.#sources.keys()].map(async (run) => await this.#produce(run, 'producer'));
    for (let index = 1; index <= workers; index += 1) loops.push(this.#work(`worker-${index}` as Slot));
    // On a busy machine processes take a while to begin, and faults before anything is done prove little.
    await Promise.race([this.#players?.working, this.#agenda.pause(startMs)]);
    const workingAt = performance.now();
    for (const fault of faults) if (!('whenStruck' in fault)) this.#arm(fault);
    const last = Math.max(0, ...faults.map((fault) => ('atMs' in fault ? fault.atMs + ('forMs' in fault ? fault.forMs : 0) : 0)));
    await this.#until(() => this.#isDone() && performance.now() - workingAt > last, stormMs);
    await this.#calm();
    const isDone = await this.#until(() => this.#isDone(), calmBoundMs);
    if (!isDone) this.#breaches.push(`I14: not at its end ${calmBoundMs / 1000} s after the last fault: ${this.#missing()}`);
    await this.#end(loops, isDone);
    const findings = judge({
      lake: this.#stage.lake, provider: this.#stage.provider, truthFile: this.#stage.truthFile,
      runs: new Map([...this.#sources].map(([run, { ids, badLines }]) => [run, { ids, badLines, isAcknowledged: isDone && this.#acknowledged.has(run) }])),
      strangers: this.#stage.strangers, strangersCreates: this.#stage.strangersCreates, historyFiles: this.#stage.redis.history, said: this.#players?.said ?? [], deaths: this.#players?.deaths ?? [],
      delivered: this.#stage.delivered, rebuilds: this.#rebuilds, secrets: [canary, apiKey], prefix,
    });
    if (process.env['CHAOS_KEEP'] !== undefined) writeFileSync(join(this.#stage.folder, 'said.log'), (this.#players?.said ?? []).join('\n'));
    return {
      ...findings,
      seed: this.#schedule.seed,
      seconds: Math.round((performance.now() - began) / 10) / 100,
      breaches: [...this.#breaches, ...findings.breaches],
      faults: faults.map(describeFault),
      struck: faults.filter((fault) => (fault.kind === 'provider' ? (findings.injected[String(fault.rule['fault'])] ?? 0) > 0 : this.#struck.has(fault.id))).map(describeFault),
      points: this.#points, rebuilds: this.#rebuilds, powerCuts: this.#powerCuts, bytesCut: this.#bytesCut,
    };
  }

  async close(): Promise<void> {
    this.#isOver = true;
    this.#agenda.end();
    await this.#players?.stopAll(0);
    await this.#agenda.settled();
    await this.#stage.close();
  }

  async #open(): Promise<void> {
    const { faults } = this.#schedule;
    await this.#stage.open();
    await this.#stage.armProvider(faults.flatMap((fault) => (fault.kind === 'provider' ? [fault.rule] : [])));
    this.#players = new Players({
      product: this.#product, folder: this.#stage.folder, lake: this.#stage.lake, env: this.#stage.env,
      strikes: faults.flatMap((fault) => (fault.kind === 'strike' ? [{ slot: fault.slot, strike: fault.strike }] : [])),
      onStruck: (struck, child) => this.#noteStrike(struck, child),
    });
    this.#stage.proxy.arm(faults.flatMap((fault) => (fault.kind === 'redis_network' ? [{ ...fault.mishap, aim: this.#product.shaOf[fault.script] ?? '' }] : [])));
  }

  #noteStrike(struck: Struck, child: { kill(signal: NodeJS.Signals): boolean }): void {
    this.#struck.add(struck.id);
    const fault = this.#schedule.faults.find(({ id }) => id === struck.id);
    if (fault?.kind !== 'strike') return;
    this.#points[fault.strike.point] = (this.#points[fault.strike.point] ?? 0) + 1;
    for (const other of this.#schedule.faults) if ('whenStruck' in other && other.whenStruck === struck.id) this.#arm(other);
    if (fault.strike.kind === 'stop') this.#agenda.later(fault.strike.ms, () => void child.kill('SIGCONT'));
  }

  /** Does what a fault says when its moment has come. */
  #at(fault: { readonly id: string; readonly atMs: number }, act: () => Promise<void>): void {
    this.#agenda.later(fault.atMs, () => {
      this.#struck.add(fault.id);
      this.#agenda.begin(act);
    });
  }

  #arm(fault: Fault): void {
    switch (fault.kind) {
      case 'strike':
      case 'redis_network':
      case 'provider':
        return;
      case 'kill':
        this.#at(fault, async () => this.#bySlot.get(fault.slot)?.kill());
        return;
      case 'twin':
        this.#at(fault, async () => {
          await this.#gate;
          const run = [...this.#sources.keys()][0] ?? '';
          await this.#start('recover', ['enqueue', this.#sources.get(run)?.path ?? '', '--run-key', run, '--quiet']).ended;
        });
        return;
      case 'silence':
        this.#at(fault, async () => this.#stage.proxy.freeze());
        this.#agenda.later(fault.atMs + fault.forMs, () => this.#stage.proxy.thaw());
        return;
      case 'stranger':
        this.#at(fault, async () => await this.#stage.postStranger(fault.rows === 'same' ? await this.#stage.rowsBeingSubmitted() : fault.rows));
        return;
      case 'redis':
        armRedisFault(fault, {
          stage: this.#stage, agenda: this.#agenda, rebuilds: () => this.#rebuilds, rebuild: async () => await this.#rebuild(),
          onStruck: (id) => this.#struck.add(id),
          onBytesCut: (bytes) => {
            this.#powerCuts += 1;
            this.#bytesCut += bytes;
          },
        });
    }
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

  /** The end of all faults (V1). Strikes that have not struck yet are few; they only delay the end. */
  async #calm(): Promise<void> {
    await this.#stage.disarmProvider();
    this.#stage.proxy.arm([]);
    this.#stage.proxy.thaw();
    await this.#agenda.settled();
    await this.#stage.redis.fill(false);
    if (this.#players) this.#players.isCalm = true;
    if (this.#schedule.budgetTokens !== undefined && !this.#isDone()) {
      await this.#gate;
      this.#stage.limitBudget(1_000_000_000);
      await this.#start('recover', ['budget', 'set', 'topic:invoices', '--tokens', '1000000000', '--json']).ended;
    }
  }

  #successes(): ReadonlySet<string> {
    return new Set(filesBelow(join(this.#stage.lake, 'runs')).flatMap((file) => /\/([^/]+)\/_SUCCESS$/.exec(file)?.[1] ?? []));
  }

  /**
   * Every run has its `_SUCCESS`, and the webhook has heard how it ended: a process that only just begins dies of being
   * asked to end, so nobody could tell what was left. A rebuild forgets events that nobody had read.
   */
  #isDone(): boolean {
    if (this.#acknowledged.size < this.#sources.size || !existsSync(this.#stage.lake)) return false;
    const successes = this.#successes();
    return [...this.#sources.keys()].every((run) => successes.has(run) && (this.#rebuilds > 0 || this.#isTold(run)));
  }

  #isTold(run: string): boolean {
    return this.#stage.delivered.some(({ id }) => id === `${run}:completed` || id === `${run}:failed`);
  }

  #missing(): string {
    const successes = this.#successes();
    return [...this.#sources.keys()].map((run) => `${run} ${this.#acknowledged.has(run) ? (successes.has(run) ? `ended and ${this.#isTold(run) ? '' : 'not '}told` : 'acknowledged') : 'not acknowledged'}`).join(', ');
  }

  async #until(isTrue: () => boolean, limitMs: number): Promise<boolean> {
    return (await pollUntil(() => (isTrue() ? true : undefined), { ...look, limitMs })) === true;
  }

  /** Lets the workers drain, so that the last events are told, and stops the servers. */
  async #end(loops: readonly Promise<void>[], isDone: boolean): Promise<void> {
    this.#isOver = true;
    await this.#agenda.settled();
    this.#agenda.end();
    await this.#gate;
    await this.#players?.stopAll(isDone ? 8_000 : 500);
    await Promise.allSettled(loops);
    await this.#stage.redis.stop();
  }
}
