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
 *   N4  A section ends behind the first newline at or behind `sectionBytes` bytes of it, wherever blocks end. The digest of
 *       what follows begins with the digest of what went before, so it can be taken up there without reading it again:
 *       of a source of one section it is the sha256 of its bytes.
 */
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import type { Checkpoint } from '../segments/ledger/ledger.ts';
import { emptyTrail, follow } from './trail.ts';
import type { ObjectIdentity, Trail } from './trail.ts';

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

/** Where a reader stands between two lines. */
export interface ReaderPlace extends Checkpoint {
  /** The object that holds the last line, where a source is made of objects. */
  readonly object: ObjectPlace | undefined;
}

/** A place in an object: bytes and lines of it that lie before. `trail` is of the objects that were begun, it included. */
export interface ObjectPlace extends ObjectIdentity {
  readonly byte: number;
  readonly row: number;
  readonly trail: Trail;
}

const newline = 0x0a;
const carriageReturn = 0x0d;
const nothing = Buffer.alloc(0);
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);
/** How much of a line that is too long is kept, for the rejects file. */
export const keptBytes = 64 * 1024;

/** Cuts a source into lines and knows how far it has come. */
export class LineReader {
  /** How long a section is, at least; `Infinity`: the source is one section. */
  readonly sectionBytes: number;
  readonly #lineBytesMax: number;
  #hash: Hash = createHash('sha256');
  /** Bytes of the source from which on the next newline ends the section. */
  #boundAt: number;
  #isAtSectionEnd = false;
  #resumedAt: ReaderPlace | undefined;
  #trail: Trail = emptyTrail;
  #bytes = 0;
  #rows = 0;
  #lineOffset = 0;
  #carry: Buffer[] = [];
  #carryBytes = 0;
  #carryKept = 0;
  /** `rows` and `bytes` of the source lie before it. */
  #object: (ObjectIdentity & { readonly rows: number; readonly bytes: number }) | undefined;
  #watched: { readonly bytes: number; readonly tell: (sha256: string) => void } | undefined;

  constructor(lineBytesMax: number, sectionBytes = Infinity) {
    this.#lineBytesMax = lineBytesMax;
    this.sectionBytes = sectionBytes;
    this.#boundAt = sectionBytes;
  }

  /** Whether the newest byte that was hashed is the last of a section (N4). */
  get isAtSectionEnd(): boolean {
    return this.#isAtSectionEnd;
  }

  /** The objects that were begun so far. */
  get trail(): Trail {
    return this.#trail;
  }

  /**
   * Takes up a source at the end of a section: everything before it counts as hashed and handed out. Called before the
   * first object is begun when reading starts there, or when exactly that much was hashed and nothing was cut.
   */
  resume(place: ReaderPlace): void {
    const { bytes, rows, sha256, object } = place;
    this.#bytes = bytes;
    this.#rows = rows;
    this.#lineOffset = bytes;
    this.#resumedAt = place;
    this.#startSection(Buffer.from(sha256, 'hex'));
    if (this.#object && object) this.#object = { ...this.#object, rows: rows - object.row, bytes: bytes - object.byte };
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
  begin({ uri, etag, version }: ObjectIdentity): void {
    const resumed = this.#object ? undefined : this.#resumedAt?.object;
    this.#object = { uri, etag, version, rows: this.#rows - (resumed?.row ?? 0), bytes: this.#bytes - (resumed?.byte ?? 0) };
    this.#trail = resumed?.trail ?? follow(this.#trail, { uri, etag });
  }

  /** Tells the digest of the first `bytes` bytes as soon as that many were hashed. */
  watch(bytes: number, tell: (sha256: string) => void): void {
    this.#watched = { bytes, tell };
    if (bytes === this.#bytes) this.#tellWatcher();
  }

  /** How much was hashed, how many lines were handed out, and the digest of it. */
  position(): Checkpoint {
    return { bytes: this.#bytes, rows: this.#rows, sha256: this.#digest() };
  }

  /** The same with the object in which it lies; all lines of what was hashed are handed out. */
  place(): ReaderPlace {
    const object = this.#object;
    if (!object) return { ...this.position(), object: undefined };
    const { uri, etag, version, rows, bytes } = object;
    return { ...this.position(), object: { uri, etag, version, byte: this.#bytes - bytes, row: this.#rows - rows, trail: this.#trail } };
  }

  /** Divides a block where sections end (N4). Each part is to be hashed before the next one is asked for. */
  *parts(block: Buffer): Generator<Buffer, void, void> {
    for (let rest = block; rest.length > 0; ) {
      const searchFrom = Math.max(0, this.#boundAt - this.#bytes - 1);
      const at = searchFrom < rest.length ? rest.indexOf(newline, searchFrom) : -1;
      const part = at < 0 ? rest : rest.subarray(0, at + 1);
      yield part;
      rest = rest.subarray(part.length);
    }
  }

  /** Counts and hashes the next block (N1). A source that is only compared needs nothing else. */
  hash(block: Buffer): void {
    if (this.#isAtSectionEnd) this.#startSection(this.#hash.digest());
    const watchedAt = this.#watched?.bytes ?? -1;
    if (watchedAt > this.#bytes && watchedAt <= this.#bytes + block.length) {
      const left = watchedAt - this.#bytes;
      this.#update(block.subarray(0, left));
      this.#tellWatcher();
      this.#update(block.subarray(left));
    } else {
      this.#update(block);
    }
    this.#isAtSectionEnd = this.#bytes >= this.#boundAt && block[block.length - 1] === newline;
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
    watched?.tell(this.#digest());
  }

  /** Begins a section with the digest of everything before it. */
  #startSection(before: Buffer): void {
    this.#hash = createHash('sha256').update(before);
    this.#boundAt = this.#bytes + this.sectionBytes;
    this.#isAtSectionEnd = false;
  }

  #digest(): string {
    return this.#resumedAt?.bytes === this.#bytes ? this.#resumedAt.sha256 : this.#hash.copy().digest('hex');
  }
}

/** Whether a line holds nothing but white space; such lines are skipped and only count as rows. */
export function isBlank(line: Line): boolean {
  if (line.sizeBytes > line.bytes.length) return false;
  for (const byte of line.bytes) if (byte !== 0x20 && byte !== 0x09 && byte !== carriageReturn) return false;
  return true;
}
