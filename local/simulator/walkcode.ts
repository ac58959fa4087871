import * as wasm from './assembly.ts';
import { bytes, get, i32, set, tee, type AssembledFunction, type Code } from './assembly.ts';
import { ACT, CLASSES, FIRST_ACT, PLACE } from './grammar.ts';

/**
 * `walk(from, to)`: goes on through JSON that nobody listens to, by the table of `grammar.ts`, and gives back the first byte that it leaves
 * to the scanner: a line break, the bracket that leads back to where somebody listens, a word, a number that is not a plain whole one, a
 * container too deep, a fault, or the byte at which a string needs a closer look (`skipcode.ts`).
 *
 * Place, depth and open containers are in memory, where the scanner puts them before and finds them after.
 */

export const MOVES_AT = 512;
export const CLASSES_AT = 640;
/** One byte per open container, outermost first: 1 for an object. */
export const OPEN_AT = 896;
export const DEPTH_LIMIT = 512;
export const PLACE_AT = 1_408;
export const DEPTH_AT = 1_412;
/** Why the walk ended: 0 between tokens, 1 inside a key, 2 inside another string. */
export const INSIDE_AT = 1_416;

/** Containers up to this depth are listened to, so their brackets are left to the scanner. */
export const LISTENED_DEPTH = 3;
/** Index of `skip` in the module. */
const SKIP_INDEX = 0;
const classOf = (sign: string): number => CLASSES[sign.charCodeAt(0)] ?? 0;
/** Longest whole number that is passed over here, digits. */
const DIGITS_MAX = 18;
const QUOTE = 0x22;

const FROM = 0;
const TO = 1;
const AT = 2;
const DEPTH = 3;
const MOVE = 4;
const END = 5;
const VECTOR = 6;

/** In a `when` of the loop. */
const goOn = wasm.branch(1);
const moveOn = (to: Code): Code => [...to, ...set(FROM)];
const next: Code = [...get(FROM), ...i32(1), ...wasm.add];
const addTo = (local: number, amount: number): Code => [...get(local), ...i32(amount), ...wasm.add, ...set(local)];
const isMove = (move: number): Code => [...get(MOVE), ...i32(move), ...wasm.isEqual];
/** The place behind a value that has ended in the innermost container. */
const placeAfter: Code = [...i32(PLACE.after_member), ...i32(PLACE.after_item), ...get(DEPTH), ...wasm.load8(OPEN_AT - 1), ...wasm.select];

/** Keys and names end within sixteen bytes as a rule: one look finds their quote, or what else there is, without a call. */
const lookNear: Code = [
  ...[...get(FROM), ...bytes.load(1), ...tee(VECTOR), ...bytes.all(0x02), ...bytes.exclusiveOr, ...bytes.all(0x20), ...bytes.areAtMost],
  ...[...get(VECTOR), ...bytes.all(0x5c), ...bytes.areEqual, ...bytes.or, ...bytes.mask, ...i32(0x1_0000), ...wasm.or, ...wasm.trailingZeros],
  ...[...next, ...wasm.add, ...set(END)],
];
const isAtQuote: Code = [
  ...[...get(END), ...get(TO), ...wasm.isBelow],
  ...[...get(END), ...wasm.load8(0), ...i32(QUOTE), ...wasm.isEqual, ...wasm.and],
];

const passString: Code = [
  ...lookNear,
  ...wasm.when([...isAtQuote, ...wasm.isZero], [...next, ...get(TO), ...wasm.call(SKIP_INDEX), ...set(END)]),
  ...wasm.when(
    [...isAtQuote, ...wasm.isZero],
    [...i32(0), ...get(MOVE), ...i32(ACT.begin_key - 1), ...wasm.subtract, ...wasm.store32(INSIDE_AT), ...moveOn(get(END)), ...wasm.branch(3)],
  ),
  ...moveOn([...get(END), ...i32(1), ...wasm.add]),
  ...[...i32(PLACE.colon), ...placeAfter, ...isMove(ACT.begin_key), ...wasm.select, ...set(AT), ...goOn],
];

