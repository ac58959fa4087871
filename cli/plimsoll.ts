#!/usr/bin/env node
/** The entry of the command line: parses, runs one verb, and exits with a code that scripts can rely on. */
import { CommanderError } from 'commander';
import { errnoOf, type ExitCode } from '../segments/errors.ts';
import { tellError } from './terminal.ts';
import { openProgram, overrideExits, verbsOf } from './verbs.ts';

let code: ExitCode = 0;
const exit = (given: ExitCode): void => {
  code = given;
};

// Whoever reads our output may have seen enough (`plimsoll status | head`): that is no fault, and work goes on elsewhere.
process.stdout.on('error', (error) => {
  if (errnoOf(error) === 'EPIPE') process.exit(code);
  throw error;
});

const program = openProgram();
const verbs = verbsOf(program, exit);

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
