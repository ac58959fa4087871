/**
 * The part of a Redis client that the ledger uses, over one socket: no queues, no reconnection, no clusters. Schedules make a
 * few hundred small calls each, and a client that is ready for everything spent more time on them than the scripts took.
 *
 * It owns: the order of replies. A connection that breaks ends every call with an error, and the schedule with it.
 */
import { connect, type Socket } from 'node:net';
import type { Redis } from 'ioredis';

type Reply = string | number | null | Error | readonly Reply[];
type Argument = string | number | Buffer;

/** The calls of the ledger and of the harness, by the names that ioredis has for them. */
const commands = [
  'call', 'config', 'del', 'eval', 'evalsha', 'exists', 'flushall', 'get', 'hexists', 'hget', 'hmget', 'info', 'lrange', 'scan', 'script', 'sismember', 'smembers', 'time', 'unlink', 'xrange', 'zrange',
] as const;

/** Opens a client on a unix socket. `close` ends it. */
export function leanRedis(path: string): { readonly redis: Redis; close(): void } {
  const connection = new Connection(path);
  const calls = Object.fromEntries(commands.map((name) => [name, async (...given: readonly unknown[]) => await connection.send(name === 'call' ? given : [name, ...given])]));
  const hgetall = async (key: string): Promise<Readonly<Record<string, string>>> => {
    const flat = (await connection.send(['hgetall', key])) as readonly string[];
    const fields: Record<string, string> = {};
    for (let index = 0; index < flat.length; index += 2) fields[flat[index] ?? ''] = flat[index + 1] ?? '';
    return fields;
  };
  return { redis: { ...calls, hgetall } as unknown as Redis, close: () => connection.close() };
}

const nothing = Buffer.alloc(0);

class Connection {
  readonly #socket: Socket;
  readonly #waiting: { readonly resolve: (reply: Reply) => void; readonly reject: (error: Error) => void }[] = [];
  #unsent: string[] = [];
  #bytes: Buffer = nothing;
  /** Where the reply that is being read goes on; bytes. */
  #at = 0;

  constructor(path: string) {
    // One buffer for all reads: a new one for each of thousands of small replies would be the collector's main work.
    const callback = (size: number, buffer: Uint8Array): boolean => {
      this.#read(Buffer.from(buffer.buffer, buffer.byteOffset, size));
      return true;
    };
    const socket = connect({ path, onread: { buffer: Buffer.alloc(256 * 1024), callback } });
    this.#socket = socket;
    socket.on('error', () => undefined);
    socket.on('close', () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error('the connection to the private Redis broke'));
    });
  }

  /** Calls that are made in one turn of the event loop leave in one write. */
  async send(given: readonly unknown[]): Promise<Reply> {
    const words = (given.flat(2) as readonly Argument[]).map(String);
    if (this.#unsent.length === 0) queueMicrotask(() => this.#flush());
    this.#unsent.push(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`);
    return await new Promise<Reply>((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  close(): void {
    this.#socket.destroy();
  }

  #flush(): void {
    this.#socket.write(this.#unsent.join(''));
    this.#unsent = [];
  }

  #read(block: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? block : Buffer.concat([this.#bytes, block]);
    this.#at = 0;
    let read = 0;
    for (;;) {
      const reply = this.#next();
      if (reply === undefined) break;
      read = this.#at;
      const waiting = this.#waiting.shift();
      if (reply instanceof Error) waiting?.reject(reply);
      else waiting?.resolve(reply);
    }
    // The block is filled again: what is not a whole reply yet is kept as a copy.
    this.#bytes = read === this.#bytes.length ? nothing : Buffer.from(this.#bytes.subarray(read));
  }

  /** The next reply, or undefined when it has not arrived as a whole. */
  #next(): Reply | undefined {
    const end = this.#bytes.indexOf('\r\n', this.#at);
    if (end < 0) return undefined;
    const kind = this.#bytes[this.#at];
    const line = this.#bytes.toString('utf8', this.#at + 1, end);
    this.#at = end + 2;
    switch (kind) {
      case 0x2b: // +
        return line;
      case 0x2d: // -
        return Object.assign(new Error(line), { name: 'ReplyError' });
      case 0x3a: // :
        return Number(line);
      case 0x24: // $
        return this.#text(Number(line));
      default:
        return this.#list(Number(line));
    }
  }

  #text(sizeBytes: number): string | null | undefined {
    if (sizeBytes < 0) return null;
    if (this.#bytes.length < this.#at + sizeBytes + 2) return undefined;
    const text = this.#bytes.toString('utf8', this.#at, this.#at + sizeBytes);
    this.#at += sizeBytes + 2;
    return text;
  }

  #list(size: number): readonly Reply[] | null | undefined {
    if (size < 0) return null;
    const items: Reply[] = [];
    while (items.length < size) {
      const item = this.#next();
      if (item === undefined) return undefined;
      items.push(item);
    }
    return items;
  }
}
