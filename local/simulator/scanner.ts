import { EscapeReader } from './escapes.ts';
import { PlainScan, SCAN_WINDOW } from './plainscan.ts';
import { PrimitiveToken } from './primitives.ts';
import { StringCapture } from './stringcapture.ts';
import { Utf8Watch } from './utf8watch.ts';

/**
 * A JSON checker that works on the bytes of a body as they arrive, so that a 256 MB body is never in memory.
 *
 * It owns the grammar (every byte is checked: tokens, escapes, control characters, UTF-8, surrogate pairs) and tells its listener about keys
 * and values near the root. It does not know what a batch is: that is `envelope.ts`.
 *
 * Inside a string nothing interesting happens until a quote, a unicode escape or a control character comes; `plainscan.ts` finds those, so
 * that the check keeps up with a socket.
 *
 * Invariants
 *   J1  A body split at any byte gives the same events and the same verdict.
 *   J2  Memory is bounded: the open containers (512 at most) and one captured token (64 KB at most).
 *   J3  After the first fault nothing more is reported to the listener.
 */

/** What the scanner tells about values whose enclosing depth is at most 3; depth 0 is the root. Offsets are bytes of the whole body. */
export interface ScanListener {
  /** An object key inside a container at `depth`. */
  key(depth: number, text: string): void;
  /** A container at `depth` begins at `offset`. */
  open(depth: number, kind: 'object' | 'array', offset: number): void;
  /** The container at `depth` ended; `offset` is the byte after its bracket. */
  close(depth: number, offset: number): void;
  /** A scalar at `depth`. `text` is the decoded string, or undefined when the scalar is not a string. */
  scalar(depth: number, text: string | undefined): void;
}

/** Why a body is not JSON; `offset` in bytes, `line` and `column` from 1. */
export interface ScanFault {
  readonly what: string;
  readonly offset: number;
  readonly line: number;
  readonly column: number;
}

const LISTENED_DEPTH = 3;
const DEPTH_LIMIT = 512;

const PLAIN = new PlainScan();

type State = 'value' | 'first_value' | 'first_key' | 'key' | 'colon' | 'after_value' | 'string' | 'escape' | 'primitive' | 'done';

