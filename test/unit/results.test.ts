import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CustomIdReader } from '../../segments/custom-id.ts';
import { archiveId, customId } from '../../segments/pack.ts';
import { ResultLine, resultKinds, type ResultKind } from '../../segments/result-line.ts';
import { errorVerdict, type ResultCounts } from '../../segments/result-index.ts';
import { checkResults, faultsListedMax, type ResultsCheck } from '../../segments/results.ts';
import { answeredModel, errored, must, succeeded } from '../flow/exporter-fixture.ts';

const archive = archiveId('7f3a91c2ab', 12);
const shaOf = (index: number): string => createHash('sha256').update(`prompt ${index}`).digest('hex');
const lineOf = (index: number, result: object): string => JSON.stringify({ custom_id: customId(archive, index, shaOf(index)), result });
const five = [succeeded('zero'), errored('invalid_request_error', 'bad'), { type: 'canceled' }, { type: 'expired' }, succeeded('fóur')];
const fiveCounts: ResultCounts = { succeeded: 2, errored: 1, canceled: 1, expired: 1 };
const linesOf = (results: readonly object[]): string[] => results.map((result, index) => lineOf(index, result));
const joined = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

async function check(content: string | Buffer, options: { rows?: number; counts?: ResultCounts; blockBytes?: number } = {}): Promise<ResultsCheck> {
  const bytes = Buffer.from(content);
  const size = options.blockBytes ?? 1 << 20;
  async function* blocks(): AsyncIterable<Buffer> {
    for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size);
  }
  return checkResults(blocks(), { archive, rows: options.rows ?? 5, shaOf }, options.counts);
}

describe('a line that was read before', () => {
  it('is read the same without a look at every byte, whatever its strings hold', () => {
    fc.assert(fc.property(fc.array(fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('\\', '"', '\\"', '\n', '\u2028', 'a'.repeat(70), 'é'.repeat(40))), { maxLength: 12 }), fc.nat(9), (parts, shift) => {
      const line = `${' '.repeat(shift)}${lineOf(3, succeeded(parts.join(''), { id: parts.slice(0, 3).join('x'), stop_reason: parts[0] ?? null }))}`;
      const bytes = Buffer.from(`${line}\n`);
      const [full, known] = [new ResultLine(), new ResultLine()];
      const to = bytes.length - 1;
      expect([full.read(bytes, 0, to, false), known.read(bytes, 0, to, true, true)]).toEqual([true, true]);
      expect(known.texts).toEqual(full.texts);
      expect([known.result.from, known.result.to]).toEqual([full.result.from, full.result.to]);
      expect(known.usage()).toEqual(full.usage());
      for (const name of ['model', 'stopReason', 'customId'] as const) expect(known.textOf(known[name])).toBe(full.textOf(full[name]));
    }), { seed: 5, numRuns: 2_000 });
  });
});

