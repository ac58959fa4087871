/** Where the provider's batch calls live, and what a read that failed there means to the stage that made it. */
import { APIError, APIUserAbortError } from '@anthropic-ai/sdk';
import { PlimsollError } from '../segments/errors.ts';

export const batchesPath = '/v1/messages/batches';

/** The error that a stage can decide by: try again, or stop. An abort of our own stays what it is. */
export function readFault(error: unknown, operation: string): unknown {
  if (error instanceof APIUserAbortError) return error;
  if (error instanceof APIError && typeof error.status === 'number') {
    const status: number = error.status;
    const where = error.requestID ? `request ${error.requestID}` : 'no request id';
    if (status === 401 || status === 403) {
      return new PlimsollError('credentials_refused', {
        message: `the provider answered ${status} when asked to ${operation}`,
        where,
        hint: 'Check the API key and its workspace; nothing was submitted, and the work stays queued.',
      });
    }
    if (status === 408 || status === 409 || status === 429 || status >= 500) {
      return new PlimsollError('provider_unavailable', { message: `the provider answered ${status} when asked to ${operation}`, where });
    }
    return new PlimsollError('provider_refused', { message: `the provider answered ${status} when asked to ${operation}`, where });
  }
  return new PlimsollError('provider_unavailable', {
    message: `no answer from the provider when asked to ${operation}`,
    hint: 'Check the network and ANTHROPIC_BASE_URL.',
    cause: error,
  });
}

/** The fault that a create shows which the provider refuses for the account's sake. `status`: its HTTP status. */
export function refusedAccount(status: number): PlimsollError {
  return new PlimsollError('credentials_refused', {
    message: `the provider refuses to accept batches from this account (status ${status})`,
    hint: 'Check key, workspace, billing and spend limits; the work stays queued and is tried again every minute.',
  });
}
