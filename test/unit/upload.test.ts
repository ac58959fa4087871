import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { gateBody, GateShut } from '../../workers/gate.ts';
import { fetchWith } from '../../workers/upload.ts';
import { closeServers, serve } from '../own-server.ts';

const blockBytes = 256 * 1024;
const blocks = Array.from({ length: 40 }, (_, place) => Uint8Array.from(Buffer.alloc(blockBytes, place)));
const whole = Buffer.concat(blocks);
const sealed = { sizeBytes: whole.length, gmac: undefined, sha256: createHash('sha256').update(whole).digest('hex') };

/** The address to which batches are posted on a server of its own. */
const serveBatches = async (handle: Parameters<typeof serve>[0]): Promise<string> => `${await serve(handle)}/v1/messages/batches`;

async function* inOrder(made: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* made;
}

async function read(incoming: IncomingMessage): Promise<Buffer> {
  const received: Buffer[] = [];
  for await (const block of incoming as AsyncIterable<Buffer>) received.push(block);
  return Buffer.concat(received);
}

/** A promise that is resolved from outside. */
function withResolvers<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

const init = { method: 'POST', headers: { 'content-type': 'application/json', 'content-length': String(whole.length), 'x-api-key': 'secret' } };

describe('an upload', () => {
  it('is one request of the announced length, whose blocks come back once each (H1)', async () => {
    let received: Buffer | undefined;
    let headers: IncomingMessage['headers'] = {};
    const url = await serveBatches((incoming, response) => {
      headers = incoming.headers;
      void read(incoming).then((body) => {
        received = body;
        response.writeHead(200, { 'request-id': 'req_1', 'retry-after': '7' }).end('{"id":"msgbatch_1"}');
      });
    });
    const given: Uint8Array[] = [];
    const response = await fetchWith(gateBody({ blocks: inOrder(blocks), give: (block) => void given.push(block) }, sealed, async () => true))(url, init);
    expect(response.status).toBe(200);
    expect(response.headers.get('request-id')).toBe('req_1');
    expect(await response.text()).toBe('{"id":"msgbatch_1"}');
    expect(received?.equals(whole)).toBe(true);
    expect(headers).toMatchObject({ 'content-length': String(whole.length), 'x-api-key': 'secret', connection: 'close' });
    expect(headers['transfer-encoding']).toBeUndefined();
    expect(given.length).toBe(blocks.length - 1);
    expect(given.every((block, place) => block === blocks[place])).toBe(true);
  });

  it('asks for the last byte only when the other side has all the others or the kernel holds them (H2)', async () => {
    const opened = withResolvers<IncomingMessage>();
    const url = await serveBatches((incoming) => opened.resolve(incoming));
    const asked = withResolvers<void>();
    const answer = withResolvers<boolean>();
    const body = gateBody({ blocks: inOrder(blocks) }, sealed, async () => {
      asked.resolve();
      return await answer.promise;
    });
    const sending = fetchWith(body)(url, init);
    const incoming = await opened.promise;
    let bytes = 0;
    const arrived = withResolvers<void>();
    incoming.on('data', (block: Buffer) => {
      bytes += block.length;
      if (bytes === whole.length - 1) arrived.resolve();
    });
    await asked.promise;
    await arrived.promise;
    expect(body.isReleased()).toBe(false);
    answer.resolve(false);
    await expect(sending).rejects.toBeInstanceOf(GateShut);
    await expect(once(incoming, 'error')).resolves.toMatchObject([{ code: 'ECONNRESET' }]);
    expect(bytes).toBe(whole.length - 1);
  });

  it('sends nothing more once a reply has come, and never asks for the last byte (H3)', async () => {
    let asked = 0;
    const replied = withResolvers<void>();
    const url = await serveBatches((incoming, response) => {
      incoming.once('data', () => response.writeHead(413).end('too large', () => replied.resolve()));
    });
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      yield blocks[0] ?? new Uint8Array();
      yield blocks[1] ?? new Uint8Array();
      await replied.promise;
      yield* blocks.slice(2);
    };
    const body = gateBody({ blocks: slow() }, sealed, async () => {
      asked += 1;
      return true;
    });
    const response = await fetchWith(body)(url, init).catch((error: unknown) => error);
    // The other side may close before its reply is read; then the upload has failed, and nothing was released either.
    if (response instanceof Error) expect(response).toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) });
    else expect(response).toMatchObject({ status: 413 });
    expect(asked).toBe(0);
    expect(body.isReleased()).toBe(false);
  });

  it('fails when the connection dies, and stays unreleased', async () => {
    const url = await serveBatches((incoming) => incoming.once('data', () => incoming.destroy()));
    const body = gateBody({ blocks: inOrder(blocks) }, sealed, async () => true);
    await expect(fetchWith(body)(url, init)).rejects.toBeInstanceOf(Error);
    expect(body.isReleased()).toBe(false);
  });

  it('fails when nobody listens', async () => {
    const url = await serveBatches(() => undefined);
    closeServers();
    const body = gateBody({ blocks: inOrder(blocks) }, sealed, async () => true);
    await expect(fetchWith(body)(url, init)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(body.isReleased()).toBe(false);
  });

  it('ends with its signal, also while it waits for the reply', async () => {
    const abort = new AbortController();
    const url = await serveBatches((incoming) => void read(incoming).then(() => abort.abort()));
    const body = gateBody({ blocks: inOrder(blocks) }, sealed, async () => true);
    await expect(fetchWith(body)(url, { ...init, signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' });
    expect(body.isReleased()).toBe(true);
  });

  it.each([
    [200, 'fails'],
    [429, 'is a reply without all of its words'],
  ])('when the reply %i breaks off, %s', async (status) => {
    const url = await serveBatches((incoming, response) => {
      void read(incoming).then(() => {
        response.writeHead(status, { 'content-length': '100' });
        response.write('{"id":', () => response.destroy());
      });
    });
    const body = gateBody({ blocks: inOrder(blocks) }, sealed, async () => true);
    const sending = fetchWith(body)(url, init);
    if (status === 200) await expect(sending).rejects.toBeInstanceOf(Error);
    else await expect(sending).resolves.toMatchObject({ status });
    expect(body.isReleased()).toBe(true);
  });
});
