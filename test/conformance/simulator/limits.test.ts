import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { at, batchBody, create, params, png, rig, type Rig } from './rig.ts';

/** claude-batches.md 1.9 and 2: tiers, meters, headers, encodings of Messages bodies. */

const spend = async (on: Rig, calls: number): Promise<number[]> => {
  const statuses: number[] = [];
  for (let index = 0; index < calls; index += 1) {
    statuses.push((await on.call('GET', '/v1/messages/batches')).status);
  }
  return statuses;
};
const message = (on: Rig, words: number, extra = {}): Promise<{ status: number; headers: Headers; json: object }> =>
  on.call('POST', '/v1/messages', params({ messages: [{ role: 'user', content: 'word '.repeat(words) }], ...extra }));

describe('batch meters', () => {
  it.each([
    ['start', '1000'],
    ['build', '2000'],
    ['scale', '4000'],
    ['former1', '50'],
  ] as const)('tier %s allows %s calls per minute', async (tier, limit) => {
    expect((await (await rig({ tier })).call('GET', '/v1/messages/batches')).headers.get('anthropic-ratelimit-requests-limit')).toBe(limit);
  });

  it.each([
    ['start', 2],
    ['build', 3],
    ['scale', 5],
    ['former1', 1],
  ] as const)('tier %s lets %i00,000 requests wait, and not one more', { timeout: 60_000 }, async (tier, full) => {
    const on = await rig({ tier });
    const body = `{"requests":[${Array.from({ length: 100_000 }, (_, index) => `{"custom_id":"${index}","params":{}}`).join(',')}]}`;
    for (let made = 0; made < full; made += 1) {
      await create(on, body);
    }
    const refused = await on.call('POST', '/v1/messages/batches', batchBody(1));
    expect([refused.status, at(refused.json, 'error.message')]).toEqual([429, expect.stringContaining(`limit of ${full}00000 enqueued batch requests`)]);
  });

  it('the 51st call of a minute is refused with retry-after, on every batch endpoint', async () => {
    const on = await rig({ tier: 'former1' });
    const id = await create(on);
    expect(new Set(await spend(on, 49))).toEqual(new Set([200]));
    const refused = await on.call('GET', `/v1/messages/batches/${id}`);
    expect([refused.status, at(refused.json, 'error.type'), refused.headers.get('retry-after')]).toEqual([429, 'rate_limit_error', '2']);
    expect((await on.call('POST', '/v1/messages/batches', batchBody(1))).status).toBe(429);
  });

  it('refills continuously in simulated time', async () => {
    const on = await rig({ tier: 'former1' });
    await spend(on, 50);
    await on.advance(1_200);
    expect(await spend(on, 2)).toEqual([200, 429]);
    await on.advance(60_000);
    expect(new Set(await spend(on, 50))).toEqual(new Set([200]));
  });

  it('can be enforced over a shorter window', async () => {
    expect(await spend(await rig({ tier: 'former1', rateWindowSeconds: 6 }), 6)).toEqual([200, 200, 200, 200, 200, 429]);
  });

  it('counts the requests that wait in unfinished batches, and lets go of them when they have ended', async () => {
    const on = await rig({ tier: 'evaluation' });
    await create(on, batchBody(15_000));
    const refused = await on.call('POST', '/v1/messages/batches', batchBody(5_001));
    expect([refused.status, at(refused.json, 'error.type'), refused.headers.has('retry-after')]).toEqual([429, 'rate_limit_error', true]);
    expect((await on.call('POST', '/v1/messages/batches', batchBody(5_000))).status).toBe(200);
    await on.advance(61_000);
    expect((await on.call('POST', '/v1/messages/batches', batchBody(5_001))).status).toBe(200);
  });

  it('unlimited has no meter and no meter headers', async () => {
    expect((await (await rig({ tier: 'unlimited' })).call('GET', '/v1/messages/batches')).headers.has('anthropic-ratelimit-requests-limit')).toBe(false);
  });
});

/** A day on which Haiku 3.5 and Sonnet 3.7 still answered. */
const OLD_MS = Date.UTC(2026, 0, 15);
const FABLE = ['claude-fable-5', 'claude-fable-5-1', 'claude-fable-5-2'];
const USUAL = ['claude-opus-5-5', 'claude-opus-5', 'claude-opus-4-8', 'claude-opus-4-5', 'claude-sonnet-5-5', 'claude-sonnet-5', 'claude-sonnet-4-6', 'claude-sonnet-4-5', 'claude-haiku-5-5', 'claude-haiku-4-5'];
const HAIKU_35 = ['claude-3-5-haiku-20241022'];

