/**
 * The thread that makes bodies for `body-aside.ts`: several at once, each by its number, a few blocks of one at a time. It
 * reads the files of the spool itself, so waiting for the disk holds up nothing but bodies.
 *
 * Invariants
 *   W1  A file is open only for a body that was begun and has neither ended nor failed nor been closed.
 *   W2  A block is digested before it leaves, while it is in the cache of the processor.
 *   W3  What is asked of a body behind its end, its fault or its close is answered with `done` and changes nothing.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { indexOffset } from '../segments/chunk.ts';
import { errnoOf, InvariantBroken } from '../segments/errors.ts';
import { decodeMarks } from '../segments/row-mark.ts';
import { assertNever, type ArchiveId } from '../segments/segment.ts';
import type { SpoolRange } from '../segments/store/spool.ts';
import { answerQuestions } from '../segments/thread.ts';
import { BodyHash, type BodyDigest, type DigestKind } from './body-digest.ts';
import { BodyMemory, BodySplice } from './splice.ts';

/** A range of a spool object that lies as a file of this machine. */
interface LocalRange extends SpoolRange {
  readonly path: string;
}

export type BodyQuestion =
  /** Begins a body. */
  | { readonly kind: 'begin'; readonly body: number; readonly archive: ArchiveId; readonly chunks: readonly LocalRange[]; readonly digest: DigestKind }
  /** Its next blocks; memory that is not needed any more comes along. */
  | { readonly kind: 'next'; readonly body: number; readonly memory: readonly ArrayBuffer[] }
  /** Makes its next blocks, which nobody needs to see. */
  | { readonly kind: 'pass'; readonly body: number }
  /** Gives it up; harmless when it has ended. */
  | { readonly kind: 'close'; readonly body: number };

/** What kept a body from being made; errors of other kinds cross as they are. */
export type BodyFault =
  /** A file could not be read: the key of the object, and the system's code. */
  | { readonly kind: 'unread'; readonly spoolKey: string; readonly errno: string }
  /** What {@link InvariantBroken} says. */
  | { readonly kind: 'broken'; readonly message: string };

export type BodyAnswer =
  | { readonly kind: 'done' }
  /** `end`: of the whole body, when nothing follows. A block has memory of its own, which goes with it. */
  | { readonly kind: 'made'; readonly blocks: readonly Uint8Array[]; readonly end: BodyDigest | undefined }
  | { readonly kind: 'failed'; readonly fault: BodyFault };

/** One body that is being made. */
class Body {
  readonly #hash: BodyHash;
  readonly #memory = new BodyMemory();
  readonly #blocks: Generator<Buffer>;

  constructor(archive: ArchiveId, chunks: readonly LocalRange[], digest: DigestKind) {
    this.#hash = new BodyHash(digest);
    this.#blocks = blocksOf(archive, chunks, () => this.#memory.take());
  }

  /** The next block; undefined: there is none. */
  next(): Uint8Array | undefined {
    const { done, value } = this.#blocks.next();
    if (done === true) return undefined;
    this.#hash.update(value);
    return value;
  }

  end(): BodyDigest {
    return this.#hash.digest();
  }

  give(block: Uint8Array): void {
    this.#memory.give(block);
  }

  close(): void {
    this.#blocks.return(undefined);
  }
}

/** What is read at once and the block that is made of it stay in the cache of one core together. */
const readBytes = 256 * 1024;
/** Shared by all bodies: what was read has been spliced before a block leaves. */
const reading = Buffer.allocUnsafeSlow(readBytes);

function* blocksOf(archive: ArchiveId, chunks: readonly LocalRange[], take: () => Buffer): Generator<Buffer> {
  const splice = new BodySplice(archive, take);
  for (const chunk of chunks) {
    const file = attempt(chunk, () => openSync(chunk.path, 'r'));
    try {
      const { start, end } = splice.open(chunk, decodeMarks(indexOf(file, chunk), chunk.spoolRows, chunk.spoolParamsBytes));
      for (let at = start; at < end; ) {
        const count = attempt(chunk, () => readSync(file, reading, 0, Math.min(readBytes, end - at), at));
        if (count === 0) break;
        at += count;
        splice.add(reading.subarray(0, count));
        yield* splice.take();
      }
      splice.close();
    } finally {
      closeSync(file);
    }
  }
  splice.end();
  yield* splice.take();
}

function indexOf(file: number, chunk: LocalRange): Buffer {
  const index = Buffer.allocUnsafeSlow(chunk.spoolIndexBytes);
  const start = indexOffset({ rows: chunk.spoolRows, paramsBytes: chunk.spoolParamsBytes });
  let used = 0;
  for (let count = -1; count !== 0 && used < index.length; used += count) {
    count = attempt(chunk, () => readSync(file, index, used, index.length - used, start + used));
  }
  return index.subarray(0, used);
}

/** The system's refusal to open or read a file of the spool. */
class Unread extends Error {
  readonly fault: BodyFault;

  constructor(spoolKey: string, errno: string) {
    super(`cannot read: ${errno}`);
    this.fault = { kind: 'unread', spoolKey, errno };
  }
}

function attempt<T>(chunk: LocalRange, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const errno = errnoOf(error);
    throw errno === undefined ? error : new Unread(chunk.spoolKey, errno);
  }
}

/** Blocks per answer: each wakes the other thread, which may take the core from this one; and meanwhile other bodies wait. */
const blocksPerStep = 4;

const bodies = new Map<number, Body>();

answerQuestions<BodyQuestion, BodyAnswer>(
  (question) => {
    try {
      return answerOf(question);
    } catch (error) {
      bodies.delete(question.body);
      if (error instanceof Unread) return { kind: 'failed', fault: error.fault };
      if (error instanceof InvariantBroken) return { kind: 'failed', fault: { kind: 'broken', message: error.message } };
      throw error;
    }
  },
  (answer) => (answer.kind === 'made' ? answer.blocks.map(({ buffer }) => buffer as ArrayBuffer) : []),
);

function answerOf(question: BodyQuestion): BodyAnswer {
  if (question.kind === 'begin') {
    bodies.set(question.body, new Body(question.archive, question.chunks, question.digest));
    return { kind: 'done' };
  }
  const body = bodies.get(question.body);
  // W3: questions are asked ahead of their answers.
  if (body === undefined) return { kind: 'done' };
  switch (question.kind) {
    case 'next':
      for (const memory of question.memory) body.give(new Uint8Array(memory));
      return step(question.body, body, true);
    case 'pass':
      return step(question.body, body, false);
    case 'close':
      bodies.delete(question.body);
      body.close();
      return { kind: 'done' };
    default:
      return assertNever(question, 'question');
  }
}

function step(number: number, body: Body, isWanted: boolean): BodyAnswer {
  const blocks: Uint8Array[] = [];
  for (let place = 0; place < blocksPerStep; place += 1) {
    const block = body.next();
    if (block === undefined) {
      bodies.delete(number);
      return { kind: 'made', blocks, end: body.end() };
    }
    if (isWanted) blocks.push(block);
    else body.give(block);
  }
  return { kind: 'made', blocks, end: undefined };
}
