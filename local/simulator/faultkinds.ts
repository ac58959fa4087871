/**
 * Every fault the simulator can play, with the call it belongs to and what it does. This table is the source of `simulate --help`, of the
 * script checks and of the README list.
 */

/** Where in a call's life a fault acts: on the connection, on the reply, on the rows of a batch, on a results download, on a listing. */
export type FaultGroup = 'call' | 'row' | 'results' | 'view';

export interface FaultDescription {
  readonly group: FaultGroup;
  /** The operation a rule means when it names none; `*` is every call. */
  readonly on: string;
  /** One line for people. */
  readonly meaning: string;
}

const describe = (group: FaultGroup, on: string, meaning: string): FaultDescription => ({ group, on, meaning });

export const FAULTS = {
  drop_before: describe('call', 'batches.create', 'close the connection before reading the body'),
  drop_mid: describe('call', 'batches.create', 'close the connection in the middle of the body (bytes=N, default half)'),
  drop_after: describe('call', 'batches.create', 'read the whole body, accept nothing, close the connection'),
  hang: describe('call', 'batches.create', 'read the body, accept nothing, never answer (seconds=N: then close)'),
  slow_upload: describe('call', 'batches.create', 'read the body slowly (bytes_per_second=N)'),
  reply_lost: describe('call', 'batches.create', 'do the work, then close the connection instead of answering'),
  reply_cut: describe('call', 'batches.create', 'do the work, then close in the middle of the reply (bytes=N, default half)'),
  reply_hang: describe('call', 'batches.create', 'do the work, never answer (seconds=N: then close)'),
  accept_late: describe('call', 'batches.create', 'close the connection; the batch appears only after seconds=N (hang=true: keep it open instead)'),
  slow_drip: describe('call', 'batches.results', 'send the reply slowly (bytes_per_second=N)'),
  status: describe('call', 'batches.create', 'answer with status=N (error_type=…, error_code=…, message=…; accept=true: do the work first; early=true: before the body). 500, 504, 529, 409 may be used as names'),
  rate_limit: describe('call', '*', 'answer 429 with retry-after (retry_after=N seconds)'),
  spend_limit: describe('call', 'batches.create', 'answer the 429 of an exhausted spend cap, without retry-after'),
  usage_limit: describe('call', 'batches.create', 'answer the 400 of a spend limit that the customer has set (workspace=true: that of a workspace)'),
  refuse_batch: describe('call', 'batches.create', 'answer 400 to the whole batch (message=…; body_contains=TEXT: only bodies that hold it)'),
  too_large: describe('call', 'batches.create', 'answer the 413 of the edge while the body still comes (above_bytes=N: only bodies longer)'),
  vanish: describe('call', 'batches.retrieve', 'answer 404 although the batch exists'),
  stream_error: describe('call', 'messages.create', 'break a streamed message off with an error event'),
  stream_cut: describe('call', 'messages.create', 'close the connection in the middle of a streamed message'),
  errored: describe('row', 'batches.create', 'fail rows of the batch (rate, or rows=N; error_type=…, message=…)'),
  expired: describe('row', 'batches.create', 'let rows expire (rate, or rows=N)'),
  canceled: describe('row', 'batches.create', 'cancel rows nobody asked to cancel (rate, or rows=N)'),
  refused: describe('row', 'batches.create', 'answer rows with stop_reason refusal (rate, or rows=N)'),
  truncated: describe('row', 'batches.create', 'answer rows with stop_reason max_tokens (rate, or rows=N)'),
  account_fault: describe('row', 'batches.create', 'fail every row with one account error (error_type=…, message=…)'),
  results_truncated: describe('results', 'batches.results', 'end the results after whole rows (rows=N, default half; abort=true: break the connection)'),
  results_cut: describe('results', 'batches.results', 'end the results inside a line (rows=N, default half; abort=true: break the connection)'),
  results_duplicated: describe('results', 'batches.results', 'send rows twice (rows=N, default 1)'),
  results_missing: describe('results', 'batches.results', 'leave rows out (rows=N, default 1)'),
  results_foreign: describe('results', 'batches.results', 'add rows of another batch (rows=N, default 1)'),
  results_crlf: describe('results', 'batches.results', 'end lines with CR LF'),
  results_unready: describe('results', 'batches.results', 'answer "no available results" although the batch has ended'),
  counts_wrong: describe('view', 'batches.retrieve', 'report one succeeded row too few and one errored row too many (rows=N)'),
  list_lag: describe('view', 'batches.list', 'leave batches younger than seconds=N out of the list'),
  list_short: describe('view', 'batches.list', 'give fewer batches on a page than were asked for (rows=N, default 1)'),
  list_reordered: describe('view', 'batches.list', 'turn the order of batches of the same second round'),
  list_cut: describe('view', 'batches.list', 'end the list after rows=N batches (default 1), say that there is more, and answer the page behind with nothing'),
  status_unknown: describe('view', 'batches.list', 'show a processing_status and a field that nobody knows while a batch has not ended'),
  counts_unknown: describe('view', 'batches.list', 'show a counter that nobody knows among request_counts (rows=N: its value, default the sum of the others)'),
  date_skew: describe('view', '*', 'shift the Date header by seconds=N (may be negative)'),
} as const satisfies Record<string, FaultDescription>;

export type FaultKind = keyof typeof FAULTS;

/** True for the name of a fault. */
export function isFaultKind(name: string): name is FaultKind {
  return Object.hasOwn(FAULTS, name);
}

/** The operations a rule can name. `batches.*` and `*` stand for several. */
export const OPERATIONS = [
  'batches.create',
  'batches.retrieve',
  'batches.list',
  'batches.cancel',
  'batches.delete',
  'batches.results',
  'messages.create',
  'messages.count_tokens',
  'models.list',
  'models.retrieve',
] as const;

export type Operation = (typeof OPERATIONS)[number];
