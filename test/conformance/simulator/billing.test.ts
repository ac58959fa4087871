import { describe, expect, it } from 'vitest';
import { costPicoUsd, findModel } from '../../../local/simulator/models.ts';
import { MODELS } from '../../../local/simulator/modeltable.ts';
import { pictureTokens } from '../../../local/simulator/media.ts';
import { at, batchBody, create, finish, params, png, rig, rowFor, START_MS, type Json, type Rig } from './rig.ts';

/** claude-batches.md 3, 4 and 5: tokens, prices, caching, and the bill in the truth log. */

const count = async (on: Rig, extra: Json): Promise<number> => {
  const { max_tokens: _most, ...body } = params(extra);
  return Number((await on.call('POST', '/v1/messages/count_tokens', body)).json.input_tokens);
};
const user = (content: unknown): Json => ({ messages: [{ role: 'user', content }] });
const usage = (row: Json | undefined, field: string): number => Number(at(row, `result.message.usage.${field}`));

describe('tokens', () => {
  it('counts the documented example as 14 on Opus 5', async () => {
    expect(await count(await rig(), { model: 'claude-opus-5', system: 'You are a scientist', ...user('Hello, Claude') })).toBe(14);
  });

  it('counts "Hello, world" as 10 or 11', async () => {
    expect([10, 11]).toContain(await count(await rig(), { model: 'claude-opus-5', ...user('Hello, world') }));
  });

  it('needs about 30 % more with the newer tokenizer', async () => {
    const on = await rig();
    const text = 'The quick brown fox jumps over the lazy dog. '.repeat(200);
    expect((await count(on, { model: 'claude-opus-5', ...user(text) })) / (await count(on, user(text)))).toBeCloseTo(1.3, 1);
  });

  it('equals the bill of the same prompt, in a batch and in Messages', async () => {
    const on = await rig();
    const extra = { system: 'Be brief.', tools: [{ name: 't', description: 'Looks something up.', input_schema: { type: 'object' } }], ...user('Find the harbour.') };
    const counted = await count(on, extra);
    expect(usage(await rowFor(on, params(extra)), 'input_tokens')).toBe(counted);
    expect(at((await on.call('POST', '/v1/messages', params(extra))).json, 'usage.input_tokens')).toBe(counted);
  });

  it('can be off by a set share, as an estimate is', async () => {
    const text = user('word '.repeat(5_000));
    const exact = await count(await rig(), text);
    const off = await count(await rig({ countError: 0.1 }), text);
    expect(off).not.toBe(exact);
    expect(Math.abs(off - exact)).toBeLessThanOrEqual(exact * 0.1 + 1);
  });

  it('never exceeds the bytes of the text plus the overhead', async () => {
    const on = await rig({ billing: 'plausible' });
    for (const text of ['a', '!?!?!?!?', '1 2 3 4 5', '漢字仮名', '😀😀', '\t\n\r   x', 'ﷺ'.repeat(5)]) {
      expect(await count(on, { model: 'claude-opus-5', ...user(text) })).toBeLessThanOrEqual(Buffer.byteLength(text) + 24);
    }
  });

  it.each([
    ['claude-opus-5', 286, 406],
    ['claude-sonnet-5', 354, 474],
    ['claude-opus-4-7', 675, 804],
    ['claude-haiku-4-5', 496, 588],
  ])('the hidden tool prompt of %s takes %i, forced %i', async (model, auto, forced) => {
    const on = await rig();
    const tools = [{ name: 't', input_schema: { type: 'object' } }];
    const bare = await count(on, { model, tools, tool_choice: { type: 'auto' }, ...user('x') });
    expect((await count(on, { model, tools, tool_choice: { type: 'any' }, ...user('x') })) - bare).toBe(forced - auto);
    expect(bare - (await count(on, { model, ...user('x') }))).toBeGreaterThanOrEqual(auto);
  });

  it.each([
    ['a small picture', 200, 200, 'claude-haiku-4-5', 64],
    ['a large one, standard class', 4_000, 4_000, 'claude-haiku-4-5', 1_521],
    ['a large one, high-resolution class', 4_000, 4_000, 'claude-opus-5', 4_761],
  ])('%s of %ix%i on %s costs %i tokens', async (_name, width, height, model, tokens) => {
    const found = findModel(model, 0);
    expect(found === undefined ? 0 : pictureTokens({ width, height }, found)).toBe(tokens);
    const on = await rig();
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: png(width, height) } };
    const text = { type: 'text', text: 'x' };
    expect((await count(on, { model, ...user([image, text]) })) - (await count(on, { model, ...user([text]) }))).toBe(tokens);
  });

  it('a PDF costs its text and a picture per page', async () => {
    const on = await rig();
    const pdf = (pages: number): Json => user([{ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: Buffer.from(`%PDF-1.4 ${'/Type /Page '.repeat(pages)}`).toString('base64') } }]);
    const [one, three] = [await count(on, pdf(1)), await count(on, pdf(3))];
    expect((three - one) / 2).toBeGreaterThan(1_500 + 1_000);
    expect((three - one) / 2).toBeLessThanOrEqual(3_000 + 1_568);
  });
});

