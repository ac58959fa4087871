import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isObject, numberOf, parseJson } from './shape.ts';

/**
 * Simulated time: a value that runs with the wall clock, runs faster than it, or stands still until it is moved.
 *
 * It owns the mapping from wall time to simulated time and the alarms that are due at simulated instants. It does not know what a batch is.
 *
 * Invariants
 *   T1  `nowUs()` never runs backwards within a process and never returns the same instant twice, so created batches have a total order.
 *   T2  An alarm never fires before its simulated instant has come, and fires once.
 *   T3  The mapping is on disk, so a restart on the same folder continues the same time line, the pause included.
 *   T4  An alarm that fails keeps no other from ringing, and never ends the process. Whoever moved time is told.
 */

export interface ClockSettings {
  /** Where the mapping is kept (JSON). */
  readonly path: string;
  /** Simulated milliseconds per wall millisecond: 1 is real time, 3600 turns an hour into a second, 0 stands still. */
  readonly timeScale: number;
  /** Simulated start in epoch milliseconds; absent: the wall clock, or where the last run on this folder would be by now. */
  readonly startMs: number | undefined;
}

/** Reads the wall clock in epoch milliseconds. The only reader of it in the simulator. */
export type WallClock = () => number;

interface Alarm {
  readonly dueUs: number;
  readonly order: number;
  readonly ring: () => Promise<void> | void;
}

interface Mapping {
  readonly simulatedMs: number;
  readonly wallMs: number;
  readonly scale: number;
}

const LONGEST_TIMER_MS = 2_000_000_000;

export class SimulatedClock {
  readonly #path: string;
  readonly #wall: WallClock;
  readonly #alarms = new Set<Alarm>();
  #mapping: Mapping;
  #timer: NodeJS.Timeout | undefined;
  #lastUs = 0;
  #alarmOrder = 0;
  #stopped = false;

  constructor(settings: ClockSettings, wall: WallClock = () => performance.timeOrigin + performance.now()) {
    this.#path = settings.path;
    this.#wall = wall;
    this.#mapping = firstMapping(settings, wall());
    this.#save();
  }

  /** Simulated milliseconds per wall millisecond. */
  get scale(): number {
    return this.#mapping.scale;
  }

  /** The simulated instant in epoch milliseconds, never before an instant that `nowUs` has given out. */
  nowMs(): number {
    const { simulatedMs, wallMs, scale } = this.#mapping;
    return Math.max(simulatedMs + (this.#wall() - wallMs) * scale, this.#lastUs / 1000);
  }

  /** The simulated instant in epoch microseconds, different at every call (T1). */
  nowUs(): number {
    this.#lastUs = Math.max(Math.floor(this.nowMs() * 1000), this.#lastUs + 1);
    return this.#lastUs;
  }

  /** Runs `ring` once simulated time has reached `dueUs` (epoch microseconds). Returns a function that takes the alarm back. */
  at(dueUs: number, ring: () => Promise<void> | void): () => void {
    const alarm: Alarm = { dueUs, order: (this.#alarmOrder += 1), ring };
    this.#alarms.add(alarm);
    this.#arm();
    return () => {
      this.#alarms.delete(alarm);
    };
  }

  /** Moves simulated time forward and waits until everything that became due has been done. */
  async advance(milliseconds: number): Promise<void> {
    this.#remap(this.nowMs() + milliseconds, this.#mapping.scale);
    await this.#ringDue();
  }

  /** Changes the speed; the present instant stays where it is. */
  rescale(scale: number): void {
    this.#remap(this.nowMs(), scale);
    this.#arm();
  }

  /** Silences all alarms. Simulated time is still readable. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#alarms.clear();
  }

  #remap(simulatedMs: number, scale: number): void {
    this.#mapping = { simulatedMs, wallMs: this.#wall(), scale };
    this.#save();
  }

  #save(): void {
    writeFileSync(`${this.#path}.part`, JSON.stringify(this.#mapping));
    renameSync(`${this.#path}.part`, this.#path);
  }

  async #ringDue(): Promise<void> {
    const due = [...this.#alarms].filter((alarm) => alarm.dueUs <= this.nowMs() * 1000);
    due.sort((a, b) => a.dueUs - b.dueUs || a.order - b.order);
    for (const alarm of due) {
      this.#alarms.delete(alarm);
    }
    const rung = await Promise.allSettled(due.map(async (alarm) => await alarm.ring()));
    this.#arm();
    const failed = rung.find((each) => each.status === 'rejected');
    if (failed !== undefined) {
      throw failed.reason;
    }
  }

  /** One wall timer for the nearest alarm; re-armed in steps, because Node's timers overflow at 2^31 ms. */
  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#stopped || this.#alarms.size === 0 || this.#mapping.scale === 0) {
      return;
    }
    let nearestUs = Number.POSITIVE_INFINITY;
    for (const alarm of this.#alarms) {
      nearestUs = Math.min(nearestUs, alarm.dueUs);
    }
    const waitMs = Math.ceil((nearestUs / 1000 - this.nowMs()) / this.#mapping.scale);
    this.#timer = setTimeout(() => this.#ringDue().catch(() => undefined), Math.min(Math.max(waitMs, 0), LONGEST_TIMER_MS));
  }
}

/** Continues the time line found on disk, unless a start was asked for. */
function firstMapping(settings: ClockSettings, wallMs: number): Mapping {
  const scale = settings.timeScale;
  if (settings.startMs !== undefined) {
    return { simulatedMs: settings.startMs, wallMs, scale };
  }
  const kept = readMapping(settings.path);
  const simulatedMs = kept === undefined ? wallMs : kept.simulatedMs + (wallMs - kept.wallMs) * kept.scale;
  return { simulatedMs, wallMs, scale };
}

function readMapping(path: string): Mapping | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  const value = parseJson(text);
  if (!isObject(value)) {
    return undefined;
  }
  const simulatedMs = numberOf(value.simulatedMs);
  const wallMs = numberOf(value.wallMs);
  const scale = numberOf(value.scale);
  return simulatedMs === undefined || wallMs === undefined || scale === undefined ? undefined : { simulatedMs, wallMs, scale };
}

/** An instant as the service prints it: RFC 3339, microseconds, `+00:00` (claude-batches.md 1.6). */
export function instantText(instantUs: number): string {
  const wholeMs = Math.floor(instantUs / 1000);
  const microseconds = String(instantUs - wholeMs * 1000).padStart(3, '0');
  return `${new Date(wholeMs).toISOString().slice(0, 23)}${microseconds}+00:00`;
}
