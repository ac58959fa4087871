/** The budget of a client while its work is taken in and an operator moves it: it is that of its tier of now (B1 of tier-budgets.ts). */
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import * as library from '../../cli/library.ts';
import { setTierBudgets } from '../../producers/tier-budgets.ts';
import type { Budget, Ledger, TierAssignment } from '../../segments/ledger/ledger.ts';
import { corpus, openWorld, type World } from '../chaos/world.ts';

const settings = {
  PLIMSOLL_TIERS: JSON.stringify({
    pilot: { requestsPerDay: 1_000, budget: { usd: 1, window: 'month' } },
    internal: { requestsPerDay: 1_000, budget: { usd: 9, window: 'day' } },
    enterprise: { requestsPerDay: 1_000_000 },
  }),
  PLIMSOLL_DEFAULTS__TIER: 'pilot',
};

let world: World;
let plimsoll: library.Installation;
beforeAll(async () => {
  world = await openWorld({}, settings);
  plimsoll = await library.openPlimsoll({ env: { ...settings, ANTHROPIC_API_KEY: 'sk-test-canary-7781' }, home: world.home });
});
afterAll(async () => {
  await plimsoll.close();
  await world.close();
});

const limitOf = async (client: string): Promise<readonly [microUsd: number | undefined, window: string] | undefined> => {
  const found = (await plimsoll.ledger.listBudgets()).find(({ target }) => target === `client:${client}`);
  return found && [found.microUsd, found.window];
};

/** Hands in a run of a client in two parts, and does something when the run is open and its source not yet at its end. */
async function whileRead(client: string, runKey: string, act: () => Promise<unknown>): Promise<library.Production> {
  const lines = corpus(2, 7).trimEnd().split('\n').map((line) => `${JSON.stringify({ ...(JSON.parse(line) as object), client })}\n`);
  const stream = new PassThrough();
  const production = library.enqueue(plimsoll, { kind: 'stdin', stream }, { runKey });
  stream.write(lines[0]);
  await vi.waitFor(async () => expect((await plimsoll.ledger.listRuns()).map(String)).toContain(runKey), { timeout: 10_000 });
  await act();
  stream.end(lines[1]);
  return await production;
}

describe('a client that an operator moves while a run of its former tier is still read', () => {
  const move = async (client: string, tier: string): Promise<unknown> => await library.moveClient(plimsoll, { client, tier, by: 'ada', reason: 'as agreed' });

  it('has no budget any more where its new tier has none', async () => {
    expect(await whileRead('etl', 'promoted', async () => await move('etl', 'enterprise'))).toMatchObject({ accepted: 2, rejected: 0 });
    expect((await limitOf('etl'))?.[0]).toBeUndefined();
  });

  it('has the smaller budget of its new tier, not the larger one that the run was opened under', async () => {
    await move('bi', 'internal');
    expect(await limitOf('bi')).toEqual([9_000_000, 'day']);
    await whileRead('bi', 'demoted', async () => await move('bi', 'pilot'));
    expect(await limitOf('bi')).toEqual([1_000_000, 'month']);
  });

  it('and nobody has moved another one, which has the budget of the tier of everybody else', async () => {
    await whileRead('guest', 'as-it-was', async () => undefined);
    expect(await limitOf('guest')).toEqual([1_000_000, 'month']);
  });
});

describe('a word of an operator that comes while budgets are set', () => {
  const budgetOf = (tier: string | null): Omit<Budget, 'target'> | undefined => (tier === 'pilot' ? { tokens: 5, microUsd: undefined, window: 'month' } : undefined);
  const tierBudgets = (clients: readonly string[], assigned: readonly TierAssignment[]): readonly Budget[] => clients.flatMap((client) => {
    const budget = budgetOf(assigned.find((each) => each.client === client)?.tier ?? null);
    return budget ? [{ target: `client:${client}`, ...budget }] : [];
  });

  it.each([
    ['lifts a budget that was set under the word before', 'pilot', 'enterprise', [5, undefined]],
    ['sets one that the word before did not give', 'enterprise', 'pilot', [5]],
  ])('%s', async (_name, from, to, tokens) => {
    const word = (tier: string, ordinal: number): readonly TierAssignment[] => [{ client: 'etl', tier, ordinal, by: 'ada', setAtMs: 0 }];
    const words = [word(from, 1), word(to, 2), word(to, 2)];
    const set: (number | undefined)[] = [];
    const ledger: Pick<Ledger, 'readTiers' | 'setBudget'> = {
      readTiers: async () => words.shift() ?? [],
      setBudget: async (budget) => void set.push(budget.tokens),
    };
    await setTierBudgets(['etl'], { ledger, tierBudgets, now: () => 0 });
    expect(set).toEqual(tokens);
    expect(words).toEqual([]);
  });
});
