/**
 * One seed: a Redis, a provider, a lake and the processes of the product, through a schedule of faults and out of it.
 *
 * Invariants
 *   V1  Faults come only in the first part; then the world is calm, and everything must come to its end within a bound (I14).
 *   V2  Whatever the outcome, no process, server or folder is left.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pollUntil } from '../../../local/poll.ts';
import { readRows } from '../oracle.ts';
import { judge, type Findings } from './judge.ts';
import { Agenda } from './agenda.ts';
import { corpusOf } from './corpus.ts';
import { exportAgain } from './again.ts';
import { operate } from './operator.ts';
import { Players } from './players.ts';
import type { Struck } from './points.ts';
import type { Product } from './product.ts';
import { armRedisFault } from './redis-faults.ts';
import { describeFault, type Fault, type Schedule, type Slot } from './schedule.ts';
import { apiKey, canary, impatient, prefix, Stage } from './stage.ts';
import { Supervisor } from './supervisor.ts';

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
  /** Processes that ended because the ledger was behind, while nobody attended to it; absent in logs from before this was counted. */
  readonly refusals?: number;
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
  /** How often a process was struck: one fault may strike each of them. */
  #strikes = 0;
  readonly #points: Record<string, number> = {};
  readonly #breaches: string[] = [];
  /** Ids that a retry has sent once more, by its run key. */
  readonly #retried = new Map<string, readonly string[]>();
  readonly #sources: ReadonlyMap<string, { readonly ids: readonly string[]; readonly badLines: number; readonly path: string }>;
  readonly #agenda = new Agenda((error) => this.#breaches.push(`harness: ${error instanceof Error ? error.stack : String(error)}`));
  /** Copies of Redis by the fault that sets it back to them. */
  readonly #copies = new Map<string, string>();
  #players: Players | undefined;
  #started: Supervisor | undefined;
  #powerCuts = 0;
  #bytesCut = 0;

  constructor(schedule: Schedule, product: Product) {
    this.#schedule = schedule;
    this.#product = product;
    this.#stage = new Stage({ ...schedule, env: { ...impatient, ...(schedule.landingWaitMs === undefined ? {} : { PLIMSOLL_SUBMIT__LANDING_WAIT: `${schedule.landingWaitMs}ms` }) }, onMishap: (id) => this.#struck.add(id) }, product);
    this.#sources = corpusOf(schedule, this.#stage.folder, canary);
  }

  async play(): Promise<Verdict> {
    const began = performance.now();
    await this.#open();
    const { faults, workers } = this.#schedule;
    const loops = [...this.#sources.keys()].map(async (run) => await this.#supervisor.produce(run, 'producer'));
    for (let index = 1; index <= workers; index += 1) loops.push(this.#supervisor.work(`worker-${index}` as Slot));
    // On a busy machine processes take a while to begin, and faults before anything is done prove little.
    await Promise.race([this.#players?.working, this.#agenda.pause(startMs)]);
    const workingAt = performance.now();
    for (const fault of faults) if (!('whenStruck' in fault)) this.#arm(fault);
    const last = Math.max(0, ...faults.map((fault) => ('atMs' in fault ? fault.atMs + ('forMs' in fault ? fault.forMs : 0) : 0)));
    await this.#until(() => this.#isDone() && performance.now() - workingAt > last, stormMs);
    await this.#calm();
    // What was armed in a process that lives may still strike it, and the patience begins anew then.
    for (let strikes = -1; strikes !== this.#strikes && !this.#isDone();) {
      strikes = this.#strikes;
      await this.#until(() => this.#isDone() || this.#strikes !== strikes, calmBoundMs);
    }
    const isDone = this.#isDone();
    if (!isDone) this.#breaches.push(`I14: not at its end ${calmBoundMs / 1000} s after the last fault: ${this.#missing()}`);
    if (isDone) await this.#after();
    await this.#end(loops, isDone);
    await this.#stage.readLake();
    const seen = new Set(readRows(this.#stage.lake).map(({ id }) => id));
    const findings = judge({
      lake: this.#stage.lake, uri: this.#stage.bucket?.uri, provider: this.#stage.provider, truthFile: this.#stage.truthFile,
      runs: new Map([
        // Of a run that was canceled on its way in, what had come in ends; how much that was nobody was told.
        ...[...this.#sources].map(([run, { ids, badLines }]) => [run, this.#supervisor.refused.has(run) ? { ids: ids.filter((id) => seen.has(id)), badLines: 0, isAcknowledged: isDone } : { ids, badLines, isAcknowledged: isDone && this.#supervisor.acknowledged.has(run) }] as const),
        ...[...this.#retried].map(([run, ids]) => [run, { ids, badLines: 0, isAcknowledged: true }] as const),
      ]),
      isEnded: isDone,
      strangersCreates: this.#stage.strangersCreates, historyFiles: this.#stage.redis.history, said: this.#players?.said ?? [], deaths: this.#players?.deaths ?? [],
      delivered: this.#stage.delivered, rebuilds: this.#supervisor.rebuilds, secrets: [canary, apiKey], prefix,
    });
    if (process.env['CHAOS_KEEP'] !== undefined) writeFileSync(join(this.#stage.folder, 'said.log'), (this.#players?.said ?? []).join('\n'));
    return {
      ...findings,
      seed: this.#schedule.seed,
      seconds: Math.round((performance.now() - began) / 10) / 100,
      breaches: [...this.#breaches, ...findings.breaches],
      faults: faults.map(describeFault),
      struck: faults.filter((fault) => (fault.kind === 'provider' ? (findings.injected[String(fault.rule['fault'])] ?? 0) > 0 : this.#struck.has(fault.id))).map(describeFault),
      points: this.#points, rebuilds: this.#supervisor.rebuilds, refusals: this.#supervisor.refusals, powerCuts: this.#powerCuts, bytesCut: this.#bytesCut,
    };
  }

  async close(): Promise<void> {
    this.#started?.end();
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
      product: this.#product, folder: this.#stage.folder, lake: this.#stage.lake, bucket: this.#stage.bucket?.path, env: this.#stage.env,
      strikes: faults.flatMap((fault) => (fault.kind === 'strike' ? [{ slot: fault.slot, strike: fault.strike }] : [])),
      onStruck: (struck, child) => this.#noteStrike(struck, child),
    });
    this.#started = new Supervisor({ players: this.#players, sources: this.#sources, onBreach: (breach) => this.#breaches.push(breach) });
    this.#stage.proxy.arm(faults.flatMap((fault) => (fault.kind === 'redis_network' ? [{ ...fault.mishap, aim: this.#product.shaOf[fault.script] ?? '' }] : [])));
    this.#stage.bucket?.arm(faults.flatMap((fault) => (fault.kind === 'bucket' ? [fault.mishap] : [])));
  }

  get #supervisor(): Supervisor {
    if (!this.#started) throw new Error('the world is not open');
    return this.#started;
  }

  #noteStrike(struck: Struck, child: { kill(signal: NodeJS.Signals): boolean }): void {
    this.#struck.add(struck.id);
    this.#strikes += 1;
    const fault = this.#schedule.faults.find(({ id }) => id === struck.id);
    if (fault?.kind !== 'strike') return;
    this.#points[fault.strike.point] = (this.#points[fault.strike.point] ?? 0) + 1;
    for (const other of this.#schedule.faults) if (other.kind === 'redis' && other.copiedWhenStruck === struck.id) this.#agenda.beginInTurn(async () => void this.#copies.set(other.id, this.#stage.redis.copy()));
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
      case 'bucket':
      case 'provider':
        return;
      case 'kill':
        this.#at(fault, async () => this.#supervisor.kill(fault.slot));
        return;
      case 'twin':
        this.#at(fault, async () => {
          await this.#supervisor.command('recover', this.#supervisor.enqueueArguments([...this.#sources.keys()][0] ?? ''));
        });
        return;
      case 'operator':
        this.#agenda.later(fault.atMs, () => this.#agenda.begin(async () => {
          const isTaken = await operate(fault.act, fault.forMs, {
            command: async (args) => await this.#supervisor.command('operator', args),
            pause: async (ms) => await this.#agenda.pause(ms),
            isOver: () => this.#supervisor.isOver,
            budgetTokens: (this.#schedule.budgetTokens ?? 500_000) * 2,
            doubt: async () => await this.#stage.archiveInDoubt(),
          });
          if (isTaken) this.#struck.add(fault.id);
        }));
        return;
      case 'silence':
        this.#at(fault, async () => this.#stage.proxy.freeze());
        this.#agenda.later(fault.atMs + fault.forMs, () => this.#stage.proxy.thaw());
        return;
      case 'stranger':
        this.#agenda.later(fault.atMs, () => this.#agenda.begin(async () => {
          const rows = fault.rows === 'same' ? await this.#stage.rowsBeingSubmitted().catch(() => undefined) : fault.rows;
          if (rows === undefined) return;
          this.#struck.add(fault.id);
          await this.#stage.postStranger(rows);
        }));
        return;
      case 'redis':
        armRedisFault(fault, {
          stage: this.#stage, agenda: this.#agenda, rebuilds: () => this.#supervisor.rebuilds, rebuild: async () => await this.#supervisor.rebuild(), leaveAlone: () => this.#supervisor.leaveAlone(), copy: this.#copies.get(fault.id),
          onStruck: (id) => this.#struck.add(id),
          onBytesCut: (bytes) => {
            this.#powerCuts += 1;
            this.#bytesCut += bytes;
          },
        });
    }
  }

  /** The end of all faults (V1). Strikes that have not struck yet are few; they only delay the end. */
  async #calm(): Promise<void> {
    await this.#stage.disarmProvider();
    this.#stage.proxy.arm([]);
    this.#stage.bucket?.arm([]);
    this.#stage.proxy.thaw();
    await this.#agenda.settled();
    await this.#stage.redis.fill(false);
    if (this.#players) this.#players.isCalm = true;
    if (this.#schedule.budgetTokens !== undefined && !this.#isDone()) {
      await this.#supervisor.gate;
      this.#stage.limitBudget(1_000_000_000);
      await this.#supervisor.command('recover', ['budget', 'set', 'topic:invoices', '--tokens', '1000000000', '--json']);
    }
  }

  /** What follows on the end of the runs: the dead letters once more, and the files (I11). */
  async #after(): Promise<void> {
    const run = 'run-0';
    const { lake } = this.#stage;
    await this.#stage.readLake();
    const dead = readRows(lake).filter((row) => row.run_key === run && row.status === 'dead_lettered').map(({ id }) => id);
    if (this.#schedule.isRetried === true && dead.length > 0) {
      const exit = await this.#supervisor.command('operator', ['retry', run, '--quiet']);
      if (exit.code === 0 || exit.code === 3) this.#retried.set(`${run}.retry-1`, dead);
      else this.#breaches.push(`I14: the retry of ${run} ended with ${exit.code ?? exit.signal ?? ''}: ${exit.stderr.slice(-300)}`);
    }
    if (this.#schedule.isExportedAgain !== true) return;
    this.#breaches.push(...(await exportAgain(this.#stage, run, async () => await this.#supervisor.command('operator', ['replay', run]))));
  }

  /**
   * Every run has its `_SUCCESS`, and the webhook has heard how it ended: a process that only just begins dies of being
   * asked to end, so nobody could tell what was left. A rebuild forgets events that nobody had read.
   */
  #isDone(): boolean {
    if (this.#supervisor.acknowledged.size + this.#supervisor.refused.size < this.#sources.size) return false;
    const { successes } = this.#stage;
    return [...this.#sources.keys()].every((run) => successes.has(run) && (this.#supervisor.rebuilds > 0 || this.#isTold(run)));
  }

  #isTold(run: string): boolean {
    return this.#stage.delivered.some(({ id }) => id === `${run}:completed` || id === `${run}:failed`);
  }

  #missing(): string {
    const { successes } = this.#stage;
    return [...this.#sources.keys()].map((run) => `${run} ${this.#supervisor.acknowledged.has(run) || this.#supervisor.refused.has(run) ? (successes.has(run) ? `ended and ${this.#isTold(run) ? '' : 'not '}told` : 'acknowledged') : 'not acknowledged'}`).join(', ');
  }

  async #until(isTrue: () => boolean, limitMs: number): Promise<boolean> {
    return (await pollUntil(() => (isTrue() ? true : undefined), { ...look, limitMs })) === true;
  }

  /** Lets the workers drain, so that the last events are told, and stops the servers. */
  async #end(loops: readonly Promise<void>[], isDone: boolean): Promise<void> {
    this.#supervisor.end();
    await this.#agenda.settled();
    this.#agenda.end();
    await this.#supervisor.gate;
    await this.#players?.stopAll(isDone ? 8_000 : 500);
    await Promise.allSettled(loops);
    await this.#stage.redis.stop();
  }
}
