/**
 * A budget as it is written: a target, at least one limit, a window, and what happens to a batch that outlives the
 * runtime limit. `plimsoll.yaml` and `plimsoll budget set` both come through here, so both accept the same.
 *
 *   budgets:
 *     topic:invoices: { usd: 250, window: month, timeZone: Europe/Berlin }
 *     segment:invoices.8k.high: { tokens: 40_000_000, runtime: 6h, onLate: cancel }
 */
import { z } from 'zod';
import type { Budget } from '../segments/ledger/ledger.ts';
import { segmentParts, topicPattern } from '../segments/segment.ts';
import { calendarUnits, isCalendarUnit, isTimeZone } from '../segments/window.ts';
import { contextNamePattern } from './contexts.ts';
import { ownLimits } from './limits.ts';
import { dollarsPattern, parseMicroUsd } from './quantity.ts';
import { choice, duration, integer, noNote, notes, text } from './setting.ts';

/** What is done with a submitted batch that outlives its segment's runtime limit. */
export type LatePolicy = 'wait' | 'cancel';

/** A budget of the configuration: what the ledger keeps, and the runtime limit that the stages keep. */
export interface ConfiguredBudget extends Budget {
  readonly mode: 'strict' | 'estimate';
  /** Upper bound on the wall time of the segment's work within the window, ms; undefined: none. */
  readonly runtimeMs: number | undefined;
  readonly onLate: LatePolicy;
}

/** Who hands prompts in: quotas and budgets may name a client, and ledger keys contain it. */
export const clientPattern = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/;
/** `run`, `total`, a stretch of the calendar, or a span that is aligned to the Unix epoch. */
export const windowPattern = new RegExp(`^(?:run|total|${calendarUnits.join('|')}|[1-9]\\d{0,4}[smhd])$`);

const targetAllowed = 'all, topic:NAME, client:NAME or segment:TOPIC.CLASS.PRIORITY';

/** Tells whether a text names what a budget can sit on. */
export function isBudgetTarget(target: string): boolean {
  if (target === 'all') return true;
  const [kind, name] = [target.slice(0, target.indexOf(':')), target.slice(target.indexOf(':') + 1)];
  if (kind === 'topic') return topicPattern.test(name);
  if (kind === 'client') return clientPattern.test(name);
  const parts = kind === 'segment' ? segmentParts(name) : undefined;
  return parts !== undefined && contextNamePattern.test(parts.contextClass);
}

const dollarsAllowed = 'US dollars such as 250 or 0.75, with at most 6 decimals';
const dollars = z
  .union([z.string().regex(dollarsPattern, { error: dollarsAllowed }), z.int({ error: dollarsAllowed }).min(0, { error: dollarsAllowed })], { error: dollarsAllowed })
  .transform((given, context) => {
    const microUsd = parseMicroUsd(given);
    if (microUsd !== undefined) return microUsd;
    context.addIssue({ code: 'custom', message: dollarsAllowed });
    return z.NEVER;
  });

const windowAllowed = 'run, total, hour, day, week, month, or a span such as 6h or 7d';
const timeZoneAllowed = 'a time zone of the IANA database such as Europe/Berlin';
const timeZoneFits = 'left out, because only the windows hour, day, week and month are of a time zone';
/** The policy `direct` of the design needs a lane that paces single requests. */
const lateDirect = 'one of wait, cancel; direct does not exist yet, because there is no lane for single requests';
const limitsAllowed = 'a budget with at least one of tokens, usd and runtime';

/** The limits of one target. */
export const budgetType = z
  .strictObject(
    {
      tokens: z.optional(integer(0, Number.MAX_SAFE_INTEGER)).describe('Tokens of input and output together.'),
      usd: z.optional(dollars).describe('US dollars at batch prices, with at most 6 decimals.'),
      runtime: z.optional(duration('1s', '365d')).describe('Upper bound on the wall time of the work within the window.'),
      window: text(windowPattern, windowAllowed)
        .prefault('total')
        .describe('What the limits apply to: one run, all time, each hour, day, week or month of the calendar, or each span of this length (UTC).'),
      timeZone: z
        .optional(text(/^[^@=|]{1,63}$/, timeZoneAllowed, isTimeZone))
        .describe('Where hour, day, week and month begin; UTC where it is not given.'),
      mode: choice(['strict', 'estimate'])
        .prefault('strict')
        .describe('What is reserved for a prompt: the most that it can cost, or what prompts like it have cost, which may overrun the limit.'),
      onLate: z
        .enum(['wait', 'cancel'], { error: ({ input }) => (input === 'direct' ? lateDirect : 'one of wait, cancel') })
        .prefault('wait')
        .describe('What is done with a submitted batch that outlives runtime: wait for it, or cancel it.'),
    },
    { error: (issue) => (issue.code === 'invalid_type' ? limitsAllowed : undefined) },
  )
  .refine((budget) => budget.tokens !== undefined || budget.usd !== undefined || budget.runtime !== undefined, {
    error: limitsAllowed,
  })
  .refine((budget) => budget.timeZone === undefined || isCalendarUnit(budget.window), { path: ['timeZone'], error: timeZoneFits });

const mapAllowed = `a map from targets (${targetAllowed}) to limits`;

/** All budgets, by target. */
export const budgetsType = z
  .record(z.string().refine(isBudgetTarget, { error: targetAllowed }), budgetType, {
    error: (issue) => (issue.code === 'invalid_key' ? targetAllowed : mapAllowed),
  })
  .refine((budgets) => Object.keys(budgets).length <= ownLimits.budgetsMax, { error: `a map of at most ${ownLimits.budgetsMax} budgets` })
  .register(notes, { ...noNote, isStructure: true });

/** One budget in the units of the ledger. */
export function toBudget(target: string, given: z.output<typeof budgetType>): ConfiguredBudget {
  return Object.freeze({
    target,
    tokens: given.tokens,
    microUsd: given.usd,
    window: given.window,
    ...(given.timeZone === undefined ? {} : { timeZone: given.timeZone }),
    mode: given.mode,
    runtimeMs: given.runtime,
    onLate: given.onLate,
  });
}
