/**
 * From Redis hashes, which hold only text, to records. A field that is empty is `undefined`; a number that is missing
 * is 0, because counters are created by their first increment.
 */
import { PlimsollError } from '../errors.ts';
import type { ArchiveState, ChunkState, IntentState, RunState, SegmentState, StopReason } from '../lifecycle.ts';
import { statesOf, type Noun } from '../lifecycle.ts';
import { priorities, type ArchiveId, type BatchId, type ChunkId, type IntentId, type Priority, type RunKey, type SegmentName, type Usage } from '../segment.ts';
import { asSide } from '../side.ts';
import type { AccountRecord, ArchiveRecord, ChunkRecord, DoubtCandidate, DoubtRecord, EstimatedReservation, IntentRecord, OutboxEvent, RunRecord, SegmentRecord, StopRecord } from './ledger.ts';

export type Fields = Readonly<Record<string, string>>;

/** The text of a field, or undefined when it is empty. */
export function text(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  return value === undefined || value === '' ? undefined : value;
}

/** The number in a field, 0 when it is missing. */
export function count(fields: Fields, name: string): number {
  return Number(fields[name] ?? 0);
}

function optionalCount(fields: Fields, name: string): number | undefined {
  const value = text(fields, name);
  return value === undefined ? undefined : Number(value);
}

/** The JSON of a field that a script has written. @throws PlimsollError `ledger_corrupt` */
export function jsonOf(fields: Fields, name: string, standard: string, key: string): unknown {
  try {
    return JSON.parse(text(fields, name) ?? standard);
  } catch (cause) {
    throw new PlimsollError('ledger_corrupt', {
      message: `the field ${name} of the ledger is not JSON`,
      where: key,
      hint: 'Someone changed the ledger by hand. Rebuild it from the lake: plimsoll recover',
      cause,
    });
  }
}

function stateOf(noun: Noun, fields: Fields, key: string): string {
  const state = fields['state'] ?? '';
  if (statesOf(noun).includes(state)) return state;
  throw new PlimsollError('ledger_corrupt', {
    message: `the ${noun} has the state ${JSON.stringify(state)}, which lifecycle.ts does not know`,
    where: key,
    hint: 'Someone changed the ledger by hand, or Redis evicted a key: it must run with maxmemory-policy noeviction.',
  });
}

function usageOf(fields: Fields): Usage {
  return {
    inputTokens: count(fields, 'inputTokens'),
    outputTokens: count(fields, 'outputTokens'),
    cacheReadInputTokens: count(fields, 'cacheReadInputTokens'),
    cacheWriteInputTokens: count(fields, 'cacheWriteInputTokens'),
    cacheWrite1hInputTokens: count(fields, 'cacheWrite1hInputTokens'),
  };
}

export function decodeRun(run: RunKey, fields: Fields): RunRecord {
  const result = text(fields, 'result');
  return {
    run,
    state: stateOf('run', fields, `run:${run}`) as RunState,
    tag: fields['tag'] ?? '',
    ...(text(fields, 'lastChunkAtMs') === undefined ? {} : { lastChunkAtMs: count(fields, 'lastChunkAtMs') }),
    dt: fields['dt'] ?? '',
    openedAtMs: count(fields, 'openedAtMs'),
    completedAtMs: optionalCount(fields, 'finishedAtMs'),
    source: fields['source'] ?? '',
    cutSha256: fields['cutSha256'] ?? '',
    retryOf: text(fields, 'retryOf') as RunKey | undefined,
    side: asSide(text(fields, 'side')),
    checkpoint: {
      bytes: count(fields, 'checkpointBytes'),
      rows: count(fields, 'checkpointRows'),
      sha256: fields['checkpointSha256'] ?? '',
    },
    accepted: count(fields, 'accepted'),
    rejected: count(fields, 'rejected'),
    succeeded: count(fields, 'succeeded'),
    deadLettered: count(fields, 'deadLettered'),
    notSampled: count(fields, 'notSampled'),
    retried: count(fields, 'retried'),
    chunks: count(fields, 'chunks'),
    chunksOpen: count(fields, 'chunksOpen'),
    chunksHeld: count(fields, 'chunksHeld'),
    rowsQueued: count(fields, 'rowsQueued'),
    rowsHeld: count(fields, 'rowsHeld'),
    heldAtMs: optionalCount(fields, 'heldAtMs'),
    archivesInDoubt: count(fields, 'archivesInDoubt'),
    batches: count(fields, 'batches'),
    usage: usageOf(fields),
    microUsd: count(fields, 'microUsd'),
    standardMicroUsd: count(fields, 'standardMicroUsd'),
    result: result === 'succeeded' || result === 'partial' ? result : undefined,
  };
}

