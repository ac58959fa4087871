/**
 * A look at the structure of a line before it is parsed: nesting, keys, and where the values of the first two levels
 * begin and end. The text is the latin1 reading of the line's bytes, so an index is a byte offset.
 *
 * It walks tokens, not characters: strings are skipped by a native search for the closing quote, which makes the walk
 * several times faster than the parse. It is not fooled by braces or `params` inside strings, by escapes in keys, or by
 * a key that stands twice; and it never recurses, so no line can exhaust the stack, which is why it runs before the
 * parse. On text that is no JSON it finds something or nothing, but it always ends; the parse then says what is wrong.
 */
import { fault, quoted } from './faults.ts';
import type { Fault } from './faults.ts';

export const nestingMax = 64;
/** Object keys that mean something else in JavaScript. `__proto__` is refused everywhere; the other two are ordinary
 *  property names in a tool's schema, so they are refused only outside `params`. */
const forbiddenKeys = new Set(['__proto__', 'constructor', 'prototype']);

/** One `key: value` of the line's own object. Offsets in bytes; the end is exclusive. */
export interface Member {
  readonly key: string;
  readonly keyAt: number;
  readonly start: number;
  readonly end: number;
}

export type LineScan =
  | { readonly kind: 'members'; readonly members: readonly Member[] }
  | { readonly kind: 'fault'; readonly fault: Fault };

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;

/** Above this many keys an object's keys are remembered in a set instead of a list. */
const listedKeysMax = 16;

interface OpenMember {
  key: string;
  keyAt: number;
  start: number;
  end: number;
}

/** Scans one line. The members are right if the line is JSON; otherwise they must not be used. */
export function scanLine(text: string): LineScan {
  const members: OpenMember[] = [];
  // Keys of the open objects, by depth; what stands deeper than the current depth is of objects that were closed.
  const keys: (string[] | Set<string>)[] = [];
  let depth = 0;
  let open: OpenMember | undefined;
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      const end = endOfString(text, at);
      if (end < 0) break;
      const next = skipSpace(text, end);
      if (depth === 0 || text.charCodeAt(next) !== colon) {
        at = end;
        continue;
      }
      const key = decodeKey(text.slice(at + 1, end - 1));
      const isInParams = depth > 1 && open !== undefined && open.key === 'params';
      const found = checkKey(key, at, keys, depth, isInParams);
      if (found) return { kind: 'fault', fault: found };
      if (depth === 1) open = { key, keyAt: at, start: skipSpace(text, next + 1), end: 0 };
      at = next + 1;
      continue;
    }
    if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > nestingMax) return { kind: 'fault', fault: fault('nesting_too_deep', `nested more than ${nestingMax} deep`, at) };
      keys[depth] = [];
    } else if (code === 0x7d || code === 0x5d || (code === comma && depth === 1)) {
      if (depth === 1 && open !== undefined) {
        open.end = endOfValue(text, open.start, at);
        members.push(open);
        open = undefined;
      }
      if (code !== comma) depth -= 1;
    }
    at += 1;
  }
  return { kind: 'members', members };
}

/** Judges one key of the object that is open at `depth`, and remembers it. */
function checkKey(key: string, at: number, keys: (string[] | Set<string>)[], depth: number, isInParams: boolean): Fault | undefined {
  if (forbiddenKeys.has(key) && (key === '__proto__' || !isInParams)) {
    return fault('key_forbidden', `the key ${quoted(key)} is not allowed`, at);
  }
  const known = keys[depth];
  if (known === undefined) return undefined;
  if (Array.isArray(known) ? known.includes(key) : known.has(key)) {
    return fault('key_duplicate', `the key ${quoted(fromLatin1(key))} stands twice in one object`, at);
  }
  if (!Array.isArray(known)) known.add(key);
  else if (known.length < listedKeysMax) known.push(key);
  else keys[depth] = new Set([...known, key]);
  return undefined;
}

/** Index after the closing quote of the string that opens at `at`, or -1. */
function endOfString(text: string, at: number): number {
  let end = at;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end < 0) return -1;
    let before = end - 1;
    while (text.charCodeAt(before) === backslash) before -= 1;
    // An even number of backslashes escape one another; an odd number escape the quote.
    if (((end - before) & 1) === 1) return end + 1;
  }
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (isSpace(text.charCodeAt(at))) at += 1;
  return at;
}

function endOfValue(text: string, start: number, from: number): number {
  let at = from;
  while (at > start && isSpace(text.charCodeAt(at - 1))) at -= 1;
  return at;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0d || code === 0x0a;
}

/** A key's escapes written out, so that `par\u0061ms` is seen as `params`. */
function decodeKey(raw: string): string {
  if (!raw.includes('\\')) return raw;
  try {
    return String(JSON.parse(`"${raw}"`));
  } catch {
    return raw;
  }
}

/** Reads UTF-8 that was taken for latin1. Text that is no such reading comes back with replacement characters. */
export function fromLatin1(text: string): string {
  return Buffer.from(text, 'latin1').toString('utf8');
}
