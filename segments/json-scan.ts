/**
 * A strict JSON reader that works in place on bytes: it walks the structure, hands out strings as byte ranges and skips
 * whatever its caller does not ask for. It accepts exactly what `JSON.parse` accepts.
 *
 * Strings are most of a document, so they are skipped four bytes at a time, and what is long sixteen at a time: bytes are
 * passed over when none of them is a quote, a backslash or a control character. That is several times as fast as decoding
 * and `JSON.parse`, makes no garbage, and its cost is linear in the length.
 *
 * Invariants
 *   J1  A walk that reaches `isAtEnd` without throwing `malformed` has read one JSON value, and nothing else.
 *   J2  The byte after the text is a newline; it ends every scan, so no scan needs another bound. A newline is therefore
 *       no whitespace here: a line never holds one.
 */
import { afterEscape, isDigit, isPlain, isWhitespace, malformed, numberOf } from './json-bytes.ts';
import { KeyTable } from './json-keys.ts';
import { clearSpan, noSpan, type Span } from './json-span.ts';
import { LongStrings } from './json-string.ts';

const newline = 0x0a;
const quote = 0x22;
const backslash = 0x5c;
const [openingBrace, closingBrace] = [0x7b, 0x7d];
const [openingBracket, closingBracket] = [0x5b, 0x5d];
const comma = 0x2c;
const colon = 0x3a;
const nearWords = 16; // Looked at before the end of a string is searched for; most strings are shorter.

/** Reads one text after the other. The caller walks objects with `enters…`, `firstKey`, `nextKey`, and must take or skip
 *  the value of every key. UTF-8 is not checked here. Every method throws {@link malformed} where the text is not JSON. */
export class JsonScanner {
  /** Place of the key that was read last among the keys given to the constructor; -1: none of them. */
  key = -1;
  readonly #keys: KeyTable;
  readonly #keySpan: Span = noSpan();
  /** For each key, and in front for an unknown one, the key that came after it last time. */
  readonly #followers: Int8Array;
  #lastKey = -1;
  #bytes: Buffer = Buffer.alloc(0);
  #words: Int32Array = new Int32Array(0);
  #at = 0;
  readonly #longStrings = new LongStrings();
  #nesting = new Uint8Array(64);

  constructor(keys: readonly string[]) {
    this.#keys = new KeyTable(keys);
    this.#followers = new Int8Array(keys.length + 1).fill(-1);
  }

  /** Begins the text `bytes[from, to)`; a newline must follow it (J2). `isKnownSound`: it was walked before, so long strings are not read. */
  start(bytes: Buffer, from: number, to: number, isKnownSound = false): void {
    this.#longStrings.start(bytes, to, isKnownSound);
    if (bytes.buffer !== this.#bytes.buffer || this.#words.length === 0) {
      this.#words = new Int32Array(bytes.buffer, 0, bytes.buffer.byteLength >> 2);
    }
    this.#bytes = bytes;
    this.#at = from;
    this.#lastKey = -1;
  }

  /** Where the next byte will be read; behind a value, its end. */
  get at(): number {
    return this.#at;
  }

  /** Whether nothing but whitespace stands before the newline that ends the text at `to` or just behind it. */
  isAtEnd(to: number): boolean {
    return this.byteAfterSpace() === newline && this.#at >= to;
  }

  /** The string of a span, unescaped. */
  textOf(span: Span): string {
    const text = this.#bytes.toString('utf8', span.from, span.to);
    return span.isEscaped ? (JSON.parse(`"${text}"`) as string) : text;
  }

  /** Whether a span holds exactly this ASCII text; escapes are seen through. */
  isText(span: Span, text: string): boolean {
    if (span.isEscaped) return this.textOf(span) === text;
    const { from } = span;
    if (span.to - from !== text.length || from < 0) return false;
    const bytes = this.#bytes;
    for (let i = 0; i < text.length; i++) if (bytes[from + i] !== text.charCodeAt(i)) return false;
    return true;
  }

  /** Steps into the next value when it is an object. */
  entersObject(): boolean {
    if (this.byteAfterSpace() !== openingBrace) return false;
    this.#at++;
    return true;
  }

  /** Steps into the next value when it is an array; go on with {@link firstItem}. */
  entersArray(): boolean {
    if (this.byteAfterSpace() !== openingBracket) return false;
    this.#at++;
    return true;
  }

  /** After `[`: whether there is an item to read. */
  firstItem(): boolean {
    if (this.byteAfterSpace() !== closingBracket) return true;
    this.#at++;
    return false;
  }

  /** After an item: whether another follows. */
  nextItem(): boolean {
    return this.#goesOn(closingBracket);
  }

  /** After `{`: reads the first key and its colon; false when the object is empty. */
  firstKey(): boolean {
    if (this.byteAfterSpace() === closingBrace) {
      this.#at++;
      return false;
    }
    this.#keyAndColon();
    return true;
  }

