/**
 * Plays many seeds of the one-process tier.
 *
 *   npm run chaos:box -- --seeds 50000 --seed 1 --jobs 2 --log FILE   plays what the log does not hold yet, and goes on
 *   npm run chaos:box -- --summary FILE                               says what the log shows
 *   npm run chaos:box -- --seeds 1 --seed N --trace                   replays a seed, call by call
 *
 * Every line of the log says on which version and commit it was played; `--commit NAME` says it for a copy of a checkout.
 * It prints every broken seed with its faults, and ends with 1 when there is one; `--until-broken` stops at the first.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { parseArgs } from 'node:util';
import { Stage } from './box.ts';
import { appendBlock, isGood, missingBlocks, readLog, summaryOf, type Block, type Played } from './campaign.ts';
import { playBlock } from './player.ts';
import { provenance } from '../provenance.ts';
import { privateRedis } from './private-redis.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' }, seed: { type: 'string', default: '1' }, jobs: { type: 'string', default: '1' },
    log: { type: 'string' }, summary: { type: 'string' }, trace: { type: 'boolean', default: false }, 'until-broken': { type: 'boolean', default: false },
    commit: { type: 'string' },
  },
});
const [count, first, jobs] = [Number(values.seeds), Number(values.seed), Number(values.jobs)];
/** Seeds of a block: so many are lost when a campaign is broken off. */
const blockSeeds = 50;
const played: Block[] = [];
const playedOn = provenance(values.commit);

function note(result: Played): void {
  const block = { ...result, ...playedOn };
  played.push(block);
  if (values.log !== undefined) appendBlock(values.log, block);
  for (const each of block.broken) process.stdout.write(`seed ${each.seed}: ${each.breaches.slice(0, 4).join('; ')}\n  after ${each.faults.join(', ')}\n`);
}

/** Plays blocks in processes of their own, each with its Redis. */
async function playInProcesses(blocks: readonly { readonly first: number; readonly count: number }[]): Promise<void> {
  let next = 0;
  let isStopping = false;
  process.on('SIGINT', () => {
    isStopping = true;
    process.stderr.write('Ends after the blocks that are under way; the same command goes on from there.\n');
  });
  const runPlayer = async (): Promise<void> => {
    const player: ChildProcess = fork(new URL('./player.ts', import.meta.url), { execArgv: ['--import', 'tsx', '--max-semi-space-size=32'] });
    await new Promise<void>((resolve, reject) => {
      player.on('message', (said: Played | 'ready') => {
        if (said !== 'ready') note(said);
        const block = isStopping || (values['until-broken'] && played.some((each) => each.broken.length > 0)) ? undefined : blocks[next];
        next += 1;
        player.send(block ?? 'end');
      });
      player.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a player ended with ${code}`))));
    });
  };
  await Promise.all(Array.from({ length: Math.min(jobs, blocks.length) }, runPlayer));
}

/** Plays seeds in this process, one by one: for one seed that is looked at, or until one is broken. */
async function playHere(): Promise<void> {
  const server = await privateRedis();
  const stage = new Stage(server.redis);
  try {
    for (let seed = first; seed < first + count; seed += 1) {
      if (values.trace) {
        const verdict = await stage.play(seed);
        process.stdout.write(`${verdict.trace.join('\n')}\n${verdict.faults.join('\n')}\n${verdict.breaches.join('\n')}\n`);
        continue;
      }
      note(await playBlock(stage, seed, 1));
      if (played.at(-1)?.broken.length !== 0) break;
    }
  } finally {
    stage.close();
    await server.close();
  }
}

if (values.summary !== undefined) {
  const blocks = readLog(values.summary);
  process.stdout.write(summaryOf(blocks));
  process.exitCode = isGood(blocks) ? 0 : 1;
} else {
  const startedAt = performance.now();
  const known = values.log === undefined ? [] : readLog(values.log);
  if (values.trace || values['until-broken']) await playHere();
  else await playInProcesses(missingBlocks(known, first, count, blockSeeds));
  const sum = (of: (block: Block) => number): number => played.reduce((total, block) => total + of(block), 0);
  const broken = sum((block) => block.broken.length);
  process.stdout.write(`${sum((block) => block.count)} seeds from ${first}: ${broken} broken, ${sum((block) => block.doubts)} in doubt, ${sum((block) => block.turns)} port calls, ${((performance.now() - startedAt) / 1000).toFixed(1)} s, ${(sum((block) => block.cpuMs) / Math.max(1, sum((block) => block.count))).toFixed(0)} ms of processor per seed without Redis\n`);
  process.exitCode = broken > 0 ? 1 : 0;
}
