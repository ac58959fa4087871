/** Wake-ups of a newer version beside an older worker, as in a rolling deployment: they are put off, not lost and not guessed at. */
import { Queue } from 'bullmq';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { payloadVersion, stageQueueName, type JobPayload } from '../../config/queues.ts';
import type { SegmentName } from '../../segments/segment.ts';
import { done, type StageHandler, type StageLog } from '../../segments/stage.ts';
import { newerDelayMs, newerDelaysMax } from '../../workers/newer-jobs.ts';
import { openSegmentQueues } from '../../workers/segment-queues.ts';
import { startWorker } from '../../workers/worker.ts';
import { ledgerForTest, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
const queues: Queue<JobPayload>[] = [];
beforeEach(async () => {
  world = await ledgerForTest();
});
afterEach(async () => {
  await Promise.all(queues.splice(0).map(async (queue) => await queue.close()));
  await world.close();
});

function openQueue(name: string): Queue<JobPayload> {
  const queue = new Queue<JobPayload>(name, { connection: world.test.connect({ maxRetriesPerRequest: null }), prefix: world.keys.queuePrefix });
  queues.push(queue);
  return queue;
}

const newer = { v: payloadVersion + 1, entity: 'all' };

it('a stage puts newer jobs off, says so once, and goes on with those that it understands', async () => {
  const queue = openQueue(stageQueueName('pack'));
  const [handled, lines]: [string[], StageLog[]] = [[], []];
  const handler: StageHandler = {
    stage: 'pack', concurrency: 1, isClaimed: false,
    handle: async (entity) => {
      handled.push(entity);
      return await Promise.resolve(done);
    },
  };
  const worn = await queue.add('pack', newer, { jobId: 'worn', removeOnComplete: true, delay: newerDelayMs });
  // It has been put off as often as it may be, by whichever workers.
  await world.redis.hset(`${world.keys.queuePrefix}:${queue.name}:worn`, 'ats', newerDelaysMax);
  await queue.addBulk([{ name: 'pack', data: newer, opts: { jobId: 'first' } }, { name: 'pack', data: newer, opts: { jobId: 'second' } }, { name: 'pack', data: { v: payloadVersion, entity: 'all' }, opts: { jobId: 'known' } }]);
  const worker = startWorker({
    handlers: [handler], ledger: world.ledger, wake: { wake: async () => undefined, enqueueChunk: async () => undefined, close: async () => undefined },
    redis: world.test.connect({ maxRetriesPerRequest: null }), queuePrefix: world.keys.queuePrefix, owner: 'host/1/aa', claimLeaseMs: 10_000, sweepIntervalMs: 3_600_000,
    now: Date.now, log: (line) => void lines.push(line), onBehind: () => undefined,
  });
  await expect.poll(() => handled, { timeout: 10_000 }).toEqual(['all']);
  await expect.poll(async () => (await queue.getDelayed()).map(({ id }) => id).sort(), { timeout: 10_000 }).toEqual(['first', 'second', 'worn']);
  expect(lines.filter((line) => line.event === 'job.not_understood').map((line) => line.detail)).toEqual([{ stage: 'pack', version: payloadVersion + 1, isNewer: true }]);
  await worn.promote();
  await expect.poll(async () => (await queue.getDelayed()).map(({ id }) => id).sort(), { timeout: 10_000 }).toEqual(['first', 'second']);
  await expect.poll(async () => await worn.getState(), { timeout: 10_000 }).toBe('unknown');
  await worker.drain(1_000);
  expect(handled).toEqual(['all']);
});

it("a segment's queue puts a newer job off and gives the next one", async () => {
  const segment = 'a.8k.high' as SegmentName;
  const queue = openQueue(segment);
  await queue.add('chunk', newer, { jobId: 'newer' });
  await queue.add('chunk', { v: payloadVersion, entity: 'chunk-1' }, { jobId: 'known' });
  const segments = openSegmentQueues(world.test.connect({ maxRetriesPerRequest: null }), world.keys.queuePrefix);
  const fetched = await segments.fetch(segment);
  expect(fetched?.chunk).toBe('chunk-1');
  await fetched?.finish();
  expect(await segments.fetch(segment)).toBeUndefined();
  const [put] = await queue.getDelayed();
  expect(put?.id).toBe('newer');
  expect(put?.delay).toBeGreaterThan(newerDelayMs / 2);
  expect(put?.delay).toBeLessThanOrEqual(newerDelayMs);
  await segments.close();
});
