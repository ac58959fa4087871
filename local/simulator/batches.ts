import { batchObject, hasResults } from './batchview.ts';
import { strangeForm } from './batchform.ts';
import { jsonReply, refusalReply, type Exchange, type Reply } from './exchange.ts';
import { originOf } from './origin.ts';
import type { BatchRecord } from './records.ts';
import { invalidRequest, notFound } from './refusal.ts';
import { resultsReply } from './results.ts';
import type { JsonObject } from './shape.ts';
import type { World } from './world.ts';

/** The batch endpoints beside create and list (claude-batches.md 1.3, 1.6, 1.7). */

/** `GET /v1/messages/batches/{id}`. An unfinished batch brings a hint when to ask again. */
export async function retrieveBatch(world: World, exchange: Exchange): Promise<Reply> {
  const record = await findBatch(world, exchange);
  if (record === undefined || exchange.faults.take('vanish') !== undefined) {
    return missing(exchange);
  }
  const form = strangeForm(exchange, [record]);
  return jsonReply(200, form(show(world, exchange, record), record), record.endedUs === null ? retryHint(world) : {});
}

/** `POST /v1/messages/batches/{id}/cancel`. A second cancel, or one after the end, changes nothing (undocumented, claude-batches.md 1.6). */
export async function cancelBatch(world: World, exchange: Exchange): Promise<Reply> {
  const record = await findBatch(world, exchange);
  if (record === undefined) {
    return missing(exchange);
  }
  if (record.endedUs !== null || record.cancelUs !== null || world.runner.isSettling(record.id)) {
    return jsonReply(200, show(world, exchange, record));
  }
  const cancelUs = world.clock.nowUs();
  const canceling = { ...record, cancelUs, cancelEndUs: cancelUs + world.settings.cancelMs * 1000 };
  const reply = jsonReply(200, show(world, exchange, canceling));
  world.records.save(canceling);
  world.truth.append({ kind: 'batch_canceling', batch_id: record.id, request_id: exchange.requestId });
  world.runner.schedule(canceling);
  return reply;
}

/** `DELETE /v1/messages/batches/{id}`: only after the end. */
export async function deleteBatch(world: World, exchange: Exchange): Promise<Reply> {
  const record = await findBatch(world, exchange);
  if (record === undefined) {
    return missing(exchange);
  }
  if (record.endedUs === null) {
    return refusalReply(invalidRequest('In progress batches cannot be deleted. Consider canceling the batch instead.'), exchange.requestId);
  }
  world.records.remove(record);
  world.truth.append({ kind: 'batch_deleted', batch_id: record.id, request_id: exchange.requestId });
  return jsonReply(200, { id: record.id, type: 'message_batch_deleted' });
}

/** `GET /v1/messages/batches/{id}/results`. Too early, and after 29 days, there are none. */
export async function batchResults(world: World, exchange: Exchange): Promise<Reply> {
  const record = await findBatch(world, exchange);
  if (record === undefined) {
    return missing(exchange);
  }
  if (!hasResults(record, world.clock.nowMs() * 1000) || exchange.faults.take('results_unready') !== undefined) {
    const refusal = notFound(`Message Batch ${record.id} has no available results.`, { 'x-should-retry': 'false' });
    return refusalReply(refusal, exchange.requestId);
  }
  return resultsReply(world, exchange, record);
}

/** The batch of the path, if the caller's workspace has it and it can be seen by now. */
async function findBatch(world: World, exchange: Exchange): Promise<BatchRecord | undefined> {
  const record = world.records.get(exchange.subject);
  if (record === undefined || record.deleted || record.workspaceId !== exchange.caller.workspaceId || record.visibleUs > world.clock.nowMs() * 1000) {
    return undefined;
  }
  return await world.runner.current(record);
}

/** A batch as this caller sees it now. */
export function show(world: World, exchange: Exchange, record: BatchRecord): JsonObject {
  const wrong = record.outcomes === null ? undefined : exchange.faults.take('counts_wrong');
  const isGradual = world.settings.counters === 'gradual';
  return batchObject(record, world.clock.nowMs() * 1000, originOf(exchange.request), isGradual, wrong === undefined ? 0 : (wrong.rows ?? 1));
}

/** Ten simulated seconds, in the client's seconds, unless told otherwise. */
function retryHint(world: World): Record<string, string> {
  const { retryAfterSeconds } = world.settings;
  if (retryAfterSeconds === 0) {
    return {};
  }
  const scale = world.clock.scale === 0 ? 1 : world.clock.scale;
  return { 'retry-after': String(Math.max(1, Math.round(retryAfterSeconds ?? 10 / scale))) };
}

function missing(exchange: Exchange): Reply {
  return refusalReply(notFound(`Message Batch ${exchange.subject} not found.`), exchange.requestId);
}