export class JsonScanner {
  readonly #listener: ScanListener;
  readonly #escape = new EscapeReader();
  readonly #utf8 = new Utf8Watch();
  readonly #primitive = new PrimitiveToken();
  readonly #capture = new StringCapture();
  /** Open containers, innermost last: true for an object. */
  readonly #open: boolean[] = [];
  /** The innermost of them. */
  #inObject = false;
  #state: State = 'value';
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
      this.#scan(chunk.subarray(at, at + SCAN_WINDOW));
    }
  }

  #scan(chunk: Buffer): void {
    if (this.#fault === undefined && !this.#utf8.accepts(chunk)) {
      this.#fail('str is not valid UTF-8: surrogates not allowed', 0);
    }
    PLAIN.load(chunk);
    let index = 0;
    while (index < chunk.length && this.#fault === undefined) {
      if (this.#state === 'string') {
        index = this.#inString(chunk, index);
      } else {
        index = this.#step(chunk, index);
      }
    }
    if (this.#capturing && (this.#state === 'string' || this.#state === 'escape')) {
      this.#capture.carryOver(chunk);
    }
    this.#offset += chunk.length;
  }

  /** Says that no more bytes come; a body that is cut short is a fault. */
  end(): void {
    if (this.#state === 'primitive') {
      this.#endPrimitive(0);
    }
    if (this.#fault === undefined && this.#offset === 0) {
      this.#fail('Input is a zero-length, empty document', 0);
    } else if (this.#fault === undefined && (this.#state !== 'done' || this.#utf8.isUnfinished)) {
      this.#fail('unexpected end of data', 0);
    }
  }

  #step(chunk: Buffer, index: number): number {
    const byte = chunk[index] ?? 0;
    if (this.#state === 'escape') {
      this.#inEscape(byte, index);
      return index + 1;
    }
    if (this.#state === 'primitive') {
      return this.#inPrimitive(chunk, index);
    }
    if (byte === 0x0a) {
      this.#line += 1;
      this.#lineStart = this.#offset + index + 1;
      return index + 1;
    }
    if (byte === 0x20 || byte === 0x0d || byte === 0x09) {
      return index + 1;
    }
    this.#token(byte, index);
    return index + 1;
  }

  #token(byte: number, index: number): void {
    switch (this.#state) {
      case 'first_value':
      case 'value':
        if (byte === 0x5d && this.#state === 'first_value') {
          this.#close(index);
        } else {
          this.#beginValue(byte, index);
        }
        return;
      case 'first_key':
      case 'key':
        if (byte === 0x7d && this.#state === 'first_key') {
          this.#close(index);
        } else if (byte === 0x22) {
          this.#beginString(true, index);
        } else {
          this.#fail('unexpected character', index);
        }
        return;
      case 'colon':
        if (byte === 0x3a) {
          this.#state = 'value';
        } else {
          this.#fail('unexpected character', index);
        }
        return;
      case 'after_value':
        this.#afterValue(byte, index);
        return;
      default:
        this.#fail(this.#state === 'done' ? 'unexpected content after document' : 'unexpected character', index);
    }
  }

  #afterValue(byte: number, index: number): void {
    if (byte === 0x2c) {
      this.#state = this.#inObject ? 'key' : 'value';
    } else if (byte === (this.#inObject ? 0x7d : 0x5d)) {
      this.#close(index);
    } else {
      this.#fail('unexpected character', index);
    }
  }

  #beginValue(byte: number, index: number): void {
    if (byte === 0x22) {
      this.#beginString(false, index);
    } else if (byte === 0x7b || byte === 0x5b) {
      const depth = this.#open.length;
      if (depth >= DEPTH_LIMIT) {
        this.#fail('recursion limit exceeded', index);
        return;
      }
      if (depth <= LISTENED_DEPTH) {
        this.#listener.open(depth, byte === 0x7b ? 'object' : 'array', this.#offset + index);
      }
      this.#inObject = byte === 0x7b;
      this.#open.push(this.#inObject);
      this.#state = byte === 0x7b ? 'first_key' : 'first_value';
    } else {
      this.#state = 'primitive';
      this.#primitive.begin(byte);
    }
  }

  #close(index: number): void {
    this.#open.pop();
    this.#inObject = this.#open[this.#open.length - 1] === true;
    if (this.#open.length <= LISTENED_DEPTH) {
      this.#listener.close(this.#open.length, this.#offset + index + 1);
    }
    this.#state = this.#open.length === 0 ? 'done' : 'after_value';
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

  #endScalar(text: string | undefined): void {
    if (this.#open.length <= LISTENED_DEPTH) {
      this.#listener.scalar(this.#open.length, text);
    }
    this.#state = this.#open.length === 0 ? 'done' : 'after_value';
  }

  #beginString(isKey: boolean, index: number): void {
    this.#state = 'string';
    this.#stringIsKey = isKey;
    this.#capturing = this.#open.length <= LISTENED_DEPTH;
    this.#capture.begin(index + 1);
  }

  #inString(chunk: Buffer, from: number): number {
    const index = this.#escape.expectsLow ? from : PLAIN.next(from);
    if (index >= chunk.length) {
      return index;
    }
    const byte = chunk[index] ?? 0;
    if (byte === 0x5c) {
      this.#state = 'escape';
      this.#escape.begin();
      return index + 1;
    }
    if (this.#escape.expectsLow) {
      this.#fail('no low surrogate in string', index);
      return index;
    }
    if (byte !== 0x22) {
      this.#fail('unexpected control character in string', index);
      return index;
    }
    this.#endString(chunk, index);
    return index + 1;
  }

  #endString(chunk: Buffer, index: number): void {
    const text = this.#capturing ? this.#capture.finish(chunk, index) : '';
    if (this.#stringIsKey) {
      if (this.#open.length <= LISTENED_DEPTH) {
        this.#listener.key(this.#open.length, text);
      }
      this.#state = 'colon';
    } else {
      this.#endScalar(text);
    }
  }

  #inEscape(byte: number, index: number): void {
    const outcome = this.#escape.take(byte);
    if (outcome === 'done') {
      this.#state = 'string';
    } else if (outcome !== 'more') {
      this.#fail(outcome.fault, index);
    }
  }

  #fail(what: string, index: number): void {
    const offset = this.#offset + index;
    this.#fault ??= { what, offset, line: this.#line, column: offset - this.#lineStart + 1 };
  }
}
