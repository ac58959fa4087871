/** `replan`: what would make the held rows of a segment fit, and its application. */
import { Command } from 'commander';
import { durationText, parseInteger, parseMicroUsd } from '../config/quantity.ts';
import { isoTime } from '../exporters/encode.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import type { AppliedReplan } from '../segments/ledger/replanning.ts';
import { microUsdToUsd } from '../segments/price.ts';
import type { ReplanOption } from '../segments/replan-document.ts';
import type { SegmentName } from '../segments/segment.ts';
import type { Installation } from './compose.ts';
import { findRun, findTarget } from './names.ts';
import { configOf, withCommon, withInstallation, type CommonOptions } from './options.ts';
import { flagsOf } from './replan-unfinished.ts';
import { applyRequest, planReplan, runsOf, type ReplanChoice, type ReplanPlan, type ReplanRequest, type ReplanResult } from './replanning.ts';
import { countOf, countText, dollarText, print, printJson, tableText, tell } from './terminal.ts';

interface ReplanOptions extends CommonOptions {
  readonly run?: string;
  readonly model?: string;
  readonly maxTokens?: string;
  readonly sample?: string;
  readonly budgetUsd?: string;
  readonly apply?: boolean;
  readonly by?: string;
  readonly reason?: string;
}

/** The `replan` verb. */
export function replanCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('replan'))
    .description('Show what of a held segment would fit, with another model, max_tokens or a sample; apply it to what is held.')
    .argument('<segment>', 'segment, for example invoices.8k.high')
    .option('--run <key>', 'only what is held of this run')
    .option('--model <model>', 'send all rows to this model')
    .option('--max-tokens <n>', 'allow each answer at most so many tokens; smaller ones stay')
    .option('--sample <n|p%>', 'send so many rows, by strata of size, always the same ones; 0 gives all of them up')
    .option('--budget-usd <x>', 'with this limit in the place of the one that holds the segment')
    .option('--apply', 'put new chunks in the place of the held ones; needs --by and --reason')
    .option('--by <who>', 'who decides this, for the journal')
    .option('--reason <text>', 'why, for the journal')
    .addHelpText('after', `
Without an option it shows the ways that there are. Nothing changes without --apply. Times are upper bounds from what archives
really took, and left out where none was settled. Rows left out of a sample end as not_sampled in the errors of the run, with
the document as it was; plimsoll retry does not send them. Other parameters change the two values in the request and no other
byte. A command that was interrupted is given again; it goes on where it stopped, and until then another one is refused.

Examples:
  plimsoll replan invoices.8k.high
  plimsoll replan invoices.8k.high --sample 10% --max-tokens 128
  plimsoll replan invoices.8k.high --sample 2000 --apply --by ada --reason "a sample is enough for the trend"
  plimsoll replan invoices.8k.high --json | jq '.choices[] | select(.fit == "now")'

Exit codes: 0 ok, 2 usage, nothing held, another replan unfinished, or rows that cannot be sent like this`)
    .action(async (name: string, options: ReplanOptions) => {
      // Here they are no defaults for prompts to come.
      const { model: _model, maxTokens: _maxTokens, ...common } = options;
      exit(await withInstallation(options, 'words', async (installation) => await replan(installation, name, options), configOf(common)));
    });
}

async function replan(installation: Installation, name: string, options: ReplanOptions): Promise<ExitCode> {
  const option = optionOf(options, installation);
  const decision = decisionOf(options, option);
  const budgetMicroUsd = options.budgetUsd === undefined ? undefined : budgetOf(options.budgetUsd);
  const segment = await segmentOf(installation, name);
  const run = options.run === undefined ? undefined : (await findRun(installation.ledger, options.run)).run;
  const request: ReplanRequest = { segment, run, option, budgetMicroUsd };
  if (decision) {
    const result = await applyRequest(installation, request, decision);
    if (options.json) printJson(resultDocument(result));
    else if (!options.quiet) tell(resultText(result));
    return 0;
  }
  const plan = await planReplan(installation, request);
  if (options.json) printJson(planDocument(plan));
  else show(plan);
  return 0;
}

