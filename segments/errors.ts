/**
 * The one table of errors. A code is stable: scripts, tests and dashboards may rely on it; a message may be reworded.
 * Nothing in Plimsoll is classified by message text.
 */

/** What the process exits with; see the CLI's help. */
export type ExitCode = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 130;

/** How a caller goes on: try again later, refuse this input, or stop until a person has acted. */
export type Disposition = 'retry' | 'refuse' | 'stop';

interface ErrorKind {
  readonly disposition: Disposition;
  readonly exit: ExitCode;
  readonly meaning: string;
}

function kind(disposition: Disposition, exit: ExitCode, meaning: string): ErrorKind {
  return { disposition, exit, meaning };
}

export const errorKinds = {
  config_invalid: kind('refuse', 2, 'The configuration has faults; every one of them is listed.'),
  usage: kind('refuse', 2, 'A command line argument is missing or wrong.'),
  source_unreadable: kind('refuse', 2, 'The source cannot be opened or read.'),
  source_damaged: kind('refuse', 2, 'The source ends early or its compression is broken; what was read before is kept.'),
  input_rejected: kind('refuse', 2, 'Too many lines of the source are bad for the bounds that were set.'),
  run_key_invalid: kind('refuse', 2, 'The run key has characters that cannot stand in a lake key.'),
  run_input_differs: kind('refuse', 2, 'The run key exists with another input.'),
  run_config_differs: kind('refuse', 2, 'The run was begun under settings that would cut its segments differently.'),
  run_side_differs: kind('refuse', 2, 'The run is a rehearsal and was to be worked for real, or the other way round.'),
  run_busy: kind('retry', 1, 'Another producer is ingesting the same run.'),
  run_unknown: kind('refuse', 2, 'No run has this key.'),
  run_unfinished: kind('retry', 6, 'The run has not ended yet, and the command needs one that has.'),
  run_ended: kind('refuse', 2, 'The run has ended, so nothing of it is left to be held.'),
  run_canceled: kind('stop', 1, 'The run was canceled.'),
  segment_unknown: kind('refuse', 2, 'No segment or topic has this name.'),
  nothing_held: kind('refuse', 2, 'Nothing of the segment is held, so there is nothing to plan anew.'),
  replan_refused: kind('refuse', 2, 'Held prompts cannot be sent with the parameters that were asked for.'),
  replan_unfinished: kind('refuse', 2, 'Another replan of the segment was decided and not carried out; it has to be gone on with first.'),
  tier_unknown: kind('refuse', 2, 'No tier of the configuration has this name.'),
  client_unknown: kind('refuse', 2, 'Nothing is known of this client.'),
  archive_unknown: kind('refuse', 2, 'No archive has this id.'),
  not_in_doubt: kind('refuse', 2, 'The archive is not in doubt, or not any more.'),
  adoption_refused: kind('refuse', 2, 'The batch cannot be the one of the archive.'),
  home_unavailable: kind('stop', 2, 'The folder of all local state cannot be made or written.'),
  installation_differs: kind('refuse', 2, 'Ledger and lake belong to different installations.'),
  plan_stale: kind('refuse', 2, 'The input, the prices or the settings are no longer those of the plan.'),
  file_exists: kind('refuse', 2, 'A file that would be written is there already.'),
  redis_unavailable: kind('retry', 2, 'Redis is not reachable or was not found.'),
  redis_refused: kind('retry', 1, 'Redis takes no writes for now: it has no memory or no disk left, or is not the primary.'),
  redis_unfit: kind('stop', 2, 'Redis may lose or evict what the ledger has promised to keep.'),
  ledger_behind: kind('stop', 1, 'Redis has forgotten what the lake knows was done: posting now could pay twice.'),
  ledger_busy: kind('retry', 1, 'Other processes work on the ledger, so it cannot be rebuilt now.'),
  ledger_corrupt: kind('stop', 1, 'A record of the ledger is not what its key promises.'),
  queue_unavailable: kind('retry', 1, 'An SQS queue cannot be read or written.'),
  sink_unavailable: kind('retry', 1, 'A destination of events does not take them.'),
  notice_malformed: kind('refuse', 1, 'A message of the document queue is no event of S3.'),
  archive_damaged: kind('refuse', 1, 'An audit archive is not what its digests promise.'),
  lake_unavailable: kind('retry', 1, 'The lake cannot be read or written.'),
  lake_full: kind('retry', 1, 'The lake or the scratch disk has no room.'),
  lake_missing: kind('stop', 1, 'An object that the ledger relies on is not in the lake.'),
  lake_conflict: kind('stop', 1, 'An object exists under this key with other content; it is never overwritten.'),
  lake_unfit: kind('stop', 1, 'The lake overwrites objects or does not keep what was written.'),
  results_incomplete: kind('retry', 1, 'The downloaded results are not the complete set of the archive.'),
  rows_unaccounted: kind('stop', 1, 'A run cannot be closed: not every row of it is a result or a dead letter.'),
  credentials_missing: kind('stop', 4, 'No API key is set and no simulator was asked for.'),
  credentials_refused: kind('stop', 4, 'The provider does not accept the credentials.'),
  account_at_fault: kind('stop', 4, 'The provider answers the prompts of this account with an error of the account: billing, a limit or a permission.'),
  provider_unavailable: kind('retry', 1, 'The provider did not answer or answered with a passing fault.'),
  provider_refused: kind('stop', 1, 'The provider refused the call for good.'),
  model_unknown: kind('refuse', 2, 'The price table has no such model, so no budget could be kept.'),
  simulator_failed: kind('stop', 1, 'The simulator did not start.'),
  interrupted: kind('retry', 130, 'A person interrupted the command; what is durable stays, and the work goes on.'),
  thread_failed: kind('retry', 1, 'A thread of the process has ended before its work was done.'),
  timed_out: kind('retry', 6, 'The work goes on; only the waiting ended.'),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorKinds;

/** What an operator needs: what happened, where, and what to do next. */
export interface ErrorDetail {
  /** Operation and cause, one sentence. Never a secret, a prompt or an answer. */
  readonly message: string;
  /** `file:line`, a lake key, a ledger key or a setting. */
  readonly where?: string;
  /** The next step. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** The only error that Plimsoll throws for things that can happen; anything else is a programmer's mistake. */
export class PlimsollError extends Error {
  readonly code: ErrorCode;
  readonly where: string | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, detail: ErrorDetail) {
    super(detail.message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = 'PlimsollError';
    this.code = code;
    this.where = detail.where;
    this.hint = detail.hint;
  }

  get disposition(): Disposition {
    return errorKinds[this.code].disposition;
  }

  get exit(): ExitCode {
    return errorKinds[this.code].exit;
  }
}

/** The errno code of a system error, or undefined. Codes, unlike messages, are stable. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

/** A programmer's mistake: something that cannot be so is so. Its message names ids and numbers, never content. */
export class InvariantBroken extends Error {
  constructor(message: string) {
    super(`invariant broken: ${message}`);
    this.name = 'InvariantBroken';
  }
}

/**
 * Asserts what must hold if the code is right. It stays on in production: going on with a broken invariant could pay
 * twice or lose a prompt, stopping cannot.
 */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantBroken(message);
}
