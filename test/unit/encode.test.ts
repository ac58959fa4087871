import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GzipWriter } from '../../exporters/compress.ts';
import { besidePress } from '../../exporters/press.ts';
import { costCsv, mergeCostLines, shareOut, TopicSpend, type CostLine } from '../../exporters/cost.ts';
import { errorMessageMax, RowEncoder } from '../../exporters/encode.ts';
import { runDocument } from '../../exporters/run-document.ts';
import type { ChunkRow } from '../../segments/chunk.ts';
import { cloudEvent } from '../../segments/event.ts';
import type { RunRecord } from '../../segments/ledger/ledger.ts';
import type { ArchiveOutcome } from '../../segments/outcome.ts';
import { archiveId } from '../../segments/pack.ts';
import { ResultLine } from '../../segments/result-line.ts';
import { noUsage, type Usage } from '../../segments/segment.ts';
import type { ModelSpend } from '../../segments/spend.ts';
import { answeredModel, batch, errored, openedAtMs, price, run, rowUsage, succeeded } from '../flow/exporter-fixture.ts';

const outcome: ArchiveOutcome = {
  v: 1, archive: archiveId('7f3a91c2ab', 1), run, dt: '2026-11-21', account: 'acc', batch, rows: 0, resultsKey: null, resultsBytes: 0, resultsSha256: '',
  acceptedAtMs: openedAtMs, submittedAtMs: openedAtMs + 1, endedAtMs: null, source: 'in "a".jsonl', priceVersion: '2026-11-21', prices: {}, chunks: [], retried: [], dead: [],
};
const chunkRow: ChunkRow = { id: 'naïve \ud800 id', row: 7, at: 0, bytes: 1, sha: 'ab12', model: 'claude-haiku-4-5', expect: 1, in: 1, out: 1, usd: 1, metadata: { batch: 'a' } };

/** Reads a line of one result, written as given. */
function sourceOf(resultJson: string): { bytes: Buffer; line: ResultLine } {
  const bytes = Buffer.from(`{"custom_id":"x","result":${resultJson}}\n`);
  const line = new ResultLine();
  expect(line.read(bytes, 0, bytes.length - 1, false)).toBe(true);
  return { bytes, line };
}

function encodeSucceeded(resultJson: string, usage: Usage = rowUsage): string {
  const encoder = new RowEncoder(outcome);
  const source = sourceOf(resultJson);
  const said = { model: answeredModel, usage, stopReason: source.line.textOf(source.line.stopReason) ?? null };
  return encoder.succeeded(encoder.wordsOf(chunkRow, 2, said, 20_500_000_000n), source).toString('utf8');
}

