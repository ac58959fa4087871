/** `doctor`: looks at everything that the product stands on, one line each, with the fix. It changes nothing but one small
 *  object of the day in the lake. */
import { Command } from 'commander';
import { errorKinds, type ExitCode } from '../segments/errors.ts';
import { examine, type Examination } from './examine.ts';
import type { Finding, Verdict } from './fitness.ts';
import { configOf, withCommon, type CommonOptions } from './options.ts';
import { print, printJson, tell } from './terminal.ts';

interface DoctorOptions extends CommonOptions {
  readonly simulate?: boolean;
}

/** The `doctor` verb. */
export function doctorCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('doctor'))
    .description('Check Redis, lake, disk, clocks, key and prices, and say how to mend what is wrong.')
    .option('--simulate', 'ask the simulator of the home instead of the provider')
    .addHelpText('after', '\nWhat could lose or repeat work keeps plimsoll work from starting, too: a Redis that may evict, a lake that overwrites, a ledger\nthat is behind. Refused credentials let it start and wait, and it says so.\n\nExamples:\n  plimsoll doctor\n  plimsoll doctor --json\n\nExit codes: 0 ok or warnings only, 1 something fails, 2 usage or configuration, 4 the provider refuses the credentials')
    .action(async (options: DoctorOptions) => {
      const examination = await examine({ config: configOf(options), install: options.install, isSimulated: options.simulate === true, announce: options.quiet ? () => undefined : tell });
      if (options.json) printJson({ verdict: worstOf(examination.findings), checks: examination.findings.map(({ check, verdict, detail, fix }) => ({ check, verdict, detail, fix: fix ?? null })) });
      else print(examination.findings.map(lineOf).join('\n'));
      exit(exitOf(examination));
    });
}

const ranks: Readonly<Record<Verdict, number>> = { ok: 0, warning: 1, fail: 2 };

function worstOf(findings: readonly Finding[]): Verdict {
  return findings.reduce<Verdict>((worst, { verdict }) => (ranks[verdict] > ranks[worst] ? verdict : worst), 'ok');
}

function lineOf({ check, verdict, detail, fix }: Finding): string {
  return `${verdict.padEnd(7)}  ${check.padEnd(17)}  ${detail}${fix === undefined ? '' : `\n                            ${fix}`}`;
}

function exitOf({ findings, areCredentialsRefused }: Examination): ExitCode {
  if (worstOf(findings) !== 'fail') return 0;
  return areCredentialsRefused ? errorKinds.credentials_refused.exit : 1;
}
