const FORM = /^(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$/;

/** Longer numbers are refused, so that one without end cannot fill memory. */
const LONGEST = 400;

/** 1 for the bytes that end a number or a word. */
const DELIMITER = new Uint8Array(256);
for (const delimiter of ',}]: \n\r\t') {
  DELIMITER[delimiter.charCodeAt(0)] = 1;
}

/** One JSON number, `true`, `false` or `null`, while its bytes come in, possibly over several chunks. */
export class PrimitiveToken {
  #text = '';

  /** A token begins with `byte`. */
  begin(byte: number): void {
    this.#text = String.fromCharCode(byte);
  }

  /** Takes bytes from `from` on; returns where the delimiter is, or the length of the chunk. */
  take(chunk: Buffer, from: number): number {
    let index = from;
    while (index < chunk.length && DELIMITER[chunk[index] ?? 0] !== 1) {
      index += 1;
    }
    this.#text += chunk.toString('latin1', from, index);
    return index;
  }

  /** False once the token can no longer be one. */
  get isPossible(): boolean {
    return this.#text.length <= LONGEST;
  }

  /** True when what was taken is a whole token. */
  get isValid(): boolean {
    return this.isPossible && FORM.test(this.#text);
  }
}
