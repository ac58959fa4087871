/**
 * The two sides that may answer a run: the provider, who is paid, and the simulator of the home, for a rehearsal. A run is
 * answered by one side only, so that a rehearsal costs nothing and no real run gets simulated answers.
 *
 * It is decided once. A command that brings a run in and works it decides when it opens the run; for rows that others are to
 * work, the first intent of one of the run's archives does (`prepare-intent.lua`). It stands in the opening document or in the
 * documents of the intents, so a rebuild of the ledger finds it again.
 */
import { PlimsollError } from './errors.ts';
import type { RunKey } from './segment.ts';

/** Who answers a run. `real`: whatever answers at the provider's address, also a server that somebody has put there. */
export const sides = ['real', 'simulated'] as const;
export type Side = (typeof sides)[number];

/** The side that a text names; undefined: none, as of a run that was not decided yet. */
export function asSide(text: string | undefined): Side | undefined {
  return sides.find((side) => side === text);
}

/** Whether the simulator answers a run. */
export function isRehearsal({ side }: { readonly side?: Side | undefined }): boolean {
  return side === 'simulated';
}

/**
 * Refuses to bring in or to work a run for another side than its own. Undefined on either side is no conflict: nothing is decided
 * yet, or whoever asks leaves it to others. `hint`: what to do instead, where it is not about a run key.
 * @throws PlimsollError `run_side_differs`
 */
export function assertSide(run: RunKey, found: Side | undefined, asked: Side | undefined, hint?: string): void {
  if (found === undefined || asked === undefined || found === asked) return;
  throw new PlimsollError('run_side_differs', {
    message:
      found === 'simulated'
        ? `the run ${run} was rehearsed: the simulator answers it, and nothing of it is sent to the provider`
        : `the run ${run} is a real one: the provider answers it, and the simulator never does`,
    where: run,
    hint:
      hint ??
      (found === 'simulated'
        ? `Use another --run-key for the real run. To go on with the rehearsal add --simulate; to end it: plimsoll cancel ${run} --simulate`
        : 'Use another --run-key to rehearse. To go on with the real run leave --simulate out.'),
  });
}
