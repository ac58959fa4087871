#!/usr/bin/env node
/** The entry of the command line: parses, runs one verb, and exits with a code that scripts can rely on. */
import { Command, CommanderError } from 'commander';
import { join, resolve } from 'node:path';
import { readEnvironment } from '../config/env.ts';
import type { ExitCode } from '../segments/errors.ts';
import { budgetCommand } from './budget.ts';
import { demoCommand } from './demo.ts';
import { eventsCommand } from './events.ts';
import { enqueueCommand, runCommand } from './run.ts';
import { simulateCommand } from './simulate.ts';
import { statusCommand } from './status.ts';
import { tellError } from './terminal.ts';
import { workCommand } from './work.ts';

let code: ExitCode = 0;
const exit = (given: ExitCode): void => {
  code = given;
};

const program = new Command('plimsoll')
  .description('A batch pipeline for Claude that never pays twice, never exceeds a budget and never loses a prompt.')
  .exitOverride()
  .showSuggestionAfterError()
  .addHelpText('after', '\nExit codes: 0 ok, 1 failed, 2 usage or input, 3 finished with failed rows, 4 credentials, 5 held by a budget, 6 not finished, 130 interrupted');

for (const command of [
  demoCommand(exit),
  runCommand(exit),
  enqueueCommand(exit),
  workCommand(exit),
  statusCommand(exit),
  budgetCommand(exit),
  eventsCommand(exit),
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
