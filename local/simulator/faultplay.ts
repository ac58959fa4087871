import type { Exchange } from './exchange.ts';
import type { FaultRule } from './faults.ts';
import { rateLimited, refusalOfStatus, spendLimit, usageLimit, type Refusal } from './refusal.ts';

/**
 * The error a fault wants answered instead of the proper reply. `isDone` tells whether the work has been done: rules with `accept` strike
 * only then, the others only before.
 */
export function refusalByFault(exchange: Exchange, isDone: boolean): Refusal | undefined {
  const { faults } = exchange;
  const suits = (rule: FaultRule): boolean => (rule.accept === true) === isDone;
  const storm = faults.take('rate_limit', suits);
  if (storm !== undefined) {
    return rateLimited(storm.message ?? "This request would exceed your organization's rate limit. Please try again later.", storm.retry_after ?? 1);
  }
  const spent = faults.take('spend_limit', suits);
  if (spent !== undefined) {
    return spendLimit();
  }
  const reached = faults.take('usage_limit', suits);
  if (reached !== undefined) {
    return usageLimit(reached.workspace === true);
  }
  const error = faults.take('status', suits);
  if (error === undefined) {
    return undefined;
  }
  const usual = refusalOfStatus(error.status ?? 500);
  return {
    ...usual,
    type: error.error_type ?? usual.type,
    message: error.message ?? usual.message,
    ...(error.error_code === undefined ? {} : { details: { error_code: error.error_code } }),
    ...(error.retry_after === undefined ? {} : { headers: { 'retry-after': String(error.retry_after) } }),
  };
}
