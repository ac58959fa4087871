import { readFile } from 'node:fs/promises';
import { FAULTS, OPERATIONS, isFaultKind, type FaultKind } from './faultkinds.ts';
import type { FaultRule, FaultScript } from './faults.ts';
import { isList, isObject, numberOf, parseJson, textOf, type JsonObject } from './shape.ts';

/**
 * Reads fault scripts and fault flags.
 *
 * A script is JSON: {"seed": 7, "faults": [{"fault": "reply_lost", "nth": 1}, {"fault": "errored", "rate": 0.02}]}
 * A flag is one rule: reply_lost=1 · errored=2% · 529@batches.retrieve=x3 · results_cut=1,rows=10 · list_lag,seconds=5
 * The part after the first = says when: N (the Nth matching call), xN (the first N), N+ (from the Nth on), P% (a rate), always.
 */

const NUMBERS = ['after', 'count', 'rate', 'rows', 'seconds', 'bytes', 'bytes_per_second', 'above_bytes', 'status', 'retry_after'] as const;
const TEXTS = ['on', 'error_type', 'error_code', 'message', 'body_contains'] as const;
const SWITCHES = ['accept', 'early', 'abort', 'hang', 'workspace'] as const;
const KNOWN = new Set<string>(['fault', 'nth', ...NUMBERS, ...TEXTS, ...SWITCHES]);

/** Loads a script file. Throws an Error with one clear line when that is not possible. */
export async function loadScript(path: string): Promise<FaultScript> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new Error(`The fault script ${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  const value = parseJson(text);
  const script = value === undefined ? 'it is not JSON.' : decodeScript(value);
  if (typeof script === 'string') {
    throw new Error(`The fault script ${path} cannot be used: ${script}`);
  }
  return script;
}

/** A script from parsed JSON, or what is wrong with it. A bare list of rules is a script too. */
export function decodeScript(value: unknown): FaultScript | string {
  const list = isList(value) ? value : isObject(value) ? value.faults : undefined;
  if (!isList(list)) {
    return 'it has to be an object with a list "faults".';
  }
  const rules: FaultRule[] = [];
  for (const [index, item] of list.entries()) {
    const rule = decodeRule(item);
    if (typeof rule === 'string') {
      return `faults[${index}]: ${rule}`;
    }
    rules.push(rule);
  }
  const seed = isObject(value) ? numberOf(value.seed) : undefined;
  return { ...(seed === undefined ? {} : { seed }), faults: rules };
}

function decodeRule(item: unknown): FaultRule | string {
  if (!isObject(item)) {
    return 'a rule has to be an object.';
  }
  const named = nameOf(textOf(item.fault) ?? '');
  if (named === undefined) {
    // What is no text may be nested deeper than it can be written out.
    const given = isObject(item.fault) || isList(item.fault) ? 'A list or an object' : JSON.stringify(item.fault ?? null);
    return `${given} is not a fault. Known: ${Object.keys(FAULTS).join(', ')}.`;
  }
  const unknown = Object.keys(item).find((key) => !KNOWN.has(key));
  if (unknown !== undefined) {
    return `"${unknown}" is not a field of a rule. Known: ${[...KNOWN].join(', ')}.`;
  }
  const wrong = wrongField(item);
  if (wrong !== undefined) {
    return wrong;
  }
  return { ...item, ...named };
}

/** A status code may stand for its rule. */
function nameOf(name: string): { readonly fault: FaultKind; readonly status?: number } | undefined {
  if (/^[45]\d\d$/.test(name)) {
    return { fault: 'status', status: Number(name) };
  }
  return isFaultKind(name) ? { fault: name } : undefined;
}

function wrongField(item: JsonObject): string | undefined {
  const number = NUMBERS.find((key) => item[key] !== undefined && numberOf(item[key]) === undefined);
  const text = TEXTS.find((key) => item[key] !== undefined && typeof item[key] !== 'string');
  const flag = SWITCHES.find((key) => item[key] !== undefined && typeof item[key] !== 'boolean');
  if (number !== undefined || text !== undefined || flag !== undefined) {
    const key = number ?? text ?? flag ?? '';
    return `"${key}" has to be ${number !== undefined ? 'a number' : text !== undefined ? 'a text' : 'true or false'}.`;
  }
  const calls = isList(item.nth) ? item.nth : item.nth === undefined ? [] : [item.nth];
  if (!calls.every((call) => typeof call === 'number' && Number.isInteger(call) && call >= 1)) {
    return '"nth" has to be a call number from 1, or a list of them.';
  }
  if (item.rate !== undefined && !(Number(item.rate) >= 0 && Number(item.rate) <= 1)) {
    return '"rate" has to be from 0 to 1.';
  }
  const on = textOf(item.on);
  const isKnown = on === undefined || on === '*' || OPERATIONS.some((known) => known === on || (on.endsWith('.*') && known.startsWith(on.slice(0, -1))));
  return isKnown ? undefined : `"${on ?? ''}" is not an operation. Known: ${OPERATIONS.join(', ')}, batches.*, messages.*, *.`;
}

/** One rule from a flag, or what is wrong with it. */
export function parseFault(flag: string): FaultRule | string {
  const [head = '', ...pairs] = flag.split(',');
  const match = /^([a-z_0-9]+)(?:@([a-z_.*]+))?(?:=(.+))?$/.exec(head.trim());
  if (match === null) {
    return `The fault ${JSON.stringify(flag)} cannot be read. Write NAME[@OPERATION][=WHEN][,KEY=VALUE…], for example reply_lost=1 or errored=2%.`;
  }
  const [, fault = '', on, when = 'always'] = match;
  const timing = timingOf(when);
  if (timing === undefined) {
    return `The fault ${JSON.stringify(flag)}: ${JSON.stringify(when)} is no time. Write N, xN, N+, P% or always.`;
  }
  const item: Record<string, unknown> = { fault, ...(on === undefined ? {} : { on }), ...timing };
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const [key, value] = at < 0 ? [pair.trim(), 'true'] : [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
    item[key] = SWITCHES.some((known) => known === key) ? value === 'true' : NUMBERS.some((known) => known === key) ? Number(value) : value;
  }
  const rule = decodeRule(item);
  return typeof rule === 'string' ? `The fault ${JSON.stringify(flag)}: ${rule}` : rule;
}

function timingOf(when: string): JsonObject | undefined {
  const match = /^(?:(always)|(\d+)|x(\d+)|(\d+)\+|([\d.]+)%)$/.exec(when);
  if (match === null) {
    return undefined;
  }
  const [, always, nth, count, from, percent] = match;
  if (always !== undefined) {
    return {};
  }
  if (nth !== undefined) {
    return { nth: Number(nth) };
  }
  if (count !== undefined) {
    return { count: Number(count) };
  }
  return from !== undefined ? { after: Number(from) - 1 } : { rate: Number(percent) / 100 };
}
