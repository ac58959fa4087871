/**
 * `run` and `enqueue`: a source becomes a run. `run` also works the stages in its own process and waits for the end, so
 * one command does the whole job; with workers elsewhere they share it.
 */
import { Command } from 'commander';
import type { Config } from '../config/config.ts';
import { parseDuration } from '../config/quantity.ts';
import { runDocument } from '../exporters/exporter.ts';
import { produce, type ProducerSettings, type Production, type SourceLocation } from '../producers/producer.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import type { RunKey } from '../segments/segment.ts';
import { connectClaude, startStages, type Installation } from './compose.ts';
import { followRun, type RunView } from './follow.ts';
import { configOf, runKeyOf, withCommon, withInstallation, withSource, type CommonOptions, type SourceOptions } from './options.ts';
import { startProgress } from './progress.ts';
import { tellRun } from './report.ts';
import { printJson, tell } from './terminal.ts';

interface RunOptions extends CommonOptions, SourceOptions {
  readonly simulate?: boolean;
  readonly timeout?: string;
}

const drainMs = 30_000;

/** The `run` verb. */
export function runCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(withSource(new Command('run')))
    .description('Put a file of prompts through Claude and wait for the results.')
    .option('--wait', 'wait for the end (the default)')
    .option('--timeout <duration>', 'stop waiting after this long; the work goes on (exit 6)')
    .option('--simulate', 'use the simulator of the home instead of the provider')
    .addHelpText('after', '\nExamples:\n  plimsoll run invoices.jsonl --run-key nightly-2026-11-21 --json\n  zcat in.jsonl.gz | plimsoll run - --run-key try-1 --simulate --model claude-haiku-4-5 --max-tokens 256\n\nExit codes: 0 all rows good, 2 usage or input, 3 some rows failed, 4 credentials, 5 held by a budget, 6 not finished, 130 interrupted')
    .action(async (file: string, options: RunOptions) => {
      const config = configOf(options);
      exit(await withInstallation(options, 'words', async (installation) => await runToEnd(installation, file, options), config));
    });
}

/** The `enqueue` verb. */
export function enqueueCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(withSource(new Command('enqueue')))
    .description('Queue a file of prompts and return; workers do the rest.')
    .addHelpText('after', '\nExample:\n  plimsoll enqueue invoices.jsonl --run-key nightly-2026-11-21 && plimsoll work')
    .action(async (file: string, options: RunOptions) => {
      const config = configOf(options);
      exit(
        await withInstallation(options, 'words', async (installation) => {
          const interrupt = interruptSignal();
          const production = await ingest(installation, sourceOf(file), runKeyOf(options.runKey), producerSettings(installation, options), interrupt.signal, !options.quiet);
          interrupt.stop();
          if (options.json) printJson(runDocument(production.run, installation.store.uri));
          else if (!options.quiet) tell(`${production.accepted} prompts are queued, ${production.rejected} rejected. Next: plimsoll work`);
          return production.rejected > 0 ? 3 : 0;
        }, config),
      );
    });
}

async function runToEnd(installation: Installation, file: string, options: RunOptions): Promise<ExitCode> {
  const key = runKeyOf(options.runKey);
  const timeoutMs = options.timeout === undefined ? undefined : durationOf(options.timeout);
  const outcome = await workRun(installation, sourceOf(file), key, producerSettings(installation, options), {
    isSimulated: options.simulate === true,
    timeoutMs,
    isShown: !options.quiet,
  });
  const { view, production } = outcome;
  if (options.json) printJson(runDocument(view.run, installation.store.uri));
  else if (!options.quiet) await tellRun(installation, view, production);
  if (outcome.isInterrupted) {
    tell(`The run is durable and goes on with the same command, or with: plimsoll work`);
    return 130;
  }
  return exitOf(view, outcome.isTimedOut);
}

/** The exit code that says how a run stands. */
export function exitOf(view: RunView, isTimedOut: boolean): ExitCode {
  if (view.standing === 'complete') return view.run.result === 'succeeded' ? 0 : 3;
  if (view.standing === 'held') return 5;
  return view.standing === 'in_doubt' || isTimedOut ? 6 : 1;
}

