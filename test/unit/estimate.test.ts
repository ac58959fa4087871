/** The bound that strict budgets reserve: it must hold for every text, and say so when it cannot. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { priceTable } from '../../config/models.ts';
import { estimateParams, overheads } from '../../segments/estimate.ts';
import type { Estimation } from '../../segments/estimate.ts';
import { isPlain, normalizedBytesMax } from '../../segments/normalization.ts';
import type { Estimate } from '../../segments/segment.ts';

const table = priceTable();
const haiku45 = table.find('claude-haiku-4-5');
const haiku55 = table.find('claude-haiku-5-5');
if (!haiku45 || !haiku55) throw new Error('the price table has lost its Haiku models');

function estimation(params: Record<string, unknown>, model = haiku45, json: Buffer = Buffer.from(JSON.stringify(params))): Estimation {
  if (!model) throw new Error('no model');
  return estimateParams({ json, params, outputTokensMax: 100, hasEscapes: json.includes('\\u') }, model);
}

function estimate(params: Record<string, unknown>, model = haiku45, json?: Buffer): Estimate {
  const found = estimation(params, model, json);
  if (found.kind === 'unbounded') throw new Error(`unbounded: ${found.what}`);
  return found.estimate;
}

function request(content: unknown, extra: Record<string, unknown> = {}): Record<string, unknown> {
  return { model: 'claude-haiku-4-5', max_tokens: 100, messages: [{ role: 'user', content }], ...extra };
}

const nfkcBytes = (text: string): number => Buffer.byteLength(text.normalize('NFKC'));
/** Text from all of Unicode, weighted towards what normalisation changes, and towards ASCII with escapes. */
const changing = fc.constantFrom('\ufdfa', '½', 'ǆ', 'à\u0323', '가', 'ᄀ', 'ᅡ', '\u0344', '…', 'é', '"', '\\', '\n', '😀');
const anyCharacter = fc.string({ unit: 'binary', minLength: 1, maxLength: 1 });
const anyText = fc
  .string({ unit: fc.oneof(changing, anyCharacter), maxLength: 60 })
  .filter((text) => !/\p{Surrogate}/u.test(text));

describe('the bound of input tokens', () => {
  test('is at least the bytes of every text and of its NFKC form, plus the overheads', () => {
    fc.assert(
      fc.property(anyText, anyText, (user, system) => {
        const { inputTokensMax } = estimate(request(user, { system }));
        const floor = overheads.perRequest + overheads.perMessage;
        expect(inputTokensMax).toBeGreaterThanOrEqual(Buffer.byteLength(user + system) + floor);
        expect(inputTokensMax).toBeGreaterThanOrEqual(nfkcBytes(user) + nfkcBytes(system) + floor);
      }),
      { numRuns: 2_000 },
    );
  });

  test('is the same or higher when characters hide behind escapes', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const params = request(text);
        const escaped = JSON.stringify(params).replaceAll(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
        expect(JSON.parse(escaped)).toEqual(params);
        expect(estimate(params, haiku45, Buffer.from(escaped)).inputTokensMax).toBeGreaterThanOrEqual(nfkcBytes(text) + overheads.perRequest + overheads.perMessage);
      }),
      { numRuns: 1_000 },
    );
  });

  test('for plain ASCII is the bytes of the JSON plus the overheads', () => {
    const params = request('Hello');
    expect(estimate(params).inputTokensMax).toBe(JSON.stringify(params).length + overheads.perRequest + overheads.perMessage);
  });

  test('counts an image as its highest price and leaves its base64 data out', () => {
    const data = 'A'.repeat(400_000);
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data } };
    const nested = { type: 'tool_result', tool_use_id: 'x', content: [image, { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } }] };
    const bytes = JSON.stringify(request([image, nested])).length - 2 * data.length;
    expect(estimate(request([image, nested])).inputTokensMax).toBe(bytes + overheads.perRequest + overheads.perMessage + 3 * overheads.perImage);
  });

  test.each([
    ['a PDF', { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'AAAA' } }],
    ['a document behind a URL', { type: 'document', source: { type: 'url', url: 'https://example.com/a.pdf' } }],
    ['a file', { type: 'document', source: { type: 'file', file_id: 'file_1' } }],
    ['a block of a kind that is not known', { type: 'hologram' }],
  ])('of %s is the context window, because an answer needs the input to fit in there', (_name, block) => {
    expect(estimate(request([block])).inputTokensMax).toBe(200_000);
  });

  test('never exceeds the context window of the model', () => {
    expect(estimate(request('x'.repeat(900_000))).inputTokensMax).toBe(200_000);
    expect(estimate(request('x'.repeat(900_000)), haiku55).inputTokensMax).toBeGreaterThan(900_000);
  });

  test('counts the text of a plain text document as text', () => {
    const block = { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'Some text' } };
    expect(estimate(request([block])).inputTokensMax).toBe(JSON.stringify(request([block])).length + overheads.perRequest + overheads.perMessage);
  });

  test('counts the digits that exponents in tools, their inputs and schemas stand for', () => {
    const amounts = Array.from({ length: 200 }, () => 1e20);
    const use = [{ type: 'tool_use', id: 'toolu_1', name: 'book', input: { amounts } }];
    const tools = [{ name: 'book', input_schema: { type: 'object', properties: { amount: { enum: amounts } } } }];
    for (const params of [request('Hi', { tools }), request(use), request('Hi', { output_config: { format: { type: 'json_schema', schema: { enum: amounts } } } })]) {
      const written = JSON.stringify(params);
      const terse = Buffer.from(written.replaceAll('100000000000000000000', '1e20'));
      expect(terse.length).toBeLessThan(written.length - 3_000);
      expect(estimate(params, haiku45, terse).inputTokensMax).toBeGreaterThanOrEqual(written.length);
    }
  });

  test('counts hidden tool prompts and the instruction for structured output', () => {
    const plain = estimate(request('Hi')).inputTokensMax;
    const tools = [{ name: 'a', input_schema: {} }, { type: 'bash_20250124', name: 'bash' }];
    const withTools = estimate(request('Hi', { tools })).inputTokensMax;
    expect(withTools - plain).toBe(`,"tools":${JSON.stringify(tools)}`.length + overheads.toolPrompt + overheads.bashTool);
    const format = { output_config: { format: { type: 'json_schema', schema: {} } } };
    expect(estimate(request('Hi', format)).inputTokensMax - plain).toBeGreaterThan(overheads.outputFormat);
  });

  test.each([
    ['a web search', { tools: [{ type: 'web_search_20260318', name: 'web_search' }] }],
    ['a tool that nobody knows', { tools: [{ type: 'oracle_20270101', name: 'oracle' }] }],
    ['an MCP server', { mcp_servers: [{ type: 'url', url: 'https://example.com', name: 'x' }] }],
    ['a container', { container: 'container_1' }],
    ['compaction', { context_management: { edits: [{ type: 'compact_20260112' }] } }],
  ])('of %s does not exist', (_name, extra) => {
    expect(estimation(request('Hi', extra)).kind).toBe('unbounded');
  });

  test('exists when the list of MCP servers is empty and context edits only clear', () => {
    expect(estimation(request('Hi', { mcp_servers: [], context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] } })).kind).toBe('estimated');
  });
});

