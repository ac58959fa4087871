/** What the provider does in a schedule: rules of the simulator that are drawn, and those that a rare crash point needs. Pure. */
import type { Random } from '../box/random.ts';

/** One rule, in the words of the simulator (`local/simulator/faultkinds.ts`). */
export type ProviderRule = Readonly<Record<string, string | number | boolean>>;

const creates = 'batches.create';

/** Faults of the provider that a schedule may hold; each is armed once. */
export const providerRules: readonly ((random: Random) => ProviderRule)[] = [
  (random) => ({ fault: 'reply_lost', nth: 1 + random.int(3) }),
  (random) => ({ fault: 'reply_lost', nth: 1 + random.int(2) }),
  (random) => ({ fault: 'reply_cut', nth: 1 + random.int(3) }),
  (random) => ({ fault: 'reply_hang', nth: 1 + random.int(3), seconds: 2 }),
  (random) => ({ fault: 'accept_late', nth: 1 + random.int(3), seconds: 0.6 }),
  (random) => ({ fault: 'drop_before', nth: 1 + random.int(3) }),
  (random) => ({ fault: 'drop_mid', nth: 1 + random.int(3) }),
  (random) => ({ fault: 'drop_after', nth: 1 + random.int(3) }),
  (random) => ({ fault: 'hang', nth: 1 + random.int(3), seconds: 1 }),
  (random) => ({ fault: 'status', status: random.pick([500, 502, 503, 504, 408, 409]), nth: 1 + random.int(3), ...(random.chance(0.5) ? { accept: true } : {}) }),
  (random) => ({ fault: 'status', status: 529, nth: 1 + random.int(3) }),
  (random) => ({ fault: 'status', status: random.pick([401, 402, 403, 404, 422]), nth: 1 + random.int(2), retry_after: 1 }),
  (random) => ({ fault: 'rate_limit', on: creates, nth: 1 + random.int(3), retry_after: 1 }),
  (random) => ({ fault: 'refuse_batch', nth: 1 + random.int(3), message: 'a request of it is not valid' }),
  () => ({ fault: 'refuse_batch', message: 'a request of it is not valid', body_contains: 'Document 7 ' }),
  (random) => ({ fault: 'too_large', nth: 1 + random.int(2) }),
  () => ({ fault: 'errored', rate: 0.1, error_type: 'invalid_request_error', message: 'this request is not valid' }),
  () => ({ fault: 'errored', rate: 0.15, error_type: 'api_error', message: 'the model stumbled' }),
  () => ({ fault: 'expired', rate: 0.15 }),
  () => ({ fault: 'expired', rate: 0.8 }),
  () => ({ fault: 'canceled', rate: 0.1 }),
  (random) => ({ fault: 'account_fault', nth: 1 + random.int(2), error_type: 'billing_error', message: 'your credit balance is too low' }),
  () => ({ fault: 'results_truncated', count: 2 }),
  () => ({ fault: 'results_cut', count: 2 }),
  () => ({ fault: 'results_duplicated', count: 1 }),
  () => ({ fault: 'results_missing', count: 2 }),
  () => ({ fault: 'results_missing', rows: 1 }),
  () => ({ fault: 'results_foreign', count: 1 }),
  () => ({ fault: 'results_crlf', count: 2 }),
  () => ({ fault: 'results_unready', count: 2 }),
  (random) => ({ fault: 'vanish', nth: 1 + random.int(4) }),
  () => ({ fault: 'counts_wrong', count: 2 }),
  () => ({ fault: 'list_lag', seconds: 0.8 }),
  (random) => ({ fault: 'date_skew', seconds: random.pick([-3, -1, 1, 3]) }),
  () => ({ fault: 'status', on: 'batches.results', status: 503, count: 2 }),
  () => ({ fault: 'status', on: 'batches.list', status: 529, count: 3 }),
  () => ({ fault: 'reply_lost', on: 'batches.retrieve', count: 2 }),
];

/** Faults that last until a row is given up for them: the dead letters `too_large` and `attempts_exhausted`. */
export const lastingRules: readonly ProviderRule[] = [
  { fault: 'too_large', count: 14 },
  { fault: 'errored', rate: 0.9, error_type: 'api_error', message: 'the model stumbled' },
];

/** Lists of the workspace in another form than they have had so far, for as long as faults last. */
export const listRules: readonly ProviderRule[] = [
  { fault: 'list_short' },
  { fault: 'list_reordered' },
  { fault: 'list_cut', rows: 1 },
  { fault: 'status_unknown' },
  { fault: 'counts_unknown' },
];

/** A create without a reply, of which there is a batch or none. */
export const doubtRule = (random: Random): ProviderRule => ({ fault: random.pick(['reply_lost', 'drop_after', 'drop_after']), nth: 1 + random.int(2) });

/** What the provider has to do for a rare point to be passed at all. */
export const companions: Readonly<Record<string, (random: Random) => ProviderRule>> = {
  'ledger.doubt-intent': doubtRule, 'ledger.note-look': doubtRule, 'ledger.watch-batch': doubtRule, 'claude.list': doubtRule,
  'ledger.absolve-intent': () => ({ fault: 'drop_after', nth: 1 }),
  'ledger.disown-batch': () => ({ fault: 'drop_after', nth: 1 }), 'ledger.renew-lane': () => ({ fault: 'reply_hang', nth: 1, seconds: 2 }),
  'ledger.refuse-intent': () => ({ fault: 'rate_limit', on: creates, nth: 1, retry_after: 1 }),
  'ledger.halve-archive': () => ({ fault: 'refuse_batch', nth: 1 }), 'ledger.split': () => ({ fault: 'refuse_batch', count: 2 }), 'lake.halved': () => ({ fault: 'refuse_batch', nth: 1 }),
  'ledger.reject-archive': () => ({ fault: 'refuse_batch', body_contains: 'Document 7 ' }), 'lake.rejected': () => ({ fault: 'refuse_batch', body_contains: 'Document 7 ' }),
  'lake.errors': () => ({ fault: 'errored', rate: 0.1, error_type: 'invalid_request_error', message: 'this request is not valid' }),
};
