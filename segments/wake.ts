/**
 * The wake port: how a stage is told that something waits. A wake-up carries an id and never the truth; it may come
 * twice, late or never. The ledger says what waits, and the sweeper wakes again whatever has waited too long.
 */
import type { ChunkId, SegmentName } from './segment.ts';

/** The stages that are woken, in the order in which work passes through them; `doubt` stands beside the way. */
export const stages = ['pack', 'seal', 'submit', 'track', 'settle', 'export', 'gather', 'doubt'] as const;
export type Stage = (typeof stages)[number];

/** One wake-up. `epoch` makes its job id differ from an older wake-up of the same entity that is still stored. */
export interface WakeUp {
  readonly stage: Stage;
  /** An archive id, a run key, an account, `all` for the packer, or `workspace|<account>` for the search of a workspace. */
  readonly entity: string;
  readonly epoch: number;
  readonly delayMs?: number;
}

export interface Wake {
  /** Wakes a stage. A failure is not an error of the caller: the sweeper will find the entity. */
  wake(wakeUp: WakeUp): Promise<void>;
  /** Puts a chunk into the queue of its segment and wakes the packers. */
  enqueueChunk(segment: SegmentName, chunk: ChunkId, epoch: number): Promise<void>;
  close(): Promise<void>;
}
