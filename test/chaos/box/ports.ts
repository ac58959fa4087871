/**
 * Faults as a wrapper over the real ports: each call waits for its turn and meets the fate that the schedule gives it.
 *
 *   crash_before, crash_after   the worker dies around the call; after it, the effect is there and nobody knows
 *   resend                      the client library sends the call again because the reply was lost
 *   fail_before, fail_after     the call fails for a moment, without or with its effect
 *   stop_before, stop_after     the process is stopped around the call for longer than its leases, and then goes on
 */
import { PlimsollError } from '../../../segments/errors.ts';
import type { CallFate, Turns } from './turns.ts';

export type PortName = 'ledger' | 'store' | 'claude';

export interface PortFaults {
  readonly turns: Turns;
  readonly worker: string;
  /** Decides the fate of one call, by its name such as `ledger.admit`. */
  readonly fate: (name: string) => CallFate;
  /** Until when a worker that is stopped now stays so; ms. */
  readonly stoppedUntilMs: () => number;
}

const failureCodes = { ledger: 'redis_unavailable', store: 'lake_unavailable', claude: 'provider_unavailable' } as const;

/** Streams of reads: they have no turn of their own, the call that uses them has. */
const streams: ReadonlySet<string> = new Set(['read', 'list', 'readResults']);

/** Wraps every method of a port. */
export function withFaults<Port extends object>(port: Port, room: PortName, faults: PortFaults): Port {
  const { turns, worker } = faults;
  const wrapped = new Map<string, unknown>();
  return new Proxy(port, {
    get(inner, property, receiver) {
      const value: unknown = Reflect.get(inner, property, inner);
      if (typeof value !== 'function' || typeof property !== 'string') return Reflect.get(inner, property, receiver);
      if (streams.has(property)) return value.bind(inner);
      const known = wrapped.get(property) ?? wrapCall(`${room}.${property}`, async (...args) => await (value as (...given: unknown[]) => unknown).apply(inner, args));
      wrapped.set(property, known);
      return known;
    },
  });

  function wrapCall(name: string, call: (...args: unknown[]) => Promise<unknown>) {
    const failure = (): PlimsollError => new PlimsollError(failureCodes[room], { message: 'injected', where: name });
    const stop = async (): Promise<void> => {
      turns.stop(worker, faults.stoppedUntilMs());
      turns.end();
      await turns.take({ worker, name: `${name} continued` });
    };
    const die = async (): Promise<never> => {
      turns.kill(worker);
      turns.end();
      return await turns.grave();
    };
    return async (...args: unknown[]): Promise<unknown> => {
      await turns.take({ worker, name });
      const fate = faults.fate(name);
      if (fate === 'crash_before') return await die();
      if (fate === 'stop_before') await stop();
      // An upload reads the lake and asks the ledger on its way: those calls have turns of their own.
      const isUpload = name === 'claude.createBatch';
      if (isUpload) turns.end();
      try {
        if (fate === 'fail_before') throw failure();
        let result = await call(...args);
        if (isUpload) await turns.take({ worker, name: `${name} replied` });
        if (fate === 'resend') result = await call(...args);
        if (fate === 'crash_after') return await die();
        if (fate === 'stop_after') await stop();
        if (fate === 'fail_after') throw failure();
        return result;
      } finally {
        if (!turns.dead.has(worker)) turns.end();
      }
    };
  }
}
