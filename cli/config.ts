/** `config`: every setting as it is in force, and where it comes from. It needs neither Redis nor the lake. */
import { Command } from 'commander';
import type { ExitCode } from '../segments/errors.ts';
import { configOf, withCommon, type CommonOptions } from './options.ts';
import { print, printJson } from './terminal.ts';

interface ConfigOptions extends CommonOptions {
  readonly changed?: boolean;
}

/** The `config` verb. */
export function configCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('config'))
    .description('Show the settings in force and where each comes from; secrets are masked.')
    .option('--changed', 'only what is not a default')
    .addHelpText('after', '\nExamples:\n  plimsoll config --changed\n  plimsoll config --json | jq \'.[] | select(.path == "redis.url")\'\n\nA flag is stronger than a variable, a variable than the settings file, the file than a default.\nExit codes: 0 ok, 2 the configuration has faults (all are listed)')
    .action((options: ConfigOptions) => {
      const shown = configOf(options).effective.filter((each) => !options.changed || each.origin !== 'default');
      if (options.json) printJson(shown.map(({ path, value, origin, doc }) => ({ path, value: value ?? null, origin, doc })));
      else print(leftTable(shown.map(({ path, value, origin }) => [path, valueText(value), origin])));
      exit(0);
    });
}

const valueWidth = 60;

function valueText(value: unknown): string {
  if (value === undefined) return '-';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > valueWidth ? `${text.slice(0, valueWidth - 1)}…` : text;
}

/** Texts read best from the left. */
function leftTable(rows: readonly (readonly string[])[]): string {
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length), 'setting'.length));
  return [['setting', 'value', 'origin'], ...rows].map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()).join('\n');
}
