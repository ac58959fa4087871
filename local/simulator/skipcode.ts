import * as wasm from './assembly.ts';
import { bytes, get, i32, long, set, tee, type AssembledFunction, type Code } from './assembly.ts';

/**
 * `skip(from, to)`: the first byte of a JSON string at or after `from` that needs a closer look. That is the closing quote, a control
 * character, and the backslash of a unicode escape, of a wrong one, or of one that is cut at `to`; `to` if there is none.
 *
 * Sixty-four bytes at a time become bits of a long: which are backslashes, and which end something. With its second bit turned over, the
 * quote (0x22) is 0x20 and control characters stay below, so one comparison finds both. Which bytes are escaped follows from the backslashes
 * by a subtraction: its borrow runs through a row of backslashes and arrives at the byte behind it if the row is odd (Langdale and Lemire,
 * "Parsing gigabytes of JSON per second", 2019, section 3.1.1, in its later, shorter form). What is escaped must be one of the eight plain
 * letters, looked up by the two halves of a byte. Nothing here branches on where escapes are, which no processor could foresee. The last
 * bytes go one by one.
 */

/** Where the module keeps its tables: for each byte 1 if it is a plain escape letter, and 1 if it is special in a string. */
export const LETTERS_AT = 0;
export const SPECIALS_AT = 256;

const BLOCK = 64;
const BACKSLASH = 0x5c;
/** Letters that may follow a backslash and mean one character by themselves. */
export const PLAIN_LETTERS = '"\\/bfnrt';

const FROM = 0;
const TO = 1;
const ENDS = 2;
const BACKSLASHES = 3;
const ESCAPED = 4;
/** 1 when the first byte of the block is escaped by the last of the one before. */
const CARRY = 5;
const NEXT_CARRY = 6;
const WRONG = 7;
const VECTORS = [8, 9, 10, 11] as const;
const TURN = 12;
const HIGHEST = 13;
const SLASH = 14;
const LOW_HALVES = 15;
const HIGH_HALVES = 16;
const NIBBLE = 17;

/** Bit n of a high half that occurs, under each low half with which it makes a letter: they share a bit if the byte is a letter. */
function halves(): { readonly low: readonly number[]; readonly high: readonly number[] } {
  const low = new Array<number>(16).fill(0);
  const high = new Array<number>(16).fill(0);
  const rows = [...new Set([...PLAIN_LETTERS].map((letter) => letter.charCodeAt(0) >> 4))];
  for (const letter of PLAIN_LETTERS) {
    const code = letter.charCodeAt(0);
    const bit = 1 << rows.indexOf(code >> 4);
    low[code & 15] = (low[code & 15] ?? 0) | bit;
    high[code >> 4] = bit;
  }
  return { low, high };
}

const HALVES = halves();
const ODD = long.of(BigInt.asIntN(64, 0xaaaaaaaaaaaaaaaan));
const advance = (count: number): Code => [...get(FROM), ...i32(count), ...wasm.add, ...set(FROM)];

/** A long of one bit per byte of the block, from a test of sixteen. */
const maskOf = (test: (vector: number) => Code): Code =>
  VECTORS.flatMap((vector, index) => [
    ...[...test(vector), ...bytes.mask, ...long.widen],
    ...(index === 0 ? [] : [...long.of(BigInt(16 * index)), ...long.shiftLeft, ...long.or]),
  ]);

const isEnd = (vector: number): Code => [...get(vector), ...get(TURN), ...bytes.exclusiveOr, ...get(HIGHEST), ...bytes.areAtMost];
const isBackslash = (vector: number): Code => [...get(vector), ...get(SLASH), ...bytes.areEqual];
const isNoLetter = (vector: number): Code => [
  ...[...get(LOW_HALVES), ...get(vector), ...get(NIBBLE), ...bytes.and, ...bytes.lookUp],
  ...[...get(HIGH_HALVES), ...get(vector), ...i32(4), ...bytes.shiftPairsRight, ...get(NIBBLE), ...bytes.and, ...bytes.lookUp],
  ...[...bytes.and, ...bytes.all(0), ...bytes.areEqual],
];

