import { assemble } from './assembly.ts';
import { CLASSES, MOVES, PLACE } from './grammar.ts';
import { LETTERS_AT, PLAIN_LETTERS, SKIP, SPECIALS_AT } from './skipcode.ts';
import { CLASSES_AT, DEPTH_AT, DEPTH_LIMIT, INSIDE_AT, MOVES_AT, OPEN_AT, PLACE_AT, WALK } from './walkcode.ts';

/**
 * The part of the JSON check that goes over every byte, in WebAssembly: checking 256 MB in JavaScript takes longer than receiving them. Two
 * functions, `skip` inside strings and `walk` through what nobody listens to; memory holds their tables and the text.
 */

/** Most bytes that one `load` takes. */
export const SCAN_WINDOW = 131_072;

const TEXT_AT = 1_536;
/** Tables, text, and sixteen bytes behind it, which are read and not looked at. */
const PAGES = 3;
const BACKSLASH = 0x5c;

/** A function of the module: where to begin and where the bytes end; it gives back where it stopped. */
type Scan = (from: number, to: number) => number;

/** What is used of the global WebAssembly object. */
declare const WebAssembly: {
  readonly Module: new (code: Uint8Array) => object;
  readonly Instance: new (module: object) => {
    readonly exports: { readonly memory?: { readonly buffer: ArrayBuffer }; readonly skip?: Scan; readonly walk?: Scan };
  };
};

const MODULE = new WebAssembly.Module(assemble([SKIP, WALK], PAGES));

/** What `PlainScan.walk` begins with and ends with: a place of the grammar, and how many containers are open. */
export interface WalkState {
  place: number;
  depth: number;
  /** Where a walk ended: between tokens, in a key, or in another string. */
  inside: 'nothing' | 'key' | 'string';
}

/** The functions and their memory. Scanners share one, because each loads its bytes and its containers anew before it asks. */
export class PlainScan {
  /** The open containers, outermost first: 1 for an object. */
  readonly open: Uint8Array;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #words: Int32Array;
  readonly #skip: Scan;
  readonly #walk: Scan;
  #end = TEXT_AT;

  constructor() {
    const { memory, skip, walk } = new WebAssembly.Instance(MODULE).exports;
    if (memory === undefined || skip === undefined || walk === undefined) {
      throw new Error('The JSON scanner could not be assembled. This is a defect of the simulator.');
    }
    this.#bytes = new Uint8Array(memory.buffer);
    this.#words = new Int32Array(memory.buffer);
    this.#skip = skip;
    this.#walk = walk;
    this.open = new Uint8Array(memory.buffer, OPEN_AT, DEPTH_LIMIT);
    for (const letter of PLAIN_LETTERS) {
      this.#bytes[LETTERS_AT + letter.charCodeAt(0)] = 1;
    }
    this.#bytes.fill(1, SPECIALS_AT, SPECIALS_AT + 0x20);
    this.#bytes[SPECIALS_AT + 0x22] = 1;
    this.#bytes[SPECIALS_AT + BACKSLASH] = 1;
    this.#bytes.set(MOVES, MOVES_AT);
    this.#bytes.set(CLASSES, CLASSES_AT);
  }

  /** Where bytes can be put that are to be scanned next, so that `load` need not copy them. `SCAN_WINDOW` long. */
  window(): Buffer {
    return Buffer.from(this.#bytes.buffer, TEXT_AT, SCAN_WINDOW);
  }

  /** Takes in the bytes that the next calls are about; at most `SCAN_WINDOW` of them. */
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

  /** Where a value leads that ends in the innermost of `depth` containers. */
  placeAfter(depth: number): number {
    return depth === 0 ? PLACE.done : this.open[depth - 1] === 1 ? PLACE.after_member : PLACE.after_item;
  }

  /** Walks on from `from`, between two tokens, and leaves in `state` where it came to; returns the first byte it leaves to the caller. */
  walk(from: number, state: WalkState): number {
    this.#words[PLACE_AT >> 2] = state.place;
    this.#words[DEPTH_AT >> 2] = state.depth;
    const index = this.#walk(from + TEXT_AT, this.#end) - TEXT_AT;
    state.place = this.#words[PLACE_AT >> 2] ?? 0;
    state.depth = this.#words[DEPTH_AT >> 2] ?? 0;
    const inside = this.#words[INSIDE_AT >> 2];
    state.inside = inside === 0 ? 'nothing' : inside === 1 ? 'key' : 'string';
    return index;
  }
}
