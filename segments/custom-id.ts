/**
 * Reads a `custom_id` of one archive straight from the bytes of a result line, without making a string. It understands
 * exactly what `customId` of `pack.ts` writes; there are a hundred thousand of them in a batch, and building each one
 * again to compare it would cost as much as reading the line.
 *
 * One real id: `7f3a91c2ab-000012_00417_1f0zk3m`, archive, index of the row, checksum over both and the prompt.
 */
import { archiveIdLength } from './pack.ts';
import type { ArchiveId } from './segment.ts';

const indexAt = archiveIdLength + 1;
const checkAt = indexAt + 6;
const idLength = checkAt + 7;
const underscore = 0x5f;

/** The usual reflected CRC-32 table. */
const table = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** Reads the ids of one archive. */
export class CustomIdReader {
  readonly #head: string;
  /** State of the checksum behind `<archive>_`, which all rows share. */
  readonly #state: number;

  constructor(archive: ArchiveId) {
    this.#head = `${archive}_`;
    this.#state = update(-1, this.#head);
  }

  /** The row's index in `bytes[from, to)`, or -1 when it is no id of this archive. The check is not compared. */
  indexOf(bytes: Uint8Array, from: number, to: number): number {
    if (to - from !== idLength || bytes[from + checkAt - 1] !== underscore) return -1;
    for (let i = 0; i < indexAt; i++) if (bytes[from + i] !== this.#head.charCodeAt(i)) return -1;
    let index = 0;
    for (let i = indexAt; i < checkAt - 1; i++) {
      const digit = (bytes[from + i] ?? 0) - 0x30;
      if (digit < 0 || digit > 9) return -1;
      index = index * 10 + digit;
    }
    return index;
  }

  /** Whether the id at `from` carries the check of this row and prompt; `index` is what {@link indexOf} found there. */
  matches(bytes: Uint8Array, from: number, index: number, promptSha256: string): boolean {
    const expected = (update(update(this.#state, `${index}_`), promptSha256) ^ -1) >>> 0;
    let check = 0;
    for (let i = checkAt; i < idLength; i++) {
      const digit = digitOf(bytes[from + i] ?? 0);
      if (digit < 0) return false;
      check = check * 36 + digit;
    }
    return check === expected;
  }
}

function update(state: number, text: string): number {
  let value = state;
  for (let i = 0; i < text.length; i++) value = (table[(value ^ text.charCodeAt(i)) & 0xff] ?? 0) ^ (value >>> 8);
  return value;
}

/** Value of a base 36 digit in lower case, or -1. */
function digitOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  return byte >= 0x61 && byte <= 0x7a ? byte - 0x57 : -1;
}