/** ESCAPED and NEXT_CARRY from BACKSLASHES and CARRY. A byte that is escaped starts no escape, which is why it leaves the row first. */
const findEscaped: Code = [
  ...[...get(BACKSLASHES), ...get(CARRY), ...long.of(-1n), ...long.exclusiveOr, ...long.and, ...tee(ESCAPED)],
  ...[...long.of(1n), ...long.shiftLeft, ...ODD, ...long.or, ...get(ESCAPED), ...long.subtract, ...ODD, ...long.exclusiveOr, ...tee(ESCAPED)],
  ...[...get(BACKSLASHES), ...long.and, ...long.of(63n), ...long.shiftRight, ...set(NEXT_CARRY)],
  ...[...get(ESCAPED), ...get(BACKSLASHES), ...get(CARRY), ...long.or, ...long.exclusiveOr, ...set(ESCAPED)],
];

/** Gives back where ENDS or WRONG has its first bit; what is wrong is told by its backslash, one byte earlier. */
const tell: Code = [
  ...[...get(FROM), ...get(ENDS), ...get(WRONG), ...long.or, ...long.trailingZeros, ...tee(ESCAPED), ...long.narrow, ...wasm.add],
  ...[...get(WRONG), ...get(ESCAPED), ...long.shiftRight, ...long.of(1n), ...long.and, ...long.narrow, ...wasm.subtract, ...wasm.giveBack],
];

const blocks: Code = wasm.blockLoop([
  ...[...get(FROM), ...i32(BLOCK), ...wasm.add, ...get(TO), ...wasm.isAbove, ...wasm.branchIf(1)],
  ...VECTORS.flatMap((vector, index) => [...get(FROM), ...bytes.load(16 * index), ...set(vector)]),
  ...[...maskOf(isEnd), ...set(ENDS), ...maskOf(isBackslash), ...set(BACKSLASHES)],
  ...wasm.either(
    [...get(BACKSLASHES), ...get(CARRY), ...long.or, ...long.isZero],
    [...long.of(0n), ...set(WRONG)],
    [
      ...findEscaped,
      ...[...maskOf(isNoLetter), ...get(ESCAPED), ...long.and, ...set(WRONG)],
      ...[...get(ENDS), ...get(ESCAPED), ...long.of(-1n), ...long.exclusiveOr, ...long.and, ...set(ENDS), ...get(NEXT_CARRY), ...set(CARRY)],
    ],
  ),
  ...wasm.when([...get(ENDS), ...get(WRONG), ...long.or, ...long.isZero], [...advance(BLOCK), ...wasm.branch(1)]),
  ...tell,
]);

/** FROM is at a special byte: gives back anything but a plain escape, and passes over that. */
const passEscape: Code = [
  ...wasm.when([...get(FROM), ...wasm.load8(0), ...i32(BACKSLASH), ...wasm.isNotEqual], [...get(FROM), ...wasm.giveBack]),
  ...wasm.when([...get(FROM), ...i32(1), ...wasm.add, ...get(TO), ...wasm.isAtLeast], [...get(FROM), ...wasm.giveBack]),
  ...wasm.when([...get(FROM), ...wasm.load8(1), ...wasm.load8(LETTERS_AT), ...wasm.isZero], [...get(FROM), ...wasm.giveBack]),
  ...[...advance(2), ...wasm.branch(0)],
];

export const SKIP: AssembledFunction = {
  name: 'skip',
  locals: [...new Array<number>(6).fill(wasm.I64), ...new Array<number>(10).fill(wasm.V128)],
  body: [
    ...[...bytes.all(0x02), ...set(TURN), ...bytes.all(0x20), ...set(HIGHEST), ...bytes.all(BACKSLASH), ...set(SLASH)],
    ...[...bytes.of(HALVES.low), ...set(LOW_HALVES), ...bytes.of(HALVES.high), ...set(HIGH_HALVES), ...bytes.all(15), ...set(NIBBLE)],
    ...blocks,
    // An escape that is cut between a block and the rest is looked at again from its backslash.
    ...[...get(FROM), ...get(CARRY), ...long.narrow, ...wasm.subtract, ...set(FROM)],
    ...wasm.blockLoop([
      ...[...get(FROM), ...get(TO), ...wasm.isAtLeast, ...wasm.branchIf(1)],
      ...wasm.when([...get(FROM), ...wasm.load8(0), ...wasm.load8(SPECIALS_AT), ...wasm.isZero], [...advance(1), ...wasm.branch(1)]),
      ...passEscape,
    ]),
    ...get(FROM),
  ],
};