describe('the worst case', () => {
  it('bills the bytes of the normalised text plus the overhead, and max_tokens', async () => {
    const on = await rig({ billing: 'worst' });
    const text = 'ﷺ and ﬁne print';
    const row = await rowFor(on, params({ max_tokens: 77, ...user(text) }));
    expect([usage(row, 'input_tokens'), usage(row, 'output_tokens')]).toEqual([Buffer.byteLength(text.normalize('NFKC')) + 16 + 8, 77]);
    expect(await count(on, user(text))).toBe(usage(row, 'input_tokens'));
  });
});

describe('caching', () => {
  const shared = { type: 'text', text: 'A rule that every row shares. '.repeat(1_000), cache_control: { type: 'ephemeral' } };
  const withPrefix = (rows: number, mark: object = shared): Json => ({
    requests: Array.from({ length: rows }, (_, index) => ({ custom_id: `r${index}`, params: params({ system: [mark], ...user(`Row ${index}`) }) })),
  });

  it('the first row writes, later ones read, and all three add up to the prompt', async () => {
    const on = await rig({ cacheHitRate: 1 });
    const rows = [...(await finish(on, withPrefix(5))).values()];
    const written = rows.filter((row) => usage(row, 'cache_creation_input_tokens') > 0);
    const read = rows.filter((row) => usage(row, 'cache_read_input_tokens') > 0);
    expect([written.length, read.length]).toEqual([1, 4]);
    const total = await count(on, { system: [shared], ...user('Row 0') });
    for (const row of rows) {
      expect(usage(row, 'input_tokens') + usage(row, 'cache_creation_input_tokens') + usage(row, 'cache_read_input_tokens')).toBe(total);
    }
  });

  it('a share of the possible reads happens, the rest write again', async () => {
    const rows = [...(await finish(await rig({ cacheHitRate: 0.5 }), withPrefix(60))).values()];
    const read = rows.filter((row) => usage(row, 'cache_read_input_tokens') > 0).length;
    expect(read).toBeGreaterThan(15);
    expect(read).toBeLessThan(45);
  });

  it('what an earlier batch has written is read more surely than what rows of the same batch write', async () => {
    const on = await rig({ cacheHitRate: 0.2, standingHitRate: 1 });
    const reads = async (): Promise<number> => [...(await finish(on, withPrefix(40))).values()].filter((row) => usage(row, 'cache_read_input_tokens') > 0).length;
    expect(await reads()).toBeLessThan(20);
    expect(await reads()).toBe(40);
  });

  it.each([
    ['5m', 'ephemeral_5m_input_tokens'],
    ['1h', 'ephemeral_1h_input_tokens'],
  ])('a marker of %s is reported in %s', async (ttl, field) => {
    const row = await rowFor(await rig(), params({ system: [{ ...shared, cache_control: { type: 'ephemeral', ttl } }], ...user('x') }));
    expect(usage(row, `cache_creation.${field}`)).toBe(usage(row, 'cache_creation_input_tokens'));
    expect(usage(row, `cache_creation.${field}`)).toBeGreaterThan(4_096);
  });

  it.each([
    ['5m', 299_000, 302_000],
    ['1h', 3_599_000, 3_602_000],
  ])('an entry of %s is read after %i ms and gone after %i ms', async (ttl, alive, gone) => {
    for (const [wait, reads] of [[alive, true], [gone, false]] as const) {
      const on = await rig({ cacheHitRate: 1 });
      const body = params({ system: [{ ...shared, cache_control: { type: 'ephemeral', ttl } }], ...user('x') });
      await on.call('POST', '/v1/messages', body);
      await on.advance(wait);
      expect(Number(at((await on.call('POST', '/v1/messages', body)).json, 'usage.cache_read_input_tokens')) > 0).toBe(reads);
    }
  });

  it('a prefix below the minimum of the model is neither written nor read', async () => {
    const row = await rowFor(await rig(), params({ system: [{ ...shared, text: 'word '.repeat(1_000) }], ...user('x') }));
    expect([usage(row, 'cache_creation_input_tokens'), usage(row, 'cache_read_input_tokens')]).toEqual([0, 0]);
    const newer = await rowFor(await rig(), params({ model: 'claude-opus-5', system: [{ ...shared, text: 'word '.repeat(1_000) }], ...user('x') }));
    expect(usage(newer, 'cache_creation_input_tokens')).toBeGreaterThan(512);
  });

  it.each([
    [512, ['claude-opus-5-5', 'claude-opus-5', 'claude-sonnet-5-5', 'claude-haiku-5-5', 'claude-fable-5', 'claude-mythos-5', 'claude-fable-5-1', 'claude-fable-5-2']],
    [1_024, ['claude-opus-4-8', 'claude-sonnet-5', 'claude-sonnet-4-6', 'claude-sonnet-4-5']],
    [2_048, ['claude-opus-4-7']],
    [4_096, ['claude-opus-4-6', 'claude-opus-4-5', 'claude-haiku-4-5']],
  ])('the shortest cacheable prefix is %i tokens on %j', (least, names) => {
    expect(names.map((name) => findModel(name, START_MS)?.cacheable)).toEqual(names.map(() => least));
  });

  it.each([
    [20, true],
    [21, false],
  ])('an entry %i blocks before the marker is looked at: %s', async (distance, reads) => {
    const on = await rig({ cacheHitRate: 1 });
    await on.call('POST', '/v1/messages', params({ system: [shared], ...user('x') }));
    const blocks = Array.from({ length: distance }, (_, index) => ({ type: 'text', text: `Block ${index}.`, ...(index === distance - 1 ? { cache_control: { type: 'ephemeral' } } : {}) }));
    const later = await on.call('POST', '/v1/messages', params({ system: [{ type: 'text', text: shared.text }, ...blocks], ...user('x') }));
    expect(Number(at(later.json, 'usage.cache_read_input_tokens')) > 0).toBe(reads);
  });

  it('prefixes run from tools to system to messages: another tool spoils the system prompt behind it, another message does not', async () => {
    const on = await rig({ cacheHitRate: 1 });
    const ask = async (tool: string, text: string): Promise<number> => {
      const tools = [{ name: tool, input_schema: { type: 'object' } }];
      return Number(at((await on.call('POST', '/v1/messages', params({ system: [shared], tools, ...user(text) }))).json, 'usage.cache_read_input_tokens'));
    };
    expect([await ask('one', 'a'), await ask('two', 'a'), (await ask('one', 'b')) > 4_096]).toEqual([0, 0, true]);
  });

  it('the minimum of a retired model is kept too', () => {
    expect(MODELS.filter((model) => model.status === 'retired').map((model) => [model.id, model.cacheable])).toEqual([
      ['claude-opus-4-1-20250805', 1_024],
      ['claude-opus-4-20250514', 1_024],
      ['claude-sonnet-4-20250514', 1_024],
      ['claude-3-7-sonnet-20250219', 1_024],
      ['claude-3-5-haiku-20241022', 2_048],
      ['claude-3-haiku-20240307', 1_024],
    ]);
  });

  it('workspaces and models do not share entries', async () => {
    const on = await rig({ cacheHitRate: 1, workspaces: { other: 'second' } });
    const body = params({ system: [shared], ...user('x') });
    await on.call('POST', '/v1/messages', body);
    for (const reply of [await on.call('POST', '/v1/messages', body, { 'x-api-key': 'other' }), await on.call('POST', '/v1/messages', { ...body, model: 'claude-opus-4-5' })]) {
      expect(at(reply.json, 'usage.cache_read_input_tokens')).toBe(0);
    }
  });

  it('a top-level cache_control marks the last block', async () => {
    const row = await rowFor(await rig(), params({ cache_control: { type: 'ephemeral' }, ...user(shared.text) }));
    expect(usage(row, 'cache_creation_input_tokens')).toBeGreaterThan(4_096);
  });

  it('a top-level cache_control is judged and counted as one on the last block, where that has none of its own', async () => {
    const block = { type: 'text', text: 'A rule.', cache_control: { type: 'ephemeral' } };
    const plain = { type: 'text', text: 'A question.' };
    const refused = async (over: Parameters<typeof params>[0]): Promise<unknown> => at(await rowFor(await rig(), params(over)), 'result.error.error.message');
    expect(await refused({ system: [block, block, block, block], cache_control: { type: 'ephemeral' }, ...user('x') })).toBe('A maximum of 4 blocks with cache_control may be provided. Found 5.');
    expect(await refused({ system: [block], cache_control: { type: 'ephemeral', ttl: '1h' }, ...user('x') })).toMatch(/^cache_control\.ttl: a ttl='1h'/);
    expect(await refused({ cache_control: { type: 'forever' }, ...user('x') })).toMatch(/^cache_control: Input should be/);
    expect(await refused({ system: [block, block, block], cache_control: { type: 'ephemeral' }, messages: [{ role: 'user', content: [plain, block] }] })).toBeUndefined();
  });
});

