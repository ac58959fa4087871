/**
 * Replanning as a call: what would fit of what a segment holds, and how it is applied. The verb `replan` prints what this
 * works out; a program that has an installation open calls the same two functions.
 */
import { outputExpectedPermille } from '../producers/survey.ts';
import { validateParams } from '../producers/validate.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { Budget, ChunkRecord } from '../segments/ledger/ledger.ts';
import { applyReplan, finishReplans, keptOf, proveSendable, readHeld, readUnfinished, type AppliedReplan, type HeldRows, type ReplanningDependencies } from '../segments/ledger/replanning.ts';
import type { ReplanOption } from '../segments/replan-document.ts';
import { PlannedRows, sampleSize, samplingOrder, turnaroundMax, type PlannedSums } from '../segments/replan.ts';
import type { RunKey, SegmentName } from '../segments/segment.ts';
import { journalBudget } from '../segments/store/decisions.ts';
import type { Installation } from './compose.ts';
import { enterDecision } from './guard.ts';
import { resumedBy } from './replan-unfinished.ts';
import { nextWindow, readSegmentLimits, roomOf, withLimit, type Limit, type Room } from './replan-room.ts';

/** What is asked for. Without an option and a budget, the ways that there are are worked out. */
export interface ReplanRequest {
  readonly segment: SegmentName;
  /** Only what is held of this run. */
  readonly run?: RunKey | undefined;
  readonly option: ReplanOption;
  /** A limit in micro-USD in the place of the one that holds the segment. */
  readonly budgetMicroUsd?: number | undefined;
}

/**
 * Whether an option fits. `now`: its bounds fit the free room. `after_settlement`: they fit when what is at the provider
 * has been settled and has cost what is expected. `likely`: its expected cost fits then; it flows in several rounds. `no`.
 */
export type Fit = 'now' | 'after_settlement' | 'likely' | 'no';

/** One way to go on. */
export interface ReplanChoice extends PlannedSums {
  readonly kind: 'as_it_is' | 'model' | 'max_tokens' | 'sample' | 'budget' | 'next_window' | 'asked';
  readonly option: ReplanOption;
  readonly fit: Fit;
  /** How many rows the free room takes at once. */
  readonly rowsNow: number;
  /** The limit that it takes, micro-USD; only of `budget`. */
  readonly budget?: { readonly target: string; readonly microUsd: number };
  /** When its window begins, Unix ms; only of `next_window`. */
  readonly startsAtMs?: number;
  /** An upper bound of the time until its last result from when it begins, ms; undefined: it does not fit, or no archive
   *  was settled from which a bound could be taken. */
  readonly finishMs: number | undefined;
}

export interface ReplanPlan {
  readonly held: HeldRows;
  readonly limits: readonly Limit[];
  readonly choices: readonly ReplanChoice[];
  /** On how many archives the times rest. */
  readonly turnaroundsSeen: number;
}

/** @throws PlimsollError `nothing_held`, `replan_refused`, `usage` */
export async function planReplan(installation: Installation, request: ReplanRequest): Promise<ReplanPlan> {
  const { ledger, now } = installation;
  const { segment, option, budgetMicroUsd } = request;
  const held = await heldOf(installation, request);
  proveChange(held, option);
  await proveSendable(dependenciesOf(installation), held, option);
  const own = await readSegmentLimits(ledger, segment, held.chunks, now());
  const limits = budgetMicroUsd === undefined ? own : withLimit(own, await budgetTarget(installation, request), budgetMicroUsd);
  const seen = await ledger.readTurnarounds(segment);
  const isAsked = option.model !== undefined || option.maxTokens !== undefined || option.sample !== undefined || budgetMicroUsd !== undefined;
  const planner = new Planner(installation, held, limits, turnaroundMax(seen));
  return { held, limits, turnaroundsSeen: seen.length, choices: isAsked ? [planner.asked(option)] : planner.ways(now()) };
}

/** What was applied, and the budget that was set with it. */
export interface ReplanResult {
  readonly applied: AppliedReplan;
  /** Further interrupted tries of the same decision, over other chunks, that were gone on with as well. */
  readonly further: readonly AppliedReplan[];
  /** An earlier try had decided this and was interrupted. */
  readonly isResumed: boolean;
  readonly budget: Budget | undefined;
}

/**
 * Applies an option to what is held, or goes on with a try that was interrupted. Workers do the rest.
 * @throws PlimsollError `nothing_held`, `replan_refused`, `replan_unfinished` when what was interrupted is another decision,
 *   `usage`, `ledger_behind` and what ledger and store raise
 */
