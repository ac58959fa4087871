/** One ended archive on its way to outcomes: settler, real Redis and a real lake; the provider's results come from the test. */
import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PlimsollError } from '../../segments/errors.ts';
import { outcomeKey, resultLinesKey, spoolKey } from '../../segments/lake.ts';
import { decodeOutcome } from '../../segments/outcome.ts';
import { customId } from '../../segments/pack.ts';
import type { ArchiveId, ChunkId, RunKey, SegmentName } from '../../segments/segment.ts';
import type { Wake } from '../../segments/wake.ts';
import type { BatchSearch, Claude } from '../../workers/claude.ts';
import { makeSealer } from '../../workers/sealer.ts';
import { makeSettler } from '../../workers/settler.ts';
import { account, amounts, ledgerForTest, nowMs, tagOf, type LedgerWorld } from '../ledger-world.ts';
import { promptOf, sealChunk, spool, storeForTest, testPrice } from '../spool-world.ts';

const run = 'nightly' as RunKey;
const normal = 'invoices.8k.normal' as SegmentName;
const never = new AbortController().signal;

let world: LedgerWorld;
let lake: Awaited<ReturnType<typeof storeForTest>>;
let archive: ArchiveId;
let lines: string[];
let downloads: number;
/** What each download yields; the default is all lines. */
let download: (ordinal: number) => AsyncIterable<Buffer>;
let queued: ChunkId[];

const wake: Wake = { wake: async () => undefined, enqueueChunk: async (_segment, chunk) => void queued.push(chunk), close: async () => undefined };
const claude: Claude & Pick<BatchSearch, 'firstResult'> = {
  account,
  side: 'real',
  probe: async () => nowMs,
  createBatch: async () => await Promise.reject(new Error('nothing is created here')),
  cancelBatch: async () => undefined,
  retrieveBatch: async (batch) => ({ batch, isEnded: true, isCanceling: false, createdAtMs: nowMs, counts: { processing: 0, succeeded: lines.length, errored: 0, canceled: 0, expired: 0 }, retryAfterMs: undefined }),
  readResults: () => download((downloads += 1)),
  firstResult: async () => undefined,
};

async function* streamOf(texts: readonly string[], fault?: Error): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(`${text}\n`);
  if (fault) throw fault;
}

const settle = async (attemptsMax = 3) =>
  await makeSettler({
    ledger: world.ledger, store: lake.store, wake, claude, attemptsMax, accountRoundsMax: 6, accountRestMs: 60_000, onAccountFault: () => undefined, chunkBytesMax: 1_000_000, chunkRowsMax: 100, priceOf: () => testPrice, priceVersion: 'test-1',
    scratchDirectory: join(lake.directory, 'scratch'), now: () => nowMs, log: () => undefined,
  }).handle(archive, never);
const stateOf = async (): Promise<string | undefined> => (await world.ledger.readArchive(archive))?.state;
const outcome = async () => decodeOutcome(await lake.store.readWhole(outcomeKey(run, archive)));

beforeEach(async () => {
  [world, lake] = await Promise.all([ledgerForTest(), storeForTest()]);
  queued = [];
  downloads = 0;
  download = () => streamOf(lines);
  await world.open(run);
  const sealed = sealChunk(['one', 'two', 'three'].map((text, index) => promptOf(index + 1, text)), { run, segment: normal, tag: tagOf(run) });
  const { footer } = await spool(lake.store, sealed);
  await world.ledger.addChunk({ footer, spoolKey: spoolKey(run, footer.chunk), previousRow: 0, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs });
  archive = await world.pack(footer.chunk);
  await makeSealer({ ledger: world.ledger, store: lake.store, wake, now: () => nowMs, log: () => undefined }).handle(archive, never);
  await world.accept('msgbatch_00000001');
  await world.ledger.endArchive(archive, undefined, nowMs);
  const rows = Buffer.concat(sealed.blocks).toString('utf8').split('\n').slice(3, 6).map((line) => (JSON.parse(line) as { sha: string }).sha);
  lines = rows.map((sha, index) => JSON.stringify({
    custom_id: customId(archive, index, sha),
    result: { type: 'succeeded', message: { id: 'msg_1', type: 'message', role: 'assistant', model: 'claude-test', content: [{ type: 'text', text: 'ok' }], stop_reason: 'end_turn', usage: { input_tokens: 80, output_tokens: 10 } } },
  }));
});
afterEach(async () => {
  await lake.close();
  await world.close();
});

