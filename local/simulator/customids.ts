import { hash } from 'node:crypto';

/**
 * The custom_ids of one body, as bytes: a batch has up to 100,000 of them, and as many strings in a set would take longer to make than
 * their bodies take to arrive.
 *
 * Invariants
 *   K1  Ids are kept in body order, each followed by LF, which is the form in which they are hashed and written to disk.
 *   K2  Two ids are the same only if all of their bytes are; the digests in the table only say which are worth comparing.
 */

const LONGEST = 64;
const LF = 0x0a;

/** 1 for the bytes of `[a-zA-Z0-9_-]`. */
const ALLOWED = new Uint8Array(256);
for (let byte = 0; byte < 128; byte += 1) {
  ALLOWED[byte] = /[a-zA-Z0-9_-]/.test(String.fromCharCode(byte)) ? 1 : 0;
}

/** What is wrong with an id by itself, as the service says it behind its path, or undefined (claude-batches.md 1.4). */
export function idFault(bytes: Uint8Array, start: number, end: number): string | undefined {
  let wrong = end - start > LONGEST ? 1 : 0;
  for (let index = start; index < end; index += 1) {
    wrong |= 1 - (ALLOWED[bytes[index] ?? 0] ?? 0);
  }
  if (wrong === 0 && end > start) {
    return undefined;
  }
  if (end === start) {
    return 'String should have at least 1 character';
  }
  return Buffer.from(bytes.subarray(start, end)).toString('utf8').length > LONGEST
    ? 'String should have at most 64 characters'
    : "String should match pattern '^[a-zA-Z0-9_-]{1,64}$'";
}

export class CustomIds {
  #text = Buffer.allocUnsafe(65_536);
  #length = 0;
  #count = 0;
  /** Where each id begins in the text, plus one; 0 is a free place. Less than half full with the most requests that a batch can have. */
  readonly #table = new Uint32Array(262_144);
  #repeated: string | undefined;

  /** How many ids there are, repeated ones included. */
  get count(): number {
    return this.#count;
  }

  /** The first id that an earlier one equals. */
  get repeated(): string | undefined {
    return this.#repeated;
  }

  /** Appends a valid id. */
  add(bytes: Uint8Array, start: number, end: number): void {
    if (this.#length + LONGEST + 1 > this.#text.length) {
      this.#text = Buffer.concat([this.#text], this.#text.length * 2);
    }
    const at = this.#length;
    const text = this.#text;
    for (let index = start; index < end; index += 1) {
      text[this.#length++] = bytes[index] ?? 0;
    }
    text[this.#length++] = LF;
    this.#count += 1;
    if (!this.#enter(at)) {
      this.#repeated ??= text.toString('latin1', at, this.#length - 1);
    }
  }

  /** The ids in body order, each followed by LF. */
  text(): Buffer {
    return this.#text.subarray(0, this.#length);
  }

  /** SHA-256 (hex) over `text()`. A test computes the same over `custom_ids.txt` of the batch's folder. */
  digest(): string {
    return hash('sha256', this.text(), 'hex');
  }

  /** Forgets all ids. */
  clear(): void {
    if (this.#count > 0) {
      this.#table.fill(0);
    }
    this.#length = 0;
    this.#count = 0;
    this.#repeated = undefined;
  }

  /** Puts the id that begins at `at` into the table; false if an equal one is there. */
  #enter(at: number): boolean {
    const mask = this.#table.length - 1;
    for (let place = digestAt(this.#text, at) & mask; ; place = (place + 1) & mask) {
      const other = this.#table[place] ?? 0;
      if (other === 0) {
        this.#table[place] = at + 1;
        return true;
      }
      if (areEqual(this.#text, at, other - 1)) {
        return false;
      }
    }
  }
}

/** A 32-bit digest (FNV-1a, mixed at the end) of the id that begins at `at`. */
function digestAt(text: Uint8Array, at: number): number {
  let digest = 0x811c9dc5;
  for (let index = at; text[index] !== LF; index += 1) {
    digest = Math.imul(digest ^ (text[index] ?? 0), 0x01000193);
  }
  return digest ^ (digest >>> 15);
}

function areEqual(text: Uint8Array, one: number, other: number): boolean {
  let length = 0;
  while (text[one + length] === text[other + length]) {
    if (text[one + length] === LF) {
      return true;
    }
    length += 1;
  }
  return false;
}
