/** Most bytes of one string that are kept; a longer one is reported cut. */
const CAPTURE_LIMIT = 65_536;

const BACKSLASH = 0x5c;

/** A string as a listener gets it: bytes, because most are looked at and forgotten. It is valid until the listener returns. */
export interface HeardString {
  readonly bytes: Uint8Array;
  readonly start: number;
  /** The byte behind the last one. */
  readonly end: number;
  /** True if it is exactly these bytes. */
  is(word: Uint8Array): boolean;
  text(): string;
}

/** Keeps one string while its bytes come in, possibly over several chunks. It can be heard once it is finished. */
export class StringCapture implements HeardString {
  #pieces: Buffer[] = [];
  #kept = 0;
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;

  get bytes(): Buffer {
    return this.#bytes;
  }

  get start(): number {
    return this.#start;
  }

  get end(): number {
    return this.#end;
  }

  is(word: Uint8Array): boolean {
    if (word.length !== this.#end - this.#start) {
      return false;
    }
    for (let index = 0; index < word.length; index += 1) {
      if (word[index] !== this.#bytes[this.#start + index]) {
        return false;
      }
    }
    return true;
  }

  text(): string {
    return this.#bytes.toString('utf8', this.#start, this.#end);
  }

  /** A string begins at `index` of the present chunk. */
  begin(index: number): void {
    this.#start = index;
    if (this.#kept > 0) {
      this.#pieces = [];
      this.#kept = 0;
    }
  }

  /** The present chunk ends inside the string. */
  carryOver(chunk: Buffer): void {
    this.#keep(chunk.subarray(this.#start));
    this.#start = 0;
  }

  /** The string ends before `index` of the present chunk. Nearly all strings lie in one chunk, have no escapes and are not copied. */
  finish(chunk: Buffer, index: number): void {
    this.#bytes = chunk;
    this.#end = index;
    if (this.#kept > 0) {
      this.#keep(chunk.subarray(this.#start, index));
      this.#hold(Buffer.concat(this.#pieces));
    }
    for (let at = this.#start; at < this.#end; at += 1) {
      if (this.#bytes[at] === BACKSLASH) {
        if (this.#end - this.#start < CAPTURE_LIMIT) {
          this.#hold(Buffer.from(String(JSON.parse(`"${this.text()}"`))));
        }
        return;
      }
    }
  }

  #hold(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#start = 0;
    this.#end = bytes.length;
  }

  #keep(piece: Buffer): void {
    if (this.#kept < CAPTURE_LIMIT) {
      this.#pieces.push(Buffer.from(piece));
      this.#kept += piece.length;
    }
  }
}