describe('an exported row', () => {
  it('has the columns of schema v1 in their order, with null where there is nothing', () => {
    const result = succeeded('Größe “M”');
    const text = encodeSucceeded(JSON.stringify(result));
    expect(text.endsWith('}\n')).toBe(true);
    expect(Object.entries(JSON.parse(text) as object)).toEqual([
      ['run_key', run], ['batch_id', batch], ['id', 'naïve \ud800 id'], ['source_uri', 'in "a".jsonl'], ['source_row', 7], ['status', 'succeeded'],
      ['model', answeredModel], ['stop_reason', 'end_turn'], ['text', 'Größe “M”'], ['reason', null], ['error_type', null], ['error_message', null],
      ['usage', { input_tokens: 16, output_tokens: 5, cache_read_input_tokens: 0, cache_write_input_tokens: 0 }],
      ['cost_usd_estimated', 0.0000205], ['price_version', '2026-11-21'], ['attempt', 2], ['accepted_at', '2026-11-21T01:00:00.000Z'],
      ['submitted_at', '2026-11-21T01:00:00.001Z'], ['ended_at', null], ['request_sha256', 'ab12'], ['metadata', { batch: 'a' }], ['result', result],
    ]);
  });

  it('repeats the result byte for byte', () => {
    const odd = '{"type" : "succeeded","message":{"model":"m\\u0041","usage":{"output_tokens":5,"input_tokens":1.6e1},"x":1.0,"x":2}, "new":[1e400]}';
    expect(encodeSucceeded(odd)).toContain(`"result":${odd}}\n`);
  });

  it('has the text of all text blocks, and no other', () => {
    const content = [{ type: 'text', text: 'one "1"\n' }, { type: 'tool_use', input: { type: 'text', text: 'no' } }, { type: 'text', text: '' }, { type: 'text', text: '2 \u2028😀' }];
    expect(JSON.parse(encodeSucceeded(JSON.stringify(succeeded('', { content }))))).toMatchObject({ text: 'one "1"\n2 \u2028😀' });
  });

  it('tells an answer without text from an empty one', () => {
    const textOf = (content: readonly object[]): unknown => (JSON.parse(encodeSucceeded(JSON.stringify(succeeded('', { content })))) as { text: unknown }).text;
    expect([textOf([{ type: 'tool_use', input: {} }]), textOf([]), textOf([{ type: 'text', text: '' }])]).toEqual([null, null, '']);
  });

  it('holds the concatenated text whatever is in it', () => {
    fc.assert(fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 4 }), (texts) => {
      const content = texts.map((text) => ({ type: 'text', text }));
      const row = JSON.parse(encodeSucceeded(JSON.stringify(succeeded('', { content })))) as { text: string };
      // Halves of a surrogate pair may meet where two blocks join; both sides then read them as one character.
      expect(row.text).toBe(texts.join(''));
    }));
  });

  it('grows with its answer', () => {
    const long = 'ü'.repeat(2_000_000);
    expect(JSON.parse(encodeSucceeded(JSON.stringify(succeeded(long))))).toMatchObject({ text: long });
  });

  it('of a dead letter says why, with a bounded message', () => {
    const long = `${'m'.repeat(errorMessageMax - 2)}😀 and more`;
    const source = sourceOf(JSON.stringify(errored('invalid_request_error', long)));
    const row: unknown = JSON.parse(new RowEncoder(outcome).deadLettered(chunkRow, 1, source, { index: 0, reason: 'invalid_request', errorType: 'invalid_request_error' }).toString('utf8'));
    expect(row).toMatchObject({
      status: 'dead_lettered', reason: 'invalid_request', error_type: 'invalid_request_error', error_message: `${'m'.repeat(errorMessageMax - 2)}…`,
      model: 'claude-haiku-4-5', text: null, usage: null, cost_usd_estimated: null, result: { error: { error: { message: long } } },
    });
  });

  it('of a dead letter without a result has null for it', () => {
    const row: unknown = JSON.parse(new RowEncoder(outcome).deadLettered(chunkRow, 1, undefined, { index: 0, reason: 'result_missing', errorType: null }).toString('utf8'));
    expect(row).toMatchObject({ reason: 'result_missing', error_type: null, error_message: null, result: null });
  });
});