describe('the results of an archive', () => {
  it('are brought to the lake, booked and settled', async () => {
    await settle();
    expect(await stateOf()).toBe('settled');
    expect((await lake.store.readWhole(resultLinesKey(run, archive))).toString()).toBe(`${lines.join('\n')}\n`);
    expect(await amounts(world.ledger, 'all')).toEqual([0, 270, 0, 195]);
    expect(await world.ledger.readRun(run)).toMatchObject({ succeeded: 3, deadLettered: 0 });
  });

  it('in any order are the same outcome', async () => {
    download = () => streamOf([...lines].reverse());
    await settle();
    expect((await outcome()).chunks[0]).toMatchObject({ succeeded: 3, microUsd: 195 });
  });

  it('that broke off are downloaded again', async () => {
    download = (ordinal) => (ordinal < 3 ? streamOf(lines.slice(0, 1), new PlimsollError('provider_unavailable', { message: 'cut' })) : streamOf(lines));
    await settle();
    expect(downloads).toBe(3);
    expect(await world.ledger.readRun(run)).toMatchObject({ succeeded: 3 });
  });

  it('that keep breaking off are not given up: nothing is booked, and the stage comes again (O1)', async () => {
    download = () => streamOf([], new PlimsollError('provider_unavailable', { message: 'no answer' }));
    await expect(settle()).rejects.toMatchObject({ code: 'results_incomplete', disposition: 'retry' });
    expect(await stateOf()).toBe('ended');
    expect(await lake.store.head(resultLinesKey(run, archive))).toBeUndefined();
    expect(await lake.store.head(outcomeKey(run, archive))).toBeUndefined();
    download = () => streamOf(lines);
    await settle();
    expect(await world.ledger.readRun(run)).toMatchObject({ succeeded: 3, deadLettered: 0 });
  });

  it('with a hole in every whole download have that hole: a dead letter that is booked at its bound', async () => {
    download = () => streamOf(lines.slice(0, 2));
    await settle();
    expect((await outcome()).dead).toEqual([{ index: 2, reason: 'result_missing', errorType: null }]);
    expect(await amounts(world.ledger, 'all')).toEqual([0, 180 + 120, 0, 130 + 200]);
  });
});

describe('results that stand in the lake already', () => {
  const results = (): string => resultLinesKey(run, archive);
  const leave = async (texts: readonly string[]): Promise<void> => {
    const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(''));
    await lake.store.put(results(), { blocks: [bytes], sizeBytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
  };
  const refusal = (): object => ({ code: 'lake_conflict', disposition: 'stop', where: `${lake.store.uri}/${results()}`, hint: expect.stringContaining('Move the object out of the lake') as string });

  it('and are complete are not downloaded again', async () => {
    await leave(lines);
    await settle();
    expect(downloads).toBe(0);
    expect(await world.ledger.readRun(run)).toMatchObject({ succeeded: 3, deadLettered: 0 });
  });

  it.each([
    ['a row', () => lines.slice(1)],
    ['the end of a row', () => [...lines.slice(0, 2), lines[2]?.slice(0, -9) ?? '']],
    ['everything', () => []],
  ])('but without %s that was paid for never become an outcome: the stage stops until the object is moved away (O6)', async (_what, left) => {
    await leave(left());
    await expect(settle()).rejects.toMatchObject(refusal());
    expect(await stateOf()).toBe('ended');
    expect(await lake.store.head(outcomeKey(run, archive))).toBeUndefined();
    await rm(join(lake.directory, 'lake', results()));
    await settle();
    expect(await world.ledger.readRun(run)).toMatchObject({ succeeded: 3, deadLettered: 0 });
  });

  it('in rows whose kinds are not those that the batch counts are downloaded once more (O6)', async () => {
    await leave([...lines.slice(0, 2), (lines[2] ?? '').replace(/"result":.*/, '"result":{"type":"expired"}}')]);
    await expect(settle()).rejects.toMatchObject(refusal());
    expect(downloads).toBe(1);
  });

  it('of another content than their writer has announced are refused, though each row has a result (O6)', async () => {
    await leave(lines);
    const { head } = lake.store;
    Object.assign(lake.store, { head: async (key: string) => ((found) => found && { ...found, ...(key === results() ? { sha256: '0'.repeat(64) } : {}) })(await head.call(lake.store, key)) });
    await expect(settle()).rejects.toMatchObject(refusal());
    expect(await lake.store.head(outcomeKey(run, archive))).toBeUndefined();
    expect(downloads).toBe(0);
  });

  it('with a hole that every whole download has too are booked with it: an earlier try died between results and outcome', async () => {
    await leave(lines.slice(0, 2));
    download = () => streamOf(lines.slice(0, 2));
    await settle();
    expect((await outcome()).dead).toEqual([{ index: 2, reason: 'result_missing', errorType: null }]);
  });

  it('with a hole that no whole download proves are booked by nobody, and the stage comes again (O1, O6)', async () => {
    await leave(lines.slice(0, 2));
    download = () => streamOf([], new PlimsollError('provider_unavailable', { message: 'no answer' }));
    await expect(settle()).rejects.toMatchObject({ code: 'results_incomplete', disposition: 'retry' });
    expect(await lake.store.head(outcomeKey(run, archive))).toBeUndefined();
  });
});

describe('an outcome', () => {
  it('is decided once: a rerun under other settings does what the first try wrote down (O2)', async () => {
    lines[1] = (lines[1] ?? '').replace(/"result":.*/, '"result":{"type":"expired"}}');
    const counts = claude.retrieveBatch;
    const mixed: Claude['retrieveBatch'] = async (batch, signal) => ({ ...(await counts(batch, signal)), counts: { processing: 0, succeeded: 2, errored: 0, canceled: 0, expired: 1 } });
    Object.assign(claude, { retrieveBatch: mixed });
    // The first try dies just before it settles.
    const settleInLedger = world.ledger.settle;
    Object.assign(world.ledger, { settle: async () => await Promise.reject(new Error('the process is gone')) });
    await expect(settle(3)).rejects.toThrow('the process is gone');
    Object.assign(world.ledger, { settle: settleInLedger });
    await settle(1);
    Object.assign(claude, { retrieveBatch: counts });
    expect(await world.ledger.readRun(run)).toMatchObject({ succeeded: 2, retried: 1, deadLettered: 0, chunksOpen: 2 });
    expect(queued).toEqual([`${archive}.${normal}.attempt-2.p0`]);
    expect(downloads).toBe(1);
    expect((await world.ledger.readChunk(queued[0] ?? ('' as ChunkId)))?.attempt).toBe(2);
  });
});

