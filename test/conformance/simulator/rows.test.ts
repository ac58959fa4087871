import { describe, expect, it } from 'vitest';
import { at, batchBody, create, finish, params, png, rig, rowFor, rowsOf, type Json } from './rig.ts';

/** claude-batches.md 1.5 and 1.7: what becomes of rows, and how results are served. */

const NEW = { 'anthropic-version': '2026-10-21' };
const tool = { name: 'look_up', input_schema: { type: 'object', properties: { id: { type: 'integer' } }, required: ['id'] } };
const picture = (data: string): Json => ({ messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data } }] }] });

type Deferred = readonly [name: string, extra: Json, type: string, message: string | RegExp, headers: Readonly<Record<string, string>>];

const deferred = (name: string, extra: Json, type: string, message: string | RegExp, headers: Readonly<Record<string, string>> = {}): Deferred => [name, extra, type, message, headers];

const DEFERRED: readonly Deferred[] = [
  deferred('no messages', { messages: undefined }, 'invalid_request_error', 'messages: Field required'),
  deferred('stream: true', { stream: true }, 'invalid_request_error', '"stream=True" is not supported in the Message Batches API'),
  deferred('max_tokens: 0', { max_tokens: 0 }, 'invalid_request_error', 'max_tokens: must be greater than or equal to 1'),
  deferred('max_tokens over the model', { max_tokens: 9_999_999 }, 'invalid_request_error', 'max_tokens: 9999999 > 64000, which is the maximum allowed number of output tokens for claude-haiku-4-5-20251001'),
  deferred('an unknown model', { model: 'claude-does-not-exist-9' }, 'not_found_error', 'model: claude-does-not-exist-9'),
  deferred('a picture that cannot be fetched', { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'https://nowhere.invalid/a.png' } }] }] }, 'invalid_request_error', 'Unable to download the file. Please verify the URL and try again.'),
  deferred('an unknown tool field', { tools: [{ type: 'web_fetch_20250910', name: 'web_fetch', _requestedType: 'x' }] }, 'invalid_request_error', 'tools.0.web_fetch_20250910._requestedType: Extra inputs are not permitted'),
  deferred('a tool_choice that is not there', { tools: [tool], tool_choice: { type: 'tool', name: 'x' } }, 'invalid_request_error', "Tool 'x' not found in provided tools"),
  deferred('billing to a user profile', { billing_policy: { bill_to: 'user_profile' } }, 'invalid_request_error', /billing_policy/),
  deferred('fast mode', { speed: 'fast' }, 'invalid_request_error', /speed/),
  deferred('store', { store: true }, 'invalid_request_error', /store/),
  deferred('fallbacks', { fallbacks: [] }, 'invalid_request_error', /fallbacks/),
  deferred('cache_hint', { cache_hint: {} }, 'invalid_request_error', /cache_hint/),
  deferred('context_hint', { context_hint: {} }, 'invalid_request_error', /context_hint/),
  deferred('previous_thread_event_id', { previous_thread_event_id: 'x' }, 'invalid_request_error', /previous_thread_event_id/),
  deferred('research preview', { research_preview_2026_02: 'active' }, 'invalid_request_error', /research_preview/),
  deferred('an unknown key', { nonsense: 1 }, 'invalid_request_error', 'nonsense: Extra inputs are not permitted'),
  deferred('temperature under the newer version', { temperature: 0.5 }, 'invalid_request_error', 'temperature: Extra inputs are not permitted', NEW),
  deferred('top_p under the newer version', { top_p: 0.5 }, 'invalid_request_error', /top_p/, NEW),
  deferred('top_k under the newer version', { top_k: 5 }, 'invalid_request_error', /top_k/, NEW),
  deferred('a document in an assistant turn, newer version', { messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: [{ type: 'document', source: { type: 'text', data: 'x' } }] }, { role: 'user', content: 'b' }] }, 'invalid_request_error', /document blocks/, NEW),
  deferred('citations on user text, newer version', { messages: [{ role: 'user', content: [{ type: 'text', text: 'a', citations: [{}] }] }] }, 'invalid_request_error', /citations/, NEW),
  deferred('thinking enabled from 4.7 on', { model: 'claude-opus-4-7', max_tokens: 4096, thinking: { type: 'enabled', budget_tokens: 2000 } }, 'invalid_request_error', /thinking.type.enabled/),
  deferred('thinking adaptive up to 4.5', { thinking: { type: 'adaptive' } }, 'invalid_request_error', /thinking.type.adaptive/),
  deferred('thinking disabled on Opus 5.5', { model: 'claude-opus-5-5', thinking: { type: 'disabled' } }, 'invalid_request_error', /thinking.type.disabled/),
  deferred('thinking disabled on Fable', { model: 'claude-fable-5', thinking: { type: 'disabled' } }, 'invalid_request_error', /thinking.type.disabled/),
  deferred('thinking disabled on Mythos', { model: 'claude-mythos-5-1', thinking: { type: 'disabled' } }, 'invalid_request_error', /thinking.type.disabled/),
  deferred('a thinking budget below 1024', { max_tokens: 4096, thinking: { type: 'enabled', budget_tokens: 1000 } }, 'invalid_request_error', /1024/),
  deferred('a thinking budget not below max_tokens', { max_tokens: 2000, thinking: { type: 'enabled', budget_tokens: 2000 } }, 'invalid_request_error', /max_tokens/),
  deferred('prefill from 4.6 on', { model: 'claude-sonnet-4-6', messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: '{' }] }, 'invalid_request_error', /prefill/),
  deferred('a picture of 8001 pixels', picture(png(8001, 10)), 'invalid_request_error', /8000 pixels/),
  deferred('bytes that are no picture', picture('AAAA'), 'invalid_request_error', 'Could not process image'),
  deferred('five cache markers', { system: Array.from({ length: 5 }, () => ({ type: 'text', text: 'x', cache_control: { type: 'ephemeral' } })) }, 'invalid_request_error', /maximum of 4 blocks/),
  deferred('a one-hour marker after a five-minute one', { system: [{ type: 'text', text: 'x', cache_control: { type: 'ephemeral' } }, { type: 'text', text: 'y', cache_control: { type: 'ephemeral', ttl: '1h' } }] }, 'invalid_request_error', /ttl/),
];

