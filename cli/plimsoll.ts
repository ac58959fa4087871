#!/usr/bin/env node
/** The entry of the command line: parses, runs one verb, and exits with a code that scripts can rely on. */
import { Command, CommanderError } from 'commander';
import { join, resolve } from 'node:path';
import { readEnvironment } from '../config/env.ts';
import { errnoOf, type ExitCode } from '../segments/errors.ts';
import { tellError } from './terminal.ts';
import { packageVersion } from './version.ts';

let code: ExitCode = 0;
const exit = (given: ExitCode): void => {
  code = given;
};

// Whoever reads our output may have seen enough (`plimsoll status | head`): that is no fault, and work goes on elsewhere.
process.stdout.on('error', (error) => {
  if (errnoOf(error) === 'EPIPE') process.exit(code);
  throw error;
});

const program = new Command('plimsoll')
  .description('A batch pipeline for Claude that never pays twice, never exceeds a budget and never loses a prompt.')
  .version(packageVersion())
  .exitOverride()
  .showSuggestionAfterError()
  .addHelpText('after', '\nExit codes: 0 ok, 1 failed, 2 usage or input, 3 finished with failed rows, 4 credentials, 5 held by a budget or an operator, 6 not finished, 130 interrupted');

/**
 * Every verb with the module that it needs. A command loads its own verb only, so that `plimsoll config` does not wait
 * for Redis, S3 and the provider's client to be loaded; help, completion and a mistyped verb load them all, the version none.
 */
const verbs: Readonly<Record<string, () => Promise<Command>>> = {
  demo: async () => (await import('./demo.ts')).demoCommand(exit),
  init: async () => (await import('./init.ts')).initCommand(exit),
  plan: async () => (await import('./plan.ts')).planCommand(exit),
  apply: async () => (await import('./apply.ts')).applyCommand(exit),
  run: async () => (await import('./run.ts')).runCommand(exit),
  enqueue: async () => (await import('./run.ts')).enqueueCommand(exit),
  work: async () => (await import('./work.ts')).workCommand(exit),
  listen: async () => (await import('./listen.ts')).listenCommand(exit),
  status: async () => (await import('./status.ts')).statusCommand(exit),
  watch: async () => (await import('./watch.ts')).watchCommand(exit),
  retry: async () => (await import('./retry.ts')).retryCommand(exit),
  cancel: async () => (await import('./cancel.ts')).cancelCommand(exit),
  hold: async () => (await import('./hold.ts')).holdCommand(exit),
  resume: async () => (await import('./hold.ts')).resumeCommand(exit),
  replan: async () => (await import('./replan.ts')).replanCommand(exit),
  doubts: async () => (await import('./doubts.ts')).doubtsCommand(exit),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(exit),
  recover: async () => (await import('./recover.ts')).recoverCommand(exit),
  budget: async () => (await import('./budget.ts')).budgetCommand(exit),
  quota: async () => (await import('./quota.ts')).quotaCommand(exit),
  cost: async () => (await import('./cost.ts')).costCommand(exit),
  forecast: async () => (await import('./forecast.ts')).forecastCommand(exit),
  replay: async () => (await import('./replay.ts')).replayCommand(exit),
  archive: async () => (await import('./archive.ts')).archiveCommand(exit),
  events: async () => (await import('./events.ts')).eventsCommand(exit),
  config: async () => (await import('./config.ts')).configCommand(exit),
  completion: async () => (await import('./completion.ts')).completionCommand(exit, () => program),
  // A folder of its own: the one of `--simulate` belongs to the simulator that the verbs share.
  simulate: async () => (await import('./simulate.ts')).simulateCommand({ defaultStateDir: () => join(resolve(readEnvironment().variables.get('PLIMSOLL_HOME') ?? '.plimsoll'), 'simulate') }),
};

const asked = process.argv[2];
const wanted = asked === '--version' || asked === '-V' ? [] : asked !== undefined && asked !== 'completion' && Object.hasOwn(verbs, asked) ? [asked] : Object.keys(verbs);
for (const verb of wanted) {
  const load = verbs[verb];
  if (load) program.addCommand(await load());
}
overrideExits(program);

try {
  await program.parseAsync();
} catch (error) {
  // Help and version are no faults; commander has told the user what was wrong with anything else.
  if (error instanceof CommanderError) code = error.exitCode === 0 ? 0 : 2;
  else code = tellError(error);
}
// Set, not called: what is still being written to stdout is not cut off. A verb may have set its own already.
if (code !== 0) process.exitCode = code;

/** Sub-commands do not take the override of their parent over when they are added. */
function overrideExits(command: Command): void {
  command.exitOverride();
  for (const sub of command.commands) overrideExits(sub);
}
