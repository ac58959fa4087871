/** The classes of bytes that JSON's grammar knows, for {@link JsonScanner}; all of its structure is ASCII. */

/** Thrown where a text is not JSON; built once, because a stack per bad line would be the dearest part of a bad file. */
export const malformed = new Error('the text is not JSON');

/** 1 for blanks, tabs and carriage returns. A newline ends the text, so it is none. */
export const isWhitespace = byteSet(' \t\r');
const isEscapable = byteSet('"\\/bfnrt');
const isHex = byteSet('0123456789abcdefABCDEF');

/** 1 for what ends a plain stretch of a string: control characters, the quote and the backslash. */
export const endsPlain = byteSet('"\\').fill(1, 0, 0x20);

function byteSet(characters: string): Uint8Array {
  const set = new Uint8Array(256);
  for (const byte of Buffer.from(characters, 'latin1')) set[byte] = 1;
  return set;
}

/**
 * Whether none of a word's four bytes is one of {@link endsPlain}. Flipping bit 1 puts the quote (0x22) next to
 * the control characters, so one comparison with 0x21 finds both (the usual carry trick, exact as a test for any).
 */
export function isPlain(word: number): boolean {
  const low = word ^ 0x02020202;
  const slash = word ^ 0x5c5c5c5c;
  return ((((low - 0x21212121) & ~low) | ((slash - 0x01010101) & ~slash)) & 0x80808080) === 0;
}

/** Whether a byte is one of 0 to 9. */
export function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** The place behind the escape whose backslash stands at `at`. @throws malformed */
export function afterEscape(bytes: Buffer, at: number): number {
  const escaped = bytes[at + 1] ?? 0;
  if (isEscapable[escaped] === 1) return at + 2;
  if (escaped !== 0x75) throw malformed;
  for (let i = 2; i < 6; i++) if (isHex[bytes[at + i] ?? 0] !== 1) throw malformed;
  return at + 6;
}

/** The number in `bytes[from, to)`, which is one; most are short and whole. */
export function numberOf(bytes: Buffer, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) {
    const digit = bytes[at] ?? 0;
    if (!isDigit(digit)) return Number(bytes.toString('latin1', from, to));
    value = value * 10 + digit - 0x30;
  }
  return value;
}
