import { writevSync } from 'node:fs';
import type { Judging } from './judgedesk.ts';

/** A write of so many bytes costs two thirds of sixteen writes of the 64 KB in which they come. */
const GATHERED_BYTES = 1_048_576;

/** Writes the pieces of a body to its file, gathered, and has each judged once it is there. */
export class Gathering {
  readonly #file: number;
  readonly #judging: Judging;
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(file: number, judging: Judging) {
    this.#file = file;
    this.#judging = judging;
  }

  /** Takes the next piece. False when the file system refuses a write, for instance because the disk is full. */
  add(piece: Buffer): boolean {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    return this.#bytes < GATHERED_BYTES || this.flush();
  }

  /** Writes what is still here; false as above. */
  flush(): boolean {
    const pieces = this.#pieces;
    try {
      for (let rest = pieces, left = this.#bytes; left > 0; ) {
        const written = writevSync(this.#file, rest);
        left -= written;
        rest = left > 0 ? behind(rest, written) : [];
      }
    } catch {
      return false;
    }
    for (const piece of pieces) {
      this.#judging.take(piece);
    }
    this.#pieces = [];
    this.#bytes = 0;
    return true;
  }
}

/** The pieces without their first `written` bytes: the system may take less than it was given. */
function behind(pieces: readonly Buffer[], written: number): Buffer[] {
  const rest: Buffer[] = [];
  let skip = written;
  for (const piece of pieces) {
    if (skip < piece.length) {
      rest.push(piece.subarray(skip));
    }
    skip = Math.max(0, skip - piece.length);
  }
  return rest;
}
