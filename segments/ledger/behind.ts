/** The errors for a ledger that may not be worked on, because it has forgotten what the lake knows or was rebuilt meanwhile. */
import { PlimsollError } from '../errors.ts';

export const rebuildHint = 'Nothing was posted. Stop all producers and workers, then run: plimsoll recover';

/** What is wrong with a ledger by its own word; undefined: nothing. */
export function standingFault(found: { readonly behind: string | undefined; readonly isRecovering: boolean }): string | undefined {
  return found.behind ?? (found.isRecovering ? 'a rebuild of the ledger is under way or was interrupted' : undefined);
}

/** The error for a ledger that nothing may be posted on and that takes nothing in. */
export function behind(reason: string, where: string): PlimsollError {
  return new PlimsollError('ledger_behind', { message: `the ledger in Redis is behind the lake: ${reason}`, where, hint: rebuildHint });
}

/** The error for a process that has worked on the ledger since before its last rebuild. */
export function rebuilt(): PlimsollError {
  return new PlimsollError('ledger_behind', {
    message: 'the ledger was rebuilt while this process was at work',
    where: 'standing',
    hint: 'Start this process again; it has posted nothing since.',
  });
}
