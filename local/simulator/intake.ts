import { createWriteStream, type WriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { EnvelopeReader, type EnvelopeIndex } from './envelope.ts';
import { JsonScanner } from './scanner.ts';

/**
 * Receives the body of a create call: every byte goes through the scanner and into `body.json`, none is kept.
 *
 * Invariants
 *   R1  A body is complete only if the client sent all of it; a connection that ends before is `incomplete`, whatever arrived.
 *   R2  Memory does not grow with the body: at most 8 MB wait for the disk.
 *   R3  The limit counts received bytes (decoded ones too), whatever the headers announced.
 */

export type Intake =
  | { readonly kind: 'complete'; readonly bytes: number; readonly index: EnvelopeIndex }
  | { readonly kind: 'malformed'; readonly message: string }
  | { readonly kind: 'too_large' }
  | { readonly kind: 'incomplete'; readonly bytes: number }
  | { readonly kind: 'stopped' };

export interface IntakePlan {
  readonly folder: string;
  readonly limitBytes: number;
  readonly isGzip: boolean;
  /** Fault: stop after this many bytes. */
  readonly stopAfterBytes: number | undefined;
  /** Fault: read no faster than this. */
  readonly bytesPerSecond: number | undefined;
}

const WAITING_BYTES = 8 * 1024 * 1024;

/** Reads the body of `request` into the plan's folder. */
export async function receiveBody(request: IncomingMessage, plan: IntakePlan): Promise<Intake> {
  const envelope = new EnvelopeReader();
  const scanner = new JsonScanner(envelope);
  const file = createWriteStream(join(plan.folder, 'body.json'), { highWaterMark: WAITING_BYTES });
  try {
    const ending = await pump(request, plan, scanner, file);
    if (ending === 'undecodable') {
      return { kind: 'malformed', message: 'The request body could not be decoded as gzip.' };
    }
    if (ending !== 'complete') {
      return ending === 'incomplete' ? { kind: 'incomplete', bytes: scanner.bytes } : { kind: ending };
    }
    await new Promise<void>((resolve, reject) => {
      file.once('error', reject);
      file.end(() => resolve());
    });
  } finally {
    file.destroy();
  }
  scanner.end();
  const { fault } = scanner;
  if (fault !== undefined) {
    return { kind: 'malformed', message: `The request body is not valid JSON: ${fault.what}: line ${fault.line} column ${fault.column} (char ${fault.offset})` };
  }
  const verdict = envelope.verdict();
  return verdict === undefined ? { kind: 'complete', bytes: scanner.bytes, index: envelope.index() } : { kind: 'malformed', message: verdict };
}

type Ending = 'complete' | 'incomplete' | 'too_large' | 'stopped' | 'undecodable';

/** Listens to chunks directly: at 4,000 chunks per body the promises of an iterator are felt. */
function pump(request: IncomingMessage, plan: IntakePlan, scanner: JsonScanner, file: WriteStream): Promise<Ending> {
  const source: Readable = plan.isGzip ? request.pipe(createGunzip()) : request;
  let received = 0;
  return new Promise((resolve) => {
    const finish = (ending: Ending): void => {
      source.removeAllListeners('data');
      source.pause();
      resolve(ending);
    };
    source.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (plan.stopAfterBytes !== undefined && received >= plan.stopAfterBytes) {
        finish('stopped');
        return;
      }
      if (received > plan.limitBytes) {
        finish('too_large');
        return;
      }
      scanner.write(chunk);
      const isFull = !file.write(chunk);
      if (isFull) {
        source.pause();
        file.once('drain', () => source.resume());
      }
      if (plan.bytesPerSecond !== undefined) {
        source.pause();
        setTimeout(() => source.resume(), (chunk.length * 1000) / plan.bytesPerSecond).unref();
      }
    });
    source.once('end', () => finish(request.complete ? 'complete' : 'incomplete'));
    source.once('error', () => finish(source === request ? 'incomplete' : 'undecodable'));
    request.once('close', () => {
      if (!request.complete || request.errored !== null) {
        finish('incomplete');
      }
    });
    file.once('error', () => finish('incomplete'));
  });
}

/** Reads and forgets the rest of a body, so that the reply can be read by a client that is still sending. Gives up on what is huge or slow. */
export function discardRest(request: IncomingMessage): void {
  request.on('error', () => undefined);
  request.resume();
}