export function decodeChunk(chunk: ChunkId, fields: Fields): ChunkRecord {
  return {
    chunk,
    run: (fields['run'] ?? '') as RunKey,
    segment: (fields['segment'] ?? '') as SegmentName,
    client: fields['client'] ?? '',
    attempt: count(fields, 'attempt'),
    state: stateOf('chunk', fields, `chunk:${chunk}`) as ChunkState,
    reason: text(fields, 'reason'),
    spoolKey: fields['spoolKey'] ?? '',
    spoolRows: count(fields, 'spoolRows'),
    spoolParamsBytes: count(fields, 'spoolParamsBytes'),
    spoolIndexBytes: count(fields, 'spoolIndexBytes'),
    from: count(fields, 'from'),
    to: count(fields, 'to'),
    rows: count(fields, 'rows'),
    paramsBytes: count(fields, 'paramsBytes'),
    tokensExpected: count(fields, 'tokensExpected'),
    tokensMax: count(fields, 'tokensMax'),
    microUsdMax: count(fields, 'microUsdMax'),
    archive: text(fields, 'archive') as ArchiveId | undefined,
    ...(text(fields, 'accounts') === undefined ? {} : { accounts: accountsOf(fields, `chunk:${chunk}`) }),
    ...(text(fields, 'estimated') === undefined ? {} : { estimated: estimatedOf(fields, `chunk:${chunk}`) }),
  };
}

function estimatedOf(fields: Fields, key: string): EstimatedReservation {
  return { accounts: jsonOf(fields, 'estimated', '[]', key) as string[], tokens: count(fields, 'tokensEstimated'), microUsd: count(fields, 'microUsdEstimated') };
}

/** cjson writes an empty list as an object. */
function accountsOf(fields: Fields, key: string): readonly string[] {
  const names = jsonOf(fields, 'accounts', '[]', key);
  return Array.isArray(names) ? (names as string[]) : [];
}

export function decodeArchive(archive: ArchiveId, fields: Fields): ArchiveRecord {
  const priority = priorities.find((each) => each === fields['priority']);
  return {
    archive,
    run: (fields['run'] ?? '') as RunKey,
    dt: fields['dt'] ?? '',
    priority: priority ?? ('normal' satisfies Priority),
    state: stateOf('archive', fields, `archive:${archive}`) as ArchiveState,
    reason: text(fields, 'reason'),
    closing: text(fields, 'closing'),
    rows: count(fields, 'rows'),
    paramsBytes: count(fields, 'paramsBytes'),
    openedAtMs: count(fields, 'openedAtMs'),
    bodyBytes: optionalCount(fields, 'bodyBytes'),
    bodySha256: text(fields, 'bodySha256'),
    bodyGmac: text(fields, 'bodyGmac'),
    sealedAtMs: optionalCount(fields, 'sealedAtMs'),
    intents: count(fields, 'intents'),
    asides: optionalCount(fields, 'asides'),
    intent: text(fields, 'intent') as IntentId | undefined,
    account: text(fields, 'account'),
    batch: text(fields, 'batch') as BatchId | undefined,
    acceptedAtMs: optionalCount(fields, 'acceptedAtMs'),
    endedAtMs: optionalCount(fields, 'endedAtMs'),
    exportedAtMs: optionalCount(fields, 'exportedAtMs'),
    cancelAskedAtMs: optionalCount(fields, 'cancelAskedAtMs'),
    lateAtMs: optionalCount(fields, 'lateAtMs'),
    replan: text(fields, 'replan'),
    epoch: count(fields, 'epoch'),
  };
}

export function decodeIntent(intent: IntentId, fields: Fields): IntentRecord {
  return {
    intent,
    archive: (fields['archive'] ?? '') as ArchiveId,
    account: fields['account'] ?? '',
    state: stateOf('intent', fields, `intent:${intent}`) as IntentState,
    reason: text(fields, 'reason'),
    rows: count(fields, 'rows'),
    bodyBytes: count(fields, 'bodyBytes'),
    providerDateMs: optionalCount(fields, 'providerDateMs'),
    preparedAtMs: count(fields, 'preparedAtMs'),
    sentAtMs: optionalCount(fields, 'sentAtMs'),
    owner: fields['owner'] ?? '',
    batch: text(fields, 'batch') as BatchId | undefined,
    doubt: text(fields, 'doubtedAtMs') === undefined ? undefined : doubtOf(fields, `intent:${intent}`),
  };
}