describe('a set of results', () => {
  it('is complete when every row has one result, whatever the order and the blocks', async () => {
    const lines = linesOf(five);
    const content = joined([4, 2, 0, 3, 1].map((index) => must(lines[index])));
    for (const blockBytes of [1, 7, 64, 1 << 20]) {
      const found = await check(content, { counts: fiveCounts, blockBytes });
      expect(found).toMatchObject({ isComplete: true, faults: [], counts: fiveCounts, sizeBytes: Buffer.byteLength(content) });
      expect(found.sha256).toBe(createHash('sha256').update(content).digest('hex'));
      for (const [index, line] of lines.entries()) {
        const from = found.index.offsetOf(index);
        expect(Buffer.from(content).toString('utf8', from, from + found.index.lengthOf(index))).toBe(line);
      }
    }
  });

  it('says of each row what the provider said', async () => {
    const usage = { input_tokens: 1, output_tokens: 2, cache_read_input_tokens: 3, cache_creation_input_tokens: 9, cache_creation: { ephemeral_5m_input_tokens: 4, ephemeral_1h_input_tokens: 5 } };
    const { index } = await check(joined(linesOf([succeeded('a', { usage, stop_reason: 'refusal' }), ...five.slice(1)])));
    expect([0, 1, 2, 3].map((row) => index.verdictOf(row))).toEqual([
      { kind: 'succeeded', model: answeredModel, usage: { inputTokens: 1, outputTokens: 2, cacheReadInputTokens: 3, cacheWriteInputTokens: 9, cacheWrite1hInputTokens: 5 } },
      { kind: 'dead', reason: 'invalid_request', errorType: 'invalid_request_error' },
      { kind: 'dead', reason: 'canceled_externally', errorType: undefined },
      { kind: 'retryable', cause: 'expired', errorType: undefined },
    ]);
  });

  it('counts cache writes by their kinds when the sum is null', async () => {
    const usage = { input_tokens: 1, output_tokens: 2, cache_read_input_tokens: null, cache_creation_input_tokens: null, cache_creation: { ephemeral_5m_input_tokens: 4, ephemeral_1h_input_tokens: 5 } };
    const { index } = await check(joined([lineOf(0, succeeded('a', { usage }))]), { rows: 1 });
    expect(index.verdictOf(0)).toMatchObject({ usage: { cacheReadInputTokens: 0, cacheWriteInputTokens: 9, cacheWrite1hInputTokens: 5 } });
  });

  it('may end its lines with CRLF', async () => {
    const lines = linesOf(five);
    const found = await check(lines.map((line) => `${line}\r\n`).join(''), { counts: fiveCounts });
    expect(found.isComplete).toBe(true);
    expect(found.index.lengthOf(0)).toBe(Buffer.byteLength(must(lines[0])));
  });

  it('keeps one of two identical lines and notes the other', async () => {
    const lines = linesOf(five);
    const found = await check(joined([...lines, must(lines[0])]), { counts: fiveCounts });
    expect(found).toMatchObject({ isComplete: true, faults: [{ code: 'row_duplicate', line: 6, index: 0 }], counts: fiveCounts });
  });

  const other = customId(archiveId('7f3a91c2ab', 13), 0, shaOf(0));
  const faults: readonly [string, string, object][] = [
    ['has no final newline', joined(linesOf(five)).slice(0, -1), { code: 'no_final_newline', line: 5 }],
    ['was cut inside a line', joined(linesOf(five)).slice(0, -40), { code: 'no_final_newline', line: 5 }],
    ['lacks a row', joined(linesOf(five).slice(1)), { code: 'row_missing', index: 0 }],
    ['is empty', '', { code: 'row_missing', index: 0 }],
    ['holds a line that is not JSON', joined([...linesOf(five).slice(1), '{"custom_id":']), { code: 'line_unparseable', line: 5 }],
    ['holds an empty line', joined([...linesOf(five), '']), { code: 'line_unparseable', line: 6 }],
    ['begins with a byte order mark', `\ufeff${joined(linesOf(five))}`, { code: 'line_unparseable', line: 1 }],
    ['holds an unknown kind', joined([...linesOf(five).slice(1), lineOf(0, { type: 'paused' })]), { code: 'line_unparseable', line: 5 }],
    ['holds a succeeded row without usage', joined([...linesOf(five).slice(1), lineOf(0, succeeded('a', { usage: null }))]), { code: 'line_unparseable', line: 5 }],
    ['contradicts itself', joined([...linesOf(five), lineOf(0, succeeded('ZERO'))]), { code: 'row_conflict', line: 6, index: 0 }],
    ['holds a row of another archive', joined([...linesOf(five), JSON.stringify({ custom_id: other, result: five[2] })]), { code: 'row_foreign', line: 6 }],
    ['holds a row beyond the archive', joined([...linesOf(five), lineOf(5, must(five[2]))]), { code: 'row_foreign', line: 6 }],
    ['holds an id that is none of ours', joined([...linesOf(five), '{"custom_id":"doc-1","result":{"type":"expired"}}']), { code: 'row_foreign', line: 6 }],
    ['answers another prompt', joined([...linesOf(five).slice(1), JSON.stringify({ custom_id: customId(archive, 0, shaOf(7)), result: five[0] })]), { code: 'check_mismatch', line: 5, index: 0 }],
  ];
  it.each(faults)('is not complete when it %s', async (_, content, fault) => {
    const found = await check(content, { counts: fiveCounts });
    expect(found.isComplete).toBe(false);
    expect(found.faults).toContainEqual(expect.objectContaining(fault));
  });

  it('is not complete when the provider counts differently', async () => {
    const found = await check(joined(linesOf(five)), { counts: { ...fiveCounts, errored: 0, expired: 2 } });
    expect(found).toMatchObject({ isComplete: false, faults: [{ code: 'counts_differ' }] });
  });

  it('believes neither of two lines that contradict each other', async () => {
    const { index, counts } = await check(joined([...linesOf(five), lineOf(0, succeeded('ZERO'))]));
    expect([index.verdictOf(0), index.lengthOf(0), counts.succeeded]).toEqual([{ kind: 'dead', reason: 'result_conflict', errorType: undefined }, 0, 1]);
  });

  it('lists a bounded number of faults and counts them all', async () => {
    const found = await check('x\n'.repeat(1000), { rows: 1 });
    expect(found.faults).toHaveLength(faultsListedMax);
    expect(found.faultCounts).toMatchObject({ line_unparseable: 1000, row_missing: 1 });
  });

  it('drops a line that never ends instead of holding it', async () => {
    const block = Buffer.alloc(1 << 20, 0x20);
    async function* blocks(): AsyncIterable<Buffer> {
      for (let i = 0; i < 70; i++) yield block;
      yield Buffer.from(`\n${joined(linesOf(five))}`);
    }
    const found = await checkResults(blocks(), { archive, rows: 5, shaOf });
    expect(found.faults).toEqual([{ code: 'line_too_long', line: 1, index: undefined }]);
    expect(found.index.offsetOf(0)).toBe(70 * (1 << 20) + 1);
  });

  it('reads a line of 8 MB that comes in small blocks', async () => {
    const found = await check(joined([lineOf(0, succeeded('long '.repeat(1_600_000)))]), { rows: 1, blockBytes: 4096 });
    expect(found.isComplete).toBe(true);
  });
});

