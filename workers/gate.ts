/**
 * The last-byte gate. A request whose `content-length` promises a byte that never left cannot have been accepted, so an
 * upload of 256 MB is never in doubt until one single byte is written. The gate holds that byte back until the ledger
 * says that it may leave.
 *
 * Invariants
 *   A1  The last byte leaves only after `mayLeave` answered true; `isReleased` is true before it leaves.
 *   A2  Whatever goes wrong earlier ends the stream with an error, so the connection dies one byte short.
 */
import { createHash, type Hash } from 'node:crypto';
import { invariant } from '../segments/errors.ts';
import type { GatedBody } from './claude.ts';

/** Thrown into the upload when the gate stays shut: the lane was lost, or the body is not the sealed one. */
export class GateShut extends Error {
  constructor(why: string) {
    super(`the upload was ended before its last byte: ${why}`);
    this.name = 'GateShut';
  }
}

/**
 * Wraps a body whose size and digest are known. `mayLeave` is asked once, with everything but the last byte on its way.
 */
export function gateBody(
  blocks: AsyncIterable<Uint8Array>,
  sealed: { readonly sizeBytes: number; readonly sha256: string },
  mayLeave: () => Promise<boolean>,
): GatedBody {
  let isReleased = false;
  const gated = async function* (): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256');
    let sent = 0;
    let last: Uint8Array | undefined;
    for await (const block of readAhead(hashing(blocks, hash))) {
      if (last) yield last;
      sent += block.length;
      last = block;
    }
    invariant(last !== undefined && last.length > 0, 'an archive has a body');
    if (last.length > 1) yield last.subarray(0, last.length - 1);
    // The chunks may have changed on the disk since they were sealed: what is about to be paid for is compared.
    if (sent !== sealed.sizeBytes || hash.digest('hex') !== sealed.sha256) throw new GateShut('the body differs from the sealed one');
    if (!(await mayLeave())) throw new GateShut('the lane is lost');
    isReleased = true;
    yield last.subarray(last.length - 1);
  };
  return { blocks: gated(), sizeBytes: sealed.sizeBytes, isReleased: () => isReleased };
}

async function* hashing(blocks: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Uint8Array> {
  for await (const block of blocks) {
    hash.update(block);
    yield block;
  }
}

/**
 * Yields the same blocks, and has the next one made while the kernel and the network are busy with the one before: not at
 * once, which would come before the write, but in the turn of the event loop after it.
 */
async function* readAhead(blocks: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  let next = blocks.next();
  try {
    for (;;) {
      const { done, value } = await next;
      if (done) return;
      next = nextTurn().then(async () => await blocks.next());
      // It is awaited in turn, unless the upload ends before.
      next.catch(() => undefined);
      yield value;
    }
  } finally {
    await blocks.return(undefined);
  }
}

async function nextTurn(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}
