/**
 * The endless door: objects that S3 announces become runs, one run per object.
 *
 * It owns the messages in hand. The queue owns what happens to a message that is left: it comes again, and after as many
 * tries as its redrive policy says it goes to the dead-letter queue.
 *
 * Invariants
 *   L1  A message is removed only after every prompt of every object that it names is durable, or when it names none.
 *   L2  While a message is worked on it stays invisible, however long its object is.
 *   L3  A message that comes twice, or is worked on by two listeners, makes one run: the run key follows from the object.
 *   L4  Only objects below the configured places are read, never what the lake itself has written, and of what is below a
 *       place only what a run on that prefix would read.
 *   L5  A fault that is not the message's own (Redis, ledger, lake, network, settings) keeps the message in hand and spends
 *       none of its tries: a good message in the dead-letter queue is prompts that nobody sees.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { PlimsollError, type ErrorCode } from '../segments/errors.ts';
import { isLakeKey } from '../segments/lake.ts';
import type { RunKey } from '../segments/segment.ts';
import type { Log } from '../segments/stage.ts';
import { type S3Access } from '../segments/store/s3-client.ts';
import { parseS3Uri, s3Uri } from '../segments/store/s3-uri.ts';
import { faultOf } from '../segments/store/s3-fault.ts';
import { lookAtObject, proveBucket } from '../segments/store/s3-read.ts';
import { objectRunKey, readNotice, type Announced } from './notice.ts';
import type { Production, SourceLocation } from './producer.ts';
import { isHidden, s3ObjectSource } from './s3.ts';
import type { DocumentQueue, QueueMessage } from './sqs.ts';

export interface ListenRequest {
  readonly queue: DocumentQueue;
  /** Makes a source durable as a run, and is seen by other processes only meanwhile: what waits must not keep a rebuild away. @throws as `produce`, and PlimsollError `ledger_behind` */
  readonly ingest: (runKey: RunKey, source: SourceLocation) => Promise<Production>;
  /** How a bucket is reached; the bucket is the announced one, if it may be read (L4). */
  readonly accessOf: (bucket: string) => S3Access;
  /** `s3://bucket/prefix`; what may be read. */
  readonly sources: readonly string[];
  /** Where the lake is, so that it is never taken for documents. */
  readonly lakeUri: string;
  readonly visibilityMs: number;
  readonly concurrency: number;
  /** When a refused message may be tried again, ms. */
  readonly againMs: number;
  /** true: ends when a poll finds the queue empty. */
  readonly untilEmpty: boolean;
  readonly log: Log;
  readonly signal: AbortSignal;
}

const faultPauseMs = 1_000;
const faultPauseMaxMs = 30_000;