describe('an errored row', () => {
  it.each([
    ['invalid_request_error', 'dead', 'invalid_request'], ['not_found_error', 'dead', 'invalid_request'], ['request_too_large', 'dead', 'invalid_request'],
    ['authentication_error', 'retryable', 'account_fault'], ['permission_error', 'retryable', 'account_fault'], ['billing_error', 'retryable', 'account_fault'],
    ['rate_limit_error', 'retryable', 'provider_fault'], ['overloaded_error', 'retryable', 'provider_fault'], ['api_error', 'retryable', 'provider_fault'],
    ['timeout_error', 'retryable', 'provider_fault'], ['something_new', 'retryable', 'provider_fault'],
  ])('of type %s is %s: %s', (type, kind, why) => {
    expect(errorVerdict(type)).toEqual(kind === 'dead' ? { kind, reason: why, errorType: type } : { kind, cause: why, errorType: type });
  });
});

describe('the reader of a custom_id', () => {
  it('takes exactly the ids that are made for the archive, the row and its prompt', () => {
    const reader = new CustomIdReader(archive);
    fc.assert(fc.property(fc.nat(99_999), fc.nat(3), fc.nat(30), fc.constantFrom(...'0az_-9'), (index, prompt, place, character) => {
      const id = customId(archive, index, shaOf(prompt));
      const bytes = Buffer.from(`xx${id}"`);
      expect([reader.indexOf(bytes, 2, bytes.length - 1), reader.matches(bytes, 2, index, shaOf(prompt))]).toEqual([index, true]);
      expect(reader.matches(bytes, 2, index, shaOf(prompt + 1))).toBe(false);
      const forged = Buffer.from(`xx${id.slice(0, place)}${character}${id.slice(place + 1)}"`);
      const found = reader.indexOf(forged, 2, forged.length - 1);
      expect(found >= 0 && reader.matches(forged, 2, found, shaOf(prompt))).toBe(forged.equals(bytes));
    }));
  });
});

/** What a reader that parses everything sees; undefined: not a result. */
function oracle(line: Buffer): object | undefined {
  if (!isUtf8(line)) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(line.toString('utf8').replace(/\n$/, ''));
  } catch {
    return undefined;
  }
  const top = objectOf(parsed);
  const result = objectOf(top?.['result']);
  const kind = resultKinds.find((candidate) => candidate === result?.['type']);
  if (!top || !result || !kind || typeof top['custom_id'] !== 'string') return undefined;
  const message = objectOf(result['message']);
  const usage = objectOf(message?.['usage']);
  const error = objectOf(objectOf(result['error'])?.['error']);
  const split = objectOf(usage?.['cache_creation']);
  const write5m = count(split?.['ephemeral_5m_input_tokens'], 0);
  const write1h = count(split?.['ephemeral_1h_input_tokens'], 0);
  const tokens = [count(usage?.['input_tokens'], NaN), count(usage?.['output_tokens'], NaN), count(usage?.['cache_read_input_tokens'], 0),
    Math.max(count(usage?.['cache_creation_input_tokens'], 0), write5m + write1h), write1h];
  const isCounted = [...tokens, write5m].every((value) => Number.isInteger(value) && value >= 0 && value <= 0xffffffff);
  if (kind === 'succeeded' && (typeof message?.['model'] !== 'string' || !isCounted)) return undefined;
  const content = Array.isArray(message?.['content']) ? message['content'].map(objectOf) : [];
  return {
    kind, customId: top['custom_id'], result, model: textOf(message?.['model']), stopReason: textOf(message?.['stop_reason']),
    errorType: textOf(error?.['type']), errorMessage: textOf(error?.['message']), tokens: kind === 'succeeded' ? tokens : [],
    texts: content.filter((block) => block?.['type'] === 'text' && typeof block['text'] === 'string').map((block) => block?.['text']),
  };
}

