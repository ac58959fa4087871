import Anthropic from '@anthropic-ai/sdk';
import { describe, expect, it } from 'vitest';
import type { FaultRule } from '../../../local/simulator/simulator.ts';
import { at, rig, type Rig } from './rig.ts';

/** The unmodified official SDK against the simulator: every call, and every error class (claude-batches.md 1.8). */

const hello = { model: 'claude-haiku-4-5', max_tokens: 100, messages: [{ role: 'user' as const, content: 'Hello, Claude' }] };
const requests = (count: number): Anthropic.Messages.BatchCreateParams.Request[] => Array.from({ length: count }, (_, index) => ({ custom_id: `r${index}`, params: hello }));

describe('batches through the SDK', () => {
  it('create, retrieve, results', async () => {
    const on = await rig();
    const batch = await on.client.messages.batches.create({ requests: requests(3) });
    expect([batch.processing_status, batch.request_counts.processing]).toEqual(['in_progress', 3]);
    await on.advance(61_000);
    expect((await on.client.messages.batches.retrieve(batch.id)).processing_status).toBe('ended');
    const ids: string[] = [];
    for await (const row of await on.client.messages.batches.results(batch.id)) {
      expect(row.result.type).toBe('succeeded');
      ids.push(row.custom_id);
    }
    expect(ids.sort()).toEqual(['r0', 'r1', 'r2']);
  });

  it('results before the end throws the SDK\'s own error', async () => {
    const on = await rig();
    const { id } = await on.client.messages.batches.create({ requests: requests(1) });
    await expect(on.client.messages.batches.results(id)).rejects.toThrow(/No batch `results_url`/);
  });

  it('list pages by itself, forwards and from a before_id', async () => {
    const on = await rig();
    const made: string[] = [];
    for (let index = 0; index < 7; index += 1) {
      made.unshift((await on.client.messages.batches.create({ requests: requests(1) })).id);
    }
    const collect = async (query: Anthropic.Messages.BatchListParams): Promise<string[]> => {
      const ids: string[] = [];
      for await (const batch of on.client.messages.batches.list(query)) {
        ids.push(batch.id);
      }
      return ids;
    };
    expect(await collect({ limit: 3 })).toEqual(made);
    expect((await collect({ limit: 2, before_id: made[6] ?? '' })).sort()).toEqual(made.slice(0, 6).sort());
  });

  it('cancel and delete', async () => {
    const on = await rig();
    const { id } = await on.client.messages.batches.create({ requests: requests(2) });
    expect((await on.client.messages.batches.cancel(id)).processing_status).toBe('canceling');
    await on.advance(5_000);
    expect(await on.client.messages.batches.delete(id)).toEqual({ id, type: 'message_batch_deleted' });
  });

  it('the beta surface uses the same endpoints', async () => {
    const on = await rig();
    const batch = await on.client.beta.messages.batches.create({ requests: requests(1) });
    expect((await on.client.beta.messages.batches.retrieve(batch.id)).id).toBe(batch.id);
  });

  it('the SDK says its API version and how often it has tried, and both are in the truth log', async () => {
    const on = await rig();
    await on.client.messages.batches.create({ requests: requests(1) });
    expect(on.truth('request_received').map((line) => [line.operation, line.api_version, line.retry_count])).toEqual([['batches.create', '2026-10-21', '0']]);
  });

  it('an idempotency key changes nothing: the same create twice makes two batches', async () => {
    const on = await rig();
    const twice = { headers: { 'idempotency-key': 'the-same' } };
    const [one, other] = [await on.client.messages.batches.create({ requests: requests(1) }, twice), await on.client.messages.batches.create({ requests: requests(1) }, twice)];
    expect([one.id === other.id, on.truth('batch_accepted').length]).toEqual([false, 2]);
  });

  it('request and workspace ids reach the SDK, from errors too', async () => {
    const on = await rig();
    const batch = await on.client.messages.batches.create({ requests: requests(1) });
    expect([batch._request_id, at(batch, '_workspace_id')]).toEqual([expect.stringMatching(/^req_01/), expect.stringMatching(/^wrkspc_01/)]);
    const error: unknown = await on.client.messages.batches.retrieve('msgbatch_01none').catch((cause: unknown) => cause);
    expect([at(error, 'requestID'), at(error, 'workspaceID')]).toEqual([expect.stringMatching(/^req_01/), at(batch, '_workspace_id')]);
  });
});

describe('messages, tokens and models through the SDK', () => {
  it('a message, and the same one streamed', async () => {
    const { client } = await rig();
    const whole = await client.messages.create(hello);
    const streamed = await client.messages.stream(hello).finalMessage();
    expect(streamed.content).toEqual(whole.content);
    expect([streamed.stop_reason, streamed.usage.output_tokens]).toEqual([whole.stop_reason, whole.usage.output_tokens]);
  });

  it('a streamed tool use adds up to its input', async () => {
    const { client } = await rig();
    const tools = [{ name: 'save', input_schema: { type: 'object' as const, properties: { total: { type: 'integer' } }, required: ['total'] } }];
    const streamed = await client.messages.stream({ ...hello, tools, tool_choice: { type: 'any' } }).finalMessage();
    expect([streamed.stop_reason, typeof at(streamed, 'content.0.input.total')]).toEqual(['tool_use', 'number']);
  });

  it('streamed thinking carries its signature', async () => {
    const { client } = await rig();
    const streamed = await client.messages.stream({ ...hello, max_tokens: 3_000, thinking: { type: 'enabled', budget_tokens: 1_024 } }).finalMessage();
    expect([at(streamed, 'content.0.type'), typeof at(streamed, 'content.0.signature')]).toEqual(['thinking', 'string']);
  });

  it('count_tokens agrees with the bill', async () => {
    const { client } = await rig();
    const { model, messages } = hello;
    expect((await client.messages.countTokens({ model, messages })).input_tokens).toBe((await client.messages.create(hello)).usage.input_tokens);
  });

  it('models list and get', async () => {
    const { client } = await rig();
    const ids: string[] = [];
    for await (const model of client.models.list({ limit: 5 })) {
      ids.push(model.id);
    }
    expect(ids).toContain('claude-sonnet-5-5');
    expect((await client.models.retrieve('claude-haiku-4-5')).id).toBe('claude-haiku-4-5-20251001');
  });
});

