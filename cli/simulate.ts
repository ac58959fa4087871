import { Command, InvalidArgumentError, Option } from 'commander';
import { FAULTS, OPERATIONS } from '../local/simulator/faultkinds.ts';
import { loadAnswers, type AnswerFunction } from '../local/simulator/answersource.ts';
import { loadScript, parseFault } from '../local/simulator/faultscript.ts';
import { TIERS, type TierName } from '../local/simulator/limits.ts';
import { startSimulator, type FaultRule, type Simulator, type SimulatorOptions } from '../local/simulator/simulator.ts';

/** `plimsoll simulate`: the Claude simulator as a server of its own. */

export interface SimulateContext {
  /** Folder for batches and truth log when `--state` is not given. */
  readonly defaultStateDir: () => string;
}

/** Exit code of a mistake in the call, as everywhere in the command line. */
const EXIT_USAGE = 2;

/** The subcommand. Data (the base URL, with --json the state folder too) goes to stdout, everything else to stderr. */
export function simulateCommand(context: SimulateContext): Command {
  const command = new Command('simulate')
    .description('Run a server that behaves like the Claude API: batches, messages, token counts, models.')
    .option('--port <n>', 'port to listen on; 0 picks a free one', wholeNumber, 0)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--state <folder>', 'folder that keeps batches and truth log')
    .option('--truth <file>', 'truth log: what really happened, one JSON object per line')
    .option('--seed <n>', 'seed of answers, orders and faults', wholeNumber, 1)
    .option('--time-scale <x>', 'simulated seconds per second; 3600 turns an hour into a second, 0 stands still', decimal, 1)
    .option('--start-time <instant>', 'simulated start, for example 2026-11-21T08:00:00Z', instant)
    .option('--batch-seconds <n>', 'simulated seconds a batch takes; 0 ends it at once (default: one to four minutes)', decimal)
    .option('--cancel-seconds <n>', 'simulated seconds from a cancel to the end', decimal, 1)
    .addOption(new Option('--tier <name>', 'rate limits of the account').choices(Object.keys(TIERS)).default('start'))
    .option('--api-key <key...>', 'accepted keys (default: any)')
    .addOption(new Option('--billing <mode>', 'plausible, or worst: the most the reference allows').choices(['plausible', 'worst']).default('plausible'))
    .addOption(new Option('--counters <mode>', 'request counts: zero until the end, or moving').choices(['jump', 'gradual']).default('jump'))
    .option('--retry-after <seconds>', 'hint on unfinished batches; 0 leaves it out (default: 10 simulated seconds)', decimal)
    .option('--body-limit <bytes>', 'largest batch body', wholeNumber, 268_435_456)
    .option('--cache-hits <rate>', 'share of possible cache reads that happen, 0 to 1 (default: 0.8 within a batch, 0.98 of what an earlier one wrote)', decimal)
    .option('--cache-hits-standing <rate>', 'the same only for prefixes that stood in the cache before the batch', decimal)
    .option('--answers <file|module>', 'answers of your own: a .json file or a module that exports answer(request)')
    .option('--fault <rule...>', 'inject a fault; see below')
    .option('--script <file>', 'inject the faults of a JSON script')
    .option('--json', 'the first line as a JSON document: url and state')
    .addHelpText('after', faultHelp())
    .allowExcessArguments(false)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : EXIT_USAGE))
    .action(async () => {
      const mistake = await simulate(command.opts(), context);
      if (mistake !== undefined) {
        command.error(`plimsoll simulate: ${mistake}`, { exitCode: EXIT_USAGE });
      }
    });
  return command;
}

/** The options as commander hands them over. */
interface Flags {
  readonly port: number;
  readonly host: string;
  readonly state?: string;
  readonly truth?: string;
  readonly seed: number;
  readonly timeScale: number;
  readonly startTime?: number;
  readonly batchSeconds?: number;
  readonly cancelSeconds: number;
  readonly tier: TierName;
  readonly apiKey?: readonly string[];
  readonly billing: 'plausible' | 'worst';
  readonly counters: 'jump' | 'gradual';
  readonly retryAfter?: number;
  readonly bodyLimit: number;
  readonly cacheHits?: number;
  readonly cacheHitsStanding?: number;
  readonly answers?: string;
  readonly fault?: readonly string[];
  readonly script?: string;
  readonly json?: boolean;
}

