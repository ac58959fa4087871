/**
 * Jobs of a version that this process does not know. While workers of two versions run side by side, as in every rolling
 * deployment, a newer job is put off for those that understand it. It is only a wake-up, so nothing depends on it: what it
 * says stands in the ledger, and the sweeper says it again.
 *
 * Invariant N1: a job is put off so often at most, and then taken off its queue: where no newer worker ever comes, as after
 * a return to an older version, jobs would go round for ever.
 */
import type { Job } from 'bullmq';
import { payloadVersion, type JobPayload } from '../config/queues.ts';

/** How long a newer job is put off, ms, and how often: an hour in all. */
export const newerDelayMs = 30_000;
export const newerDelaysMax = 120;

/** What a job is to this process: `ghost` is one whose data are gone, or were never ours. */
export type JobReading = { readonly kind: 'known'; readonly entity: string } | { readonly kind: 'newer' | 'ghost'; readonly version: number };

/** Reads a payload, of which nothing is believed before. */
export function readJob(job: Pick<Job<JobPayload>, 'data'>): JobReading {
  const { v, entity } = job.data;
  if (v === payloadVersion && typeof entity === 'string') return { kind: 'known', entity };
  return { kind: Number.isInteger(v) && v > payloadVersion ? 'newer' : 'ghost', version: Number(v) };
}

/** Puts a newer job off. False: it was put off often enough, and its caller takes it off the queue (N1). */
export async function putOff(job: Job<JobPayload>, token: string | undefined): Promise<boolean> {
  if (job.attemptsStarted > newerDelaysMax) return false;
  // BullMQ counts from the clock of the process, whatever clock the pipeline goes by.
  await job.moveToDelayed(Date.now() + newerDelayMs, token);
  return true;
}