describe('faults in params become errored rows', () => {
  it.each(DEFERRED)('%s', async (_name, extra, type, message, headers) => {
    const row = await rowFor(await rig(), params(extra), headers);
    expect(at(row, 'result.type')).toBe('errored');
    expect(at(row, 'result.error.error.type')).toBe(type);
    expect(at(row, 'result.error.error.message')).toEqual(typeof message === 'string' ? message : expect.stringMatching(message));
  });

  it('sampling parameters are fine under the older version', async () => {
    expect(at(await rowFor(await rig(), params({ temperature: 0.5, top_p: 0.9, top_k: 5 })), 'result.type')).toBe('succeeded');
  });

  it('the beta of 2026-03-24 lifts max_tokens to 300,000 where it applies, in batches only', async () => {
    const beta = { 'anthropic-beta': 'output-300k-2026-03-24' };
    const on = await rig();
    const lifted = ['opus-5-5', 'opus-5', 'opus-4-8', 'opus-4-7', 'opus-4-6', 'sonnet-5', 'sonnet-4-6', 'haiku-5-5'];
    const others = ['fable-5', 'fable-5-1', 'fable-5-2', 'mythos-5', 'mythos-5-1', 'sonnet-5-5', 'haiku-4-5'];
    const ask = (name: string): Json => params({ model: `claude-${name}`, max_tokens: 300_000 });
    const rows = await finish(on, { requests: [...lifted, ...others].map((name) => ({ custom_id: name, params: ask(name) })) }, beta);
    const succeeded = [...rows.keys()].filter((name) => at(rows.get(name), 'result.type') === 'succeeded');
    expect(succeeded.sort()).toEqual([...lifted].sort());
    expect(at(await rowFor(on, ask('haiku-5-5')), 'result.type')).toBe('errored');
    expect((await on.call('POST', '/v1/messages', ask('haiku-5-5'), beta)).status).toBe(400);
  });

  it.each([
    ['a picture', picture(png(200, 200))],
    ['a PDF', { messages: [{ role: 'user', content: [{ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: Buffer.from('%PDF-1.4 /Type /Page ').toString('base64') } }] }] }],
    ['a tool of one\'s own', { tools: [tool] }],
    ['tools of the service', { tools: [{ type: 'web_search_20250305', name: 'web_search', max_uses: 2 }, { type: 'web_fetch_20250910', name: 'web_fetch' }, { type: 'code_execution_20250825', name: 'code_execution' }] }],
    ['several turns', { messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'b' }, { role: 'user', content: 'c' }] }],
    ['prefill up to 4.5', { messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: '{' }] }],
    ['thinking enabled up to 4.6', { model: 'claude-sonnet-4-6', max_tokens: 4_096, thinking: { type: 'enabled', budget_tokens: 1_024 } }],
    ['thinking adaptive from 4.6 on', { model: 'claude-sonnet-4-6', thinking: { type: 'adaptive' } }],
    ['thinking disabled on Opus 5', { model: 'claude-opus-5', thinking: { type: 'disabled' } }],
    ['a requested schema', { output_config: { format: { type: 'json_schema', schema: { type: 'object' } } } }],
  ])('%s works in a batch', async (_name, extra) => {
    expect(at(await rowFor(await rig(), params(extra)), 'result')).toMatchObject({ type: 'succeeded' });
  });

  it('a prompt longer than the context window fails its row', async () => {
    const row = await rowFor(await rig(), params({ messages: [{ role: 'user', content: 'word '.repeat(300_000) }] }));
    expect(at(row, 'result.error.error.message')).toMatch(/^prompt is too long: \d+ tokens > 200000 maximum$/);
  });
});

