/**
 * A producer that lives long: it brings one small run after the other through the product's own door and prints the key
 * of each when it is acknowledged. It ends when its standard input does, after the run in hand.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openInstallation } from '../../../cli/compose.ts';
import { configOf, runKeyOf } from '../../../cli/options.ts';
import { ingest, producerSettings, sourceOf } from '../../../cli/source.ts';
import { PlimsollError } from '../../../segments/errors.ts';

const [prompts = '12', text = ''] = process.argv.slice(2);
let isAsked = false;
process.stdin.resume().on('end', () => {
  isAsked = true;
});
const options = { json: false, quiet: true, install: false };
const config = configOf(options);
const installation = await openInstallation({ config, install: false, announce: () => undefined, log: () => undefined });
const source = join(config.home, 'brought.jsonl');
for (let ordinal = 0; !isAsked; ) {
  const run = `brought-${ordinal}`;
  writeFileSync(source, Array.from({ length: Number(prompts) }, (_, index) => `${JSON.stringify({ id: `${run}-${index}`, topic: ['a', 'b'][index % 2], params: { model: 'claude-haiku-4-5', max_tokens: 16, messages: [{ role: 'user', content: `${text} ${run} ${index}` }] } })}\n`).join(''));
  try {
    await ingest(installation, sourceOf(source, config), runKeyOf(run), producerSettings(installation, {}), undefined, new AbortController().signal, false);
    process.stdout.write(`${run}\n`);
    ordinal += 1;
  } catch (error) {
    // Not acknowledged; the same run is brought again. Where Redis has forgotten something nothing is taken in any more.
    if (!(error instanceof PlimsollError)) throw error;
    await new Promise<void>((resolve) => setTimeout(resolve, 50));
  }
}
await installation.close();
