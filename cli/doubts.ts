/** `doubts`: archives whose create has no reply that proves anything; what is known of each, and a person's decisions. */
import { Command } from 'commander';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import { microUsdToUsd } from '../segments/price.ts';
import { asBatchId, type ArchiveId } from '../segments/segment.ts';
import { assertSide } from '../segments/side.ts';
import { heldByOperator } from '../segments/ledger/doubts.ts';
import { journalDoubtHold, readForgoing } from '../segments/store/decisions.ts';
import { emptyScansMin } from '../workers/adopter.ts';
import { forgo } from '../workers/forgo.ts';
import { archiveOf } from '../workers/workspace.ts';
import { type Installation } from './compose.ts';
import { enterDecision } from './guard.ts';
import { connectClaude } from './provider.ts';
import { doubtDocument, doubtText, viewDoubts, type DoubtView } from './doubt-report.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { countOf, dollarText, print, printJson, tell } from './terminal.ts';
import { sideOf } from './work-run.ts';

interface AdoptOptions extends CommonOptions {
  readonly simulate?: boolean;
}

interface AbsentOptions extends CommonOptions {
  readonly yes?: boolean;
}

interface ForgoOptions extends AbsentOptions {
  readonly by: string;
  readonly reason: string;
}

/** The `doubts` verb with `adopt`, `absent`, `forgo` and `hold`. */
export function doubtsCommand(exit: (code: ExitCode) => void): Command {
  const doubts = withCommon(new Command('doubts'))
    .description('Show archives in doubt with their evidence and what each decision can cost; decide them.')
    .addHelpText('after', '\nA doubt usually ends by itself: its batch is found, or it is proven that there is none.\n\nExamples:\n  plimsoll doubts\n  plimsoll doubts --json | jq ".[].candidates"\n  plimsoll doubts adopt 7f3a91c2ab-000012 msgbatch_01AcJtwEXDB7Vb8s5DWt9Cb1\n\nExit codes: 0 ok, 2 usage, no such archive, or not in doubt, 4 credentials')
    .action(async (options: CommonOptions) => {
      exit(
        await withInstallation(options, 'words', async ({ ledger, config, now }) => {
          const views = await viewDoubts(ledger);
          const { landingWaitMs } = config.submit;
          if (options.json) printJson(views.map((view) => doubtDocument(view, landingWaitMs)));
          else if (views.length > 0) print(views.map((view) => doubtText(view, landingWaitMs, now())).join('\n\n'));
          else if (!options.quiet) tell('Nothing is in doubt.');
          return 0;
        }),
      );
    });
  // What `doubts` understands itself it takes, wherever it stands: the sub-commands read the options of both.
  for (const command of [adoptCommand(exit), absentCommand(exit), forgoCommand(exit), holdCommand(exit)]) doubts.addCommand(command);
  return doubts;
}

function adoptCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('adopt'))
    .description('Bind an archive in doubt to a batch of the workspace.')
    .argument('<archive>', 'archive in doubt')
    .argument('<batch>', "the provider's id of the batch, msgbatch_…")
    .option('--simulate', 'use the simulator of the home instead of the provider')
    .addHelpText('after', '\nThe batch has to exist and to hold as many requests; one that has ended has to name the archive in its results. One\nthat runs is believed until its results are read: if they are not ours, the archive is in doubt again.\n\nExample:\n  plimsoll doubts adopt 7f3a91c2ab-000012 msgbatch_01AcJtwEXDB7Vb8s5DWt9Cb1\n\nExit codes: 0 bound, 2 usage, not in doubt, or another\'s batch, 4 credentials')
    .action(async (archive: string, batch: string, _own: unknown, command: Command) => {
      const options = command.optsWithGlobals<AdoptOptions>();
      exit(
        await withInstallation(options, 'words', async (installation) => {
          const view = await doubtOf(installation, archive);
          if (await readForgoing(installation.store, view.archive.run, view.intent.intent)) throw givenUp(view.archive.archive);
          await adopt(installation, view, batch, options);
          return 0;
        }),
      );
    });
}