describe('the cost of a topic', () => {
  it('is shared out between the token classes to the last micro-USD', () => {
    fc.assert(fc.property(fc.nat(1e12), fc.array(fc.nat(1e9), { minLength: 1, maxLength: 5 }), (total, weights) => {
      const parts = shareOut(total, weights);
      expect(parts.reduce((a, b) => a + b, 0)).toBe(total);
      if (weights.some((weight) => weight > 0)) expect(parts.every((part, place) => part >= 0 && (part === 0 || weights[place] !== 0))).toBe(true);
    }));
  });

  const parts = (...given: readonly Partial<ModelSpend>[]): readonly ModelSpend[] => given.map((each) => (
    { model: price.model, rate: 'usual', isGeoPinned: false, succeeded: 1, retried: 0, deadLettered: 0, usage: noUsage, microUsd: 0, standardMicroUsd: 0, ...each }
  ));
  const now = { priceVersion: 'v1', rounding: 'part' } as const;

  it('is what the ledger booked for the parts of its chunks, by class, while a row has its exact cost', () => {
    const usage: Usage = { ...noUsage, inputTokens: 3, outputTokens: 1, cacheWriteInputTokens: 3, cacheWrite1hInputTokens: 1 };
    const spend = new TopicSpend('invoices', now);
    const perRow = [1, 2, 3].map(() => spend.add(answeredModel, usage, price, false));
    expect(perRow[0]).toBe(6_250_000_000n); // 1.5 + 2.5 + 1.25 + 1 micro-USD
    // Two chunks, of two rows and of one: 12.5 and 6.25, each rounded up.
    const lines = spend.lines(21, 20, parts({ microUsd: 13 }, { microUsd: 7 }));
    expect(lines.map((line) => [line.token_class, line.tokens])).toEqual([['input', 9], ['output', 3], ['cache_write_5m', 6], ['cache_write_1h', 3]]);
    expect(lines.reduce((sum, line) => sum + line.micro_usd, 0)).toBe(20);
  });

  it('of models that answered under one name of the price table is shared out between them', () => {
    const spend = new TopicSpend('invoices', now);
    for (const model of ['claude-a-1', 'claude-a-2', 'claude-a-2']) spend.add(model, { ...noUsage, outputTokens: 1 }, price, false);
    spend.add('claude-b', { ...noUsage, outputTokens: 1 }, { ...price, model: 'claude-b' }, false);
    const lines = spend.lines(4, 12, parts({ microUsd: 9 }, { model: 'claude-b', microUsd: 3 }));
    expect(lines.map((line) => [line.model, line.micro_usd])).toEqual([['claude-a-1', 3], ['claude-a-2', 6], ['claude-b', 3]]);
  });

  it('shows what was booked without a result as unconfirmed', () => {
    const spend = new TopicSpend('invoices', now);
    spend.add(answeredModel, rowUsage, price, false);
    const lines = spend.lines(521, 1021, parts({ microUsd: 21 }, { rate: 'unconfirmed', microUsd: 1000 }));
    expect(lines.at(-1)).toEqual({ topic: 'invoices', price_version: 'v1', model: '', token_class: 'unconfirmed', tokens: 500, micro_usd: 1000 });
  });

  it('of an outcome of before rows were exact is still the sum of its rounded rows', () => {
    const spend = new TopicSpend('invoices', { priceVersion: 'v1' });
    const perRow = [1, 2].map(() => spend.add(answeredModel, rowUsage, price, false));
    expect(perRow).toEqual([21_000_000_000n, 21_000_000_000n]); // 20.5 micro-USD
    const lines = spend.lines(542, 1042, []);
    expect(lines.map((line) => [line.token_class, line.micro_usd])).toEqual([['input', 16], ['output', 26], ['unconfirmed', 1000]]);
  });

  it('becomes CSV that adds up, quotes what needs it and ends with a newline', () => {
    const line = (model: string, micro_usd: number): CostLine => ({ topic: 'a', model, token_class: 'input', tokens: 1, micro_usd, price_version: 'v1' });
    const lines = mergeCostLines([line('m "x", y', 1_234_567), line('b', 5), line('m "x", y', 1)]);
    expect(costCsv('run', '2026-11-21', lines)).toBe(
      'run_key,dt,topic,model,token_class,tokens,micro_usd,usd,price_version\n' +
      'run,2026-11-21,a,b,input,1,5,0.000005,v1\n' +
      'run,2026-11-21,a,"m ""x"", y",input,2,1234568,1.234568,v1\n',
    );
  });
});

