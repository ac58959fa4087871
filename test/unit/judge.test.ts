import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { ChunkRow } from '../../segments/chunk.ts';
import type { ArchiveRecord, RunRecord } from '../../segments/ledger/ledger.ts';
import { decodeOutcome, sizeOfRanges, type ArchiveOutcome } from '../../segments/outcome.ts';
import { archiveId, customId } from '../../segments/pack.ts';
import { checkResults, type ResultsCheck } from '../../segments/results.ts';
import { noUsage, retryChunkId, type BatchId, type ChunkId } from '../../segments/segment.ts';
import { Judge, restedIn, retriedRowsOf, summaryOf, type JudgeInput } from '../../workers/judge.ts';
import type { SealedChunkRange } from '../../workers/sealer.ts';
import { run, segment, tag, testPrice } from '../spool-world.ts';

const archive = archiveId(tag, 1);
const endedAtMs = 1_000_000;
const shaOf = (index: number): string => createHash('sha256').update(String(index)).digest('hex');
const rowOf = (index: number, given: Partial<ChunkRow> = {}): ChunkRow => ({
  id: `doc-${index}`, row: index + 1, at: 0, bytes: 10, sha: shaOf(index), model: 'claude-test', expect: 50, in: 100, out: 20, usd: 200, ...given,
});
const range = (firstIndex: number, rows: number, attempt = 1): SealedChunkRange => ({
  chunk: `${tag}.${segment}.${firstIndex}` as ChunkId, segment, client: 'etl', attempt, spoolKey: 's', spoolRows: rows, spoolParamsBytes: 0, spoolIndexBytes: 0,
  from: 0, to: rows - 1, firstIndex, tokensMax: rows * 120, microUsdMax: rows * 200,
});
const archiveRecord = (given: Partial<ArchiveRecord>): ArchiveRecord => ({
  archive, run, dt: '2026-11-21', priority: 'normal', state: 'ended', reason: undefined, closing: 'flush', rows: 0, paramsBytes: 0, openedAtMs: 1, bodyBytes: 1, bodySha256: '', bodyGmac: undefined,
  sealedAtMs: 1, intents: 1, intent: undefined, account: 'a', batch: 'msgbatch_1' as BatchId, acceptedAtMs: 2, endedAtMs, exportedAtMs: undefined, epoch: 0, ...given,
});
const runRecord: RunRecord = {
  run, state: 'open', tag, dt: '2026-11-21', openedAtMs: 1, completedAtMs: undefined, source: 'docs.jsonl', cutSha256: '', checkpoint: { bytes: 0, rows: 0, sha256: '' },
  accepted: 0, rejected: 0, succeeded: 0, deadLettered: 0, notSampled: 0, retried: 0, chunks: 0, chunksOpen: 0, chunksHeld: 0, rowsQueued: 0, rowsHeld: 0, archivesInDoubt: 0, batches: 0,
  usage: noUsage, microUsd: 0, standardMicroUsd: 0, result: undefined,
};

type Result = { readonly type: 'succeeded'; readonly input: number; readonly output: number } | { readonly type: 'errored'; readonly error: string; readonly message?: string } | { readonly type: 'expired' | 'canceled' } | 'missing';

function lineOf(index: number, result: Exclude<Result, 'missing'>): string {
  const custom_id = customId(archive, index, shaOf(index));
  if (result.type === 'succeeded') {
    const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'claude-test', content: [{ type: 'text', text: 'ok' }], stop_reason: 'end_turn', stop_sequence: null, usage: { input_tokens: result.input, output_tokens: result.output } };
    return JSON.stringify({ custom_id, result: { type: 'succeeded', message } });
  }
  if (result.type === 'errored') return JSON.stringify({ custom_id, result: { type: 'errored', error: { type: 'error', error: { type: result.error, message: result.message ?? 'no' } } } });
  return JSON.stringify({ custom_id, result: { type: result.type } });
}

async function resultsOf(results: readonly Result[]): Promise<ResultsCheck> {
  const text = results.flatMap((result, index) => (result === 'missing' ? [] : [`${lineOf(index, result)}\n`])).join('');
  return await checkResults((async function* () { yield Buffer.from(text); })(), { archive, rows: results.length, shaOf });
}

/** What is judged: the input, and the index of its chunks, by archive index. */
interface Ended extends JudgeInput {
  readonly ranges: readonly SealedChunkRange[];
  readonly rows: readonly ChunkRow[];
}

function judge({ ranges, rows, ...input }: Ended): ArchiveOutcome {
  const judging = new Judge(input);
  for (const each of ranges) judging.add(each, rows.slice(each.firstIndex, each.firstIndex + each.to - each.from + 1));
  return judging.outcome();
}

async function inputOf(results: readonly Result[], given: Partial<Ended> = {}): Promise<Ended> {
  const rows = results.map((_, index) => rowOf(index));
  return {
    archive: archiveRecord({ rows: rows.length }), run: runRecord, ranges: [range(0, rows.length)], rows, results: await resultsOf(results),
    attemptsMax: 3, accountRoundsMax: 2, priceOf: (model) => (model === 'claude-test' ? testPrice : undefined), priceVersion: 'test-1', ...given,
  };
}