function objectOf(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
}
function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
function count(value: unknown, absent: number): number {
  return typeof value === 'number' ? value : value === null || value === undefined ? absent : NaN;
}

/** What the reader under test sees. The line lies at some odd place of a larger buffer, as lines of a block do. */
function seen(line: Buffer, shift: number): object | undefined {
  const bytes = Buffer.concat([Buffer.alloc(shift, 0x7b), line, Buffer.from('\n{"x":1}\n')]);
  const reader = new ResultLine();
  if (!reader.read(bytes, shift, shift + line.length, false)) return undefined;
  const texts: string[] = [];
  for (let i = 0; i < reader.texts.length; i += 2) {
    texts.push(JSON.parse(bytes.toString('utf8', must(reader.texts[i]) - 1, must(reader.texts[i + 1]) + 1)) as string);
  }
  const { inputTokens, outputTokens, cacheReadInputTokens, cacheWriteInputTokens, cacheWrite1hInputTokens } = reader;
  const kind: ResultKind = reader.kind;
  return {
    kind, customId: reader.textOf(reader.customId), result: JSON.parse(bytes.toString('utf8', reader.result.from, reader.result.to)) as object,
    model: reader.textOf(reader.model), stopReason: reader.textOf(reader.stopReason),
    errorType: reader.textOf(reader.errorType), errorMessage: reader.textOf(reader.errorMessage),
    tokens: kind === 'succeeded' ? [inputTokens, outputTokens, cacheReadInputTokens, cacheWriteInputTokens, cacheWrite1hInputTokens] : [], texts,
  };
}

const bait = ['"usage":{"input_tokens":999}', '"result":{"type":"expired"}', '\\"', '\\', '"}}}', '\n', '\u0000', '“”', '😀', '\ud83d', '{', 'text'];
const nastyText = fc.array(fc.oneof(fc.constantFrom(...bait), fc.string({ unit: 'binary', maxLength: 12 })), { maxLength: 12 }).map((parts) => parts.join(''));
const knownKey = fc.constantFrom('custom_id', 'result', 'type', 'message', 'error', 'model', 'content', 'stop_reason', 'usage', 'text', 'input_tokens', 'output_tokens', 'cache_creation', 'ephemeral_1h_input_tokens', '__proto__');
const anything = fc.jsonValue({ maxDepth: 3 });
const confusing = fc.dictionary(knownKey, fc.oneof(anything, fc.constantFrom('text', 'succeeded', 'expired', 7)), { maxKeys: 5 });
const block = fc.oneof(
  nastyText.map((text) => ({ type: 'text', text })),
  confusing.map((input) => ({ type: 'tool_use', id: 'toolu_1', name: 'usage', input })),
  confusing, anything,
);
const tokens = fc.oneof(fc.nat(), fc.constantFrom(null, 0, -1, 1.5, 4294967295, 4294967296, 1e300, '7'));
const usage = fc.record({ input_tokens: tokens, output_tokens: tokens, cache_read_input_tokens: tokens, cache_creation_input_tokens: tokens, cache_creation: fc.oneof(confusing, fc.constant(null)) }, { requiredKeys: [] });
const message = fc.record({ model: fc.oneof(fc.constant(answeredModel), nastyText, fc.constant(3)), usage: fc.oneof(usage, usage, anything), content: fc.oneof(fc.array(block, { maxLength: 3 }), anything), stop_reason: fc.oneof(nastyText, fc.constant(null)) }, { requiredKeys: ['model'] });
const result = fc.oneof(
  message.map((value) => ({ type: 'succeeded', message: value })),
  nastyText.map((text) => succeeded(text)),
  fc.tuple(nastyText, nastyText).map(([type, text]) => errored(type, text)),
  fc.constantFrom({ type: 'canceled' }, { type: 'expired' }), confusing,
);
const line = fc.tuple(nastyText, result, confusing).map(([id, value, extra]) => ({ ...extra, custom_id: id, result: value }));

