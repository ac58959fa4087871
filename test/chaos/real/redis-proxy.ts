/**
 * A proxy between the product and Redis that aims at commands: it cuts a connection before the command reaches the
 * server, or lets the server act and loses the reply; and it can stand still, as a network does.
 *
 * Invariants
 *   P1  What is lost is the reply and everything behind it on that connection; other connections live on.
 *   P2  While it is frozen no reply passes, so whatever the server does then was never acknowledged to anyone.
 */
import { once } from 'node:events';
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net';

/** One mishap: the nth block of requests that holds the text meets it. */
export interface RedisMishap {
  readonly id: string;
  /** Looked for in the bytes of requests: the sha1 of a script, or a command. */
  readonly aim: string;
  readonly nth: number;
  readonly kind: 'cut_before' | 'lose_reply' | 'late_reply';
  /** How late a late reply is. */
  readonly ms: number;
}

export class RedisProxy {
  readonly #target: string;
  readonly #server = createServer((socket) => this.#join(socket));
  readonly #sockets = new Set<Socket>();
  readonly #frozen: (() => void)[] = [];
  readonly #onMishap: (id: string) => void;
  #isFrozen = false;
  #mishaps: { readonly mishap: RedisMishap; seen: number }[] = [];

  /** `target` is the socket on which the server listens; it may come and go. */
  constructor(target: string, onMishap: (id: string) => void) {
    this.#target = target;
    this.#onMishap = onMishap;
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  arm(mishaps: readonly RedisMishap[]): void {
    this.#mishaps = mishaps.map((mishap) => ({ mishap, seen: 0 }));
  }

  /** Holds back every reply until `thaw` (P2). */
  freeze(): void {
    this.#isFrozen = true;
  }

  thaw(): void {
    this.#isFrozen = false;
    for (const pass of this.#frozen.splice(0)) pass();
  }

  /** Breaks every connection; what was held back is lost. */
  cutAll(): void {
    this.#frozen.length = 0;
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cutAll();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(near: Socket): void {
    const far = createConnection(this.#target);
    const pair: { isLost: boolean; held: (() => void)[] | undefined } = { isLost: false, held: undefined };
    const end = (): void => {
      near.destroy();
      far.destroy();
      this.#sockets.delete(near);
    };
    this.#sockets.add(near);
    for (const socket of [near, far]) socket.setNoDelay(true).on('error', end).on('close', end);
    near.on('data', (block: Buffer) => {
      const mishap = this.#strike(block);
      if (mishap?.kind === 'cut_before') return end();
      if (mishap?.kind === 'lose_reply') pair.isLost = true;
      if (mishap?.kind === 'late_reply') {
        pair.held = [];
        setTimeout(() => {
          const held = pair.held ?? [];
          pair.held = undefined;
          for (const pass of held) pass();
        }, mishap.ms);
      }
      far.write(block);
    });
    far.on('data', (block: Buffer) => {
      if (pair.isLost) return end();
      const pass = (): void => {
        if (!near.destroyed) near.write(block);
      };
      if (this.#isFrozen) this.#frozen.push(pass);
      else if (pair.held) pair.held.push(pass);
      else pass();
    });
  }

  #strike(block: Buffer): RedisMishap | undefined {
    for (const armed of this.#mishaps) {
      if (!block.includes(armed.mishap.aim)) continue;
      armed.seen += 1;
      if (armed.seen !== armed.mishap.nth) continue;
      this.#onMishap(armed.mishap.id);
      return armed.mishap;
    }
    return undefined;
  }
}
