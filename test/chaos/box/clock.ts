/** The virtual clock of a schedule: time passes when the schedule says so, and intervals of the product go by it. */
import type { VirtualIntervals } from './instant.ts';

interface Interval {
  readonly act: () => void;
  readonly everyMs: number;
  nextMs: number;
}

export class VirtualClock implements VirtualIntervals {
  #nowMs = Date.parse('2026-11-21T04:00:00Z');
  readonly #intervals = new Set<Interval>();

  get nowMs(): number {
    return this.#nowMs;
  }

  start(act: () => void, everyMs: number): object {
    const interval = { act, everyMs, nextMs: this.#nowMs + everyMs };
    this.#intervals.add(interval);
    return interval;
  }

  stop(interval: object): boolean {
    return this.#intervals.delete(interval as Interval);
  }

  /** Lets time pass. An interval that was missed several times acts once, as a process that slept has it. */
  pass(ms: number): void {
    this.#nowMs += ms;
    for (const interval of [...this.#intervals]) {
      if (interval.nextMs > this.#nowMs || !this.#intervals.has(interval)) continue;
      interval.nextMs = this.#nowMs + interval.everyMs;
      interval.act();
    }
  }
}
