/** `plan`: what a source would become and cost, without Redis, without a key, without sending anything. */
import { Command } from 'commander';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pricesInForce } from '../config/prices.ts';
import { survey, termsUnder, type ProducerSettings, type Survey } from '../producers/producer.ts';
import { cutSha256, isBoundBroken } from '../producers/settings.ts';
import { errnoOf, PlimsollError, type ExitCode } from '../segments/errors.ts';
import { readDecisionsSet } from './decisions-set.ts';
import { judgeModels } from './fitness.ts';
import { configOf, withCommon, withSource, type CommonOptions, type SourceOptions } from './options.ts';
import { planDocument, refusalOf, type BudgetVerdict } from './plan-file.ts';
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
    .addHelpText('after', '\nBeyond the bound of --strict or --max-bad-rows nothing would be queued: the plan says so, and apply refuses it. With --json and\n--out it lists the first 1,000 bad lines with line, column, code and message, never their text.\n\nExamples:\n  plimsoll plan invoices.jsonl\n  plimsoll plan invoices.jsonl --strict --json | jq .rejects\n  plimsoll plan invoices.jsonl --out plan.json && plimsoll apply plan.json --run-key nightly-2026-11-21\n\nExit codes: 0 every line is good, 2 usage, configuration or source, or more bad lines than --strict or --max-bad-rows allow, 3 some lines would be rejected')
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
  const flags = { topic, priority, client, model, maxTokens, strict, maxBadRows };
  const document = planDocument(found, /^(?:-|s3:\/\/.*)$/.test(file) ? file : resolve(file), cutSha256(settings), flags, config, budgets, [...modelWarnings, ...(warning === undefined ? [] : [warning]), ...quotaWarnings(found, settings)]);
  if (options.out !== undefined) await save(options.out, document);
  if (options.json) printJson(document);
  else show(found, document);
  const refusal = refusalOf(found, flags);
  // As run and enqueue end; the file is written all the same, so that an older plan is not applied in its place.
  if (refusal) throw refusal;
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

/** Who is over a rate that refuses is only known when a run comes in; its lines then count as bad ones. */
function quotaWarnings(found: Survey, settings: ProducerSettings): readonly string[] {
  const over = found.clients.reduce((sum, client) => sum + (client.over?.kind === 'refuse' ? client.over.rows : 0), 0);
  if (found.isBoundBroken || !isBoundBroken(settings, found.rejected + over, found.accepted + found.rejected, true)) return [];
  return [`${countOf(over, 'request')} of clients over a rate of their tier would count as bad, and nothing at all would be queued under ${settings.isStrict ? '--strict' : '--max-bad-rows'}`];
}

function show(found: Survey, document: ReturnType<typeof planDocument>): void {
  const { segments } = found;
  const warnings = document.warnings.map((warning) => `warning: ${warning}`);
  if (document.refused) {
    print([...warnings, rejectsText(found), `Plan: ${document.refused.message}. The first: ${document.refused.where ?? found.source}`].join('\n\n'));
    return;
  }
  const sum = (of: (each: (typeof segments)[number]) => number): number => segments.reduce((all, each) => all + of(each), 0);
  const marked = sum((each) => each.rowsMarked);
  print([
    ...(segments.length > 0 ? [segmentsText(found, document), 'Tokens are estimated from the text; the rest of each segment shares batches within its priority.'] : []),
    ...(document.budgets.length > 0 ? [budgetsText(document.budgets)] : []),
    ...document.quotas.map(quotaText),
    ...warnings,
    ...(found.rejected > 0 ? [rejectsText(found)] : []),
    ...(marked > 0 ? [cacheText(marked, found.primers, sum((each) => each.microUsdSavedExpected), document.cache.hits_expected_permille)] : []),
    `Plan: ${countOf(found.accepted, 'request')} in ${countOf(document.batches, 'batch')}, est. ${dollarText(sum((each) => each.microUsdExpected))} (max ${dollarText(sum((each) => each.microUsdMax))}), ${countOf(found.rejected, 'line')} rejected.`,
  ].join('\n\n'));
}

function segmentsText({ segments }: Survey, document: ReturnType<typeof planDocument>): string {
  return tableText(['segment', 'rows', 'full batches', 'tokens expected', 'tokens at most', 'cost expected', 'cost at most'], segments.map((each, index) => [
    each.segment, countText(each.rows), String(document.segments[index]?.full_batches ?? 0), countText(each.tokensExpected), countText(each.tokensMax), dollarText(each.microUsdExpected), dollarText(each.microUsdMax),
  ]));
}

function rejectsText({ rejected, rejectedByCode, rejectMessages, isBoundBroken: isRefused }: Survey): string {
  const fate = isRefused ? (rejected === 1 ? 'is bad' : 'are bad') : 'would be rejected';
  return [
    `${countOf(rejected, 'line')} ${fate}: ${Object.entries(rejectedByCode).map(([code, count]) => `${code} ${countText(count)}`).join(', ')}`,
    ...rejectMessages.map((message) => `  ${message}`),
    ...(rejected > rejectMessages.length ? [`  … and ${countText(rejected - rejectMessages.length)} more`] : []),
  ].join('\n');
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
