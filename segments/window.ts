/**
 * The windows of budgets: which stretch of time an instant belongs to. Pure; the rules of time zones come from the
 * runtime's own tables (`Intl`), so all processes of an installation should run on the same release of Node.
 *
 * A span such as `6h` is aligned to the Unix epoch and known to the scripts of the ledger themselves. A calendar window
 * (`hour`, `day`, `week`, `month`) begins where the calendar of its time zone says so; that is worked out here and handed
 * to the scripts as an integer.
 *
 * A calendar window runs from one boundary to the next, so the windows of a zone never overlap and leave nothing out:
 *   W1  A day, an ISO week (from Monday) and a month begin at the first instant whose local time is midnight or later; the
 *       day on which clocks go forward has 23 hours, the one on which they go back 25.
 *   W2  An hour begins at a full hour of local time, or where the offset of the zone changes: an hour that the clocks
 *       repeat is two windows, and none is longer than an hour.
 */

export const calendarUnits = ['hour', 'day', 'week', 'month'] as const;
export type CalendarUnit = (typeof calendarUnits)[number];

/** A stretch of time: from `startMs`, inclusive, to `endMs`, exclusive; Unix ms. */
export interface TimeWindow {
  readonly startMs: number;
  readonly endMs: number;
}

/** The name of a calendar window in the ledger and in window ids, for example `month|Europe/Berlin`. */
export type CalendarName = `${CalendarUnit}|${string}`;

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const spanMs = { s: 1_000, m: 60_000, h: hourMs, d: dayMs } as const;

/** Tells whether a window is one of the calendar. */
export function isCalendarUnit(window: string): window is CalendarUnit {
  return calendarUnits.some((unit) => unit === window);
}

/** The name of a window in the ledger: calendar windows name their time zone, UTC where none is given. */
export function windowName(window: string, timeZone: string | undefined): string {
  return isCalendarUnit(window) ? `${window}|${timeZone ?? 'UTC'}` : window;
}

/** The parts of a window's name. */
export function windowParts(name: string): { readonly window: string; readonly timeZone: string | undefined } {
  const [window = name, timeZone] = name.split('|');
  return { window, timeZone };
}

/** Tells whether the runtime knows a time zone, and its name can be part of a key. */
export function isTimeZone(timeZone: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,62}$/.test(timeZone)) return false;
  try {
    return clockOf(timeZone) !== undefined;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/**
 * The window that an instant falls into; undefined for `run` and `total`, which have no bounds in time.
 * @throws RangeError for a time zone that the runtime does not know
 */
export function windowAt(window: string, timeZone: string | undefined, atMs: number): TimeWindow | undefined {
  const span = /^(\d+)([smhd])$/.exec(window);
  if (span) {
    const lengthMs = Number(span[1]) * spanMs[span[2] as keyof typeof spanMs];
    const startMs = atMs - (atMs % lengthMs);
    return { startMs, endMs: startMs + lengthMs };
  }
  if (!isCalendarUnit(window)) return undefined;
  const zone = timeZone ?? 'UTC';
  return window === 'hour' ? hourAt(zone, atMs) : boundedBy(zone, window, atMs);
}

/** The window of an instant as accounts name it, such as `6h=1793487600000`; `run` and `total` have no start. @throws RangeError as `windowAt` */
export function windowIdAt(window: string, timeZone: string | undefined, atMs: number): string {
  const bounds = windowAt(window, timeZone, atMs);
  return bounds ? `${windowName(window, timeZone)}=${bounds.startMs}` : window;
}

/** The window that an account's window id names, such as `month|Europe/Berlin=1793487600000`; undefined for `run` and `total`. */
export function windowOfId(windowId: string): TimeWindow | undefined {
  const [name = '', start] = windowId.split('=');
  const { window, timeZone } = windowParts(name);
  return start === undefined || window === 'run' ? undefined : windowAt(window, timeZone, Number(start));
}

/** W2: the full hour around an instant, cut where the offset changes. */
function hourAt(zone: string, atMs: number): TimeWindow {
  const offset = offsetMs(zone, atMs);
  const local = atMs + offset;
  const start = local - modulo(local, hourMs) - offset;
  const end = start + hourMs;
  return {
    startMs: offsetMs(zone, start) === offset ? start : firstInstant(start, atMs, (ms) => offsetMs(zone, ms) === offset),
    endMs: offsetMs(zone, end - 1) === offset ? end : firstInstant(atMs, end - 1, (ms) => offsetMs(zone, ms) !== offset),
  };
}

/** W1: the boundaries around an instant. The local date can be off by one where clocks go back over midnight. */
function boundedBy(zone: string, unit: 'day' | 'week' | 'month', atMs: number): TimeWindow {
  let local = localStart(unit, atMs + offsetMs(zone, atMs));
  while (reached(zone, local) > atMs) local = localStart(unit, local - 1);
  for (;;) {
    const next = localStart(unit, local + (unit === 'month' ? 31 : unit === 'week' ? 7 : 1) * dayMs);
    const endMs = reached(zone, next);
    if (endMs > atMs) return { startMs: reached(zone, local), endMs };
    local = next;
  }
}

/** Where the unit around a local time begins; local times are written as if they were UTC. */
function localStart(unit: 'day' | 'week' | 'month', local: number): number {
  const midnight = local - modulo(local, dayMs);
  const date = new Date(midnight);
  if (unit === 'month') return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
  return unit === 'week' ? midnight - ((date.getUTCDay() + 6) % 7) * dayMs : midnight;
}

/** The first instant at which the clocks of a zone show a local time or, where they skip it, a later one. */
function reached(zone: string, local: number): number {
  const offsets = [offsetMs(zone, local - dayMs), offsetMs(zone, local + dayMs)];
  const earliest = local - Math.max(...offsets);
  const latest = local - Math.min(...offsets);
  return firstInstant(earliest - 1, latest, (ms) => ms + offsetMs(zone, ms) >= local);
}

/** The first instant in `(beforeMs, atMs]` from which on something is true; it is false at `beforeMs` and true at `atMs`. */
function firstInstant(beforeMs: number, atMs: number, isTrue: (ms: number) => boolean): number {
  let [before, from] = [beforeMs, atMs];
  while (from - before > 1) {
    const middle = Math.floor((before + from) / 2);
    if (isTrue(middle)) from = middle;
    else before = middle;
  }
  return from;
}

const clocks = new Map<string, Intl.DateTimeFormat>();

function clockOf(zone: string): Intl.DateTimeFormat {
  const known = clocks.get(zone);
  if (known) return known;
  const clock = new Intl.DateTimeFormat('en-US', {
    timeZone: zone, calendar: 'gregory', numberingSystem: 'latn', hourCycle: 'h23',
    year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric',
  });
  clocks.set(zone, clock);
  return clock;
}

/** What the clocks of a zone show at an instant, minus UTC; ms. */
function offsetMs(zone: string, atMs: number): number {
  if (zone === 'UTC') return 0;
  const second = atMs - modulo(atMs, 1_000);
  const part: Record<string, number> = {};
  for (const { type, value } of clockOf(zone).formatToParts(second)) part[type] = Number(value);
  const local = Date.UTC(part['year'] ?? 0, (part['month'] ?? 1) - 1, part['day'] ?? 1, part['hour'] ?? 0, part['minute'] ?? 0, part['second'] ?? 0);
  return local - second;
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}
