/** Rows that cost about a micro-dollar: the provider's exact bill stays within a strict limit, whatever rows of one shape round to. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { filesBelow, readRows } from '../chaos/oracle.ts';
import { openWorld, type World } from '../chaos/world.ts';

let world: World;
afterEach(async () => await world.close());

/** Prompts of the cheapest model, each of a few tokens, whose answers have one token; in chunks of ten. */
const short = (count: number): string => Array.from({ length: count }, (_, index) => (
  `${JSON.stringify({ id: `d${index}`, topic: 't', params: { model: 'claude-haiku-5-5', max_tokens: 1, messages: [{ role: 'user', content: 'ok? yes. '.repeat(4) }] } })}\n`
)).join('');

const settings = { PLIMSOLL_ARCHIVE__LINGER: '200ms', PLIMSOLL_CHUNK__ROWS_MAX: '10', LOG_LEVEL: 'warn' };

/** What the provider has billed, exactly. */
function billOf({ truthFile }: World): { readonly picoUsd: bigint; readonly rows: number } {
  const billed = readFileSync(truthFile, 'utf8').split('\n').filter((line) => line.includes('"row_billed"')).map((line) => BigInt((JSON.parse(line) as { cost_pico_usd: number }).cost_pico_usd));
  return { picoUsd: billed.reduce((sum, pico) => sum + pico, 0n), rows: billed.length };
}

/** The account of everything, integer micro-USD. */
async function accountOf(of: World): Promise<{ readonly spent: number; readonly reserved: number; readonly overBound: number }> {
  const accounts = JSON.parse((await of.run(['budget', 'show', '--json'])).stdout) as { target: string; usd_spent: number; usd_reserved: number; over_bound_rows: number }[];
  const all = accounts.find(({ target }) => target === 'all');
  return { spent: Math.round((all?.usd_spent ?? 0) * 1e6), reserved: Math.round((all?.usd_reserved ?? 0) * 1e6), overBound: all?.over_bound_rows ?? 0 };
}

it('a strict limit of 60 micro-dollars is not passed by the exact bill of as many rows as it lets through', async () => {
  world = await openWorld({ billing: 'plausible' }, { ...settings, PLIMSOLL_BUDGETS: '{"all": {"usd": 0.00006}}' });
  const end = await world.run(['run', world.write('in.jsonl', short(80)), '--run-key', 'tight', '--json']);
  expect(end.code, end.stderr).toBe(5);
  const { picoUsd, rows } = billOf(world);
  expect(rows).toBeGreaterThan(20);
  // All rows cost the same, with a fraction below a half: nothing else would show what rounding to the nearest does.
  expect(picoUsd % BigInt(rows)).toBe(0n);
  expect((picoUsd / BigInt(rows)) % 1_000_000n).toBeLessThan(500_000n);
  expect((picoUsd / BigInt(rows)) % 1_000_000n).toBeGreaterThan(0n);
  expect(picoUsd).toBeLessThanOrEqual(60_000_000n);
  const { spent, reserved, overBound } = await accountOf(world);
  expect([reserved, overBound]).toEqual([0, 0]);
  expect(BigInt(spent) * 1_000_000n).toBeGreaterThanOrEqual(picoUsd);
  expect(spent).toBeLessThanOrEqual(60);
});

it('what is booked, reported and listed is the exact bill, rounded up once for each chunk, and the rows add up to the bill itself', async () => {
  world = await openWorld({ billing: 'plausible' }, settings);
  const end = await world.run(['run', world.write('in.jsonl', short(45)), '--run-key', 'all', '--json']);
  expect(end.code, end.stderr).toBe(0);
  const { picoUsd, rows } = billOf(world);
  expect(rows).toBe(45);
  const outcomes = filesBelow(join(world.lake, 'journal/outcomes')).map((path) => JSON.parse(readFileSync(path, 'utf8')) as { chunks: readonly { microUsd: number }[] });
  const chunks = outcomes.flatMap((outcome) => outcome.chunks);
  const { spent } = await accountOf(world);
  const over = BigInt(spent) * 1_000_000n - picoUsd;
  expect(over >= 0n && over < BigInt(chunks.length) * 1_000_000n).toBe(true);
  expect(chunks.reduce((sum, { microUsd }) => sum + microUsd, 0)).toBe(spent);
  const costs = filesBelow(join(world.lake, 'runs')).find((path) => path.endsWith('cost.csv')) ?? '';
  expect(readFileSync(costs, 'utf8').trim().split('\n').slice(1).reduce((sum, line) => sum + Number(line.split(',')[6]), 0)).toBe(spent);
  const focus = (await world.run(['cost', '--focus'])).stdout.trimEnd().split('\n').slice(1);
  expect(focus.reduce((sum, line) => sum + Number(line.split(',')[0]?.replace('.', '')), 0)).toBe(spent);
  const ofRows = (readRows(world.lake) as readonly { readonly cost_usd_estimated?: number }[]).reduce((sum, row) => sum + BigInt(Math.round((row.cost_usd_estimated ?? 0) * 1e12)), 0n);
  expect(ofRows).toBe(picoUsd);
});
