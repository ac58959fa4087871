/** The answer to a client that was over its tier: why, how long it takes, and what would have been admitted. */
import type { Ledger } from '../segments/ledger/ledger.ts';
import { adviceOn, delayOf, type DeferralDelay, type DeferredPart, type QuotaAdvice } from '../segments/quota.ts';
import { segmentName } from '../segments/segment.ts';
import type { ProducerSettings } from './settings.ts';

/** What a caller is told of one client of a run. Its prompts over the limit are in the lane `fallback`, or were refused. */
export interface Deferred extends DeferredPart {
  readonly advice: QuotaAdvice;
  /** undefined: nothing of it waits, or the line is not known here. */
  readonly delay: DeferralDelay | undefined;
}

/**
 * Completes what was deferred with what the ledger sees of the line now.
 * @param isOver whether the run has ended, so that nothing of it waits
 */
export async function answerDeferred(parts: readonly DeferredPart[], ledger: Pick<Ledger, 'readTurnarounds' | 'countLine'>, settings: ProducerSettings, isOver: boolean): Promise<readonly Deferred[]> {
  const { line, contextClasses, defaults } = settings;
  const isWaiting = !isOver && line !== undefined && parts.some(({ over }) => over === 'fallback');
  if (!isWaiting) return parts.map((part) => ({ ...part, advice: adviceOn(part), delay: undefined }));
  // A segment that has never settled an archive is answered for by the whole installation; so any segment of the lane will do.
  const turnaroundsMs = await ledger.readTurnarounds(segmentName(defaults.topic, contextClasses[0]?.name ?? '', 'fallback'));
  const delay = delayOf({ turnaroundsMs, rowsInLine: await ledger.countLine(), ...line });
  return parts.map((part) => ({ ...part, advice: adviceOn(part), delay: part.over === 'fallback' ? delay : undefined }));
}
