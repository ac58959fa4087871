/**
 * Works the stages in this process until one run stands still. `run`, `demo`, `apply`, `retry` and `cancel` all end here;
 * workers elsewhere share the work.
 */
import type { Production } from '../producers/producer.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import type { RunKey } from '../segments/segment.ts';
import { assertSide, type Side } from '../segments/side.ts';
import { explainAccountFault } from './account-fault.ts';
import { startStages, type Installation } from './compose.ts';
import { connectClaude } from './provider.ts';
import { explainByLedger } from './guard.ts';
import { followRun, type RunView } from './follow.ts';
import { interruptSignal } from './interrupt.ts';
import { patientWith } from './patience.ts';
import { startProgress } from './progress.ts';
import { tell } from './terminal.ts';

export interface RunEnd {
  readonly view: RunView;
  /** undefined: nothing was to be read, only worked. */
  readonly production: Production | undefined;
  readonly isTimedOut: boolean;
  readonly isInterrupted: boolean;
}

export interface WorkOptions {
  readonly isSimulated: boolean;
  readonly timeoutMs: number | undefined;
  readonly isShown: boolean;
}

/** Who answers what a command works; `isSimulated`: its flag --simulate. */
export function sideOf(isSimulated: boolean | undefined): Side {
  return isSimulated ? 'simulated' : 'real';
}

const drainMs = 30_000;
/** After a Ctrl-C nobody waits for an upload to end: it is refused at the gate and sent again later. */
const interruptedDrainMs = 5_000;

/**
 * Brings a run into being by `ingest`, works, and follows the run until it stands still, the time is over, or a person
 * interrupts. @throws PlimsollError `run_side_differs` before anything else is done, `credentials_refused` when the account
 * cannot work, `interrupted` during the ingest
 */
export async function workUntilStill(
  installation: Installation,
  key: RunKey,
  ingest: (signal: AbortSignal) => Promise<Production | undefined>,
  options: WorkOptions,
): Promise<RunEnd> {
  assertSide(key, (await installation.ledger.readRun(key))?.side, sideOf(options.isSimulated));
  const announce = options.isShown ? tell : () => undefined;
  const claude = await connectClaude(installation, { ...options, announce });
  const interrupt = interruptSignal(() => tell(`\n${interruptedText(key, options.isSimulated)}`));
  const fault = new AbortController();
  let accountFault: PlimsollError | undefined;
  const stages = await startStages(installation, claude, (error) => {
    accountFault = error;
    fault.abort();
  });
  const progress = startProgress(options.isShown, installation.config.isCi);
  try {
    const production = await ingest(interrupt.signal).catch((error: unknown) => {
      throw interrupt.signal.aborted && !(error instanceof PlimsollError) ? interrupted(key, error) : error;
    });
    const signal = AbortSignal.any([interrupt.signal, fault.signal]);
    const { view, isTimedOut } = await followRun(installation.ledger, key, {
      timeoutMs: options.timeoutMs,
      signal,
      onLook: (look) => progress.show(look),
      mayMove: patientWith(installation.ledger, { landingWaitMs: installation.config.submit.landingWaitMs, now: installation.now, timeoutMs: options.timeoutMs }),
    });
    progress.end();
    if (accountFault && view.standing !== 'complete' && view.standing !== 'canceled') {
      const { accepted, succeeded, deadLettered, notSampled } = view.run;
      throw explainAccountFault(accountFault, installation.config, options.isSimulated, accepted - succeeded - deadLettered - notSampled);
    }
    return { view, production, isTimedOut: isTimedOut && !interrupt.signal.aborted, isInterrupted: interrupt.signal.aborted && view.standing === 'moving' };
  } catch (error) {
    throw error === accountFault || interrupt.signal.aborted ? error : await explainByLedger(stages.guard, error);
  } finally {
    progress.end();
    interrupt.stop();
    await stages.close(interrupt.signal.aborted ? interruptedDrainMs : drainMs);
    await claude.close();
  }
}

/** The exit code that says how a run stands. */
export function exitOf(end: Pick<RunEnd, 'view' | 'isTimedOut'> & Partial<Pick<RunEnd, 'isInterrupted'>>): ExitCode {
  const { view, isTimedOut, isInterrupted } = end;
  if (isInterrupted === true) return 130;
  if (view.standing === 'complete') return view.run.result === 'succeeded' ? 0 : 3;
  if (view.standing === 'canceled') return 3;
  if (view.standing === 'held') return 5;
  return view.standing === 'in_doubt' || isTimedOut ? 6 : 1;
}

/** What a person reads after a Ctrl-C. Of a rehearsal every command that works says `--simulate`: without it, it is refused or finds nothing to do. */
export function interruptedText(key: string, isSimulated: boolean): string {
  const simulate = isSimulated ? ' --simulate' : '';
  return [
    `Interrupted. Nothing is lost: what is queued stays queued, and the provider goes on with its batches.`,
    `  watch it   plimsoll watch ${key}`,
    `  go on      the same command again, or plimsoll work${simulate} (some worker has to run for results to arrive)`,
    `  stop it    plimsoll cancel ${key}${simulate}`,
  ].join('\n');
}

function interrupted(key: RunKey, cause: unknown): PlimsollError {
  return new PlimsollError('interrupted', { message: 'the source was not read to its end', where: `run ${key}`, hint: 'The same command goes on behind the last durable prompt.', cause });
}
