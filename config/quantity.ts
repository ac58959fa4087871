/**
 * Quantities as people write them: `10s`, `8MB`, `25.50`. Each parser is exact or returns undefined; none of them rounds,
 * and money never passes through a float.
 */

const durationUnits: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

const sizeUnits: ReadonlyMap<string, number> = new Map([
  ['b', 1],
  ['kb', 1_000],
  ['mb', 1_000_000],
  ['gb', 1_000_000_000],
  ['kib', 1_024],
  ['mib', 1_048_576],
  ['gib', 1_073_741_824],
]);

export const durationPattern = /^(\d{1,15}) ?(ms|s|m|h|d)?$/;
export const sizePattern = /^(\d{1,15}) ?([kKmMgG]?[iI]?[bB])?$/;
/** Digits, optionally in groups of three: `200000` or `200_000`. */
export const integerPattern = /^(?:\d{1,16}|\d{1,3}(?:_\d{3}){1,5})$/;
/** Dollars with at most six decimals: a micro-dollar is the smallest amount that the ledger knows. */
export const dollarsPattern = /^(\d{1,10})(?:\.(\d{1,6}))?$/;

function safe(value: number): number | undefined {
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** A plain non-negative integer, given as a number or as digits; undefined when it is not one. */
export function parseInteger(given: string | number): number | undefined {
  if (typeof given === 'number') return safe(given);
  return integerPattern.test(given) ? safe(Number(given.replaceAll('_', ''))) : undefined;
}

function parseUnits(given: string | number, pattern: RegExp, units: ReadonlyMap<string, number>): number | undefined {
  if (typeof given === 'number') return safe(given);
  const match = pattern.exec(given);
  if (!match?.[1] || !match[2]) return parseInteger(given);
  const unit = units.get(match[2].toLowerCase());
  return unit === undefined ? undefined : safe(Number(match[1]) * unit);
}

/** `200ms`, `10s`, `5m`, `24h`, `1d`, or an integer of ms. Returns ms; undefined when it is none of these. */
export function parseDuration(given: string | number): number | undefined {
  return parseUnits(given, durationPattern, durationUnits);
}

/** `8MB` (10^6), `8MiB` (2^20), `64KB`, `1GB`, or an integer of bytes. Returns bytes; undefined when it is none of these. */
export function parseSize(given: string | number): number | undefined {
  return parseUnits(given, sizePattern, sizeUnits);
}

/**
 * US dollars as decimal text to integer micro-USD: `25.5` is 25,500,000. The digits are moved, never multiplied as a
 * float. Undefined when the text is no such amount, has more than six decimals, or exceeds 9,007,199,254.740991.
 */
export function parseMicroUsd(given: string | number): number | undefined {
  const match = dollarsPattern.exec(String(given));
  if (!match?.[1]) return undefined;
  return safe(Number(match[1] + (match[2] ?? '').padEnd(6, '0')));
}

/** Ms in the largest unit that divides them: 60,000 is `1m`. For messages and `plimsoll config`. */
export function durationText(ms: number): string {
  const unit = [...durationUnits].reverse().find(([, size]) => ms >= size && ms % size === 0);
  return unit ? `${ms / unit[1]}${unit[0]}` : `${ms}ms`;
}
