/**
 * The wake port on BullMQ: one queue per stage and one per segment, all under the hash tag of the installation.
 *
 * Invariants
 *   Q1  A job carries an id and a payload version, never a prompt and never the truth.
 *   Q2  A job's id is made from stage, entity and epoch, so the same wake-up twice is one job.
 *   Q3  A lost job is not an error: `wake` never throws for it, because the ledger's due times outlive it.
 */
import { Queue, type JobsOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import type { LedgerKeys } from '../segments/ledger/keys.ts';
import type { SegmentName } from '../segments/segment.ts';
import type { Log } from '../segments/stage.ts';
import type { Stage, Wake } from '../segments/wake.ts';

/** Version of the job payload; a worker puts a newer one off (workers/newer-jobs.ts). */
export const payloadVersion = 1;

/** What a job carries. */
export interface JobPayload {
  readonly v: number;
  readonly entity: string;
}

const jobOptions: JobsOptions = {
  removeOnComplete: true,
  removeOnFail: true,
  attempts: 1,
  sizeLimit: 65_536,
};

/** The BullMQ queue of a stage. */
export function stageQueueName(stage: Stage): string {
  return `stage.${stage}`;
}

/** BullMQ refuses `:` in names and takes integers for its own counters, so entities are spelled with other signs. */
function jobId(stage: string, entity: string, epoch: number): string {
  return `${stage}/${entity.replaceAll(':', '%3A')}/${epoch}`;
}

/** Opens the sending side of all queues on one connection, which the caller closes. */
export function openQueues(redis: Redis, keys: LedgerKeys, log: Log): Wake {
  const queues = new Map<string, Queue<JobPayload>>();
  const queueOf = (name: string): Queue<JobPayload> => {
    const known = queues.get(name);
    if (known) return known;
    const queue = new Queue<JobPayload>(name, { connection: redis, prefix: keys.queuePrefix, streams: { events: { maxLen: 100 } } });
    queue.on('error', () => undefined);
    queues.set(name, queue);
    return queue;
  };
  const add = async (queue: string, stage: string, entity: string, epoch: number, delayMs: number): Promise<void> =>
    await addJob(queue, stage, entity, jobId(stage, entity, epoch), delayMs);
  const addJob = async (queue: string, stage: string, entity: string, id: string, delayMs: number): Promise<void> => {
    try {
      await queueOf(queue).add(stage, { v: payloadVersion, entity }, { ...jobOptions, jobId: id, ...(delayMs > 0 ? { delay: delayMs } : {}) });
    } catch (error) {
      // Q3: the transition is written; the sweeper finds what this job would have said.
      log({ level: 'warn', event: 'wake.lost', subject: entity, detail: { stage, error: error instanceof Error ? error.name : 'unknown' } });
    }
  };
  return {
    async wake(wakeUp) {
      await add(stageQueueName(wakeUp.stage), wakeUp.stage, wakeUp.entity, wakeUp.epoch, wakeUp.delayMs ?? 0);
    },
    async enqueueChunk(segment: SegmentName, chunk, epoch) {
      await add(segment, 'chunk', chunk, epoch, 0);
      // A wake-up of its own: one shared by all chunks could be swallowed while its job is just ending.
      await addJob(stageQueueName('pack'), 'pack', 'all', `pack/${chunk.replaceAll(':', '%3A')}/${epoch}`, 0);
    },
    async close() {
      await Promise.all([...queues.values()].map(async (queue) => await queue.close()));
    },
  };
}
