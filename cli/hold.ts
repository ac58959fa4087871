/** `hold` and `resume`: an operator stops a segment or a run, and lets it go again. */
import { Command } from 'commander';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import type { HoldTarget, Ledger } from '../segments/ledger/ledger.ts';
import { journalHold } from '../segments/store/decisions.ts';
import { enterDecision } from './guard.ts';
import { findTarget } from './names.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { printJson, tell } from './terminal.ts';

const targetArgument = 'segment (invoices.8k.high) or run key; segment:NAME and run:KEY say which is meant';

/** The `hold` verb. */
export function holdCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('hold'))
    .description('Stop a segment or a run: what waits stays where it is until it is resumed.')
    .argument('<segment|run>', targetArgument)
    .addHelpText('after', '\nWhat the provider has goes on and is exported. Of a segment, what is packed already is still sent; of a run, what is\nsealed waits too.\n\nExamples:\n  plimsoll hold invoices.8k.low\n  plimsoll hold nightly-2026-11-21\n\nExit codes: 0 held (also when it was held before), 2 no such segment or run, or the run has ended')
    .action(async (name: string, options: CommonOptions) => {
      exit(
        await withInstallation(options, 'words', async (installation) => {
          await enterDecision(installation);
          const { ledger, store, wake, now } = installation;
          const target = await findTarget(ledger, name, now());
          await assertGoesOn(ledger, target);
          // The journal first: what is held must still be held when the ledger is rebuilt.
          const saidAtMs = now();
          await journalHold(store, target, true, saidAtMs);
          const isNew = await ledger.hold(target, saidAtMs);
          // A run may have ended in between; then the ledger has not held it, and nobody will who reads the journal.
          if (!isNew) await assertGoesOn(ledger, target);
          await wake.wake({ stage: 'pack', entity: 'all', epoch: now() });
          if (options.json) printJson({ ...namesOf(target), state: 'held', is_new: isNew });
          else if (!options.quiet) tell(`${textOf(target)} is held${isNew ? '' : ' (it was before)'}. Let it go: plimsoll resume ${plainOf(target)}`);
          return 0;
        }),
      );
    });
}

/** A segment may get work at any time; a run that has ended never does. @throws PlimsollError `run_ended` */
async function assertGoesOn(ledger: Pick<Ledger, 'readRun'>, target: HoldTarget): Promise<void> {
  const run = target.kind === 'run' ? await ledger.readRun(target.run) : undefined;
  if (run?.state !== 'complete' && run?.state !== 'canceled') return;
  throw new PlimsollError('run_ended', { message: `the run ${run.run} has ended (${run.state}): there is nothing left of it to hold`, where: run.run, hint: 'What is still to come is held by its segment, or by its own run: plimsoll status' });
}

/** The `resume` verb. */
export function resumeCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('resume'))
    .description('Let a segment or a run go that an operator holds, or that waits for an operator.')
    .argument('<segment|run>', targetArgument)
    .addHelpText('after', '\nIt also lets go a segment that was billed above its bound, and one that is likely to outlast its runtime budget; the\nruntime is then not looked at again within its window, or, without a window, until that work is through. A budget of tokens\nor dollars is not overruled: set a larger one.\n\nExamples:\n  plimsoll resume invoices.8k.low\n  plimsoll resume nightly-2026-11-21\n\nExit codes: 0 it flows (also when nothing held it), 2 no such segment or run, 5 a budget still holds it')
    .action(async (name: string, options: CommonOptions) => {
      exit(
        await withInstallation(options, 'words', async (installation): Promise<ExitCode> => {
          await enterDecision(installation);
          const { ledger, store, wake, now } = installation;
          const target = await findTarget(ledger, name, now());
          // The journal first here too: whoever carries out the hold that it had must see that it is over.
          await journalHold(store, target, false, now());
          const { queued, ended, left } = await ledger.resume(target, now());
          for (const chunk of queued) await wake.enqueueChunk(chunk.segment, chunk.chunk, chunk.epoch);
          await wake.wake({ stage: 'submit', entity: 'next', epoch: now() });
          if (options.json) printJson({ ...namesOf(target), state: left.length === 0 ? 'flowing' : 'stopped', ended, left, resumed_chunks: queued.length });
          else if (!options.quiet) tell(resumedText(target, ended, left, queued.length));
          return left.length === 0 ? 0 : 5;
        }),
      );
    });
}

function resumedText(target: HoldTarget, ended: readonly string[], left: readonly string[], chunks: number): string {
  const first = ended.length === 0 ? `${textOf(target)} was not held by an operator` : `${textOf(target)} flows again (was ${ended.join(', ')}); ${chunks} held chunks are queued`;
  return left.length === 0 ? first : `${first}\n  still stopped by ${[...new Set(left)].join(', ')}: plimsoll status says what is missing, plimsoll budget set makes room`;
}

function namesOf(target: HoldTarget): Readonly<Record<string, string>> {
  return target.kind === 'segment' ? { segment: target.segment } : { run_key: target.run };
}

function plainOf(target: HoldTarget): string {
  return target.kind === 'segment' ? target.segment : target.run;
}

function textOf(target: HoldTarget): string {
  return `${target.kind} ${plainOf(target)}`;
}
