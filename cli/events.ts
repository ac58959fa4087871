/** `events`: the completion events of this installation, from its own feed. */
import { Command } from 'commander';
import { tailEvents } from '../exporters/feed.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { interruptSignal } from './interrupt.ts';
import { printJson } from './terminal.ts';

interface TailOptions extends CommonOptions {
  readonly after: string;
  readonly follow?: boolean;
}

const lookEveryMs = 250;

/** The `events` verb with `tail`. */
export function eventsCommand(exit: (code: ExitCode) => void): Command {
  const events = new Command('events').description('Read the events that consumers wake on.');
  withCommon(events.command('tail'))
    .description('Print events as CloudEvents, one JSON document per line, oldest first.')
    .option('--after <sequence>', 'only events after this sequence number', '0')
    .option('--follow', 'wait for more until interrupted')
    .addHelpText('after', '\nExamples:\n  plimsoll events tail\n  plimsoll events tail --after 12 --follow')
    .action(async (options: TailOptions) => {
      const after = Number(options.after);
      if (!Number.isSafeInteger(after) || after < 0) throw new PlimsollError('usage', { message: `${options.after} is not a sequence number`, where: '--after' });
      exit(
        await withInstallation(options, 'words', async ({ ledger, config }) => {
          const interrupt = interruptSignal();
          const wait = async (): Promise<boolean> => {
            await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
            return !interrupt.signal.aborted;
          };
          for await (const event of tailEvents({ ledger, tag: config.redis.tag, afterSequence: after, ...(options.follow ? { wait } : {}) })) printJson(event);
          interrupt.stop();
          return 0;
        }),
      );
    });
  return events;
}