describe('the bound of the cost', () => {
  test('uses the input rate, or the dearest cache write as soon as a marker stands anywhere', () => {
    const plain = estimate(request('Hi'));
    expect(plain.microUsdMax).toBe(Math.ceil(plain.inputTokensMax * 0.5 + 100 * 2.5));
    const marker = { cache_control: { type: 'ephemeral' } };
    for (const params of [
      request('Hi', marker),
      request([{ type: 'text', text: 'Hi', ...marker }]),
      request('Hi', { system: [{ type: 'text', text: 'Be brief', ...marker }] }),
      request('Hi', { tools: [{ name: 'a', input_schema: {}, ...marker }] }),
      request([{ type: 'tool_result', tool_use_id: 'x', content: [{ type: 'text', text: 'Hi', ...marker }] }]),
    ]) {
      const cached = estimate(params);
      expect(cached.microUsdMax).toBe(Math.ceil(cached.inputTokensMax * 1 + 100 * 2.5));
    }
  });

  test('uses the long-context rates as soon as the bound passes the step', () => {
    const below = estimate(request('x'.repeat(99_000)), haiku55);
    const above = estimate(request('x'.repeat(101_000)), haiku55);
    expect(below.microUsdMax).toBe(Math.ceil(below.inputTokensMax * 0.05 + 100 * 0.25));
    expect(above.microUsdMax).toBe(Math.ceil(above.inputTokensMax * 0.25 + 100 * 1.25));
  });

  test('has the geography factor when a geography is named', () => {
    const pinned = estimation(request('Hi', { inference_geo: 'us' }), haiku55);
    expect(pinned).toMatchObject({ kind: 'estimated', isGeoPinned: true });
    expect(estimation(request('Hi', { inference_geo: 'global' }), haiku55)).toMatchObject({ isGeoPinned: false });
  });
});

test('the expectation lies below the bound and is higher for the newer tokenizer', () => {
  const params = request('A sentence of ordinary prose. '.repeat(40));
  const previous = estimate(params, haiku45);
  const newer = estimate(params, haiku55);
  expect(previous.inputTokensExpected).toBeLessThan(newer.inputTokensExpected);
  expect(newer.inputTokensExpected).toBeLessThan(newer.inputTokensMax);
});

describe('the look at characters that normalisation may lengthen', () => {
  test('calls no character plain that grows, or whose decomposition begins with a mark', () => {
    const wrong: string[] = [];
    for (let point = 0; point < 0x110000; point += 1) {
      if (point >= 0xd800 && point <= 0xdfff) continue;
      const text = String.fromCodePoint(point);
      const grows = nfkcBytes(text) > Buffer.byteLength(text) || /^\p{M}/u.test(text.normalize('NFKD'));
      if (grows && isPlain(Buffer.from(text))) wrong.push(point.toString(16));
    }
    expect(wrong).toEqual([]);
  });

  test('calls the characters of ordinary text plain, so that it is not normalised', () => {
    for (const text of ['naïve “quoted” — text…', 'Привет', '日本語の文章', '한국어', 'Ελληνικά', '😀🎉', 'ﬁne ｗｉｄｅ', '10 €']) {
      expect([text, isPlain(Buffer.from(text.normalize('NFC').replace('́', '')))]).toEqual([text, true]);
    }
  });

  test('finds a character that grows wherever it stands, also at the border of two windows', () => {
    for (const at of [0, 1, 2, 3, 65_533, 65_534, 65_535, 65_536, 131_071]) {
      const text = `${'x'.repeat(at)}\ufdfa${'é'.repeat(10)}`;
      expect(normalizedBytesMax(Buffer.from(text))).toBe(nfkcBytes(text));
    }
  });

  test('gives the longer of both forms for any text', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(normalizedBytesMax(Buffer.from(text))).toBeGreaterThanOrEqual(Math.max(Buffer.byteLength(text), nfkcBytes(text)));
      }),
      { numRuns: 5_000 },
    );
  });
});