describe('a gzip file', () => {
  let folder: string;
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'plimsoll-gzip-'))));
  afterAll(async () => rm(folder, { recursive: true }));

  it('is one member with no time in it, holds the blocks in order, and is the same every time', async () => {
    const blocks = Array.from({ length: 12 }, (_, place) => Buffer.from(`block ${place} `.repeat(place * 5000 + 1)));
    const files = await Promise.all(['a', 'b'].map(async (name) => {
      const writer = await GzipWriter.create(join(folder, name), 1, besidePress);
      for (const block of blocks) await writer.write(block, block.length);
      return writer.end();
    }));
    const bytes = await readFile(join(folder, 'a'));
    expect(gunzipSync(bytes).equals(Buffer.concat(blocks))).toBe(true);
    expect([...bytes.subarray(0, 10)]).toEqual([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    expect(bytes.readUInt32LE(bytes.length - 4)).toBe(Buffer.concat(blocks).length);
    expect(files[0]).toMatchObject({ sizeBytes: bytes.length, sha256: files[1]?.sha256 });
  });

  it('may be empty', async () => {
    const writer = await GzipWriter.create(join(folder, 'empty'), 1, besidePress);
    const { path } = await writer.end();
    expect(gunzipSync(await readFile(path))).toHaveLength(0);
  });
});

describe('an event', () => {
  it('leaves in a CloudEvents envelope that is the same whenever it is built', () => {
    expect(cloudEvent({ sequence: 42, id: 'run:a:completed', type: 'run.completed', subject: 'a', timeMs: openedAtMs, data: { manifest_uri: 'file:///m' } }, 'prod')).toEqual({
      specversion: '1.0', id: 'run:a:completed', source: 'urn:plimsoll:prod', type: 'dev.plimsoll.run.completed.v1', subject: 'a',
      time: '2026-11-21T01:00:00.000Z', datacontenttype: 'application/json', sequence: '0000000000000042', data: { manifest_uri: 'file:///m' },
    });
  });
});

describe('the document of a run', () => {
  const record: RunRecord = {
    run, state: 'open', tag: 't', dt: '2026-11-21', openedAtMs, completedAtMs: undefined, source: 'in.jsonl', cutSha256: '', checkpoint: { bytes: 0, rows: 0, sha256: '' },
    accepted: 10, rejected: 1, succeeded: 8, deadLettered: 2, notSampled: 0, retried: 0, chunks: 2, chunksOpen: 2, chunksHeld: 0, rowsQueued: 0, rowsHeld: 0, archivesInDoubt: 0, batches: 1,
    usage: { inputTokens: 1, outputTokens: 2, cacheReadInputTokens: 3, cacheWriteInputTokens: 4, cacheWrite1hInputTokens: 4 }, microUsd: 1_500_000, standardMicroUsd: 3_000_000, result: undefined,
  };
  it.each([
    ['running', {}], ['running', { chunksHeld: 1 }], ['held', { chunksHeld: 2 }], ['running', { state: 'ingesting', chunksHeld: 2 }], ['in_doubt', { archivesInDoubt: 1, chunksHeld: 2 }],
    ['partial', { state: 'complete', result: 'partial' }], ['succeeded', { state: 'complete', result: 'succeeded' }],
  ] as const)('says %s of %o', (status, over) => {
    expect(runDocument({ ...record, ...over }, 'file:///lake').status).toBe(status);
  });

  it('says held of a run whose queued work waits for an operator, unless it has ended', () => {
    expect(runDocument(record, 'file:///lake', 'held').status).toBe('held');
    expect(runDocument({ ...record, state: 'complete', result: 'partial' }, 'file:///lake', 'held').status).toBe('partial');
  });

  it('has the keys that scripts rely on, and a manifest when there is one', () => {
    expect(runDocument({ ...record, state: 'complete', result: 'partial' }, 'file:///lake')).toEqual({
      run_key: run, status: 'partial', counts: { accepted: 10, rejected: 1, succeeded: 8, dead_lettered: 2, not_sampled: 0 }, batches: 1,
      usage: { input_tokens: 1, output_tokens: 2, cache_read_input_tokens: 3, cache_write_input_tokens: 4 }, cost_usd: 1.5, standard_cost_usd: 3,
      lake: 'file:///lake', manifest: `file:///lake/runs/dt=2026-11-21/${run}/manifest.json`,
    });
    expect(runDocument(record, 'file:///lake').manifest).toBeNull();
  });
});
