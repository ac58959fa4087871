import type { AnswerFunction } from './answersource.ts';
import type { FaultScript } from './faults.ts';
import { TIERS, type TierName } from './limits.ts';

/** What the simulator can be told, checked once at the start. */

/** Options of `startSimulator`. Everything but `stateDir` has a default. */
export interface SimulatorOptions {
  /** TCP port; 0 or absent picks a free one. */
  readonly port?: number;
  /** Address to listen on; default 127.0.0.1. */
  readonly host?: string;
  /** Folder that holds the batches, the clock and the truth log. A restart on the same folder finds them all. */
  readonly stateDir: string;
  /** Seed of answers, orders, ids and fault rates; default 1. */
  readonly seed?: number;
  /** Truth log; default `<stateDir>/truth.jsonl`. */
  readonly truthFile?: string;
  /** Simulated seconds per second: 1 is real time, 3600 an hour per second, 0 stands still until moved by a control call. */
  readonly timeScale?: number;
  /** Simulated start, epoch ms; default: now, or where the last run on this folder would be. */
  readonly startMs?: number;
  /** Processing time of a batch in simulated ms; 0 ends it at once; default 1 to 4 minutes by batch. */
  readonly batchMs?: number;
  /** Simulated ms from a cancel call to the end of the batch; default 1,000. */
  readonly cancelMs?: number;
  /** Share of rows still running at a cancel that finish nevertheless, 0 … 1; default 0.1. */
  readonly finishAfterCancel?: number;
  /** Account tier; default `start`. */
  readonly tier?: TierName;
  /** Seconds over which a per-minute limit can be used up; default 60, the whole minute. */
  readonly rateWindowSeconds?: number;
  /** Accepted keys; default: any. A call without key is refused either way. */
  readonly apiKeys?: readonly string[];
  /** Workspace of a key, by name; keys without entry share one workspace. */
  readonly workspaces?: Readonly<Record<string, string>>;
  /** `worst` bills the most the reference allows: input tokens = bytes of the normalised text, output tokens = max_tokens. */
  readonly billing?: 'plausible' | 'worst';
  /** Relative error of count_tokens against the bill, 0 … 1; default 0. */
  readonly countError?: number;
  /** Probability that a row whose prefix another row has written reads it, 0 … 1; default 0.8. */
  readonly cacheHitRate?: number;
  /** The same where the prefix stood in the cache before the row's batch was created, 0 … 1; default `cacheHitRate` where that is given, else 0.98. */
  readonly standingHitRate?: number;
  /** The `retry-after` of an unfinished batch in seconds; default 10 simulated seconds, 0 leaves the header out. */
  readonly retryAfterSeconds?: number;
  /** `jump` keeps counters at zero until the end; `gradual` moves them. */
  readonly counters?: 'jump' | 'gradual';
  /** Largest batch body in bytes; default 268,435,456. */
  readonly batchBodyBytes?: number;
  /** Largest Messages and count_tokens body in bytes; default 33,554,432. */
  readonly messageBodyBytes?: number;
  /** After a 413: read the rest of the body away, so that every client sees the reply, or close at once, which a client may see instead. */
  readonly early413?: 'drain' | 'close';
  /** Accept `Content-Encoding: gzip` on batches, which the reference says not to rely on. */
  readonly acceptGzipBatches?: boolean;
  /** Simulated ms a Messages call takes; default 0. */
  readonly messageMs?: number;
  readonly faults?: FaultScript;
  /** Answers of one's own; what it leaves undefined is answered as usual. */
  readonly answers?: AnswerFunction;
}

/** The options with defaults filled in. */
export interface Settings {
  readonly host: string;
  readonly port: number;
  readonly stateDir: string;
  readonly seed: number;
  readonly truthFile: string;
  readonly timeScale: number;
  readonly startMs: number | undefined;
  readonly batchMs: number | undefined;
  readonly cancelMs: number;
  readonly finishAfterCancel: number;
  readonly tier: TierName;
  readonly rateWindowSeconds: number;
  readonly apiKeys: ReadonlySet<string> | undefined;
  readonly workspaces: Readonly<Record<string, string>>;
  readonly billing: 'plausible' | 'worst';
  readonly countError: number;
  readonly cacheHitRate: number;
  readonly standingHitRate: number;
  readonly retryAfterSeconds: number | undefined;
  readonly counters: 'jump' | 'gradual';
  readonly batchBodyBytes: number;
  readonly messageBodyBytes: number;
  readonly early413: 'drain' | 'close';
  readonly acceptGzipBatches: boolean;
  readonly messageMs: number;
  readonly answers: AnswerFunction | undefined;
}

