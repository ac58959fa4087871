/** Most bytes of one string that are kept; a longer one is reported cut. */
const CAPTURE_LIMIT = 65_536;

/** Keeps the text of one string while its bytes come in, possibly over several chunks. */
export class StringCapture {
  #pieces: Buffer[] = [];
  #bytes = 0;
  #start = 0;

  /** A string begins at `index` of the present chunk. */
  begin(index: number): void {
    this.#pieces = [];
    this.#bytes = 0;
    this.#start = index;
  }

  /** The present chunk ends inside the string. */
  carryOver(chunk: Buffer): void {
    this.#keep(chunk.subarray(this.#start));
    this.#start = 0;
  }

  /** The string ends before `index` of the present chunk; returns its decoded text. Nearly all strings lie in one chunk and are not copied. */
  finish(chunk: Buffer, index: number): string {
    let raw: string;
    if (this.#pieces.length === 0) {
      const known = knownWord(chunk, this.#start, index);
      if (known !== undefined) {
        return known;
      }
      this.#bytes = index - this.#start;
      raw = chunk.toString('utf8', this.#start, index);
    } else {
      this.#keep(chunk.subarray(this.#start, index));
      raw = Buffer.concat(this.#pieces).toString('utf8');
    }
    return raw.includes('\\') && this.#bytes < CAPTURE_LIMIT ? String(JSON.parse(`"${raw}"`)) : raw;
  }

  #keep(piece: Buffer): void {
    if (this.#bytes < CAPTURE_LIMIT) {
      this.#pieces.push(Buffer.from(piece));
      this.#bytes += piece.length;
    }
  }
}

/** The keys of every batch entry, which make up most captured strings: recognised without making a string. */
const KNOWN_WORDS: readonly (readonly [text: string, bytes: Buffer])[] = ['params', 'custom_id'].map((text) => [text, Buffer.from(text)]);

function knownWord(chunk: Buffer, start: number, end: number): string | undefined {
  for (const [text, bytes] of KNOWN_WORDS) {
    if (bytes.length === end - start && chunk[start] === bytes[0] && bytes.compare(chunk, start, end) === 0) {
      return text;
    }
  }
  return undefined;
}
