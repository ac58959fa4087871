import { Command } from 'commander';
import { simulateCommand } from '../../../cli/simulate.ts';

/** The simulate command as a program of its own, for tests that need a process to signal or to kill. The folder is the first argument. */
const [folder = '', ...rest] = process.argv.slice(2);
await new Command('plimsoll').addCommand(simulateCommand({ defaultStateDir: () => folder })).parseAsync(['simulate', ...rest], { from: 'user' });