describe('errors become the right class', () => {
  const failing = async (rule: Partial<FaultRule>): Promise<unknown> => {
    const on: Rig = await rig({ faults: { faults: [{ fault: 'status', on: '*', ...rule }] } });
    return await on.client.messages.batches.create({ requests: requests(1) }).catch((error: unknown) => error);
  };

  it.each([
    [400, Anthropic.BadRequestError, 'invalid_request_error'],
    [401, Anthropic.AuthenticationError, 'authentication_error'],
    [402, Anthropic.PaymentRequiredError, 'billing_error'],
    [403, Anthropic.PermissionDeniedError, 'permission_error'],
    [404, Anthropic.NotFoundError, 'not_found_error'],
    [409, Anthropic.ConflictError, 'conflict_error'],
    [413, Anthropic.ContentTooLargeError, 'request_too_large'],
    [429, Anthropic.RateLimitError, 'rate_limit_error'],
    [500, Anthropic.InternalServerError, 'api_error'],
    [504, Anthropic.GatewayTimeoutError, 'timeout_error'],
    [529, Anthropic.OverloadedError, 'overloaded_error'],
  ])('%i', async (status, kind, type) => {
    const error = await failing({ status });
    expect(error).toBeInstanceOf(kind);
    expect([at(error, 'status'), at(error, 'type')]).toEqual([status, type]);
  });

  it.each([
    [400, 'invalid_request_error', 'claude_code_key_creator_not_member'],
    [400, 'invalid_request_error', 'cmek_key_disabled'],
    [400, 'invalid_request_error', 'cmek_key_network_blocked'],
    [400, 'invalid_request_error', 'organization_on_hold'],
    [400, 'invalid_request_error', 'request_body_timeout'],
    [400, 'invalid_request_error', 'unsupported_charset'],
    [402, 'billing_error', 'linked_organization_billing_unavailable'],
    [403, 'permission_error', 'user_profile_billing_not_authorized'],
    [403, 'permission_error', 'user_profile_billing_not_billable'],
    [403, 'permission_error', 'sandbox_egress_restricted'],
    [429, 'rate_limit_error', 'contract_spend_limit_reached'],
    [429, 'rate_limit_error', 'ramp_limit_exceeded'],
    [503, 'api_error', 'cmek_context_unavailable'],
    [503, 'api_error', 'cmek_key_unreachable'],
    [529, 'overloaded_error', 'compaction_unavailable'],
    [400, 'invalid_request_error', 'a_code_nobody_knows'],
  ])('%i with the code of %s', async (status, type, code) => {
    const error = await failing({ status, error_type: type, error_code: code });
    expect([at(error, 'status'), at(error, 'type'), at(error, 'errorCode')]).toEqual([status, type, code]);
  });

  it('a spend limit carries its code and no retry-after', async () => {
    const error = await failing({ fault: 'spend_limit' });
    expect([at(error, 'errorCode'), at(error, 'status')]).toEqual(['enforced_spend_limit_reached', 429]);
    expect(error instanceof Anthropic.APIError && error.headers?.get('retry-after')).toBeNull();
  });

  it.each([
    ['the organisation', {}, /^You have reached your specified API usage limits/],
    ['a workspace', { workspace: true }, /^You have reached your specified workspace API usage limits/],
  ])('a spend limit that %s has set for itself is a 400 with its captured opening', async (_name, rule, opening) => {
    const error = await failing({ fault: 'usage_limit', ...rule });
    expect(error).toBeInstanceOf(Anthropic.BadRequestError);
    expect([at(error, 'type'), at(error, 'error.error.message')]).toEqual(['invalid_request_error', expect.stringMatching(opening)]);
  });

  it('a rate limit carries retry-after', async () => {
    const error = await failing({ fault: 'rate_limit', retry_after: 7 });
    expect(error instanceof Anthropic.RateLimitError && error.headers.get('retry-after')).toBe('7');
  });

  it('an early 413 while the body is still sent is a 413 and not a broken connection', async () => {
    const on = await rig({ batchBodyBytes: 10_000 });
    const big = Array.from({ length: 20 }, (_, index) => ({ custom_id: `r${index}`, params: { ...hello, messages: [{ role: 'user' as const, content: 'x'.repeat(500_000) }] } }));
    expect(at(await on.client.messages.batches.create({ requests: big }).catch((error: unknown) => error), 'status')).toBe(413);
  });

  it('a lost reply is a connection error, and the SDK\'s own retries make a second batch', async () => {
    const on = await rig({ faults: { faults: [{ fault: 'reply_lost', nth: 1 }] } });
    await expect(on.client.messages.batches.create({ requests: requests(1) })).rejects.toBeInstanceOf(Anthropic.APIConnectionError);
    await on.control('POST', '/faults', { faults: [{ fault: 'reply_lost', nth: 1 }], replace: true });
    await on.client.messages.batches.create({ requests: requests(1) }, { maxRetries: 1 });
    expect(on.truth('batch_accepted')).toHaveLength(3);
  });
});