function doubtOf(fields: Fields, key: string): DoubtRecord {
  return {
    sinceMs: count(fields, 'doubtedAtMs'),
    fencedAtMs: optionalCount(fields, 'fencedAtMs'),
    fence: text(fields, 'fence'),
    looks: count(fields, 'looks'),
    lookedAtMs: optionalCount(fields, 'lookedAtMs'),
    scans: count(fields, 'scans'),
    heldAtMs: optionalCount(fields, 'heldAtMs'),
    candidates: jsonOf(fields, 'candidates', '[]', key) as readonly DoubtCandidate[],
  };
}

export function decodeStop(fields: Fields): StopRecord {
  return {
    segment: (fields['segment'] ?? '') as SegmentName,
    run: text(fields, 'run') as RunKey | undefined,
    client: text(fields, 'client'),
    reason: (fields['reason'] ?? 'operator') as StopReason,
    target: fields['target'] ?? '',
    stoppedAtMs: count(fields, 'stoppedAtMs'),
    tokensNeeded: count(fields, 'tokensNeeded'),
    microUsdNeeded: count(fields, 'microUsdNeeded'),
    tokensHeld: count(fields, 'tokensHeld'),
    microUsdHeld: count(fields, 'microUsdHeld'),
    rowsHeld: count(fields, 'rowsHeld'),
    tokensFree: optionalCount(fields, 'tokensFree'),
    microUsdFree: optionalCount(fields, 'microUsdFree'),
    ...(text(fields, 'runtimeMs') === undefined ? {} : { runtime: runtimeOf(fields) }),
  };
}

function runtimeOf(fields: Fields): NonNullable<StopRecord['runtime']> {
  return {
    limitMs: count(fields, 'runtimeMs'),
    startedAtMs: count(fields, 'startedAtMs'),
    turnaroundMs: count(fields, 'turnaroundMs'),
    turnaroundsSeen: count(fields, 'turnaroundsSeen'),
    queueFillings: count(fields, 'queueFillings'),
    rowsBefore: count(fields, 'rowsBefore'),
    queueRowsMax: count(fields, 'queueRowsMax'),
  };
}

export function decodeSegment(segment: SegmentName, fields: Fields, stops: readonly StopRecord[]): SegmentRecord {
  return {
    segment,
    state: stateOf('segment', fields, `segment:${segment}`) as SegmentState,
    rowsQueued: count(fields, 'rowsQueued'),
    rowsHeld: count(fields, 'rowsHeld'),
    chunksQueued: count(fields, 'chunksQueued'),
    chunksHeld: count(fields, 'chunksHeld'),
    stops: stops.filter((stop) => stop.segment === segment),
  };
}

/** `name` is `<target>@<window id>`; window ids hold no `@`. */
export function decodeAccount(name: string, fields: Fields): AccountRecord {
  const at = name.lastIndexOf('@');
  return {
    target: name.slice(0, at),
    windowId: name.slice(at + 1),
    tokensReserved: count(fields, 'tokensReserved'),
    tokensSpent: count(fields, 'tokensSpent'),
    microUsdReserved: count(fields, 'microUsdReserved'),
    microUsdSpent: count(fields, 'microUsdSpent'),
    usage: usageOf(fields),
    overBound: count(fields, 'overBound'),
  };
}

/** An entry of the outbox stream: its id is `<sequence>-0`, its fields a flat list. */
export function decodeEvent(id: string, flat: readonly string[]): OutboxEvent {
  const fields: Record<string, string> = {};
  for (let index = 0; index + 1 < flat.length; index += 2) fields[flat[index] ?? ''] = flat[index + 1] ?? '';
  return {
    sequence: Number.parseInt(id, 10),
    id: fields['id'] ?? '',
    type: fields['type'] ?? '',
    subject: fields['subject'] ?? '',
    timeMs: count(fields, 'time'),
    data: jsonOf(fields, 'data', '{}', `events ${id}`) as Record<string, unknown>,
  };
}
