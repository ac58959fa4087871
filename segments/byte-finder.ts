/**
 * Finds the next byte of a set in a text, sixteen bytes at a time. A loop in JavaScript looks at four, and in ordinary
 * prompts that walk was a third of what judging them cost.
 *
 * The loop is a WebAssembly function of some thirty instructions, spelled out below: nothing else in the runtime compares
 * sixteen bytes at once, and a compiler for so little would be one more thing to install. A byte is in the set when the row
 * of its low half and the row of its high half share a bit (Langdale and Lemire, "Parsing Gigabytes of JSON per Second",
 * 3.1.2). Both tables stand in its memory, so the code knows no set. The text is copied there window by window.
 *
 * Invariants
 *   F1  `next` answers as a loop over the bytes would, also where the processor has no such instructions.
 *   F2  Behind the window stands a byte of the set, so the loop ends inside its memory whatever the text holds.
 *   F3  Memory does not grow with the text, nor with the number of finders: a set has one window in a thread, because the
 *       runtime reserves gigabytes of addresses for the memory of each. Finders take turns in it, and each sees that
 *       another one has loaded it since.
 */
import { invariant } from './errors.ts';

/** What is used of the global of this name: the types of the runtime know only its names. */
declare const WebAssembly: {
  validate(program: Uint8Array): boolean;
  readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (program: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Readonly<Record<string, unknown>> };
};

const windowBytes = 32 * 1024;
/** Where the tables of the low and of the high halves stand in the memory, and the window. */
const [lowAt, highAt, windowAt] = [0, 16, 32];

/** Local variables of the function: its argument, the two tables, sixteen bytes of the text, and a bit for each found. */
const [at, low, high, bytes, found] = [0, 1, 2, 3, 4];
const get = (local: number): readonly number[] => [0x20, local];
const set = (local: number): readonly number[] => [0x21, local];
const tee = (local: number): readonly number[] => [0x22, local];
const constant = (value: number): readonly number[] => [0x41, value];
const load16 = (offset: number): readonly number[] => [0xfd, 0x00, 0x00, offset];
const sixteen = (byte: number): readonly number[] => [0xfd, 0x0c, ...Array.from({ length: 16 }, () => byte)];
const [swizzle, and16, shiftRight, areDifferent, bitmask] = [[0xfd, 0x0e], [0xfd, 0x4e], [0xfd, 0x6d], [0xfd, 0x24], [0xfd, 0x64]];
const [add, countZeros, back, end] = [[0x6a], [0x68], [0x0f], [0x0b]];
const [loop, when, again, unreachable] = [[0x03, 0x40], [0x04, 0x40], [0x0c, 0x00], [0x00]];

/** `(at: i32) -> i32`: where the first byte of the set stands from `at` on (WebAssembly Core Specification 2.0, 5.4). */
const body = [
  ...[0x02, 0x03, 0x7b, 0x01, 0x7f], // three locals of sixteen bytes, and a number
  ...constant(0), ...load16(lowAt), ...set(low),
  ...constant(0), ...load16(highAt), ...set(high),
  ...loop,
  ...get(at), ...load16(0), ...set(bytes),
  ...get(low), ...get(bytes), ...sixteen(0x0f), ...and16, ...swizzle,
  ...get(high), ...get(bytes), ...constant(4), ...shiftRight, ...swizzle,
  ...and16, ...sixteen(0), ...areDifferent, ...bitmask, ...tee(found),
  ...when, ...get(at), ...get(found), ...countZeros, ...add, ...back, ...end,
  ...get(at), ...constant(16), ...add, ...set(at),
  ...again, ...end, ...unreachable, ...end,
].flat();

/** A number in the format of the module's sizes (LEB128). */
const size = (value: number): readonly number[] => (value < 0x80 ? [value] : [(value & 0x7f) | 0x80, value >> 7]);
const section = (id: number, content: readonly number[]): readonly number[] => [id, ...size(content.length), ...content];
const name = (text: string): readonly number[] => [text.length, ...Buffer.from(text, 'latin1')];
const program = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...section(1, [1, 0x60, 1, 0x7f, 1, 0x7f]), // its type
  ...section(2, [1, ...name('in'), ...name('memory'), 0x02, 0x00, 1]), // one page of memory, from outside
  ...section(3, [1, 0]),
  ...section(7, [1, ...name('find'), 0x00, 0]),
  ...section(10, [1, ...size(body.length), ...body]),
]);

