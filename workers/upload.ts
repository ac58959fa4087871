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
import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { Response } from 'undici';
import type { GatedBody } from './claude.ts';

const connectTimeoutMs = 15_000;
/** The kernel drains one block while the next is made. */
const writesInFlight = 2;
/** Statuses whose replies have no body, which the constructor of a Response insists on. */
const bodiless: ReadonlySet<number> = new Set([204, 205, 304]);

/** A `fetch` that sends this body, whatever the caller would send. It fails as fetch does: by throwing. */
export function fetchWith(body: GatedBody): typeof globalThis.fetch {
  return async (url, init) => {
    const address = new URL(String(url));
    const request = (address.protocol === 'https:' ? requestHttps : requestHttp)(address, {
      method: init?.method ?? 'POST',
      headers: Object.fromEntries(new Headers(init?.headers)),
      // H4: a connection that was used before can die between two requests and make a refusal look like a doubt.
      agent: false,
      ...(init?.signal ? { signal: init.signal } : {}),
    });
    const exchange = new Exchange(request);
    try {
      await exchange.send(body);
      return (await exchange.reply()) as unknown as globalThis.Response;
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
    watchConnecting(request);
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

  /**
   * The reply with its body. A refusal is told by its status, so one whose words are cut is still a reply; of an acceptance
   * every word counts. @throws Error when the connection ends before that
   */
  async reply(): Promise<Response> {
    const incoming = await this.#replied;
    const status = incoming.statusCode ?? 0;
    const blocks: Buffer[] = [];
    try {
      for await (const block of incoming as AsyncIterable<Buffer>) blocks.push(block);
    } catch (error) {
      if (status < 400) throw error;
    }
    const headers = Object.entries(incoming.headersDistinct).flatMap(([name, values]) => (values ?? []).map((value): [string, string] => [name, value]));
    return new Response(bodiless.has(status) ? null : Buffer.concat(blocks), { status, headers });
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

/** A connection that is not made in time is given up; how long the upload takes is not limited here. */
function watchConnecting(request: ClientRequest): void {
  request.once('socket', (socket) => {
    if (!socket.connecting) return;
    const timer = setTimeout(() => request.destroy(new Error('the connection was not made in time')), connectTimeoutMs);
    const stop = (): void => clearTimeout(timer);
    socket.once('connect', stop);
    socket.once('close', stop);
  });
}
