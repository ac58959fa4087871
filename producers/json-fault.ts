/**
 * Where a text stops being JSON, and what should stand there. The engine's own message is not used: it quotes the text,
 * which is somebody's prompt, and its wording and positions change between versions. This runs only on lines that the
 * parser has refused. It does not recurse.
 */

/** `at` is an index into the text; `expected` completes "expected …". */
export interface JsonFault {
  readonly at: number;
  readonly expected: string;
}

const scalar = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const escape = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

type Container = 'object' | 'array';
type State = 'value' | 'first value' | 'key' | 'first key' | 'colon' | 'after';

/** A text that is nested deeper has another fault, and following it down would cost more memory than the text itself. */
const depthMax = 1_000;

/** Finds the first fault of a text, or undefined when it is JSON or is nested too deep to tell. */
export function findJsonFault(text: string): JsonFault | undefined {
  const open: Container[] = [];
  let state: State = 'value';
  let at = 0;
  for (;;) {
    while (text[at] === ' ' || text[at] === '\t' || text[at] === '\r' || text[at] === '\n') at += 1;
    const char = text[at];
    const inside = open.at(-1);
    if (state === 'after') {
      if (inside === undefined) return char === undefined ? undefined : { at, expected: 'the end of the line' };
      if (char === ',') state = inside === 'object' ? 'key' : 'value';
      else if (char === (inside === 'object' ? '}' : ']')) open.pop();
      else return { at, expected: inside === 'object' ? "',' or '}'" : "',' or ']'" };
      at += 1;
    } else if (state === 'colon') {
      if (char !== ':') return { at, expected: "':'" };
      state = 'value';
      at += 1;
    } else if (state === 'key' || state === 'first key') {
      if (char === '}' && state === 'first key') {
        open.pop();
        state = 'after';
        at += 1;
        continue;
      }
      if (char !== '"') return { at, expected: state === 'key' ? 'a key in double quotes' : "a key in double quotes or '}'" };
      const string = readString(text, at);
      if (string.fault) return string.fault;
      state = 'colon';
      at = string.end;
    } else if (char === '{' || char === '[') {
      open.push(char === '{' ? 'object' : 'array');
      if (open.length > depthMax) return undefined;
      state = char === '{' ? 'first key' : 'first value';
      at += 1;
    } else if (char === ']' && state === 'first value') {
      open.pop();
      state = 'after';
      at += 1;
    } else if (char === '"') {
      const string = readString(text, at);
      if (string.fault) return string.fault;
      state = 'after';
      at = string.end;
    } else {
      const end = matchEnd(scalar, text, at);
      if (end === undefined) return { at, expected: 'a value' };
      state = 'after';
      at = end;
    }
  }
}

/** Reads a string character by character: a pattern that repeats over megabytes would exhaust the engine's stack. */
function readString(text: string, from: number): { readonly end: number; readonly fault: JsonFault | undefined } {
  let at = from + 1;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === 0x22) return { end: at + 1, fault: undefined };
    if (code < 0x20) return { end: at, fault: { at, expected: 'no control character in a string' } };
    if (code !== 0x5c) {
      at += 1;
      continue;
    }
    const end = matchEnd(escape, text, at);
    if (end === undefined) return { end: at, fault: { at, expected: 'a valid escape' } };
    at = end;
  }
  return { end: at, fault: { at, expected: 'the closing quote of a string' } };
}

function matchEnd(pattern: RegExp, text: string, at: number): number | undefined {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}
