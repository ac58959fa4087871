/** A budget that is too small stops before the money is spent, says what is missing, and lets go when there is room. */
import { afterEach, expect, it } from 'vitest';
import { breaches, readRows, readTruth } from '../chaos/oracle.ts';
import { corpus, openWorld, type World } from '../chaos/world.ts';

let world: World;
afterEach(async () => await world.close());

const small = { PLIMSOLL_CHUNK__BYTES_MAX: '20000', PLIMSOLL_CHUNK__OPEN_BYTES_MAX: '60000' };

it('a run that a budget holds exits 5 with nothing over the limit, and `budget set` finishes it', async () => {
  // The provider bills the most that the reference allows, so that a bound that is too low would show.
  world = await openWorld({ billing: 'worst' }, { ...small, PLIMSOLL_BUDGETS: '{"topic:invoices": {"tokens": 20000}}' });
  const source = world.write('in.jsonl', corpus(300, 5));
  const held = await world.run(['run', source, '--run-key', 'tight', '--json']);
  expect(held.code, held.stderr).toBe(5);
  expect(JSON.parse(held.stdout)).toMatchObject({ status: 'held', counts: { accepted: 300 }, manifest: null });
  const billed = readTruth(world.truthFile).billed;
  const accounts = JSON.parse((await world.run(['budget', 'show', '--json'])).stdout) as { target: string; tokens_reserved: number; tokens_spent: number; over_bound_rows: number }[];
  const invoices = accounts.find((account) => account.target === 'topic:invoices');
  expect(invoices?.tokens_reserved).toBe(0);
  expect(invoices?.tokens_spent).toBeGreaterThan(15_000);
  expect(invoices?.tokens_spent).toBeLessThanOrEqual(20_000);
  expect(accounts.find((account) => account.target === 'all')).toMatchObject({ tokens_spent: billed.inputTokens + billed.outputTokens, over_bound_rows: 0 });

  const status = await world.run(['status']);
  expect(status.stdout).toMatch(/segment invoices\.8k\.\w+ is stopped \(budget_tokens\): the budget of topic:invoices has no room for \d+ held rows/);
  expect(status.stdout).toMatch(/missing: [\d,]+ tokens/);

  const raised = await world.run(['budget', 'set', 'topic:invoices', '--tokens', '1000000', '--json']);
  expect(JSON.parse(raised.stdout)).toMatchObject({ target: 'topic:invoices', tokens: 1_000_000, window: 'total' });
  const finished = await world.run(['run', source, '--run-key', 'tight', '--json']);
  expect(finished.code, finished.stderr).toBe(0);
  expect(breaches(world.lake, 'tight', Array.from({ length: 300 }, (_, index) => `doc-${index}`), world.truthFile)).toEqual([]);
});

it('a budget per run stops one run and lets another of the same segment through', async () => {
  world = await openWorld({}, { ...small, PLIMSOLL_BUDGETS: '{"all": {"tokens": 12000, "window": "run"}}' });
  const large = world.write('large.jsonl', corpus(200, 5));
  const little = world.write('little.jsonl', corpus(10, 5));
  expect((await world.run(['run', large, '--run-key', 'large', '--json'])).code).toBe(5);
  const second = await world.run(['run', little, '--run-key', 'little', '--json']);
  expect(second.code, second.stderr).toBe(0);
});

it('a client whose budget is used up is held, and the other client of the same segments is served to its last row', async () => {
  world = await openWorld({ billing: 'worst' }, { ...small, PLIMSOLL_BUDGETS: '{"client:etl": {"tokens": 4000}}' });
  const lines = corpus(120, 5).trimEnd().split('\n').map((line, index) => JSON.stringify({ ...(JSON.parse(line) as object), client: index % 2 === 0 ? 'etl' : 'bi' }));
  const source = world.write('two.jsonl', `${lines.join('\n')}\n`);
  expect((await world.run(['run', source, '--run-key', 'two', '--json'])).code).toBe(5);
  const served = new Set(readRows(world.lake).map(({ id }) => id));
  expect(Array.from({ length: 60 }, (_, index) => `doc-${2 * index + 1}`).filter((id) => !served.has(id))).toEqual([]);
  expect(served.size).toBeLessThan(120);
  const status = await world.run(['status']);
  expect(status.stdout).toMatch(/segment \S+ of client etl is stopped \(budget_tokens\): the budget of client:etl has no room for/);
  expect(status.stdout).not.toMatch(/client bi/);
  await world.run(['budget', 'set', 'client:etl', '--tokens', '1000000']);
  const finished = await world.run(['run', source, '--run-key', 'two', '--json']);
  expect(finished.code, finished.stderr).toBe(0);
});
