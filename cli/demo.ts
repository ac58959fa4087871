/** `demo`: the whole job on this machine, with real documents, no account and no key. */
import { Command } from 'commander';
import { createHash } from 'node:crypto';
import { rowStatuses } from '../segments/outcome.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import type { Installation } from './compose.ts';
import { dependencyFolder, generateDocuments, linesOf, readDocuments, type Document } from './corpus.ts';
import { viewDocument } from './follow.ts';
import { configOf, runKeyOf, withCommon, withInstallation, type CommonOptions } from './options.ts';
import { runExitCodes, workRun } from './run.ts';
import { producerSettings } from './source.ts';
import { countText, dollarText, print, printJson, tableText, tell } from './terminal.ts';
import { exitOf, type RunEnd } from './work-run.ts';

interface DemoOptions extends CommonOptions {
  readonly prompts?: string;
  readonly seed: string;
}

/** Has the window for the longest changelog, and is the cheapest that has. */
const model = 'claude-haiku-5-5';

/** The `demo` verb. */
export function demoCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('demo'))
    .description('Run the whole pipeline on the documents of your own node_modules, against the simulator.')
    .option('--prompts <n>', 'add generated documents up to this many prompts')
    .option('--seed <n>', 'seed of the generated documents', '1')
    .addHelpText('after', `\nIt costs nothing: the simulator of the home answers. The same documents again are the same run, and nothing is submitted.\n\nExamples:\n  plimsoll demo\n  plimsoll demo --prompts 100000 --seed 7\n\n${runExitCodes}`)
    .action(async (options: DemoOptions) => {
      const wanted = options.prompts === undefined ? 0 : naturalOf(options.prompts, '--prompts');
      const seed = naturalOf(options.seed, '--seed');
      const config = configOf(options, [{ name: 'demo', path: 'poll.min', value: '250ms' }]);
      exit(await withInstallation(options, 'words', async (installation) => await demo(installation, wanted, seed, options), config));
    });
}

async function demo(installation: Installation, wanted: number, seed: number, options: DemoOptions): Promise<ExitCode> {
  const startedAt = performance.now();
  const folder = await dependencyFolder();
  const documents = await readDocuments(folder);
  const generated = Math.max(0, wanted - documents.length);
  // The documents name the run: the same install has the same demo, another one gets another run.
  const digest = createHash('sha256').update(JSON.stringify(documents.map(({ id, text }) => [id, text.length]))).digest('hex').slice(0, 8);
  const key = runKeyOf(`demo-${digest}${generated > 0 ? `-${generated}-${seed}` : ''}`);
  if (!options.quiet) tell(`${countText(documents.length)} documents of ${folder}${generated > 0 ? ` and ${countText(generated)} generated ones` : ''}, run key ${key}`);
  const all = function* (): Generator<Document> {
    yield* documents;
    yield* generateDocuments(documents, generated, seed);
  };
  const end = await workRun(installation, { kind: 'rows', uri: 'node_modules', rows: linesOf(all(), model) }, key, producerSettings(installation, {}), {
    isSimulated: true,
    timeoutMs: undefined,
    isShown: !options.quiet,
  });
  if (options.json) printJson(viewDocument(end.view, installation.store.uri));
  else await show(installation, end, performance.now() - startedAt);
  return exitOf(end);
}

async function show(installation: Installation, { view, production }: RunEnd, elapsedMs: number): Promise<void> {
  const { run } = view;
  const rowsIn = run.accepted + run.rejected;
  const rowsOut = run.succeeded + run.deadLettered + run.notSampled + run.rejected;
  const accounts = await installation.ledger.listAccounts();
  const segments = accounts.filter((account) => account.target.startsWith('segment:') && account.windowId === 'total');
  print(tableText(['segment', 'tokens in', 'tokens out', 'cost'], segments.map((each) => [
    each.target.slice('segment:'.length), countText(each.usage.inputTokens), countText(each.usage.outputTokens), dollarText(each.microUsdSpent),
  ])));
  print('');
  print(tableText(['', ''], [
    ['rows in', countText(rowsIn)],
    ['rows out', `${countText(rowsOut)}${rowsIn === rowsOut ? '  (every row is accounted for)' : '  ROWS ARE MISSING'}`],
    [`  ${rowStatuses[0]}`, countText(run.succeeded)],
    [`  ${rowStatuses[1]}`, countText(run.deadLettered)],
    [`  ${rowStatuses[2]}`, countText(run.rejected)],
    ['segments', String(segments.length)],
    ['batches', String(run.batches)],
    ['tokens', countText(run.usage.inputTokens + run.usage.outputTokens)],
    ['cost, estimated', dollarText(run.microUsd)],
    ['saved against one by one', dollarText(run.standardMicroUsd - run.microUsd)],
    ['time', production?.isNew ? `${(elapsedMs / 1000).toFixed(1)} s` : 'none: this run was complete already, nothing was submitted'],
  ]));
  print(`\nfiles     ${installation.store.uri}`);
  print('next');
  print(`  ls ${installation.config.lake}/results/dt=${run.dt}`);
  print('  npm run -s plimsoll -- status');
  print('  npm run -s plimsoll -- run YOUR.jsonl --run-key first --simulate --model claude-haiku-4-5 --max-tokens 256');
}

function naturalOf(text: string, flag: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new PlimsollError('usage', { message: `${text} is not a whole number`, where: flag });
}