function optionOf({ model, maxTokens, sample }: ReplanOptions, { prices }: Installation): ReplanOption {
  const entry = model === undefined ? undefined : prices.find(model);
  if (model !== undefined && entry?.status !== 'active') {
    const near = entry ? undefined : prices.nearest(model);
    throw new PlimsollError('model_unknown', {
      message: entry ? `the model ${model} is ${entry.status}` : `the price table of ${prices.version} has no model ${JSON.stringify(model)}`,
      where: '--model',
      hint: near === undefined ? 'Without --model the cheaper ones are shown.' : `Did you mean ${near}?`,
    });
  }
  const tokens = maxTokens === undefined ? undefined : parseInteger(maxTokens);
  if (maxTokens !== undefined && (tokens === undefined || tokens === 0)) throw usage(`${maxTokens} is no number of tokens`, '--max-tokens', 'A whole number from 1 on, for example --max-tokens 128.');
  return { ...(model === undefined ? {} : { model }), ...(tokens === undefined ? {} : { maxTokens: tokens }), ...(sample === undefined ? {} : { sample: sampleOf(sample) }) };
}

function sampleOf(text: string): NonNullable<ReplanOption['sample']> {
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  const value = Number(match?.[1]);
  if (match?.[2] === '%' && value <= 100) return { percent: value };
  if (match?.[2] === '' && Number.isSafeInteger(value)) return { rows: value };
  throw usage(`${text} is neither a number of rows nor a percentage`, '--sample', 'For example --sample 2000 or --sample 10%.');
}

function budgetOf(text: string): number {
  const microUsd = parseMicroUsd(text);
  if (microUsd !== undefined) return microUsd;
  throw usage(`${text} is no amount in dollars`, '--budget-usd', 'At most six decimals, for example --budget-usd 12.50.');
}

/** Who and why; undefined: nothing is applied. */
function decisionOf({ apply, by, reason, budgetUsd }: ReplanOptions, option: ReplanOption): { readonly by: string; readonly reason: string } | undefined {
  if (apply !== true) {
    if (by !== undefined || reason !== undefined) throw usage('--by and --reason say who applies a plan and why', by === undefined ? '--reason' : '--by', 'Add --apply, or leave them out.');
    return undefined;
  }
  if (by === undefined || by.trim() === '') throw usage('nobody is named who decides this', '--by', 'For example --by ada.');
  if (reason === undefined || reason.trim() === '') throw usage('no reason is given', '--reason', 'For example --reason "a sample is enough for the trend".');
  if (Object.keys(option).length > 0) return { by, reason };
  throw usage('nothing is named that would change', '--apply', `Add --model, --max-tokens or --sample.${budgetUsd === undefined ? '' : ' A larger budget alone is set with plimsoll budget set.'}`);
}

async function segmentOf({ ledger, now }: Installation, name: string): Promise<SegmentName> {
  const target = await findTarget(ledger, name.startsWith('segment:') ? name : `segment:${name}`, now());
  if (target.kind === 'segment') return target.segment;
  throw usage(`${name} is no segment`, name, 'plimsoll status names the segments that are held.');
}

function usage(message: string, where: string, hint: string): PlimsollError {
  return new PlimsollError('usage', { message, where, hint });
}

function planDocument({ held, limits, choices, turnaroundsSeen }: ReplanPlan): object {
  return {
    segment: held.segment,
    run_keys: runsOf(held.chunks),
    rows_held: held.rows.length,
    limits: limits.map((each) => ({ target: each.target, window: each.window, mode: each.mode, unit: each.unit, limit: each.limit, spent: each.spent, reserved: each.reserved, renews_at: each.renewsAtMs === undefined ? null : isoTime(each.renewsAtMs) })),
    choices: choices.map(choiceDocument),
    turnarounds_seen: turnaroundsSeen,
  };
}

function choiceDocument(choice: ReplanChoice): object {
  const { kind, option, budget, startsAtMs, finishMs } = choice;
  return {
    kind,
    model: option.model ?? null,
    max_tokens: option.maxTokens ?? null,
    sample: option.sample ?? null,
    budget: budget ? { target: budget.target, usd: microUsdToUsd(budget.microUsd) } : null,
    starts_at: startsAtMs === undefined ? null : isoTime(startsAtMs),
    rows: choice.rows,
    rows_not_sampled: choice.notSampled,
    rows_now: choice.rowsNow,
    tokens_expected: choice.tokensExpected,
    tokens_max: choice.tokensMax,
    cost_usd_expected: microUsdToUsd(choice.microUsdExpected),
    cost_usd_max: microUsdToUsd(choice.microUsdMax),
    fit: choice.fit,
    finish_ms_max: finishMs ?? null,
  };
}

