/**
 * A plan: what a source would become and what it would cost, worked out without sending anything. Pure but for reading
 * the plan back; the survey of the source is made by `producers/survey.ts`.
 */
import { z } from 'zod';
import type { Config } from '../config/config.ts';
import type { ClientSurvey, SegmentSurvey, Survey } from '../producers/producer.ts';
import { cacheHitsExpectedPermille } from '../producers/survey.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { Budget } from '../segments/ledger/ledger.ts';
import { bodyBytes } from '../segments/pack.ts';
import { microUsdToUsd } from '../segments/price.ts';
import { priorities, segmentParts } from '../segments/segment.ts';

/** What one budget would do to the planned prompts. Amounts are tokens and micro-USD, summed over what it applies to. */
export interface BudgetVerdict {
  readonly target: string;
  readonly window: string;
  /** Which of the two verdicts holds. */
  readonly mode: 'strict' | 'estimate';
  readonly kind: 'tokens' | 'usd';
  readonly limit: number;
  readonly expected: number;
  readonly bound: number;
  /** Reserving upper bounds: does everything fit at once, or is something held until results give room back? */
  readonly strict: 'fits' | 'holds_a_part';
  /** Reserving expectations: would the expected spending stay within the limit? */
  readonly estimate: 'fits' | 'holds_a_part';
}

/** How many batches the segments of one run would need; the tails of a priority share archives. */
export function batchesOf(segments: readonly SegmentSurvey[], limits: Pick<Config['archive'], 'bytesMax' | 'rowsMax'>): { readonly total: number; readonly own: ReadonlyMap<string, number> } {
  const own = new Map<string, number>();
  let total = 0;
  for (const priority of priorities) {
    let bytes = 0;
    let rows = 0;
    let isOpen = false;
    for (const each of segments.filter((segment) => segmentParts(segment.segment)?.priority === priority)) {
      const size = bodyBytes(each.rows, each.paramsBytes);
      const full = Math.max(Math.ceil(size / limits.bytesMax), Math.ceil(each.rows / limits.rowsMax)) - 1;
      own.set(each.segment, full);
      total += full;
      const tail = { bytes: Math.max(0, size - full * limits.bytesMax), rows: Math.max(1, each.rows - full * limits.rowsMax) };
      if (isOpen && (bytes + tail.bytes > limits.bytesMax || rows + tail.rows > limits.rowsMax)) {
        total += 1;
        bytes = 0;
        rows = 0;
      }
      bytes += tail.bytes;
      rows += tail.rows;
      isOpen = true;
    }
    if (isOpen) total += 1;
  }
  return { total, own };
}

/** What budgets would do. */
export function verdictsOf({ segments, clients }: Pick<Survey, 'segments' | 'clients'>, budgets: readonly Budget[]): readonly BudgetVerdict[] {
  return budgets.flatMap((budget): BudgetVerdict[] => {
    const own: readonly Sums[] = [...segments.filter(({ segment }) => appliesTo(budget.target, segment)), ...clients.filter(({ client }) => budget.target === `client:${client}`)];
    if (own.length === 0) return [];
    const sum = (of: (each: Sums) => number): number => own.reduce((total, each) => total + of(each), 0);
    const verdict = (kind: 'tokens' | 'usd', limit: number, expected: number, bound: number): BudgetVerdict => ({
      target: budget.target, window: budget.window, mode: budget.mode ?? 'strict', kind, limit, expected, bound,
      strict: bound <= limit ? 'fits' : 'holds_a_part',
      estimate: expected <= limit ? 'fits' : 'holds_a_part',
    });
    return [
      ...(budget.tokens === undefined ? [] : [verdict('tokens', budget.tokens, sum((each) => each.tokensExpected), sum((each) => each.tokensMax))]),
      ...(budget.microUsd === undefined ? [] : [verdict('usd', budget.microUsd, sum((each) => each.microUsdExpected), sum((each) => each.microUsdMax))]),
    ];
  });
}

type Sums = Pick<SegmentSurvey & ClientSurvey, 'tokensExpected' | 'tokensMax' | 'microUsdExpected' | 'microUsdMax'>;

function appliesTo(target: string, segment: string): boolean {
  return target === 'all' || target === `segment:${segment}` || target === `topic:${segmentParts(segment)?.topic ?? ''}`;
}

/** What a plan was made with beyond the settings file; `apply` uses the same. */
export interface PlanFlags {
  readonly topic?: string | undefined;
  readonly priority?: string | undefined;
  readonly client?: string | undefined;
  readonly model?: string | undefined;
  readonly maxTokens?: string | undefined;
  readonly strict?: boolean | undefined;
  readonly maxBadRows?: string | undefined;
}

