/** `retry`: the dead letters of a finished run become a run of their own, and it is worked to its end. */
import { Command } from 'commander';
import { runDocument } from '../exporters/exporter.ts';
import { produceRetry } from '../producers/retry.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import type { RunRecord } from '../segments/ledger/ledger.ts';
import { asRunKey, type RunKey } from '../segments/segment.ts';
import { assertSide } from '../segments/side.ts';
import type { Installation } from './compose.ts';
import { findRun } from './names.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { runExitCodes, tellEnd, withWork } from './run.ts';
import { timeoutOf } from './source.ts';
import { countOf, printJson, tell } from './terminal.ts';
import { sideOf, workUntilStill } from './work-run.ts';

interface RetryOptions extends CommonOptions {
  readonly simulate?: boolean;
  readonly timeout?: string;
}

/** A retry of a retry counts on from the first run, so that names do not grow. */
const retryPattern = /^(.+)\.retry-(\d+)$/;

/** The `retry` verb. */
export function retryCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(withWork(new Command('retry')))
    .description('Send the dead letters of a finished run once more, as a run of their own (RUN.retry-1).')
    .argument('<run>', 'run key; of a run that was retried before, its newest retry is meant')
    .addHelpText('after', `\nOnly dead letters are sent: rows that succeeded are never paid for again, rejected lines have to be mended in the source.\nIds and source positions stay, and so do the files of the first run. Nothing is done when there is no dead letter.\n\nExample:\n  plimsoll retry nightly-2026-11-21\n\n${runExitCodes}`)
    .action(async (name: string, options: RetryOptions) => exit(await withInstallation(options, 'words', async (installation) => await retry(installation, name, options))));
}

async function retry(installation: Installation, name: string, options: RetryOptions): Promise<ExitCode> {
  const { ledger, store, wake, config, now, id: installationId } = installation;
  const { newest, next } = await newestOf(installation, await findRun(ledger, name));
  const timeoutMs = timeoutOf(options.timeout);
  // A retry that was interrupted is gone on with; it is not retried itself.
  const isOngoing = newest.retryOf !== undefined && !hasEnded(newest);
  const old = isOngoing && newest.retryOf !== undefined ? await findRun(ledger, newest.retryOf) : newest;
  const runKey = isOngoing ? newest.run : next;
  if (!hasEnded(old)) {
    throw new PlimsollError('run_unfinished', { message: `the run ${old.run} has not ended, so its dead letters are not known yet`, where: old.run, hint: `Watch it: plimsoll watch ${old.run}` });
  }
  const side = sideOf(options.simulate);
  assertSide(old.run, old.side, side, old.side === 'simulated' ? `Its rows were never answered for real: run the file under another run key. To rehearse the retry: plimsoll retry ${old.run} --simulate` : `Leave --simulate out: plimsoll retry ${old.run}`);
  if (!isOngoing && old.deadLettered === 0) {
    if (options.json) printJson(runDocument(old, store.uri));
    else if (!options.quiet) tell(`run ${old.run} has no dead letters: nothing to retry${old.rejected > 0 ? ` (${countOf(old.rejected, 'line')} of it ${old.rejected === 1 ? 'was' : 'were'} rejected: mend ${old.rejected === 1 ? 'it' : 'them'} in ${old.source} and run ${old.rejected === 1 ? 'it' : 'them'} under another run key)` : ''}`);
    return 0;
  }
  if (!options.quiet) tell(`run ${runKey} sends ${countOf(old.deadLettered, 'dead letter')} of ${old.run} once more`);
  const end = await workUntilStill(
    installation,
    runKey,
    async (signal) => await produceRetry({ old, runKey, side, chunkBytesMax: config.chunk.bytesMax, chunkRowsMax: config.chunk.rowsMax, ledger, store, wake, installationId, now, signal }),
    { isSimulated: options.simulate === true, timeoutMs, isShown: !options.quiet },
  );
  return await tellEnd(installation, end, options);
}

/** The newest retry of a run, or the run itself, and the key of the retry that would follow. */
async function newestOf({ ledger }: Installation, run: RunRecord): Promise<{ readonly newest: RunRecord; readonly next: RunKey }> {
  const base = run.retryOf === undefined ? run.run : (retryPattern.exec(run.run)?.[1] ?? run.run);
  const keyOf = (ordinal: number): RunKey => {
    const key = asRunKey(`${base}.retry-${ordinal}`);
    if (key) return key;
    throw new PlimsollError('run_key_invalid', { message: `${base}.retry-${ordinal} is too long to name a run`, where: run.run, hint: 'A run key has at most 100 characters; this run cannot be retried under its own name.' });
  };
  let newest = run;
  let ordinal = 1;
  for (; ; ordinal += 1) {
    const found = await ledger.readRun(keyOf(ordinal));
    if (!found) break;
    newest = found;
  }
  return { newest, next: keyOf(ordinal) };
}

function hasEnded(run: RunRecord): boolean {
  return run.state === 'complete' || run.state === 'canceled';
}
