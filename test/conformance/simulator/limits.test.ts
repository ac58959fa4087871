import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { TIERS } from '../../../local/simulator/limits.ts';
import { at, batchBody, create, params, rig, type Rig } from './rig.ts';

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
    ['start', 200_000],
    ['build', 300_000],
    ['scale', 500_000],
    ['former1', 100_000],
  ] as const)('tier %s lets %i requests wait', (tier, queued) => {
    expect(TIERS[tier].queuedRequests).toBe(queued);
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

describe('Messages meters', () => {
  it.each([
    ['start', 'claude-fable-5', 1_000, 500_000, 100_000],
    ['build', 'claude-fable-5', 2_000, 1_500_000, 300_000],
    ['scale', 'claude-fable-5', 4_000, 4_000_000, 800_000],
    ['start', 'claude-opus-5', 1_000, 2_000_000, 400_000],
    ['build', 'claude-sonnet-4-6', 5_000, 5_000_000, 1_000_000],
    ['scale', 'claude-haiku-4-5', 10_000, 10_000_000, 2_000_000],
    ['former1', 'claude-sonnet-4-6', 50, 30_000, 8_000],
    ['former1', 'claude-haiku-4-5', 50, 50_000, 10_000],
  ] as const)('tier %s, %s: %i calls, %i input and %i output tokens per minute', async (tier, model, calls, input, output) => {
    const { headers } = await message(await rig({ tier }), 1, { model });
    const limits = ['requests', 'input-tokens', 'output-tokens'].map((family) => Number(headers.get(`anthropic-ratelimit-${family}-limit`)));
    expect(limits).toEqual([calls, input, output]);
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
  });

  it('batch traffic takes nothing from the Messages meters', async () => {
    const on = await rig({ tier: 'former1' });
    await spend(on, 51);
    expect((await message(on, 5)).headers.get('anthropic-ratelimit-requests-remaining')).toBe('49');
  });

  it('count_tokens has a meter of its own', async () => {
    const on = await rig();
    const { max_tokens: _most, ...body } = params();
    expect((await on.call('POST', '/v1/messages/count_tokens', body)).headers.get('anthropic-ratelimit-requests-limit')).toBe('2000');
  });
});

describe('bodies of Messages and count_tokens', () => {
  it('accepts gzip', async () => {
    const on = await rig();
    expect((await on.call('POST', '/v1/messages', gzipSync(JSON.stringify(params())), { 'content-encoding': 'gzip' })).status).toBe(200);
  });

  it.each(['br', 'deflate', 'zstd'])('refuses %s with its code', async (encoding) => {
    const reply = await (await rig()).call('POST', '/v1/messages', 'x', { 'content-encoding': encoding });
    expect([reply.status, at(reply.json, 'error.details.error_code')]).toEqual([400, 'request_body_encoding_unsupported']);
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
