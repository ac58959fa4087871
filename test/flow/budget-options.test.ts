/** Budgets as operators set them, end to end: another model and a larger limit for what is held, estimates, time zones, own prices. */
import { readFileSync } from 'node:fs';
import { afterEach, expect, it } from 'vitest';
import { breaches, readRows, readTruth, type LakeRow } from '../chaos/oracle.ts';
import { corpus, openWorld, type Ended, type World } from '../chaos/world.ts';

let world: World;
afterEach(async () => await world.close());

const small = { PLIMSOLL_CHUNK__BYTES_MAX: '20000', PLIMSOLL_CHUNK__OPEN_BYTES_MAX: '60000' };
const json = <Shape,>(end: Ended): Shape => JSON.parse(end.stdout) as Shape;
const idsOf = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => `doc-${index}`);

interface PricedRow extends LakeRow {
  readonly model: string;
  readonly price_version: string;
  readonly cost_usd_estimated: number;
}

/** Rows of one topic and priority, so that nothing but the budget cuts them into batches. */
function prompts(count: number): string {
  const lines = Array.from({ length: count }, (_, index) => JSON.stringify({
    id: `doc-${index}`, topic: 'mails', params: { model: 'claude-haiku-4-5', max_tokens: 64, messages: [{ role: 'user', content: `Mail ${index}: is this about an order? ${'It came late. '.repeat(20)}` }] },
  }));
  return `${lines.join('\n')}\n`;
}

it('replan applies another model together with a larger budget, and every row is answered by the model that its decision names', async () => {
  world = await openWorld({ billing: 'worst' }, { ...small, PLIMSOLL_BUDGETS: '{"topic:invoices": {"usd": "0.005"}}' });
  const source = world.write('in.jsonl', corpus(300, 5));
  expect((await world.run(['run', source, '--run-key', 'tight', '--json'])).code).toBe(5);
  const status = json<{ segments: { segment: string; rows_held: number }[] }>(await world.run(['status', '--json']));
  const held = status.segments.find((each) => each.rows_held > 0) ?? { segment: '', rows_held: 0 };
  const way = [held.segment, '--model', 'claude-haiku-5-5', '--budget-usd', '1'];
  const asked = json<{ choices: { rows: number; fit: string; cost_usd_max: number }[] }>(await world.run(['replan', ...way, '--json']));
  expect(asked.choices).toMatchObject([{ rows: held.rows_held, fit: 'now' }]);
  const applied = await world.run(['replan', ...way, '--apply', '--by', 'ada', '--reason', 'the small model will do', '--json']);
  expect(applied.code, applied.stderr).toBe(0);
  expect(json(applied)).toMatchObject({ rows: held.rows_held, rows_not_sampled: 0, budget: { target: 'topic:invoices', usd: 1 } });

  const end = await world.run(['run', source, '--run-key', 'tight', '--json']);
  expect(end.code, end.stderr).toBe(0);
  expect(json(end)).toMatchObject({ status: 'succeeded', counts: { accepted: 300, succeeded: 300, not_sampled: 0 } });
  expect(breaches(world.lake, 'tight', idsOf(300), world.truthFile)).toEqual([]);
  const changed = (readRows(world.lake) as PricedRow[]).filter(({ model }) => model.startsWith('claude-haiku-5-5'));
  expect(changed).toHaveLength(held.rows_held);
  const billed = readFileSync(world.truthFile, 'utf8').split('\n').filter((line) => line.includes('"row_billed"') && line.includes('"claude-haiku-5-5'));
  expect(billed).toHaveLength(held.rows_held);
  const accounts = json<{ target: string; usd_limit: number | null; over_bound_rows: number }[]>(await world.run(['budget', 'show', '--json']));
  expect(accounts.find(({ target }) => target === 'topic:invoices')).toMatchObject({ usd_limit: 1, over_bound_rows: 0 });
});