  /** After a member's value: reads the next key and its colon; false when the object ends. */
  nextKey(): boolean {
    if (!this.#goesOn(closingBrace)) return false;
    this.#keyAndColon();
    return true;
  }

  /** Keeps a string value; a value of another type is skipped and clears the span. */
  stringInto(span: Span): void {
    if (this.byteAfterSpace() === quote) {
      this.#takeString(span);
    } else {
      clearSpan(span);
      this.skipValue();
    }
  }

  /** Takes a number; `absent` stands for null, NaN for a value of another type. */
  number(absent: number): number {
    const byte = this.byteAfterSpace();
    const from = this.#at;
    this.skipValue();
    if (byte === 0x6e) return absent;
    return byte !== 0x2d && !isDigit(byte) ? NaN : numberOf(this.#bytes, from, this.#at);
  }

  /** Skips whitespace and looks at the next byte without taking it. */
  byteAfterSpace(): number {
    const bytes = this.#bytes;
    let at = this.#at;
    let byte = bytes[at] ?? newline;
    while (isWhitespace[byte] === 1) byte = bytes[++at] ?? newline;
    this.#at = at;
    return byte;
  }

  /** Skips one value of any type. The nesting is kept in an array, so depth costs memory and never the call stack. */
  skipValue(): void {
    let depth = 0;
    for (;;) {
      const byte = this.byteAfterSpace();
      if (byte === openingBrace || byte === openingBracket) {
        this.#at++;
        if (byte === openingBrace ? this.firstKey() : this.firstItem()) {
          this.#push(depth++, byte);
          continue;
        }
      } else if (byte === quote) {
        this.#skipString();
      } else {
        this.#skipScalar(byte);
      }
      // A value has ended, and perhaps the containers around it with it.
      while (depth > 0 && !(this.#nesting[depth - 1] === openingBrace ? this.nextKey() : this.nextItem())) depth--;
      if (depth === 0) return;
    }
  }

  #push(depth: number, opening: number): void {
    if (depth === this.#nesting.length) {
      const wider = new Uint8Array(depth * 2);
      wider.set(this.#nesting);
      this.#nesting = wider;
    }
    this.#nesting[depth] = opening;
  }

  #goesOn(closing: number): boolean {
    const byte = this.byteAfterSpace();
    this.#at++;
    if (byte === comma) return true;
    if (byte === closing) return false;
    throw malformed;
  }

  /** Documents of one origin repeat their keys in one order, so the key that followed last time is tried first. */
  #keyAndColon(): void {
    const guess = this.#followers[this.#lastKey + 1] ?? -1;
    if (guess >= 0 && this.#takePattern(this.#keys.patterns[guess])) {
      this.key = guess;
    } else {
      this.#readKey();
      this.#followers[this.#lastKey + 1] = this.key;
    }
    this.#lastKey = this.key;
  }

  #takePattern(pattern: Uint8Array | undefined): boolean {
    if (pattern === undefined) return false;
    const bytes = this.#bytes;
    const at = this.#at;
    for (let i = 0; i < pattern.length; i++) if (bytes[at + i] !== pattern[i]) return false;
    this.#at = at + pattern.length;
    return true;
  }

  #readKey(): void {
    if (this.byteAfterSpace() !== quote) throw malformed;
    const span = this.#keySpan;
    this.#takeString(span);
    this.key = span.isEscaped ? this.#keys.placeOf(this.textOf(span)) : this.#keys.find(this.#bytes, span.from, span.to);
    if (this.byteAfterSpace() !== colon) throw malformed;
    this.#at++;
  }

  #skipScalar(byte: number): void {
    if (byte === 0x74) this.#literal('true');
    else if (byte === 0x66) this.#literal('false');
    else if (byte === 0x6e) this.#literal('null');
    else this.#skipNumber();
  }

  #literal(text: string): void {
    for (let i = 0; i < text.length; i++) if (this.#bytes[this.#at + i] !== text.charCodeAt(i)) throw malformed;
    this.#at += text.length;
  }

  #skipNumber(): void {
    const bytes = this.#bytes;
    if (bytes[this.#at] === 0x2d) this.#at++;
    if (bytes[this.#at] === 0x30) this.#at++;
    else this.#digits();
    if (bytes[this.#at] === 0x2e) {
      this.#at++;
      this.#digits();
    }
    if (bytes[this.#at] === 0x65 || bytes[this.#at] === 0x45) {
      this.#at++;
      if (bytes[this.#at] === 0x2b || bytes[this.#at] === 0x2d) this.#at++;
      this.#digits();
    }
  }

  /** One digit or more. */
  #digits(): void {
    const from = this.#at;
    while (isDigit(this.#bytes[this.#at] ?? 0)) this.#at++;
    if (this.#at === from) throw malformed;
  }

  #takeString(span: Span): void {
    span.from = this.#at + 1;
    span.isEscaped = this.#skipString();
    span.to = this.#at - 1;
  }

  /** From an opening quote to behind the closing one; returns whether it met a backslash. */
  #skipString(): boolean {
    const bytes = this.#bytes;
    const words = this.#words;
    const base = bytes.byteOffset;
    let at = this.#at + 1;
    let isEscaped = false;
    for (;;) {
      if (((base + at) & 3) === 0) {
        let index = (base + at) >> 2;
        const far = index + nearWords;
        while (index < far && isPlain(words[index] ?? 0)) index++;
        at = (index << 2) - base;
        if (index === far) {
          at = this.#longStrings.endFrom(at);
          isEscaped = true; // Perhaps; it is right in any case, and only costs whoever reads the text.
        }
      }
      const byte = bytes[at] ?? 0;
      if (byte === quote) break;
      if (byte < 0x20) throw malformed;
      if (byte === backslash) {
        at = afterEscape(bytes, at);
        isEscaped = true;
      } else {
        at++;
      }
    }
    this.#at = at + 1;
    return isEscaped;
  }
}
