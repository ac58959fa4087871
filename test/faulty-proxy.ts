/**
 * A proxy in front of an HTTP server that does to chosen requests what networks and servers do: it loses the reply after
 * the server has acted, cuts a transfer, keeps silent, or answers in the server's place.
 */
import { once } from 'node:events';
import { createServer, request as send, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What happens to a request. `lose`: the server acts, the connection breaks before its reply. */
export type Mishap =
  | { readonly kind: 'lose' }
  | { readonly kind: 'hang' }
  /** The reply's body breaks off after this many bytes. */
  | { readonly kind: 'cut'; readonly afterBytes: number }
  | { readonly kind: 'answer'; readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** The request reaches the server without this header. */
  | { readonly kind: 'strip'; readonly header: string };

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

export interface FaultyProxy {
  readonly url: string;
  readonly seen: readonly SeenRequest[];
  /** Decides for each request from now on; undefined: it passes. */
  rule: (request: SeenRequest) => Mishap | undefined;
  /** Is told what the server has answered, whatever becomes of the answer. */
  heard: (request: SeenRequest, status: number) => void;
  stop(): Promise<void>;
}

/** Starts a proxy to `target`. */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const seen: SeenRequest[] = [];
  const proxy = { rule: (_request: SeenRequest): Mishap | undefined => undefined, heard: (_request: SeenRequest, _status: number): void => undefined };
  const { hostname, port } = new URL(target);
  const handle = (incoming: IncomingMessage, reply: ServerResponse): void => {
    const request: SeenRequest = { method: incoming.method ?? '', path: incoming.url ?? '', headers: incoming.headers };
    seen.push(request);
    const mishap = proxy.rule(request);
    if (mishap?.kind === 'hang') return void incoming.resume();
    if (mishap?.kind === 'answer') {
      incoming.resume().once('end', () => reply.writeHead(mishap.status, { 'content-type': 'application/xml', ...mishap.headers }).end(mishap.body ?? ''));
      return;
    }
    const headers = { ...incoming.headers };
    if (mishap?.kind === 'strip') delete headers[mishap.header];
    const onward = send({ hostname, port, method: incoming.method, path: incoming.url, headers }, (answer) => {
      proxy.heard(request, answer.statusCode ?? 502);
      if (mishap?.kind === 'lose') return void answer.resume().once('end', () => reply.socket?.destroy());
      reply.writeHead(answer.statusCode ?? 502, answer.headers);
      if (mishap?.kind !== 'cut') return void answer.pipe(reply);
      let left = mishap.afterBytes;
      answer.on('data', (block: Buffer) => {
        if (left <= 0) return;
        reply.write(block.subarray(0, left), () => {
          if (left <= 0) reply.socket?.destroy();
        });
        left -= block.length;
      });
    });
    onward.on('error', () => reply.socket?.destroy());
    incoming.on('error', () => onward.destroy());
    incoming.pipe(onward);
  };
  const server = createServer(handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(proxy, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  });
}

/** A rule that strikes the first request of each kind, once: `name` says what kind a request is, undefined: none. */
export function onceEach(name: (request: SeenRequest) => string | undefined, mishap: Mishap): { rule(request: SeenRequest): Mishap | undefined; readonly struck: ReadonlySet<string> } {
  const struck = new Set<string>();
  return {
    struck,
    rule(request) {
      const kind = name(request);
      if (kind === undefined || struck.has(kind)) return undefined;
      struck.add(kind);
      return mishap;
    },
  };
}