/** The function with the tables of one set in its memory. */
interface Window {
  readonly memory: Buffer;
  find(from: number): number;
  /** How often it was loaded: who has not loaded it last must load it again (F3). */
  loads: number;
}

const windows = new WeakMap<Uint8Array, Window | 'none'>();

function windowOf(isWanted: Uint8Array): Window | undefined {
  const known = windows.get(isWanted) ?? instantiate(isWanted) ?? 'none';
  windows.set(isWanted, known);
  return known === 'none' ? undefined : known;
}

/** Undefined where the processor cannot run the function, or the process may not reserve the addresses of its memory. */
function instantiate(isWanted: Uint8Array): Window | undefined {
  const tables = tablesOf(isWanted);
  if (!WebAssembly.validate(program)) return undefined;
  try {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const { find } = new WebAssembly.Instance(new WebAssembly.Module(program), { in: { memory } }).exports;
    invariant(typeof find === 'function', 'the module exports its function');
    const bytes = Buffer.from(memory.buffer);
    bytes.set(tables, lowAt);
    return { memory: bytes, find: (from) => Number(find(from)), loads: 0 };
  } catch (error) {
    // As under `ulimit -v`.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Finds bytes of one set, in one text after the other. */
export class ByteFinder {
  readonly #isWanted: Uint8Array;
  readonly #wanted: number;
  readonly #window: Window | undefined;
  /** The load of the window that is this finder's. */
  #load = 0;
  #text: Uint8Array = new Uint8Array(0);
  /** Where the search ends. */
  #end = 0;
  /** The part of the text that stands in the window. */
  #from = 0;
  #to = 0;

  /**
   * @param isWanted per byte, 0 when it is not in the set; the set may have eight different rows at most, and never changes
   * @param canVector false walks byte by byte, as it does where the processor has no other way
   */
  constructor(isWanted: Uint8Array, canVector = true) {
    this.#isWanted = isWanted;
    this.#wanted = isWanted.findIndex((kind) => kind !== 0);
    this.#window = canVector ? windowOf(isWanted) : undefined;
  }

  /** Takes up another text, which must not change while it is searched. Nothing behind `end` is copied. */
  begin(text: Uint8Array, end = text.length): void {
    this.#text = text;
    this.#end = Math.min(end, text.length);
    this.#from = 0;
    this.#to = 0;
  }

  /** Offset of the first byte of the set at `from` or behind it; the end of the text when there is none. */
  next(from: number): number {
    const text = this.#text;
    const end = this.#end;
    const window = this.#window;
    if (!window) {
      let at = from;
      while (at < end && this.#isWanted[text[at] ?? 0] === 0) at += 1;
      return at;
    }
    for (let at = from; at < end; at = this.#to) {
      if (at < this.#from || at >= this.#to || window.loads !== this.#load) this.#fill(window, at);
      const found = window.find(at - this.#from + windowAt) - windowAt + this.#from;
      if (found < this.#to) return found;
    }
    return end;
  }

  #fill(window: Window, from: number): void {
    const { memory } = window;
    window.loads += 1;
    this.#load = window.loads;
    const to = Math.min(from + windowBytes, this.#end);
    // Memory that is shared between threads is set word by word; filled with, it is copied at once.
    memory.fill(this.#text.subarray(from, to), windowAt, windowAt + to - from);
    memory[windowAt + to - from] = this.#wanted;
    this.#from = from;
    this.#to = to;
  }
}

/** The row of every low half, and of every high half: bytes whose high halves want the same low halves share a bit. */
function tablesOf(isWanted: Uint8Array): Uint8Array {
  const tables = new Uint8Array(32);
  const rows = new Map<string, number>();
  for (let half = 0; half < 16; half += 1) {
    const row = isWanted.subarray(half * 16, half * 16 + 16);
    if (row.every((kind) => kind === 0)) continue;
    const key = row.map((kind) => Math.min(kind, 1)).join();
    const bit = rows.get(key) ?? 1 << rows.size;
    rows.set(key, bit);
    tables[highAt + half] = bit;
    row.forEach((kind, place) => void (kind !== 0 && (tables[lowAt + place] = (tables[lowAt + place] ?? 0) | bit)));
  }
  invariant(rows.size > 0 && rows.size <= 8, `a set of ${rows.size} different rows cannot be told by eight bits`);
  return tables;
}
