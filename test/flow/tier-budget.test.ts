/** The budget of a client while its work is taken in and an operator moves it: it is that of its tier of now (B1 of tier-budgets.ts). */
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { watchLedger } from '../../cli/guard.ts';
import * as library from '../../cli/library.ts';
import { applyTiers } from '../../cli/tiers.ts';
import { setTierBudgets } from '../../producers/tier-budgets.ts';
import type { Budget, Ledger, TierAssignment } from '../../segments/ledger/ledger.ts';
import { journalTier } from '../../segments/store/decisions.ts';
import { corpus } from '../chaos/world.ts';
import { openLibraryWorld, type LibraryWorld } from '../library-world.ts';

const settings = {
  PLIMSOLL_TIERS: JSON.stringify({
    pilot: { requestsPerDay: 1_000, budget: { usd: 1, window: 'month' } },
    internal: { requestsPerDay: 1_000, budget: { usd: 9, window: 'day' } },
    enterprise: { requestsPerDay: 1_000_000 },
  }),
  PLIMSOLL_DEFAULTS__TIER: 'pilot',
};

let both: LibraryWorld;
let plimsoll: library.Installation;
beforeAll(async () => {
  both = await openLibraryWorld(settings);
  ({ plimsoll } = both);
});
afterAll(async () => await both.close());

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

describe('a client that an operator has moved into a tier without a budget, on a Redis that was set back to before the word', () => {
  it('keeps the budget of the tier before no longer than until the next worker looks', async () => {
    await library.moveClient(plimsoll, { client: 'dbt', tier: 'pilot', by: 'ada', reason: 'a trial' });
    expect(await limitOf('dbt')).toEqual([1_000_000, 'month']);
    const { store, now } = plimsoll;
    await journalTier(store, { client: 'dbt', tier: 'enterprise', by: 'ada', reason: 'as agreed', fromUnset: null, setAtMs: now() });
    const watch = await watchLedger(plimsoll, 'worker', () => undefined);
    watch.stop();
    expect((await plimsoll.ledger.readTiers()).find(({ client }) => client === 'dbt')).toMatchObject({ tier: 'enterprise' });
    expect((await limitOf('dbt'))?.[0]).toBeUndefined();
  });

  it('keeps one that an operator has set, and one in a tier that the configuration at hand does not know', async () => {
    const { config, ledger, now } = plimsoll;
    const budget = { tokens: undefined, microUsd: 5_000_000, window: 'total' };
    await ledger.setBudget({ target: 'client:ops', ...budget }, 'operator', now());
    await ledger.setBudget({ target: 'client:far', ...budget }, 'config', now());
    for (const [client, tier] of [['ops', 'enterprise'], ['far', 'elsewhere']] as const) await ledger.setTier({ client, tier, ordinal: 1, by: 'ada', setAtMs: now() });
    await applyTiers(config, ledger, now());
    expect([await limitOf('ops'), await limitOf('far')]).toEqual([[5_000_000, 'total'], [5_000_000, 'total']]);
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