export interface RunEnd {
  readonly view: RunView;
  readonly production: Production;
  readonly isTimedOut: boolean;
  readonly isInterrupted: boolean;
}

/** Ingests a source, works the stages in this process, and follows the run until it stands still. */
export async function workRun(
  installation: Installation,
  source: SourceLocation,
  key: RunKey,
  settings: ProducerSettings,
  options: { readonly isSimulated: boolean; readonly timeoutMs: number | undefined; readonly isShown: boolean },
): Promise<RunEnd> {
  const announce = options.isShown ? tell : () => undefined;
  const claude = await connectClaude(installation, { ...options, announce });
  const interrupt = interruptSignal();
  const fault = new AbortController();
  let accountFault: PlimsollError | undefined;
  const stages = startStages(installation, claude, (error) => {
    accountFault = error;
    fault.abort();
  });
  const progress = startProgress(options.isShown);
  try {
    const signal = AbortSignal.any([interrupt.signal, fault.signal]);
    const production = await ingest(installation, source, key, settings, interrupt.signal, options.isShown);
    const { view, isTimedOut } = await followRun(installation.ledger, key, { timeoutMs: options.timeoutMs, signal, onLook: (look) => progress.show(look) });
    progress.end();
    if (accountFault && view.standing !== 'complete') throw accountFault;
    return { view, production, isTimedOut, isInterrupted: interrupt.signal.aborted && view.standing === 'moving' };
  } finally {
    progress.end();
    interrupt.stop();
    await stages.close(interrupt.signal.aborted ? 5_000 : drainMs);
    await claude.close();
  }
}

async function ingest(installation: Installation, source: SourceLocation, runKey: RunKey, settings: ProducerSettings, signal: AbortSignal, isShown: boolean): Promise<Production> {
  const progress = startProgress(isShown);
  try {
    return await produce({
      runKey, source, settings, signal,
      ledger: installation.ledger,
      store: installation.store,
      wake: installation.wake,
      installationId: installation.id,
      now: installation.now,
      onProgress: ({ rows, rejected }) => progress.ingest(rows, rejected),
    });
  } finally {
    progress.end();
  }
}

/** The producer's settings from configuration and flags. */
export function producerSettings(installation: Installation, options: Partial<SourceOptions>): ProducerSettings {
  const { config, prices, scratchDirectory } = installation;
  return {
    contextClasses: config.contexts,
    chunkBytesMax: config.chunk.bytesMax,
    chunkRowsMax: config.chunk.rowsMax,
    openBytesMax: config.chunk.openBytesMax,
    lineBytesMax: config.input.lineBytesMax,
    expansionMax: config.input.expansionMax,
    anthropicVersion: config.anthropic.version,
    price: prices,
    defaults: defaultsOf(config),
    isStrict: options.strict === true,
    badRowsMax: badRowsOf(options.maxBadRows),
    scratchDirectory,
  };
}

function defaultsOf(config: Config): ProducerSettings['defaults'] {
  return config.defaults;
}

function badRowsOf(text: string | undefined): ProducerSettings['badRowsMax'] {
  if (text === undefined) return { kind: 'none' };
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  const value = Number(match?.[1]);
  if (match && match[2] === '%' && value <= 100) return { kind: 'percent', percent: value };
  if (match && match[2] === '' && Number.isInteger(value)) return { kind: 'rows', rows: value };
  throw new PlimsollError('usage', { message: `${text} is neither a number of rows nor a percentage`, where: '--max-bad-rows', hint: 'For example --max-bad-rows 10 or --max-bad-rows 1%.' });
}

function durationOf(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  throw new PlimsollError('usage', { message: `${text} is not a duration`, where: '--timeout', hint: 'For example 90s, 10m or 24h.' });
}

function sourceOf(file: string): SourceLocation {
  return file === '-' ? { kind: 'stdin', stream: process.stdin } : { kind: 'file', path: file };
}

/** Aborts on the first Ctrl-C or SIGTERM; the second ends the process at once. */
export function interruptSignal(): { readonly signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  return {
    signal: controller.signal,
    stop() {
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', interrupt);
    },
  };
}