describe('row shapes', () => {
  it('a succeeded row has the captured keys in the captured order', async () => {
    const on = await rig();
    const id = await create(on, batchBody(1));
    await on.advance(61_000);
    expect((await on.call('GET', `/v1/messages/batches/${id}/results`)).text).toMatch(
      /^\{"custom_id":"row-0","result":\{"type":"succeeded","message":\{"id":"msg_01[0-9A-Za-z]{22}","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001","content":\[\{"type":"text","text":".+"\}\],"stop_reason":"end_turn","stop_sequence":null,"usage":\{"input_tokens":\d+,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":\{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0\},"output_tokens":\d+,"service_tier":"batch","inference_geo":"not_available"\}\}\}\}\n$/,
    );
  });

  it('an error is doubly nested and its request_id is null before execution', async () => {
    const row = await rowFor(await rig(), params({ model: 'claude-does-not-exist-9' }));
    expect(JSON.stringify(row)).toBe('{"custom_id":"only","result":{"type":"errored","error":{"type":"error","error":{"details":{"error_visibility":"user_facing"},"type":"not_found_error","message":"model: claude-does-not-exist-9"},"request_id":null}}}');
  });

  it('a row that failed while running carries a worker request id', async () => {
    const row = await rowFor(await rig(), params({ messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'https://nowhere.invalid/a.png' } }] }] }));
    expect(at(row, 'result.error.request_id')).toMatch(/^workerreq_01/);
  });

  it('the model of a message is the dated id, not the alias', async () => {
    expect(at(await rowFor(await rig(), params()), 'result.message.model')).toBe('claude-haiku-4-5-20251001');
  });

  it('the rows of a batch that took longer than a day expire, unbilled', async () => {
    const on = await rig({ batchMs: 48 * 3_600_000 });
    const id = await create(on, batchBody(40));
    await on.advance(24 * 3_600_000 + 1);
    const { json } = await on.call('GET', `/v1/messages/batches/${id}`);
    const rows = rowsOf((await on.call('GET', `/v1/messages/batches/${id}/results`)).text);
    const expired = [...rows.values()].filter((row) => at(row, 'result.type') === 'expired');
    expect(json.ended_at).toBe(json.expires_at);
    expect(expired.length).toBe(at(json, 'request_counts.expired'));
    expect(JSON.stringify(expired[0])).toMatch(/^\{"custom_id":"row-\d+","result":\{"type":"expired"\}\}$/);
    expect(on.truth('row_billed')).toHaveLength(40 - expired.length);
  });
});

