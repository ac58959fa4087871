import { describe, expect, it } from 'vitest';
import { at, batchBody, create, params, rig } from './rig.ts';

/** claude-batches.md 1.1, 1.6, 1.8: transport, headers, ids, the batch object, models. */

describe('transport and access', () => {
  it.each([
    ['x-api-key', { 'x-api-key': 'k' }],
    ['Authorization: Bearer', { authorization: 'Bearer k' }],
  ])('accepts a key sent as %s', async (_name, headers) => {
    const { simulator } = await rig();
    const reply = await fetch(`${simulator.url}/v1/messages/batches`, { headers: { ...headers, 'anthropic-version': '2023-06-01' } });
    expect(reply.status).toBe(200);
  });

  it('refuses a call without any key with 401', async () => {
    const { simulator } = await rig();
    const reply = await fetch(`${simulator.url}/v1/messages/batches`, { headers: { 'anthropic-version': '2023-06-01' } });
    expect([reply.status, at(await reply.json(), 'error.type')]).toEqual([401, 'authentication_error']);
  });

  it('refuses a key that is not accepted with the captured text', async () => {
    const on = await rig({ apiKeys: ['right'] });
    const reply = await on.call('GET', '/v1/messages/batches');
    expect([reply.status, at(reply.json, 'error.message')]).toEqual([401, 'API key is invalid.']);
    expect((await on.call('GET', '/v1/messages/batches', undefined, { 'x-api-key': 'right' })).status).toBe(200);
  });

  it.each(['2023-06-01', '2026-10-21'])('accepts API version %s', async (version) => {
    const on = await rig();
    expect((await on.call('GET', '/v1/messages/batches', undefined, { 'anthropic-version': version })).status).toBe(200);
  });

  it('refuses a call without API version', async () => {
    const { simulator } = await rig();
    const reply = await fetch(`${simulator.url}/v1/models`, { headers: { 'x-api-key': 'k' } });
    expect(at(await reply.json(), 'error.message')).toBe('anthropic-version: header is required');
  });

  it('ignores ?beta=true and betas it does not know', async () => {
    const on = await rig();
    const reply = await on.call('POST', '/v1/messages/batches?beta=true', batchBody(1), { 'anthropic-beta': 'message-batches-2024-09-24,made-up-2026-01-01' });
    expect(reply.status).toBe(200);
  });

  it('answers 404 not_found_error for a path it does not have', async () => {
    const reply = await (await rig()).call('GET', '/v1/nothing');
    expect([reply.status, at(reply.json, 'error.type')]).toEqual([404, 'not_found_error']);
  });

  it('shows a batch only to the workspace of its key, whatever is asked of it', async () => {
    const on = await rig({ workspaces: { other: 'second' } });
    const id = await create(on);
    for (const [method, tail] of [['GET', ''], ['GET', '/results'], ['POST', '/cancel'], ['DELETE', '']] as const) {
      expect((await on.call(method, `/v1/messages/batches/${id}${tail}`, undefined, { 'x-api-key': 'other' })).status).toBe(404);
    }
    expect(at((await on.call('GET', '/v1/messages/batches', undefined, { 'x-api-key': 'other' })).json, 'data')).toEqual([]);
  });

  it('refuses a workspace header that is not the workspace of the key', async () => {
    const on = await rig();
    expect((await on.call('GET', '/v1/messages/batches', undefined, { 'anthropic-workspace-id': 'wrkspc_01other' })).status).toBe(403);
  });
});

describe('what a caller may send along', () => {
  it('takes the workspace header of the key\'s own workspace, and a user profile', async () => {
    const on = await rig();
    const own = (await on.call('GET', '/v1/messages/batches')).headers.get('anthropic-workspace-id') ?? '';
    expect((await on.call('POST', '/v1/messages/batches', batchBody(1), { 'anthropic-workspace-id': own, 'anthropic-user-profile-id': 'profile' })).status).toBe(200);
  });

  it.each(['PUT', 'PATCH', 'POST'])('has no way to edit a batch: %s is a 404', async (method) => {
    const on = await rig();
    expect((await on.call(method, `/v1/messages/batches/${await create(on)}`, batchBody(1))).status).toBe(404);
  });
});

describe('headers of every reply', () => {
  it.each([
    ['request-id', /^req_01[0-9A-Za-z]{22}$/],
    ['anthropic-organization-id', /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/],
    ['anthropic-workspace-id', /^wrkspc_01[0-9A-Za-z]{22}$/],
    ['anthropic-ratelimit-requests-limit', /^1000$/],
    ['anthropic-ratelimit-requests-remaining', /^999$/],
    ['anthropic-ratelimit-requests-reset', /^2026-11-21T08:00:00Z$/],
    ['content-type', /^application\/json$/],
    ['date', /^Sat, 21 Nov 2026 08:00:00 GMT$/],
  ])('%s has its form', async (name, form) => {
    const reply = await (await rig()).call('GET', '/v1/messages/batches');
    expect(reply.headers.get(name)).toMatch(form);
  });

  it('an error repeats the request id of the header in its body', async () => {
    const reply = await (await rig()).call('GET', '/v1/messages/batches/msgbatch_01none');
    expect(reply.json.request_id).toBe(reply.headers.get('request-id'));
  });
});

