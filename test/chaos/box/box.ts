/**
 * The one-process tier: producers and workers of the product on one thread, on a virtual clock, over the real Lua on a
 * private Redis, with a lake and a provider in memory. A schedule is a function of its seed.
 */
import { playInstantly } from './instant.ts';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { ledgerKeys } from '../../../segments/ledger/keys.ts';
import type { Ledger, RunRecord } from '../../../segments/ledger/ledger.ts';
import { openRedisLedger } from '../../../segments/ledger/redis.ts';
import { asRunKey } from '../../../segments/segment.ts';
import type { Wake, WakeUp } from '../../../segments/wake.ts';
import { runStage } from '../../../workers/worker.ts';
import { VirtualClock } from './clock.ts';
import { leaseMs, makeWorker, produceOnce, type BoxWorker, type World } from './crew.ts';
import { countEdges, readEdges } from './edges.ts';
import { aimOf, chanceOf, laterAimOf, secondAimOf, type Aim } from './fates.ts';
import { MemoryStore, misplacedBy } from './memory-store.ts';
import { Operator } from './operator.ts';
import { MemoryProvider } from './provider.ts';
import { seeded, type Random } from './random.ts';
import { rigOf } from './rig.ts';
import { callFates, Turns, type CallFate, type Turn } from './turns.ts';
import { judgeWorld, moneyCalls, sampleBudgets } from './verdict.ts';

/** What a seed showed. */
export interface Verdict {
  readonly seed: number;
  readonly breaches: readonly string[];
  /** Faults that struck, in order: where and what. */
  readonly faults: readonly string[];
  readonly turns: number;
  readonly isInDoubt: boolean;
  readonly trace: readonly string[];
  /** How often each named thing was reached: fault points, moves of the tables, reasons, outcome classes. */
  readonly coverage: Readonly<Record<string, number>>;
}

const sweepMs = 2_000;
/** After so many rounds the world has no more faults; after so many without an end it is stuck: a breach of I14. */
const faultyRoundsMax = 40;
const roundsMax = 400;
/** A budget that lets one batch go at a time makes many rounds where each of them runs for long. */
const slowRoundsMax = 2_000;
const prefix = 'box';

/** Plays seeds one after the other on a private server that is flushed before each. */
export class Stage {
  readonly #redis: Redis;
  readonly #ledger: Ledger;
  readonly #scratch: string;

  constructor(redis: Redis) {
    this.#redis = redis;
    countEdges(redis);
    this.#ledger = openRedisLedger(redis, ledgerKeys(prefix));
    // Small files that live for a moment belong into memory where there is such a folder.
    this.#scratch = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'plimsoll-box-'));
  }