export async function applyRequest(installation: Installation, request: ReplanRequest, decision: { readonly by: string; readonly reason: string }): Promise<ReplanResult> {
  await enterDecision(installation);
  const { ledger, wake, now } = installation;
  const dependencies = dependenciesOf(installation);
  const target = request.budgetMicroUsd === undefined ? undefined : await budgetTarget(installation, request);
  const [unfinished, ...further] = await finishReplans(dependencies, resumedBy(request, await readUnfinished(dependencies, request.segment)));
  let applied = unfinished;
  if (!applied) {
    const held = await heldOf(installation, request);
    const { option, run } = request;
    proveChange(held, option);
    await proveSendable(dependencies, held, option);
    applied = await applyReplan(dependencies, held, { option, run, ...decision });
  }
  for (const archive of [applied, ...further].flatMap(({ archives }) => archives)) await wake.wake({ stage: 'settle', entity: archive, epoch: now() });
  // Only now: the old chunks would have flowed into the new room.
  const budget = target === undefined || request.budgetMicroUsd === undefined ? undefined : await raise(installation, target, request.budgetMicroUsd);
  for (const chunk of await ledger.resumeHeld(now())) await wake.enqueueChunk(chunk.segment, chunk.chunk, chunk.epoch);
  return { applied, further, isResumed: unfinished !== undefined, budget };
}

async function raise({ ledger, store, now }: Installation, target: string, microUsd: number): Promise<Budget> {
  const known = (await ledger.listBudgets()).find((each) => each.target === target);
  const budget: Budget = { ...(known ?? { target, tokens: undefined, window: 'total' }), microUsd };
  await journalBudget(store, budget, now());
  await ledger.setBudget(budget, 'operator', now());
  return budget;
}

async function heldOf(installation: Installation, { segment, run }: ReplanRequest): Promise<HeldRows> {
  const held = await readHeld(installation, segment, run);
  if (held.rows.length > 0) return held;
  throw new PlimsollError('nothing_held', {
    message: `nothing of ${segment}${run === undefined ? '' : ` in run ${run}`} is held`,
    where: segment,
    hint: 'plimsoll status says what is held. What waits in a queue is held when a packer meets the limit: a worker has to run.',
  });
}

/** A part of an option that changes no row is a mistake, most likely a typing one. @throws PlimsollError `usage` */
function proveChange({ rows }: HeldRows, { model, maxTokens, sample }: ReplanOption): void {
  const refuse = (where: string, message: string, hint: string): PlimsollError => new PlimsollError('usage', { message, where, hint });
  if (model !== undefined && rows.every((row) => row.model === model)) throw refuse('--model', `all held rows go to ${model} already`, 'Name another model, or leave it out.');
  const outMax = rows.reduce((most, row) => Math.max(most, row.out), 0);
  if (maxTokens !== undefined && maxTokens >= outMax) throw refuse('--max-tokens', `no held row asks for more than ${outMax} tokens, so ${maxTokens} changes nothing`, `Name a number below ${outMax}; it is never raised.`);
  if (sample !== undefined && sampleSize(sample, rows.length) === rows.length) throw refuse('--sample', `only ${rows.length} rows are held, so nothing would be left out`, 'Name a smaller number.');
}

/** The one budget in dollars that holds the segment. @throws PlimsollError `usage` when there is none, or more than one */
async function budgetTarget({ ledger, now }: Installation, { segment }: ReplanRequest): Promise<string> {
  const targets = [...new Set((await ledger.listStops(now())).filter((stop) => stop.segment === segment && stop.reason === 'budget_cost').map(({ target }) => target))];
  const [only, ...others] = targets;
  if (only !== undefined && others.length === 0) return only;
  throw new PlimsollError('usage', {
    message: only === undefined ? `no budget in dollars holds ${segment}` : `several budgets hold ${segment}: ${targets.join(', ')}`,
    where: '--budget-usd',
    hint: 'Set the limit that is meant by itself: plimsoll budget set TARGET --usd X',
  });
}

function dependenciesOf({ store, ledger, prices, config, now }: Installation): ReplanningDependencies {
  const rules = { anthropicVersion: config.anthropic.version, price: prices };
  return {
    store, ledger, now,
    find: prices.find,
    priceVersion: prices.version,
    archiveRowsMax: config.archive.rowsMax,
    faultOf(params) {
      const validation = validateParams(JSON.parse(params.toString('latin1')) as Record<string, unknown>, rules);
      return validation.kind === 'fault' ? validation.fault.problem : undefined;
    },
  };
}

/** How many cheaper models are shown. */
const modelsShown = 3;
/** The smallest `max_tokens` that is proposed; below it an answer is hardly one. */
const maxTokensMin = 16;

/** Works choices out over the held rows. */
class Planner {
  readonly #installation: Installation;
  readonly #held: HeldRows;
  readonly #limits: readonly Limit[];
  readonly #turnaroundMs: number | undefined;
  readonly #base: PlannedRows;
  readonly #now: Room;
  readonly #later: Room;

  constructor(installation: Installation, held: HeldRows, limits: readonly Limit[], turnaroundMs: number | undefined) {
    this.#installation = installation;
    this.#held = held;
    this.#limits = limits;
    this.#turnaroundMs = turnaroundMs;
    this.#base = this.#planned({});
    this.#now = roomOf(limits, 1);
    // What is at the provider is expected to use as much of its bounds as the rows that are held.
    const { microUsdExpected, microUsdMax } = this.#base.sums();
    this.#later = roomOf(limits, microUsdMax === 0 ? 1 : microUsdExpected / microUsdMax);
  }

