/**
 * The threads of the exporter: one for each core, shared by all exports of the process. They compress blocks and compare
 * files with their digests, so that the thread that reads and encodes rows does nothing else, and nothing of it stands in
 * the thread pool that every read and write of a file goes through: there it would stand in line with the reads of whoever
 * seals an archive in the same process.
 *
 * Invariants
 *   P1  What a thread makes is what this thread would make: the same blocks give the same bytes.
 *   P2  As few threads as {@link threadsMax}, and not one before there is a large archive; they end with the process.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { availableParallelism } from 'node:os';
import { invariant } from '../segments/errors.ts';
import { bufferOf, Thread, threadModule } from '../segments/thread.ts';
import { deflatedBlock } from './deflate.ts';
import type { PressAnswer, PressQuestion } from './press-thread.ts';

const threadsMax = 4;
/** Results of an archive from which on threads cost less than they save. */
export const pressedBytesMin = 8 * 1024 * 1024;

/** A block and what it became; the block may be filled again. */
export interface Deflated {
  readonly bytes: Buffer;
  readonly block: Buffer;
}

export interface FileDigest {
  readonly sizeBytes: number;
  /** sha256, hex. */
  readonly sha256: string;
}

/** Compresses and digests. */
export interface Press {
  /** How many blocks are worth having under way at once. */
  readonly blocksAtOnce: number;
  /** Takes a block, whose memory must be its own and must not be touched until it comes back. */
  deflate(block: Buffer, level: number): Promise<Deflated>;
  digest(path: string): Promise<FileDigest>;
}

/** The press for an archive with results of this size. */
export function pressFor(resultsBytes: number): Press {
  return resultsBytes < pressedBytesMin ? besidePress : (threads ??= new ThreadPress());
}

/** Everything on this thread: for small archives. */
export const besidePress: Press = {
  blocksAtOnce: 1,
  deflate: async (block, level) => ({ bytes: bufferOf(deflatedBlock(block, level)), block }),
  async digest(path) {
    const hash = createHash('sha256');
    let sizeBytes = 0;
    for await (const block of createReadStream(path) as AsyncIterable<Buffer>) {
      hash.update(block);
      sizeBytes += block.length;
    }
    return { sizeBytes, sha256: hash.digest('hex') };
  },
};

let threads: ThreadPress | undefined;

class ThreadPress implements Press {
  readonly #threads = Array.from({ length: Math.min(availableParallelism(), threadsMax) }, () => new Thread<PressQuestion, PressAnswer>(threadModule('press-thread', import.meta.url)));
  readonly blocksAtOnce = this.#threads.length * 2;

  async deflate(block: Buffer, level: number): Promise<Deflated> {
    invariant(block.buffer instanceof ArrayBuffer, 'a block that is compressed elsewhere has memory of its own');
    const answer = await this.#idlest().ask({ kind: 'deflate', block, level }, [block.buffer]);
    invariant(answer.kind === 'deflated', 'a block is answered with its bytes');
    return { bytes: bufferOf(answer.bytes), block: bufferOf(answer.block) };
  }

  async digest(path: string): Promise<FileDigest> {
    const answer = await this.#idlest().ask({ kind: 'digest', path });
    invariant(answer.kind === 'digested', 'a file is answered with its digest');
    return answer;
  }

  #idlest(): Thread<PressQuestion, PressAnswer> {
    const [first, ...others] = this.#threads;
    invariant(first !== undefined, 'there is at least one thread');
    return others.reduce((least, each) => (each.owed < least.owed ? each : least), first);
  }
}
