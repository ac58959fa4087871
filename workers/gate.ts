/**
 * The last-byte gate. A request whose `content-length` promises a byte that never left cannot have been accepted, so an
 * upload of 256 MB is never in doubt until one single byte is written. The gate holds that byte back until the ledger
 * says that it may leave.
 *
 * Invariants
 *   A1  The last byte leaves only after `mayLeave` answered true; `isReleased` is true before it leaves.
 *   A2  Whatever goes wrong earlier ends the stream with an error, so the connection dies one byte short.
 */
import { invariant } from '../segments/errors.ts';
import type { MadeBody } from './body.ts';
import { BodyHash, isSealed, kindOf, type SealedBody } from './body-digest.ts';
import type { GatedBody } from './claude.ts';

const reasons = { body_differs: 'the body differs from the sealed one', lane_lost: 'the lane is lost' } as const;

/** Thrown into the upload when the gate stays shut: the lane was lost, or the body is not the sealed one. */
export class GateShut extends Error {
  readonly code: keyof typeof reasons;

  constructor(code: keyof typeof reasons) {
    super(`the upload was ended before its last byte: ${reasons[code]}`);
    this.name = 'GateShut';
    this.code = code;
  }
}

/** A body behind the gate. */
export interface GateBody extends GatedBody {
  /** What kept the body from being made as it was sealed; undefined: nothing did. An upload that died has another cause,
   *  and the call that made it sees both as the end of its connection. */
  readonly fault: () => unknown;
}

/**
 * Wraps a body whose size and digests are known. `mayLeave` is asked once, with everything but the last byte on its way.
 * Blocks that have left go back to whoever makes the body.
 */
export function gateBody({ blocks, give, digest }: MadeBody, sealed: SealedBody, mayLeave: () => Promise<boolean>): GateBody {
  let isReleased = false;
  let fault: unknown;
  /** False while a block is out: what fails then is the upload, and the cleaning up behind it. */
  let isMaking = true;
  /** The block that is held back while it is not known whether another follows. */
  let last: Uint8Array | undefined;
  const made = async function* (): AsyncGenerator<Uint8Array> {
    const hash = digest === undefined ? new BodyHash(kindOf(sealed)) : undefined;
    for await (const block of blocks) {
      // Unless its maker has: digested before anything of it leaves, while it is still in the cache of the processor.
      hash?.update(block);
      const before = last;
      last = block;
      isMaking = false;
      if (before) yield before;
      isMaking = true;
    }
    invariant(last !== undefined && last.length > 0, 'an archive has a body');
    isMaking = false;
    if (last.length > 1) yield last.subarray(0, last.length - 1);
    isMaking = true;
    // The chunks may have changed on the disk since they were sealed: what is about to be paid for is compared.
    const found = hash ? hash.digest() : digest?.();
    if (found === undefined || !isSealed(found, sealed)) throw new GateShut('body_differs');
  };
  const gated = async function* (): AsyncGenerator<Uint8Array> {
    try {
      yield* made();
    } catch (error) {
      if (isMaking) fault = error;
      throw error;
    }
    if (!(await mayLeave())) throw new GateShut('lane_lost');
    invariant(last !== undefined, 'an archive has a body');
    isReleased = true;
    yield last.subarray(last.length - 1);
  };
  return {
    blocks: gated(),
    // The last block leaves in two parts, and the memory of the first holds the second.
    give: (block) => (block.buffer === last?.buffer ? undefined : give?.(block)),
    sizeBytes: sealed.sizeBytes,
    isReleased: () => isReleased,
    fault: () => fault,
  };
}
