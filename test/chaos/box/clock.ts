/** The virtual clock of a schedule: time passes when the schedule says so, and intervals of the product go by it. */
import type { VirtualIntervals } from './instant.ts';

interface Interval {
  readonly act: () => void;
  readonly worker: string | undefined;
  readonly everyMs: number;
  nextMs: number;
}

export class VirtualClock implements VirtualIntervals {
  #nowMs = Date.parse('2026-11-21T04:00:00Z');
  readonly #intervals = new Set<Interval>();
  /** Who runs now, and who is stopped: the timers of a stopped process stand still. */
  processes: { readonly running: string | undefined; isStopped(worker: string): boolean } = { running: undefined, isStopped: () => false };

  get nowMs(): number {
    return this.#nowMs;
  }

  start(act: () => void, everyMs: number): object {
    const interval = { act, worker: this.processes.running, everyMs, nextMs: this.#nowMs + everyMs };
    this.#intervals.add(interval);
    return interval;
  }

  stop(interval: object): boolean {
    return this.#intervals.delete(interval as Interval);
  }

  /** Lets time pass. An interval that was missed several times acts once, as a process that slept has it. */
  pass(ms: number): void {
    // When a process goes on, what it was waiting for may come before its timers.
    const stopped = new Set([...this.#intervals].filter(({ worker }) => worker !== undefined && this.processes.isStopped(worker)));
    this.#nowMs += ms;
    for (const interval of [...this.#intervals]) {
      if (interval.nextMs > this.#nowMs || stopped.has(interval) || !this.#intervals.has(interval)) continue;
      interval.nextMs = this.#nowMs + interval.everyMs;
      interval.act();
    }
  }
}
