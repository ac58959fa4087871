#!/usr/bin/env node
/** The entry of the command line: parses, runs one verb, and exits with a code that scripts can rely on. */
import { Command, CommanderError } from 'commander';
import { join, resolve } from 'node:path';
import { readEnvironment } from '../config/env.ts';
import type { ExitCode } from '../segments/errors.ts';
import { applyCommand } from './apply.ts';
import { budgetCommand } from './budget.ts';
import { cancelCommand } from './cancel.ts';
import { completionCommand } from './completion.ts';
import { configCommand } from './config.ts';
import { demoCommand } from './demo.ts';
import { doubtsCommand } from './doubts.ts';
import { doctorCommand } from './doctor.ts';
import { eventsCommand } from './events.ts';
import { holdCommand, resumeCommand } from './hold.ts';
import { initCommand } from './init.ts';
import { listenCommand } from './listen.ts';
import { planCommand } from './plan.ts';
import { recoverCommand } from './recover.ts';
import { replayCommand } from './replay.ts';
import { retryCommand } from './retry.ts';
import { enqueueCommand, runCommand } from './run.ts';
import { simulateCommand } from './simulate.ts';
import { statusCommand } from './status.ts';
import { tellError } from './terminal.ts';
import { watchCommand } from './watch.ts';
import { workCommand } from './work.ts';

let code: ExitCode = 0;
const exit = (given: ExitCode): void => {
  code = given;
};

const program = new Command('plimsoll')
  .description('A batch pipeline for Claude that never pays twice, never exceeds a budget and never loses a prompt.')
  .exitOverride()
  .showSuggestionAfterError()
  .addHelpText('after', '\nExit codes: 0 ok, 1 failed, 2 usage or input, 3 finished with failed rows, 4 credentials, 5 held by a budget or an operator, 6 not finished, 130 interrupted');

for (const command of [
  demoCommand(exit),
  initCommand(exit),
  planCommand(exit),
  applyCommand(exit),
  runCommand(exit),
  enqueueCommand(exit),
  workCommand(exit),
  listenCommand(exit),
  statusCommand(exit),
  watchCommand(exit),
  retryCommand(exit),
  cancelCommand(exit),
  holdCommand(exit),
  resumeCommand(exit),
  doubtsCommand(exit),
  doctorCommand(exit),
  recoverCommand(exit),
  budgetCommand(exit),
  replayCommand(exit),
  eventsCommand(exit),
  configCommand(exit),
  completionCommand(exit, () => program),
  simulateCommand({ defaultStateDir: () => join(resolve(readEnvironment().variables.get('PLIMSOLL_HOME') ?? '.plimsoll'), 'simulator') }),
]) {
  program.addCommand(command);
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
