/**
 * `run` and `enqueue`: a source becomes a run. `run` also works the stages in its own process and waits for the end, so
 * one command does the whole job; with workers elsewhere they share it.
 */
import { Command } from 'commander';
import { runDocument } from '../exporters/exporter.ts';
import type { ProducerSettings, SourceLocation } from '../producers/producer.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import type { RunKey } from '../segments/segment.ts';
import { isRehearsal } from '../segments/side.ts';
import type { Installation } from './compose.ts';
import { deferredDocument } from './deferred.ts';
import { viewDocument } from './follow.ts';
import { interruptSignal } from './interrupt.ts';
import { configOf, runKeyOf, withCommon, withInstallation, withRunKey, withSource, type CommonOptions, type SourceOptions } from './options.ts';
import { rehearsalWork } from './rehearsal.ts';
import { tellRun } from './report.ts';
import { ingest, producerSettings, sourceOf, timeoutOf } from './source.ts';
import { countOf, printJson, tell } from './terminal.ts';
import { exitOf, interruptedText, sideOf, workUntilStill, type RunEnd, type WorkOptions } from './work-run.ts';

export interface RunOptions extends CommonOptions, SourceOptions {
  readonly runKey: string;
  readonly simulate?: boolean;
  readonly timeout?: string;
}

/** Adds what the verbs understand that work a run to its end. */
export function withWork(command: Command): Command {
  return command
    .option('--timeout <duration>', 'stop waiting after this long; the work goes on (exit 6)')
    .option('--simulate', 'a rehearsal: the simulator of the home answers, and nothing is sent to the provider');
}

export const runExitCodes = 'Exit codes: 0 all rows good, 1 failed (the message says why), 2 usage or input, 3 some rows failed, 4 credentials, 5 held by a budget or an operator, 6 not finished, 130 interrupted';

/** The `run` verb. */
export function runCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(withWork(withRunKey(withSource(new Command('run')))))
    .description('Put a file of prompts through Claude and wait for the results.')
    .option('--wait', 'wait for the end (the default)')
    .addHelpText('after', `\nExamples:\n  plimsoll run invoices.jsonl --run-key nightly-2026-11-21 --json\n  zcat in.jsonl.gz | plimsoll run - --run-key try-1 --simulate --model claude-haiku-4-5 --max-tokens 256\n\n${runExitCodes}`)
    .action(async (file: string, options: RunOptions) => {
      const config = configOf(options);
      exit(await withInstallation(options, 'words', async (installation) => await runToEnd(installation, sourceOf(file, config), options), config));
    });
}

/** The `enqueue` verb. */
export function enqueueCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(withRunKey(withSource(new Command('enqueue'))))
    .description('Queue a file of prompts and return; workers do the rest.')
    .addHelpText('after', '\nExample:\n  plimsoll enqueue invoices.jsonl --run-key nightly-2026-11-21 && plimsoll work\n\nExit codes: 0 all rows queued, 1 failed (the message says why), 2 usage or input, 3 queued but some lines were rejected, 130 interrupted')
    .action(async (file: string, options: RunOptions) => {
      const config = configOf(options);
      exit(
        await withInstallation(options, 'words', async (installation) => {
          const key = runKeyOf(options.runKey);
          const interrupt = interruptSignal(() => tell(`\n${interruptedText(key, false)}`));
          try {
            const production = await ingest(installation, sourceOf(file, config), key, producerSettings(installation, options), undefined, interrupt.signal, !options.quiet);
            if (options.json) printJson({ ...runDocument(production.run, installation.store.uri), deferred: production.deferred.map(deferredDocument) });
            else if (!options.quiet) tell(`${countOf(production.accepted, 'prompt')} queued, ${countOf(production.rejected, 'line')} rejected. Next: ${isRehearsal(production.run) ? rehearsalWork : 'plimsoll work'}`);
            // Whoever queues for the nightly run must not find simulated answers in the morning.
            if (isRehearsal(production.run)) tell(`The run ${key} is a rehearsal: the simulator answers it. For real answers use another --run-key.`);
            return production.rejected > 0 ? 3 : 0;
          } catch (error) {
            if (interrupt.signal.aborted && !(error instanceof PlimsollError)) return 130;
            throw error;
          } finally {
            interrupt.stop();
          }
        }, config),
      );
    });
}

/** Runs a source to the end of its run and tells how it went. */
export async function runToEnd(installation: Installation, source: SourceLocation, options: RunOptions): Promise<ExitCode> {
  const key = runKeyOf(options.runKey);
  const timeoutMs = timeoutOf(options.timeout);
  const end = await workRun(installation, source, key, producerSettings(installation, options), {
    isSimulated: options.simulate === true,
    timeoutMs,
    isShown: !options.quiet,
  });
  return await tellEnd(installation, end, options);
}

/** Prints how a run ended, as a document or in words, and returns the exit code that says the same. */
export async function tellEnd(installation: Installation, end: RunEnd, options: CommonOptions): Promise<ExitCode> {
  const { view, production } = end;
  const deferred = production?.deferred ?? [];
  if (options.json) printJson({ ...viewDocument(view, installation.store.uri), deferred: deferred.map(deferredDocument) });
  else if (!options.quiet) await tellRun(installation, view, production);
  if (end.isTimedOut && view.standing === 'moving' && !options.quiet) tell(`The time is over; the run goes on wherever a worker runs. Watch it: plimsoll watch ${view.run.run}`);
  return exitOf(end);
}

/** Ingests a source, works the stages in this process, and follows the run until it stands still. */
export async function workRun(installation: Installation, source: SourceLocation, key: RunKey, settings: ProducerSettings, options: WorkOptions): Promise<RunEnd> {
  return await workUntilStill(installation, key, async (signal) => await ingest(installation, source, key, settings, sideOf(options.isSimulated), signal, options.isShown), options);
}
