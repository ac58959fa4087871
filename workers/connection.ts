/**
 * One request on one connection, for the two calls of the provider that carry hundreds of megabytes: the create sends them
 * (upload.ts), the results bring them (reception.ts). The runtime's own fetch carries every block through web streams, which
 * costs more than all that is done with the bytes behind it (performance.md, Building and uploading).
 *
 * Redirects are never followed, and nothing here tries anything twice.
 */
import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { Response } from 'undici';

const connectTimeoutMs = 15_000;
/** Statuses whose replies have no body, which the constructor of a Response insists on. */
const bodiless: ReadonlySet<number> = new Set([204, 205, 304]);

/**
 * Opens a request as `fetch` was asked for it, on a connection of its own: one that was used before can die between two
 * requests. Nothing of a body is sent yet. One that is not connected in time fails; how long anything else takes is not
 * limited here.
 */
export function openRequest(url: Parameters<typeof globalThis.fetch>[0], init: RequestInit | undefined, method: string): ClientRequest {
  const address = new URL(String(url));
  const request = (address.protocol === 'https:' ? requestHttps : requestHttp)(address, {
    method: init?.method ?? method,
    headers: Object.fromEntries(new Headers(init?.headers)),
    agent: false,
    ...(init?.signal ? { signal: init.signal } : {}),
  });
  watchConnecting(request);
  return request;
}

/** The reply as its caller's `fetch` would give it; `body` undefined: none of it, somebody else reads it. */
export function responseOf(incoming: IncomingMessage, body: Buffer | undefined): globalThis.Response {
  const status = incoming.statusCode ?? 0;
  const headers = Object.entries(incoming.headersDistinct).flatMap(([name, values]) => (values ?? []).map((value): [string, string] => [name, value]));
  return new Response(body === undefined || bodiless.has(status) ? null : body, { status, headers }) as unknown as globalThis.Response;
}

/**
 * The reply with its body, for replies that are short. A refusal is told by its status, so one whose words are cut is still
 * a reply; of any other every word counts. @throws Error when the connection ends before that
 */
export async function wholeReply(incoming: IncomingMessage): Promise<globalThis.Response> {
  const blocks: Buffer[] = [];
  try {
    for await (const block of incoming as AsyncIterable<Buffer>) blocks.push(block);
  } catch (error) {
    if ((incoming.statusCode ?? 0) < 400) throw error;
  }
  return responseOf(incoming, Buffer.concat(blocks));
}

function watchConnecting(request: ClientRequest): void {
  request.once('socket', (socket) => {
    if (!socket.connecting) return;
    const timer = setTimeout(() => request.destroy(new Error('the connection was not made in time')), connectTimeoutMs);
    const stop = (): void => clearTimeout(timer);
    socket.once('connect', stop);
    socket.once('close', stop);
  });
}
