/**
 * The library: what `import … from 'plimsoll'` gives to TypeScript ETL jobs. The doors are those of the command line, over the
 * same queues, ledger and lake; workers (`plimsoll work`) do the rest.
 *
 *   const plimsoll = await openPlimsoll();
 *   const { run, deferred } = await enqueue(plimsoll, { kind: 'rows', uri: 'etl://invoices', rows }, { runKey: 'nightly' });
 *   await plimsoll.close();
 */
import { loadConfig, type Config } from '../config/config.ts';
import { readEnvironment } from '../config/env.ts';
import type { Production, SourceLocation } from '../producers/producer.ts';
import type { Log } from '../segments/stage.ts';
import { openInstallation, type Installation } from './compose.ts';
import { runKeyOf } from './options.ts';
import { produceIn, producerSettings, sourceOf } from './source.ts';

export { PlimsollError } from '../segments/errors.ts';
export type { RunRecord } from '../segments/ledger/ledger.ts';
export type { Deferred, Production, SourceLocation } from '../producers/producer.ts';
export type { Config } from '../config/config.ts';
export type { Installation } from './compose.ts';
export { applyRequest as applyReplan, planReplan, type ReplanChoice, type ReplanPlan, type ReplanRequest, type ReplanResult } from './replanning.ts';
export { moveClient, type ClientMove } from './quota-set.ts';
export { readCost, type CostDocument, type CostQuestion } from './cost-choice.ts';
export { readForecast, type ForecastDocument } from './forecast.ts';

export interface OpenPlimsoll {
  /** A settings file; without it `plimsoll.yaml` of the working directory, if there is one. */
  readonly configFile?: string;
  /** The home, if not the one that file and environment name. */
  readonly home?: string;
  /** Instead of the process's own; no other variable is looked at then. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Faults and what heals itself; nothing is written to stdout or stderr. */
  readonly log?: Log;
}

/**
 * Opens the installation that the settings name: Redis, ledger and lake. Close it when nothing more is asked of it.
 * @throws ConfigError with every fault; PlimsollError `redis_unavailable`, `redis_unfit`, `lake_unavailable`
 */
export async function openPlimsoll({ configFile, home, env, log = () => undefined }: OpenPlimsoll = {}): Promise<Installation> {
  const config: Config = loadConfig({
    env: readEnvironment(env),
    cwd: process.cwd(),
    configFile,
    flags: [{ name: 'home', path: 'home', value: home }],
  });
  return await openInstallation({ config, install: true, announce: () => undefined, log });
}

export interface EnqueueOptions {
  /** Names the run; the same key and source again find the run instead of queueing it twice. */
  readonly runKey: string;
  /** Queues nothing when any line is bad. */
  readonly isStrict?: boolean;
  readonly signal?: AbortSignal;
  /** Called for every refused line with `file:line[:column]: problem`. */
  readonly onReject?: (message: string) => void;
}

/**
 * Queues a source of prompts: a path, an `s3://` address, or lines that the caller makes. Resolves when every prompt is
 * durable. `deferred` says of each client that was over its tier what to reduce, and when its work is expected.
 * @throws PlimsollError as `produce`
 */
export async function enqueue(installation: Installation, source: string | SourceLocation, options: EnqueueOptions): Promise<Production> {
  return await produceIn(installation, {
    runKey: runKeyOf(options.runKey, 'runKey'),
    source: typeof source === 'string' ? sourceOf(source, installation.config) : source,
    settings: producerSettings(installation, { strict: options.isStrict === true }),
    signal: options.signal ?? new AbortController().signal,
    ...(options.onReject ? { onReject: options.onReject } : {}),
  });
}