  asked(option: ReplanOption): ReplanChoice {
    const kept = keptOf(this.#held, option);
    return this.#choice('asked', option, this.#planned(option), [...kept.keys()].filter((place) => kept[place] === 1));
  }

  ways(nowMs: number): readonly ReplanChoice[] {
    const asItIs = this.#choice('as_it_is', {}, this.#base);
    return [asItIs, ...this.#models(asItIs), ...this.#maxTokens(), ...this.#samples(), ...this.#budget(asItIs), ...this.#nextWindow(asItIs, nowMs)];
  }

  /** The dearest of the cheaper models first: it is likely the most able. */
  #models(asItIs: ReplanChoice): readonly ReplanChoice[] {
    const tokensMax = this.#held.rows.reduce((most, row) => Math.max(most, row.expect), 0);
    const usable = this.#installation.prices.models.filter((model) => model.status === 'active' && model.contextTokensMax >= tokensMax);
    const choices = usable.map(({ model }) => this.#choice('model', { model }, this.#planned({ model }))).filter((choice) => choice.microUsdMax < asItIs.microUsdMax);
    return choices.sort((a, b) => b.microUsdMax - a.microUsdMax).slice(-modelsShown);
  }

  /** Halves `max_tokens` until everything fits; the first that does, or the smallest that was tried. */
  #maxTokens(): readonly ReplanChoice[] {
    let last: ReplanChoice | undefined;
    for (let maxTokens = Math.floor(this.#held.rows.reduce((most, row) => Math.max(most, row.out), 0) / 2); maxTokens >= maxTokensMin; maxTokens = Math.floor(maxTokens / 2)) {
      last = this.#choice('max_tokens', { maxTokens }, this.#planned({ maxTokens }));
      if (last.fit === 'now' || last.fit === 'after_settlement') break;
    }
    return last ? [last] : [];
  }

  /** The largest sample whose bounds fit when what is at the provider is settled. */
  #samples(): readonly ReplanChoice[] {
    const order = samplingOrder(this.#held.rows);
    const rows = this.#base.leading(this.#later, order);
    return rows === this.#held.rows.length ? [] : [this.#choice('sample', { sample: { rows } }, this.#base, order.subarray(0, rows))];
  }

  #budget(asItIs: ReplanChoice): readonly ReplanChoice[] {
    const short = this.#limits.filter((each) => each.unit === 'micro_usd' && each.limit - each.spent - each.reserved < asItIs.microUsdMax);
    return short.map(({ target, spent, reserved }) => ({ ...asItIs, kind: 'budget' as const, fit: 'now' as const, rowsNow: asItIs.rows, budget: { target, microUsd: spent + reserved + asItIs.microUsdMax }, finishMs: this.#turnaroundMs }));
  }

  #nextWindow(asItIs: ReplanChoice, nowMs: number): readonly ReplanChoice[] {
    const next = nextWindow(this.#limits, { tokens: asItIs.tokensMax, microUsd: asItIs.microUsdMax });
    if (!next || next.startsAtMs <= nowMs) return [];
    const rowsNow = this.#base.leading(next.room);
    const isWhole = rowsNow === asItIs.rows;
    return [{ ...asItIs, kind: 'next_window', rowsNow, fit: isWhole ? 'now' : 'no', startsAtMs: next.startsAtMs, finishMs: isWhole ? this.#turnaroundMs : undefined }];
  }

  #planned(option: ReplanOption): PlannedRows {
    return new PlannedRows(this.#held.rows, option, this.#installation.prices.find, outputExpectedPermille);
  }

  #choice(kind: ReplanChoice['kind'], option: ReplanOption, planned: PlannedRows, places?: ArrayLike<number>): ReplanChoice {
    const sums = planned.sums(places);
    const fit = fitOf(sums, this.#now, this.#later);
    const rounds = fit === 'now' ? 1 : 2;
    const finishMs = fit === 'now' || fit === 'after_settlement' ? this.#turnaroundMs && this.#turnaroundMs * rounds : undefined;
    return { kind, option, ...sums, fit, rowsNow: planned.leading(this.#now, places, sums.rows), finishMs };
  }
}

function fitOf(sums: PlannedSums, now: Room, later: Room): Fit {
  if (sums.tokensMax <= now.tokens && sums.microUsdMax <= now.microUsd) return 'now';
  if (sums.tokensMax <= later.tokens && sums.microUsdMax <= later.microUsd) return 'after_settlement';
  return sums.tokensExpected <= later.tokens && sums.microUsdExpected <= later.microUsd ? 'likely' : 'no';
}

/** The runs whose chunks are held, each once. */
export function runsOf(chunks: readonly ChunkRecord[]): readonly RunKey[] {
  return [...new Set(chunks.map(({ run }) => run))].sort();
}
