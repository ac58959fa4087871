import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { attemptClaim, makeClaim } from '../claim.ts';
import { SimulatorUsageError } from './settings.ts';

/**
 * The lock of a state folder: one simulator at a time. Two would clear each other's uploads away, give the same ids twice and
 * settle every batch twice, so that the truth log says that each row was billed twice.
 *
 * Invariants
 *   K1  Of any number that start at once, one gets the folder; the others are refused before they touch anything else in it.
 *   K2  A lock is taken over only when its process is certainly dead (L2 of `claim.ts`).
 */

/** Takes the lock of `stateDir` and returns what lets go of it. Throws `SimulatorUsageError` when another simulator has it. */
export async function lockState(stateDir: string): Promise<() => Promise<void>> {
  const folder = join(stateDir, 'lock');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const attempt = await attemptClaim(folder, makeClaim());
  if (attempt.kind === 'held') return attempt.release;
  throw new SimulatorUsageError(`Another simulator uses the folder ${stateDir} (process ${attempt.holder.pid}). Stop it, or name another folder with --state.`);
}