const fitTexts: Readonly<Record<ReplanChoice['fit'], string>> = { now: 'fits now', after_settlement: 'fits after settlement', likely: 'likely, bit by bit', no: 'no' };

function show({ held, limits, choices, turnaroundsSeen }: ReplanPlan): void {
  const runs = runsOf(held.chunks);
  print(`segment ${held.segment} holds ${countOf(held.rows.length, 'row')} of ${runs.length === 1 ? `run ${runs[0] ?? ''}` : `${runs.length} runs`}`);
  for (const each of limits) {
    const amount = (value: number): string => (each.unit === 'tokens' ? `${countText(value)} tokens` : dollarText(value));
    print(`  ${each.target} (${each.window}${each.mode === 'estimate' ? ', by estimate: more rows may fit than is said here' : ''}): ${amount(each.limit)}, ${amount(each.spent)} spent, ${amount(each.reserved)} reserved, ${amount(Math.max(0, each.limit - each.spent - each.reserved))} free`);
  }
  print('');
  print(tableText(['way', 'rows', 'left out', 'cost expected', 'cost at most', 'rows now', 'fits', 'done within'], choices.map((choice) => [
    nameOf(choice), countText(choice.rows), countText(choice.notSampled), dollarText(choice.microUsdExpected), dollarText(choice.microUsdMax), countText(choice.rowsNow),
    choice.startsAtMs !== undefined && choice.fit === 'now' ? 'fits then' : fitTexts[choice.fit], choice.finishMs === undefined ? '-' : roughly(choice.finishMs),
  ])));
  print(turnaroundsSeen === 0
    ? '\nNo archive was settled yet, so no time is shown; the provider may take 24 h for each.'
    : `\nTimes are upper bounds from the last ${countOf(turnaroundsSeen, 'archive')}, counted from when the rows flow again.`);
  print(`Apply one: plimsoll replan ${held.segment} --sample N --apply --by WHO --reason TEXT`);
}

function nameOf({ kind, option, budget, startsAtMs }: ReplanChoice): string {
  if (kind === 'as_it_is') return 'as it is';
  if (budget) return `budget of ${budget.target} at ${dollarText(budget.microUsd)}`;
  if (startsAtMs !== undefined) return `wait for ${isoTime(startsAtMs) ?? ''}`;
  return flagsOf(option).join(' ') || 'as it is, with that budget';
}

/** Rounded up: whole seconds below two minutes, whole minutes above. */
function roughly(ms: number): string {
  return durationText(ms < 120_000 ? Math.ceil(ms / 1000) * 1000 : Math.ceil(ms / 60_000) * 60_000);
}

function resultDocument({ applied, further, isResumed, budget }: ReplanResult): object {
  return {
    ...appliedDocument(applied),
    is_resumed: isResumed,
    budget: budget?.microUsd === undefined ? null : { target: budget.target, usd: microUsdToUsd(budget.microUsd) },
    further: further.map(appliedDocument),
  };
}

function appliedDocument({ document, rowsKept, rowsNotSampled, rowsGone }: AppliedReplan): object {
  const { replan, segment, by, reason, decidedAtMs } = document;
  return { replan, segment, by, reason, decided_at: isoTime(decidedAtMs), rows: rowsKept, rows_not_sampled: rowsNotSampled, rows_gone: rowsGone };
}

function resultText({ applied, further, isResumed, budget }: ReplanResult): string {
  return [
    ...[applied, ...further].flatMap((each) => appliedLines(each, isResumed)),
    ...(budget?.microUsd === undefined ? [] : [`  the budget of ${budget.target} is ${dollarText(budget.microUsd)} from now on`]),
    '  workers do the rest: plimsoll work, or the command of the run again',
  ].join('\n');
}

function appliedLines({ document, rowsKept, rowsNotSampled, rowsGone }: AppliedReplan, isResumed: boolean): readonly string[] {
  return [
    `segment ${document.segment} is replanned${isResumed ? ` (an earlier try, of ${document.by}, was gone on with)` : ''}: ${countOf(rowsKept, 'row')} go on, ${countText(rowsNotSampled)} are left out`,
    ...(rowsGone > 0 ? [`  ${countOf(rowsGone, 'row')} had gone on meanwhile and keep their parameters`] : []),
    `  written down as journal/replans/${document.replan}.json`,
  ];
}
