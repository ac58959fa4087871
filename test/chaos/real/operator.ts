/**
 * What a person does in a seed: cancels, holds and lets go again, replans, raises a budget, gives up what is in doubt. A command that was killed, or
 * that found no Redis, is given again, as a person would.
 *
 * Invariant O1: whatever was held is let go, or the seed could not come to its end.
 */
import type { Exit } from './players.ts';
import type { OperatorAct } from './points.ts';

export interface OperatorContext {
  /** Runs one command of the product to its end. */
  readonly command: (args: readonly string[]) => Promise<Exit>;
  readonly pause: (ms: number) => Promise<void>;
  readonly isOver: () => boolean;
  /** Tokens that the budget may hold from now on; never less than it holds. */
  readonly budgetTokens: number;
  /** An archive that is in doubt now. */
  readonly doubt: () => Promise<string | undefined>;
}

const triesMax = 12;
/** So long a person waits for a doubt, ms, and looks this often. */
const doubtWaitMs = 6_000;
const doubtLookMs = 40;
/** A segment that most seeds have prompts for. */
const segment = 'invoices.8k.normal';
const run = 'run-0';

/** Gives a command until it is taken or refused. Returns whether it was taken. */
async function give(args: readonly string[], context: OperatorContext): Promise<boolean> {
  for (let tries = 0; tries < triesMax && !context.isOver(); tries += 1) {
    const exit = await context.command(args);
    if (exit.code === 0) return true;
    // The run or the segment is not there yet, or not any more; an input that is refused is refused again.
    if (exit.code === 2 && !/\[redis_unavailable\]/.test(exit.stderr)) return false;
    await context.pause(300);
  }
  return false;
}

/** Does what `act` says; `forMs` is how long something stays held. Returns whether it came about. */
export async function operate(act: OperatorAct, forMs: number, context: OperatorContext): Promise<boolean> {
  switch (act) {
    case 'cancel':
      return await give(['cancel', run, '--no-wait', '--json'], context);
    case 'budget':
      return await give(['budget', 'set', 'topic:invoices', '--tokens', String(context.budgetTokens), '--json'], context);
    case 'forgo':
      return await forgo(context, async () => true);
    case 'forgo_held':
      return await forgo(context, async (archive) => {
        const isHeld = await give(['doubts', 'hold', archive, '--json'], context);
        await context.pause(forMs);
        return isHeld;
      });
    case 'hold_run':
      return await held(`run:${run}`, forMs, context, async () => true);
    case 'hold_segment':
      return await held(`segment:${segment}`, forMs, context, async () => true);
    case 'replan':
      return await held(`segment:${segment}`, forMs, context, async () => await give(['replan', segment, '--max-tokens', '12', '--sample', '60%', '--apply', '--by', 'ada', '--reason', 'a seed', '--json'], context));
  }
}

async function held(target: string, forMs: number, context: OperatorContext, meanwhile: () => Promise<boolean>): Promise<boolean> {
  if (!(await give(['hold', target, '--json'], context))) return false;
  await context.pause(forMs);
  const isDone = await meanwhile();
  // O1
  await give(['resume', target, '--json'], context);
  return isDone;
}

/** Waits for a doubt and gives it up; `before` is what is done to it first. What was held for a person is decided here, too (O1). */
async function forgo(context: OperatorContext, before: (archive: string) => Promise<boolean>): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < doubtWaitMs && !context.isOver(); waitedMs += doubtLookMs) {
    const archive = await context.doubt();
    if (archive !== undefined) return (await before(archive)) && (await give(['doubts', 'forgo', archive, '--yes', '--by', 'ada', '--reason', 'a seed', '--json'], context));
    await context.pause(doubtLookMs);
  }
  return false;
}