describe('Messages meters', () => {
  it.each([
    ['start', FABLE, 1_000, 500_000, 100_000],
    ['build', FABLE, 2_000, 1_500_000, 300_000],
    ['scale', FABLE, 4_000, 4_000_000, 800_000],
    ['start', USUAL, 1_000, 2_000_000, 400_000],
    ['build', USUAL, 5_000, 5_000_000, 1_000_000],
    ['scale', USUAL, 10_000, 10_000_000, 2_000_000],
    ['start', HAIKU_35, 1_000, 100_000, 20_000],
    ['build', HAIKU_35, 2_000, 200_000, 40_000],
    ['scale', HAIKU_35, 4_000, 400_000, 80_000],
    ['former1', ['claude-sonnet-4-6', 'claude-opus-4-6'], 50, 30_000, 8_000],
    ['former1', ['claude-haiku-4-5', 'claude-3-5-haiku-20241022'], 50, 50_000, 10_000],
    ['former1', ['claude-3-7-sonnet-20250219'], 50, 20_000, 8_000],
  ] as const)('tier %s, %j: %i calls, %i input and %i output tokens per minute', async (tier, models, calls, input, output) => {
    const on = await rig({ tier, startMs: OLD_MS });
    for (const model of models) {
      const { headers } = await message(on, 1, { model });
      const limits = ['requests', 'input-tokens', 'output-tokens'].map((family) => Number(headers.get(`anthropic-ratelimit-${family}-limit`)));
      expect([model, ...limits]).toEqual([model, calls, input, output]);
    }
  });

  it('Opus 4.x share one set of meters, and Sonnet 4.x another; newer models have their own', async () => {
    const on = await rig();
    const left: Record<string, unknown> = {};
    for (const name of ['opus-4-5', 'opus-4-8', 'sonnet-4-5', 'sonnet-4-6', 'opus-5', 'opus-5-5', 'sonnet-5', 'sonnet-5-5', 'haiku-4-5', 'haiku-5-5', 'fable-5']) {
      left[name] = Number((await message(on, 1, { model: `claude-${name}` })).headers.get('anthropic-ratelimit-requests-remaining'));
    }
    const second = ['opus-4-8', 'sonnet-4-6'];
    expect(left).toEqual(Object.fromEntries(Object.keys(left).map((name) => [name, second.includes(name) ? 998 : 999])));
  });

  it('counts cache reads towards the input limit on Haiku 3.5, unlike on other models', async () => {
    const on = await rig({ tier: 'former1', cacheHitRate: 1, startMs: OLD_MS });
    const system = [{ type: 'text', text: 'word '.repeat(20_000), cache_control: { type: 'ephemeral' } }];
    const statuses: number[] = [];
    for (let index = 0; index < 6; index += 1) {
      statuses.push((await message(on, 10, { system, model: 'claude-3-5-haiku-20241022' })).status);
    }
    expect(statuses.slice(-1)).toEqual([429]);
  });

  it('refuses input beyond the tokens of the minute', async () => {
    const on = await rig({ tier: 'former1' });
    expect((await message(on, 40_000)).status).toBe(200);
    const refused = await message(on, 40_000);
    expect([refused.status, at(refused.json, 'error.message'), Number(refused.headers.get('retry-after')) > 0]).toEqual([429, expect.stringContaining('input tokens per minute'), true]);
  });

  it('does not count cache reads towards the input limit', async () => {
    const on = await rig({ tier: 'former1', cacheHitRate: 1 });
    const system = [{ type: 'text', text: 'word '.repeat(20_000), cache_control: { type: 'ephemeral' } }];
    const statuses: number[] = [];
    for (let index = 0; index < 6; index += 1) {
      statuses.push((await message(on, 10, { system })).status);
    }
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect((await message(on, 60_000)).status).toBe(429);
  });

  it('meters output on what was produced, not on max_tokens', async () => {
    const on = await rig({ tier: 'former1' });
    for (let index = 0; index < 5; index += 1) {
      expect((await message(on, 5, { max_tokens: 8_000 })).status).toBe(200);
    }
  });

  it('refuses once the output of the minute is used up', async () => {
    const on = await rig({ tier: 'former1', billing: 'worst' });
    const first = await message(on, 5, { max_tokens: 12_000 });
    const refused = await message(on, 5, { max_tokens: 10 });
    expect([first.status, refused.status, at(refused.json, 'error.message')]).toEqual([200, 429, expect.stringContaining('output tokens per minute')]);
  });

  it('shows four families of headers, tokens rounded to thousands and the bare one the tightest', async () => {
    const { headers } = await message(await rig({ tier: 'former1' }), 20_000);
    expect(headers.get('anthropic-ratelimit-requests-remaining')).toBe('49');
    expect(headers.get('anthropic-ratelimit-input-tokens-limit')).toBe('50000');
    expect(headers.get('anthropic-ratelimit-input-tokens-remaining')).toMatch(/^\d+000$/);
    expect(headers.get('anthropic-ratelimit-output-tokens-limit')).toBe('10000');
    expect(headers.get('anthropic-ratelimit-tokens-limit')).toBe('50000');
    for (const family of ['requests', 'tokens', 'input-tokens', 'output-tokens']) {
      expect(headers.get(`anthropic-ratelimit-${family}-reset`)).toMatch(/^2026-11-21T08:0\d:\d\dZ$/);
    }
  });

  it('batch traffic takes nothing from the Messages meters', async () => {
    const on = await rig({ tier: 'former1' });
    await spend(on, 51);
    expect((await message(on, 5)).headers.get('anthropic-ratelimit-requests-remaining')).toBe('49');
  });

  it.each([
    ['start', '2000'],
    ['build', '4000'],
    ['scale', '8000'],
  ] as const)('count_tokens has a meter of its own: tier %s allows %s calls per minute', async (tier, limit) => {
    const on = await rig({ tier });
    const { max_tokens: _most, ...body } = params();
    const { headers } = await on.call('POST', '/v1/messages/count_tokens', body);
    expect([headers.get('anthropic-ratelimit-requests-limit'), headers.get('anthropic-ratelimit-requests-remaining')]).toEqual([limit, String(Number(limit) - 1)]);
    expect((await message(on, 1)).headers.get('anthropic-ratelimit-requests-remaining')).toBe(String(tier === 'start' ? 999 : tier === 'build' ? 4_999 : 9_999));
  });
});

