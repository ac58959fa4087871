/**
 * The WebAssembly instructions that the scanner's two functions are written in, by their names in the standard (WebAssembly 2.0, section 5.4),
 * and the module around them. Each gives its bytes, so that a function is a list of instructions and needs no compiler; operands come before
 * the instruction that takes them, as in the text form.
 */

/** Bytes of a part of a function. */
export type Code = readonly number[];

/** Types of locals. */
export const I32 = 0x7f;
export const I64 = 0x7e;
export const V128 = 0x7b;

export const get = (local: number): Code => [0x20, local];
export const set = (local: number): Code => [0x21, local];
export const tee = (local: number): Code => [0x22, local];
export const call = (index: number): Code => [0x10, index];
/** Takes two values and a condition: the first value if the condition holds. */
export const select: Code = [0x1b];
export const giveBack: Code = [0x0f];

export const when = (condition: Code, then: Code): Code => [...condition, 0x04, 0x40, ...then, 0x0b];
export const either = (condition: Code, then: Code, otherwise: Code): Code => [...condition, 0x04, 0x40, ...then, 0x05, ...otherwise, 0x0b];
/** A loop inside a block: `branch(0)` begins it anew, `branch(1)` leaves it, and so does its end. Each `when` around adds one. */
export const blockLoop = (body: Code): Code => [0x02, 0x40, 0x03, 0x40, ...body, 0x0b, 0x0b];
/** Leaves or repeats the construct so many outside of the innermost. */
export const branch = (depth: number): Code => [0x0c, depth];
export const branchIf = (depth: number): Code => [0x0d, depth];

export const i32 = (value: number): Code => [0x41, ...signed(BigInt(value))];
export const isZero: Code = [0x45];
export const isEqual: Code = [0x46];
export const isNotEqual: Code = [0x47];
export const isBelow: Code = [0x49];
export const isAbove: Code = [0x4b];
export const isAtMost: Code = [0x4d];
export const isAtLeast: Code = [0x4f];
export const trailingZeros: Code = [0x68];
export const add: Code = [0x6a];
export const subtract: Code = [0x6b];
export const and: Code = [0x71];
export const or: Code = [0x72];
/** Loads and stores take an address and add a fixed offset to it. */
export const load8 = (offset: number): Code => [0x2d, 0, ...unsigned(offset)];
export const load32 = (offset: number): Code => [0x28, 2, ...unsigned(offset)];
export const store8 = (offset: number): Code => [0x3a, 0, ...unsigned(offset)];
export const store32 = (offset: number): Code => [0x36, 2, ...unsigned(offset)];

/** The same on 64 bits. */
export const long = {
  of: (value: bigint): Code => [0x42, ...signed(value)],
  isZero: [0x50],
  trailingZeros: [0x7a],
  subtract: [0x7d],
  and: [0x83],
  or: [0x84],
  exclusiveOr: [0x85],
  shiftLeft: [0x86],
  shiftRight: [0x88],
  widen: [0xad],
  narrow: [0xa7],
} as const satisfies Record<string, Code | ((value: bigint) => Code)>;

/** Sixteen bytes at a time. */
export const bytes = {
  load: (offset: number): Code => [0xfd, 0x00, 0, ...unsigned(offset)],
  of: (values: readonly number[]): Code => [0xfd, 0x0c, ...values],
  all: (value: number): Code => [...i32(value), 0xfd, 0x0f],
  /** Takes a table and indexes; an index above 15 gives 0. */
  lookUp: [0xfd, 0x0e],
  areEqual: [0xfd, 0x23],
  areAtMost: [0xfd, 0x2a],
  and: [0xfd, 0x4e],
  or: [0xfd, 0x50],
  exclusiveOr: [0xfd, 0x51],
  /** The highest bit of every byte, the first byte lowest. */
  mask: [0xfd, 0x64],
  /** Shifts lanes of two bytes each. */
  shiftPairsRight: [0xfd, 0x8d, 0x01],
} as const satisfies Record<string, Code | ((value: number) => Code) | ((values: readonly number[]) => Code)>;

/** A function of two i32 that gives back an i32. Its parameters are the locals 0 and 1, `locals` follow. */
export interface AssembledFunction {
  readonly name: string;
  readonly locals: Code;
  readonly body: Code;
}

/** The bytes of a module of `functions`, which call each other by their place in the list, over `pages` of 64 KB that it exports as `memory`. */
export function assemble(functions: readonly AssembledFunction[], pages: number): Uint8Array {
  const each = <Item>(items: readonly Item[], code: (item: Item, index: number) => Code): Code => [items.length, ...items.flatMap(code)];
  const sized = (code: Code): Code => [...unsigned(code.length), ...code];
  const section = (id: number, content: Code): Code => [id, ...sized(content)];
  const name = (text: string): Code => sized([...Buffer.from(text)]);
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 2, I32, I32, 1, I32]),
    ...section(3, each(functions, () => [0])),
    ...section(5, [1, 0, pages]),
    ...section(7, [functions.length + 1, ...name('memory'), 2, 0, ...functions.flatMap((one, index) => [...name(one.name), 0, index])]),
    ...section(10, each(functions, ({ locals, body }) => sized([...each(locals, (type) => [1, type]), ...body, 0x0b]))),
  ]);
}

/** LEB128, as the format writes its numbers. */
function unsigned(value: number): Code {
  return value < 128 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: bigint): Code {
  const low = Number(value & 0x7fn);
  const rest = value >> 7n;
  const isLast = (rest === 0n && low < 64) || (rest === -1n && low >= 64);
  return isLast ? [low] : [low | 0x80, ...signed(rest)];
}
