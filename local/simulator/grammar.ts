/**
 * What may come where in JSON, outside of its strings, numbers and words.
 *
 * A body has about 130 such bytes per request, 13 million in a full batch, so the grammar is compiled into one table of bytes: the place
 * where the reader is and the class of the next byte give either the place it is in then, or an act that `scanner.ts` has to do.
 */

type Place = 'value' | 'first_value' | 'key' | 'first_key' | 'colon' | 'after_member' | 'after_item' | 'done';
type Act = 'count_line' | 'begin_key' | 'begin_string' | 'open_object' | 'open_array' | 'close' | 'begin_primitive' | 'fault';

const SIGNS = ['\n', ' ', '"', '{', '}', '[', ']', ':', ','] as const;
type Sign = (typeof SIGNS)[number] | 'other';

/** A space leaves everything as it is, a line break is counted, and what is not listed is a fault. */
const GRAMMAR: Readonly<Record<Place, { readonly [sign in Sign]?: Place | Act }>> = {
  value: { '"': 'begin_string', '{': 'open_object', '[': 'open_array', other: 'begin_primitive' },
  first_value: { '"': 'begin_string', '{': 'open_object', '[': 'open_array', other: 'begin_primitive', ']': 'close' },
  key: { '"': 'begin_key' },
  first_key: { '"': 'begin_key', '}': 'close' },
  colon: { ':': 'value' },
  after_member: { ',': 'key', '}': 'close' },
  after_item: { ',': 'value', ']': 'close' },
  done: {},
};

/** Places by number: their row in the table. */
export const PLACE = { value: 0, first_value: 16, key: 32, first_key: 48, colon: 64, after_member: 80, after_item: 96, done: 112 } as const;

/** Acts by number; every smaller number is a place. */
export const FIRST_ACT = 128;
export const ACT = { count_line: 128, begin_key: 129, begin_string: 130, open_object: 131, open_array: 132, close: 133, begin_primitive: 134, fault: 135 } as const;

/** The class of each byte: 0 for other, else its place in `SIGNS` and one. */
export const CLASSES = new Uint8Array(256);
for (const [index, sign] of SIGNS.entries()) {
  CLASSES[sign.charCodeAt(0)] = index + 1;
}
for (const blank of '\r\t') {
  CLASSES[blank.charCodeAt(0)] = SIGNS.indexOf(' ') + 1;
}

/** Index: a place plus a class. Value: the next place, or an act. */
export const MOVES = new Uint8Array(FIRST_ACT).fill(ACT.fault);
for (const [name, place] of Object.entries(PLACE) as [Place, number][]) {
  const row = GRAMMAR[name];
  MOVES.fill(numberOf(row.other ?? 'fault'), place, place + SIGNS.length + 1);
  for (const [index, sign] of SIGNS.entries()) {
    const move = sign === '\n' ? 'count_line' : sign === ' ' ? name : row[sign];
    if (move !== undefined) {
      MOVES[place + index + 1] = numberOf(move);
    }
  }
}

function numberOf(move: Place | Act): number {
  return { ...PLACE, ...ACT }[move];
}