describe('prices', () => {
  const tokens = { input: 1_000_000, output: 1_000_000, write5m: 0, write1h: 0, read: 0 };

  it.each([
    ['claude-haiku-4-5', 3],
    ['claude-opus-5', 15],
    ['claude-sonnet-5-5', 6],
    ['claude-fable-5-2', 24],
  ])('a million tokens each way of %s cost %d USD in a batch', (name, usd) => {
    const model = findModel(name, 0);
    expect(model === undefined ? 0 : costPicoUsd(model, tokens, true, undefined) / 1e12).toBeCloseTo(usd, 9);
  });

  it.each([
    ['written for five minutes', 'write5m', 1.25],
    ['written for an hour', 'write1h', 2],
    ['read', 'read', 0.1],
  ] as const)('the half price and the factor of tokens %s stack', (_name, kind, factor) => {
    const model = findModel('claude-opus-5', 0);
    const none = { input: 0, output: 0, write5m: 0, write1h: 0, read: 0 };
    const cost = (of: object, isBatch: boolean): number => (model === undefined ? 0 : costPicoUsd(model, { ...none, ...of }, isBatch, undefined));
    expect(cost({ [kind]: 1_000 }, true)).toBeCloseTo(cost({ input: 1_000 }, false) * 0.5 * factor, 3);
  });

  it('Haiku 5.5 costs five times as much once the prompt is longer than 100,000 tokens', () => {
    const model = MODELS.find((entry) => entry.id === 'claude-haiku-5-5');
    const cost = (input: number): number => (model === undefined ? 0 : costPicoUsd(model, { ...tokens, input, output: 1_000 }, true, undefined));
    expect([cost(100_000), cost(100_001)]).toEqual([100_000 * 50_000 + 1_000 * 250_000, 100_001 * 250_000 + 1_000 * 1_250_000]);
  });

  it('a US-only request costs 1.1 times, from 4.6 on', () => {
    const [opus, haiku] = [findModel('claude-opus-5', 0), findModel('claude-haiku-4-5', 0)];
    const ratio = (model: typeof opus): number => (model === undefined ? 0 : costPicoUsd(model, tokens, true, 'us') / costPicoUsd(model, tokens, true, undefined));
    expect([ratio(opus), ratio(haiku)]).toEqual([expect.closeTo(1.1, 9), 1]);
  });

  it('every price of every model, halved and with the US factor, is a whole number of pico-USD per token', () => {
    for (const model of MODELS) {
      for (const price of [...model.prices, ...(model.longPrices?.prices ?? [])]) {
        expect(Math.abs(price * 1e6 * 0.5 * 1.1 - Math.round(price * 1e6 * 0.5 * 1.1))).toBeLessThan(1e-6);
      }
    }
  });

  it('the truth log bills each succeeded row once, with the usage of its result', async () => {
    const on = await rig({ faults: { faults: [{ fault: 'errored', rows: 3 }] } });
    const rows = await finish(on, batchBody(10));
    const billed = on.truth('row_billed');
    expect(billed).toHaveLength(7);
    for (const line of billed) {
      const row = rows.get(String(line.custom_id));
      expect(line.usage).toEqual({
        input_tokens: usage(row, 'input_tokens'),
        output_tokens: usage(row, 'output_tokens'),
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
      });
      expect(line.cost_pico_usd).toBe(usage(row, 'input_tokens') * 500_000 + usage(row, 'output_tokens') * 2_500_000);
    }
    const total = billed.reduce((sum, line) => sum + Number(line.cost_pico_usd), 0);
    expect(on.truth('batch_ended').map((line) => line.cost_pico_usd)).toEqual([total]);
  });

  it('bills do not depend on time', async () => {
    const bills: unknown[] = [];
    for (const wait of [61_000, 3_000_000]) {
      const on = await rig();
      await create(on, batchBody(20));
      await on.advance(wait);
      bills.push(on.truth('row_billed').map((line) => [line.custom_id, line.usage]));
    }
    expect(bills[0]).toEqual(bills[1]);
  });
});