const openContainer: Code = [
  ...wasm.when([...get(DEPTH), ...i32(DEPTH_LIMIT), ...wasm.isAtLeast], wasm.branch(3)),
  ...[...get(DEPTH), ...isMove(ACT.open_object), ...wasm.store8(OPEN_AT), ...addTo(DEPTH, 1)],
  ...[...i32(PLACE.first_key), ...i32(PLACE.first_value), ...isMove(ACT.open_object), ...wasm.select, ...set(AT), ...moveOn(next), ...goOn],
];

const closeContainer: Code = [
  ...wasm.when([...get(DEPTH), ...i32(LISTENED_DEPTH + 1), ...wasm.isAtMost], wasm.branch(3)),
  ...[...addTo(DEPTH, -1), ...placeAfter, ...set(AT), ...moveOn(next), ...goOn],
];

const byteAt = (local: number): Code => [...get(local), ...wasm.load8(0)];
const isDigit = (from: string): Code => [...i32(from.charCodeAt(0)), ...wasm.subtract, ...i32(0x3a - from.charCodeAt(0)), ...wasm.isBelow];
/** A whole number without sign, up to a comma or bracket. Whatever else a number or word looks like is the scanner's. */
const passNumber: Code = [
  ...wasm.when([...byteAt(FROM), ...isDigit('1'), ...wasm.isZero], wasm.branch(3)),
  ...[...get(FROM), ...set(END)],
  ...wasm.blockLoop([...addTo(END, 1), ...get(END), ...get(TO), ...wasm.isAtLeast, ...wasm.branchIf(1), ...byteAt(END), ...isDigit('0'), ...wasm.branchIf(0)]),
  ...wasm.when([...get(END), ...get(FROM), ...wasm.subtract, ...i32(DIGITS_MAX), ...wasm.isAbove, ...get(END), ...get(TO), ...wasm.isAtLeast, ...wasm.or], wasm.branch(3)),
  ...[...byteAt(END), ...wasm.load8(CLASSES_AT), ...set(MOVE)],
  ...wasm.when([...isMove(classOf(',')), ...isMove(classOf('}')), ...wasm.or, ...isMove(classOf(']')), ...wasm.or, ...wasm.isZero], wasm.branch(3)),
  ...[...moveOn(get(END)), ...placeAfter, ...set(AT), ...goOn],
];

export const WALK: AssembledFunction = {
  name: 'walk',
  locals: [...new Array<number>(4).fill(wasm.I32), wasm.V128],
  body: [
    ...[...i32(0), ...wasm.load32(PLACE_AT), ...set(AT), ...i32(0), ...wasm.load32(DEPTH_AT), ...set(DEPTH)],
    ...[...i32(0), ...i32(0), ...wasm.store32(INSIDE_AT)],
    ...wasm.blockLoop([
      ...[...get(FROM), ...get(TO), ...wasm.isAtLeast, ...wasm.branchIf(1)],
      ...[...get(AT), ...byteAt(FROM), ...wasm.load8(CLASSES_AT), ...wasm.add, ...wasm.load8(MOVES_AT), ...set(MOVE)],
      ...wasm.when([...get(MOVE), ...i32(FIRST_ACT), ...wasm.isBelow], [...get(MOVE), ...set(AT), ...moveOn(next), ...goOn]),
      ...wasm.when([...isMove(ACT.begin_key), ...isMove(ACT.begin_string), ...wasm.or], passString),
      ...wasm.when([...isMove(ACT.open_object), ...isMove(ACT.open_array), ...wasm.or], openContainer),
      ...wasm.when(isMove(ACT.close), closeContainer),
      ...wasm.when(isMove(ACT.begin_primitive), passNumber),
    ]),
    ...[...i32(0), ...get(AT), ...wasm.store32(PLACE_AT), ...i32(0), ...get(DEPTH), ...wasm.store32(DEPTH_AT), ...get(FROM)],
  ],
};
