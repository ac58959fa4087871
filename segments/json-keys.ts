/** Finds out which of a few known keys a JSON reader stands at. */

/**
 * The keys that a reader asks for, as a small hash table over their bytes: the length, the first and the last byte choose
 * the candidates. Keys are a third of the work on a short line, and comparing each with every name would double it.
 */
export class KeyTable {
  /** `"name":` as bytes, for each name. */
  readonly patterns: readonly Uint8Array[];
  readonly #names: readonly string[];
  readonly #bytes: readonly Uint8Array[];
  /** Place of the first candidate, and for each name the next one with the same slot; -1: none. */
  readonly #slots = new Int8Array(256).fill(-1);
  readonly #next: number[] = [];

  constructor(names: readonly string[]) {
    this.#names = names;
    this.#bytes = names.map((name) => Buffer.from(name, 'latin1'));
    this.patterns = names.map((name) => Buffer.from(`"${name}":`, 'latin1'));
    for (const [place, bytes] of this.#bytes.entries()) {
      const slot = slotOf(bytes.length, bytes[0] ?? 0, bytes[bytes.length - 1] ?? 0);
      this.#next.push(this.#slots[slot] ?? -1);
      this.#slots[slot] = place;
    }
  }

  /** The place of the name in `bytes[from, to)`, or -1. */
  find(bytes: Buffer, from: number, to: number): number {
    let place = this.#slots[slotOf(to - from, bytes[from] ?? 0, bytes[to - 1] ?? 0)] ?? -1;
    while (place >= 0 && !isEqual(this.#bytes[place], bytes, from, to)) place = this.#next[place] ?? -1;
    return place;
  }

  placeOf(text: string): number {
    return this.#names.indexOf(text);
  }
}

function slotOf(length: number, first: number, last: number): number {
  return (length * 37 + first * 5 + last * 11) & 255;
}

function isEqual(name: Uint8Array | undefined, bytes: Buffer, from: number, to: number): boolean {
  if (name === undefined || name.length !== to - from) return false;
  for (let i = 0; i < name.length; i++) if (name[i] !== bytes[from + i]) return false;
  return true;
}
