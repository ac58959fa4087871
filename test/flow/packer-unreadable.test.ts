/** A chunk that has to be cut and whose spool object is gone keeps nobody else waiting (P4). */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { spoolKey } from '../../segments/lake.ts';
import type { ChunkId, SegmentName } from '../../segments/segment.ts';
import type { StageLog } from '../../segments/stage.ts';
import { makePacker } from '../../workers/packer.ts';
import { ledgerForTest, limits, nowMs, runA, tagOf } from '../ledger-world.ts';
import { promptOf, sealChunk, storeForTest } from '../spool-world.ts';

it('a chunk that cannot be read is held with its reason, told once, and tried again later each time', async () => {
  const [world, lake] = await Promise.all([ledgerForTest(), storeForTest()]);
  const add = async (segment: string, rows: number): Promise<{ readonly chunk: ChunkId; readonly key: string }> => {
    const chunk = sealChunk(Array.from({ length: rows }, (_, index) => promptOf(index + 1, `text ${index}`)), { run: runA, segment: segment as SegmentName, tag: tagOf(runA) });
    const key = spoolKey(runA, chunk.footer.chunk);
    await lake.store.put(key, chunk);
    await world.ledger.addChunk({ footer: chunk.footer, spoolKey: key, previousRow: 0, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs });
    return { chunk: chunk.footer.chunk, key };
  };
  const broken = await add('a.8k.high', 4);
  const healthy = await add('b.8k.high', 3);
  await world.ledger.setBudget({ target: 'segment:a.8k.high', tokens: 250, microUsd: undefined, window: 'run' }, 'operator', nowMs);
  await rm(join(lake.directory, 'lake', broken.key));
  const lines: StageLog[] = [];
  let clockMs = nowMs;
  const wake = { wake: async () => undefined, enqueueChunk: async () => undefined, close: async () => undefined };
  const packer = makePacker({ ledger: world.ledger, store: lake.store, wake, queues: { fetch: async () => undefined, close: async () => undefined }, limits, now: () => clockMs, log: (line) => void lines.push(line) });
  await packer.handle('all', new AbortController().signal);
  expect((await world.ledger.readChunk(healthy.chunk))?.state).toBe('packed');
  expect(await world.ledger.readChunk(broken.chunk)).toMatchObject({ state: 'held', reason: 'spool_unreadable' });
  expect(await world.ledger.listStops(clockMs)).toMatchObject([{ reason: 'spool_unreadable', segment: 'a.8k.high', target: broken.key, rowsHeld: 4 }]);
  expect(await world.ledger.listSegments(clockMs)).toMatchObject([{ segment: 'a.8k.high', state: 'flowing' }, { segment: 'b.8k.high', state: 'flowing' }]);
  for (const minutes of [1, 2, 4]) {
    expect(await world.ledger.resumeHeld(clockMs + minutes * 60_000 - 1)).toEqual([]);
    clockMs += minutes * 60_000;
    expect(await world.ledger.resumeHeld(clockMs)).toMatchObject([{ chunk: broken.chunk }]);
    await packer.handle('all', new AbortController().signal);
  }
  expect(lines.filter((line) => line.event === 'chunk.unreadable').map((line) => line.level)).toEqual(['error', 'warn', 'warn', 'warn']);
  await world.ledger.cancelRun(runA, 1_000, clockMs);
  expect((await world.ledger.readChunk(broken.chunk))?.state).toBe('packed');
  await world.ledger.resumeHeld(clockMs);
  expect(await world.ledger.listStops(clockMs)).toEqual([]);
  await lake.close();
  await world.close();
});
