/**
 * The fence: proof that whoever sent an intent can send nothing more. Without it a paused sender could release its last
 * byte after the archive was declared absent and sent again (reliability.md 4.5).
 */
import type { IntentId } from '../segments/segment.ts';

/** Creates whose call has not ended in this process. The submitter writes it, the adopter of the same process reads it. */
export class OpenCalls {
  readonly #intents = new Set<IntentId>();

  /** Notes a call for as long as it lasts. */
  async during<Result>(intent: IntentId, call: () => Promise<Result>): Promise<Result> {
    this.#intents.add(intent);
    try {
      return await call();
    } finally {
      this.#intents.delete(intent);
    }
  }

  has(intent: IntentId): boolean {
    return this.#intents.has(intent);
  }
}

/** `finished`: the sender can send nothing more. `alive`: it still can. `unknown`: nobody can tell from here. */
export type SenderState = 'finished' | 'alive' | 'unknown';

export interface FenceView {
  /** Names this process. */
  readonly owner: string;
  readonly calls: OpenCalls;
  /** Whether the process of this name has ended; undefined: it cannot be seen from here. A stopped process has not. */
  readonly isOwnerGone: (owner: string) => boolean | undefined;
}

/** Judges the sender of an intent. */
export function senderState(view: FenceView, intent: IntentId, sender: string): SenderState {
  if (sender === view.owner) return view.calls.has(intent) ? 'alive' : 'finished';
  const isGone = view.isOwnerGone(sender);
  return isGone === undefined ? 'unknown' : isGone ? 'finished' : 'alive';
}
