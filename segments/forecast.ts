/**
 * The forecast: what a budget's window will have cost when it ends, as the range between the 10th and the 90th of a
 * hundred equally likely ends. Pure: the time is an argument, and the seed is made of target and window, so the same
 * facts give the same forecast.
 *
 * An end is drawn a thousand times. Each draw begins with what is spent, and with the part of what is reserved and held
 * that is really going to be billed: reservations are upper bounds, so they are multiplied by what bounds turned into in
 * hours drawn from the history. Then the rest of the window is added, hour by hour, in one of two ways:
 *
 *   as a former window   the hours that followed the same moment of one of the last windows: this knows the nightly run
 *                        and the end of the month
 *   as this window       hours drawn from those that have passed; from three days on whole days are drawn, hour of the day
 *                        by hour of the day, because work comes in nights, not in hours
 *
 * With k former windows and a share f of this one over, the second way is drawn with (1 + k f) / (1 + k): at first this
 * window counts as one among the others, at its end it speaks for itself. The hour in which a draw passes the limit is
 * when it exceeds; half of the draws must, before it is said.
 *
 * A budget is never exceeded, it turns work away. So what is forecast is what would be spent if it did not; former windows
 * in which it did count with what they spent.
 *
 * Invariants
 *   D1  A forecast never ends below what is spent already.
 *   D2  Nothing is forecast from less than an hour, or a tenth of the window (at most a day), unless there are former ones.
 */
import { hourMs, type TargetHistory } from './spend-history.ts';
import type { TimeWindow } from './window.ts';

/** One limit of one budget in its window of now. Amounts in the unit: integer micro-USD, or tokens. */
export interface BudgetWindow {
  /** `all`, `topic:…`, `client:…`, `segment:…`. */
  readonly target: string;
  readonly unit: 'micro_usd' | 'tokens';
  /** Unix ms; `endMs` is exclusive. Of a window without an end: from when its pace is taken, and how far is looked. */
  readonly startMs: number;
  readonly endMs: number;
  readonly isEndless: boolean;
  /** Former windows, newest first. */
  readonly former: readonly TimeWindow[];
  readonly limit: number;
  readonly spent: number;
  readonly reserved: number;
  /** Upper bounds of the work that this limit keeps back. */
  readonly held: number;
}

export interface Projection {
  readonly low: number;
  readonly median: number;
  readonly high: number;
}

/** `warning`: four fifths are spent; `exceeded`: all is, or work is turned away; `forecast`: it probably will be. */
export type BudgetAlert = 'warning' | 'forecast' | 'exceeded';

export interface Forecast {
  /** The end of the window; undefined: too early to say (D2), or there is none. */
  readonly projection: Projection | undefined;
  /** Share of the draws that pass the limit, 0 to 1; undefined when it is too early. */
  readonly chance: number | undefined;
  /** When half of the draws have passed the limit, Unix ms, to the hour; undefined: they do not. */
  readonly exceedsAtMs: number | undefined;
  readonly alerts: readonly BudgetAlert[];
  /** On what it rests: hours of this window that have passed, and former windows. */
  readonly hoursSeen: number;
  readonly windowsSeen: number;
}

const draws = 1_000;
const dayMs = 24 * hourMs;
/** From this many hours on whole days are drawn. */
const hoursForDays = 72;
/** How many hours' bounds one draw looks at. */
const boundsDrawn = 30;

/** Forecasts one limit (D1, D2). */
export function forecast(window: BudgetWindow, history: TargetHistory, nowMs: number): Forecast {
  const pace = paceOf(window, history, nowMs);
  const former = window.former.filter((each) => history.firstMs !== undefined && each.startMs >= floorHour(history.firstMs));
  const seen = { hoursSeen: pace.hours, windowsSeen: former.length };
  if (former.length === 0 && !pace.isEnough) return { projection: undefined, chance: undefined, exceedsAtMs: undefined, alerts: alertsOf(window, undefined), ...seen };
  const random = randomOf(`${window.target}|${window.unit}|${window.startMs}`);
  const passed = (nowMs - window.startMs) / (window.endMs - window.startMs);
  const paceShare = pace.isEnough ? (1 + former.length * passed) / (1 + former.length) : 0;
  const left = hoursLeft(window, nowMs);
  const ends: number[] = [];
  const crossings: number[] = [];
  for (let draw = 0; draw < draws; draw += 1) {
    const billedShare = drawBilledShare(history, random);
    const from = random() < paceShare ? undefined : former[Math.floor(random() * former.length)];
    const hours = from ? hoursAfter(from, window, history, left) : drawHours(pace, window.reserved * billedShare, left, random);
    let total = window.spent + (window.reserved + window.held) * billedShare;
    let crossedAtMs = total > window.limit ? nowMs : Number.POSITIVE_INFINITY;
    for (const { atMs, amount } of hours) {
      total += amount;
      if (total > window.limit && crossedAtMs === Number.POSITIVE_INFINITY) crossedAtMs = atMs;
    }
    ends.push(total);
    crossings.push(crossedAtMs);
  }
  ends.sort((a, b) => a - b);
  crossings.sort((a, b) => a - b);
  const at = (sorted: readonly number[], share: number): number => sorted[Math.floor((draws - 1) * share)] ?? 0;
  const crossing = at(crossings, 0.5);
  const exceedsAtMs = Number.isFinite(crossing) ? crossing : undefined;
  return {
    projection: window.isEndless ? undefined : { low: Math.round(at(ends, 0.1)), median: Math.round(at(ends, 0.5)), high: Math.round(at(ends, 0.9)) },
    chance: crossings.filter(Number.isFinite).length / draws,
    exceedsAtMs,
    alerts: alertsOf(window, exceedsAtMs),
    ...seen,
  };
}

