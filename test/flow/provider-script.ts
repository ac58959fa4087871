/**
 * A provider of one screen: an HTTP server that answers each create as a script says, and keeps what arrived. It shares
 * no code with the product, so what it saw is evidence.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One create as it arrived. `body` is what was received; it is whole when it has the announced length. */
export interface ArrivedPost {
  readonly announcedBytes: number;
  readonly body: string;
  readonly isWhole: boolean;
  readonly retryCount: string;
}

/** What to do with a create. */
export type Answer =
  | { readonly kind: 'accept' }
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  /** Close the connection after the whole body, without a reply. */
  | { readonly kind: 'lose_reply' }
  | { readonly kind: 'cut_reply' }
  /** Close the connection after this many bytes of the body. */
  | { readonly kind: 'die_after'; readonly bytes: number }
  | { readonly kind: 'silence' };

export interface ProviderScript {
  readonly url: string;
  readonly posts: ArrivedPost[];
  /** custom_ids of the batches that were made, batch by batch. */
  readonly batches: string[][];
  probes: number;
  /** Decides by the body; it may wait for something first. */
  answer: (body: string, ordinal: number) => Answer | Promise<Answer>;
  /** Resolves when so many creates have ended, whole or not. */
  arrived(count: number): Promise<void>;
  close(): Promise<void>;
}

export const errorBody = (type: string): string => JSON.stringify({ type: 'error', error: { type, message: 'no' } });

export async function startProvider(): Promise<ProviderScript> {
  const waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  let creates = 0;
  const note = (post: ArrivedPost): void => {
    script.posts.push(post);
    for (const each of waiting) if (script.posts.length >= each.count) each.resolve();
  };

  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const ordinal = (creates += 1);
    const announcedBytes = Number(request.headers['content-length']);
    const blocks: Buffer[] = [];
    let size = 0;
    // Only a script that ends the upload early needs to decide before the body is there.
    const early = await script.answer('', ordinal);
    const post = (): ArrivedPost => ({ announcedBytes, body: Buffer.concat(blocks).toString('utf8'), isWhole: size === announcedBytes, retryCount: String(request.headers['x-stainless-retry-count']) });
    try {
      for await (const block of request) {
        blocks.push(block as Buffer);
        size += (block as Buffer).length;
        if (early.kind === 'die_after' && size >= early.bytes) {
          request.socket.destroy();
          break;
        }
      }
    } catch {
      // The sender ended the upload; what arrived is the evidence.
    }
    note(post());
    if (size !== announcedBytes) return;
    const body = Buffer.concat(blocks).toString('utf8');
    const answer = await script.answer(body, ordinal);
    const rows = (JSON.parse(body) as { requests: { custom_id: string }[] }).requests.map((each) => each.custom_id);
    const isMade = answer.kind === 'accept' || answer.kind === 'lose_reply' || answer.kind === 'cut_reply' || answer.kind === 'silence';
    if (isMade) script.batches.push(rows);
    const batch = JSON.stringify({ id: `msgbatch_${String(script.batches.length).padStart(8, '0')}`, type: 'message_batch', processing_status: 'in_progress', request_counts: { processing: rows.length } });
    if (answer.kind === 'accept') response.writeHead(200, { 'content-type': 'application/json', 'request-id': 'req_1' }).end(batch);
    else if (answer.kind === 'status') response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers }).end(answer.body ?? '');
    else if (answer.kind === 'cut_reply') response.writeHead(200, { 'content-type': 'application/json', 'content-length': String(batch.length) }).write(batch.slice(0, 12), () => request.socket.destroy());
    else if (answer.kind === 'lose_reply') request.socket.destroy();
  };

  const server = createServer((request, response) => {
    if (request.method === 'GET') {
      script.probes += 1;
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"data":[],"has_more":false}');
      return;
    }
    void receive(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const script: ProviderScript = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    posts: [],
    batches: [],
    probes: 0,
    answer: () => ({ kind: 'accept' }),
    arrived: async (count) => {
      if (script.posts.length < count) await new Promise<void>((resolve) => waiting.push({ count, resolve }));
    },
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return script;
}
