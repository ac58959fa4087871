/**
 * Where the result line of each row stands in a stream of lines. A line that begins with its `custom_id`, as the
 * provider's lines do, is placed by that alone; any other is set aside to be read in full.
 */
import type { CustomIdReader } from '../segments/custom-id.ts';

const newline = 0x0a;
const prefix = Buffer.from('{"custom_id":"', 'latin1');
const quote = 0x22;
/** The prefix, an id of ours and its closing quote fit. */
const headBytes = 64;

/** A line's bytes in the stream, without its newline. */
export interface LinePlace {
  readonly offset: number;
  readonly length: number;
}

/** Notes the places of lines, block by block. */
export class LinePlaces {
  /** Lines that do not begin with an id of ours. */
  readonly unrecognised: LinePlace[] = [];
  readonly #ids: CustomIdReader;
  readonly #offsets: Float64Array;
  readonly #lengths: Uint32Array;
  /** Further lines of a row; a sound set has none. */
  readonly #others = new Map<number, LinePlace[]>();
  /** The first bytes of a line that began in an earlier block. */
  #head: Buffer = Buffer.alloc(0);
  #lineOffset = 0;
  #sizeBytes = 0;

  constructor(rows: number, ids: CustomIdReader) {
    this.#ids = ids;
    this.#offsets = new Float64Array(rows);
    this.#lengths = new Uint32Array(rows);
  }

  /** The lines that claim to answer a row, in the order of the stream; usually one. */
  placesOf(index: number): readonly LinePlace[] {
    const length = this.#lengths[index] ?? 0;
    if (length === 0) return [];
    return [{ offset: this.#offsets[index] ?? 0, length }, ...(this.#others.get(index) ?? [])];
  }

  /** Notes the lines that end in this block. */
  add(block: Buffer): void {
    let from = 0;
    for (let to = block.indexOf(newline); to >= 0; to = block.indexOf(newline, from)) {
      const isJoined = this.#lineOffset < this.#sizeBytes;
      if (isJoined) {
        const head = this.#headWith(block.subarray(from, to));
        this.#note(head, 0, this.#sizeBytes + to - this.#lineOffset);
      } else {
        this.#note(block, from, to - from);
      }
      from = to + 1;
      this.#lineOffset = this.#sizeBytes + from;
      this.#head = Buffer.alloc(0);
    }
    this.#head = this.#headWith(block.subarray(from));
    this.#sizeBytes += block.length;
  }

  /** Places a line. An index of -1 or beyond the rows is ignored. */
  place(index: number, offset: number, length: number): void {
    if (index < 0 || index >= this.#lengths.length) return;
    if (this.#lengths[index] === 0) {
      this.#offsets[index] = offset;
      this.#lengths[index] = length;
    } else {
      this.#others.set(index, [...(this.#others.get(index) ?? []), { offset, length }]);
    }
  }

  #note(bytes: Buffer, from: number, length: number): void {
    const index = this.#indexAt(bytes, from, from + length);
    if (index >= 0) this.place(index, this.#lineOffset, length);
    else this.unrecognised.push({ offset: this.#lineOffset, length });
  }

  #indexAt(bytes: Buffer, from: number, to: number): number {
    for (let i = 0; i < prefix.length; i++) if (bytes[from + i] !== prefix[i]) return -1;
    const idFrom = from + prefix.length;
    let idTo = idFrom;
    while (idTo < to && idTo < from + headBytes && bytes[idTo] !== quote) idTo++;
    return this.#ids.indexOf(bytes, idFrom, idTo);
  }

  #headWith(piece: Buffer): Buffer {
    const missing = headBytes - this.#head.length;
    return missing <= 0 || piece.length === 0 ? this.#head : Buffer.concat([this.#head, piece.subarray(0, missing)]);
  }
}
