/**
 * Feeds mutated samples to every boundary parser: `npm run fuzz -- --inputs 1000000 [--seed S] [--only NAME]`. It prints
 * what each parser made of its inputs, and ends with 1 after a crash, a hang of more than a second, or a reason that says
 * nothing; each failure is shown with its input in base64.
 */
import { parseArgs } from 'node:util';
import { parsers, shareOf } from './parsers.ts';
import { fuzz } from './run.ts';

const { values } = parseArgs({ options: { inputs: { type: 'string', default: '100000' }, seed: { type: 'string', default: '1' }, only: { type: 'string', default: '' } } });
const chosen = parsers.filter((parser) => parser.name.includes(values.only));
let [inputs, failed] = [0, 0];
const startedAt = performance.now();
for (const parser of chosen) {
  const tally = await fuzz(parser, shareOf(parser, chosen, Number(values.inputs)), Number(values.seed));
  inputs += tally.inputs;
  failed += tally.failures.length;
  const outcomes = [...tally.outcomes].sort(([, a], [, b]) => b - a).map(([outcome, times]) => `${outcome} ${times}`).join(', ');
  process.stdout.write(`${parser.name.padEnd(20)} ${String(tally.inputs).padStart(8)} inputs, slowest ${tally.slowestMs.toFixed(0)} ms: ${outcomes}\n`);
  for (const failure of tally.failures) process.stdout.write(`FAILED ${failure}\n`);
}
process.stdout.write(`${inputs} inputs, ${failed} failures, ${((performance.now() - startedAt) / 1000).toFixed(1)} s, seed ${values.seed}\n`);
process.exitCode = failed > 0 ? 1 : 0;