describe('the MessageBatch object', () => {
  it('has the captured keys in the captured order', async () => {
    const reply = await (await rig()).call('POST', '/v1/messages/batches', batchBody(2));
    expect(reply.text).toMatch(
      /^\{"id":"msgbatch_01[0-9A-Za-z]{22}","type":"message_batch","processing_status":"in_progress","request_counts":\{"processing":2,"succeeded":0,"errored":0,"canceled":0,"expired":0\},"ended_at":null,"created_at":"[^"]+","expires_at":"[^"]+","archived_at":null,"cancel_initiated_at":null,"results_url":null\}$/,
    );
  });

  it('prints instants with microseconds and +00:00', async () => {
    const { json } = await (await rig()).call('POST', '/v1/messages/batches', batchBody(1));
    expect(json.created_at).toMatch(/^2026-11-21T08:00:00\.\d{6}\+00:00$/);
  });

  it('expires exactly 24 hours after its creation, microseconds included', async () => {
    const { json } = await (await rig()).call('POST', '/v1/messages/batches', batchBody(1));
    expect(json.expires_at).toBe(String(json.created_at).replace('2026-11-21', '2026-11-22'));
  });

  it('keeps the counters at zero until the end and jumps then', async () => {
    const on = await rig();
    const id = await create(on, batchBody(3));
    await on.advance(59_000);
    expect((await on.call('GET', `/v1/messages/batches/${id}`)).json.request_counts).toEqual({ processing: 3, succeeded: 0, errored: 0, canceled: 0, expired: 0 });
    await on.advance(2_000);
    expect((await on.call('GET', `/v1/messages/batches/${id}`)).json.request_counts).toEqual({ processing: 0, succeeded: 3, errored: 0, canceled: 0, expired: 0 });
  });

  it('moves the counters gradually when asked to, their sum unchanged', async () => {
    const on = await rig({ counters: 'gradual' });
    const id = await create(on, batchBody(10));
    await on.advance(30_000);
    const { json } = await on.call('GET', `/v1/messages/batches/${id}`);
    expect(json.request_counts).toEqual({ processing: 5, succeeded: 5, errored: 0, canceled: 0, expired: 0 });
  });

  it('ends although every row errored: there is no failed batch', async () => {
    const on = await rig();
    const id = await create(on, { requests: [{ custom_id: 'a', params: {} }] });
    await on.advance(61_000);
    const { json } = await on.call('GET', `/v1/messages/batches/${id}`);
    expect([json.processing_status, at(json, 'request_counts.errored')]).toEqual(['ended', 1]);
  });

  it('prints its own origin in results_url', async () => {
    const on = await rig();
    const id = await create(on);
    await on.advance(61_000);
    const { json } = await on.call('GET', `/v1/messages/batches/${id}`);
    expect(json.results_url).toBe(`${on.simulator.url}/v1/messages/batches/${id}/results`);
  });

  it('ends at the instant its duration says, not when it is asked', async () => {
    const on = await rig();
    const { json: created } = await on.call('POST', '/v1/messages/batches', batchBody(1));
    await on.advance(500_000);
    const { json } = await on.call('GET', `/v1/messages/batches/${String(created.id)}`);
    expect(Date.parse(String(json.ended_at)) - Date.parse(String(created.created_at))).toBe(60_000);
  });
});

describe('models', () => {
  it('lists the models an account can use and finds one by its alias', async () => {
    const on = await rig();
    const list = (await on.call('GET', '/v1/models?limit=100')).json;
    expect(JSON.stringify(list.data)).not.toContain('claude-3-haiku');
    const one = (await on.call('GET', '/v1/models/claude-haiku-4-5')).json;
    expect([one.id, one.max_tokens, at(one, 'capabilities.batch.supported')]).toEqual(['claude-haiku-4-5-20251001', 64_000, true]);
  });

  it('answers not_found_error for a model it does not know', async () => {
    const reply = await (await rig()).call('GET', '/v1/models/claude-none');
    expect([reply.status, at(reply.json, 'error.message')]).toEqual([404, 'model: claude-none']);
  });

  it('retires a model on its day', async () => {
    const on = await rig();
    const ask = async (): Promise<number> => (await on.call('POST', '/v1/messages', params({ model: 'claude-sonnet-4-5' }))).status;
    expect(await ask()).toBe(200);
    await on.control('POST', '/clock', { to: '2026-11-30T00:00:00Z' });
    expect(await ask()).toBe(404);
  });
});
