import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Redis, type RedisOptions } from 'ioredis';
import { inject } from 'vitest';
import type { RedisAddress } from '../local/home.ts';

/** ioredis decides the shape of replies by the type of `replyMapping`; without it, replies have their usual shapes. */
export type ConnectionOptions = Omit<RedisOptions, 'replyMapping'>;

/** A corner of the run's Redis that belongs to one test: every key of the test carries `tag`. */
export interface TestRedis {
  /** For `new Redis(connection)` and for BullMQ's `connection`. */
  readonly connection: ConnectionOptions;
  /** A hash tag of its own, such as `{t-3f9a0c52}`; use it as the installation's tag and as BullMQ's `prefix`. */
  readonly tag: string;
  /** A client that `close` disconnects. */
  connect(options?: ConnectionOptions): Redis;
  /** Deletes the keys that carry the tag, and no others: the server is shared with every test that runs now. */
  flush(): Promise<void>;
  /** Flushes, then disconnects what `connect` gave out and waits until it is. */
  close(): Promise<void>;
}

/** Gives the caller its own corner of the Redis that `test/setup.ts` has made available. */
export function redisForTest(): TestRedis {
  const connection = connectionOptions(inject('redisAddress'));
  const tag = `{t-${randomUUID().slice(0, 8)}}`;
  const clients: Redis[] = [];
  const connect = (options: ConnectionOptions = {}): Redis => {
    const client = new Redis({ ...connection, ...options });
    clients.push(client);
    return client;
  };
  const flush = async (): Promise<void> => {
    const client = new Redis(connection);
    try {
      for await (const keys of client.scanStream({ match: `*${tag}*`, count: 1_000 })) {
        if (Array.isArray(keys) && keys.length > 0) await client.unlink(keys);
      }
    } finally {
      client.disconnect();
    }
  };
  const close = async (): Promise<void> => {
    await flush();
    await Promise.all(clients.map(async (client) => {
      if (client.status === 'end') return;
      const ended = once(client, 'end');
      client.disconnect();
      await ended;
    }));
  };
  return { connection, tag, connect, flush, close };
}

/** BullMQ and `new Redis(options)` take options, not a URL. */
function connectionOptions(address: RedisAddress): ConnectionOptions {
  if (address.kind === 'socket') return { path: address.path };
  const url = new URL(address.url);
  return {
    host: url.hostname,
    port: url.port === '' ? 6379 : Number(url.port),
    db: Number(url.pathname.slice(1)),
    ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
    ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
  };
}
