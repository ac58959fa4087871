import { EscapeReader, wholeUnits } from './escapes.ts';
import { ACT, CLASSES, FIRST_ACT, MOVES, PLACE } from './grammar.ts';
import { PlainScan, SCAN_WINDOW, type WalkState } from './plainscan.ts';
import { PrimitiveToken } from './primitives.ts';
import type { ScanFault, ScanListener } from './scanlistener.ts';
import { StringCapture, type HeardString } from './stringcapture.ts';
import { Utf8Watch } from './utf8watch.ts';
import { DEPTH_LIMIT, LISTENED_DEPTH } from './walkcode.ts';

/**
 * A JSON checker that works on the bytes of a body as they arrive, so that a 256 MB body is never in memory.
 *
 * It owns the walk (every byte is checked: tokens, escapes, control characters, UTF-8, surrogate pairs) and tells its listener about keys
 * and values near the root. What may come where is in `grammar.ts`; what a batch is, in `envelope.ts`.
 *
 * Inside a string nothing interesting happens until a quote, a unicode escape or a control character comes; `plainscan.ts` finds those, so
 * that the check keeps up with a socket. Below the depth that is listened to, it walks over whole tokens, and this file takes over only where
 * it stops: at line breaks, words, uncommon numbers, unicode escapes, faults and the end of a chunk.
 *
 * Invariants
 *   J1  A body split at any byte gives the same events and the same verdict.
 *   J2  Memory is bounded: the open containers (512 at most) and one captured token (64 KB at most).
 *   J3  After the first fault nothing more is reported to the listener.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

const PLAIN = new PlainScan();

/** Memory from which the scanners of this thread take bytes without a copy. It is free whenever no `write` is running. */
export const SCAN_SPACE = PLAIN.window();

export class JsonScanner {
  readonly #listener: ScanListener;
  readonly #escape = new EscapeReader();
  readonly #utf8 = new Utf8Watch();
  readonly #primitive = new PrimitiveToken();
  readonly #capture = new StringCapture();
  /** The open containers between two chunks, outermost first: 1 for an object. While a chunk is scanned they are in `PLAIN.open`. */
  readonly #open = new Uint8Array(DEPTH_LIMIT);
  readonly #walk: WalkState = { place: PLACE.value, depth: 0, inside: 'nothing' };
  /** How many containers are open. */
  #depth = 0;
  /** The token the next byte belongs to. */
  #inside: 'nothing' | 'string' | 'escape' | 'primitive' = 'nothing';
  /** Where in the grammar the next token stands, one of `PLACE`. */
  #place: number = PLACE.value;
  /** Where a value leads that ends in the innermost container. */
  #afterValue: number = PLACE.done;
  #stringIsKey = false;
  #capturing = false;
  #offset = 0;
  #line = 1;
  #lineStart = 0;
  #fault: ScanFault | undefined;

  constructor(listener: ScanListener) {
    this.#listener = listener;
  }

  /** The first fault, or undefined so far. */
  get fault(): ScanFault | undefined {
    return this.#fault;
  }

  /** Bytes seen. */
  get bytes(): number {
    return this.#offset;
  }

