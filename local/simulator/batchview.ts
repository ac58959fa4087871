import { instantText } from './clock.ts';
import type { BatchRecord, Outcomes } from './records.ts';
import { uniform } from './seeded.ts';
import type { JsonObject } from './shape.ts';

/** A batch as the service shows it. Pure: the same record at the same instant prints the same bytes. */

const DAY_US = 86_400_000_000;

/** A batch expires 24 hours after its creation, to the microsecond (claude-batches.md 1.2). */
export function expiresUs(record: BatchRecord): number {
  return record.createdUs + DAY_US;
}

/** Results can be fetched for 29 days from creation (claude-batches.md 1.2). */
export function archivedUs(record: BatchRecord): number {
  return record.createdUs + 29 * DAY_US;
}

/** When processing ends by itself, by expiry or by cancel, whichever comes first. */
export function dueUs(record: BatchRecord): number {
  return Math.min(record.createdUs + record.durationMs * 1000, expiresUs(record), record.cancelEndUs ?? Infinity);
}

/** True once the batch has ended and its results are still kept. */
export function hasResults(record: BatchRecord, nowUs: number): boolean {
  return record.endedUs !== null && nowUs < archivedUs(record);
}

/** The MessageBatch object in the captured key order (claude-batches.md 1.6). `origin` is where the caller reached the simulator. */
export function batchObject(record: BatchRecord, nowUs: number, origin: string, isGradual: boolean, miscount: number): JsonObject {
  const isArchived = record.endedUs !== null && nowUs >= archivedUs(record);
  return {
    id: record.id,
    type: 'message_batch',
    processing_status: record.endedUs !== null ? 'ended' : record.cancelUs !== null ? 'canceling' : 'in_progress',
    request_counts: counts(record, nowUs, isGradual, miscount),
    ended_at: record.endedUs === null ? null : instantText(record.endedUs),
    created_at: instantText(record.createdUs),
    expires_at: instantText(expiresUs(record)),
    archived_at: isArchived ? instantText(archivedUs(record)) : null,
    cancel_initiated_at: record.cancelUs === null ? null : instantText(record.cancelUs),
    results_url: hasResults(record, nowUs) ? `${origin}/v1/messages/batches/${record.id}/results` : null,
  };
}

function counts(record: BatchRecord, nowUs: number, isGradual: boolean, miscount: number): JsonObject {
  if (record.outcomes !== null) {
    const { succeeded, errored, canceled, expired } = record.outcomes;
    const moved = Math.min(miscount, succeeded);
    return { processing: 0, succeeded: succeeded - moved, errored: errored + moved, canceled, expired };
  }
  const done = isGradual && record.durationMs > 0 ? Math.min(1, (nowUs - record.createdUs) / (record.durationMs * 1000)) : 0;
  const succeeded = Math.floor(record.requests * done);
  return { processing: record.requests - succeeded, succeeded, errored: 0, canceled: 0, expired: 0 };
}

/** What time does to one row, before the row itself is looked at. */
export function fateOf(record: BatchRecord, customId: string, seed: number, finishAfterCancel: number): 'runs' | 'canceled' | 'expired' {
  const finishUs = record.createdUs + uniform(seed, record.id, customId, 'finish') * record.durationMs * 1000;
  if (record.cancelUs !== null && finishUs > record.cancelUs) {
    return uniform(seed, record.id, customId, 'cancel') < finishAfterCancel ? 'runs' : 'canceled';
  }
  return finishUs > expiresUs(record) ? 'expired' : 'runs';
}

/** No rows yet. */
export const NO_OUTCOMES: Outcomes = { succeeded: 0, errored: 0, canceled: 0, expired: 0 };