it('a budget by estimate fills one batch where a strict one needs several, once it knows what such prompts cost', async () => {
  world = await openWorld({}, small);
  const source = world.write('in.jsonl', prompts(200));
  expect((await world.run(['run', source, '--run-key', 'known', '--json'])).code).toBe(0);
  const bound = json<{ tokens_max: number }>(await world.run(['plan', source, '--json'])).tokens_max;
  const plannedUnder = async (): Promise<unknown> => json<{ budgets: unknown }>(await world.run(['plan', source, '--json'])).budgets;
  expect(await plannedUnder()).toEqual([]);
  const batchesUnder = async (mode: string): Promise<number> => {
    const before = readTruth(world.truthFile).batches.size;
    const set = await world.run(['budget', 'set', 'all', '--tokens', String(Math.floor(bound * 0.7)), '--window', 'run', '--mode', mode, '--json']);
    expect(json(set)).toMatchObject({ mode, window: 'run' });
    expect(await plannedUnder()).toMatchObject([{ target: 'all', kind: 'tokens', window: 'run', mode, bound, strict: 'holds_a_part', estimate: 'fits' }]);
    const end = await world.run(['run', source, '--run-key', `with-${mode}`, '--json']);
    expect(end.code, end.stderr).toBe(0);
    return readTruth(world.truthFile).batches.size - before;
  };
  expect(await batchesUnder('strict')).toBeGreaterThan(1);
  expect(await batchesUnder('estimate')).toBe(1);
});

it('a daily budget begins at midnight of its time zone', async () => {
  world = await openWorld({}, small);
  expect(json(await world.run(['budget', 'set', 'all', '--usd', '5', '--window', 'day', '--time-zone', 'Asia/Kolkata', '--json']))).toMatchObject({ window: 'day', time_zone: 'Asia/Kolkata' });
  expect((await world.run(['run', world.write('in.jsonl', prompts(5)), '--run-key', 'today', '--json'])).code).toBe(0);
  const accounts = json<{ target: string; window: string; usd_spent: number; usd_limit: number | null }[]>(await world.run(['budget', 'show', '--json']));
  const today = accounts.find(({ target, window }) => target === 'all' && window !== 'total');
  const startMs = Number(today?.window.split('=')[1]);
  expect(new Date(startMs).toLocaleTimeString('en-GB', { timeZone: 'Asia/Kolkata' })).toBe('00:00:00');
  expect(today?.usd_spent).toBeGreaterThan(0);
  expect((await world.run(['budget', 'set', 'all', '--usd', '5', '--window', 'day', '--time-zone', 'Asia/Atlantis'])).stderr).toMatch(/time zone/);
});

it('prices of one’s own price the rows, the report and the budget, and their version stands in every row', async () => {
  world = await openWorld({}, small);
  const source = world.write('in.jsonl', prompts(5));
  expect((await world.run(['run', source, '--run-key', 'shipped', '--json'])).code).toBe(0);
  const shipped = JSON.parse(readFileSync(new URL('../../config/models.json', import.meta.url), 'utf8')) as { models: { aliases: string[]; batch_price_per_mtok: Record<string, number> }[] };
  const models = shipped.models.filter(({ aliases }) => aliases.includes('claude-haiku-4-5'));
  const tenfold = models.map((each) => ({ ...each, batch_price_per_mtok: Object.fromEntries(Object.entries(each.batch_price_per_mtok).map(([name, price]) => [name, price * 10])) }));
  const own = { PLIMSOLL_PRICES__FILE: world.write('prices.json', JSON.stringify({ ...shipped, as_of: '2027-01-05', models: tenfold })) };
  expect((await world.run(['run', source, '--run-key', 'own', '--json'], own)).code).toBe(0);
  const rows = readRows(world.lake) as PricedRow[];
  for (const id of idsOf(5)) {
    const [before, after] = rows.filter((row) => row.id === id).sort((a, b) => a.cost_usd_estimated - b.cost_usd_estimated);
    expect(before?.price_version).toBe('2026-11-21');
    expect(after?.price_version).toMatch(/^2026-11-21\+2027-01-05\./);
    // A row's cost is exact; the factor of ten is taken in binary numbers.
    expect(after?.cost_usd_estimated).toBeCloseTo(10 * (before?.cost_usd_estimated ?? 0), 12);
  }
});
