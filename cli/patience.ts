/**
 * How long a command waits for an archive in doubt. Waiting is worth while as long as the doubt may resolve itself
 * within the time that is left: a batch may be found at any look, and absence can be proven after the landing wait.
 * Without a `--timeout` a minute is spent on it; after that a person may as well look with `plimsoll doubts`.
 */
import type { DoubtRecord, IntentRecord, Ledger } from '../segments/ledger/ledger.ts';
import { emptyScansMin, scanSpacingMs } from '../workers/adopter.ts';
import type { RunView } from './follow.ts';

export interface Patience {
  readonly landingWaitMs: number;
  /** Unix ms as the ledger counts them. */
  readonly now: () => number;
  /** What `--timeout` leaves; undefined: there is none. */
  readonly timeoutMs: number | undefined;
}

const usualMs = 60_000;
/** So many looks have given a batch that was accepted the time to turn up in the list. */
const looksMin = 5;
/** Sweeps that have to come round between two scans. */
const marginMs = 10_000;

/** Makes the question whether it is worth waiting for a run that stands still because of doubts. */
export function patientWith(ledger: Ledger, patience: Patience): (view: RunView) => Promise<boolean> {
  const beganMs = patience.now();
  let sinceMs: number | undefined;
  return async (view) => {
    if (view.standing !== 'in_doubt') return false;
    sinceMs ??= patience.now();
    const untilMs = patience.timeoutMs === undefined ? sinceMs + usualMs : beganMs + patience.timeoutMs;
    const doubted = view.archives.filter((archive) => archive.state === 'in_doubt' && archive.intent !== undefined);
    const intents = await Promise.all(doubted.map(async ({ intent }) => (intent === undefined ? undefined : await ledger.readIntent(intent))));
    return intents.some((intent) => intent !== undefined && mayResolve(intent, { ...patience, sinceMs: sinceMs ?? beganMs, untilMs }));
  };
}

function mayResolve(intent: IntentRecord, wait: Pick<Patience, 'landingWaitMs' | 'now'> & { readonly sinceMs: number; readonly untilMs: number }): boolean {
  // Its reply has just come, or it waits for a person.
  if (intent.doubt === undefined || intent.state !== 'in_doubt') return intent.state !== 'held';
  const isSearched = intent.doubt.looks >= looksMin && (intent.doubt.lookedAtMs ?? 0) >= wait.sinceMs;
  if (!isSearched) return wait.now() < wait.untilMs;
  // A batch that may be its own will end and tell; a run waits for its batches without a limit anyway.
  if (intent.doubt.candidates.length > 0) return true;
  const provableAtMs = absentAtMs(intent.doubt, wait.landingWaitMs);
  return provableAtMs !== undefined && Math.max(provableAtMs, wait.now()) + emptyScansMin * scanSpacingMs(wait.landingWaitMs) <= wait.untilMs + Math.min(marginMs, wait.landingWaitMs);
}

/** From when on absence can be proven, Unix ms; undefined: its sender is not known to be finished. */
export function absentAtMs(doubt: DoubtRecord, landingWaitMs: number): number | undefined {
  return doubt.fencedAtMs === undefined ? undefined : doubt.fencedAtMs + landingWaitMs;
}
