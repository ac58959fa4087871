/** The economy of the ledger: budgets, the accounts that they limit, and the stops that follow when one has no room. */
import type { SegmentState, StopReason } from '../lifecycle.ts';
import type { RunKey, SegmentName, Usage } from '../segment.ts';

export interface SegmentRecord {
  readonly segment: SegmentName;
  readonly state: SegmentState;
  readonly rowsQueued: number;
  readonly rowsHeld: number;
  readonly chunksQueued: number;
  readonly chunksHeld: number;
  readonly stops: readonly StopRecord[];
}

/** Why a segment stands still: for all, for one run, or for one client. */
export interface StopRecord {
  /** Empty when a whole run is held. */
  readonly segment: SegmentName;
  /** Set when a run is held, or when the budget's window is a run: other runs of the segment flow on. */
  readonly run: RunKey | undefined;
  /** Set when the budget is that of a client: others in the segment flow on. */
  readonly client: string | undefined;
  readonly reason: StopReason;
  /** The account that has no room: `segment:…`, `topic:…`, `client:…`, `all`; empty for an operator's stop; the lake key of a
   *  spool object that cannot be read. */
  readonly target: string;
  readonly stoppedAtMs: number;
  /** The bounds of the next prompt in line: it flows again when the account has this much room. */
  readonly tokensNeeded: number;
  readonly microUsdNeeded: number;
  /** Bounds of everything that is held by this stop. */
  readonly tokensHeld: number;
  readonly microUsdHeld: number;
  readonly rowsHeld: number;
  /** Room left on the account; undefined where it has no limit of that kind. */
  readonly tokensFree: number | undefined;
  readonly microUsdFree: number | undefined;
  /** Of a stop for the runtime, ms: the limit, when the work began, how long an archive is expected to take, and on how
   *  many archives that rests (0: none was seen, the worst case is assumed). */
  readonly runtime?: {
    readonly limitMs: number;
    readonly startedAtMs: number;
    readonly turnaroundMs: number;
    readonly turnaroundsSeen: number;
    /** How often the provider's queue has to be filled until the next prompt in line is processed, the rows before it, and
     *  how many rows the queue takes (0: nothing was sent yet, so it is not known). */
    readonly queueFillings: number;
    readonly rowsBefore: number;
    readonly queueRowsMax: number;
  };
}

/** A budget: what a target may reserve and spend within a window. */
export interface Budget {
  /** `all`, `topic:invoices`, `segment:invoices.8k.high`, `client:etl`. */
  readonly target: string;
  readonly tokens: number | undefined;
  readonly microUsd: number | undefined;
  /** `run`, `total`, a span such as `1h` and `1d`, aligned to the Unix epoch (UTC), or a stretch of the calendar: `hour`,
   *  `day`, `week` (from Monday) and `month`. */
  readonly window: string;
  /** What is reserved: upper bounds (`strict`, the default), or the share of them that prompts of the same topic and model
   *  are known to consume (`estimate`), which may overrun the limit. */
  readonly mode?: 'strict' | 'estimate' | undefined;
  /** The time zone of a calendar window, an IANA name; undefined: UTC. */
  readonly timeZone?: string | undefined;
  /** Upper bound on the wall time of the work within the window, ms. Where the window is `total`, of one stretch of work:
   *  from the first reservation until nothing is reserved any more. */
  readonly runtimeMs?: number | undefined;
  /** What is done with a batch that outlives `runtimeMs`. */
  readonly onLate?: 'wait' | 'cancel' | undefined;
}

/** What is told of a limit that will probably be used up before its window ends. */
export interface ForecastTold {
  readonly target: string;
  /** The window, as `AccountRecord.windowId`. */
  readonly windowId: string;
  readonly unit: 'tokens' | 'micro_usd';
  /** Tokens or micro-USD. */
  readonly limit: number;
  /** When, Unix ms, to the hour. */
  readonly exceedsAtMs: number;
  /** The same as people say it, in the budget's time zone: `Thursday 2026-11-26`. */
  readonly exceedsBy: string;
  /** In how many of 100 likely courses. */
  readonly chancePercent: number;
  readonly nowMs: number;
}

/**
 * How long the account of a window that is over is kept, ms: longer than the provider keeps results (29 days,
 * claude-batches.md 1.2), so that whatever is settled late is still booked beside the rest. Without it Redis would grow by
 * one account for each target and window, for ever.
 */
export const accountsKeptMs = 30 * 86_400_000;

/** One account of the ledger: a target in one window. */
export interface AccountRecord {
  readonly target: string;
  /** `total`, `run=<key>`, `<span>=<start in ms>` or `<calendar unit>|<time zone>=<start in ms>`. */
  readonly windowId: string;
  readonly tokensReserved: number;
  readonly tokensSpent: number;
  readonly microUsdReserved: number;
  readonly microUsdSpent: number;
  readonly usage: Usage;
  /** Rows billed above their bound. */
  readonly overBound: number;
}
