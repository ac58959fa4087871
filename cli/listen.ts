/** `listen`: documents that S3 announces through SQS become runs, until stopped. Workers elsewhere do the rest. */
import { Command } from 'commander';
import { listen } from '../producers/listen.ts';
import { openDocumentQueue } from '../producers/sqs.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import { openS3Client } from '../segments/store/s3-client.ts';
import { enterIngest } from './guard.ts';
import { interruptSignal } from './interrupt.ts';
import { configOf, withCommon, withInstallation, type CommonOptions, type SourceOptions } from './options.ts';
import { produceIn, producerSettings } from './source.ts';

interface ListenOptions extends CommonOptions, SourceOptions {
  readonly untilEmpty?: boolean;
}

/** The `listen` verb. */
export function listenCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('listen'))
    .description('Take documents that S3 announces through SQS, until stopped.')
    .option('--topic <topic>', 'topic of prompts that name none')
    .option('--client <client>', 'client of prompts that name none')
    .option('--model <model>', 'model of prompts in the short shape')
    .option('--max-tokens <n>', 'max_tokens of prompts in the short shape')
    .option('--until-empty', 'end when the queue is empty')
    .addHelpText('after', '\nThe queue and the places that may be read come from the configuration: listen.queue and listen.sources. What\nhappens to each message is logged to standard error.\n\nExamples:\n  plimsoll listen --topic invoices   # in one terminal\n  plimsoll work                      # in another\n  plimsoll listen --until-empty\n\nExit codes: 0 stopped by Ctrl-C or SIGTERM, or the queue is empty, 1 the ledger is behind the lake (plimsoll recover), or with\n--until-empty the queue cannot be read, 2 usage, configuration or Redis')
    .action(async (options: ListenOptions) => {
      const config = configOf(options);
      const { queue: queueUrl, sources, visibilityMs, concurrency } = config.listen;
      if (queueUrl === undefined) throw new PlimsollError('usage', { message: 'no queue is set', where: 'listen.queue', hint: 'Set PLIMSOLL_LISTEN__QUEUE to the URL of the queue that receives the events of the bucket.' });
      if (sources.length === 0) throw new PlimsollError('usage', { message: 'no place is named from which documents may be taken', where: 'listen.sources', hint: 'Set it in plimsoll.yaml, for example sources: [s3://my-bucket/in/].' });
      exit(
        await withInstallation(options, 'json', async (installation) => {
          // A listener that could take nothing in does not begin to receive: each message would lie in its hand.
          (await enterIngest(installation)).disconnect();
          const settings = producerSettings(installation, options);
          const queue = openDocumentQueue({ queueUrl, ...config.sqs, timeoutMs: config.s3.timeoutMs }, visibilityMs, options.untilEmpty === true ? 1 : undefined);
          const client = openS3Client(config.s3);
          const interrupt = interruptSignal(() => installation.log({ level: 'info', event: 'listener.draining', subject: queueUrl }));
          installation.log({ level: 'info', event: 'listener.started', subject: queueUrl, detail: { sources: sources.join(' ') } });
          try {
            await listen({
              queue, sources, visibilityMs, concurrency,
              // Sooner than a message that was lost from sight: its redrive policy counts the tries.
              againMs: visibilityMs / 2,
              accessOf: (bucket) => ({ client, bucket, settings: config.s3, role: 'source' }),
              ingest: async (runKey, source) => await produceIn(installation, { runKey, source, settings, signal: interrupt.signal }),
              lakeUri: installation.store.uri,
              untilEmpty: options.untilEmpty === true,
              log: installation.log, signal: interrupt.signal,
            });
            return 0;
          } finally {
            interrupt.stop();
            queue.close();
            client.destroy();
          }
        }, config),
      );
    });
}