  async play(seed: number): Promise<Verdict> {
    await this.#redis.flushall();
    const clock = new VirtualClock();
    return await playInstantly(clock, async () => await new Box(seed, this.#redis, this.#ledger, clock, this.#scratch).play());
  }

  close(): void {
    rmSync(this.#scratch, { recursive: true, force: true });
  }
}

class Box {
  readonly #seed: number;
  readonly #redis: Redis;
  readonly #random: Random;
  readonly #clock: VirtualClock;
  readonly #turns: Turns;
  readonly #world: World;
  readonly #operator: Operator;
  readonly #breaches: string[] = [];
  readonly #faults: string[] = [];
  readonly #wakes = new Map<string, WakeUp>();
  #isFaulty = true;
  #workers = 0;
  #faultsLeft: number;
  /** The faults that this seed is about, with how many of their calls were made and whether what leads to them was done. */
  readonly #aims: { readonly aim: Aim; calls: number; isCaused: boolean }[];

  constructor(seed: number, redis: Redis, ledger: Ledger, clock: VirtualClock, scratch: string) {
    this.#seed = seed;
    this.#redis = redis;
    this.#random = seeded(seed);
    this.#clock = clock;
    this.#turns = new Turns(seeded(seed * 7 + 1), () => clock.nowMs);
    clock.processes = this.#turns;
    const rig = rigOf(seed);
    this.#aims = [aimOf(seed), secondAimOf(seed), laterAimOf(seed)].flatMap((aim) => (aim ? [{ aim, calls: 0, isCaused: false }] : []));
    this.#faultsLeft = rig.faultsMax;
    const provider = new MemoryProvider(seeded(seed * 13 + 5), () => clock.nowMs, {
      ...rig.plan,
      createFault: () => {
        if (!this.#isFaulty || !this.#random.chance(rig.plan.createFaultRate)) return 'ok';
        const fault = this.#random.pick(rig.plan.createFaults);
        this.#faults.push(`provider.${fault}`);
        return fault;
      },
    });
    const run = asRunKey(`seed-${seed}`);
    if (!run) throw new RangeError('not a run key');
    const backAtMs = clock.nowMs + (rig.misplaced?.forMs ?? 0);
    const store = new MemoryStore(misplacedBy(seeded(seed * 59 + 1), rig.misplaced?.share ?? 0, () => clock.nowMs >= backAtMs));
    this.#world = { rig, run, ledger, store, provider, clock, turns: this.#turns, wake: this.#wake(), scratch, onDefect: (error) => void this.#breaches.push(`an operator threw: ${String(error)}`), faultsOf: (name) => ({ turns: this.#turns, worker: name, fate: (call) => this.#fate(name, call), stoppedUntilMs: () => clock.nowMs + rig.stoppedMs + this.#random.int(25_000) }) };
    this.#operator = new Operator(this.#world);
  }

  async play(): Promise<Verdict> {
    const { ledger, run } = this.#world;
    await this.#operator.begin();
    let workers = [this.#hire(), this.#hire()];
    const startedAtMs = this.#clock.nowMs;
    const mostRounds = this.#world.rig.plan.strangeLists?.isSlow === true ? slowRoundsMax : roundsMax;
    let isProduced = false;
    let round = 0;
    try {
      for (; round < mostRounds; round += 1) {
        if (round > faultyRoundsMax + this.#world.rig.stoppedMs / sweepMs) this.#calm();
        if (!isProduced) {
          const name = `producer-${round}`;
          this.#turns.start(name, async () => {
            isProduced = await produceOnce(this.#world, name, startedAtMs);
          }, (error) => this.#breaches.push(`a producer threw: ${String(error)}`));
        }
        await this.#operator.act(round);
        for (const worker of workers) this.#wakeSome(worker);
        await this.#turns.drain((turn) => this.#afterTurn(turn));
        workers = workers.map((worker) => (this.#turns.dead.has(worker.name) ? this.#hire() : worker));
        this.#clock.pass(this.#wakes.size === 0 && !this.#isFaulty ? sweepMs * 3 : sweepMs);
        const record = await this.#sweep();
        if (record?.state === 'complete' || record?.state === 'canceled') break;
        if (isProduced && record?.state === 'open' && record.rowsQueued === 0 && (await this.#operator.isStill(record))) {
          if (this.#isFaulty) this.#calm();
          else if (!(await this.#operator.makeRoom())) break;
        }
      }
      await this.#settleDown(workers);
    } catch (error) {
      this.#breaches.push(`I14: ${String(error)}`);
    }
    await this.#turns.bury();
    const record = await ledger.readRun(run);
    const { breaches, coverage } = await judgeWorld(this.#world, round);
    this.#breaches.push(...breaches);
    for (const fault of this.#faults) {
      const point = `point ${fault.replace(/^\S+-\d+ /, '')}`;
      coverage[point] = (coverage[point] ?? 0) + 1;
    }
    for (const [edge, times] of Object.entries(await readEdges(this.#redis, ledgerKeys(prefix).prefix))) coverage[`edge ${edge}`] = Number(times);
    return {
      seed: this.#seed,
      breaches: this.#breaches,
      faults: this.#faults,
      turns: this.#turns.trace.length,
      isInDoubt: (record?.archivesInDoubt ?? 0) > 0,
      trace: this.#turns.trace.map((turn) => `${turn.worker} ${turn.name}`),
      coverage,
    };
  }

  /** What was stopped goes on, and the search for orphans has its time: then nothing may be left open. */
  async #settleDown(workers: readonly BoxWorker[]): Promise<void> {
    this.#calm();
    let hands = workers;
    const { rig, provider } = this.#world;
    // What a strange list hides is found when the list is whole again and the batch has ended.
    const looksMax = rig.plan.strangeLists === undefined ? 12 : 36;
    for (let look = 0; look < looksMax; look += 1) {
      await this.#turns.drain((turn) => this.#afterTurn(turn));
      hands = hands.map((worker) => (this.#turns.dead.has(worker.name) ? this.#hire() : worker));
      const isLeaky = rig.forgoes || provider.accepted.some((batch) => batch.isAgainstReply);
      if (!hands.some((worker) => this.#turns.isStopped(worker.name)) && look >= (isLeaky ? looksMax - 4 : 1)) return;
      this.#clock.pass(12_000);
      await this.#sweep();
      for (const worker of hands) this.#wakeSome(worker);
    }
  }

  #calm(): void {
    this.#isFaulty = false;
    this.#turns.continueAll();
  }

  #hire(): BoxWorker {
    this.#workers += 1;
    return makeWorker(this.#world, `worker-${this.#workers}`);
  }

  #fate(worker: string, name: string): CallFate {
    const aimed = this.#aimedFate(name);
    if (aimed !== undefined) {
      this.#faults.push(`${worker} ${name} ${aimed}`);
      return aimed;
    }
    if (!this.#isFaulty || this.#faultsLeft <= 0 || !this.#random.chance(chanceOf(name))) return 'run';
    // What the failure of a create means is the provider's to decide; and nothing sends it again.
    const fates = name === 'claude.createBatch' ? callFates.filter((each) => !each.startsWith('fail') && each !== 'resend') : callFates;
    const fate = this.#random.pick(fates);
    this.#faultsLeft -= 1;
    this.#faults.push(`${worker} ${name} ${fate}`);
    return fate;
  }

  /** Each fault that this seed is about strikes once, and once what leads to it. */
  #aimedFate(name: string): CallFate | undefined {
    let fate: CallFate | undefined;
    for (const each of this.#aims) {
      const { call, nth, before } = each.aim;
      if (before?.call === name && !each.isCaused) {
        each.isCaused = true;
        fate ??= before.fate;
        continue;
      }
      if (call !== name) continue;
      each.calls += 1;
      if (each.calls === nth) fate ??= each.aim.fate;
    }
    return fate;
  }

  #wake(): Wake {
    return {
      wake: async (wakeUp) => this.#remember(wakeUp),
      enqueueChunk: async () => this.#remember({ stage: 'pack', entity: 'all', epoch: 0 }),
      close: async () => undefined,
    };
  }

  /** A wake-up may be lost: the sweeper must make up for it. */
  #remember(wakeUp: WakeUp): void {
    if (this.#isFaulty && this.#random.chance(0.1)) return void this.#faults.push('wake.lost');
    this.#wakes.set(`${wakeUp.stage}|${wakeUp.entity}`, wakeUp);
  }

  #wakeSome(worker: BoxWorker): void {
    if (this.#turns.isStopped(worker.name)) return;
    const stages = new Set<string>([...worker.busy].map((task) => task.split('|')[0] ?? ''));
    for (const [key, wakeUp] of [...this.#wakes]) {
      if (this.#isFaulty && this.#random.chance(0.3)) continue;
      const handler = worker.handlers.find((each) => each.stage === wakeUp.stage);
      // One packer and one submitter loop per process, as BullMQ's concurrency of 1 has it.
      if (!handler || (!handler.isClaimed && stages.has(wakeUp.stage))) continue;
      // Now and then both workers get the same wake-up.
      if (!this.#random.chance(0.2)) this.#wakes.delete(key);
      stages.add(wakeUp.stage);
      this.#turns.start(worker.name, async () => {
        await runStage({ ledger: worker.ledger, owner: worker.name, claimLeaseMs: leaseMs, now: () => this.#clock.nowMs, log: (line) => this.#noteLog(line), onBehind: (fault) => this.#breaches.push(`a ledger that forgets nothing is behind: ${fault.message}`) }, handler, wakeUp.entity, worker.busy, new AbortController().signal);
      }, (error) => this.#breaches.push(`a stage threw: ${String(error)}`));
    }
  }

  /** A defect that a stage reports is a breach, whoever survives it. */
  #noteLog(line: { readonly event: string; readonly detail?: Readonly<Record<string, unknown>> }): void {
    if (line.event !== 'stage.fault' || line.detail?.['code'] !== 'defect') return;
    if (String(line.detail['message']).startsWith('WorkerDied')) return;
    // A stage tries again and again: the same defect is one breach.
    const breach = `a stage has a defect: ${String(line.detail['stage'])}: ${String(line.detail['message'])}`;
    if (!this.#breaches.includes(breach)) this.#breaches.push(breach);
  }

  /** What the sweeper of a process does, and a look at the run. */
  async #sweep(): Promise<RunRecord | undefined> {
    const { ledger, clock, run } = this.#world;
    const [overdue, resumed, segment, record] = await Promise.all([ledger.overdue(clock.nowMs, sweepMs * 2, 200), ledger.resumeHeld(clock.nowMs), ledger.nextSegment([]), ledger.readRun(run)]);
    for (const due of overdue) this.#wakes.set(`${due.stage}|${due.entity}`, due);
    if (resumed.length > 0 || segment !== undefined) this.#wakes.set('pack|all', { stage: 'pack', entity: 'all', epoch: 0 });
    this.#operator.see(record);
    return record;
  }

  /** Between two turns: money is looked at after whatever moves it (I7), and sometimes time passes. */
  #afterTurn(turn: Turn): Promise<void> | undefined {
    if (this.#isFaulty && this.#random.chance(0.01)) this.#clock.pass(500 + this.#random.int(4_000));
    return moneyCalls.has(turn.name) ? sampleBudgets(this.#redis, ledgerKeys(prefix).prefix).then((found) => void this.#breaches.push(...found)) : undefined;
  }
}
