/** 1 for the bytes that may follow a backslash and mean one character by themselves. */
const PLAIN_ESCAPE = new Uint8Array(256);
for (const letter of '"\\/bfnrt') {
  PLAIN_ESCAPE[letter.charCodeAt(0)] = 1;
}

/**
 * Reads the escapes of JSON strings and watches for halves of surrogate pairs that stand alone. JavaScript's own parser lets those pass; the
 * service does not, and one such document refuses a whole batch, so a client has to meet it here first.
 */
export class EscapeReader {
  #hex: string | undefined;
  #expectsLow = false;

  /** True after a high half: the very next thing has to be the escape of a low half. */
  get expectsLow(): boolean {
    return this.#expectsLow;
  }

  /** A backslash has been seen. */
  begin(): void {
    this.#hex = undefined;
  }

  /** Takes the next byte of the escape: `more` bytes belong to it, it is `done`, or what is wrong with it. */
  take(byte: number): 'more' | 'done' | { readonly fault: string } {
    if (this.#hex !== undefined) {
      return this.#takeDigit(byte, this.#hex);
    }
    if (byte === 0x75) {
      this.#hex = '';
      return 'more';
    }
    if (PLAIN_ESCAPE[byte] !== 1) {
      return { fault: 'invalid escaped character in string' };
    }
    return this.#expectsLow ? { fault: 'no low surrogate in string' } : 'done';
  }

  #takeDigit(byte: number, before: string): 'more' | 'done' | { readonly fault: string } {
    const hex = before + String.fromCharCode(byte);
    if (!/^[0-9a-fA-F]+$/.test(hex)) {
      return { fault: 'invalid escaped sequence in string' };
    }
    this.#hex = hex;
    return hex.length < 4 ? 'more' : this.#endUnit(Number.parseInt(hex, 16));
  }

  #endUnit(unit: number): 'done' | { readonly fault: string } {
    const isLow = unit >= 0xdc00 && unit <= 0xdfff;
    if (this.#expectsLow) {
      this.#expectsLow = false;
      return isLow ? 'done' : { fault: 'invalid low surrogate in string' };
    }
    this.#expectsLow = unit >= 0xd800 && unit <= 0xdbff;
    return isLow ? { fault: 'invalid high surrogate in string' } : 'done';
  }
}

/** The value of each hexadecimal digit, 16 for every other byte. */
const DIGITS = new Uint8Array(256).fill(16);
for (const [value, digit] of [...'0123456789abcdef'].entries()) {
  DIGITS[digit.charCodeAt(0)] = value;
  DIGITS[digit.toUpperCase().charCodeAt(0)] = value;
}

const LONGEST_UNITS = 12;

/**
 * Length of the character that is escaped at `index`, when it is all there and in order: 6 bytes, or 12 for a surrogate pair; else 0. Bodies
 * made with an ASCII encoder consist of such escapes where the language does not, so they are not taken byte by byte.
 */
export function wholeUnits(chunk: Buffer, index: number): number {
  if (index + LONGEST_UNITS > chunk.length) {
    return 0;
  }
  const unit = unitAt(chunk, index);
  if (unit < 0 || unit < 0xd800 || unit > 0xdfff) {
    return unit < 0 ? 0 : 6;
  }
  const low = unit < 0xdc00 ? unitAt(chunk, index + 6) : -1;
  return low >= 0xdc00 && low <= 0xdfff ? LONGEST_UNITS : 0;
}

/** The code unit escaped at `index`, or -1. */
function unitAt(chunk: Buffer, index: number): number {
  if (chunk[index] !== 0x5c || chunk[index + 1] !== 0x75) {
    return -1;
  }
  const digit = (place: number): number => DIGITS[chunk[index + place] ?? 0] ?? 16;
  const [first, second, third, fourth] = [digit(2), digit(3), digit(4), digit(5)];
  return Math.max(first, second, third, fourth) > 15 ? -1 : (first << 12) | (second << 8) | (third << 4) | fourth;
}
