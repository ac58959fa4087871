/** Forecasts of budget windows over histories that are made up, hour by hour. */
import { describe, expect, it } from 'vitest';
import { forecast, type BudgetWindow } from '../../segments/forecast.ts';
import type { TargetHistory } from '../../segments/spend-history.ts';
import { SpendHistory } from '../../segments/spend-history.ts';
import { outcomeOf, runEvidence, sealedOf } from '../evidence-world.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** A Monday, 00:00 UTC. */
const monday = Date.UTC(2026, 10, 23);
const weekMs = 7 * dayMs;

/** A history from what each hour spent, counted from `firstMs`. */
function historyOf(firstMs: number, hours: readonly number[], billedShare = 0.5): TargetHistory {
  return {
    firstMs,
    spentIn: (atMs) => hours[Math.floor((atMs - firstMs) / hourMs)] ?? 0,
    bounds: hours.filter((spent) => spent > 0).map((spent) => ({ spent, reserved: spent / billedShare })),
  };
}

function windowOf(given: Partial<BudgetWindow> = {}): BudgetWindow {
  return { target: 'topic:invoices', unit: 'micro_usd', startMs: monday, endMs: monday + weekMs, isEndless: false, former: [], limit: 1_000_000, spent: 0, reserved: 0, held: 0, ...given };
}

const formerWeeks = (count: number): BudgetWindow['former'] => Array.from({ length: count }, (_, index) => ({ startMs: monday - (index + 1) * weekMs, endMs: monday - index * weekMs }));
/** A nightly run of `amount` in the hour after 02:00. */
const nights = (days: number, amount: number): readonly number[] => Array.from({ length: days * 24 }, (_, hour) => (hour % 24 === 2 ? amount : 0));

describe('a forecast', () => {
  it('is the same each time for the same facts', () => {
    const history = historyOf(monday, nights(4, 100));
    const window = windowOf({ spent: 400, reserved: 50 });
    expect(forecast(window, history, monday + 4 * dayMs)).toEqual(forecast(window, history, monday + 4 * dayMs));
  });

  it('goes on with the nights of a window of its own, whole days at a time', () => {
    const found = forecast(windowOf({ spent: 400 }), historyOf(monday, nights(4, 100)), monday + 4 * dayMs);
    // Seven nights; drawn hour by hour the range would be from five to nine.
    expect(found.projection?.median).toBeGreaterThan(680);
    expect(found.projection?.median).toBeLessThan(720);
    expect((found.projection?.high ?? 0) - (found.projection?.low ?? 0)).toBeLessThan(30);
  });

  it('knows from former windows what comes late in one', () => {
    // Each week spends nothing but 900 on its Saturday.
    const week = Array.from({ length: 168 }, (_, hour) => (hour === 5 * 24 + 3 ? 900 : 0));
    const history = historyOf(monday - 4 * weekMs, [...week, ...week, ...week, ...week]);
    const found = forecast(windowOf({ former: formerWeeks(4), limit: 500 }), history, monday + 2 * hourMs);
    expect(found).toMatchObject({ projection: { low: 900, median: 900, high: 900 }, chance: 1, windowsSeen: 4, alerts: ['forecast'] });
    expect(found.exceedsAtMs).toBe(monday + 5 * dayMs + 3 * hourMs);
  });

  it('names the day on which the limit is reached', () => {
    // 100 a night: the fourth night, Thursday at two, passes 350.
    const found = forecast(windowOf({ spent: 200, limit: 350, former: formerWeeks(3) }), historyOf(monday - 3 * weekMs, nights(23, 100)), monday + 2 * dayMs);
    expect(found.alerts).toEqual(['forecast']);
    expect(found.exceedsAtMs).toBe(monday + 3 * dayMs + 2 * hourMs);
  });

  it('takes for what is reserved what bounds turned into before', () => {
    const now = monday + 4 * dayMs;
    const quiet = (share: number): TargetHistory => historyOf(monday - weekMs, [100], share);
    const end = (history: TargetHistory): number | undefined => forecast(windowOf({ spent: 100, reserved: 1_000, former: formerWeeks(1) }), history, now).projection?.low;
    expect(end(quiet(0.1))).toBeGreaterThanOrEqual(200);
    expect(end(quiet(0.1))).toBeLessThan(400);
    expect(end(quiet(0.9))).toBeGreaterThanOrEqual(1_000);
  });

  it('never ends below what is spent (D1)', () => {
    for (let hour = 2; hour < 168; hour += 7) {
      const found = forecast(windowOf({ spent: 5_000, former: formerWeeks(2) }), historyOf(monday - 2 * weekMs, nights(14, 10)), monday + hour * hourMs);
      expect(found.projection?.low).toBeGreaterThanOrEqual(5_000);
    }
  });

  it('says nothing from too little (D2), but still how much is spent', () => {
    const history = historyOf(monday, [900]);
    const early = forecast(windowOf({ spent: 900, limit: 1_000 }), history, monday + 16 * hourMs);
    expect(early).toMatchObject({ projection: undefined, chance: undefined, exceedsAtMs: undefined, alerts: ['warning'] });
    expect(forecast(windowOf({ spent: 900, limit: 1_000 }), history, monday + 17 * hourMs).projection).toBeDefined();
  });

  it('counts no former window that began before there was an installation', () => {
    expect(forecast(windowOf({ former: formerWeeks(4) }), historyOf(monday - 2 * weekMs - hourMs, nights(14, 10)), monday + dayMs).windowsSeen).toBe(2);
  });

  it.each([
    ['nothing below four fifths', { spent: 799_999 }, []],
    ['a warning at four fifths', { spent: 800_000 }, ['warning']],
    ['exceeded when all is spent', { spent: 1_000_000 }, ['warning', 'exceeded']],
    ['exceeded when work is turned away, whatever is spent', { spent: 300_000, held: 1 }, ['exceeded']],
  ])('tells %s', (_what, given, expected) => {
    const end = monday + weekMs - 1;
    expect(forecast(windowOf(given), historyOf(monday, [1]), end).alerts).toEqual(expected);
  });

  it('of a limit without a window says when it is used up, and no end', () => {
    const start = monday - 28 * dayMs;
    const window = windowOf({ isEndless: true, startMs: start, endMs: monday + 56 * dayMs, spent: 2_800, limit: 3_250 });
    const found = forecast(window, historyOf(start, nights(28, 100)), monday);
    expect(found.projection).toBeUndefined();
    expect(found.exceedsAtMs).toBe(monday + 4 * dayMs + 2 * hourMs);
  });

  it('holds: about eight of ten weeks end within its range', () => {
    let state = 7;
    const random = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 4_294_967_296;
    let inside = 0;
    const trials = 120;
    for (let trial = 0; trial < trials; trial += 1) {
      // Eight former weeks and one that is forecast at its third day; nights of very different sizes, quieter at weekends.
      const night = (day: number): number => (day % 7 > 4 ? 0.3 : 1) * 100 * (0.2 + 2 * random() ** 2);
      const hours = Array.from({ length: 9 * 7 }, (_, day) => [0, 0, night(day), ...Array.from({ length: 21 }, () => 5 * random())]).flat();
      const begin = monday - 8 * weekMs;
      const now = monday + 3 * dayMs;
      const sum = (from: number, to: number): number => hours.slice((from - begin) / hourMs, (to - begin) / hourMs).reduce((total, each) => total + each, 0);
      const seen = hours.slice(0, (now - begin) / hourMs);
      const found = forecast(windowOf({ target: `topic:t${trial}`, former: formerWeeks(8), spent: sum(monday, now) }), historyOf(begin, seen), now);
      const end = sum(monday, monday + weekMs);
      if (found.projection && found.projection.low <= end && end <= found.projection.high) inside += 1;
    }
    expect(inside / trials).toBeGreaterThan(0.65);
    expect(inside / trials).toBeLessThan(0.95);
  });
});

