/** `events`: the completion events of this installation, from its own feed. */
import { Command } from 'commander';
import { tailEvents } from '../exporters/feed.ts';
import { isWanted, openSinks } from '../exporters/sinks.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { interruptSignal } from './interrupt.ts';
import type { Installation } from './compose.ts';
import { printJson, tell } from './terminal.ts';

interface TailOptions extends CommonOptions {
  readonly after: string;
  readonly follow?: boolean;
}

interface ReplayOptions extends CommonOptions {
  readonly run?: string;
  readonly after: string;
  readonly sink?: readonly string[];
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
      const after = sequenceOf(options.after);
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
  withCommon(events.command('replay'))
    .description('Send events to the configured sinks once more; consumers drop what they know by its id.')
    .option('--run <key>', 'only events about this run')
    .option('--after <sequence>', 'only events after this sequence number', '0')
    .option('--sink <name...>', 'only to these sinks')
    .addHelpText('after', '\nExamples:\n  plimsoll events replay --run nightly-2026-11-21\n  plimsoll events replay --after 12 --sink etl\n\nExit codes: 0 all were taken, 1 some were not, 2 no such sink')
    .action(async (options: ReplayOptions) => exit(await withInstallation(options, 'words', async (installation) => await replay(installation, options))));
  return events;
}

/** Sends what the outbox holds once more, sink by sink, in order. Positions of the relay do not move. */
async function replay({ ledger, config, now }: Installation, options: ReplayOptions): Promise<ExitCode> {
  const afterSequence = sequenceOf(options.after);
  const named = options.sink ?? config.events.sinks.map(({ name }) => name);
  const unknown = named.find((name) => !config.events.sinks.some((sink) => sink.name === name));
  if (unknown !== undefined || named.length === 0) {
    throw new PlimsollError('usage', { message: unknown === undefined ? 'no sink is configured' : `no sink is named ${unknown}`, where: 'events.sinks', hint: 'Sinks stand in the configuration: plimsoll config shows them.' });
  }
  const report: { sink: string; sent: number; refused: number; why?: string }[] = [];
  const sinks = await openSinks(config.events.sinks.filter(({ name }) => named.includes(name)), { sqs: config.sqs, webhookSecret: config.events.webhookSecret, timeoutMs: config.events.timeoutMs, now });
  for (const { sink, sender } of sinks) {
    let [sent, refused] = [0, 0];
    let why: string | undefined;
    for await (const event of tailEvents({ ledger, tag: config.redis.tag, afterSequence })) {
      const isMeant = options.run === undefined || event.subject === options.run || event.data['run_key'] === options.run;
      if (!isMeant || !isWanted(sink, event.type.replace(/^dev\.plimsoll\./, '').replace(/\.v\d+$/, ''))) continue;
      const failed = await sender.send([event]);
      sent += 1 - failed.length;
      refused += failed.length;
      why ??= failed[0]?.fault.message;
    }
    sender.close();
    report.push({ sink: sink.name, sent, refused, ...(why === undefined ? {} : { why }) });
  }
  if (options.json) printJson(report);
  else if (!options.quiet) for (const { sink, sent, refused, why } of report) tell(`${sink}: ${sent} sent${refused === 0 ? '' : `, ${refused} refused (${why ?? 'no reason'})`}`);
  return report.every(({ refused }) => refused === 0) ? 0 : 1;
}

/** @throws PlimsollError `usage` */
function sequenceOf(text: string): number {
  const sequence = Number(text);
  if (Number.isSafeInteger(sequence) && sequence >= 0) return sequence;
  throw new PlimsollError('usage', { message: `${text} is not a sequence number`, where: '--after' });
}
