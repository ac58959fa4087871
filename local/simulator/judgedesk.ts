import { Worker } from 'node:worker_threads';
import { BodyJudge, type BodyVerdict } from './bodyjudge.ts';

/**
 * Where create bodies are judged: small ones on the spot, large ones on a thread of their own, so that checking 256 MB and receiving them
 * happen at the same time.
 *
 * It owns that thread, which is started by the first large body and serves all others. What is judged is in `bodyjudge.ts`.
 *
 * Invariants
 *   G1  A body gets the same verdict on either way.
 *   G2  The thread keeps no process alive: when it ends, or cannot be started, uploads under way fail and nothing is accepted.
 */

/** What the thread is told. `written` bytes of the body are in its file. */
export type JudgeOrder =
  | { readonly kind: 'open'; readonly upload: number; readonly path: string }
  | { readonly kind: 'read' | 'end'; readonly upload: number; readonly written: number }
  | { readonly kind: 'drop'; readonly upload: number };

/** What the thread says. */
export interface JudgeReply {
  readonly upload: number;
  readonly verdict: BodyVerdict;
}

/** One body on its way. */
export interface Judging {
  /** The next bytes, which are in the file by now. */
  take(chunk: Buffer): void;
  /** The verdict over all that was taken. */
  end(): Promise<BodyVerdict>;
  /** The body will never be whole. To be called after `end` too, where it does nothing. */
  drop(): void;
}

/** From this declared length on a body is worth the thread. */
const LARGE_BYTES = 4_194_304;
/** The thread is told of new bytes in steps of this size. */
const STEP_BYTES = 1_048_576;

interface Waiting {
  readonly resolve: (verdict: BodyVerdict) => void;
  readonly reject: (cause: Error) => void;
}

export class JudgeDesk {
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #uploads = 0;

  /** Begins with a body that is being written to `path`; `declaredBytes` is 0 when the client did not say. */
  open(path: string, declaredBytes: number): Judging {
    return declaredBytes < LARGE_BYTES ? judgeHere() : this.#judgeThere(path);
  }

  /** Ends the thread. */
  async stop(): Promise<void> {
    await this.#worker?.terminate();
  }

  #judgeThere(path: string): Judging {
    const worker = (this.#worker ??= this.#start());
    const upload = (this.#uploads += 1);
    const tell = (order: JudgeOrder): void => worker.postMessage(order);
    let written = 0;
    let told = 0;
    tell({ kind: 'open', upload, path });
    return {
      take: (chunk) => {
        written += chunk.length;
        if (written - told >= STEP_BYTES) {
          told = written;
          tell({ kind: 'read', upload, written });
        }
      },
      end: () =>
        new Promise((resolve, reject) => {
          if (worker !== this.#worker) {
            reject(new Error('The thread that checks request bodies has ended.'));
            return;
          }
          this.#waiting.set(upload, { resolve, reject });
          tell({ kind: 'end', upload, written });
        }),
      drop: () => tell({ kind: 'drop', upload }),
    };
  }

  #start(): Worker {
    const worker = startThread();
    worker.unref();
    worker.on('message', (reply: JudgeReply) => {
      this.#waiting.get(reply.upload)?.resolve(reply.verdict);
      this.#waiting.delete(reply.upload);
    });
    const fail = (cause: Error): void => {
      this.#worker = undefined;
      for (const { reject } of this.#waiting.values()) {
        reject(cause);
      }
      this.#waiting.clear();
    };
    worker.on('error', fail);
    worker.on('exit', () => fail(new Error('The thread that checks request bodies has ended.')));
    return worker;
  }
}

function judgeHere(): Judging {
  const judge = new BodyJudge();
  return { take: (chunk) => judge.write(chunk), end: async () => judge.end(), drop: () => undefined };
}

/**
 * Starts `judgeworker`, compiled or from source. Threads do not inherit the loader of TypeScript, so from source it is registered in the
 * thread itself; it is looked up from here, because a program may run in any folder. It has to be the loader of ES modules: turned into
 * CommonJS, every imported constant becomes the call of a getter, and the scanner, which looks at millions of them, takes twice as long.
 */
function startThread(): Worker {
  if (!import.meta.url.endsWith('.ts')) {
    return new Worker(new URL('./judgeworker.js', import.meta.url));
  }
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  const program = JSON.stringify(new URL('./judgeworker.ts', import.meta.url).href);
  return new Worker(`import(${loader}).then(({ register }) => { register(); return import(${program}); });`, { eval: true, execArgv: [] });
}