/** Why a run of a source would queue nothing, as `run` and `enqueue` would say it; undefined: it would queue the good lines. */
export function refusalOf({ source, accepted, rejected, rejects, isBoundBroken }: Survey, { strict, maxBadRows }: PlanFlags): PlimsollError | undefined {
  const [first] = rejects;
  if (!isBoundBroken || !first) return undefined;
  const bound = strict === true ? '--strict' : `--max-bad-rows ${maxBadRows ?? ''}`;
  return new PlimsollError('input_rejected', {
    message: `${rejected} of ${accepted + rejected} lines of ${source} are bad, more than ${bound} allows; nothing would be queued`,
    where: `${first.source_uri ?? source}:${first.line}${first.column === undefined ? '' : `:${first.column}`}`,
    hint: `That place is the first of them; --json and --out list ${rejected > rejects.length ? `the first ${rejects.length}` : 'every one'}. Mend them, or ${strict === true ? 'leave --strict out' : 'allow more with --max-bad-rows'}.`,
  });
}

/**
 * The document that `plan --json` prints and `plan --out` writes. `source` is an absolute path, or `-`. Where it is
 * `refused`, rows, batches, tokens and costs are what the good lines alone would come to.
 */
export function planDocument(survey: Survey, source: string, cutSha256: string, flags: PlanFlags, config: Pick<Config, 'archive'>, budgets: readonly Budget[], warnings: readonly string[] = []) {
  const { total, own } = batchesOf(survey.segments, config.archive);
  const sum = (of: (each: SegmentSurvey) => number): number => survey.segments.reduce((all, each) => all + of(each), 0);
  const expected = sum((each) => each.microUsdExpected);
  const bound = sum((each) => each.microUsdMax);
  const refusal = refusalOf(survey, flags);
  return {
    v: 1,
    source,
    input: survey.input,
    price_version: survey.priceVersion,
    settings_sha256: cutSha256,
    flags,
    /** Nothing would be queued, and `apply` refuses the plan; null: it may be applied. */
    refused: refusal ? { code: refusal.code, message: refusal.message, where: refusal.where ?? null } : null,
    accepted: survey.accepted,
    rejected: survey.rejected,
    rejected_by_code: survey.rejectedByCode,
    /** The first bad lines in the order of the source, and how many more there are. */
    rejects: survey.rejects,
    rejects_unlisted: survey.rejected - survey.rejects.length,
    batches: total + survey.primers,
    tokens_expected: sum((each) => each.tokensExpected),
    tokens_max: sum((each) => each.tokensMax),
    cost_usd_expected: microUsdToUsd(expected),
    cost_usd_max: microUsdToUsd(bound),
    /** Taken off in `cost_usd_expected`. */
    cache: { primers: survey.primers, rows_marked: sum((each) => each.rowsMarked), hits_expected_permille: cacheHitsExpectedPermille, saved_usd_expected: microUsdToUsd(sum((each) => each.microUsdSavedExpected)) },
    segments: survey.segments.map((each) => ({
      segment: each.segment, rows: each.rows, bytes: each.paramsBytes, full_batches: own.get(each.segment) ?? 0,
      tokens_expected: each.tokensExpected, tokens_max: each.tokensMax,
      cost_usd_expected: microUsdToUsd(each.microUsdExpected), cost_usd_max: microUsdToUsd(each.microUsdMax),
      cache_rows_marked: each.rowsMarked, cache_saved_usd_expected: microUsdToUsd(each.microUsdSavedExpected),
    })),
    budgets: verdictsOf(survey, budgets),
    /** Clients over a rate of their tier, if they hand in nothing else in that minute or day. */
    quotas: survey.clients.flatMap(({ client, tier, rows, over }) => (over && tier !== undefined ? [{ client, tier, rows, limit: over.limit, allowed: over.allowed, rows_over: over.rows, over: over.kind }] : [])),
    warnings,
  } as const;
}

const planSchema = z.object({
  v: z.literal(1),
  source: z.string(),
  input: z.object({ bytes: z.int(), rows: z.int(), sha256: z.string() }),
  price_version: z.string(),
  refused: z.object({ message: z.string() }).nullish(),
  settings_sha256: z.string(),
  flags: z.object({
    topic: z.string().optional(), priority: z.string().optional(), client: z.string().optional(), model: z.string().optional(),
    maxTokens: z.string().optional(), strict: z.boolean().optional(), maxBadRows: z.string().optional(),
  }),
});

/** What `apply` needs of a plan. */
export type SavedPlan = z.infer<typeof planSchema>;

/** Reads a plan back. @throws PlimsollError `usage` when it is none */
export function parsePlan(text: string, path: string): SavedPlan {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    document = undefined;
  }
  const decoded = planSchema.safeParse(document);
  if (decoded.success) return decoded.data;
  throw new PlimsollError('usage', { message: 'this is no plan', where: path, hint: 'Make one: plimsoll plan FILE --out plan.json' });
}
