/** A run whose processes are killed at many moments ends as if nothing had happened, or says what is in doubt. */
import { afterEach, expect, it } from 'vitest';
import { breaches, readRows, readTruth } from './oracle.ts';
import { corpus, openWorld, type World } from './world.ts';

let world: World;
afterEach(async () => await world.close());

/** Small chunks and archives, so that a short run has many of each. */
const small = { PLIMSOLL_CHUNK__BYTES_MAX: '20000', PLIMSOLL_CHUNK__OPEN_BYTES_MAX: '60000', PLIMSOLL_ARCHIVE__BYTES_MAX: '120000' };

const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `doc-${index}`);

async function ledgerOf(of: World): Promise<{ reserved: number; spent: number }> {
  const accounts = JSON.parse((await of.run(['budget', 'show', '--json'])).stdout) as { target: string; tokens_reserved: number; tokens_spent: number }[];
  const all = accounts.find((account) => account.target === 'all');
  return { reserved: all?.tokens_reserved ?? -1, spent: all?.tokens_spent ?? -1 };
}

it('producer and workers killed again and again end with every prompt exactly once and the bill in the ledger', async () => {
  // A kill that falls between the gate and the last byte leaves nothing to be found: two seconds prove it here.
  world = await openWorld({}, { ...small, PLIMSOLL_SUBMIT__LANDING_WAIT: '2s' });
  const source = world.write('in.jsonl', corpus(3000, 7));
  const command = ['run', source, '--run-key', 'killed', '--json'];
  const worker = (): ReturnType<World['start']> => world.start(['work', '--quiet']);
  // Seeded moments after the program has begun to work, from the first chunks to the last exports.
  const moments = [1100, 1500, 1900, 2400, 3000];
  for (const moment of moments) {
    const [producer, helper] = [world.start(command), worker()];
    const killed = setTimeout(() => {
      producer.process.kill('SIGKILL');
      helper.process.kill('SIGKILL');
    }, moment);
    await Promise.all([producer.ended, helper.ended]);
    clearTimeout(killed);
  }
  const end = await world.run(command);
  expect(end.stdout, end.stderr).not.toBe('');
  const document = JSON.parse(end.stdout) as { status: string; counts: { accepted: number; succeeded: number }; batches: number };
  const truth = readTruth(world.truthFile);
  expect(truth.batches.size).toBeGreaterThan(3);
  expect({ code: end.code, status: document.status, stderr: end.stderr }).toMatchObject({ code: 0, status: 'succeeded' });
  expect(breaches(world.lake, 'killed', ids(3000), world.truthFile)).toEqual([]);
  expect(await ledgerOf(world)).toEqual({ reserved: 0, spent: truth.billed.inputTokens + truth.billed.outputTokens });
});

it('a kill between the last byte and the reply leaves a doubt that ends by itself: the batch is found, and nothing is posted again', async () => {
  // The provider accepts the second batch and keeps silent about it.
  world = await openWorld({ faults: { faults: [{ fault: 'reply_hang', nth: 2 }] } }, small);
  const source = world.write('in.jsonl', corpus(600, 3));
  const first = world.start(['run', source, '--run-key', 'doubt', '--json']);
  await expect.poll(() => readTruth(world.truthFile).batches.size, { timeout: 30_000, interval: 20 }).toBe(2);
  first.process.kill('SIGKILL');
  await first.ended;

  const second = await world.run(['run', source, '--run-key', 'doubt', '--json']);
  expect({ code: second.code, stderr: second.stderr }).toMatchObject({ code: 0 });
  const truth = readTruth(world.truthFile);
  expect(truth.creates).toBe(truth.batches.size);
  expect(JSON.parse(second.stdout)).toMatchObject({ status: 'succeeded', batches: truth.batches.size, counts: { succeeded: 600 } });
  expect(breaches(world.lake, 'doubt', ids(600), world.truthFile)).toEqual([]);
  expect(await ledgerOf(world)).toEqual({ reserved: 0, spent: truth.billed.inputTokens + truth.billed.outputTokens });
});

it('a create that never landed stays in doubt for the landing wait, and only then is posted again', async () => {
  // The provider reads the second batch whole, accepts nothing, and keeps silent. The three archives differ in rows.
  world = await openWorld({ faults: { faults: [{ fault: 'hang', nth: 2 }] } }, small);
  const source = world.write('in.jsonl', corpus(606, 3));
  const command = ['run', source, '--run-key', 'lost', '--json'];
  const first = world.start(command);
  // Whole, not only begun: what is killed before its last byte is in no doubt.
  await expect.poll(() => readTruth(world.truthFile).struck.get('hang'), { timeout: 30_000, interval: 20 }).toBe(1);
  first.process.kill('SIGKILL');
  await first.ended;

  const second = await world.run(command);
  expect({ code: second.code, stderr: second.stderr }).toMatchObject({ code: 6 });
  expect(JSON.parse(second.stdout)).toMatchObject({ status: 'in_doubt' });
  const status = JSON.parse((await world.run(['status', '--json'])).stdout) as { in_doubt: { rows: number; reason: string }[] };
  expect(status.in_doubt).toHaveLength(1);
  expect(status.in_doubt[0]?.reason).toBe('owner_lost');
  const before = readTruth(world.truthFile);
  expect(new Set(readRows(world.lake).map((row) => row.id)).size).toBe(606 - (status.in_doubt[0]?.rows ?? 0));
  expect((await ledgerOf(world)).reserved).toBeGreaterThan(0);

  const third = await world.run(command, { PLIMSOLL_SUBMIT__LANDING_WAIT: '2s' });
  expect({ code: third.code, stderr: third.stderr }).toMatchObject({ code: 0 });
  const truth = readTruth(world.truthFile);
  expect(truth.creates).toBe(before.creates + 1);
  expect(breaches(world.lake, 'lost', ids(606), world.truthFile)).toEqual([]);
  expect(await ledgerOf(world)).toEqual({ reserved: 0, spent: truth.billed.inputTokens + truth.billed.outputTokens });
});