  /** Checks the next bytes of the body. */
  write(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; at += SCAN_WINDOW) {
      this.#scan(chunk.length <= SCAN_WINDOW ? chunk : chunk.subarray(at, at + SCAN_WINDOW));
    }
  }

  /** Says that no more bytes come; a body that is cut short is a fault. */
  end(): void {
    if (this.#inside === 'primitive') {
      this.#endPrimitive(0);
    }
    if (this.#fault === undefined && this.#offset === 0) {
      this.#fail('Input is a zero-length, empty document', 0);
    } else if (this.#fault === undefined && (this.#place !== PLACE.done || this.#inside !== 'nothing' || this.#utf8.isUnfinished)) {
      this.#fail('unexpected end of data', 0);
    }
  }

  #scan(chunk: Buffer): void {
    if (this.#fault === undefined && !this.#utf8.accepts(chunk)) {
      this.#fail('str is not valid UTF-8: surrogates not allowed', 0);
    }
    PLAIN.load(chunk);
    PLAIN.open.set(this.#open);
    let index = 0;
    while (index < chunk.length && this.#fault === undefined) {
      if (this.#inside === 'nothing') {
        index = this.#depth > LISTENED_DEPTH ? this.#unheard(chunk, index) : this.#tokens(chunk, index);
      } else if (this.#inside === 'string') {
        index = this.#inString(chunk, index);
      } else if (this.#inside === 'primitive') {
        index = this.#inPrimitive(chunk, index);
      } else {
        this.#inEscape(chunk[index] ?? 0, index);
        index += 1;
      }
    }
    if (this.#capturing && (this.#inside === 'string' || this.#inside === 'escape')) {
      this.#capture.carryOver(chunk);
    }
    this.#open.set(PLAIN.open);
    this.#offset += chunk.length;
  }

  /** Walks through what nobody listens to, and does what the walk leaves. */
  #unheard(chunk: Buffer, from: number): number {
    const walk = this.#walk;
    walk.place = this.#place;
    walk.depth = this.#depth;
    const index = PLAIN.walk(from, walk);
    this.#place = walk.place;
    this.#depth = walk.depth;
    this.#afterValue = PLAIN.placeAfter(walk.depth);
    if (walk.inside === 'nothing') {
      return this.#tokens(chunk, index);
    }
    this.#inside = 'string';
    this.#stringIsKey = walk.inside === 'key';
    this.#capturing = false;
    return index;
  }

  /** Takes tokens until one has to be looked into, or the chunk ends. */
  #tokens(chunk: Buffer, from: number): number {
    let place = this.#place;
    let index = from;
    while (index < chunk.length) {
      const move = MOVES[place + (CLASSES[chunk[index] ?? 0] ?? 0)] ?? ACT.fault;
      if (move < FIRST_ACT) {
        place = move;
        index += 1;
        continue;
      }
      this.#place = place;
      index = this.#act(move, chunk[index] ?? 0, index);
      place = this.#place;
      if (this.#inside !== 'nothing' || this.#depth > LISTENED_DEPTH || this.#fault !== undefined) {
        return index;
      }
    }
    this.#place = place;
    return index;
  }

  /** Does what the grammar asks for; returns the index at which to go on. */
  #act(act: number, byte: number, index: number): number {
    switch (act) {
      case ACT.begin_key:
      case ACT.begin_string:
        return this.#beginString(act === ACT.begin_key, index);
      case ACT.open_object:
      case ACT.open_array:
        this.#openContainer(act === ACT.open_object, index);
        return index + 1;
      case ACT.close:
        this.#closeContainer(index);
        return index + 1;
      case ACT.count_line:
        this.#line += 1;
        this.#lineStart = this.#offset + index + 1;
        return index + 1;
      case ACT.begin_primitive:
        this.#inside = 'primitive';
        this.#primitive.begin(byte);
        return index + 1;
      default:
        this.#fail(this.#place === PLACE.done ? 'unexpected content after document' : 'unexpected character', index);
        return index;
    }
  }

  #openContainer(isObject: boolean, index: number): void {
    const depth = this.#depth;
    if (depth >= DEPTH_LIMIT) {
      this.#fail('recursion limit exceeded', index);
      return;
    }
    if (depth <= LISTENED_DEPTH) {
      this.#listener.open(depth, isObject ? 'object' : 'array', this.#offset + index);
    }
    PLAIN.open[depth] = isObject ? 1 : 0;
    this.#depth = depth + 1;
    this.#afterValue = isObject ? PLACE.after_member : PLACE.after_item;
    this.#place = isObject ? PLACE.first_key : PLACE.first_value;
  }

  #closeContainer(index: number): void {
    const depth = this.#depth - 1;
    this.#depth = depth;
    this.#afterValue = PLAIN.placeAfter(depth);
    if (depth <= LISTENED_DEPTH) {
      this.#listener.close(depth, this.#offset + index + 1);
    }
    this.#place = this.#afterValue;
  }

  /** Takes a number or word up to its delimiter or to the end of the chunk. */
  #inPrimitive(chunk: Buffer, from: number): number {
    const index = this.#primitive.take(chunk, from);
    if (index < chunk.length) {
      this.#endPrimitive(index);
    } else if (!this.#primitive.isPossible) {
      this.#fail('unexpected character', index);
    }
    return index;
  }

  #endPrimitive(index: number): void {
    if (!this.#primitive.isValid) {
      this.#fail('unexpected character', index);
      return;
    }
    this.#endScalar(undefined);
  }

  #endScalar(string: HeardString | undefined): void {
    if (this.#depth <= LISTENED_DEPTH) {
      this.#listener.scalar(this.#depth, string);
    }
    this.#inside = 'nothing';
    this.#place = this.#afterValue;
  }

  /** Only strings that are listened to begin here; the others begin in a walk. */
  #beginString(isKey: boolean, index: number): number {
    this.#inside = 'string';
    this.#stringIsKey = isKey;
    this.#capturing = true;
    this.#capture.begin(index + 1);
    return index + 1;
  }

  #inString(chunk: Buffer, from: number): number {
    let index = this.#escape.expectsLow ? from : PLAIN.next(from);
    for (let units = wholeUnits(chunk, index); units > 0 && !this.#escape.expectsLow; units = wholeUnits(chunk, index)) {
      index = PLAIN.next(index + units);
    }
    if (index >= chunk.length) {
      return index;
    }
    const byte = chunk[index] ?? 0;
    if (byte === BACKSLASH) {
      this.#inside = 'escape';
      this.#escape.begin();
      return index + 1;
    }
    if (this.#escape.expectsLow) {
      this.#fail('no low surrogate in string', index);
      return index;
    }
    if (byte !== QUOTE) {
      this.#fail('unexpected control character in string', index);
      return index;
    }
    this.#endString(chunk, index);
    return index + 1;
  }

  #endString(chunk: Buffer, index: number): void {
    if (this.#capturing) {
      this.#capture.finish(chunk, index);
    }
    if (!this.#stringIsKey) {
      this.#endScalar(this.#capture);
      return;
    }
    if (this.#capturing) {
      this.#listener.key(this.#depth, this.#capture);
    }
    this.#inside = 'nothing';
    this.#place = PLACE.colon;
  }

  #inEscape(byte: number, index: number): void {
    const outcome = this.#escape.take(byte);
    if (outcome === 'done') {
      this.#inside = 'string';
    } else if (outcome !== 'more') {
      this.#fail(outcome.fault, index);
    }
  }

  #fail(what: string, index: number): void {
    const offset = this.#offset + index;
    this.#fault ??= { what, offset, line: this.#line, column: offset - this.#lineStart + 1 };
  }
}