async function adopt(installation: Installation, view: DoubtView, name: string, options: AdoptOptions): Promise<void> {
  const { ledger, wake, now } = installation;
  const { run, archive } = view.archive;
  const side = (await ledger.readRun(run))?.side;
  assertSide(run, side, sideOf(options.simulate), side === 'simulated' ? `Its batch is in the simulator: plimsoll doubts adopt ${archive} ${name} --simulate` : `Leave --simulate out: plimsoll doubts adopt ${archive} ${name}`);
  const batch = asBatchId(name);
  if (!batch) throw new PlimsollError('usage', { message: `${name} is not a batch id`, where: '<batch>', hint: 'It looks like msgbatch_01AcJtwEXDB7Vb8s5DWt9Cb1.' });
  const claude = await connectClaude(installation, { isSimulated: options.simulate === true, announce: options.quiet ? () => undefined : tell });
  try {
    const signal = new AbortController().signal;
    const status = await claude.retrieveBatch(batch, signal);
    const rows = Object.values(status.counts).reduce((sum, count) => sum + count, 0);
    const first = status.isEnded ? await claude.firstResult(batch, signal) : undefined;
    const isOthers = first !== undefined && archiveOf(first) !== view.archive.archive;
    if (rows !== view.intent.rows || isOthers) {
      throw new PlimsollError('adoption_refused', {
        message: isOthers ? `the results of ${batch} do not belong to ${view.archive.archive}` : `${batch} holds ${rows} requests, ${view.archive.archive} has ${view.intent.rows} rows`,
        where: batch,
        hint: 'Look at the candidates: plimsoll doubts',
      });
    }
  } finally {
    await claude.close();
  }
  if (!(await ledger.acceptIntent({ intent: view.intent.intent, batch, pollAtMs: now(), nowMs: now() }))) {
    throw new PlimsollError('adoption_refused', { message: `${batch} is bound to another archive, or was found to hold none of these rows`, where: batch, hint: 'Look at the candidates: plimsoll doubts' });
  }
  await wake.wake({ stage: 'track', entity: view.archive.archive, epoch: now() });
  conclude(options, view, 'adopted', `${view.archive.archive} is bound to ${batch}; its results will confirm it`, { batch_id: batch });
}

function absentCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('absent'))
    .description('Decide that an archive in doubt has no batch: it is sent again.')
    .argument('<archive>', 'archive in doubt')
    .option('--yes', 'confirm that it may be paid for twice if a batch exists after all')
    .addHelpText('after', '\nFence and landing wait are not asked for: the decision is yours. Make sure that its sender is finished.\n\nExample:\n  plimsoll doubts absent 7f3a91c2ab-000012 --yes\n\nExit codes: 0 in line again, 2 usage, not in doubt, or not confirmed')
    .action(async (archive: string, _own: unknown, command: Command) => {
      const options = command.optsWithGlobals<AbsentOptions>();
      exit(
        await withInstallation(options, 'words', async (installation) => {
          const { ledger, wake, now } = installation;
          const view = await doubtOf(installation, archive);
          if (await readForgoing(installation.store, view.archive.run, view.intent.intent)) throw givenUp(view.archive.archive);
          if (options.yes !== true) {
            throw new PlimsollError('usage', {
              message: `if a batch of ${view.archive.archive} exists after all, up to ${dollarText(view.boundMicroUsd)} is paid twice`,
              where: '--yes',
              hint: `Look at the evidence with plimsoll doubts, then add --yes.`,
            });
          }
          const isAbsent = await ledger.absolveIntent({ intent: view.intent.intent, by: 'operator', reason: 'operator', scansMin: emptyScansMin, landingWaitMs: 0, nowMs: now() });
          if (!isAbsent) throw resolved(view.archive.archive);
          await wake.wake({ stage: 'submit', entity: 'next', epoch: now() });
          conclude(options, view, 'absent', `${view.archive.archive} is in line to be sent again`, {});
          return 0;
        }),
      );
    });
}

function forgoCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('forgo'))
    .description('Give up an archive in doubt: it is never sent again, its rows become dead letters and count as spent.')
    .argument('<archive>', 'archive in doubt')
    .option('--yes', 'confirm that its answers are given up')
    .option('--by <who>', 'who decides this, for the journal', 'operator')
    .option('--reason <text>', 'why, for the journal', 'nobody can prove whether a batch exists')
    .addHelpText('after', '\nFor a batch that may exist and that nobody can find: nothing is paid twice, and the run ends. The rows have the reason\nsubmission_in_doubt, and what they may have cost at most stays in every budget as spent. A batch that turns up later is told\n(batch.leaked) and not booked again; its answers are not taken. plimsoll retry RUN sends the rows once more, and pays for them.\n\nExample:\n  plimsoll doubts forgo 7f3a91c2ab-000012 --yes --by ada --reason "the machine is gone, nobody can ask it"\n\nExit codes: 0 given up (also when it was before), 2 usage, not in doubt, or not confirmed')
    .action(async (archive: string, _own: unknown, command: Command) => {
      const options = command.optsWithGlobals<ForgoOptions>();
      exit(await withInstallation(options, 'words', async (installation) => await giveUp(installation, archive, options)));
    });
}

