/** Results that the provider is about to delete: told while somebody can still fetch them, whatever they wait for. */
import type { ArchiveRecord } from '../segments/ledger/ledger.ts';
import type { Log } from '../segments/stage.ts';

/** The provider keeps results for 29 days from the creation of the batch (claude-batches.md 1.2); a week is left to act. */
const alarmAgeMs = 21 * 86_400_000;

/**
 * Tells of an archive whose batch was accepted so long ago and whose results are not settled, at each look. Asked before
 * anything that may keep the stage from them: another account, a provider or a lake that is away.
 */
export function warnOfExpiry(archive: ArchiveRecord, nowMs: number, log: Log): void {
  const ageMs = nowMs - (archive.acceptedAtMs ?? nowMs);
  if (archive.batch === undefined || ageMs <= alarmAgeMs) return;
  log({ level: 'error', event: 'batch.results_expire', subject: archive.batch, detail: { archive: archive.archive, state: archive.state, days: Math.floor(ageMs / 86_400_000) } });
}
