/** `plan`: what a source would become and cost, without Redis, without a key, without sending anything. */
import { Command } from 'commander';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pricesInForce } from '../config/prices.ts';
import { survey, termsUnder, type Survey } from '../producers/producer.ts';
import { cutSha256 } from '../producers/settings.ts';
import { errnoOf, PlimsollError, type ExitCode } from '../segments/errors.ts';
import { readDecisionsSet } from './decisions-set.ts';
import { judgeModels } from './fitness.ts';
import { configOf, withCommon, withSource, type CommonOptions, type SourceOptions } from './options.ts';
import { planDocument, type BudgetVerdict } from './plan-file.ts';
import { producerSettings, sourceOf } from './source.ts';
import { countOf, countText, dollarText, print, printJson, tableText, tell } from './terminal.ts';
import { tierBudgets } from './tiers.ts';

interface PlanOptions extends CommonOptions, SourceOptions {
  readonly out?: string;
}

/** The `plan` verb. */
export function planCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(withSource(new Command('plan')))
    .description('Say what a file of prompts would become and cost. Nothing is sent, nothing is queued.')
    .option('--out <plan.json>', 'write the plan, for plimsoll apply')
    .addHelpText('after', '\nExamples:\n  plimsoll plan invoices.jsonl\n  plimsoll plan invoices.jsonl --out plan.json && plimsoll apply plan.json --run-key nightly-2026-11-21\n\nExit codes: 0 every line is good, 2 usage, configuration or source, 3 some lines would be rejected')
    .action(async (file: string, options: PlanOptions) => exit(await plan(file, options)));
}

async function plan(file: string, options: PlanOptions): Promise<ExitCode> {
  const config = configOf(options);
  if (options.out !== undefined && file === '-') {
    throw new PlimsollError('usage', { message: 'a plan of standard input cannot be applied later', where: '--out', hint: 'Write the input to a file first.' });
  }
  const given = producerSettings({ config, prices: pricesInForce(config.prices.file), scratchDirectory: join(config.home, 'scratch') }, options);
  const { budgets: set, tiers, warning } = await readDecisionsSet(config);
  const settings = { ...given, terms: termsUnder(given.terms, tiers) };
  const found = await survey(sourceOf(file, config), settings);
  const ofTiers = tierBudgets(config, found.clients.map(({ client }) => client), tiers).filter(({ target }) => !set.some((budget) => budget.target === target));
  const budgets = [...set, ...ofTiers];
  const modelWarnings = judgeModels(found.models, settings.price, Date.now()).filter((each) => each.verdict !== 'ok' && found.models.length > 0).map((each) => each.detail);
  const { topic, priority, client, model, maxTokens, strict, maxBadRows } = options;
  const document = planDocument(found, /^(?:-|s3:\/\/.*)$/.test(file) ? file : resolve(file), cutSha256(settings), { topic, priority, client, model, maxTokens, strict, maxBadRows }, config, budgets, [...modelWarnings, ...(warning === undefined ? [] : [warning])]);
  if (options.out !== undefined) await save(options.out, document);
  if (options.json) printJson(document);
  else show(found, document);
  if (options.out !== undefined && !options.quiet) tell(`The plan is in ${options.out}. Next: plimsoll apply ${options.out} --run-key KEY`);
  return found.rejected > 0 ? 3 : 0;
}

