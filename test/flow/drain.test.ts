/** A process that was asked to stop ends what it is at and begins nothing new (D4). */
import { afterEach, expect, it } from 'vitest';
import { openQueues } from '../../config/queues.ts';
import type { BatchId } from '../../segments/segment.ts';
import type { Claude } from '../../workers/claude.ts';
import { makePacker } from '../../workers/packer.ts';
import { startWorker } from '../../workers/worker.ts';
import { openDoubtWorld, type DoubtWorld } from '../doubt-world.ts';
import { account, ledgerForTest, limits, nowMs, runA } from '../ledger-world.ts';
import { storeForTest } from '../spool-world.ts';

let world: DoubtWorld | undefined;
afterEach(async () => {
  await world?.close();
  world = undefined;
});

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

it('a submitter ends the create that is under way and prepares no other', async () => {
  world = await openDoubtWorld();
  const first = await world.seal(2);
  const second = await world.seal(3);
  const began = new AbortController();
  const reply = new AbortController();
  let creates = 0;
  let isCutOff = false;
  const claude: Claude = {
    account,
    side: 'real',
    probe: async () => world?.now() ?? 0,
    async createBatch(body, _replyTimeoutMs, signal) {
      creates += 1;
      for await (const block of body.blocks) body.give(block);
      began.abort();
      await aborted(reply.signal);
      isCutOff ||= signal.aborted;
      return { kind: 'accepted', batch: `msgbatch_0000000${creates}` as BatchId, rows: 2 };
    },
    cancelBatch: async () => undefined,
    retrieveBatch: async () => await Promise.reject(new Error('nothing is polled here')),
    async *readResults() {},
  };
  const redis = world.world.test.connect({ maxRetriesPerRequest: null });
  const { ledger, keys } = world.world;
  const wake = openQueues(redis, keys, () => undefined);
  const worker = startWorker({
    handlers: [world.submitter({ claude })], ledger, wake, redis, queuePrefix: keys.queuePrefix, owner: 'host/1/aa', claimLeaseMs: 10_000, sweepIntervalMs: 3_600_000,
    now: world.now, log: () => undefined, onBehind: () => undefined,
  });
  await wake.wake({ stage: 'submit', entity: 'next', epoch: 1 });
  await aborted(began.signal);
  const drained = worker.drain(60_000);
  reply.abort();
  await drained;
  await wake.close();
  expect(creates).toBe(1);
  expect(isCutOff).toBe(false);
  expect((await world.archive(first)).state).toBe('accepted');
  expect(await world.archive(second)).toMatchObject({ state: 'sealed', intents: 0 });
});

it('a packer places the chunk that it has begun and leaves the next one in its queue', async () => {
  const [corner, lake] = await Promise.all([ledgerForTest(), storeForTest()]);
  const [one, two] = [await corner.add(2), await corner.add(2)];
  await corner.flush(runA);
  const drain = new AbortController();
  const ledger: typeof corner.ledger = {
    ...corner.ledger,
    async admit(...given) {
      drain.abort();
      return await corner.ledger.admit(...given);
    },
  };
  const wake = { wake: async () => undefined, enqueueChunk: async () => undefined, close: async () => undefined };
  const packer = makePacker({ ledger, store: lake.store, wake, queues: { fetch: async () => undefined, close: async () => undefined }, limits, now: () => nowMs, log: () => undefined });
  await packer.handle('all', new AbortController().signal, drain.signal);
  expect((await corner.ledger.readChunk(one))?.state).toBe('packed');
  expect((await corner.ledger.readChunk(two))?.state).toBe('queued');
  await lake.close();
  await corner.close();
});
