import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Exchange, Reply } from './exchange.ts';
import type { FaultRule } from './faults.ts';

/**
 * Sends replies, whole or as badly as a fault demands.
 *
 * It owns everything after the work is done: header order, lost and cut replies, silence, slow drips. Waiting here is in wall time, because
 * it concerns sockets and not batches.
 */

/** Sends `reply`, with the faults of the reply phase. `headers` are those that every reply of the API carries. */
export async function deliver(exchange: Exchange, reply: Reply, headers: Readonly<Record<string, string>>): Promise<number> {
  const { response, faults } = exchange;
  if (reply.kind === 'none') {
    return 0;
  }
  if (faults.take('reply_lost') !== undefined) {
    drop(response);
    return 0;
  }
  const silence = faults.take('reply_hang');
  if (silence !== undefined) {
    await hang(response, silence);
    return 0;
  }
  const drip = faults.take('slow_drip');
  const all = { 'content-type': 'application/json', ...(reply.kind === 'json' && reply.edge === true ? {} : headers), ...reply.headers };
  if (reply.kind === 'stream') {
    response.writeHead(reply.status, all);
    await sendStream(response, reply.pieces, drip);
    return reply.status;
  }
  const body = Buffer.from(reply.body);
  response.writeHead(reply.status, { ...all, 'content-length': String(body.length) });
  const cut = faults.take('reply_cut');
  if (cut !== undefined) {
    response.write(body.subarray(0, Math.min(body.length - 1, cut.bytes ?? body.length >> 1)), () => drop(response));
    return reply.status;
  }
  if (drip === undefined) {
    response.end(body);
  } else {
    await writeSlowly(response, body, drip);
    response.end();
  }
  return reply.status;
}

/** Closes the connection without another byte. */
export function drop(response: ServerResponse): void {
  response.socket?.destroy();
}

/** Says nothing until the client gives up, or until the rule's seconds are over; then the connection is closed. */
export async function hang(response: ServerResponse, rule: FaultRule): Promise<void> {
  const { socket } = response;
  if (socket === null || socket.destroyed) {
    return;
  }
  if (rule.seconds === undefined) {
    await once(socket, 'close');
    return;
  }
  const patience = new AbortController();
  const gone = once(socket, 'close').then(() => patience.abort());
  await sleep(rule.seconds * 1000, undefined, { signal: patience.signal, ref: false }).catch(() => undefined);
  socket.destroy();
  await gone;
}

async function sendStream(response: ServerResponse, pieces: AsyncGenerator<Buffer | string, 'end' | 'abort'>, drip: FaultRule | undefined): Promise<void> {
  for (;;) {
    const { value, done } = await pieces.next();
    if (done === true) {
      if (value === 'abort') {
        drop(response);
      } else {
        response.end();
      }
      return;
    }
    if (response.destroyed) {
      await pieces.return('abort');
      return;
    }
    if (drip !== undefined) {
      await writeSlowly(response, Buffer.from(value), drip);
    } else if (!response.write(value)) {
      await drained(response);
    }
  }
}

/** Resolves when more can be written, or when nobody is there to read it. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.once('drain', done);
    response.once('close', done);
  });
}

/** Ten pieces a second. */
async function writeSlowly(response: ServerResponse, body: Buffer, rule: FaultRule): Promise<void> {
  const step = Math.max(1, Math.floor((rule.bytes_per_second ?? 100) / 10));
  for (let at = 0; at < body.length && !response.destroyed; at += step) {
    response.write(body.subarray(at, at + step));
    await sleep(100, undefined, { ref: false });
  }
}
