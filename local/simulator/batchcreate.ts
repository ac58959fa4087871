import { createReadStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { batchObject } from './batchview.ts';
import { drop, hang } from './delivery.ts';
import type { EnvelopeIndex } from './envelope.ts';
import { jsonReply, refusalReply, type Exchange, type Reply } from './exchange.ts';
import { refusalByFault } from './faultplay.ts';
import { receiveBody, type Intake } from './intake.ts';
import type { BatchRecord } from './records.ts';
import { invalidRequest, tooLarge, type Refusal } from './refusal.ts';
import { identifier, uniform } from './seeded.ts';
import { originOf } from './origin.ts';
import type { World } from './world.ts';

/**
 * `POST /v1/messages/batches`.
 *
 * Invariants
 *   A1  A batch is on disk, complete, before its reply is written; killing the process after that cannot undo it.
 *   A2  A body that was not received whole never becomes a batch.
 *   A3  A refused create leaves nothing behind.
 */
export async function createBatch(world: World, exchange: Exchange): Promise<Reply> {
  const folder = world.records.openUpload();
  try {
    const intake = await receive(world, exchange, folder);
    if (intake.kind !== 'complete') {
      return await refuseIntake(world, exchange, intake);
    }
    const struck = await strikeBefore(exchange, folder);
    if (struck !== undefined) {
      return struck;
    }
    const refusal = refusalByFault(exchange, false) ?? world.meters.checkQueue(world.runner.queuedRequests(), intake.index.requests);
    if (refusal !== undefined) {
      return refusalReply(refusal, exchange.requestId);
    }
    return await accept(world, exchange, folder, intake.bytes, intake.index);
  } finally {
    world.records.dropUpload(folder);
  }
}

async function receive(world: World, exchange: Exchange, folder: string): Promise<Intake> {
  const { request, faults } = exchange;
  const declared = Number(request.headers['content-length'] ?? '0');
  const slow = faults.take('slow_upload');
  return await receiveBody(request, world.judges, {
    folder,
    declaredBytes: declared,
    limitBytes: world.settings.batchBodyBytes,
    isGzip: request.headers['content-encoding'] === 'gzip',
    // Taken where it strikes: of two creates at once that a rule is due for, one may have used it up before the other gets there.
    isStruckAt: (receivedBytes) => faults.take('drop_mid', (rule) => receivedBytes >= (rule.bytes ?? Math.max(1, declared >> 1))) !== undefined,
    bytesPerSecond: slow === undefined ? undefined : (slow.bytes_per_second ?? 1_000_000),
  });
}

async function refuseIntake(world: World, exchange: Exchange, intake: Intake & { kind: Exclude<Intake['kind'], 'complete'> }): Promise<Reply> {
  switch (intake.kind) {
    case 'incomplete':
      world.truth.append({ kind: 'body_incomplete', request_id: exchange.requestId, bytes: intake.bytes });
      drop(exchange.response);
      return { kind: 'none' };
    case 'stopped':
      drop(exchange.response);
      return { kind: 'none' };
    case 'too_large':
      return refusalReply(tooLarge(), exchange.requestId);
    case 'malformed':
      return refusalReply(invalidRequest(intake.message), exchange.requestId);
  }
}

/** The faults between the last byte of the body and the acceptance. */
async function strikeBefore(exchange: Exchange, folder: string): Promise<Reply | undefined> {
  const { faults, response } = exchange;
  if (faults.take('drop_after') !== undefined) {
    drop(response);
    return { kind: 'none' };
  }
  const silence = faults.take('hang');
  if (silence !== undefined) {
    await hang(response, silence);
    return { kind: 'none' };
  }
  const due = faults.peek('refuse_batch');
  if (due === undefined || (due.body_contains !== undefined && !(await bodyContains(join(folder, 'body.json'), due.body_contains)))) {
    return undefined;
  }
  // While the body was read, another create may have used the rule up.
  const rule = faults.take('refuse_batch', (each) => each === due);
  return rule === undefined ? undefined : refusalReply(invalidRequest(rule.message ?? 'requests: Invalid request.'), exchange.requestId);
}

async function accept(world: World, exchange: Exchange, folder: string, bytes: number, index: EnvelopeIndex): Promise<Reply> {
  const { faults, requestId } = exchange;
  const late = faults.take('accept_late');
  const record = makeRecord(world, exchange, bytes, index, late?.seconds ?? 0);
  writeIndex(folder, index);
  world.records.publish(record, folder);
  world.runner.logAccepted(record);
  world.runner.schedule(record);
  if (late !== undefined) {
    await (late.hang === true ? hang(exchange.response, { fault: 'reply_hang' }) : drop(exchange.response));
    return { kind: 'none' };
  }
  const acceptedAnyway = refusalByFault(exchange, true);
  if (acceptedAnyway !== undefined) {
    return refusalReply(acceptedAnyway, requestId);
  }
  const isGradual = world.settings.counters === 'gradual';
  return jsonReply(200, batchObject({ ...record, endedUs: null, outcomes: null }, record.createdUs, originOf(exchange.request), isGradual, 0));
}

function makeRecord(world: World, exchange: Exchange, bytes: number, index: EnvelopeIndex, lateSeconds: number): BatchRecord {
  const { seed, batchMs } = world.settings;
  const sequence = world.records.nextSequence();
  const id = identifier('msgbatch_01', 22, seed, 'batch', sequence);
  const createdUs = world.clock.nowUs() + Math.round(lateSeconds * 1_000_000);
  return {
    id,
    sequence,
    workspaceId: exchange.caller.workspaceId,
    createdUs,
    visibleUs: lateSeconds > 0 ? createdUs : 0,
    requests: index.requests,
    bodyBytes: bytes,
    customIdsSha256: index.customIdsSha256,
    requestId: exchange.requestId,
    apiVersion: exchange.caller.apiVersion,
    betas: exchange.caller.betas,
    durationMs: batchMs ?? Math.round(60_000 * (1 + 3 * uniform(seed, id, 'duration'))),
    rowRules: exchange.faults.takeRowRules(),
    cancelUs: null,
    cancelEndUs: null,
    endedUs: null,
    outcomes: null,
    deleted: false,
  };
}

/** Writes what the settlement pass needs to find rows again; see `records.ts` for the layout. */
function writeIndex(folder: string, index: EnvelopeIndex): void {
  const { offsets, lengths } = index;
  const bytesOf = (list: Float64Array | Uint32Array): Buffer => Buffer.from(list.buffer, list.byteOffset, list.byteLength);
  writeFileSync(join(folder, 'index.bin'), Buffer.concat([bytesOf(offsets), bytesOf(lengths)]));
  writeFileSync(join(folder, 'custom_ids.txt'), index.customIds);
}

async function bodyContains(path: string, wanted: string): Promise<boolean> {
  const needle = Buffer.from(wanted);
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(path)) {
    const all: Buffer = Buffer.concat([rest, chunk]);
    if (all.includes(needle)) {
      return true;
    }
    rest = all.subarray(Math.max(0, all.length - needle.length + 1));
  }
  return false;
}

/** The refusal for a body that must not even be read, or undefined: declared too long, or in an encoding not taken. */
export function refuseUnread(world: World, exchange: Exchange): Refusal | undefined {
  const { request, faults } = exchange;
  const declared = Number(request.headers['content-length'] ?? '0');
  const isOver = faults.take('too_large', (rule) => rule.above_bytes === undefined || declared > rule.above_bytes) !== undefined;
  if (isOver || declared > world.settings.batchBodyBytes) {
    return tooLarge();
  }
  const encoding = request.headers['content-encoding'];
  if (encoding === undefined || encoding === 'identity' || (encoding === 'gzip' && world.settings.acceptGzipBatches)) {
    return undefined;
  }
  return invalidRequest(`Content-Encoding '${encoding}' is not supported for this endpoint.`, 'request_body_encoding_unsupported');
}
