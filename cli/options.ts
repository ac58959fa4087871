/** The options that many verbs share, and how they become a configuration and an open installation. */
import { Option, type Command } from 'commander';
import { loadConfig, type Config } from '../config/config.ts';
import { readEnvironment } from '../config/env.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import { asRunKey, priorities, type RunKey } from '../segments/segment.ts';
import type { Installation } from './compose.ts';
import { openLog, tell } from './terminal.ts';

export interface CommonOptions {
  readonly config?: string;
  readonly home?: string;
  readonly install: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  /** The provider is the simulator of the home; only verbs that work the stages have it. */
  readonly simulate?: boolean;
}

export interface SourceOptions {
  readonly topic?: string;
  readonly priority?: string;
  readonly client?: string;
  readonly model?: string;
  readonly maxTokens?: string;
  readonly strict?: boolean;
  readonly maxBadRows?: string;
}

/** What the page of a verb says that is nothing without one of its own verbs. */
export const groupExitCodes = 'Exit codes: 0 ok, 2 usage; the --help of each command names its own';

/** Adds what every verb understands. */
export function withCommon(command: Command): Command {
  return command
    .addOption(new Option('--config <path>', 'settings file (default: plimsoll.yaml, if there is one)'))
    .addOption(new Option('--home <path>', 'folder of all local state (PLIMSOLL_HOME, default .plimsoll)'))
    .addOption(new Option('--no-install', 'never call the package manager to get a Redis'))
    .addOption(new Option('--json', 'data as JSON on stdout: one document, or one a line where it goes on'))
    .addOption(new Option('--quiet', 'no progress and no hints on stderr'));
}

/** Adds what the verbs understand that read a source. */
export function withSource(command: Command): Command {
  return command
    .argument('<file>', 'JSONL file, plain or gzip; - reads standard input; s3://bucket/key, prefix/ or glob reads objects')
    .option('--topic <topic>', 'topic of prompts that name none')
    .addOption(new Option('--priority <priority>', 'priority of prompts that name none').choices([...priorities]))
    .option('--client <client>', 'client of prompts that name none')
    .option('--model <model>', 'model of prompts in the short shape')
    .option('--max-tokens <n>', 'max_tokens of prompts in the short shape')
    .option('--strict', 'queue nothing if any line is bad')
    .option('--max-bad-rows <n|p%>', 'stop when more lines than this are bad');
}

/** Adds the name of the run that a verb makes. */
export function withRunKey(command: Command): Command {
  return command.requiredOption('--run-key <key>', 'name of this run; the same key twice costs nothing twice');
}

interface Flag {
  readonly name: string;
  readonly path: string;
  readonly value: string | undefined;
}

/** A batch of the simulator ends within seconds: waiting for a poll that is made for hours would be most of a rehearsal. */
const rehearsalPoll: Flag = { name: '--simulate', path: 'poll.min', value: '250ms' };

/** Loads the configuration of a verb. @throws ConfigError with every fault */
export function configOf(options: CommonOptions & Partial<SourceOptions>, extra: readonly Flag[] = []): Config {
  const config = load(options, extra);
  return options.simulate === true && config.origins.get('poll.min') === 'default' ? load(options, [...extra, rehearsalPoll]) : config;
}

function load(options: CommonOptions & Partial<SourceOptions>, extra: readonly Flag[]): Config {
  return loadConfig({
    env: readEnvironment(),
    cwd: process.cwd(),
    configFile: options.config,
    flags: [
      { name: '--home', path: 'home', value: options.home },
      { name: '--topic', path: 'defaults.topic', value: options.topic },
      { name: '--priority', path: 'defaults.priority', value: options.priority },
      { name: '--client', path: 'defaults.client', value: options.client },
      { name: '--model', path: 'defaults.model', value: options.model },
      { name: '--max-tokens', path: 'defaults.maxTokens', value: options.maxTokens },
      ...extra,
    ],
  });
}

/** Opens the installation, does something with it, and closes it whatever happens. */
export async function withInstallation(
  options: CommonOptions,
  form: 'words' | 'json',
  use: (installation: Installation) => Promise<ExitCode>,
  config: Config = configOf(options),
): Promise<ExitCode> {
  // For a person watching one run, only what needs attention; a worker's log is its output.
  const level = form === 'words' && config.log.level === 'info' ? 'warn' : config.log.level;
  // Loaded here, so that verbs without an installation do not wait for Redis, S3 and the provider's client to be loaded.
  const { openInstallation } = await import('./compose.ts');
  const installation = await openInstallation({ config, install: options.install, announce: options.quiet ? () => undefined : tell, log: openLog(level, form) });
  try {
    return await use(installation);
  } finally {
    await installation.close();
  }
}

/** @throws PlimsollError `run_key_invalid` */
export function runKeyOf(text: string, where = '--run-key'): RunKey {
  const key = asRunKey(text);
  if (key) return key;
  throw new PlimsollError('run_key_invalid', {
    message: `${JSON.stringify(text)} cannot name a run`,
    where,
    hint: 'Use letters, digits and . _ = + - (at most 100, the first a letter or digit), for example nightly-2026-11-21.',
  });
}
