/**
 * Faults as a wrapper over the real ports: each call waits for its turn and meets the fate that the schedule gives it.
 *
 *   crash_before, crash_after   the worker dies around the call; after it, the effect is there and nobody knows
 *   resend                      the client library sends the call again because the reply was lost
 *   fail_before, fail_after     the call fails for a moment, without or with its effect
 */
import { PlimsollError } from '../../../segments/errors.ts';
import type { CallFate, Turns } from './turns.ts';

export interface PortFaults {
  readonly turns: Turns;
  readonly worker: string;
  /** Decides the fate of one call, by its name such as `ledger.admit`. */
  readonly fate: (name: string) => CallFate;
  readonly onCrash: (name: string, fate: CallFate) => void;
}

const failure = (name: string): PlimsollError => new PlimsollError(name.startsWith('store') ? 'lake_unavailable' : 'redis_unavailable', { message: 'injected', where: name });

/** Wraps every method of a port. Generators are left alone but for their first turn. */
export function withFaults<Port extends object>(port: Port, room: string, faults: PortFaults): Port {
  const { turns, worker } = faults;
  return new Proxy(port, {
    get(inner, property, receiver) {
      const value: unknown = Reflect.get(inner, property, inner);
      if (typeof value !== 'function' || typeof property !== 'string') return Reflect.get(inner, property, receiver);
      const name = `${room}.${property}`;
      if (property === 'read' || property === 'list' || property === 'readResults') return value.bind(inner);
      return async (...args: unknown[]): Promise<unknown> => {
        await turns.take({ worker, name });
        const fate = faults.fate(name);
        const call = async (): Promise<unknown> => await (value as (...given: unknown[]) => unknown).apply(inner, args);
        const die = (): Promise<never> => {
          faults.onCrash(name, fate);
          turns.kill(worker);
          turns.end();
          return new Promise(() => undefined);
        };
        if (fate === 'crash_before') return await die();
        // An upload reads the lake and asks the ledger on its way: those calls have turns of their own.
        if (property === 'createBatch') turns.end();
        try {
          if (fate === 'fail_before') throw failure(name);
          let result = await call();
          if (fate === 'resend') result = await call();
          if (fate === 'crash_after') return await die();
          if (fate === 'fail_after') throw failure(name);
          return result;
        } finally {
          if (!turns.dead.has(worker)) turns.end();
        }
      };
    },
  });
}