function alertsOf({ spent, limit, held }: BudgetWindow, exceedsAtMs: number | undefined): readonly BudgetAlert[] {
  const isExceeded = held > 0 || (limit > 0 && spent >= limit);
  return [
    ...(limit > 0 && spent * 5 >= limit * 4 ? (['warning'] as const) : []),
    ...(isExceeded ? (['exceeded'] as const) : exceedsAtMs === undefined ? [] : (['forecast'] as const)),
  ];
}

/** What the hours of this window have cost so far. */
interface Pace {
  /** By whole hour since `firstHourMs`, the one that runs included. */
  readonly amounts: readonly number[];
  readonly firstHourMs: number;
  /** How many hours that was; the one that runs is not over. */
  readonly hours: number;
  readonly isEnough: boolean;
}

function paceOf(window: BudgetWindow, history: TargetHistory, nowMs: number): Pace {
  // Before the installation first sent something, an empty hour says nothing about its work.
  const firstHourMs = floorHour(Math.max(window.startMs, history.firstMs ?? nowMs));
  const amounts: number[] = [];
  for (let atMs = firstHourMs; atMs <= nowMs; atMs += hourMs) amounts.push(history.spentIn(atMs));
  const hours = Math.max(0, nowMs - Math.max(firstHourMs, window.startMs)) / hourMs;
  const needed = Math.max(1, Math.min(24, (window.endMs - window.startMs) / hourMs / 10));
  return { amounts, firstHourMs, hours, isEnough: hours >= needed };
}

interface Hour {
  readonly atMs: number;
  readonly amount: number;
}

/** An hour that lies ahead, and the share of it that lies between now and the end of the window. */
interface HourLeft {
  readonly atMs: number;
  readonly share: number;
}

/** What followed the same moment of a former window. */
function hoursAfter(former: TimeWindow, window: BudgetWindow, history: TargetHistory, left: readonly HourLeft[]): readonly Hour[] {
  return left.flatMap(({ atMs, share }) => {
    const thenMs = former.startMs + (atMs - window.startMs);
    return thenMs < former.endMs ? [{ atMs, amount: history.spentIn(thenMs) * share }] : [];
  });
}

/** Draws the rest of the window from its own hours; what is reserved belongs to them, although it is not settled yet. */
function drawHours({ amounts, firstHourMs, hours }: Pace, unsettled: number, left: readonly HourLeft[], random: () => number): readonly Hour[] {
  const settled = amounts.reduce((sum, amount) => sum + amount, 0);
  const correction = amounts.length / Math.max(hours, 1);
  const valueAt = (index: number): number => correction * (settled === 0 ? unsettled / amounts.length : (amounts[index] ?? 0) * ((settled + unsettled) / settled));
  if (amounts.length < hoursForDays) return left.map(({ atMs, share }) => ({ atMs, amount: valueAt(Math.floor(random() * amounts.length)) * share }));
  let [day, dayDrawn] = [Number.NaN, 0];
  return left.map(({ atMs, share }) => {
    if (Math.floor(atMs / dayMs) !== day) [day, dayDrawn] = [Math.floor(atMs / dayMs), random()];
    const first = (((Math.floor(atMs / hourMs) - Math.floor(firstHourMs / hourMs)) % 24) + 24) % 24;
    const days = Math.ceil((amounts.length - first) / 24);
    return { atMs, amount: valueAt(first + 24 * Math.floor(dayDrawn * days)) * share };
  });
}

function hoursLeft(window: BudgetWindow, nowMs: number): readonly HourLeft[] {
  const hours: HourLeft[] = [];
  for (let hour = floorHour(nowMs); hour < window.endMs; hour += hourMs) {
    const atMs = Math.max(hour, nowMs);
    hours.push({ atMs, share: (Math.min(hour + hourMs, window.endMs) - atMs) / hourMs });
  }
  return hours;
}

/** What bounds turned into; all of them while nothing was settled. */
function drawBilledShare({ bounds }: TargetHistory, random: () => number): number {
  if (bounds.length === 0) return 1;
  let [spent, reserved] = [0, 0];
  for (let drawn = 0; drawn < boundsDrawn; drawn += 1) {
    const one = bounds[Math.floor(random() * bounds.length)];
    spent += one?.spent ?? 0;
    reserved += one?.reserved ?? 0;
  }
  return reserved === 0 ? 1 : spent / reserved;
}

function floorHour(atMs: number): number {
  return Math.floor(atMs / hourMs) * hourMs;
}

/** Numbers in [0, 1) that a text decides: FNV-1a for the seed, mulberry32 for the numbers. */
function randomOf(seed: string): () => number {
  let state = 2_166_136_261;
  for (const byte of Buffer.from(seed)) state = Math.imul(state ^ byte, 16_777_619);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
