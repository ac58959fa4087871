/**
 * A line as its rules see it: the same JSON with the inside of every long string left out. The text of a prompt is most of
 * its line and decides nothing, so it is only walked once, sixteen bytes at a time, and never becomes a JavaScript string.
 * What is left is a few hundred characters, and everything that judges a line (scan, parse, the rules for keys and params,
 * the estimate) works on them as it would on the whole: a line's text is either whole or an outline, and no rule knows.
 *
 * An outline serves to accept a line, never to refuse one. Where it has a fault the whole line is judged again, and that
 * verdict, with its place in the line, is the one that counts. So an outline may be given up for any doubt.
 *
 * Invariants
 *   O1  A line whose outline is accepted is accepted whole, as the same prompt with the same estimate.
 *   O2  What is left out was valid: no control character, no broken escape. Everything else stands in the outline.
 *   O3  A string that was cut keeps its first bytes, is not empty, and equals no other string of the outline: rules that
 *       ask how a string begins see the same, and a rule that compares two strings finds a fault and looks at the whole.
 *   O4  No outline is made where the inside of a string counts: base64, whose length is priced, and `\u`, which can spell
 *       any other character and half of a pair.
 */
import { ByteFinder } from '../segments/byte-finder.ts';
import { endsPlain } from '../segments/json-bytes.ts';
import { isPlainCharacter, mayBeginUnplain } from '../segments/normalization.ts';

/** A line and the latin1 reading of it that is judged. */
export interface LineText {
  readonly bytes: Buffer;
  /** The latin1 reading of the bytes, or its outline. */
  readonly text: string;
  /** The byte offset at which an index of `text` stands. */
  placeOf(index: number): number;
  /** Whether the line may have a `\u` escape. */
  readonly hasEscapes: boolean;
  /** Whether every character is known to be one that normalising cannot lengthen (`normalization.ts`). */
  readonly isPlain: boolean;
}

const unicodeEscape = Buffer.from('\\u');
const base64 = '"base64"';
const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const letterU = 0x75;
const tilde = 0x7e;
const zero = 0x30;

/** Shorter strings stay, longer ones are cut to this length, so that none that was cut equals one that stayed (O3). */
const keptStringBytes = 64;
/** Longer than any word that a rule looks for at the beginning of a string. */
const headBytes = 32;

/** What the walk stops at in a string: a byte that decides something, or the beginning of a character that normalising may
 *  lengthen. Everything else is 0. */
const [decisive, perhapsUnplain] = [1, 2];
const byteKinds = endsPlain.map((ends) => (ends === 1 ? decisive : 0));
for (let lead = 0x80; lead <= 0xff; lead += 1) if (mayBeginUnplain(lead)) byteKinds[lead] = perhapsUnplain;

/** What may follow a backslash, `u` excepted. */
const isEscapable = new Uint8Array(256);
for (const byte of Buffer.from('"\\/bfnrt', 'latin1')) isEscapable[byte] = 1;

/** A whole line as its own text. */
export function wholeLine(bytes: Buffer): LineText {
  return { bytes, text: bytes.toString('latin1'), placeOf: (index) => index, hasEscapes: bytes.includes(unicodeEscape), isPlain: false };
}

/** Makes outlines, one after the other; its memory is used again. */
export class Outliner {
  #bytes: Buffer = Buffer.alloc(0);
  readonly #finder = new ByteFinder(byteKinds);
  /** The outline while it grows. It is never longer than its line. */
  #text = Buffer.allocUnsafeSlow(64 * 1024);
  #length = 0;
  #isPlain = true;
  /** Offset of the first backslash of the string that was walked last, or its end. */
  #escapeAt = 0;
  /** For every cut, the index of the outline behind it and how many bytes are left out up to there. */
  #cuts: number[] = [];