describe('the reader of a result line', () => {
  it('sees what JSON.parse sees, however the answer tries to look like structure', () => {
    fc.assert(fc.property(line, fc.nat(7), fc.constantFrom(undefined, ' ', '\t'), (value, shift, indent) => {
      const bytes = Buffer.from(JSON.stringify(value, undefined, indent).replaceAll('\n', ' '));
      expect(seen(bytes, shift)).toEqual(oracle(bytes));
    }), { numRuns: 3000 });
  });

  it('agrees with JSON.parse about what is JSON, byte by byte', () => {
    const edit = fc.tuple(fc.nat(), fc.nat(2), fc.oneof(fc.constantFrom(...Buffer.from('"\\{}[],: 01eE+-.tfn\r\tu')), fc.nat(255).filter((byte) => byte !== 0x0a)));
    fc.assert(fc.property(line, fc.array(edit, { minLength: 1, maxLength: 3 }), fc.nat(7), (value, edits, shift) => {
      let bytes = Buffer.from(JSON.stringify(value));
      for (const [place, removed, byte] of edits) {
        const at = place % bytes.length;
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([byte]), bytes.subarray(at + removed)]);
      }
      expect(seen(bytes, shift)).toEqual(oracle(bytes));
    }), { numRuns: 5000 });
  });

  it('agrees about what stands anywhere in a long string', () => {
    const pieces = fc.array(fc.constantFrom('\\n', '\\"', '\\\\', '\\u00e9', '\\u00g9', '\\x', '\t', '\r', '"', 'é', '\u0001', '\\'), { maxLength: 3 });
    // Around the length from which strings are searched, and the one that is searched at once.
    const lengths = fc.array(fc.oneof(fc.integer({ min: 50, max: 90 }), fc.integer({ min: 32_600, max: 32_900 })), { minLength: 1, maxLength: 4 });
    fc.assert(fc.property(lengths, pieces, fc.nat(7), (plain, between, shift) => {
      const text = plain.map((length, place) => 'a'.repeat(length) + (between[place] ?? '')).join('');
      const bytes = Buffer.from(`{"custom_id":"a","x":"${text}","result":{"type":"expired"},"y":"${text}"}`);
      expect(seen(bytes, shift)).toEqual(oracle(bytes));
    }), { seed: 11, numRuns: 1_000 });
  });

  it.each([
    ['the last of two equal keys', '{"custom_id":"a","custom_id":"b","result":{"type":"expired","type":"canceled"},"result":{"type":"succeeded","message":{"model":"m","usage":{"input_tokens":1,"output_tokens":2}},"message":{"model":"n","usage":{"input_tokens":3,"output_tokens":4,"output_tokens":5}}}}'],
    ['keys that are written with escapes', '{"custom\\u005fid":"a","res\\u0075lt":{"\\u0074ype":"expired"}}'],
    ['a second message that is null', '{"custom_id":"a","result":{"type":"succeeded","message":{"model":"m","usage":{"input_tokens":1,"output_tokens":2}},"message":null}}'],
    ['numbers in every form', '{"custom_id":"a","result":{"type":"succeeded","message":{"model":"m","usage":{"input_tokens":1e2,"output_tokens":2.0,"cache_read_input_tokens":-0}}}}'],
    ['a number with a leading zero', '{"custom_id":"a","n":01,"result":{"type":"expired"}}'],
    ['a depth of 10,000', `{"custom_id":"a","x":${'['.repeat(10_000)}${']'.repeat(10_000)},"result":{"type":"expired"}}`],
    ['brackets that do not match', '{"custom_id":"a","x":[{"y":1]},"result":{"type":"expired"}}'],
    ['two values', '{"custom_id":"a","result":{"type":"expired"}} {}'],
  ])('agrees about %s', (_, text) => {
    const bytes = Buffer.from(text);
    expect(seen(bytes, 1)).toEqual(oracle(bytes));
  });
});
