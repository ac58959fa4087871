/**
 * The scheduler of the one-process tier. Every call of every port waits for its turn; the schedule picks, by seed, whose
 * call is next, so two workers interleave in ways that a machine would show once in a year, and the same seed shows again.
 *
 * Invariants
 *   Y1  At most one port call is under way; only an upload lets others go ahead, because its own calls have turns.
 *   Y2  The next turn is given only when every living task waits for a turn, for another task, or has ended.
 *   Y3  A task of a dead worker never gets a turn again: its effects end where it died.
 *   Y4  A stopped worker gets no turn until its time is over; then it goes on where it stood.
 */
import { realTurn } from './instant.ts';
import type { Random } from './random.ts';

/** What becomes of one call. */
export const callFates = ['crash_before', 'crash_after', 'resend', 'fail_before', 'fail_after', 'stop_before', 'stop_after'] as const;
export type CallFate = 'run' | (typeof callFates)[number];

export interface Turn {
  readonly worker: string;
  readonly name: string;
}

/** What the calls of dead workers end with when the schedule is over: their timers and files are let go, nothing else. */
export class WorkerDied extends Error {
  constructor() {
    super('this worker died in its schedule');
    this.name = 'WorkerDied';
  }
}

interface Waiting {
  readonly turn: Turn;
  readonly go: () => void;
  readonly bury: (error: WorkerDied) => void;
}

/** Real time without any progress after which a task waits for something that never comes. */
const patienceMs = 10_000;

export class Turns {
  readonly #random: Random;
  readonly #now: () => number;
  #waiting: Waiting[] = [];
  #graves: ((error: WorkerDied) => void)[] = [];
  #busy: { readonly turn: Turn; readonly ended: Promise<void> } | undefined;
  readonly #living = new Map<string, number>();
  readonly #stopped = new Map<string, number>();
  #running: string | undefined;
  #isOver = false;
  readonly dead = new Set<string>();
  /** Calls that were given a turn, in order; what a seed is replayed by. */
  readonly trace: Turn[] = [];
  #end: () => void = () => undefined;

  constructor(random: Random, now: () => number) {
    this.#random = random;
    this.#now = now;
  }

  /** Whose code runs between two turns. */
  get running(): string | undefined {
    return this.#running;
  }

  /** Runs a task of a worker; it may be abandoned when the worker dies. */
  start(worker: string, task: () => Promise<void>, onError: (error: unknown) => void): void {
    this.#living.set(worker, (this.#living.get(worker) ?? 0) + 1);
    void task()
      .catch((error: unknown) => {
        if (!(error instanceof WorkerDied)) onError(error);
      })
      .finally(() => this.#living.set(worker, (this.#living.get(worker) ?? 1) - 1));
  }

  /** Waits for the turn of one call. Never resolves for a dead worker (Y3). */
  async take(turn: Turn): Promise<void> {
    if (this.dead.has(turn.worker)) return await this.grave();
    await new Promise<void>((go, bury) => this.#waiting.push({ turn, go, bury }));
  }

  /** Ends the turn that is under way. */
  end(): void {
    this.#end();
  }

  kill(worker: string): void {
    this.dead.add(worker);
    this.#living.delete(worker);
    this.#stopped.delete(worker);
    for (const each of this.#waiting) if (each.turn.worker === worker) this.#graves.push(each.bury);
    this.#waiting = this.#waiting.filter((each) => each.turn.worker !== worker);
  }

  /** A promise that ends only when the schedule is over. */
  async grave(): Promise<never> {
    if (this.#isOver) throw new WorkerDied();
    return await new Promise<never>((_resolve, reject) => this.#graves.push(reject));
  }

  /** Stops a worker until an instant of the virtual clock, as SIGSTOP does (Y4). */
  stop(worker: string, untilMs: number): void {
    this.#stopped.set(worker, untilMs);
  }

  isStopped(worker: string): boolean {
    return (this.#stopped.get(worker) ?? 0) > this.#now();
  }

  /** Lets every stopped worker go on. */
  continueAll(): void {
    this.#stopped.clear();
  }

  /** Gives turns until no task lives that is not stopped. `onTurn` looks at the world after a turn. */
  async drain(onTurn: (turn: Turn) => Promise<void> | undefined): Promise<void> {
    let progressAt = performance.now();
    for (;;) {
      const busy = this.#busy;
      if (busy) {
        await busy.ended;
        this.#busy = undefined;
        await onTurn(busy.turn);
      }
      await realTurn();
      const able = this.#waiting.filter((each) => !this.isStopped(each.turn.worker));
      const next = able.length === 0 ? undefined : able[this.#random.int(able.length)];
      if (next) {
        progressAt = performance.now();
        this.#waiting.splice(this.#waiting.indexOf(next), 1);
        this.#busy = { turn: next.turn, ended: new Promise((resolve) => (this.#end = resolve)) };
        this.trace.push(next.turn);
        this.#running = next.turn.worker;
        next.go();
        continue;
      }
      if (![...this.#living].some(([worker, tasks]) => tasks > 0 && !this.isStopped(worker))) return;
      if (performance.now() - progressAt > patienceMs) throw new Error('a task waits for something that never comes');
    }
  }

  /** Ends the schedule: every task that is left over ends, so that its timers and files are let go. */
  async bury(): Promise<void> {
    for (const worker of [...this.#living.keys()]) this.kill(worker);
    for (const { turn } of [...this.#waiting]) this.kill(turn.worker);
    this.#isOver = true;
    const graves = this.#graves;
    this.#graves = [];
    for (const bury of graves) bury(new WorkerDied());
    await realTurn();
    await realTurn();
  }
}
