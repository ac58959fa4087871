/**
 * Plays many seeds of the one-process tier: `node --import tsx test/chaos/box/play.ts --seeds 1000 [--seed 1]`.
 * It prints every broken seed with its faults and ends with a count; a seed is replayed by `--seeds 1 --seed N --trace`;
 * `--until-broken` stops at the first broken one.
 */
import { parseArgs } from 'node:util';
import { Stage } from './box.ts';
import { privateRedis } from './private-redis.ts';

const { values } = parseArgs({ options: { seeds: { type: 'string', default: '200' }, seed: { type: 'string', default: '1' }, trace: { type: 'boolean', default: false }, 'until-broken': { type: 'boolean', default: false } } });
const [count, first] = [Number(values.seeds), Number(values.seed)];
const server = await privateRedis();
const stage = new Stage(server.redis);
const startedAt = performance.now();
let [broken, doubts, turns] = [0, 0, 0];
const struck = new Map<string, number>();
for (let seed = first; seed < first + count; seed += 1) {
  const verdict = await stage.play(seed);
  turns += verdict.turns;
  if (verdict.isInDoubt) doubts += 1;
  for (const fault of verdict.faults) {
    const point = fault.replace(/^\S+-\d+ /, '');
    struck.set(point, (struck.get(point) ?? 0) + 1);
  }
  if (values.trace) process.stdout.write(`${verdict.trace.join('\n')}\n${verdict.faults.join('\n')}\n`);
  if (verdict.breaches.length === 0) continue;
  broken += 1;
  process.stdout.write(`seed ${seed}: ${verdict.breaches.slice(0, 4).join('; ')}\n  after ${verdict.faults.join(', ')}\n`);
  if (values['until-broken']) break;
}
const seconds = (performance.now() - startedAt) / 1000;
process.stdout.write(`${count} seeds from ${first}: ${broken} broken, ${doubts} in doubt, ${turns} turns, ${[...struck.values()].reduce((sum, times) => sum + times, 0)} faults at ${struck.size} points, ${seconds.toFixed(1)} s\n`);
if (process.env['BOXSTAT']) console.log((await server.redis.info('commandstats')).split('\n').filter(l=>/calls=\d{4}/.test(l)).join('\n'), (await server.redis.info('cpu')), process.cpuUsage());
stage.close();
await server.close();
// Workers that were killed in a schedule leave their timers behind, as a crash leaves nothing to clear them.
process.exit(broken > 0 ? 1 : 0);