describe('the history of spending', () => {
  it('is by target and hour of submission, with what was reserved for it', () => {
    const outcome = outcomeOf(sealedOf(runEvidence({ rows: [4, 6] }), 1, [0, 1]));
    const known = { ...outcome, chunks: outcome.chunks.map((chunk, place) => ({ ...chunk, client: place === 0 ? 'etl' : 'crm', reserved: { tokens: 40, microUsd: 100 } })) };
    const history = new SpendHistory(['all', 'client:crm', 'topic:invoices', 'topic:mails'], 0);
    history.add({ ...known, submittedAtMs: 2 * hourMs });
    history.add({ ...known, submittedAtMs: 5 * hourMs + 1 });
    history.add({ ...known, batch: null, submittedAtMs: 1 });
    expect(history.of('all', 'micro_usd').spentIn(2 * hourMs + 7)).toBe(70);
    expect(history.of('client:crm', 'micro_usd').spentIn(5 * hourMs)).toBe(42);
    expect(history.of('topic:invoices', 'tokens').spentIn(5 * hourMs)).toBe(30);
    expect(history.of('topic:mails', 'tokens').spentIn(5 * hourMs)).toBe(0);
    expect(history.of('all', 'micro_usd')).toMatchObject({ firstMs: 2 * hourMs, bounds: [{ spent: 70, reserved: 200 }, { spent: 70, reserved: 200 }] });
  });

  it('leaves out what is too old, but remembers when it all began', () => {
    const outcome = outcomeOf(sealedOf(runEvidence({ rows: [4] }), 1, [0]));
    const history = new SpendHistory(['all'], 10 * hourMs);
    history.add({ ...outcome, submittedAtMs: 2 * hourMs });
    expect(history.of('all', 'micro_usd')).toMatchObject({ firstMs: 2 * hourMs, bounds: [] });
    expect(history.of('all', 'micro_usd').spentIn(2 * hourMs)).toBe(0);
  });
});
