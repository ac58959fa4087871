import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { asBatchId } from '../../segments/segment.ts';
import { openClaude } from '../../workers/anthropic.ts';
import { Reception } from '../../workers/reception.ts';
import { serve } from '../own-server.ts';

const blocks = Array.from({ length: 24 }, (_, place) => Buffer.alloc(256 * 1024, 97 + place));
const whole = Buffer.concat(blocks);
const batch = asBatchId('msgbatch_reception');

/** Everything that is received, and the error that it ends with. */
async function receive(url: string, signal = new AbortController().signal, onBlock: () => void = () => undefined): Promise<{ readonly bytes: Buffer; readonly error: unknown }> {
  const received: Buffer[] = [];
  const reception = new Reception(signal);
  try {
    await reception.fetch(url);
    for await (const block of reception.blocks()) {
      received.push(Buffer.from(block));
      onBlock();
    }
    return { bytes: Buffer.concat(received), error: undefined };
  } catch (error) {
    return { bytes: Buffer.concat(received), error };
  }
}

function send(response: ServerResponse, headers: Record<string, string>, pieces: readonly Buffer[]): void {
  response.writeHead(200, headers);
  for (const piece of pieces) response.write(piece);
}

describe('a reception', () => {
  it.each([
    ['a length', { 'content-length': String(whole.length) }],
    ['pieces', {}],
  ])('brings every byte of a reply with %s, and asks on a connection of its own', async (_kind, headers) => {
    let asked: IncomingMessage['headers'] = {};
    const url = await serve((incoming, response) => {
      asked = incoming.headers;
      send(response, headers, blocks);
      response.end();
    });
    const { bytes, error } = await receive(url);
    expect(error).toBeUndefined();
    expect(bytes.equals(whole)).toBe(true);
    expect(asked).toMatchObject({ connection: 'close', 'accept-encoding': 'gzip' });
  });

  it.each([
    ['a length', { 'content-length': String(whole.length) }],
    ['pieces', {}],
  ])('raises when a reply with %s breaks off, behind what had come (W1, W2)', async (_kind, headers) => {
    let arrived = 0;
    let cut: () => void = () => undefined;
    const url = await serve((_incoming, response) => {
      cut = () => response.destroy();
      send(response, headers, blocks.slice(0, 4));
    });
    const { bytes, error } = await receive(url, undefined, () => {
      arrived += 1;
      if (arrived === 1) cut();
    });
    expect(error).toBeInstanceOf(Error);
    expect(bytes.length).toBeGreaterThan(0);
    expect(bytes.equals(whole.subarray(0, bytes.length))).toBe(true);
  });

  it('is compressed on the way where the other side can, and raises when that breaks off', async () => {
    const packed = gzipSync(whole);
    const url = await serve((incoming, response) => {
      const isCut = incoming.url === '/cut';
      send(response, { 'content-encoding': 'gzip' }, [isCut ? packed.subarray(0, packed.length / 2) : packed]);
      response.end();
    });
    expect((await receive(url)).bytes.equals(whole)).toBe(true);
    expect((await receive(`${url}/cut`)).error).toMatchObject({ code: 'Z_BUF_ERROR' });
  });

  it('does not read ahead of a reader that takes its time (W3)', async () => {
    let sent = 0;
    const url = await serve((_incoming, response) => {
      response.writeHead(200);
      const more = (): void => {
        for (let isTaken = true; isTaken && sent < 256; sent += 1) isTaken = response.write(blocks[0]);
        if (sent < 256) response.once('drain', more);
        else response.end();
      };
      more();
    });
    const reception = new Reception(new AbortController().signal);
    await reception.fetch(url);
    const read = reception.blocks();
    let bytes = (await read.next()).value?.length ?? 0;
    // The server comes to rest when all buffers on the way are full: what it has sent does not change over many of its turns.
    for (let before = -1, turns = 0; turns < 200; turns = before === sent ? turns + 1 : 0) {
      before = sent;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(sent).toBeLessThan(128);
    for await (const block of read) bytes += block.length;
    expect(bytes).toBe(256 * 256 * 1024);
  });

  it('ends with its signal while the body comes', async () => {
    const abort = new AbortController();
    const url = await serve((_incoming, response) => send(response, {}, blocks.slice(0, 2)));
    const { error } = await receive(url, abort.signal, () => abort.abort());
    expect(error).toBeInstanceOf(Error);
  });

  it('leaves with its reader', async () => {
    const closed = new Promise<void>((resolve) => {
      void serve((_incoming, response) => {
        response.once('close', resolve);
        send(response, {}, blocks);
      }).then(async (url) => {
        const reception = new Reception(new AbortController().signal);
        await reception.fetch(url);
        for await (const _block of reception.blocks()) break;
      });
    });
    await closed;
  });

  it.each([
    [401, 'credentials_refused'],
    [404, 'provider_refused'],
    [429, 'provider_unavailable'],
    [503, 'provider_unavailable'],
    [302, 'provider_unavailable'],
  ])('of a reply %i is the fault %s, and no address is followed', async (status, code) => {
    let calls = 0;
    const url = await serve((_incoming, response) => {
      calls += 1;
      response.writeHead(status, { location: '/elsewhere', 'content-type': 'application/json' }).end('{"type":"error","error":{"type":"some_error","message":"words"}}');
    });
    const claude = openClaude({ apiKey: 'key', authToken: undefined, baseUrl: url, version: '2026-10-21' });
    const read = async (): Promise<void> => {
      for await (const _block of claude.readResults(batch as never, new AbortController().signal)) void _block;
    };
    await expect(read()).rejects.toMatchObject({ code });
    await claude.close();
    expect(calls).toBe(1);
  });
});
