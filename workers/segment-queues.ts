/**
 * The receiving side of the segments' queues: a bounded set of BullMQ Worker handles that fetch without blocking. There
 * may be hundreds of segments; a handle costs a connection, so the least recently used one is closed when the set is full.
 *
 * Invariants
 *   W1  A fetched job is finished only after its chunk was placed. After a crash in between the job stays where it is and
 *       costs a few bytes; the ledger names its chunk again.
 *   W2  A job that is not understood is never guessed at: one that was evicted is taken off the queue, a newer one is put off.
 */
import { Worker, type Job } from 'bullmq';
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { JobPayload } from '../config/queues.ts';
import { ledgerFault } from '../segments/ledger/refusal.ts';
import type { ChunkId, SegmentName } from '../segments/segment.ts';
import { putOff, readJob } from './newer-jobs.ts';

/** A chunk that a job named; `finish` takes the job off the queue. */
export interface FetchedChunk {
  readonly chunk: ChunkId;
  finish(): Promise<void>;
}

export interface SegmentQueues {
  /** The next job of a segment, or undefined when its queue has none. @throws PlimsollError `redis_unavailable`, `redis_refused` */
  fetch(segment: SegmentName): Promise<FetchedChunk | undefined>;
  close(): Promise<void>;
}

const handlesMax = 16;
const lockMs = 10_000;

/** Opens the handles on one connection, which the caller closes. `prefix` is the installation's BullMQ prefix. */
export function openSegmentQueues(redis: Redis, prefix: string): SegmentQueues {
  const handles = new Map<SegmentName, Worker<JobPayload>>();
  const token = randomUUID();

  const handleOf = async (segment: SegmentName): Promise<Worker<JobPayload>> => {
    const known = handles.get(segment);
    if (known) {
      // A map keeps the order of insertion: the first key is the least recently used.
      handles.delete(segment);
      handles.set(segment, known);
      return known;
    }
    const [oldest] = handles;
    if (oldest && handles.size >= handlesMax) {
      handles.delete(oldest[0]);
      await oldest[1].close();
    }
    const handle = new Worker<JobPayload>(segment, null, { connection: redis, prefix, autorun: false, lockDuration: lockMs, maxStalledCount: 1_000_000 });
    handle.on('error', () => undefined);
    handles.set(segment, handle);
    return handle;
  };

  return {
    async fetch(segment) {
      const handle = await handleOf(segment);
      for (;;) {
        const job = await handle.getNextJob(token, { block: false }).catch((error: unknown) => {
          throw ledgerFault(error, `queue ${segment}`);
        });
        if (!job) return undefined;
        const read = readJob(job);
        if (read.kind === 'known') return { chunk: read.entity as ChunkId, finish: async () => await finish(job, token) };
        if (read.kind === 'newer' && (await putOff(job, token).catch(() => true))) continue;
        await finish(job, token);
      }
    },
    close: async () => void (await Promise.all([...handles.values()].map(async (handle) => await handle.close()))),
  };
}

async function finish(job: Job<JobPayload>, token: string): Promise<void> {
  // A lock that was lost meanwhile leaves the job behind; what it said is in the ledger (W1).
  await job.moveToCompleted('', token, false).catch(() => undefined);
}