describe('the results download', () => {
  it('before the end is a 404 that says not to retry', async () => {
    const on = await rig();
    const id = await create(on);
    const reply = await on.call('GET', `/v1/messages/batches/${id}/results`);
    expect([reply.status, at(reply.json, 'error.message'), reply.headers.get('x-should-retry')]).toEqual([404, `Message Batch ${id} has no available results.`, 'false']);
  });

  it('has its media type, file name and chunked transfer, and ends with LF', async () => {
    const on = await rig();
    const id = await create(on);
    await on.advance(61_000);
    const { headers, text } = await on.call('GET', `/v1/messages/batches/${id}/results`);
    expect([headers.get('content-type'), headers.get('content-disposition'), headers.get('transfer-encoding')]).toEqual(['application/x-jsonl', `attachment; filename="${id}_results.jsonl"`, 'chunked']);
    expect(text.endsWith('}\n')).toBe(true);
  });

  it('needs a key', async () => {
    const on = await rig();
    const id = await create(on);
    await on.advance(61_000);
    const { json } = await on.call('GET', `/v1/messages/batches/${id}`);
    expect((await fetch(String(json.results_url))).status).toBe(401);
  });

  it('has exactly one row per request, shuffled, in the same order every time', async () => {
    const on = await rig();
    const id = await create(on, batchBody(50));
    await on.advance(61_000);
    const first = (await on.call('GET', `/v1/messages/batches/${id}/results`)).text;
    const ids = [...rowsOf(first).keys()];
    expect([...ids].sort()).toEqual(batchBody(50).requests.map((request) => request.custom_id).sort());
    expect(ids).not.toEqual(batchBody(50).requests.map((request) => request.custom_id));
    expect((await on.call('GET', `/v1/messages/batches/${id}/results`)).text).toBe(first);
  });

  it('is gone 29 days after creation, while the batch stays with archived_at set', async () => {
    const on = await rig();
    const id = await create(on);
    await on.advance(29 * 86_400_000 - 1_000);
    expect((await on.call('GET', `/v1/messages/batches/${id}/results`)).status).toBe(200);
    await on.advance(2_000);
    const { json } = await on.call('GET', `/v1/messages/batches/${id}`);
    expect([json.processing_status, String(json.archived_at).slice(0, 19), json.results_url]).toEqual(['ended', '2026-12-20T08:00:00', null]);
    expect((await on.call('GET', `/v1/messages/batches/${id}/results`)).status).toBe(404);
  });

  it('rows of different models and kinds can be mixed', async () => {
    const rows = await finish(await rig(), {
      requests: [
        { custom_id: 'a', params: params() },
        { custom_id: 'b', params: params({ model: 'claude-opus-5', tools: [tool], tool_choice: { type: 'any' } }) },
        { custom_id: 'c', params: {} },
      ],
    });
    expect(['a', 'b', 'c'].map((id) => at(rows.get(id), 'result.type'))).toEqual(['succeeded', 'succeeded', 'errored']);
  });
});