  /** The outline of a line of valid UTF-8, or undefined when it must be judged whole. */
  outline(bytes: Buffer): LineText | undefined {
    this.#begin(bytes);
    const text = this.#text;
    const end = bytes.length;
    for (let at = 0; at < end; ) {
      const byte = bytes[at] ?? 0;
      text[this.#length] = byte;
      this.#length += 1;
      at += 1;
      if (byte !== quote) continue;
      const to = this.#endOfString(at);
      if (to < 0) return undefined;
      if (to - at < keptStringBytes) {
        let length = this.#length;
        for (let from = at; from <= to; from += 1, length += 1) text[length] = bytes[from] ?? 0;
        this.#length = length;
      } else {
        if (isKey(bytes, to + 1)) return undefined;
        this.#cut(at, to);
      }
      at = to + 1;
    }
    const outline = text.toString('latin1', 0, this.#length);
    if (outline.includes(base64)) return undefined;
    const cuts = this.#cuts;
    return { bytes, text: outline, placeOf: (index) => placeIn(cuts, index), hasEscapes: false, isPlain: this.#isPlain };
  }

  #begin(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#finder.begin(bytes);
    if (this.#text.length < bytes.length) this.#text = Buffer.allocUnsafeSlow(bytes.length * 2);
    this.#length = 0;
    this.#isPlain = true;
    this.#cuts = [];
  }

  /** Offset of the quote that closes the string whose first byte is at `from`; -1 when it must be judged whole (O2, O4). */
  #endOfString(from: number): number {
    const bytes = this.#bytes;
    const finder = this.#finder;
    const end = bytes.length;
    let escapeAt = -1;
    for (let at = finder.next(from); at < end; at = finder.next(at)) {
      const byte = bytes[at] ?? 0;
      if (byteKinds[byte] === perhapsUnplain) {
        if (this.#isPlain) this.#isPlain = isPlainCharacter(byte, bytes[at + 1] ?? 0, bytes[at + 2] ?? 0);
        at += 1;
      } else if (byte === backslash) {
        const escaped = bytes[at + 1] ?? 0;
        // An escaped backslash before a `u` looks like an escape to whoever searches the bytes, so it is none of ours.
        if (isEscapable[escaped] !== 1 || (escaped === backslash && bytes[at + 2] === letterU)) return -1;
        if (escapeAt < 0) escapeAt = at;
        at += 2;
      } else if (byte === quote) {
        this.#escapeAt = escapeAt < 0 ? at : escapeAt;
        return at;
      } else {
        return -1;
      }
    }
    return -1;
  }

  /** Writes what is kept of the string in `[from, to)`: its head, tildes, the number of the cut, and the quote (O3). */
  #cut(from: number, to: number): void {
    const bytes = this.#bytes;
    const text = this.#text;
    const headEnd = Math.min(from + headBytes, this.#escapeAt);
    let length = this.#length;
    for (let at = from; at < headEnd; at += 1, length += 1) text[length] = bytes[at] ?? 0;
    const last = this.#length + keptStringBytes;
    while (length < last) text[length++] = tilde;
    // From its last digit on to the left: a line has room for far fewer cuts than the tail has digits.
    for (let rest = this.#cuts.length, digit = last - 1; rest > 0; rest = Math.floor(rest / 10), digit -= 1) text[digit] = zero + (rest % 10);
    text[last] = quote;
    this.#length = last + 1;
    this.#cuts.push(last + 1, to - last);
  }
}

/** Whether the string that ends before `from` is the key of a member. */
function isKey(bytes: Buffer, from: number): boolean {
  let at = from;
  while (bytes[at] === 0x20 || bytes[at] === 0x09 || bytes[at] === 0x0d) at += 1;
  return bytes[at] === colon;
}

/** An index at or behind the end of a cut is moved by what was left out up to there. */
function placeIn(cuts: readonly number[], index: number): number {
  let leftOut = 0;
  for (let at = 0; at < cuts.length && (cuts[at] ?? 0) <= index; at += 2) leftOut = cuts[at + 1] ?? 0;
  return index + leftOut;
}
