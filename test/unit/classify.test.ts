import { APIConnectionError, APIError, APIUserAbortError } from '@anthropic-ai/sdk';
import { describe, expect, it } from 'vitest';
import { classify } from '../../workers/anthropic.ts';

/** The error that the SDK throws for a reply. */
function reply(status: number, type: string | undefined, given: { readonly headers?: Record<string, string>; readonly code?: string; readonly requestId?: string } = {}): APIError {
  const headers = new Headers({ ...(given.requestId === undefined ? {} : { 'request-id': given.requestId }), ...given.headers });
  const details = given.code === undefined ? {} : { details: { error_code: given.code } };
  const body = type === undefined ? undefined : { type: 'error', error: { type, message: 'no', ...details } };
  return APIError.generate(status, body, 'no', headers) as APIError;
}

describe('what a failed create proves, once the last byte has left', () => {
  it.each([
    [400, 'invalid_request_error', 'archive'],
    [401, 'authentication_error', 'account'],
    [402, 'billing_error', 'account'],
    [403, 'permission_error', 'account'],
    [404, 'not_found_error', 'account'],
    [413, 'request_too_large', 'archive'],
    [422, 'invalid_request_error', 'archive'],
    [429, 'rate_limit_error', 'moment'],
  ])('%i is a refusal that speaks of the %s', (status, type, scope) => {
    expect(classify(reply(status, type), true)).toMatchObject({ kind: 'refused', scope, status, reason: `status_${status}` });
  });

  it.each([408, 409, 499, 500, 502, 503, 504, 520])('%i proves nothing', (status) => {
    expect(classify(reply(status, 'api_error', { requestId: 'req_1' }), true)).toEqual({ kind: 'in_doubt', reason: `status_${status}`, status, retryAfterMs: undefined });
  });

  it('a refusal without a body is one all the same: the edge answers 413 in its own words', () => {
    expect(classify(reply(413, undefined), true)).toMatchObject({ kind: 'refused', scope: 'archive' });
  });

  it('529 proves nothing, however well formed: it says that the provider is busy, not how far it had come', () => {
    expect(classify(reply(529, 'overloaded_error', { requestId: 'req_1' }), true)).toMatchObject({ kind: 'in_doubt', reason: 'status_529', status: 529 });
  });

  it('a 400 with an error code speaks of the account', () => {
    expect(classify(reply(400, 'invalid_request_error', { code: 'account_on_hold' }), true)).toMatchObject({ kind: 'refused', scope: 'account' });
  });

  it.each([
    ['a lost connection', new APIConnectionError({ message: 'reset' }), 'connection_lost'],
    ['an abort', new APIUserAbortError(), 'no_reply'],
    ['anything else', new TypeError('terminated'), 'upload_failed'],
  ])('%s proves nothing', (_what, error, reason) => {
    expect(classify(error, true)).toEqual({ kind: 'in_doubt', reason });
  });
});

describe('what a failed create proves, while the last byte is held back', () => {
  it.each([408, 409, 500, 503, 529])('%i is a refusal: an incomplete body is never accepted', (status) => {
    expect(classify(reply(status, 'api_error'), false)).toMatchObject({ kind: 'refused', scope: 'moment', status });
  });
  it.each([
    [new APIConnectionError({ message: 'refused' }), 'not_sent_connection_lost'],
    [new APIUserAbortError(), 'not_sent_aborted'],
    [new Error('the gate stayed shut'), 'not_sent_upload_failed'],
  ])('a broken upload is a refusal (%#)', (error, reason) => {
    expect(classify(error, false)).toEqual({ kind: 'refused', scope: 'moment', reason, status: undefined, retryAfterMs: undefined });
  });
});

describe('retry-after', () => {
  it.each([
    ['7', 7_000],
    ['0', 0],
    ['999999', 3_600_000],
    ['-1', undefined],
    ['soon', undefined],
  ])('%j is %j ms', (header, expected) => {
    expect(classify(reply(429, 'rate_limit_error', { headers: { 'retry-after': header } }), true)).toMatchObject({ retryAfterMs: expected });
  });
  it('is undefined where the provider gives none', () => {
    expect(classify(reply(429, 'rate_limit_error'), true)).toMatchObject({ retryAfterMs: undefined });
  });
});
