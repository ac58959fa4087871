/** The program and its verbs: what the command line offers, and the module that each of it needs. */
import { Command } from 'commander';
import { join, resolve } from 'node:path';
import { readEnvironment } from '../config/env.ts';
import type { ExitCode } from '../segments/errors.ts';
import { packageVersion } from './version.ts';

/** The program without a verb; its caller adds those that it needs. */
export function openProgram(): Command {
  return new Command('plimsoll')
    .description('A batch pipeline for Claude that never pays twice, never exceeds a budget and never loses a prompt.')
    .version(packageVersion())
    .showSuggestionAfterError()
    .addHelpText('after', `
Examples:
  plimsoll demo
  plimsoll plan invoices.jsonl
  plimsoll run invoices.jsonl --run-key nightly-2026-11-21 --simulate
  plimsoll status

Exit codes: 0 ok, 1 failed, 2 usage or input, 3 finished with failed rows, 4 credentials, 5 held by a budget or an operator, 6 not finished, 130 interrupted`);
}

/**
 * Every verb with the module that it needs. A command loads its own verb only, so that `plimsoll config` does not wait
 * for Redis, S3 and the provider's client to be loaded; help, completion and a mistyped verb load them all, the version none.
 */
export function verbsOf(program: Command, exit: (code: ExitCode) => void): Readonly<Record<string, () => Promise<Command>>> {
  return {
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
}

/** Has commands throw where they would end the process. Sub-commands do not take the override of their parent over when they are added. */
export function overrideExits(command: Command): void {
  command.exitOverride();
  for (const sub of command.commands) overrideExits(sub);
}
