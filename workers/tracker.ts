/**
 * The tracker: asks the provider about accepted batches, by delayed jobs, never by a worker that waits. A question is
 * free and may be asked twice. Progress is never derived from the counters: they stay zero until the batch has ended.
 *
 * Invariants
 *   R1  A batch is asked for only with the account that made it.
 *   R2  A batch is canceled only after the ledger has noted that we ask for it, so its rows get the true reason.
 *   R3  A batch that the provider does not know is an alarm and never a reason to submit again.
 */
import { PlimsollError } from '../segments/errors.ts';
import type { Ledger } from '../segments/ledger/ledger.ts';
import type { ArchiveId, BatchId } from '../segments/segment.ts';
import { done, type Log, type Now, type StageHandler } from '../segments/stage.ts';
import type { Wake } from '../segments/wake.ts';
import type { Claude } from './claude.ts';
import { warnOfExpiry } from './expiry.ts';
import { makeLeaving } from './other-account.ts';
import { waitAtAge } from './pace.ts';

export interface TrackerDependencies {
  readonly ledger: Ledger;
  readonly wake: Wake;
  readonly claude: Claude;
  readonly pollMinMs: number;
  readonly pollMaxMs: number;
  readonly now: Now;
  readonly log: Log;
}

/** Makes the tracker's stage; its entities are archives whose batch was accepted. */
export function makeTracker(dependencies: TrackerDependencies): StageHandler {
  const { ledger, wake, claude, pollMinMs, pollMaxMs, now, log } = dependencies;
  const leave = makeLeaving(dependencies);
  return {
    stage: 'track',
    concurrency: 8,
    isClaimed: true,
    async handle(entity, signal) {
      const id = entity as ArchiveId;
      const archive = await ledger.readArchive(id);
      if (!archive || archive.state !== 'accepted' || archive.batch === undefined) return done;
      warnOfExpiry(archive, now(), log);
      if (archive.account !== claude.account) return await leave(archive, archive.acceptedAtMs ?? now(), pollMaxMs);
      const ageMs = now() - (archive.acceptedAtMs ?? now());
      let status;
      try {
        status = await claude.retrieveBatch(archive.batch, signal);
      } catch (error) {
        if (!(error instanceof PlimsollError)) throw error;
        log({ level: error.code === 'provider_refused' ? 'error' : 'warn', event: 'batch.not_readable', subject: archive.batch, detail: { archive: id, code: error.code } });
        return await defer(Math.min(pollMaxMs, Math.max(pollMinMs, 5_000)));
      }
      if (!status.isEnded) {
        const watch = await ledger.watchBatch(id, now());
        if (watch.isNewlyLate) log({ level: 'warn', event: 'batch.late', subject: archive.batch, detail: { archive: id, reason: 'budget_runtime', isCanceled: watch.isCancelDue } });
        if (watch.isCancelDue && !status.isCanceling) await cancel(archive.batch);
        const patientMs = waitAtAge(ageMs, pollMinMs, pollMaxMs);
        // A cancellation is through within seconds, and a runtime budget is looked at when it ends.
        const untilDeadlineMs = watch.isCancelDue ? pollMinMs : Math.max(pollMinMs, (watch.deadlineMs ?? Infinity) - now());
        return await defer(Math.min(Math.max(patientMs, status.retryAfterMs ?? 0), untilDeadlineMs));
      }
      if (await ledger.endArchive(id, undefined, now())) {
        log({ level: 'info', event: 'batch.ended', subject: archive.batch, detail: { archive: id, ...status.counts } });
        await wake.wake({ stage: 'settle', entity: id, epoch: 0 });
        await wake.wake({ stage: 'submit', entity: 'next', epoch: now() });
      }
      return done;

      async function cancel(batch: BatchId): Promise<void> {
        try {
          await claude.cancelBatch(batch, signal);
          log({ level: 'info', event: 'batch.canceling', subject: batch, detail: { archive: id } });
        } catch (error) {
          // The next poll asks again; a batch that has ended meanwhile refuses it, and that poll sees the end.
          if (!(error instanceof PlimsollError)) throw error;
          log({ level: 'warn', event: 'batch.not_canceled', subject: batch, detail: { archive: id, code: error.code } });
        }
      }

      async function defer(delayMs: number) {
        const pollAtMs = now() + delayMs;
        await ledger.deferPoll(id, pollAtMs);
        await wake.wake({ stage: 'track', entity: id, epoch: pollAtMs, delayMs });
        return { kind: 'later', atMs: pollAtMs, why: 'in_progress' } as const;
      }
    },
  };
}
