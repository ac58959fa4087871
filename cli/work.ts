/** `work`: the stages, until stopped. Any number of them share the work; SIGTERM drains within 30 seconds. */
import { Command } from 'commander';
import type { ExitCode } from '../segments/errors.ts';
import { explainAccountFault } from './account-fault.ts';
import { startStages } from './compose.ts';
import { connectClaude } from './provider.ts';
import { configOf, withCommon, withInstallation, type CommonOptions } from './options.ts';
import { tell } from './terminal.ts';

interface WorkOptions extends CommonOptions {
  readonly simulate?: boolean;
}

/** A process manager kills after this long, so nothing may be begun that takes longer to end. */
const drainMs = 25_000;

/** The `work` verb. */
export function workCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('work'))
    .description('Pack, submit, follow and export until stopped.')
    .option('--simulate', 'answer with the simulator of the home: rehearsals, and runs that nobody has worked yet')
    .addHelpText('after', '\nExample:\n  plimsoll work --simulate   # in one terminal\n  plimsoll enqueue invoices.jsonl --run-key nightly-2026-11-21   # in another\n\nA run is answered by one side only: by the provider or, as a rehearsal, by the simulator. Commands that bring a run in and\nwork it (run, apply, retry, demo) decide when they open it; what enqueue brings in belongs to the worker that first sends\nsome of it. Work of the other side is passed over.\n\nExit codes: 0 drained after SIGTERM or Ctrl-C, 1 the ledger is behind the lake (plimsoll recover), 2 configuration or Redis, 4 no credentials')
    .action(async (options: WorkOptions) => {
      const config = configOf(options);
      exit(
        await withInstallation(options, 'json', async (installation) => {
          const announce = options.quiet ? () => undefined : tell;
          const claude = await connectClaude(installation, { isSimulated: options.simulate === true, announce });
          const lost = new AbortController();
          const stages = await startStages(installation, claude, (raw) => {
            // Each stage that the ledger refuses says so, until all have ended: once is enough.
            if (lost.signal.aborted) return;
            const fault = explainAccountFault(raw, config, options.simulate === true);
            installation.log({ level: 'error', event: 'account.fault', subject: claude.account, detail: { code: fault.code, message: fault.message, where: fault.where, hint: fault.hint } });
            // Nothing of a ledger that is behind may be believed: the stages end until it was rebuilt.
            if (fault.code === 'ledger_behind') lost.abort(fault);
          });
          installation.log({ level: 'info', event: 'worker.started', subject: String(process.pid), detail: { account: claude.account, lake: installation.store.uri } });
          await stopRequest(lost.signal);
          installation.log({ level: 'info', event: 'worker.draining', subject: String(process.pid) });
          await stages.close(drainMs);
          await claude.close();
          lost.signal.throwIfAborted();
          return 0;
        }, config),
      );
    });
}

/** Resolves when the ledger is lost, or on the first SIGTERM or SIGINT; a second one ends the process as a crash would, which is harmless. */
async function stopRequest(lost: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    let isAsked = false;
    lost.addEventListener('abort', () => resolve(), { once: true });
    if (lost.aborted) resolve();
    const stop = (): void => {
      if (isAsked) process.exit(130);
      isAsked = true;
      resolve();
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
  });
}