describe('bodies of Messages and count_tokens', () => {
  it.each(['/v1/messages', '/v1/messages/count_tokens'])('%s accepts gzip, and refuses gzip that is none with its code', async (path) => {
    const on = await rig();
    const { max_tokens, ...counted } = params();
    const body = path === '/v1/messages' ? { ...counted, max_tokens } : counted;
    expect((await on.call('POST', path, gzipSync(JSON.stringify(body)), { 'content-encoding': 'gzip' })).status).toBe(200);
    const broken = await on.call('POST', path, 'no gzip', { 'content-encoding': 'gzip' });
    expect([broken.status, at(broken.json, 'error.details.error_code')]).toEqual([400, 'request_body_encoding_invalid']);
  });

  it.each(['/v1/messages', '/v1/messages/count_tokens'].flatMap((path) => ['br', 'deflate', 'zstd'].map((encoding) => [path, encoding] as const)))('%s refuses %s with its code', async (path, encoding) => {
    const reply = await (await rig()).call('POST', path, 'x', { 'content-encoding': encoding });
    expect([reply.status, at(reply.json, 'error.details.error_code')]).toEqual([400, 'request_body_encoding_unsupported']);
  });

  it('a picture that is too large is refused with its code, the limit and where it stands', async () => {
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: png(8_001, 10) } };
    const reply = await (await rig()).call('POST', '/v1/messages', params({ messages: [{ role: 'user', content: [image] }] }));
    expect([reply.status, at(reply.json, 'error.details')]).toEqual([400, { error_code: 'image_dimensions_too_large', max_side_length_pixels: 8_000, paths: ['messages.0.content.0.image.source.base64'] }]);
  });

  it.each(['temperature', 'top_p', 'top_k'])('%s is a 400 under version 2026-10-21', async (key) => {
    const on = await rig();
    expect((await on.call('POST', '/v1/messages', params({ [key]: 1 }), { 'anthropic-version': '2026-10-21' })).status).toBe(400);
    expect((await on.call('POST', '/v1/messages', params({ [key]: 1 }))).status).toBe(200);
  });

  it('refuses a gzip body that grows past the limit', async () => {
    const on = await rig({ messageBodyBytes: 10_000 });
    const body = gzipSync(JSON.stringify(params({ messages: [{ role: 'user', content: 'x'.repeat(50_000) }] })));
    const reply = await on.call('POST', '/v1/messages', body, { 'content-encoding': 'gzip' });
    expect([reply.status, at(reply.json, 'error.details.error_code')]).toEqual([413, 'request_body_too_large_after_decoding']);
  });

  it('refuses a body over 32 MB with the 413 of the edge', async () => {
    const on = await rig({ messageBodyBytes: 1_000 });
    const reply = await on.call('POST', '/v1/messages', params({ messages: [{ role: 'user', content: 'x'.repeat(2_000) }] }));
    expect([reply.status, reply.headers.get('request-id')]).toEqual([413, null]);
  });

  it.each([
    ['/v1/messages', { max_tokens: 1 }, 400, 'messages: Field required'],
    ['/v1/messages', params({ model: 'claude-none' }), 404, 'model: claude-none'],
    ['/v1/messages', 'nonsense', 400, expect.stringMatching(/^The request body is not valid JSON: /)],
    ['/v1/messages/count_tokens', { model: 'claude-none', messages: [{ role: 'user', content: 'x' }] }, 404, 'model: claude-none'],
  ])('%s checks its params at once (%#)', async (path, body, status, text) => {
    const reply = await (await rig()).call('POST', path, body);
    expect([reply.status, at(reply.json, 'error.message')]).toEqual([status, text]);
  });

  it('max_tokens 0 warms the cache without an answer', async () => {
    const reply = await (await rig()).call('POST', '/v1/messages', params({ max_tokens: 0 }));
    expect([reply.json.content, at(reply.json, 'usage.output_tokens')]).toEqual([[], 0]);
  });
});
