/**
 * Blocks of bytes become lines. The newline is searched with the engine's own byte search over whole blocks; a line that
 * lies inside one block is a slice of it, not a copy (performance.md, line splitting).
 *
 * It owns the carry between two blocks and the running digest; it neither parses nor judges.
 *
 * Invariants
 *   N1  Every byte of the source is hashed once, in order, and belongs to exactly one line or is a newline.
 *   N2  A line is handed out only when its last byte was seen, with its 1-based row and the offset of its first byte.
 *   N3  Never more than `lineBytesMax` bytes are carried: the rest of a longer line is counted and dropped.
 */
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import type { Checkpoint } from '../segments/ledger/ledger.ts';

/** A place in one object of a source. */
export interface LineOrigin {
  readonly uri: string;
  readonly etag: string;
  readonly version: string | undefined;
  /** 1-based line of the object. */
  readonly row: number;
  /** Offset of the first byte in the decompressed object. */
  readonly byteOffset: number;
}

/** One line without its line end. `bytes` is valid until the next block is read. */
export interface Line {
  /** 1-based. */
  readonly row: number;
  /** Offset of the first byte in the decompressed source. */
  readonly byteOffset: number;
  /** The whole line, or the first `keptBytes` of one that is too long. */
  readonly bytes: Buffer;
  /** The object that it stands in, where a source is made of objects. */
  readonly origin?: LineOrigin;
  /** Length of the whole line; more than `bytes.length` when the line was too long to be kept. */
  readonly sizeBytes: number;
}

const newline = 0x0a;
const carriageReturn = 0x0d;
const nothing = Buffer.alloc(0);
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);
/** How much of a line that is too long is kept, for the rejects file. */
export const keptBytes = 64 * 1024;

/** Cuts a source into lines and knows how far it has come. */
export class LineReader {
  readonly #lineBytesMax: number;
  readonly #hash: Hash = createHash('sha256');
  #bytes = 0;
  #rows = 0;
  #lineOffset = 0;
  #carry: Buffer[] = [];
  #carryBytes = 0;
  #carryKept = 0;
  #object: { readonly uri: string; readonly etag: string; readonly version: string | undefined; readonly rows: number; readonly bytes: number } | undefined;
  #watched: { readonly bytes: number; readonly tell: (sha256: string) => void } | undefined;

  constructor(lineBytesMax: number) {
    this.#lineBytesMax = lineBytesMax;
  }

  /** Bytes hashed so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Lines handed out so far, blank ones included. */
  get rows(): number {
    return this.#rows;
  }

  /** Says that the next block is the first of an object; all lines before it are handed out. */
  begin({ uri, etag, version }: { readonly uri: string; readonly etag: string; readonly version: string | undefined }): void {
    this.#object = { uri, etag, version, rows: this.#rows, bytes: this.#bytes };
  }

  /** Tells the digest of the first `bytes` bytes as soon as that many were hashed. */
  watch(bytes: number, tell: (sha256: string) => void): void {
    this.#watched = { bytes, tell };
    if (bytes === this.#bytes) this.#tellWatcher();
  }

  /** How much was hashed, how many lines were handed out, and the digest of it. */
  position(): Checkpoint {
    return { bytes: this.#bytes, rows: this.#rows, sha256: this.#hash.copy().digest('hex') };
  }

  /** Counts and hashes the next block (N1). A source that is only compared needs nothing else. */
  hash(block: Buffer): void {
    const watchedAt = this.#watched?.bytes ?? -1;
    if (watchedAt > this.#bytes && watchedAt <= this.#bytes + block.length) {
      const left = watchedAt - this.#bytes;
      this.#update(block.subarray(0, left));
      this.#tellWatcher();
      this.#update(block.subarray(left));
    } else {
      this.#update(block);
    }
  }

  /** Yields the lines that a block completes (N2). Every block is first hashed, then cut, in this order. */
  *cut(block: Buffer): Generator<Line, void, void> {
    let from = 0;
    if (this.#bytes === block.length && block.subarray(0, byteOrderMark.length).equals(byteOrderMark)) {
      from = byteOrderMark.length;
      this.#lineOffset = from;
    }
    for (;;) {
      const at = block.indexOf(newline, from);
      if (at < 0) break;
      yield this.#complete(block.subarray(from, at));
      this.#lineOffset += 1;
      from = at + 1;
    }
    if (from < block.length) this.#keep(block.subarray(from));
  }

  /** Yields the last line of a source that does not end with a newline. */
  *end(): Generator<Line, void, void> {
    if (this.#carryBytes > 0) yield this.#complete(nothing);
  }

  #complete(rest: Buffer): Line {
    let sizeBytes = this.#carryBytes + rest.length;
    let bytes = rest;
    if (this.#carryBytes > 0) {
      if (rest.length > 0) this.#keep(rest);
      bytes = this.#carry.length === 1 ? (this.#carry[0] ?? rest) : Buffer.concat(this.#carry);
    }
    if (sizeBytes > this.#lineBytesMax) bytes = bytes.subarray(0, keptBytes);
    else if (bytes[bytes.length - 1] === carriageReturn) {
      bytes = bytes.subarray(0, -1);
      sizeBytes -= 1;
    }
    const origin = this.#origin();
    const line: Line = { row: this.#rows + 1, byteOffset: this.#lineOffset, bytes, sizeBytes, ...(origin && { origin }) };
    this.#rows += 1;
    this.#lineOffset += this.#carryBytes > 0 ? this.#carryBytes : rest.length;
    this.#carry = [];
    this.#carryBytes = 0;
    this.#carryKept = 0;
    return line;
  }

  #origin(): LineOrigin | undefined {
    if (!this.#object) return undefined;
    const { uri, etag, version, rows, bytes } = this.#object;
    return { uri, etag, version, row: this.#rows + 1 - rows, byteOffset: this.#lineOffset - bytes };
  }

  /** Copies what a line has so far, because the reader of blocks reuses its memory (N3). */
  #keep(part: Buffer): void {
    this.#carryBytes += part.length;
    if (this.#carryBytes <= this.#lineBytesMax) {
      this.#carry.push(Buffer.from(part));
      this.#carryKept += part.length;
      return;
    }
    const missing = Math.max(0, keptBytes - this.#carryKept);
    const kept = Buffer.concat([...this.#carry, part.subarray(0, missing)]).subarray(0, keptBytes);
    this.#carry = [Buffer.from(kept)];
    this.#carryKept = kept.length;
  }

  #update(block: Buffer): void {
    this.#hash.update(block);
    this.#bytes += block.length;
  }

  #tellWatcher(): void {
    const watched = this.#watched;
    this.#watched = undefined;
    watched?.tell(this.#hash.copy().digest('hex'));
  }
}

/** Whether a line holds nothing but white space; such lines are skipped and only count as rows. */
export function isBlank(line: Line): boolean {
  if (line.sizeBytes > line.bytes.length) return false;
  for (const byte of line.bytes) if (byte !== 0x20 && byte !== 0x09 && byte !== carriageReturn) return false;
  return true;
}
