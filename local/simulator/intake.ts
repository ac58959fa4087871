import { closeSync, openSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { BodyVerdict } from './bodyjudge.ts';
import { Gathering } from './gathering.ts';
import type { JudgeDesk } from './judgedesk.ts';

/**
 * Receives the body of a create call: every byte goes into `body.json` and past a judge, none is kept.
 *
 * Invariants
 *   R1  A body is complete only if the client sent all of it; a connection that ends before is `incomplete`, whatever arrived.
 *   R2  Memory does not grow with the body: a megabyte is gathered, then written. A write from memory that was just received costs
 *       less than handing it to another thread, which would also take the core from a client on the same machine.
 *   R3  The limit counts received bytes (decoded ones too), whatever the headers announced.
 */

export type Intake =
  | BodyVerdict
  | { readonly kind: 'too_large' }
  | { readonly kind: 'incomplete'; readonly bytes: number }
  | { readonly kind: 'stopped' };

export interface IntakePlan {
  readonly folder: string;
  /** What the client announced, 0 if it did not. */
  readonly declaredBytes: number;
  readonly limitBytes: number;
  readonly isGzip: boolean;
  /** Fault: whether to stop here, asked with the bytes received so far; once it has said yes it is not asked again. */
  readonly isStruckAt: (receivedBytes: number) => boolean;
  /** Fault: read no faster than this. */
  readonly bytesPerSecond: number | undefined;
}

/** Reads the body of `request` into the plan's folder. */
export async function receiveBody(request: IncomingMessage, judges: JudgeDesk, plan: IntakePlan): Promise<Intake> {
  const path = join(plan.folder, 'body.json');
  const file = openSync(path, 'w');
  const judging = judges.open(path, plan.declaredBytes);
  try {
    const { ending, bytes } = await pump(request, plan, new Gathering(file, judging));
    switch (ending) {
      case 'complete':
        return await judging.end();
      case 'incomplete':
        return { kind: 'incomplete', bytes };
      case 'undecodable':
        return { kind: 'malformed', message: 'The request body could not be decoded as gzip.' };
      default:
        return { kind: ending };
    }
  } finally {
    judging.drop();
    closeSync(file);
  }
}

type Ending = 'complete' | 'incomplete' | 'too_large' | 'stopped' | 'undecodable';

/** Listens to chunks directly: at 4,000 chunks per body the promises of an iterator are felt. */
function pump(request: IncomingMessage, plan: IntakePlan, gathering: Gathering): Promise<{ readonly ending: Ending; readonly bytes: number }> {
  const source: Readable = plan.isGzip ? request.pipe(createGunzip()) : request;
  let received = 0;
  let taken = 0;
  return new Promise((resolve) => {
    const finish = (ending: Ending): void => {
      source.removeAllListeners('data');
      source.pause();
      resolve({ ending, bytes: taken });
    };
    source.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (plan.isStruckAt(received)) {
        finish('stopped');
        return;
      }
      if (received > plan.limitBytes) {
        finish('too_large');
        return;
      }
      if (!gathering.add(chunk)) {
        // To the client, a disk that is full is a connection that breaks.
        finish('incomplete');
        return;
      }
      taken += chunk.length;
      if (plan.bytesPerSecond !== undefined) {
        source.pause();
        setTimeout(() => source.resume(), (chunk.length * 1000) / plan.bytesPerSecond).unref();
      }
    });
    source.once('end', () => finish(request.complete && gathering.flush() ? 'complete' : 'incomplete'));
    source.once('error', () => finish(source === request ? 'incomplete' : 'undecodable'));
    request.once('close', () => {
      if (!request.complete || request.errored !== null) {
        finish('incomplete');
      }
    });
  });
}

/** Reads and forgets the rest of a body, so that the reply can be read by a client that is still sending. Gives up on what is huge or slow. */
export function discardRest(request: IncomingMessage): void {
  request.on('error', () => undefined);
  request.resume();
}
