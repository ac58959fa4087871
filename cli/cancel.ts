/** `cancel`: nothing more of a run is sent, its batches are canceled at the provider, and what finished is exported. */
import { Command } from 'commander';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import { runReportKey } from '../segments/lake.ts';
import type { Cancellation } from '../segments/ledger/ledger.ts';
import type { RunKey } from '../segments/segment.ts';
import { assertSide, type Side } from '../segments/side.ts';
import { journalCancellation } from '../segments/store/decisions.ts';
import { readDocument } from '../segments/store/document.ts';
import type { Installation } from './compose.ts';
import { viewDocument, viewRun, type RunView } from './follow.ts';
import { enterDecision } from './guard.ts';
import { findRun } from './names.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { tellEnd, withWork } from './run.ts';
import { timeoutOf } from './source.ts';
import { countOf, dollarText, printJson, tell } from './terminal.ts';
import { sideOf, workUntilStill } from './work-run.ts';

interface CancelOptions extends CommonOptions {
  readonly simulate?: boolean;
  readonly timeout?: string;
  readonly wait: boolean;
}

/** The `cancel` verb. */
export function cancelCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(withWork(new Command('cancel')))
    .description('Cancel a run: nothing more is sent, its batches are canceled, what finished is exported.')
    .argument('<run>', 'run key')
    .option('--no-wait', 'return at once; workers cancel the batches and export what finished')
    .addHelpText('after', '\nRows that had finished are billed and exported; all others end as dead letters with the reason canceled, so that\nplimsoll retry RUN can send them later.\n\nExamples:\n  plimsoll cancel nightly-2026-11-21\n  plimsoll cancel nightly-2026-11-21 --no-wait --json\n\nExit codes: 0 canceled (or, with --no-wait, being canceled), 2 no such run, or a rehearsal without --simulate, 4 credentials, 6 not through yet (timed out, or in doubt), 130 interrupted')
    .action(async (name: string, options: CancelOptions) => exit(await withInstallation(options, 'words', async (installation) => await cancel(installation, name, options))));
}

async function cancel(installation: Installation, name: string, options: CancelOptions): Promise<ExitCode> {
  await enterDecision(installation);
  const { ledger, wake, store, config, now } = installation;
  const { run: key, state, side } = await findRun(ledger, name);
  const timeoutMs = timeoutOf(options.timeout);
  // Who waits for the end works the run meanwhile. Before the word is written down, so that a refused command has done nothing.
  if (options.wait && state !== 'complete' && state !== 'canceled') assertSide(key, side, sideOf(options.simulate), cancelHint(key, side));
  // Written down first: a ledger that is rebuilt must not send what was canceled.
  if (state !== 'complete' && state !== 'canceled') await journalCancellation(store, key);
  const canceled = await ledger.cancelRun(key, config.archive.rowsMax, now());
  const view = await viewRun(ledger, key);
  if (!view) throw new PlimsollError('run_unknown', { message: `the run ${key} has left the ledger`, where: key });
  if (canceled.kind === 'ended') {
    if (options.json) printJson(viewDocument(view, store.uri));
    else if (!options.quiet) tell(`run ${key} has ended already (${view.run.state}): there is nothing to cancel`);
    return 0;
  }
  for (const archive of canceled.settle) await wake.wake({ stage: 'settle', entity: archive, epoch: now() });
  for (const archive of canceled.track) await wake.wake({ stage: 'track', entity: archive, epoch: now() });
  await wake.wake({ stage: 'gather', entity: key, epoch: now() });
  if (!options.quiet) tell(begunText(canceled, view));
  if (!options.wait) {
    if (options.json) printJson(viewDocument(view, store.uri));
    return 0;
  }
  const end = await workUntilStill(installation, key, async () => await Promise.resolve(undefined), { isSimulated: options.simulate === true, timeoutMs, isShown: !options.quiet });
  const code = await tellEnd(installation, end, options);
  if (end.view.standing !== 'canceled') return code;
  if (!options.quiet) tell(await billText(installation, end.view));
  return 0;
}

function cancelHint(key: RunKey, side: Side | undefined): string {
  return side === 'simulated' ? `Cancel the rehearsal with its simulator: plimsoll cancel ${key} --simulate; or leave its batches to others: --no-wait` : `Leave --simulate out: plimsoll cancel ${key}`;
}

function begunText(canceled: Cancellation, { run, archives }: RunView): string {
  const atProvider = archives.filter((archive) => canceled.track.includes(archive.archive));
  const rows = atProvider.reduce((sum, archive) => sum + archive.rows, 0);
  return [
    `run ${run.run}: nothing more of it is sent`,
    ...(atProvider.length === 0 ? [] : [`  ${countOf(atProvider.length, 'batch')} with ${countOf(rows, 'row')} at the provider ${atProvider.length === 1 ? 'is' : 'are'} being canceled; rows that finish before that takes hold are billed and exported`]),
    ...(canceled.submitting === 0 ? [] : [`  ${countOf(canceled.submitting, 'archive')} on the way at this moment: an upload that is not complete is broken off, a complete one is canceled like the others`]),
    ...(canceled.inDoubt === 0 ? [] : [`  ${countOf(canceled.inDoubt, 'archive')} in doubt: the reservation is kept, and what became of it has to be known before the run can end`]),
    ...(run.microUsd === 0 ? [] : [`  billed so far: ${dollarText(run.microUsd)} for ${countOf(run.succeeded, 'row')}`]),
  ].join('\n');
}

/** What is billed all the same, from the report of the run. */
async function billText({ store }: Installation, { run }: RunView): Promise<string> {
  const report = (await readDocument(store, runReportKey(run.dt, run.run))) as { readonly reasons?: Readonly<Record<string, number>> } | undefined;
  const canceled = report?.reasons?.['canceled'] ?? 0;
  return (
    `  billed    ${dollarText(run.microUsd)} for ${countOf(run.succeeded, 'row')} that had finished; they are exported\n` +
    `  canceled  ${countOf(canceled, 'row')}, not billed; send them later: plimsoll retry ${run.run}`
  );
}
