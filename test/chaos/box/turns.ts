/**
 * The scheduler of the one-process tier. Every call of every port waits for its turn; the schedule picks, by seed, whose
 * call is next, so two workers interleave in ways that a machine would show once in a year, and the same seed shows again.
 *
 * Invariants
 *   Y1  At most one port call is under way.
 *   Y2  The next turn is given only when every living task waits for a turn or has ended.
 *   Y3  A task of a dead worker never gets a turn again: its effects end where it died.
 */
import type { Random } from './random.ts';

/** What becomes of one call. */
export type CallFate = 'run' | 'crash_before' | 'crash_after' | 'resend' | 'fail_before' | 'fail_after';

export interface Turn {
  readonly worker: string;
  readonly name: string;
}

/** Longer than any file operation of a healthy machine; a task that waits for another task is let be after it. */
const patienceMs = 100;

interface Waiting {
  readonly turn: Turn;
  readonly go: () => void;
}

export class Turns {
  readonly #random: Random;
  #waiting: Waiting[] = [];
  #busy = false;
  #tasks = new Map<string, number>();
  readonly dead = new Set<string>();
  /** Calls that were given a turn, in order; what a seed is replayed by. */
  readonly trace: Turn[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** Runs a task of a worker; it may be abandoned when the worker dies. */
  start(worker: string, task: () => Promise<void>): Promise<void> {
    this.#tasks.set(worker, (this.#tasks.get(worker) ?? 0) + 1);
    return task().finally(() => this.#tasks.set(worker, (this.#tasks.get(worker) ?? 1) - 1));
  }

  /** Waits for the turn of one call. Never resolves for a dead worker (Y3). */
  async take(turn: Turn): Promise<void> {
    if (this.dead.has(turn.worker)) return await new Promise(() => undefined);
    await new Promise<void>((go) => this.#waiting.push({ turn, go }));
  }

  end(): void {
    this.#busy = false;
  }

  kill(worker: string): void {
    this.dead.add(worker);
    this.#waiting = this.#waiting.filter((each) => each.turn.worker !== worker);
    this.#tasks.delete(worker);
  }

  get living(): number {
    return [...this.#tasks.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Gives turns until no task lives. `onTurn` looks at the world between two turns. */
  async drain(onTurn: () => Promise<void>): Promise<void> {
    let stillSince = performance.now();
    while (this.living > 0) {
      const isParked = this.#waiting.length >= this.living || performance.now() - stillSince > patienceMs;
      if (!this.#busy && this.#waiting.length > 0 && isParked) {
        const [next] = this.#waiting.splice(this.#random.int(this.#waiting.length), 1);
        if (!next) continue;
        this.#busy = true;
        this.trace.push(next.turn);
        next.go();
      }
      await new Promise((resolve) => setImmediate(resolve));
      // Tasks also await disks and threads, which take no turns: others go ahead only when that takes suspiciously long.
      if (this.#busy) stillSince = performance.now();
      if (!this.#busy && this.#waiting.length >= this.living) await onTurn();
    }
  }
}
