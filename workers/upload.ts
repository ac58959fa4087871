/**
 * Sends a gated body: the `fetch` under the one SDK call that creates a batch. The runtime's own fetch would carry every
 * block through two web streams and keep it for as long as it likes; here a block goes to the socket and, once the kernel
 * has all of it, back to whoever fills it again (performance.md, Building and uploading).
 *
 * Invariants
 *   H1  A block is given back only after the kernel has taken all of it.
 *   H2  What follows everything but the last byte is asked for only when the kernel has taken all of that.
 *   H3  Once a reply has come, nothing more is sent: a reply to a part of a body must not meet the rest of it.
 *   H4  One connection per body. Nothing here tries anything twice.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { GatedBody } from './claude.ts';
import { openRequest, wholeReply } from './connection.ts';

/** The kernel drains one block while the next is made. */
const writesInFlight = 2;

/** A `fetch` that sends this body, whatever the caller would send. It fails as fetch does: by throwing. */
export function fetchWith(body: GatedBody): typeof globalThis.fetch {
  return async (url, init) => {
    // H4: a connection that was used before can die between two requests and make a refusal look like a doubt.
    const exchange = new Exchange(openRequest(url, init, 'POST'));
    try {
      await exchange.send(body);
      return await exchange.reply();
    } finally {
      exchange.close();
    }
  };
}

/** One request and its reply. */
class Exchange {
  readonly #request: ClientRequest;
  readonly #replied: Promise<IncomingMessage>;
  readonly #writes: Promise<void>[] = [];
  #hasReply = false;
  #error: Error | undefined;

  constructor(request: ClientRequest) {
    this.#request = request;
    this.#replied = new Promise((resolve, reject) => {
      request.once('response', (reply) => {
        this.#hasReply = true;
        resolve(reply);
      });
      const fail = (error: Error): void => {
        this.#error ??= error;
        reject(this.#error);
      };
      // Later errors are of no use any more, but without a listener they would end the process.
      request.on('error', fail);
      request.once('close', () => fail(new Error('the connection was closed without a reply')));
    });
    this.#replied.catch(() => undefined);
  }

  /** Sends the body, or as much of it as the other side wants before it replies. @throws Error what the body or the connection fails with */
  async send(body: GatedBody): Promise<void> {
    let sent = 0;
    for await (const block of body.blocks) {
      if (this.#hasReply) return;
      if (this.#error) throw this.#error;
      sent += block.length;
      this.#writes.push(this.#write(block, body));
      const isComplete = sent >= body.sizeBytes - 1;
      while (this.#writes.length > (isComplete ? 0 : writesInFlight - 1)) await this.#settled();
    }
    this.#request.end();
  }

  /** The reply with its body. @throws Error when the connection ends before that */
  async reply(): Promise<Response> {
    return await wholeReply(await this.#replied);
  }

  close(): void {
    this.#request.destroy();
  }

  /** Resolves when the kernel has taken the block, and also when the connection has failed: then nothing is given back (H1). */
  async #write(block: Uint8Array, body: GatedBody): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#request.write(block, (error) => {
        if (!error) body.give(block);
        resolve();
      });
    });
  }

  /** Waits for the oldest write, or for whatever makes waiting pointless. */
  async #settled(): Promise<void> {
    await Promise.race([this.#writes.shift(), this.#replied.catch(() => undefined)]);
  }
}
