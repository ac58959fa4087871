/** Results that are about to be deleted are told, in whatever state their archive waits. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { BatchId } from '../../segments/segment.ts';
import type { StageLog } from '../../segments/stage.ts';
import type { Claude } from '../../workers/claude.ts';
import { makeSettler } from '../../workers/settler.ts';
import { makeTracker } from '../../workers/tracker.ts';
import { account, ledgerForTest, nowMs, runA, type LedgerWorld } from '../ledger-world.ts';
import { storeForTest } from '../spool-world.ts';

const day = 86_400_000;
let world: LedgerWorld;
let lake: Awaited<ReturnType<typeof storeForTest>>;
beforeEach(async () => {
  world = await ledgerForTest();
  lake = await storeForTest();
});
afterEach(async () => {
  await world.close();
  await lake.close();
});

const unasked = async (): Promise<never> => await Promise.reject(new Error('nobody is asked with another account'));

it('with a key of another account, before the batch has ended and after', async () => {
  await world.pack(await world.add(2));
  await world.flush(runA);
  const [archive] = await world.seal(runA);
  if (archive === undefined) throw new Error('it was sealed');
  const batch = 'msgbatch_1' as BatchId;
  await world.accept(batch);
  const said: StageLog[] = [];
  const claude = { account: `${account}-rotated`, side: 'real', probe: unasked, createBatch: unasked, cancelBatch: unasked, retrieveBatch: unasked, readResults: () => { throw new Error('not asked'); }, firstResult: unasked } satisfies Claude & { firstResult: unknown };
  const wake = { wake: async () => undefined, enqueueChunk: async () => undefined, close: async () => undefined };
  const shared = { ledger: world.ledger, wake, claude, log: (line: StageLog) => void said.push(line) };
  const look = async (days: number): Promise<readonly string[]> => {
    said.length = 0;
    const now = (): number => nowMs + days * day;
    await makeTracker({ ...shared, pollMinMs: 1, pollMaxMs: 1, now }).handle(archive, new AbortController().signal);
    await makeSettler({
      ...shared, store: lake.store, attemptsMax: 3, accountRoundsMax: 6, accountRestMs: 60_000, onAccountFault: () => undefined, chunkBytesMax: 1_000_000, chunkRowsMax: 100,
      priceOf: () => undefined, priceVersion: 'test-1', scratchDirectory: lake.directory, now,
    }).handle(archive, new AbortController().signal);
    return said.map((line) => `${line.event} ${String(line.detail?.['state'] ?? '')}`.trim());
  };
  expect(await look(20)).toEqual(['batch.other_account']);
  expect(await look(22)).toEqual(['batch.results_expire accepted', 'batch.other_account']);
  await world.ledger.endArchive(archive, undefined, nowMs);
  expect(await look(20)).toEqual(['batch.other_account']);
  expect(await look(22)).toEqual(['batch.results_expire ended', 'batch.other_account']);
});