/** Listens until the signal aborts. Returns how many messages were removed. */
export async function listen(request: ListenRequest): Promise<number> {
  const { queue, signal, log, concurrency, untilEmpty } = request;
  let removed = 0;
  const work = async (): Promise<void> => {
    for (let faults = 0; !signal.aborted; ) {
      try {
        const message = await queue.receive(signal);
        faults = 0;
        if (message && (await handle(request, message))) removed += 1;
        else if (!message && untilEmpty) return;
      } catch (error) {
        if (!(error instanceof PlimsollError)) throw error;
        // A queue that cannot be reached at all is told at once to whoever only wants it emptied.
        if (untilEmpty) throw error;
        faults += 1;
        log({ level: 'warn', event: 'listen.fault', subject: queue.url, detail: { code: error.code, message: error.message, hint: error.hint } });
        await rest(faults, signal);
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return removed;
}

/** Works on one message. Returns whether it was removed (L1). */
async function handle(request: ListenRequest, message: QueueMessage): Promise<boolean> {
  const { queue, signal, visibilityMs, againMs, log } = request;
  // L2: renewed well before its end; a renewal that fails is made good by the next one, or by the run key (L3).
  const renewal = setInterval(() => void queue.extend(message, visibilityMs).catch(() => undefined), visibilityMs / 3);
  try {
    for (let faults = 1; !signal.aborted; faults += 1) {
      try {
        for (const announced of readNotice(message.body)) await take(request, announced);
        await queue.remove(message);
        return true;
      } catch (error) {
        if (signal.aborted) return false;
        if (!(error instanceof PlimsollError)) throw error;
        const isOurs = isFaultOfOurs(error);
        log({ level: isOurs ? 'warn' : 'error', event: isOurs ? 'listen.fault' : 'document.refused', subject: message.id, detail: { code: error.code, message: error.message, where: error.where, hint: error.hint, receives: message.receives } });
        if (!isOurs) {
          await queue.extend(message, againMs);
          return false;
        }
        await rest(faults, signal);
      }
    }
    return false;
  } finally {
    clearInterval(renewal);
  }
}

/** Makes one announced object durable as a run (L3, L4). */
async function take(request: ListenRequest, { bucket, key, version }: Announced): Promise<void> {
  const { accessOf, sources, lakeUri, ingest, log } = request;
  const uri = s3Uri(bucket, key);
  const lake = parseS3Uri(lakeUri);
  const root = lake === undefined || lake.key === '' ? '' : `${lake.key}/`;
  // The lake may share the bucket with the documents: its own objects would feed themselves back for ever.
  if (lake?.bucket === bucket && key.startsWith(root) && isLakeKey(key.slice(root.length))) return;
  // A folder that somebody made in a console.
  if (key.endsWith('/')) return;
  const paths = sources.flatMap((place) => pathBelow(bucket, key, place) ?? []);
  if (paths.length === 0) {
    throw new PlimsollError('source_unreadable', { message: 'an object was announced that is not below any place of listen.sources', where: uri, hint: 'Add its bucket or prefix to listen.sources, or narrow the notification of the bucket.' });
  }
  // What a prefix as a source hides: a committer renames what it has finished, and the same rows would be paid twice.
  if (paths.every(isHidden)) {
    log({ level: 'info', event: 'document.hidden', subject: uri });
    return;
  }
  const access = accessOf(bucket);
  const found = await lookAtObject(access, key, version);
  if (!found) {
    await proveBucket(access, key);
    throw new PlimsollError('source_unreadable', { message: 'an announced object is not there any more', where: uri, hint: 'It was deleted before it was read. Put it there again and redrive the message, or purge the message.' });
  }
  const runKey = objectRunKey(bucket, key, found.etag);
  const production = await ingest(runKey, s3ObjectSource(access, { key, etag: found.etag, version: found.version ?? version }));
  log({ level: 'info', event: production.isNew ? 'document.taken' : 'document.known', subject: runKey, detail: { uri, accepted: production.accepted, rejected: production.rejected } });
  for (const part of production.deferred) {
    log({ level: 'warn', event: 'document.deferred', subject: runKey, detail: { uri, client: part.client, tier: part.tier, over: part.over, limit: part.limit, allowed: part.allowed, measured: part.measured, prompts: part.requestsOver, expectedDelayMs: part.delay?.expectedMs, callIntervalMs: part.advice.callIntervalMs, contextTokens: part.advice.contextTokens } });
  }
}

/** The part of a key below a place; undefined when it is elsewhere. A place that ends without a slash is a bucket or a whole part of the path: `in` is not `input`. */
function pathBelow(bucket: string, key: string, place: string): string | undefined {
  const parsed = parseS3Uri(place);
  if (parsed === undefined || parsed.bucket !== bucket) return undefined;
  const root = parsed.key === '' || parsed.key.endsWith('/') ? parsed.key : `${parsed.key}/`;
  return key.startsWith(root) ? key.slice(root.length) : undefined;
}

/** What the object or its run is at fault for, and would be again. */
const messageFaults: readonly ErrorCode[] = ['notice_malformed', 'source_damaged', 'input_rejected', 'run_input_differs', 'run_config_differs', 'run_canceled'];

/** Whether the message is blameless (L5). What nobody has thought of is ours: an occupied hand is seen, a lost message is not. */
function isFaultOfOurs(error: PlimsollError): boolean {
  // Permissions, region, credentials and buckets fail every message alike, until a person has mended them.
  if (error.code === 'source_unreadable') return error.cause !== undefined && faultOf(error.cause) !== 'missing';
  return !messageFaults.includes(error.code);
}

async function rest(faults: number, signal: AbortSignal): Promise<void> {
  await pause(Math.min(faultPauseMs * 2 ** (faults - 1), faultPauseMaxMs), undefined, { signal }).catch(() => undefined);
}
