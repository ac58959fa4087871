/**
 * Work on another thread: questions go there, answers come back in the same order. What is heavy and pure (reading a
 * gigabyte of results, compressing rows) would keep the process from its leases, polls and uploads if it ran beside them;
 * on zlib's own thread pool it would stand in front of every read of every file.
 *
 * Invariants
 *   H1  Answers come in the order of the questions; a question that fails rejects alone, and the thread goes on.
 *   H2  A thread keeps the process alive only while it owes an answer, so one that is kept for later ends with the process.
 *   H3  When a thread dies, everything it owes is rejected, and so is every later question.
 */
import { parentPort, Worker, type TransferListItem } from 'node:worker_threads';
import { errnoOf, invariant } from './errors.ts';

interface Waiting<Answer> {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** What travels back. An error's code is sent beside it, because a copied error keeps only its message and stack. */
type Reply<Answer> = { readonly kind: 'answer'; readonly answer: Answer } | { readonly kind: 'failed'; readonly error: unknown; readonly code: string | undefined };

/** From the sources a thread has to be taught TypeScript as its process was; compiled, it is started as it is. */
const sourceStart = "import('tsx/esm/api').then(({ register }) => { register(); return import(require('node:worker_threads').workerData); });";

/** The module of a thread beside the module that starts it; both are sources or both are compiled. */
export function threadModule(name: string, base: string): URL {
  return new URL(`${name}${base.endsWith('.ts') ? '.ts' : '.js'}`, base);
}

/** One thread that runs a module which calls {@link answerQuestions}. */
export class Thread<Question, Answer> {
  readonly #worker: Worker;
  readonly #waiting: Waiting<Answer>[] = [];
  #fault: unknown;

  constructor(module: URL) {
    this.#worker = module.pathname.endsWith('.ts') ? new Worker(sourceStart, { eval: true, execArgv: [], workerData: module.href }) : new Worker(module);
    this.#worker.on('message', (reply: Reply<Answer>) => this.#take(reply));
    this.#worker.once('error', (error) => this.#fail(error));
    this.#worker.once('exit', () => this.#fail(new Error('the thread has ended')));
    this.#worker.unref();
  }

  /** How many answers it owes. */
  get owed(): number {
    return this.#waiting.length;
  }

  /** Whether it has died or was ended (H3). */
  get isBroken(): boolean {
    return this.#fault !== undefined;
  }

  /** Asks (H1). What is in `transfer` belongs to the thread from now on; shared memory is shared, everything else is copied. */
  async ask(question: Question, transfer: readonly TransferListItem[] = []): Promise<Answer> {
    if (this.#fault !== undefined) throw this.#fault;
    if (this.#waiting.length === 0) this.#worker.ref();
    return await new Promise<Answer>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(question, [...transfer]);
    });
  }

  /** Ends it; what it owes is rejected. */
  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #take(reply: Reply<Answer>): void {
    const waiting = this.#waiting.shift();
    invariant(waiting !== undefined, 'a thread answers only what it was asked');
    if (this.#waiting.length === 0) this.#worker.unref();
    if (reply.kind === 'answer') waiting.resolve(reply.answer);
    else waiting.reject(reply.code === undefined ? reply.error : Object.assign(reply.error as Error, { code: reply.code }));
  }

  #fail(error: unknown): void {
    this.#fault ??= error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#fault);
  }
}

/** The thread's side: answers one question after the other. What `transferOf` names goes back without a copy. */
export function answerQuestions<Question, Answer>(answer: (question: Question) => Answer, transferOf: (answer: Answer) => readonly TransferListItem[] = () => []): void {
  const port = parentPort;
  invariant(port !== null, 'this module runs on a thread of its own');
  port.on('message', (question: Question) => {
    let found: Answer;
    try {
      found = answer(question);
    } catch (error) {
      return port.postMessage({ kind: 'failed', error, code: errnoOf(error) } satisfies Reply<Answer>);
    }
    port.postMessage({ kind: 'answer', answer: found } satisfies Reply<Answer>, [...transferOf(found)]);
  });
}

/** Bytes that came from another thread, as a Buffer over the same memory. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
