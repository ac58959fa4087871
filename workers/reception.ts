/**
 * Receives the results of a batch: the `fetch` under the one SDK call that reads them. The SDK sees the head of the reply,
 * and its body where that is an error; the lines of a good one are taken from the connection itself.
 *
 * Invariants
 *   W1  The blocks end without an error only when the reply has come whole, as its own length or last piece says.
 *   W2  What was taken from a connection before it broke is handed out before the error.
 *   W3  No more than about {@link aheadBytesMax} wait for their reader; then the connection waits.
 */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { openRequest, responseOf, wholeReply } from './connection.ts';

/** What comes while the reader is at work on a block. */
const aheadBytesMax = 2 * 1024 * 1024;

/** One reply that is received. */
export class Reception {
  readonly #signal: AbortSignal;
  #incoming: IncomingMessage | undefined;

  /** `signal` ends it, also while the body comes: of that the SDK knows nothing. */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Asks for the reply; for the SDK. Fails as fetch does: by throwing. */
  readonly fetch: typeof globalThis.fetch = async (url, init) => {
    const headers = new Headers(init?.headers);
    // Lines of text: over a real network fewer bytes are faster than plain ones.
    headers.set('accept-encoding', 'gzip');
    const request = openRequest(url, { ...init, headers, signal: init?.signal ? AbortSignal.any([this.#signal, init.signal]) : this.#signal }, 'GET');
    const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve);
      // Later errors belong to the reply, but without a listener they would end the process.
      request.on('error', reject);
      request.end();
    });
    const status = incoming.statusCode ?? 0;
    if (status >= 400) return await wholeReply(incoming);
    if (status >= 200 && status < 300) {
      this.#incoming = incoming;
      return responseOf(incoming, undefined);
    }
    incoming.destroy();
    throw new Error(`the reply is a ${status}; redirects are not followed`);
  };

  /** The body of a good reply, once. The connection ends with it, also when its reader leaves before. @throws Error when it breaks off (W1) */
  async *blocks(): AsyncGenerator<Buffer> {
    const incoming = this.#incoming;
    if (!incoming) return;
    const plain = plainOf(incoming);
    const arrivals = new Arrivals(plain);
    try {
      for (let blocks = await arrivals.take(); blocks.length > 0; blocks = await arrivals.take()) yield* blocks;
    } finally {
      plain.destroy();
      incoming.destroy();
    }
  }
}

/** The reply without its compression. */
function plainOf(incoming: IncomingMessage): Readable {
  const encoding = incoming.headers['content-encoding'] ?? 'identity';
  if (encoding === 'identity') return incoming;
  if (encoding !== 'gzip') throw new Error(`the reply is encoded as ${JSON.stringify(encoding)}, which was not asked for`);
  const gunzip = createGunzip();
  // A pipe does not pass on that its source broke off.
  incoming.once('error', (error) => gunzip.destroy(error));
  return incoming.pipe(gunzip);
}

/** What has come of a stream and was not taken yet. A stream's own iterator costs several turns of the event loop per block. */
class Arrivals {
  readonly #stream: Readable;
  #blocks: Buffer[] = [];
  #bytes = 0;
  #isOver = false;
  #error: Error | undefined;
  #wake: () => void = () => undefined;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on('data', (block: Buffer) => {
      this.#blocks.push(block);
      this.#bytes += block.length;
      if (this.#bytes >= aheadBytesMax) stream.pause();
      this.#wake();
    });
    stream.on('error', (error) => this.#end(error));
    stream.once('end', () => this.#end(undefined));
    stream.once('close', () => this.#end(new Error('the connection was closed before the reply was whole')));
  }

  /** The blocks that have come, at least one; none when the stream has ended. @throws Error what it ended with (W1, W2) */
  async take(): Promise<readonly Buffer[]> {
    while (this.#blocks.length === 0) {
      if (this.#error) throw this.#error;
      if (this.#isOver) return [];
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const taken = this.#blocks;
    this.#blocks = [];
    this.#bytes = 0;
    if (this.#stream.isPaused()) this.#stream.resume();
    return taken;
  }

  #end(error: Error | undefined): void {
    if (!this.#isOver) this.#error = error;
    this.#isOver = true;
    this.#wake();
  }
}
