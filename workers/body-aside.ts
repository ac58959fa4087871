/**
 * Makes large bodies on a thread that the process keeps for this. Reading, splicing and digesting cost several times what
 * sending does, so a body is sent in three quarters of the time, and leases are renewed meanwhile. Blocks come from that
 * thread and go back to it with their memory: nothing is copied, and nothing is shared, because copying into memory that
 * two threads share takes twice as long.
 *
 * Invariants
 *   D1  The bytes and the digest are those that `archiveBody` makes of the same chunks (B1 of `body.ts`).
 *   D2  At most {@link stepsAhead} answers of a body are asked for ahead, so memory does not grow with the body. What was
 *       given back is filled again.
 *   D3  A body that is given up is closed on the thread, behind what was asked of it.
 *   D4  What goes wrong is raised as it would be here: with code, key and hint of the lake, or the invariant's own words.
 */
import { availableParallelism } from 'node:os';
import { invariant, InvariantBroken, PlimsollError } from '../segments/errors.ts';
import type { ArchiveId } from '../segments/segment.ts';
import type { SpoolRange } from '../segments/store/spool.ts';
import { Thread, threadModule } from '../segments/thread.ts';
import type { BodyStore, MadeBody } from './body.ts';
import type { BodyDigest, DigestKind } from './body-digest.ts';
import type { BodyAnswer, BodyFault, BodyQuestion } from './body-thread.ts';
import { spoolFaultOf } from './local-spool.ts';
import { blockBytes } from './splice.ts';

/** Below this a thread costs more than it saves. */
export const asideBytesMin = 8 * 1024 * 1024;
/** One is made while the blocks of another are sent. */
const stepsAhead = 2;

/** A body on the thread, which is made once: its blocks are taken, or it is only digested. */
interface BodyAside extends Required<MadeBody> {
  /** Makes it and takes none of its blocks. @throws PlimsollError `thread_failed` and those of the lake; InvariantBroken, RangeError when the spool is not what its index says */
  pass(): Promise<BodyDigest>;
}

/** A body of about `sizeBytes` that is made and digested on the thread; undefined: it is small, its spool is not on this machine, or there is one core. */
export function bodyAside(store: BodyStore, archive: ArchiveId, chunks: readonly SpoolRange[], sizeBytes: number, digest: DigestKind): BodyAside | undefined {
  if (store.localPath === undefined || sizeBytes < asideBytesMin || availableParallelism() === 1) return undefined;
  return new ThreadBody(store, archive, chunks, digest);
}

let thread: Thread<BodyQuestion, BodyAnswer> | undefined;
let bodies = 0;

class ThreadBody implements BodyAside {
  readonly #store: BodyStore;
  readonly #archive: ArchiveId;
  readonly #chunks: readonly SpoolRange[];
  readonly #kind: DigestKind;
  readonly #body = ++bodies;
  readonly #free: ArrayBuffer[] = [];
  readonly #thread: Thread<BodyQuestion, BodyAnswer>;
  #digest: BodyDigest | undefined;

  constructor(store: BodyStore, archive: ArchiveId, chunks: readonly SpoolRange[], kind: DigestKind) {
    this.#store = store;
    this.#archive = archive;
    this.#chunks = chunks;
    this.#kind = kind;
    if (thread === undefined || thread.isBroken) thread = new Thread(threadModule('body-thread', import.meta.url));
    this.#thread = thread;
  }

  readonly blocks = this.#make();

  readonly give = ({ buffer }: Uint8Array): void => {
    invariant(buffer instanceof ArrayBuffer && !this.#free.includes(buffer), 'a block is given back once');
    if (buffer.byteLength === blockBytes) this.#free.push(buffer);
  };

  readonly digest = (): BodyDigest | undefined => this.#digest;

  async pass(): Promise<BodyDigest> {
    await this.#begin();
    for (;;) {
      const { end } = await this.#made(this.#ask({ kind: 'pass', body: this.#body }));
      if (end) return end;
    }
  }

  async *#make(): AsyncGenerator<Uint8Array> {
    await this.#begin();
    const ahead: Promise<BodyAnswer>[] = [];
    let isOpen = true;
    try {
      while (isOpen) {
        while (ahead.length < stepsAhead) ahead.push(this.#askNext());
        const asked = ahead.shift();
        invariant(asked !== undefined, 'a step was asked for');
        isOpen = false;
        const { blocks, end } = await this.#made(asked);
        isOpen = end === undefined;
        this.#digest = end;
        yield* blocks;
      }
    } finally {
      if (isOpen) this.#ask({ kind: 'close', body: this.#body }).catch(() => undefined);
    }
  }

  async #made(asked: Promise<BodyAnswer>): Promise<Extract<BodyAnswer, { kind: 'made' }>> {
    const answer = await asked;
    if (answer.kind === 'failed') throw await this.#faultOf(answer.fault);
    invariant(answer.kind === 'made', 'a step of a body has blocks, the end or a fault');
    return answer;
  }

  async #begin(): Promise<void> {
    const chunks = this.#chunks.map(({ spoolKey, spoolRows, spoolParamsBytes, spoolIndexBytes, from, to }) => {
      const path = this.#store.localPath?.(spoolKey);
      invariant(path !== undefined, `${spoolKey} lies on this machine`);
      return { spoolKey, spoolRows, spoolParamsBytes, spoolIndexBytes, from, to, path };
    });
    await this.#ask({ kind: 'begin', body: this.#body, archive: this.#archive, chunks, digest: this.#kind });
  }

  #askNext(): Promise<BodyAnswer> {
    const memory = this.#free.splice(0);
    const asked = this.#ask({ kind: 'next', body: this.#body, memory }, memory);
    // It is awaited in turn; until then a failure must not count as unhandled.
    asked.catch(() => undefined);
    return asked;
  }

  async #ask(question: BodyQuestion, transfer: readonly ArrayBuffer[] = []): Promise<BodyAnswer> {
    try {
      return await this.#thread.ask(question, transfer);
    } catch (error) {
      if (!this.#thread.isBroken) throw error;
      throw new PlimsollError('thread_failed', { message: 'the thread that makes bodies has ended', hint: 'Nothing of the body was accepted; it is made again.', cause: error });
    }
  }

  async #faultOf(fault: BodyFault): Promise<unknown> {
    if (fault.kind === 'unread') return await spoolFaultOf(this.#store, fault.spoolKey, fault.errno);
    // What the thread says is whole already.
    return Object.assign(new InvariantBroken(''), { message: fault.message });
  }
}
