/**
 * The sha256 of a body, taken while the body is made. Digesting costs as much as everything else that is done to a byte
 * between the spool and the socket, so a large body is digested on a thread that the process keeps for this: two cores
 * then send it in two thirds of the time, and leases are renewed meanwhile.
 *
 * Invariants
 *   D1  The digest is that of the blocks in the order in which they were added, whichever thread takes it.
 *   D2  A block is looked at until its `add` has resolved, and not longer.
 *   D3  `room` resolves only while fewer than {@link blocksAhead} blocks of the body wait for the thread.
 */
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { invariant, PlimsollError } from '../segments/errors.ts';
import { Thread, threadModule } from '../segments/thread.ts';
import type { DigestAnswer, DigestQuestion } from './digest-thread.ts';

/** Below this a thread costs more than it saves. */
const threadedBytesMin = 8 * 1024 * 1024;
/** Enough that neither thread waits for the other while one of them is held up. */
const blocksAhead = 8;

/** The digest of one body. */
export interface BodyDigest {
  /** Takes the next bytes; resolves when they may be changed (D2). @throws PlimsollError `thread_failed` */
  add(block: Uint8Array): Promise<void>;
  /** Waits until the digest has nearly caught up (D3). @throws PlimsollError `thread_failed` */
  room(): Promise<void>;
  /** The sha256 of everything that was added, hex. @throws PlimsollError `thread_failed` */
  end(): Promise<string>;
  /** Gives up a digest that is not needed any more; harmless after `end`. */
  close(): void;
}

/** Whether a body of this size, bytes, is digested on a thread: then its blocks have to be in shared memory. */
export function isDigestedAside(sizeBytes: number): boolean {
  return sizeBytes >= threadedBytesMin && availableParallelism() > 1;
}

/** A digest for a body of this size, bytes. */
export function digestFor(sizeBytes: number): BodyDigest {
  if (!isDigestedAside(sizeBytes)) return digestHere();
  if (thread === undefined || thread.isBroken) thread = new Thread(threadModule('digest-thread', import.meta.url));
  return new ThreadDigest(thread);
}

let thread: Thread<DigestQuestion, DigestAnswer> | undefined;
let bodies = 0;

function digestHere(): BodyDigest {
  const hash = createHash('sha256');
  return {
    add: async (block) => void hash.update(block),
    room: async () => undefined,
    end: async () => hash.digest('hex'),
    close: () => undefined,
  };
}

class ThreadDigest implements BodyDigest {
  readonly #thread: Thread<DigestQuestion, DigestAnswer>;
  readonly #body = ++bodies;
  /** The blocks that are not digested yet, oldest first. */
  readonly #asked: Promise<DigestAnswer>[] = [];
  #hasEnded = false;

  constructor(thread: Thread<DigestQuestion, DigestAnswer>) {
    this.#thread = thread;
  }

  async add(block: Uint8Array): Promise<void> {
    invariant(block.buffer instanceof SharedArrayBuffer, 'a block that is digested elsewhere is shared, not copied');
    const asked = this.#ask({ kind: 'block', body: this.#body, block });
    // It is awaited in turn as well; until then a failure must not count as unhandled.
    asked.catch(() => undefined);
    this.#asked.push(asked);
    await asked;
  }

  async room(): Promise<void> {
    if (this.#asked.length >= blocksAhead) await this.#asked.shift();
  }

  async end(): Promise<string> {
    this.#hasEnded = true;
    return (await Promise.all([...this.#asked.splice(0), this.#ask({ kind: 'end', body: this.#body })])).at(-1) ?? '';
  }

  close(): void {
    if (!this.#hasEnded) void this.end().catch(() => undefined);
  }

  async #ask(question: DigestQuestion): Promise<DigestAnswer> {
    return await this.#thread.ask(question).catch((error: unknown) => {
      throw new PlimsollError('thread_failed', { message: 'the thread that digests bodies has ended', hint: 'Nothing of the body was accepted; it is made again.', cause: error });
    });
  }
}
