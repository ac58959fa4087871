/**
 * Finds the end of a plain stretch of a JSON string, sixteen bytes at a time. Checking 256 MB byte by byte in JavaScript takes longer than
 * receiving them; this takes a fraction. The function is thirty WebAssembly instructions, assembled below:
 *
 *   skip(from, to): while sixteen bytes are left, look for control characters, quotes and backslashes in all of them; the first hit is the
 *   lowest bit of the mask. With its second bit turned over, the quote (0x22) is 0x20 and control characters stay below, so one comparison
 *   finds both. A backslash before a plain escape letter is passed over, anything else is returned. The last bytes go one by one through the
 *   tables, the same way.
 *
 * Memory: bytes 0-255 tell the plain escape letters, 256-511 the special bytes, the text begins at 512.
 */

/** Most bytes that one `load` takes. */
export const SCAN_WINDOW = 131_072;

const TEXT_AT = 512;
const SPECIAL_AT = 256;

/** Instructions by their WebAssembly names; the locals behind the parameters: an i32, and v128 of which three are constants. */
const FROM = 0;
const TO = 1;
const SCRATCH = 2;
const VECTOR = 3;
const TURN = 4;
const HIGHEST = 5;
const BACKSLASHES = 6;
const get = (local: number): number[] => [0x20, local];
const set = (local: number): number[] => [0x21, local];
const tee = (local: number): number[] => [0x22, local];
const i32 = (value: number): number[] => (value < 64 ? [0x41, value] : [0x41, (value & 0x7f) | 0x80, value >> 7]);
const add = [0x6a];
const load8 = (offset: number): number[] => [0x2d, 0, (offset & 0x7f) | 0x80, offset >> 7];
const when = (condition: readonly number[], then: readonly number[]): number[] => [...condition, 0x04, 0x40, ...then, 0x0b];
const blockLoop = (body: readonly number[]): number[] => [0x02, 0x40, 0x03, 0x40, ...body, 0x0b, 0x0b];
const branch = (depth: number): number[] => [0x0c, depth];
const branchIf = (depth: number): number[] => [0x0d, depth];
const isZero = [0x45];
const isNotEqual = [0x47];
const isAbove = [0x4b];
const isAtLeast = [0x4f];
const trailingZeros = [0x68];
const giveBack = [...get(FROM), 0x0f];
const splat = (value: number): number[] => [...i32(value), 0xfd, 0x0f];
const loadVector = [0xfd, 0x00, 0, 0];
const lanesUpTo = [0xfd, 0x2a];
const exclusiveOr = [0xfd, 0x51];
const lanesEqual = [0xfd, 0x23];
const or = [0xfd, 0x50];
const bitmask = [0xfd, 0x64];
const advance = (bytes: number): number[] => [...get(FROM), ...i32(bytes), ...add, ...set(FROM)];

const BACKSLASH = 0x5c;

/** FROM is at a special byte: gives back anything but a plain escape, and passes over that. */
const passEscape = [
  ...when([...get(FROM), ...load8(0), ...i32(BACKSLASH), ...isNotEqual], giveBack),
  ...when([...get(FROM), ...i32(1), ...add, ...get(TO), ...isAtLeast], giveBack),
  ...when([...get(FROM), ...load8(1), ...load8(0), ...isZero], giveBack),
  ...advance(2),
  ...branch(0),
];

const BODY = [
  ...[2, 1, 0x7f, 4, 0x7b],
  ...[...splat(0x02), ...set(TURN), ...splat(0x20), ...set(HIGHEST), ...splat(BACKSLASH), ...set(BACKSLASHES)],
  ...blockLoop([
    ...[...get(FROM), ...i32(16), ...add, ...get(TO), ...isAbove, ...branchIf(1)],
    ...[...get(FROM), ...loadVector, ...tee(VECTOR), ...get(TURN), ...exclusiveOr, ...get(HIGHEST), ...lanesUpTo],
    ...[...get(VECTOR), ...get(BACKSLASHES), ...lanesEqual, ...or, ...bitmask, ...tee(SCRATCH)],
    ...when(isZero, [...advance(16), ...branch(1)]),
    ...[...get(FROM), ...get(SCRATCH), ...trailingZeros, ...add, ...set(FROM)],
    ...passEscape,
  ]),
  ...blockLoop([
    ...[...get(FROM), ...get(TO), ...isAtLeast, ...branchIf(1)],
    ...when([...get(FROM), ...load8(0), ...load8(SPECIAL_AT), ...isZero], [...advance(1), ...branch(1)]),
    ...passEscape,
  ]),
  ...get(FROM),
  0x0b,
];

/** What is used of the global WebAssembly object. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: { readonly memory?: { readonly buffer: ArrayBuffer }; readonly skip?: Skip } };
};

type Skip = (from: number, to: number) => number;

const section = (id: number, content: readonly number[]): number[] => [id, ...length(content.length), ...content];
const length = (value: number): number[] => (value < 128 ? [value] : [(value & 0x7f) | 0x80, value >> 7]);
const text = (value: string): number[] => [value.length, ...Buffer.from(value)];

const MODULE = new WebAssembly.Module(
  Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 3]),
    ...section(7, [2, ...text('memory'), 2, 0, ...text('skip'), 0, 0]),
    ...section(10, [1, ...length(BODY.length), ...BODY]),
  ]),
);

/** The function and its memory. Scanners share one, because each loads its bytes anew before it asks. */
export class PlainScan {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #skip: Skip;
  #end = TEXT_AT;

  constructor() {
    const { memory, skip } = new WebAssembly.Instance(MODULE).exports;
    if (memory === undefined || skip === undefined) {
      throw new Error('The JSON scanner could not be assembled. This is a defect of the simulator.');
    }
    this.#bytes = new Uint8Array(memory.buffer);
    this.#skip = skip;
    for (const letter of '"\\/bfnrt') {
      this.#bytes[letter.charCodeAt(0)] = 1;
    }
    this.#bytes.fill(1, SPECIAL_AT, SPECIAL_AT + 0x20);
    this.#bytes[SPECIAL_AT + 0x22] = 1;
    this.#bytes[SPECIAL_AT + BACKSLASH] = 1;
  }

  /** Where bytes can be put that are to be scanned next, so that `load` need not copy them. `SCAN_WINDOW` long. */
  window(): Buffer {
    return Buffer.from(this.#bytes.buffer, TEXT_AT, SCAN_WINDOW);
  }

  /** Takes in the bytes that the next calls of `next` are about; at most `SCAN_WINDOW` of them. */
  load(chunk: Uint8Array): void {
    if (chunk.buffer !== this.#bytes.buffer || chunk.byteOffset !== TEXT_AT) {
      this.#bytes.set(chunk, TEXT_AT);
    }
    this.#end = TEXT_AT + chunk.length;
  }

  /**
   * The first index at or after `from` that needs a closer look: the closing quote, a control character, a unicode escape, a wrong escape,
   * or an escape that the end of the bytes cuts; the number of bytes if there is none.
   */
  next(from: number): number {
    return this.#skip(from + TEXT_AT, this.#end) - TEXT_AT;
  }
}
