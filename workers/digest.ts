/**
 * The sha256 of a body on its way out. Of a large one it is taken on a thread of its own: the digest of 256 MB costs as
 * much as making the body and handing it to the kernel together, and both can be done at once.
 *
 * Invariants
 *   D1  The digest is that of the blocks in the order in which they were added.
 *   D2  A block that may be filled again is one that was read: `whenRead` waits for that.
 *   D3  At most {@link blocksAhead} blocks wait for the thread; whoever adds another waits with them.
 */
import { createHash } from 'node:crypto';
import { invariant } from '../segments/errors.ts';
import { Thread, threadModule } from '../segments/thread.ts';
import type { DigestAnswer, DigestQuestion } from './digest-thread.ts';

/** A body below this is digested before a thread has started. */
export const threadedBytesMin = 8 * 1024 * 1024;
/** Enough that a body does not wait for its thread to start; a block of a body is 1 MiB. */
const blocksAhead = 16;

/** A sha256 that grows with a body. */
export interface BodyDigest {
  /** Takes the next block; resolves when another may come. A block must not change before `whenRead` says so (D2). */
  add(block: Uint8Array): Promise<void>;
  /** Calls back once nobody reads this block any more; never, when that cannot be known. */
  whenRead(block: Uint8Array, then: () => void): void;
  /** The digest of all blocks, hex. @throws Error when the thread has died */
  end(): Promise<string>;
  /** Gives up what is still under way. */
  close(): Promise<void>;
}

/** The digest for a body of this size. */
export function digestFor(sizeBytes: number): BodyDigest {
  return sizeBytes < threadedBytesMin ? new DigestHere() : new DigestAside();
}

class DigestHere implements BodyDigest {
  readonly #hash = createHash('sha256');

  async add(block: Uint8Array): Promise<void> {
    this.#hash.update(block);
  }

  whenRead(_block: Uint8Array, then: () => void): void {
    then();
  }

  async end(): Promise<string> {
    return this.#hash.digest('hex');
  }

  async close(): Promise<void> {
    // Nothing is under way.
  }
}

class DigestAside implements BodyDigest {
  readonly #thread = new Thread<DigestQuestion, DigestAnswer>(threadModule('digest-thread', import.meta.url));
  /** What the thread has not read yet, by its memory, the oldest first. */
  readonly #unread = new Map<ArrayBufferLike, Promise<DigestAnswer>>();

  async add(block: Uint8Array): Promise<void> {
    const { buffer } = block;
    const asked = this.#thread.ask({ kind: 'block', block });
    this.#unread.set(buffer, asked);
    // `end` says when the thread has died; until then a failure must not count as unhandled.
    asked.then(() => this.#unread.delete(buffer), () => undefined);
    const [oldest] = this.#unread.values();
    if (this.#unread.size > blocksAhead) await oldest;
  }

  whenRead(block: Uint8Array, then: () => void): void {
    const asked = this.#unread.get(block.buffer);
    if (asked) asked.then(then, () => undefined);
    else then();
  }

  async end(): Promise<string> {
    const answer = await this.#thread.ask({ kind: 'end' });
    invariant(answer.kind === 'digested', 'the last answer of a digest is the digest');
    return answer.sha256;
  }

  async close(): Promise<void> {
    await this.#thread.end();
  }
}
