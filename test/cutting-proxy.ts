/** A proxy in front of Redis that cuts connections while a reply is in flight: the server has acted, its client is not told. */
import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import type { RedisAddress } from '../local/home.ts';

export interface CuttingProxy {
  readonly port: number;
  /** How many replies were cut off so far. */
  cuts(): number;
  stop(): Promise<void>;
}

/** Starts a proxy that swallows about every `everyReplies`-th reply of a connection and breaks that connection. */
export async function startCuttingProxy(target: RedisAddress, everyReplies: number): Promise<CuttingProxy> {
  const open = new Set<Socket>();
  let cuts = 0;
  let connections = 0;
  const server = createServer((client) => {
    const redis = target.kind === 'socket' ? connect(target.path) : connect(Number(new URL(target.url).port || 6379), new URL(target.url).hostname);
    // Each connection lives for a number of replies of its own, so that no call is always the one that is cut.
    connections += 1;
    let repliesLeft = everyReplies + (connections * 7) % everyReplies;
    for (const socket of [client, redis]) {
      open.add(socket);
      socket.on('error', () => undefined).on('close', () => {
        open.delete(socket);
        client.destroy();
        redis.destroy();
      });
    }
    client.pipe(redis);
    redis.on('data', (reply: Buffer) => {
      repliesLeft -= 1;
      if (repliesLeft > 0) return void client.write(reply);
      cuts += 1;
      client.destroy();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    cuts: () => cuts,
    async stop() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
