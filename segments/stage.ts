/**
 * The contract of a stage. A stage reads the ledger, acts, and writes one conditional transition; running it twice, late
 * or never must be harmless. It returns what comes next and does not throw to steer: what it throws is a fault, and the
 * loop in `workers/worker.ts` decides when it is tried again.
 */
import type { Stage } from './wake.ts';

/** What a stage found: nothing left to do for this entity, or look again at an instant. */
export type StageOutcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'later'; readonly atMs: number; readonly why: string };

export const done: StageOutcome = { kind: 'done' };

export interface StageHandler {
  readonly stage: Stage;
  /** How many entities one process handles at a time. */
  readonly concurrency: number;
  /** true: the loop claims the entity first, so that two workers do not do the same slow work. */
  readonly isClaimed: boolean;
  /**
   * `signal` aborts when the process must stop now; what was begun is then left as a crash would leave it. `drain` aborts
   * before that, when the process was asked to stop: a stage that does one thing after the other ends what it is at and
   * begins nothing new. Absent: nobody asks.
   */
  handle(entity: string, signal: AbortSignal, drain?: AbortSignal): Promise<StageOutcome>;
}

/** The clock of the product: Unix ms, the same on all machines because it follows the clock of Redis. */
export type Now = () => number;

/** One line of the log: what happened to whom. Names and ids only, never a prompt, an answer or a secret. */
export interface StageLog {
  readonly event: string;
  readonly subject: string;
  readonly detail?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly level: 'debug' | 'info' | 'warn' | 'error';
}

export type Log = (line: StageLog) => void;
