/** The ledger port against a real Redis: runs, chunks, admission, sharing of tails, claims. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bodyBytes } from '../../segments/pack.ts';
import type { ArchiveId, ChunkId, SegmentName } from '../../segments/segment.ts';
import { amounts, footerOf, input, ledgerForTest, limits, normal, nowMs, partsAfter, perRow, runA, runB, snapshot, tagOf, twice, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
beforeEach(async () => void (world = await ledgerForTest()));
afterEach(async () => {
  const { redis, keys } = world;
  const foreign = (await redis.keys('*')).filter((key) => key.includes(keys.prefix.slice(1, -2)) && !key.startsWith(keys.prefix));
  await world.close();
  expect(foreign, 'every key begins with the prefix, so a cluster keeps them in one slot').toEqual([]);
});

describe('a run', () => {
  it('is opened once: the first date and tag hold for everyone who comes later', async () => {
    const later = await world.ledger.openRun({ run: runA, tag: 'ffffffffff', dt: '2030-01-01', source: 'other', cutSha256: 'other', nowMs: nowMs + 1 });
    expect(later).toMatchObject({ kind: 'exists', run: { tag: tagOf(runA), dt: '2026-11-21', source: 'docs.jsonl', state: 'ingesting' } });
    expect(await world.ledger.listRuns()).toEqual([runA]);
  });

  it('is flushed when its counts are those of the producer, and only then', async () => {
    await world.add(3);
    const flush = async (accepted: number, sha256: string) => (await world.ledger.flushRun({ run: runA, accepted, rejected: 1, high: new Map(), input: { ...input, sha256 }, nowMs })).kind;
    expect(await flush(4, 'ab')).toBe('miscount');
    expect(await twice(async () => await flush(3, 'ab'))).toEqual(['flushed', 'already']);
    expect(await flush(3, 'other')).toBe('mismatch');
    expect(await world.ledger.readRun(runA)).toMatchObject({ state: 'open', accepted: 3, rejected: 1, checkpoint: input });
  });

  it('without a single prompt is done as soon as it is flushed', async () => {
    await world.flush(runA);
    expect(await world.ledger.overdue(nowMs, 1_000, 10)).toEqual([{ stage: 'gather', entity: runA, epoch: 1 }]);
    expect(await world.ledger.completeRun({ run: runA, result: 'succeeded', event: {}, nowMs })).toBe(true);
  });

  it('is not completed while a chunk of it is open', async () => {
    await world.add(1);
    await world.flush(runA);
    expect(await world.ledger.completeRun({ run: runA, result: 'succeeded', event: {}, nowMs })).toBe(false);
    expect((await world.ledger.readRun(runA))?.state).toBe('open');
  });

  it('counts rows in equal rows out when it ends', async () => {
    await world.pack(await world.add(7));
    await world.flush(runA);
    const [archive] = await world.seal(runA);
    await world.accept('msgbatch_1');
    if (archive) await world.finish(archive, 3);
    expect(await world.ledger.readRun(runA)).toMatchObject({ accepted: 7, succeeded: 7, deadLettered: 0, chunksOpen: 0, batches: 1, microUsd: 3, completedAtMs: nowMs });
    expect(await world.ledger.completeRun({ run: runA, result: 'succeeded', event: { run_key: runA }, nowMs })).toBe(true);
    expect((await world.ledger.readEvents(0, 10)).map((event) => event.type)).toEqual(['run.created', 'batch.submitted', 'batch.exported', 'run.completed']);
  });
});

describe('a chunk', () => {
  it('is added once, and its place in the source is remembered', async () => {
    const footer = footerOf(5, 1);
    const add = async () => (await world.ledger.addChunk({ footer, spoolKey: 's', previousRow: 0, checkpoint: { bytes: 9, rows: 5, sha256: 'aa' }, isReleased: true, nowMs })).kind;
    expect(await twice(add)).toEqual(['added', 'duplicate']);
    expect(await world.ledger.readRun(runA)).toMatchObject({ accepted: 5, chunks: 1, chunksOpen: 1, rowsQueued: 5, checkpoint: { bytes: 9, rows: 5, sha256: 'aa' } });
    expect([...(await world.ledger.readHighWater(runA))]).toEqual([[`${normal}|etl`, 5]]);
  });

  it('of a shared prefix goes its own way beside those of the same segment and client', async () => {
    const add = async (firstRow: number, previousRow: number, prefix?: string) => {
      const footer = { ...footerOf(2, firstRow), ...(prefix === undefined ? {} : { prefix }) };
      return (await world.ledger.addChunk({ footer, spoolKey: 's', previousRow, checkpoint: { bytes: 9, rows: 5, sha256: 'aa' }, isReleased: true, nowMs })).kind;
    };
    expect([await add(11, 0), await add(1, 0, 'aa'), await add(5, 0, 'bb'), await add(7, 2, 'aa')]).toEqual(['added', 'added', 'added', 'added']);
    expect(await add(13, 2, 'aa')).toBe('stale');
    expect(new Map(await world.ledger.readHighWater(runA))).toEqual(new Map([[`${normal}|etl`, 12], [`${normal}|etl|aa`, 8], [`${normal}|etl|bb`, 6]]));
  });

  it('of a second producer of the same run is stale', async () => {
    await world.add(5);
    const other = footerOf(5, 101);
    const added = await world.ledger.addChunk({ footer: other, spoolKey: 's', previousRow: 100, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs });
    expect(added.kind).toBe('stale');
    expect(await world.ledger.readChunk(other.chunk)).toBeUndefined();
  });

  it('is stale once the run is flushed', async () => {
    await world.flush(runA);
    const late = await world.ledger.addChunk({ footer: footerOf(5, 1), spoolKey: 's', previousRow: 0, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs });
    expect(late.kind).toBe('stale');
  });

  it('does not set the checkpoint back when chunks of two segments arrive out of order', async () => {
    const add = async (segment: string, bytes: number) =>
      await world.ledger.addChunk({ footer: footerOf(1, 1, { segment: segment as SegmentName }), spoolKey: 's', previousRow: 0, checkpoint: { bytes, rows: 1, sha256: String(bytes) }, isReleased: true, nowMs });
    await add('a.8k.low', 900);
    await add('b.8k.low', 400);
    expect((await world.ledger.readRun(runA))?.checkpoint.bytes).toBe(900);
  });

  it('keeps numbers beyond 10^15 exact', async () => {
    const large = 2 ** 53 - 1;
    const footer = { ...footerOf(1, 1), tokensMax: large, microUsdMax: large };
    await world.ledger.addChunk({ footer, spoolKey: 's', previousRow: 0, checkpoint: { bytes: large, rows: 1, sha256: 'x' }, isReleased: true, nowMs });
    await world.pack(footer.chunk);
    expect(await world.ledger.readChunk(footer.chunk)).toMatchObject({ tokensMax: large, microUsdMax: large });
    expect(await amounts(world.ledger, 'all')).toEqual([large, 0, large, 0]);
    expect((await world.ledger.readRun(runA))?.checkpoint.bytes).toBe(large);
  });

  it('is served by priority first, then by age, whatever its segment', async () => {
    const names = ['b.8k.low', 'c.8k.normal', 'a.8k.low', 'z.8k.high', 'y.8k.fallback'] as SegmentName[];
    for (const segment of names) await world.add(1, { segment });
    const served: (SegmentName | undefined)[] = [];
    for (const _ of names) {
      const next = await world.ledger.nextSegment([]);
      served.push(next);
      const chunk = next && (await world.ledger.nextQueued(next))?.chunk;
      if (chunk) await world.pack(chunk);
    }
    expect(served).toEqual(['z.8k.high', 'c.8k.normal', 'b.8k.low', 'a.8k.low', 'y.8k.fallback']);
    expect(await world.ledger.nextSegment([])).toBeUndefined();
  });

  it('of a skipped segment lets the next one pass', async () => {
    await world.add(1, { segment: 'a.8k.high' as SegmentName });
    await world.add(1, { segment: 'b.8k.high' as SegmentName });
    expect(await world.ledger.nextSegment(['a.8k.high' as SegmentName])).toBe('b.8k.high');
  });
});

describe('admission', () => {
  it('fills one archive per segment and run, in the order of admission', async () => {
    const [one, two] = [await world.add(2), await world.add(3)];
    const archive = await world.pack(one);
    expect(await world.pack(two)).toBe(archive);
    expect(await world.ledger.readArchiveChunks(archive)).toEqual([one, two]);
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'open', rows: 5, paramsBytes: 5 * perRow.paramsBytes, priority: 'normal', run: runA });
  });

  it('never mixes runs or priorities', async () => {
    await world.open(runB);
    const archives = [
      await world.pack(await world.add(1)),
      await world.pack(await world.add(1, { run: runB })),
      await world.pack(await world.add(1, { segment: 'invoices.8k.high' as SegmentName })),
    ];
    expect(new Set(archives).size).toBe(3);
  });

  it('says how much room the archive has left, to the byte, when a chunk does not fit', async () => {
    const bytesMax = bodyBytes(10, 10 * perRow.paramsBytes);
    await world.pack(await world.add(7), { bytesMax });
    const next = await world.add(4);
    const refused = await world.admit(next, { bytesMax });
    expect(refused).toMatchObject({ kind: 'overfull', bytesFree: 3 * (perRow.paramsBytes + limits.entryOverheadBytes), rowsFree: limits.rowsMax - 7 });
    const [left] = await world.ledger.split(next, ...partsAfter(3, 0, 3), nowMs);
    const packed = left && (await world.admit(left.chunk, { bytesMax }));
    const archives: readonly ArchiveId[] = await world.ledger.listArchives(runA);
    expect(packed).toMatchObject({ kind: 'packed', closed: archives });
    expect(await Promise.all(archives.map(async (archive) => (await world.ledger.readArchive(archive))?.closing))).toEqual(['full']);
  });

  it('closes an archive that is as full as it can be and opens the next', async () => {
    const first = await world.pack(await world.add(7), { rowsMax: 10 });
    const admission = await world.admit(await world.add(4), { rowsMax: 10 }, true);
    expect(admission).toMatchObject({ kind: 'packed', closed: [first] });
    if (admission.kind === 'packed') expect(admission.archive).not.toBe(first);
  });

  it('asks for a cut of a chunk that no archive can take, and takes a single row of any size', async () => {
    const large = await world.add(20);
    expect(await world.admit(large, { rowsMax: 10 })).toMatchObject({ kind: 'overfull', archive: '', rowsFree: 10 });
    expect(await world.admit(large, { rowsMax: 10 }, true)).toMatchObject({ kind: 'overfull', archive: '' });
    const single = await world.add(1);
    expect((await world.admit(single, { bytesMax: 50 })).kind).toBe('packed');
  });

  it('of the same chunk by two packers at once happens once', async () => {
    const chunk = await world.add(5);
    const others = await Promise.all(Array.from({ length: 8 }, async () => await world.connect()));
    const answers = await Promise.all(others.map(async (ledger) => (await ledger.admit(chunk, limits, false, nowMs)).kind));
    expect(answers.sort()).toEqual(['packed', ...Array.from({ length: 7 }, () => 'stale')]);
    expect(await amounts(world.ledger, 'all')).toEqual([50, 0, 100, 0]);
  });

  it('of a chunk that nobody knows is stale and changes nothing', async () => {
    const before = await snapshot(world);
    expect(await world.admit('nobody' as ChunkId)).toEqual({ kind: 'stale', isFlushDue: false });
    expect(await snapshot(world)).toEqual(before);
  });
});

describe('linger', () => {
  it('makes an open archive due to be sealed when it is over, and closed it takes nothing more', async () => {
    const archive = await world.pack(await world.add(1));
    expect(await world.ledger.overdue(nowMs + limits.lingerMs - 1, 1_000, 10)).toEqual([]);
    expect(await world.ledger.overdue(nowMs + limits.lingerMs, 1_000, 10)).toEqual([{ stage: 'seal', entity: archive, epoch: 1 }]);
    expect(await world.ledger.sealArchive({ archive, bodyBytes: 1, bodySha256: 'x', nowMs })).toBe(false);
    await twice(async () => await world.ledger.closeArchive(archive, 'linger', nowMs));
    expect(await world.pack(await world.add(1))).not.toBe(archive);
    expect(await twice(async () => await world.ledger.sealArchive({ archive, bodyBytes: 1, bodyGmac: '0a', bodySha256: 'x', nowMs }))).toEqual([true, false]);
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'sealed', reason: 'linger', rows: 1, bodyBytes: 1, bodyGmac: '0a', bodySha256: 'x' });
  });
});

describe('the tails of a flushed run', () => {
  it('wait while anything of their priority is queued, and are due when nothing is', async () => {
    const [one, two] = [await world.add(1), await world.add(1)];
    await world.pack(one);
    await world.flush(runA);
    expect(await world.ledger.flushDue(runA)).toEqual([]);
    expect(await world.ledger.flushArchives(runA, 'normal', limits, nowMs)).toEqual([]);
    expect(await world.admit(two)).toMatchObject({ kind: 'packed', isFlushDue: true });
    expect(await world.ledger.flushDue(runA)).toEqual(['normal']);
  });

  it('do not wait for another priority', async () => {
    await world.pack(await world.add(1, { segment: 'a.8k.high' as SegmentName }));
    await world.add(1, { segment: 'a.8k.low' as SegmentName });
    await world.flush(runA);
    expect(await world.ledger.flushDue(runA)).toEqual(['high']);
  });

  it('of 144 segments share archives: their number is close to the least that can hold them', async () => {
    const [rowsPerTail, rowsMax] = [300, 1_000];
    const segments = Array.from({ length: 144 }, (_, index) => `t${index}.8k.normal` as SegmentName);
    const chunks: ChunkId[] = [];
    for (const segment of segments) {
      for (let part = 0; part < 3; part += 1) chunks.push(await world.add(rowsPerTail / 3, { segment }));
    }
    for (const chunk of chunks) await world.pack(chunk);
    await world.flush(runA);
    const archives = await world.ledger.flushArchives(runA, 'normal', { ...limits, rowsMax }, nowMs);
    const bound = Math.ceil((144 * rowsPerTail) / rowsMax);
    expect(archives.length).toBeLessThanOrEqual(bound + 1);
    expect(await world.ledger.listArchives(runA)).toEqual(archives);
    const packed: ChunkId[] = [];
    for (const archive of archives) {
      const record = await world.ledger.readArchive(archive);
      const held = await world.ledger.readChunks(await world.ledger.readArchiveChunks(archive));
      expect(record).toMatchObject({ closing: 'flush', rows: held.reduce((sum, chunk) => sum + chunk.rows, 0), paramsBytes: held.reduce((sum, chunk) => sum + chunk.paramsBytes, 0) });
      expect(record?.rows).toBeLessThanOrEqual(rowsMax);
      expect(held.every((chunk) => chunk.archive === archive && chunk.state === 'packed')).toBe(true);
      packed.push(...held.map((chunk) => chunk.chunk));
    }
    expect(packed.sort()).toEqual([...chunks].sort());
    expect(await amounts(world.ledger, 'all')).toEqual([144 * rowsPerTail * perRow.tokensMax, 0, 144 * rowsPerTail * perRow.microUsdMax, 0]);
    expect(await world.ledger.flushArchives(runA, 'normal', limits, nowMs)).toEqual([]);
  });

  it('that were flushed while their packer died are found by the sweeper', async () => {
    await world.pack(await world.add(1));
    await world.flush(runA);
    expect((await world.ledger.overdue(nowMs, 1_000, 10)).filter((due) => due.stage === 'pack')).toEqual([{ stage: 'pack', entity: `normal|${runA}`, epoch: 1 }]);
    await world.ledger.flushArchives(runA, 'normal', limits, nowMs);
    expect((await world.ledger.overdue(nowMs + 1e9, 1_000, 10)).filter((due) => due.stage === 'pack')).toEqual([]);
  });
});

describe('a claim', () => {
  const claim = async (owner: string, atMs: number): Promise<boolean> => await world.ledger.claim('gather', runA, owner, 1_000, atMs);
  beforeEach(async () => await world.flush(runA));

  it('is given to one worker until its lease is over', async () => {
    expect(await claim('a', nowMs)).toBe(true);
    expect(await claim('b', nowMs + 999)).toBe(false);
    expect(await claim('b', nowMs + 1_000)).toBe(true);
    expect(await claim('a', nowMs + 1_001)).toBe(false);
  });
  it('is prolonged by its owner', async () => {
    await claim('a', nowMs);
    expect(await claim('a', nowMs + 900)).toBe(true);
    expect(await claim('b', nowMs + 1_500)).toBe(false);
  });
  it('is given up by its owner only, and the entity is due when it said', async () => {
    await claim('a', nowMs);
    await world.ledger.release('gather', runA, 'b', nowMs);
    expect(await claim('b', nowMs + 1)).toBe(false);
    await world.ledger.release('gather', runA, 'a', nowMs + 50);
    expect(await world.ledger.overdue(nowMs + 49, 1_000, 10)).toEqual([]);
    expect(await world.ledger.overdue(nowMs + 50, 1_000, 10)).toHaveLength(1);
  });
  it('is not given for what is not due', async () => {
    expect(await world.ledger.claim('gather', runB, 'a', 1_000, nowMs)).toBe(false);
  });
  it('of one who died passes on by way of the sweeper', async () => {
    await claim('a', nowMs);
    expect(await world.ledger.overdue(nowMs + 1_000, 500, 10)).toEqual([{ stage: 'gather', entity: runA, epoch: 1 }]);
    expect(await claim('b', nowMs + 1_001)).toBe(true);
  });
});

describe('memory (G6)', () => {
  it('does not grow with the prompts of a chunk', async () => {
    const sizeOf = async (chunk: ChunkId): Promise<number> => JSON.stringify(await world.redis.hgetall(world.keys.of(`chunk:${chunk}`))).length;
    const [small, large] = [await world.add(1), await world.add(5_000)];
    expect(await sizeOf(large)).toBeLessThan((await sizeOf(small)) + 64);
  });
});