const encoded = (outcome: unknown): Buffer => Buffer.from(`${JSON.stringify(outcome)}\n`);
const good: Result = { type: 'succeeded', input: 80, output: 10 };

describe('the outcome of an archive', () => {
  it('books the usage of succeeded rows at the price of the model that answered', async () => {
    const outcome = judge(await inputOf([good, good]));
    expect(outcome.chunks[0]).toMatchObject({ succeeded: 2, retried: 0, deadLettered: 0, microUsd: 130, standardMicroUsd: 260, overBound: 0 });
    expect(outcome.chunks[0]?.usage).toMatchObject({ inputTokens: 160, outputTokens: 20 });
    expect(outcome.prices).toEqual({ 'claude-test': testPrice });
  });

  it('is a document that its own decoder accepts, and the same each time (O2)', async () => {
    const input = await inputOf([good, { type: 'expired' }, { type: 'errored', error: 'invalid_request_error' }, 'missing']);
    const outcome = judge(input);
    expect(decodeOutcome(encoded(outcome))).toEqual(outcome);
    expect(encoded(judge(input)).equals(encoded(outcome))).toBe(true);
  });

  it('keeps every chunk apart: what one consumed is not booked on another', async () => {
    const outcome = judge(await inputOf([good, { type: 'expired' }, good], { ranges: [range(0, 1), range(1, 2)] }));
    expect(outcome.chunks.map(({ succeeded, retried, usage }) => [succeeded, retried, usage.inputTokens])).toEqual([[1, 0, 80], [1, 1, 80]]);
  });

  it.each([
    ['expired', { type: 'expired' } as const, 'expired'],
    ['a passing fault', { type: 'errored', error: 'overloaded_error' } as const, 'attempts_exhausted'],
    ['an unknown fault', { type: 'errored', error: 'new_error' } as const, 'attempts_exhausted'],
  ])('sends a row round again after %s, until its attempts are used up', async (_what, result, reason) => {
    for (const attempt of [1, 2]) {
      const outcome = judge(await inputOf([result], { ranges: [range(0, 1, attempt)] }));
      expect(retriedRowsOf(outcome)).toEqual([0]);
      expect(outcome.dead).toEqual([]);
    }
    const last = judge(await inputOf([result], { ranges: [range(0, 1, 3)] }));
    expect(last.retried).toEqual([]);
    expect(last.dead).toMatchObject([{ index: 0, reason }]);
  });

  it('does not retry a row whose deadline was over when the batch ended, whatever the clock says now', async () => {
    const input = await inputOf([{ type: 'expired' }, { type: 'expired' }]);
    const outcome = judge({ ...input, rows: [rowOf(0, { deadline: endedAtMs }), rowOf(1, { deadline: endedAtMs + 1 })] });
    expect(outcome.dead).toEqual([{ index: 0, reason: 'deadline', errorType: null }]);
    expect(retriedRowsOf(outcome)).toEqual([1]);
  });

  it.each([
    [{ type: 'errored', error: 'invalid_request_error' } as const, 'invalid_request', 'invalid_request_error'],
    [{ type: 'canceled' } as const, 'canceled_externally', null],
  ])('makes %j a dead letter at once, and books nothing', async (result, reason, errorType) => {
    const outcome = judge(await inputOf([result]));
    expect(outcome.dead).toEqual([{ index: 0, reason, errorType }]);
    expect(outcome.chunks[0]).toMatchObject({ deadLettered: 1, microUsd: 0, usage: noUsage });
  });

  it('sends rows round again on their own attempt after an error of the account, whatever became of the others, until their rounds are used up', async () => {
    const results: Result[] = [{ type: 'errored', error: 'billing_error' }, { type: 'expired' }, good, { type: 'errored', error: 'permission_error' }];
    const outcome = judge(await inputOf(results));
    expect(outcome).toMatchObject({ retried: [[0, 1], [3, 3]], rested: [[0, 0], [3, 3]], dead: [] });
    expect(restedIn(outcome)).toEqual({ rows: 2, round: 1 });
    expect(decodeOutcome(encoded(outcome))).toEqual(outcome);
    const onRound = (round: number): SealedChunkRange => ({ ...range(0, 4), chunk: `${retryChunkId(archive, segment, 1, round)}.p0.0-3` as ChunkId });
    expect(restedIn(judge(await inputOf(results, { ranges: [onRound(1)] })))).toEqual({ rows: 2, round: 2 });
    expect(judge(await inputOf(results, { ranges: [onRound(2)] }))).toMatchObject({ retried: [[1, 1]], dead: [{ index: 0, reason: 'account_fault', errorType: 'billing_error' }, { index: 3, reason: 'account_fault', errorType: 'permission_error' }] });
  });

  it.each([
    ['every row of a batch of five', 5, 5, true],
    ['every row of a batch of four', 4, 4, false],
    ['five rows of six', 5, 6, false],
    ['twenty rows of ninety-nine', 20, 99, true],
    ['twenty rows of a hundred', 20, 100, false],
    ['nineteen rows of twenty', 19, 20, false],
  ])('takes one invalid_request_error of %s for what it is', async (_what, struck, rows, isOfAccount) => {
    const outcome = judge(await inputOf(Array.from({ length: rows }, (_, index): Result => (index < struck ? { type: 'errored', error: 'invalid_request_error' } : good))));
    expect(sizeOfRanges(outcome.rested ?? [])).toBe(isOfAccount ? struck : 0);
    expect(outcome.dead.filter(({ reason }) => reason === 'invalid_request')).toHaveLength(isOfAccount ? 0 : struck);
  });

  it('takes errors of different words, or of prompts that are too large, for those of the prompts, however many they are', async () => {
    const different = judge(await inputOf(Array.from({ length: 30 }, (_, index): Result => ({ type: 'errored', error: 'invalid_request_error', message: `row ${index}` }))));
    expect([different.dead.length, different.rested]).toEqual([30, undefined]);
    const large = judge(await inputOf(Array.from({ length: 30 }, (): Result => ({ type: 'errored', error: 'request_too_large' }))));
    expect([large.dead.length, large.rested]).toEqual([30, undefined]);
  });

  it('books the bound of a row whose result is missing: the provider may have billed it', async () => {
    const outcome = judge(await inputOf([good, 'missing']));
    expect(outcome.dead).toEqual([{ index: 1, reason: 'result_missing', errorType: null }]);
    expect(outcome.chunks[0]).toMatchObject({ microUsd: 65 + 200, overBound: 0 });
    expect(outcome.chunks[0]?.usage).toMatchObject({ inputTokens: 180, outputTokens: 30 });
  });

  it('notes what was reserved, and the spending by model and rate, which adds up', async () => {
    const outcome = judge(await inputOf([good, 'missing', { type: 'expired' }, good]));
    const [chunk] = outcome.chunks;
    expect(chunk?.reserved).toEqual({ tokens: 480, microUsd: 800 });
    expect(chunk?.spends).toMatchObject([
      { model: 'claude-test', rate: 'unconfirmed', succeeded: 0, microUsd: 200 },
      { model: 'claude-test', rate: 'usual', succeeded: 2, retried: 1, deadLettered: 1, microUsd: 130, standardMicroUsd: 260 },
    ]);
    const wrong = { ...outcome, chunks: outcome.chunks.map((each) => ({ ...each, microUsd: each.microUsd + 1 })) };
    expect(() => decodeOutcome(encoded(wrong))).toThrow(/booked 331 micro-USD, its parts add up to 330/);
  });

  it('counts a row that was billed above its bound, by tokens or by money', async () => {
    expect(judge(await inputOf([{ type: 'succeeded', input: 121, output: 0 }])).chunks[0]?.overBound).toBe(1);
    const input = await inputOf([good]);
    expect(judge({ ...input, rows: [rowOf(0, { usd: 64 })] }).chunks[0]?.overBound).toBe(1);
    expect(judge({ ...input, rows: [rowOf(0, { usd: 65 })] }).chunks[0]?.overBound).toBe(0);
  });

  it.each([
    ['status_413', 'too_large'],
    ['status_400', 'invalid_request'],
  ])('makes the row of an archive that was refused whole with %s a dead letter', async (reason, expected) => {
    const input = await inputOf([good]);
    const outcome = judge({ ...input, results: undefined, archive: archiveRecord({ rows: 1, reason, batch: undefined }) });
    expect(outcome).toMatchObject({ batch: null, resultsKey: null, dead: [{ index: 0, reason: expected }] });
  });

  it('prices a row by the model that was asked when the table does not know the one that answered', async () => {
    const input = await inputOf([good]);
    const asked = judge({ ...input, rows: [rowOf(0, { model: 'claude-asked' })], priceOf: (model) => (model === 'claude-asked' ? testPrice : undefined) });
    expect(asked.chunks[0]?.microUsd).toBe(65);
    expect(() => judge({ ...input, priceOf: () => undefined })).toThrow(/price table has no claude-test/);
  });

  it('names retried rows as ranges and gives them back one by one', async () => {
    const again: Result = { type: 'expired' };
    const outcome = judge(await inputOf([again, again, good, again, good, again]));
    expect(outcome.retried).toEqual([[0, 1], [3, 3], [5, 5]]);
    expect(retriedRowsOf(outcome)).toEqual([0, 1, 3, 5]);
    expect(summaryOf(outcome)).toEqual({ succeeded: 2, retried: 4, deadLettered: 0, microUsd: 130 });
  });

  it('fails when a range names a row without an index line', async () => {
    const input = await inputOf([good]);
    expect(() => judge({ ...input, ranges: [range(0, 2)] })).toThrow(RangeError);
  });
});
