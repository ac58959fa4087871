/** `events`: the completion events of this installation, from its own feed. */
import { Command } from 'commander';
import { tailEvents } from '../exporters/feed.ts';
import { lakeEvents } from '../exporters/lake-feed.ts';
import { isWanted, openSinks } from '../exporters/sinks.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import type { CloudEvent } from '../segments/event.ts';
import { asRunKey, type RunKey } from '../segments/segment.ts';
import { groupExitCodes, withCommon, withInstallation, type CommonOptions } from './options.ts';
import { interruptSignal } from './interrupt.ts';
import type { Installation } from './compose.ts';
import { printJson, tell } from './terminal.ts';

interface TailOptions extends CommonOptions {
  readonly after: string;
  readonly follow?: boolean;
}

interface ReplayOptions extends CommonOptions {
  readonly run?: string;
  readonly after?: string;
  readonly sink?: readonly string[];
}

const lookEveryMs = 250;

/** The `events` verb with `tail` and `replay`. */
export function eventsCommand(exit: (code: ExitCode) => void): Command {
  const events = new Command('events')
    .description('Read the events that consumers wake on, or send them again.')
    .addHelpText('after', `\nExamples:\n  plimsoll events tail --follow\n  plimsoll events replay --run nightly-2026-11-21\n\n${groupExitCodes}`);
  withCommon(events.command('tail'))
    .description('Print events as CloudEvents, one JSON document per line, oldest first.')
    .option('--after <sequence>', 'only events after this sequence number', '0')
    .option('--follow', 'wait for more until interrupted')
    .addHelpText('after', '\nExamples:\n  plimsoll events tail\n  plimsoll events tail --after 12 --follow | jq -r .type\n\nExit codes: 0 ok (also when --follow was interrupted), 2 usage, configuration or Redis')
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
    .option('--after <sequence>', 'only events after this sequence number, of those that Redis still holds')
    .option('--sink <name...>', 'only to these sinks')
    .addHelpText('after', '\nExamples:\n  plimsoll events replay --run nightly-2026-11-21\n  plimsoll events replay --after 12 --sink etl\n\nRedis holds the last 100,000 events. Older ones are made again from the manifests of the lake: run.completed, run.failed and\nbatch.exported, with their ids and without a sequence. Other events of that time are not kept.\n\nExit codes: 0 all were taken, 1 some were not, 2 no such sink')
    .action(async (options: ReplayOptions) => exit(await withInstallation(options, 'words', async (installation) => await replay(installation, options))));
  return events;
}

interface SinkReport {
  readonly sink: string;
  sent: number;
  /** Of those that were sent: made again from the lake. */
  fromLake: number;
  refused: number;
  why?: string;
}

/** Sends what happened once more, sink by sink, in order. Positions of the relay do not move. */
async function replay(installation: Installation, options: ReplayOptions): Promise<ExitCode> {
  const { config, now } = installation;
  const named = options.sink ?? config.events.sinks.map(({ name }) => name);
  const unknown = named.find((name) => !config.events.sinks.some((sink) => sink.name === name));
  if (unknown !== undefined || named.length === 0) {
    throw new PlimsollError('usage', { message: unknown === undefined ? 'no sink is configured' : `no sink is named ${unknown}`, where: 'events.sinks', hint: 'Sinks stand in the configuration: plimsoll config shows them.' });
  }
  const past = await pastOf(installation, options);
  const reports: SinkReport[] = [];
  const sinks = await openSinks(config.events.sinks.filter(({ name }) => named.includes(name)), { sqs: config.sqs, webhookSecret: config.events.webhookSecret, timeoutMs: config.events.timeoutMs, now });
  for (const { sink, sender } of sinks) {
    const report: SinkReport = { sink: sink.name, sent: 0, fromLake: 0, refused: 0 };
    for await (const event of past.events()) {
      if (!isWanted(sink, event.type.replace(/^dev\.plimsoll\./, '').replace(/\.v\d+$/, ''))) continue;
      const [failed] = await sender.send([event]);
      if (failed) {
        report.refused += 1;
        report.why ??= failed.fault.message;
        continue;
      }
      report.sent += 1;
      if (event.sequence === undefined) report.fromLake += 1;
    }
    sender.close();
    reports.push(report);
  }
  if (options.json) printJson(reports.map(({ fromLake, ...report }) => ({ ...report, from_lake: fromLake })));
  else if (!options.quiet) {
    for (const { sink, sent, fromLake, refused, why } of reports) tell(`${sink}: ${sent} sent${fromLake === 0 ? '' : `, ${fromLake} of them from the lake`}${refused === 0 ? '' : `, ${refused} refused (${why ?? 'no reason'})`}`);
    if (past.missing !== undefined) tell(past.missing);
  }
  return reports.every(({ refused }) => refused === 0) ? 0 : 1;
}

interface Past {
  /** What is sent, oldest first; the same each time. */
  events(): AsyncGenerator<CloudEvent>;
  /** In words, what cannot be sent again. */
  readonly missing: string | undefined;
}

/** What is known of what happened: what the lake tells of before the outbox begins, then the outbox. */
async function pastOf({ ledger, store, config }: Installation, options: ReplayOptions): Promise<Past> {
  const tag = config.redis.tag;
  const afterSequence = sequenceOf(options.after ?? '0');
  const run = options.run === undefined ? undefined : runKeyOf(options.run);
  let first: number | undefined;
  const known = new Set<string>();
  for await (const event of tailEvents({ ledger, tag, afterSequence })) {
    first ??= Number(event.sequence);
    // What else there is cannot come from the lake.
    if (/^dev\.plimsoll\.(?:run|batch)\./.test(event.type)) known.add(event.id);
  }
  const isCut = first !== afterSequence + 1;
  const isLakeAsked = isCut && options.after === undefined;
  return {
    async *events() {
      if (isLakeAsked) yield* lakeEvents({ store, tag, run, isWanted: (id) => !known.has(id) });
      for await (const event of tailEvents({ ledger, tag, afterSequence })) {
        if (run === undefined || event.subject === run || event.data['run_key'] === run) yield event;
      }
    },
    missing: missingOf(isCut, isLakeAsked, first),
  };
}

function missingOf(isCut: boolean, isLakeAsked: boolean, first: number | undefined): string | undefined {
  if (!isCut) return undefined;
  const held = first === undefined ? 'Redis holds no such event' : `Redis holds events from sequence ${first} on`;
  return isLakeAsked
    ? `${held}. Of before, the lake tells of exported batches and ended runs (no sequence); other events of that time are not kept.`
    : first === undefined ? undefined : `${held}. Without --after, exports and ends of runs of before are made again from the lake.`;
}

/** @throws PlimsollError `usage` */
function runKeyOf(text: string): RunKey {
  const run = asRunKey(text);
  if (run !== undefined) return run;
  throw new PlimsollError('usage', { message: `${text} is not a run key`, where: '--run' });
}

/** @throws PlimsollError `usage` */
function sequenceOf(text: string): number {
  const sequence = Number(text);
  if (Number.isSafeInteger(sequence) && sequence >= 0) return sequence;
  throw new PlimsollError('usage', { message: `${text} is not a sequence number`, where: '--after' });
}