/** A mistake of whoever starts the simulator. The message is one line that says what is wrong and what would be right. */
export class SimulatorUsageError extends Error {
  override readonly name = 'SimulatorUsageError';
}

/** Fills in defaults. Throws `SimulatorUsageError` for a value that makes no sense. */
export function resolveSettings(options: SimulatorOptions): Settings {
  const settings: Settings = {
    host: options.host ?? '127.0.0.1',
    port: options.port ?? 0,
    stateDir: options.stateDir,
    seed: options.seed ?? 1,
    truthFile: options.truthFile ?? `${options.stateDir}/truth.jsonl`,
    timeScale: options.timeScale ?? 1,
    startMs: options.startMs,
    batchMs: options.batchMs,
    cancelMs: options.cancelMs ?? 1_000,
    finishAfterCancel: options.finishAfterCancel ?? 0.1,
    tier: options.tier ?? 'start',
    rateWindowSeconds: options.rateWindowSeconds ?? 60,
    apiKeys: options.apiKeys === undefined ? undefined : new Set(options.apiKeys),
    workspaces: options.workspaces ?? {},
    billing: options.billing ?? 'plausible',
    countError: options.countError ?? 0,
    cacheHitRate: options.cacheHitRate ?? 0.8,
    standingHitRate: options.standingHitRate ?? options.cacheHitRate ?? 0.98,
    retryAfterSeconds: options.retryAfterSeconds,
    counters: options.counters ?? 'jump',
    batchBodyBytes: options.batchBodyBytes ?? 268_435_456,
    messageBodyBytes: options.messageBodyBytes ?? 33_554_432,
    early413: options.early413 ?? 'drain',
    acceptGzipBatches: options.acceptGzipBatches ?? false,
    messageMs: options.messageMs ?? 0,
    answers: options.answers,
  };
  check('port', settings.port, 0, 65_535, true);
  check('seed', settings.seed, 0, 4_294_967_295, true);
  check('time scale', settings.timeScale, 0, 10_000_000, false);
  check('simulated start in epoch ms', settings.startMs ?? 0, 0, 8.64e15, false);
  check('batch duration in ms', settings.batchMs ?? 0, 0, Number.MAX_SAFE_INTEGER, false);
  check('cancel latency in ms', settings.cancelMs, 0, Number.MAX_SAFE_INTEGER, false);
  check('share finished after a cancel', settings.finishAfterCancel, 0, 1, false);
  check('rate window in seconds', settings.rateWindowSeconds, 0.001, 60, false);
  check('count error', settings.countError, 0, 1, false);
  check('cache hit rate', settings.cacheHitRate, 0, 1, false);
  check('standing cache hit rate', settings.standingHitRate, 0, 1, false);
  check('retry-after in seconds', settings.retryAfterSeconds ?? 0, 0, 2_147_483, false);
  check('batch body limit in bytes', settings.batchBodyBytes, 1, Number.MAX_SAFE_INTEGER, true);
  check('message body limit in bytes', settings.messageBodyBytes, 1, Number.MAX_SAFE_INTEGER, true);
  check('message latency in ms', settings.messageMs, 0, Number.MAX_SAFE_INTEGER, false);
  if (!Object.hasOwn(TIERS, settings.tier)) {
    throw new SimulatorUsageError(`The tier ${JSON.stringify(settings.tier)} is not known. Use one of: ${Object.keys(TIERS).join(', ')}.`);
  }
  return settings;
}

function check(what: string, value: number, least: number, most: number, whole: boolean): void {
  if (!Number.isFinite(value) || value < least || value > most || (whole && !Number.isInteger(value))) {
    throw new SimulatorUsageError(`The ${what} is ${value}; it has to be ${whole ? 'a whole number' : 'a number'} from ${least} to ${most}.`);
  }
}
