/** `budget show` lists every budget, and puts a limit beside the accounts that it applies to and no other. */
import { afterEach, describe, expect, it } from 'vitest';
import { accountsShown, budgetOf } from '../../cli/budget-accounts.ts';
import type { AccountRecord, Budget } from '../../segments/ledger/ledger.ts';
import { noUsage } from '../../segments/segment.ts';
import { corpus, openWorld, type World } from '../chaos/world.ts';

interface Shown {
  readonly target: string;
  readonly window: string;
  readonly usd_spent: number;
  readonly usd_limit: number | null;
  readonly tokens_limit: number | null;
  readonly mode: string | null;
}

describe('the command', () => {
  let world: World;
  afterEach(async () => await world.close());
  const show = async (): Promise<readonly Shown[]> => JSON.parse((await world.run(['budget', 'show', '--json'])).stdout) as Shown[];

  it('shows a budget in which nothing was reserved yet', async () => {
    world = await openWorld();
    expect((await world.run(['budget', 'set', 'topic:mails', '--usd', '5', '--tokens', '700'])).code).toBe(0);
    expect((await world.run(['budget', 'set', 'client:etl', '--usd', '2', '--window', 'run'])).code).toBe(0);
    expect(await show()).toMatchObject([
      { target: 'client:etl', window: 'run', usd_spent: 0, usd_limit: 2, tokens_limit: null, mode: 'strict' },
      { target: 'topic:mails', window: 'total', usd_spent: 0, usd_limit: 5, tokens_limit: 700, mode: 'strict' },
    ]);
    expect((await world.run(['budget', 'show'])).stdout).toMatch(/^topic:mails +total .* 700 tokens and \$5\.0+ in total$/m);
  });

  it('names the limit of a month beside the month, and not beside what was spent ever', async () => {
    world = await openWorld({}, { PLIMSOLL_BUDGETS: '{"all": {"usd": 50, "window": "month"}}' });
    expect((await world.run(['run', world.write('in.jsonl', corpus(10, 3)), '--run-key', 'first'])).code).toBe(0);
    const [first, ...others] = await show();
    expect(first).toMatchObject({ target: 'all', window: expect.stringMatching(/^month\|UTC=\d+$/) as string, usd_limit: 50, mode: 'strict' });
    expect(first?.usd_spent).toBeGreaterThan(0);
    expect(others.map(({ usd_limit, mode }) => [usd_limit, mode])).toEqual(others.map(() => [null, null]));
    expect((await world.run(['budget', 'show'])).stdout.split('\n').filter((line) => line.includes('$50'))).toHaveLength(1);
  });
});

describe('the accounts that are shown', () => {
  const hourMs = 3_600_000;
  const atMs = 10 * hourMs;
  const budget = (target: string, window: string, microUsd: number | undefined = 5): Budget => ({ target, tokens: undefined, microUsd, window });
  const account = (target: string, windowId: string): AccountRecord => ({ target, windowId, tokensReserved: 0, tokensSpent: 3, microUsdReserved: 0, microUsdSpent: 4, usage: noUsage, overBound: 0 });
  const shown = (budgets: readonly Budget[], accounts: readonly AccountRecord[]): unknown => accountsShown(budgets, accounts, atMs).map((each) => [each.target, each.windowId, each.tokensSpent, budgetOf(each, budgets)?.microUsd]);

  it.each<[string, readonly Budget[], readonly AccountRecord[], unknown]>([
    ['a window that has just turned is there, before the one that is over', [budget('all', '1h')], [account('all', `1h=${9 * hourMs}`), account('all', 'total')], [['all', `1h=${10 * hourMs}`, 0, 5], ['all', `1h=${9 * hourMs}`, 3, 5], ['all', 'total', 3, undefined]]],
    ['a window that is used is not there twice', [budget('all', '1h')], [account('all', 'total'), account('all', `1h=${10 * hourMs}`)], [['all', `1h=${10 * hourMs}`, 3, 5], ['all', 'total', 3, undefined]]],
    ['each run has its own of a budget of each run', [budget('all', 'run')], [account('all', 'run=a'), account('all', 'run=b'), account('all', 'total')], [['all', 'run=a', 3, 5], ['all', 'run=b', 3, 5], ['all', 'total', 3, undefined]]],
    ['a budget that was lifted has none of zeros', [{ ...budget('all', 'total'), microUsd: undefined }], [account('client:etl', 'total')], [['client:etl', 'total', 3, undefined]]],
    ['another span is another window', [budget('all', '1d')], [account('all', `1h=${10 * hourMs}`)], [['all', '1d=0', 0, 5], ['all', `1h=${10 * hourMs}`, 3, undefined]]],
  ])('%s', (_name, budgets, accounts, expected) => {
    expect(shown(budgets, accounts)).toEqual(expected);
  });
});
