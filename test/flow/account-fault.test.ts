/** A batch whose rows come back with an error of the account: nothing is wrong with its prompts, and no attempt is used up. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FaultRule } from '../../local/simulator/simulator.ts';
import { outcomeKey } from '../../segments/lake.ts';
import type { ArchiveId, BatchId, ChunkId, RunKey } from '../../segments/segment.ts';
import type { SettlerDependencies } from '../../workers/settler.ts';
import { openDoubtWorld, type DoubtWorld } from '../doubt-world.ts';
import { account } from '../ledger-world.ts';

const run = 'nightly' as RunKey;
const restMs = 60_000;

let world: DoubtWorld;
let told: string[];
beforeEach(async () => {
  world = await openDoubtWorld();
  told = [];
});
afterEach(async () => await world.close());

/** Submits the next archive and settles it once its batch has ended. */
async function play(archive: ArchiveId, given: Partial<SettlerDependencies> = {}): Promise<void> {
  expect(await world.submit()).toEqual({ kind: 'done' });
  await world.end(world.batches().at(-1) ?? ('' as BatchId));
  await world.finish(archive, { onAccountFault: (fault) => void told.push(fault.code), ...given });
}

const roundOn = (archive: ArchiveId, round: number): ChunkId => `${archive}.docs.8k.normal.attempt-1.round-${round}.p0` as ChunkId;
const outcome = async (archive: ArchiveId): Promise<unknown> => await world.readJournal(outcomeKey(run, archive));
const events = async () => (await world.ledger.readEvents(0, 100)).filter(({ type }) => type === 'account.rested');

describe.each<[string, FaultRule]>([
  ['an empty credit balance, told of every row as invalid_request_error', { fault: 'account_fault', nth: 1 }],
  ['a billing_error of every row', { fault: 'account_fault', nth: 1, error_type: 'billing_error' }],
])('%s', (_what, rule) => {
  it('lets the account rest and tells it, and every row succeeds at its first attempt when the fault is gone (O7)', async () => {
    await world.arm([rule]);
    const first = await world.seal(8, 'docs.8k.normal');
    await play(first);
    expect(await outcome(first)).toMatchObject({ retried: [[0, 7]], rested: [[0, 7]], dead: [] });
    expect(told).toEqual(['account_at_fault']);
    expect((await events()).map(({ subject, data }) => [subject, data])).toMatchObject([[account, { archive: first, rows: 8, round: 1 }]]);

    const second = await world.sealQueued(roundOn(first, 1));
    expect(await world.submit()).toMatchObject({ kind: 'later', why: 'account_fault' });
    expect(world.batches()).toHaveLength(1);
    expect(await world.ledger.listRests(world.now())).toMatchObject([{ account, reason: 'account_fault' }]);
    world.advance(restMs);
    expect(await world.ledger.listRests(world.now())).toEqual([]);
    await play(second);
    expect(await outcome(second)).toMatchObject({ dead: [], retried: [], chunks: [{ attempt: 1, succeeded: 8 }] });
    expect(await world.ledger.readRun(run)).toMatchObject({ succeeded: 8, retried: 8, deadLettered: 0 });
    expect(told).toHaveLength(1);
  });
});

describe('a fault of the account', () => {
  it('that nobody repairs ends in dead letters that name it, after rests that double', async () => {
    await world.arm([{ fault: 'account_fault' }]);
    let archive = await world.seal(5, 'docs.8k.normal');
    for (const round of [1, 2]) {
      await play(archive, { accountRoundsMax: 2 });
      archive = await world.sealQueued(roundOn(archive, round));
      world.advance(restMs * 2 ** (round - 1) - 5_000);
      expect(await world.submit()).toMatchObject({ why: 'account_fault' });
      world.advance(5_000);
    }
    await play(archive, { accountRoundsMax: 2 });
    expect(await outcome(archive)).toMatchObject({ retried: [], dead: Array.from({ length: 5 }, (_, index) => ({ index, reason: 'account_fault', errorType: 'invalid_request_error' })) });
    expect(await world.ledger.readRun(run)).toMatchObject({ succeeded: 0, deadLettered: 5 });
    expect(told).toHaveLength(2);
  });

  it('is decided once: a settler that dies before it settles is followed by one that does the same, whatever its settings (O2)', async () => {
    await world.arm([{ fault: 'account_fault', nth: 1 }]);
    const archive = await world.seal(5, 'docs.8k.normal');
    const dying = { ...world.ledger, settle: async () => await Promise.reject(new Error('the process is gone')) };
    await expect(play(archive, { ledger: dying })).rejects.toThrow('the process is gone');
    expect(told).toEqual([]);
    const before = await outcome(archive);
    await world.finish(archive, { accountRoundsMax: 0, onAccountFault: (fault) => void told.push(fault.code) });
    expect(await outcome(archive)).toEqual(before);
    expect(await world.ledger.readChunk(roundOn(archive, 1))).toMatchObject({ state: 'queued', attempt: 1, rows: 5 });
    expect(told).toEqual(['account_at_fault']);
  });
});
