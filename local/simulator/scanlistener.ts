import type { HeardString } from './stringcapture.ts';

/** What the scanner tells about values whose enclosing depth is at most 3; depth 0 is the root. Offsets are bytes of the whole body. */
export interface ScanListener {
  /** An object key inside a container at `depth`. */
  key(depth: number, name: HeardString): void;
  /** A container at `depth` begins at `offset`. */
  open(depth: number, kind: 'object' | 'array', offset: number): void;
  /** The container at `depth` ended; `offset` is the byte after its bracket. */
  close(depth: number, offset: number): void;
  /** A scalar at `depth`. `string` is undefined when the scalar is not a string. */
  scalar(depth: number, string: HeardString | undefined): void;
}

/** Why a body is not JSON; `offset` in bytes, `line` and `column` from 1. */
export interface ScanFault {
  readonly what: string;
  readonly offset: number;
  readonly line: number;
  readonly column: number;
}
