/** Where the long strings of a JSON text end, for {@link JsonScanner}. Short ones are passed over before anybody is asked. */
import { ByteFinder } from './byte-finder.ts';
import { afterEscape, endsPlain, malformed } from './json-bytes.ts';

const quote = 0x22;
const backslash = 0x5c;

/** Ends of long strings, of one text after the other. */
export class LongStrings {
  #bytes: Buffer = Buffer.alloc(0);
  #to = 0;
  #isKnownSound = false;
  /** Made for the first long string that is read: most texts of some readers have none. */
  #finder: ByteFinder | undefined;
  /** Whether the finder was given this text. */
  #hasBegun = false;

  /** Takes up the text that ends before `bytes[to]`, a newline. `isKnownSound`: it was walked before, so only quotes are looked for. */
  start(bytes: Buffer, to: number, isKnownSound: boolean): void {
    this.#bytes = bytes;
    this.#to = to;
    this.#isKnownSound = isKnownSound;
    this.#hasBegun = false;
  }

  /** The place of the quote that ends a string, from a byte of the string that is not escaped. @throws malformed */
  endFrom(from: number): number {
    if (this.#isKnownSound) return endOfSound(this.#bytes, from);
    const bytes = this.#bytes;
    const finder = (this.#finder ??= new ByteFinder(endsPlain));
    if (!this.#hasBegun) finder.begin(bytes, this.#to + 1);
    this.#hasBegun = true;
    for (let at = finder.next(from); ; at = finder.next(afterEscape(bytes, at))) {
      const byte = bytes[at];
      if (byte === quote) return at;
      if (byte !== backslash) throw malformed;
    }
  }
}

function endOfSound(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(quote, from); at >= 0; at = bytes.indexOf(quote, at + 1)) {
    let backslashes = 0;
    while (bytes[at - 1 - backslashes] === backslash) backslashes++;
    if (backslashes % 2 === 0) return at;
  }
  throw malformed;
}
