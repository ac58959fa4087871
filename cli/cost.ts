/** `cost`: what was spent, on what, and what the batch and the prompt cache saved. It reads the lake alone, so Redis may be gone. */
import { once } from 'node:events';
import { Command, Option } from 'commander';
import { RunSpends, type CostProof } from '../exporters/cost-proof.ts';
import { CostReport, costKeys, costReportCsv, type CostSums } from '../exporters/cost-report.ts';
import { FocusLines, focusHead } from '../exporters/focus.ts';
import type { ExitCode } from '../segments/errors.ts';
import type { Store } from '../segments/store/store.ts';
import { costChoiceOf, costDocument, costFacts, costKeysOf, proveCostRun, type CostChoice } from './cost-choice.ts';
import { configOf, withCommon, type CommonOptions } from './options.ts';
import { openStore } from './store.ts';
import { countOf, countText, dollarText, print, printJson, tableText, tell } from './terminal.ts';

interface CostOptions extends CommonOptions {
  readonly by?: string;
  readonly since?: string;
  readonly until?: string;
  readonly run?: string;
  readonly csv?: boolean;
  readonly focus?: boolean;
  readonly verify?: boolean;
}

const examples = [
  'plimsoll cost',
  'plimsoll cost --by topic,model --since 2026-11-01 --until 2026-11-30',
  'plimsoll cost --by run --verify',
  "plimsoll cost --by day --json | jq -r '.groups[] | [.day, .spent_usd] | @tsv'",
  'plimsoll cost --focus --since 2026-11-01 > focus.csv',
];

/** The `cost` verb. */
export function costCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('cost'))
    .description('Show what was spent, by topic, client, model, run or day.')
    .option('--by <keys>', `${costKeys.join(', ')}; several with commas (default: topic)`)
    .option('--since <date>', 'first day (UTC) on which a batch ended, for example 2026-11-01')
    .option('--until <date>', 'last day, itself included')
    .option('--run <key>', 'only this run')
    .addOption(new Option('--csv', 'CSV on stdout').conflicts(['json', 'focus']))
    .addOption(new Option('--focus', 'CSV in the columns of FOCUS 1.2, by day, account, topic, client, run, model and token class').conflicts(['json', 'by', 'verify']))
    .addOption(new Option('--verify', 'compare with the report of every run that has ended').conflicts(['since', 'until']))
    .addHelpText('after', `\nAmounts are what the outcomes in the lake say was billed at batch prices; Redis is not asked. "standard" is what the same
tokens cost one by one. "cache saved" is at batch prices and negative where writes cost more than reads saved. Batches that
were found too late (batch.leaked) belong to no run and are not in it: plimsoll budget show.\n\nExamples:\n${examples.map((line) => `  ${line}`).join('\n')}\n\nExit codes: 0 ok, 1 a run's report says something else (--verify), 2 usage, configuration or no such run`)
    .action(async (options: CostOptions) => exit(await cost(options)));
}

async function cost(options: CostOptions): Promise<ExitCode> {
  const keys = costKeysOf((options.by ?? 'topic').split(',').map((each) => each.trim()), '--by');
  const choice = costChoiceOf(options, { run: '--run', since: '--since', until: '--until' });
  const config = configOf(options);
  const store = await openStore(config, Date.now());
  try {
    if (choice.run !== undefined) await proveCostRun(store, choice.run);
    if (options.focus) {
      await printFocus(store, choice);
      return 0;
    }
    const report = new CostReport(keys);
    const spends = new RunSpends();
    for await (const fact of costFacts(store, choice)) {
      report.add(fact);
      if (options.verify) spends.add(fact);
    }
    const proof = options.verify ? await spends.prove(store) : undefined;
    if (options.json) {
      printJson({ ...costDocument(report, choice), ...(proof ? { verified: proof } : {}), lake: store.uri });
    } else if (options.csv) print(costReportCsv(report));
    else show(report, choice);
    if (proof && !options.json && !options.quiet) tellProof(proof);
    return proof && proof.differing.length > 0 ? 1 : 0;
  } finally {
    await store.close();
  }
}

async function printFocus(store: Store, choice: CostChoice): Promise<void> {
  const lines = new FocusLines();
  print(focusHead());
  for await (const fact of costFacts(store, choice)) await write(lines.add(fact));
  await write(lines.end());
}

/** Waits for a slow reader instead of gathering what it has not read. */
async function write(text: string): Promise<void> {
  if (text !== '' && !process.stdout.write(text)) await once(process.stdout, 'drain');
}

function show(report: CostReport, choice: CostChoice): void {
  const groups = report.groups();
  if (groups.length === 0) {
    const isNarrowed = choice.run !== undefined || choice.since !== undefined || choice.until !== undefined;
    print(isNarrowed ? 'Nothing was spent there.' : 'Nothing was spent yet. Try: plimsoll demo, or plimsoll run FILE --run-key KEY');
    return;
  }
  const cells = (sums: CostSums): readonly string[] => [
    countText(sums.succeeded + sums.deadLettered), countText(sums.deadLettered),
    countText(sums.usage.inputTokens), countText(sums.usage.outputTokens), countText(sums.usage.cacheReadInputTokens), countText(sums.usage.cacheWriteInputTokens),
    dollarText(sums.microUsd), dollarText(sums.standardMicroUsd), dollarText(sums.standardMicroUsd - sums.microUsd), dollarText(sums.cacheSavedMicroUsd),
  ];
  const blank = report.keys.slice(1).map(() => '');
  print(tableText(
    [...report.keys, 'rows', 'errors', 'input', 'output', 'cache read', 'cache write', 'spent', 'standard', 'batch saved', 'cache saved'],
    [...groups.map((group) => [...group.names.map((name) => (name === '' ? '(several)' : name)), ...cells(group)]), ['total', ...blank, ...cells(report.total)]],
    report.keys.length,
  ));
  const { retried, unconfirmedMicroUsd } = report.total;
  if (retried > 0) print(`\n${countOf(retried, 'row')} went round again and ${retried === 1 ? 'is' : 'are'} counted where ${retried === 1 ? 'it' : 'they'} ended.`);
  if (unconfirmedMicroUsd > 0) print(`\n${dollarText(unconfirmedMicroUsd)} of it are upper bounds of rows whose result never came: the provider may have billed them.`);
}

function tellProof({ equal, unfinished, differing }: CostProof): void {
  tell(`${countOf(equal, 'run report')} ${equal === 1 ? 'says' : 'say'} the same to the micro-dollar; ${countOf(unfinished, 'run')} ${unfinished === 1 ? 'has' : 'have'} not ended; ${countOf(differing.length, 'report')} ${differing.length === 1 ? 'differs' : 'differ'}`);
  for (const { run_key, outcomes, report } of differing) tell(`  ${run_key}: outcomes ${outcomes.micro_usd} micro-USD and ${outcomes.succeeded} + ${outcomes.dead_lettered} rows, report ${report.micro_usd} and ${report.succeeded} + ${report.dead_lettered}`);
  if (differing.length > 0) tell('  The outcomes are what the ledger was settled with. Export again and compare: plimsoll replay RUN');
}
