/**
 * The body of an archive: a pure function of its manifest and its chunks, so it can be made again, byte for byte, on any
 * machine. It streams from the spool with constant memory; nothing of it is ever parsed.
 *
 * Invariant B1: the bytes are the same each time, whichever thread makes them; the sealer records their digests, the
 * submitter compares one (`body-digest.ts`).
 */
import { invariant } from '../segments/errors.ts';
import type { ArchiveId } from '../segments/segment.ts';
import { readSpoolMarks, type SpoolRange, type SpoolReader } from '../segments/store/spool.ts';
import type { Store } from '../segments/store/store.ts';
import { bodyAside } from './body-aside.ts';
import { BodyHash, kindOf, type BodyDigest, type SealedBody } from './body-digest.ts';
import { spoolReaderOf } from './local-spool.ts';
import { BodyMemory, BodySplice } from './splice.ts';

/** The part of the store that making a body takes. */
export type BodyStore = SpoolReader & Pick<Store, 'localPath'>;

/** A body that is made while it is used. */
export interface MadeBody {
  /** In order. A block is not touched again before it is given back. */
  readonly blocks: AsyncIterable<Uint8Array>;
  /** Takes back a block that nobody looks at any more, to fill it again. */
  readonly give?: (block: Uint8Array) => void;
  /** What was found of it once the blocks have ended; absent: whoever takes them has to digest them. */
  readonly digest?: () => BodyDigest | undefined;
}

/** Makes the body that was sealed for whoever sends it, on a thread of its own where that is faster. Its blocks throw as {@link digestBody} does. */
export function makeBody(store: BodyStore, archive: ArchiveId, chunks: readonly SpoolRange[], sealed: SealedBody): MadeBody {
  const aside = bodyAside(store, archive, chunks, sealed.sizeBytes, kindOf(sealed));
  if (aside) return aside;
  const memory = new BodyMemory();
  return { blocks: archiveBody(store, archive, chunks, memory), give: (block) => memory.give(block) };
}

/**
 * Makes a body of about `sizeBytes` once, for its size and its digests.
 * @throws PlimsollError as the lake does, and `thread_failed`; InvariantBroken, RangeError when the spool is not what its index says
 */
export async function digestBody(store: BodyStore, archive: ArchiveId, chunks: readonly SpoolRange[], sizeBytes: number): Promise<SealedBody> {
  const { sizeBytes: madeBytes, gmac, sha256 } = await digestOf(store, archive, chunks, sizeBytes);
  invariant(sha256 !== undefined, 'all digests were asked for');
  return { sizeBytes: madeBytes, gmac, sha256 };
}

async function digestOf(store: BodyStore, archive: ArchiveId, chunks: readonly SpoolRange[], sizeBytes: number): Promise<BodyDigest> {
  const aside = bodyAside(store, archive, chunks, sizeBytes, 'all');
  if (aside) return await aside.pass();
  const hash = new BodyHash('all');
  const memory = new BodyMemory();
  for await (const block of archiveBody(store, archive, chunks, memory)) {
    hash.update(block);
    memory.give(block);
  }
  return hash.digest();
}

/** Yields the body of an archive in order. A yielded block is not touched again before it is given back to `memory`. */
export async function* archiveBody(store: BodyStore, archive: ArchiveId, chunks: readonly SpoolRange[], memory = new BodyMemory()): AsyncGenerator<Buffer> {
  const reader = spoolReaderOf(store);
  const splice = new BodySplice(archive, () => memory.take());
  let marks = chunks[0] && readSpoolMarks(reader, chunks[0]);
  for (const [place, chunk] of chunks.entries()) {
    const marked = await marks;
    invariant(marked !== undefined, `${chunk.spoolKey} was asked for`);
    // The index of the next chunk is read while this one is copied.
    const next = chunks[place + 1];
    marks = next && readSpoolMarks(reader, next);
    marks?.catch(() => undefined);
    for await (const block of reader.read(chunk.spoolKey, splice.open(chunk, marked))) {
      splice.add(block);
      yield* splice.take();
    }
    splice.close();
  }
  splice.end();
  yield* splice.take();
}