async function giveUp(installation: Installation, name: string, options: ForgoOptions): Promise<ExitCode> {
  const { ledger } = installation;
  const known = await ledger.readArchive(name as ArchiveId);
  const intent = known?.intent === undefined ? undefined : await ledger.readIntent(known.intent);
  if (known && intent?.state === 'forgone') {
    if (options.json) printJson({ archive: known.archive, run_key: known.run, intent: intent.intent, state: 'forgone' });
    else if (!options.quiet) tell(`${known.archive} was given up before`);
    return 0;
  }
  const view = await doubtOf(installation, name);
  if (options.yes !== true) {
    throw new PlimsollError('usage', {
      message: `the answers of ${countOf(view.intent.rows, 'row')} of ${view.archive.archive} are given up, and ${dollarText(view.boundMicroUsd)} count as spent`,
      where: '--yes',
      hint: 'Look at the evidence with plimsoll doubts, then add --yes.',
    });
  }
  const [by, reason] = [options.by.trim(), options.reason.trim()];
  if (by === '' || reason === '') throw new PlimsollError('usage', { message: 'the journal keeps who gave it up and why', where: by === '' ? '--by' : '--reason', hint: 'Name both, or leave them out.' });
  // This command says itself what it has done; the log is for those whom nobody asked.
  if (!(await forgo({ ...installation, log: () => undefined }, view.archive, view.intent.intent, by, reason))) throw resolved(name);
  const words = `${name} is given up: ${countOf(view.intent.rows, 'row')} become dead letters (submission_in_doubt), ${dollarText(view.boundMicroUsd)} count as spent; workers export them`;
  conclude(options, view, 'forgone', words, { rows: view.intent.rows, booked_usd_max: microUsdToUsd(view.boundMicroUsd) });
  return 0;
}

function holdCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('hold'))
    .description('Leave an archive in doubt to a person: it is never sent again by itself.')
    .argument('<archive>', 'archive in doubt')
    .addHelpText('after', '\nExample:\n  plimsoll doubts hold 7f3a91c2ab-000012\n\nExit codes: 0 held, 2 usage or not in doubt')
    .action(async (archive: string, _own: unknown, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions>();
      exit(
        await withInstallation(options, 'words', async (installation) => {
          await enterDecision(installation);
          const { ledger, store, now } = installation;
          const view = await doubtOf(installation, archive);
          // The journal first: what a person keeps must not be sent by itself after the ledger was rebuilt.
          await journalDoubtHold(store, view.intent.intent, now());
          if (!(await ledger.holdIntent(view.intent.intent, heldByOperator, now()))) throw resolved(view.archive.archive);
          conclude(options, view, 'held', `${view.archive.archive} waits for a decision: plimsoll doubts`, {});
          return 0;
        }),
      );
    });
}

async function doubtOf({ ledger }: Installation, name: string): Promise<DoubtView> {
  const view = (await viewDoubts(ledger)).find((each) => each.archive.archive === name);
  if (view) return view;
  if (await ledger.readArchive(name as ArchiveId)) throw resolved(name);
  throw new PlimsollError('archive_unknown', { message: `no archive is named ${JSON.stringify(name)}`, where: '<archive>', hint: 'Its name stands in: plimsoll doubts' });
}

function resolved(archive: string): PlimsollError {
  return new PlimsollError('not_in_doubt', { message: `${archive} is not in doubt`, where: archive, hint: 'It may have resolved itself meanwhile: plimsoll status' });
}

function givenUp(archive: string): PlimsollError {
  return new PlimsollError('not_in_doubt', { message: `it was decided before that ${archive} is given up`, where: archive, hint: `A worker carries that out at its next look; so does plimsoll doubts forgo ${archive} --yes.` });
}

function conclude(options: CommonOptions, view: DoubtView, state: string, words: string, more: Readonly<Record<string, unknown>>): void {
  if (options.json) printJson({ archive: view.archive.archive, run_key: view.archive.run, intent: view.intent.intent, state, ...more });
  else if (!options.quiet) tell(words);
}
