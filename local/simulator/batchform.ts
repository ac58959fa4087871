import type { Exchange } from './exchange.ts';
import type { BatchRecord } from './records.ts';
import { isObject, type JsonObject } from './shape.ts';

/** Faults of form: what a later version of the service might show of a batch, before its clients have heard of it. */

/** How the batches of one reply look under the faults of its call; without a fault, as they are. */
export function strangeForm({ faults }: Exchange, records: readonly BatchRecord[]): (shown: JsonObject, record: BatchRecord) => JsonObject {
  const status = records.some((record) => record.endedUs === null) ? faults.take('status_unknown') : undefined;
  const counter = records.length > 0 ? faults.take('counts_unknown') : undefined;
  return (shown, record) => ({
    ...shown,
    ...(status === undefined || record.endedUs !== null ? {} : { processing_status: 'queued_for_capacity', capacity: { region: 'any' } }),
    ...(counter === undefined ? {} : { request_counts: { ...(isObject(shown.request_counts) ? shown.request_counts : {}), total: counter.rows ?? record.requests } }),
  });
}