async function save(path: string, document: object): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify(document, undefined, 1)}\n`);
  } catch (error) {
    throw new PlimsollError('usage', { message: `the plan cannot be written: ${errnoOf(error) ?? 'unknown fault'}`, where: path, hint: 'Name a file in a folder that exists and that this user may write to.', cause: error });
  }
}

function show(found: Survey, document: ReturnType<typeof planDocument>): void {
  if (found.segments.length > 0) print(tableText(['segment', 'rows', 'full batches', 'tokens expected', 'tokens at most', 'cost expected', 'cost at most'], [
    ...found.segments.map((each, index) => [
      each.segment, countText(each.rows), String(document.segments[index]?.full_batches ?? 0), countText(each.tokensExpected), countText(each.tokensMax), dollarText(each.microUsdExpected), dollarText(each.microUsdMax),
    ]),
  ]));
  if (found.segments.length > 0) print('\nTokens are estimated from the text; the rest of each segment shares batches within its priority.');
  if (document.budgets.length > 0) print(`\n${budgetsText(document.budgets)}`);
  for (const quota of document.quotas) print(`\n${quotaText(quota)}`);
  for (const warning of document.warnings) print(`\nwarning: ${warning}`);
  if (found.rejected > 0) {
    print(`\n${countOf(found.rejected, 'line')} would be rejected: ${Object.entries(found.rejectedByCode).map(([code, count]) => `${code} ${countText(count)}`).join(', ')}`);
    for (const message of found.rejectMessages) print(`  ${message}`);
    if (found.rejected > found.rejectMessages.length) print(`  … and ${countText(found.rejected - found.rejectMessages.length)} more`);
  }
  const sum = (of: (each: (typeof found.segments)[number]) => number): number => found.segments.reduce((all, each) => all + of(each), 0);
  const marked = sum((each) => each.rowsMarked);
  if (marked > 0) print(`\n${cacheText(marked, found.primers, sum((each) => each.microUsdSavedExpected), document.cache.hits_expected_permille)}`);
  print(`\nPlan: ${countOf(found.accepted, 'request')} in ${countOf(document.batches, 'batch')}, est. ${dollarText(sum((each) => each.microUsdExpected))} (max ${dollarText(sum((each) => each.microUsdMax))}), ${countOf(found.rejected, 'line')} rejected.`);
}

function cacheText(rowsMarked: number, primers: number, microUsdSaved: number, hitsPermille: number): string {
  const effect = microUsdSaved >= 0 ? `save ${dollarText(microUsdSaved)}` : `cost ${dollarText(-microUsdSaved)} more`;
  return `${countOf(rowsMarked, 'request')} ${rowsMarked === 1 ? 'shares its' : 'share their'} beginning with others and will be marked for the prompt cache, which is expected to ${effect}
(in the costs above): ${hitsPermille / 10} % of them are taken to be served from it, the rest to write at twice the input price. The
most that they can cost is reserved as if each of them wrote.${primers === 0 ? '' : ` ${countOf(primers, 'request')} ${primers === 1 ? 'goes' : 'go'} ahead in a batch of ${primers === 1 ? 'its' : 'their'} own, and the rest waits
for the end of it, at most as long as cache.primerWait says.`} PLIMSOLL_CACHE__POLICY=off sends prompts as they are.`;
}

function quotaText({ client, tier, rows, limit, allowed, rows_over: over, over: kind }: ReturnType<typeof planDocument>['quotas'][number]): string {
  const fate = kind === 'refuse' ? 'would be rejected' : 'would wait in the lane fallback';
  return `client ${client}: ${countText(over)} of its ${countOf(rows, 'request')} ${fate}, over ${limit} (${countText(allowed)}) of its tier ${tier}, if it hands in nothing else at that time`;
}

function budgetsText(verdicts: readonly BudgetVerdict[]): string {
  const amount = (verdict: BudgetVerdict, value: number): string => (verdict.kind === 'usd' ? dollarText(value) : countText(value));
  const words = { fits: 'fits', holds_a_part: 'holds a part' } as const;
  const table = tableText(['budget', 'limit', 'expected', 'at most', 'strict mode', 'estimate mode'], verdicts.map((each) => [
    `${each.target}, ${each.kind}, ${each.window}, ${each.mode}`, amount(each, each.limit), amount(each, each.expected), amount(each, each.bound), words[each.strict], words[each.estimate],
  ]));
  return `${table}\nStrict mode reserves what a prompt can cost at most: what does not fit is held and flows again as results give room\nback. Estimate mode reserves what prompts like it have cost, once a hundred of them are settled. What is spent already is not in this table:\nplimsoll budget show`;
}