/** Runs until a signal comes. Returns what was wrong with the call, in one line, if it could not start. */
async function simulate(flags: Flags, context: SimulateContext): Promise<string | undefined> {
  let simulator: Simulator;
  const stateDir = flags.state ?? context.defaultStateDir();
  try {
    simulator = await startSimulator(await optionsOf(flags, stateDir));
  } catch (cause) {
    return (cause instanceof Error ? cause.message : String(cause)).replaceAll('\n', ' ');
  }
  // Before anybody is told that it runs: whoever reads the line may stop it at once.
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
  process.stdout.write(`${flags.json ? JSON.stringify({ url: simulator.url, state: stateDir }) : simulator.url}\n`);
  process.stderr.write(`Simulating Claude at ${simulator.url}, state in ${stateDir}. Set ANTHROPIC_BASE_URL to it and use ${flags.apiKey === undefined ? 'any API key' : 'a key given by --api-key'}. Ctrl-C stops.\n`);
  await stopped;
  await simulator.stop();
  return undefined;
}

async function optionsOf(flags: Flags, stateDir: string): Promise<SimulatorOptions> {
  const answers: AnswerFunction | undefined = flags.answers === undefined ? undefined : await loadAnswers(flags.answers);
  const script = flags.script === undefined ? { faults: [] } : await loadScript(flags.script);
  return {
    port: flags.port,
    host: flags.host,
    stateDir,
    seed: flags.seed,
    timeScale: flags.timeScale,
    cancelMs: flags.cancelSeconds * 1000,
    tier: flags.tier,
    billing: flags.billing,
    counters: flags.counters,
    batchBodyBytes: flags.bodyLimit,
    faults: { ...script, faults: [...script.faults, ...(flags.fault ?? []).map(faultOf)] },
    ...(flags.cacheHits === undefined ? {} : { cacheHitRate: flags.cacheHits }),
    ...(flags.cacheHitsStanding === undefined ? {} : { standingHitRate: flags.cacheHitsStanding }),
    ...(flags.truth === undefined ? {} : { truthFile: flags.truth }),
    ...(flags.startTime === undefined ? {} : { startMs: flags.startTime }),
    ...(flags.batchSeconds === undefined ? {} : { batchMs: flags.batchSeconds * 1000 }),
    ...(flags.apiKey === undefined ? {} : { apiKeys: flags.apiKey }),
    ...(flags.retryAfter === undefined ? {} : { retryAfterSeconds: flags.retryAfter }),
    ...(answers === undefined ? {} : { answers }),
  };
}

function faultOf(flag: string): FaultRule {
  const rule = parseFault(flag);
  if (typeof rule === 'string') {
    throw new Error(rule);
  }
  return rule;
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) {
    throw new InvalidArgumentError('It has to be a whole number.');
  }
  return Number(text);
}

function decimal(text: string): number {
  if (!/^\d+(?:\.\d+)?$/.test(text)) {
    throw new InvalidArgumentError('It has to be a number, 0 or more.');
  }
  return Number(text);
}

/** Epoch milliseconds. */
function instant(text: string): number {
  const at = Date.parse(text);
  if (Number.isNaN(at)) {
    throw new InvalidArgumentError('It has to be an instant such as 2026-11-21T08:00:00Z.');
  }
  return at;
}

function faultHelp(): string {
  const names = Object.entries(FAULTS).map(([name, { on, meaning }]) => `  ${name.padEnd(19)}${meaning} [${on}]`);
  return `
Faults
  A rule is NAME[@OPERATION][=WHEN][,KEY=VALUE…]. WHEN is N (the Nth call), xN (the first N), N+ (from the Nth on), P% (a rate) or always.
  Status codes from 400 to 599 are names too. Operations: ${OPERATIONS.join(', ')}; batches.*, messages.* and * stand for several.

${names.join('\n')}

Rules for --fault and --script
  --fault reply_lost=1                       the first batch is accepted and the reply is lost
  --fault accept_late=2,seconds=30           the second batch appears only after 30 seconds
  --fault errored=2%,error_type=overloaded_error
  --fault results_cut=1,rows=50              the first download ends inside row 51
  --fault 529@batches.retrieve=x3            three polls fail
  --fault rate_limit@*=x20,retry_after=2     a storm of 20 refusals
  --fault 504=1,accept=true                  an error is answered although the batch was accepted
  --script faults.json                       {"seed": 7, "faults": [{"fault": "reply_lost", "nth": 1}, {"fault": "list_lag", "seconds": 20}]}

While it runs
  curl -X POST URL/_simulator/faults -d '{"faults":[{"fault":"hang","nth":1}]}'   arms more rules
  curl -X POST URL/_simulator/clock -d '{"advance_ms": 86400000}'                 moves time by a day
  curl 'URL/_simulator/truth?kind=row_billed'                                     shows the bill

Examples:
  plimsoll simulate --port 8787 --batch-seconds 5 --retry-after 1
  plimsoll simulate --time-scale 3600 --tier start --fault reply_lost=1
  plimsoll simulate --script faults.json --truth truth.jsonl

Exit codes: 0 stopped by Ctrl-C or SIGTERM, 2 usage, or it cannot start (the port is taken, the folder cannot be written)
`;
}
