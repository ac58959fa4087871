/**
 * Where the ledger stands: how often a worker was started on it, how often it was rebuilt, which server holds it, and
 * whether it is known to have forgotten something. Beside the ledger's port, because only the guard and the rebuild use it.
 */
import type { Redis } from 'ioredis';
import type { IntentState } from '../lifecycle.ts';
import type { IntentId, RunKey } from '../segment.ts';
import type { LedgerKeys } from './keys.ts';
import { scriptCaller } from './scripts.ts';

export interface LedgerStanding {
  readonly generation: number;
  readonly epoch: number;
  /** Why it is known to be behind the lake; undefined: it is not. */
  readonly behind: string | undefined;
  readonly isRecovering: boolean;
  /** The run id of the Redis. */
  readonly server: string;
}

export interface StandingPort {
  read(): Promise<LedgerStanding>;
  /** Counts one more start of a worker and returns the number of this one. */
  raiseGeneration(owner: string): Promise<number>;
  /** true for the first who says so. */
  markBehind(reason: string, nowMs: number): Promise<boolean>;
  /** The state of each intent, undefined for one that the ledger does not know. */
  readIntents(intents: readonly IntentId[]): Promise<readonly (IntentState | undefined)[]>;
  knowsRun(run: RunKey): Promise<boolean>;
}

/** How many intents one script looks at. */
const intentsAtOnce = 400;

/** Opens the standing of an installation's ledger on a connection, which its owner closes. */
export function openStanding(redis: Redis, keys: LedgerKeys): StandingPort {
  const call = scriptCaller(redis, keys.prefix);
  return {
    async read() {
      const found = (await call('read-standing', {})) as Omit<LedgerStanding, 'behind'> & { readonly behind: string };
      return { ...found, behind: found.behind === '' ? undefined : found.behind };
    },
    raiseGeneration: async (owner) => ((await call('raise-generation', { owner })) as { generation: number }).generation,
    markBehind: async (reason, nowMs) => ((await call('mark-behind', { reason, nowMs })) as { isFirst: boolean }).isFirst,
    async readIntents(intents) {
      const states: (IntentState | undefined)[] = [];
      for (let at = 0; at < intents.length; at += intentsAtOnce) {
        const found = (await call('read-intents', { intents: intents.slice(at, at + intentsAtOnce) })) as (IntentState | '')[];
        for (const state of found) states.push(state === '' ? undefined : state);
      }
      return states;
    },
    knowsRun: async (run) => (await redis.sismember(keys.of('runs'), run)) === 1,
  };
}
