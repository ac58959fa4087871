/** G1 and G2 in a crowd: 32 workers in 4 processes, whose replies from a real Redis are cut in flight, and a limit that is always too small. */
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, inject, it } from 'vitest';
import { startCuttingProxy } from '../cutting-proxy.ts';
import { readAccounts } from '../ledger-steps.ts';
import { amounts, ledgerForTest, nowMs } from '../ledger-world.ts';

const processes = 4;
const workers = 8;
const chunks = 12;
/** Together they want about 19,000 tokens; a row is 10 tokens and 20 micro-USD, and costs one of each. */
const limits = new Map([['all', 2_600], ['topic:invoices', 2_100], ['client:etl', 2_500]]);
const root = resolve(import.meta.dirname, '../..');

it('no sample shows more reserved and spent than the limit, and the sum at the end is that of an independent count', { timeout: 240_000 }, async () => {
  const world = await ledgerForTest();
  const proxy = await startCuttingProxy(inject('redisAddress'), 15);
  try {
    for (const [target, tokens] of limits) await world.ledger.setBudget({ target, tokens, microUsd: 2 * tokens, window: 'total' }, 'operator', nowMs);
    let samples = 0;
    let isOver = false;
    let fullest = 0;
    const breaches: string[] = [];
    const sampling = (async () => {
      while (!isOver) {
        for (const [name, [tokensReserved, tokensSpent, microUsdReserved, microUsdSpent]] of await readAccounts(world)) {
          const limit = limits.get(name.replace('@total', ''));
          if (limit === undefined) continue;
          if (name === 'all@total') fullest = Math.max(fullest, tokensReserved + tokensSpent);
          if (tokensReserved + tokensSpent > limit || microUsdReserved + microUsdSpent > 2 * limit) breaches.push(`${name}: ${tokensReserved} + ${tokensSpent}`);
        }
        samples += 1;
      }
    })();
    const run = promisify(execFile);
    const outputs = await Promise.all(Array.from({ length: processes }, async (_, index) =>
      await run(process.execPath, ['--import', 'tsx', 'test/ledger-worker.ts', JSON.stringify({ port: proxy.port, tag: world.test.tag.slice(1, -1), process: index, workers, chunks })], { cwd: root })));
    isOver = true;
    await sampling;

    expect(breaches).toEqual([]);
    const settled = new Map(outputs.flatMap(({ stdout }) => Object.entries(JSON.parse(stdout) as Record<string, number>)));
    const spent = [...settled.values()].reduce((sum, cost) => sum + cost, 0);
    expect(await amounts(world.ledger, 'all')).toEqual([0, spent, 0, spent]);
    expect(await amounts(world.ledger, 'client:etl')).toEqual([0, spent, 0, spent]);
    // Every row that was spooled is in that sum, once.
    const rows = await Promise.all((await world.ledger.listRuns()).map(async (each) => (await world.ledger.readRun(each))?.accepted ?? 0));
    expect(spent).toBe(rows.reduce((sum, accepted) => sum + accepted, 0));
    // The test has had something to find: the limit was nearly full, replies were lost, and somebody looked all the time.
    expect(fullest).toBeGreaterThan(2_300);
    expect(proxy.cuts()).toBeGreaterThan(100);
    expect(samples).toBeGreaterThan(200);
  } finally {
    await proxy.stop();
    await world.close();
  }
});
