import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { calendarUnits, isTimeZone, windowAt, windowName, windowOfId, windowParts } from '../../segments/window.ts';

const at = (text: string): number => Date.parse(text);
const hours = (window: string, zone: string, text: string): number => {
  const found = windowAt(window, zone, at(text));
  return found ? (found.endMs - found.startMs) / 3_600_000 : NaN;
};
const bounds = (window: string, zone: string | undefined, text: string): readonly string[] => {
  const found = windowAt(window, zone, at(text));
  return found ? [new Date(found.startMs).toISOString(), new Date(found.endMs).toISOString()] : [];
};

describe('a calendar window', () => {
  it.each([
    ['month', 'Europe/Berlin', '2026-11-21T12:00:00Z', '2026-10-31T23:00:00.000Z', '2026-11-30T23:00:00.000Z'],
    ['month', undefined, '2026-11-21T12:00:00Z', '2026-11-01T00:00:00.000Z', '2026-12-01T00:00:00.000Z'],
    ['month', 'Europe/Berlin', '2026-03-31T22:30:00Z', '2026-03-31T22:00:00.000Z', '2026-04-30T22:00:00.000Z'],
    ['week', 'Europe/Berlin', '2026-11-22T22:59:59.999Z', '2026-11-15T23:00:00.000Z', '2026-11-22T23:00:00.000Z'],
    ['week', 'America/New_York', '2027-01-01T00:00:00Z', '2026-12-28T05:00:00.000Z', '2027-01-04T05:00:00.000Z'],
    ['day', 'Asia/Kolkata', '2026-11-21T18:30:00Z', '2026-11-21T18:30:00.000Z', '2026-11-22T18:30:00.000Z'],
    ['hour', 'Asia/Kolkata', '2026-11-21T18:29:59Z', '2026-11-21T17:30:00.000Z', '2026-11-21T18:30:00.000Z'],
    ['day', 'Pacific/Kiritimati', '2026-11-21T09:59:59Z', '2026-11-20T10:00:00.000Z', '2026-11-21T10:00:00.000Z'],
  ] as const)('%s in %s around %s begins and ends with the calendar there', (unit, zone, text, start, end) => {
    expect(bounds(unit, zone, text)).toEqual([start, end]);
  });

  it('has 23 hours where the clocks go forward and 25 where they go back', () => {
    expect(hours('day', 'Europe/Berlin', '2026-03-29T12:00:00Z')).toBe(23);
    expect(hours('day', 'Europe/Berlin', '2026-10-25T12:00:00Z')).toBe(25);
    expect(hours('week', 'Europe/Berlin', '2026-10-25T12:00:00Z')).toBe(7 * 24 + 1);
    expect(hours('month', 'Europe/Berlin', '2026-03-10T00:00:00Z')).toBe(31 * 24 - 1);
  });

  it('of a day without a midnight begins when the clocks first show that day', () => {
    // In Cairo the clocks went from 00:00 to 01:00 on 26 April 2024.
    expect(bounds('day', 'Africa/Cairo', '2024-04-26T10:00:00Z')).toEqual(['2024-04-25T22:00:00.000Z', '2024-04-26T21:00:00.000Z']);
    // Samoa had no 30 December 2011.
    expect(bounds('day', 'Pacific/Apia', '2011-12-30T10:30:00Z')).toEqual(['2011-12-30T10:00:00.000Z', '2011-12-31T10:00:00.000Z']);
  });

  it('of an hour that the clocks repeat is two windows, and one that they cut is shorter', () => {
    expect(bounds('hour', 'Europe/Berlin', '2026-10-25T00:30:00Z')).toEqual(['2026-10-25T00:00:00.000Z', '2026-10-25T01:00:00.000Z']);
    expect(bounds('hour', 'Europe/Berlin', '2026-10-25T01:30:00Z')).toEqual(['2026-10-25T01:00:00.000Z', '2026-10-25T02:00:00.000Z']);
    // Lord Howe Island goes back half an hour, from 02:00 to 01:30 (UTC+11 to UTC+10:30).
    expect(bounds('hour', 'Australia/Lord_Howe', '2026-04-04T15:10:00Z')).toEqual(['2026-04-04T15:00:00.000Z', '2026-04-04T15:30:00.000Z']);
  });

  it('holds its instant, and the windows of a zone follow each other without a gap or an overlap', () => {
    const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'America/St_Johns', 'Asia/Kolkata', 'Australia/Lord_Howe', 'Africa/Cairo', 'Pacific/Apia', 'America/Havana'];
    fc.assert(
      fc.property(fc.constantFrom(...zones), fc.constantFrom(...calendarUnits), fc.integer({ min: at('2005-01-01'), max: at('2037-01-01') }), (zone, unit, ms) => {
        const window = windowAt(unit, zone, ms);
        if (!window) throw new Error('a calendar window has bounds');
        expect(window.startMs <= ms && ms < window.endMs).toBe(true);
        expect(windowAt(unit, zone, window.startMs)).toEqual(window);
        expect(windowAt(unit, zone, window.endMs - 1)).toEqual(window);
        expect(windowAt(unit, zone, window.endMs)?.startMs).toBe(window.endMs);
      }),
      { numRuns: 400, seed: 20_261_121 },
    );
  });
});

describe('a window', () => {
  it('of a span is aligned to the Unix epoch', () => {
    expect(bounds('6h', undefined, '2026-11-21T07:00:00Z')).toEqual(['2026-11-21T06:00:00.000Z', '2026-11-21T12:00:00.000Z']);
  });

  it('of a run and of all time has no bounds', () => {
    expect([windowAt('run', undefined, 0), windowAt('total', undefined, 0), windowOfId('run=a'), windowOfId('total')]).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('is named with its time zone, and its id leads back to its bounds', () => {
    expect([windowName('month', undefined), windowName('month', 'Europe/Berlin'), windowName('1d', undefined)]).toEqual(['month|UTC', 'month|Europe/Berlin', '1d']);
    expect(windowParts('week|Asia/Tokyo')).toEqual({ window: 'week', timeZone: 'Asia/Tokyo' });
    expect(windowOfId(`day|Europe/Berlin=${at('2026-03-28T23:00:00Z')}`)).toEqual({ startMs: at('2026-03-28T23:00:00Z'), endMs: at('2026-03-29T22:00:00Z') });
    expect(windowOfId(`1h=${at('2026-03-28T23:00:00Z')}`)?.endMs).toBe(at('2026-03-29T00:00:00Z'));
  });
});

it('a time zone is one that the runtime knows', () => {
  expect(['Europe/Berlin', 'UTC', 'Etc/GMT+3', 'America/Argentina/Buenos_Aires'].map(isTimeZone)).toEqual([true, true, true, true]);
  expect(['Mars/Olympus', 'Berlin', '', 'a@b', 'UTC|x', 'Europe/Berlin=1'].map(isTimeZone)).toEqual([false, false, false, false, false, false]);
});
