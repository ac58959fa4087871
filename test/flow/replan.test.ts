/** A budget that is too small: it stops in time, is replanned to a sample, and the run ends with a report that adds up. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, expect, it } from 'vitest';
import { openHome, type Home } from '../../local/home.ts';
import { breaches, readRows, readTruth } from '../chaos/oracle.ts';
import { corpus, openWorld, type Ended, type World } from '../chaos/world.ts';

const small = { PLIMSOLL_CHUNK__BYTES_MAX: '20000', PLIMSOLL_CHUNK__OPEN_BYTES_MAX: '60000', PLIMSOLL_ARCHIVE__LINGER: '100ms' };
const rows = 300;
const ids = Array.from({ length: rows }, (_, index) => `doc-${index}`);
const limitUsd = 0.05;

let world: World;
let home: Home | undefined;
afterEach(async () => {
  await home?.close();
  home = undefined;
  await world.close();
});

const json = (end: Ended): Record<string, unknown> => JSON.parse(end.stdout) as Record<string, unknown>;

interface Choice {
  readonly kind: string;
  readonly rows: number;
  readonly rows_not_sampled: number;
  readonly cost_usd_max: number;
  readonly cost_usd_expected: number;
  readonly fit: string;
  readonly finish_ms_max: number | null;
}

interface Report {
  readonly counts: Readonly<Record<'accepted' | 'succeeded' | 'dead_lettered' | 'not_sampled' | 'replanned' | 'retried', number>>;
  readonly micro_usd: number;
  readonly topics: readonly { readonly micro_usd: number; readonly not_sampled: number; readonly succeeded: number }[];
}

/** What the provider has billed, micro-USD: its own records, row by row. */
function billedMicroUsd(): number {
  const lines = readFileSync(world.truthFile, 'utf8').split('\n').filter((line) => line.includes('"row_billed"'));
  return lines.reduce((sum, line) => sum + Number((JSON.parse(line) as { cost_pico_usd: number | string }).cost_pico_usd), 0) / 1_000_000;
}

function reportOf(run: string): { readonly report: Report; readonly success: Record<string, unknown>; readonly costMicroUsd: number } {
  const dt = (JSON.parse(readFileSync(join(world.lake, `journal/runs/${run}/open.json`), 'utf8')) as { dt: string }).dt;
  const read = (name: string): string => readFileSync(join(world.lake, `runs/dt=${dt}/${run}/${name}`), 'utf8');
  const costMicroUsd = read('cost.csv').trim().split('\n').slice(1).reduce((sum, line) => sum + Number(line.split(',')[6]), 0);
  return { report: JSON.parse(read('run.json')) as Report, success: JSON.parse(read('_SUCCESS')) as Record<string, unknown>, costMicroUsd };
}

/** Enqueues, works until every segment is stopped while the first batches are at the provider, and names the held segments. */
async function stopped(): Promise<readonly string[]> {
  const source = world.write('in.jsonl', corpus(rows, 5));
  expect((await world.run(['enqueue', source, '--run-key', 'tight'])).code).toBe(0);
  // The batches take an hour, so the time is over while they are there.
  const timedOut = await world.run(['run', source, '--run-key', 'tight', '--timeout', '4s', '--json']);
  expect(timedOut.code, timedOut.stderr).toBe(6);
  const status = json(await world.run(['status', '--json'])) as { segments: { segment: string; rows_held: number }[]; stops: { reason: string }[] };
  expect(status.stops.every(({ reason }) => reason === 'budget_cost')).toBe(true);
  return status.segments.filter((each) => each.rows_held > 0).map(({ segment }) => segment);
}

/** From now on an hour of the provider is half a second. */
async function hurryTheProvider(): Promise<void> {
  const reply = await fetch(`${world.simulator.url}/_simulator/clock`, { method: 'POST', body: JSON.stringify({ time_scale: 7_200 }) });
  expect(reply.ok).toBe(true);
}

it('a run under a budget stops within it, is replanned to a sample, finishes under it, and adds up to the micro-dollar', { timeout: 180_000 }, async () => {
  world = await openWorld({ batchMs: 3_600_000, billing: 'worst' }, { ...small, PLIMSOLL_BUDGETS: `{"all": {"usd": "${limitUsd}"}}` });
  const segments = await stopped();
  expect(segments.length).toBeGreaterThan(1);
  const accounts = json(await world.run(['budget', 'show', '--json'])) as unknown as { target: string; usd_reserved: number }[];
  const reserved = accounts.find(({ target }) => target === 'all')?.usd_reserved ?? 0;
  // Within one prompt's bound of the limit: no prompt of the corpus can cost a thousandth of a dollar.
  expect(reserved).toBeGreaterThan(limitUsd - 0.001);
  expect(reserved).toBeLessThanOrEqual(limitUsd);

  let keptAll = 0;
  let leftOutAll = 0;
  for (const segment of segments) {
    const shown = json(await world.run(['replan', segment, '--json'])) as unknown as { rows_held: number; choices: Choice[]; limits: { target: string }[] };
    expect(shown.limits).toMatchObject([{ target: 'all', unit: 'micro_usd' }]);
    const [asItIs] = shown.choices;
    expect(asItIs).toMatchObject({ kind: 'as_it_is', rows: shown.rows_held, finish_ms_max: null });
    expect(shown.choices.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['as_it_is', 'max_tokens', 'budget']));
    for (const choice of shown.choices) expect(choice.cost_usd_expected).toBeLessThanOrEqual(choice.cost_usd_max);
    const option = ['--sample', '1', '--max-tokens', '32'];
    const asked = json(await world.run(['replan', segment, ...option, '--json'])) as unknown as { choices: Choice[] };
    expect(asked.choices).toMatchObject([{ kind: 'asked', rows: 1, rows_not_sampled: shown.rows_held - 1 }]);
    const applied = json(await world.run(['replan', segment, ...option, '--apply', '--by', 'ada', '--reason', 'the trend is enough', '--json']));
    expect(applied).toMatchObject({ segment, by: 'ada', rows: 1, rows_not_sampled: shown.rows_held - 1, rows_gone: 0, is_resumed: false });
    keptAll += 1;
    leftOutAll += shown.rows_held - 1;
  }

  await hurryTheProvider();
  const end = await world.run(['run', join(world.folder, 'in.jsonl'), '--run-key', 'tight', '--json']);
  expect({ code: end.code, stderr: end.stderr }).toMatchObject({ code: 3 });
  expect(json(end)).toMatchObject({ status: 'partial', counts: { accepted: rows, dead_lettered: 0, not_sampled: leftOutAll } });

  const { report, success, costMicroUsd } = reportOf('tight');
  expect(report.counts).toMatchObject({ accepted: rows, succeeded: rows - leftOutAll, not_sampled: leftOutAll, replanned: keptAll, dead_lettered: 0, retried: 0 });
  expect(success).toMatchObject({ rows, succeeded: rows - leftOutAll, not_sampled: leftOutAll });
  expect(report.topics.reduce((sum, topic) => sum + topic.not_sampled, 0)).toBe(leftOutAll);
  expect(breaches(world.lake, 'tight', ids, world.truthFile)).toEqual([]);
  const statuses = readRows(world.lake).filter(({ status }) => status === 'not_sampled');
  expect(statuses).toHaveLength(leftOutAll);
  expect(new Set(statuses.map(({ reason }) => reason))).toEqual(new Set(['replan']));
  // The bill: the product's, the provider's, the report's lines, and the limit.
  expect(report.micro_usd).toBe(costMicroUsd);
  expect(Math.abs(billedMicroUsd() - report.micro_usd)).toBeLessThan(readTruth(world.truthFile).billed.rows);
  expect(billedMicroUsd()).toBeLessThanOrEqual(limitUsd * 1_000_000);
  // What was left out on purpose is not retried.
  const retried = await world.run(['retry', 'tight', '--json']);
  expect(retried.code, retried.stderr).toBe(0);
  expect(retried.stderr).not.toMatch(/sends/);
});

it('a replan whose decision is written down is carried out by a rebuild when Redis forgets it before any of it is settled', { timeout: 180_000 }, async () => {
  world = await openWorld({ batchMs: 100 }, { ...small, PLIMSOLL_BUDGETS: `{"topic:invoices": {"usd": "0.005"}}` });
  const source = world.write('in.jsonl', corpus(rows, 5));
  expect((await world.run(['run', source, '--run-key', 'tight', '--json'])).code).toBe(5);
  const status = json(await world.run(['status', '--json'])) as { segments: { segment: string; rows_held: number }[] };
  const held = status.segments.filter((each) => each.rows_held > 0);
  for (const { segment } of held) {
    expect((await world.run(['replan', segment, '--sample', '0', '--apply', '--by', 'ada', '--reason', 'enough is known'])).code).toBe(0);
    const nothing = await world.run(['replan', segment, '--sample', '0', '--apply', '--by', 'ada', '--reason', 'enough is known']);
    expect(nothing).toMatchObject({ code: 2, stderr: expect.stringContaining('[nothing_held]') as string });
  }
  // Nobody has worked since, so nothing of it is settled; Redis forgets all of it.
  home = await openHome({ directory: world.home, searchPath: process.env['PATH'] ?? '', install: true, announce: () => undefined });
  if (home.redis.kind !== 'socket') throw new Error('a home starts a Redis of its own');
  const redis = new Redis({ path: home.redis.path });
  await redis.flushall();
  redis.disconnect();
  expect((await world.run(['recover', '--json'])).code).toBe(0);
  const end = await world.run(['run', source, '--run-key', 'tight', '--json']);
  const leftOut = held.reduce((sum, each) => sum + each.rows_held, 0);
  expect({ code: end.code, stderr: end.stderr }).toMatchObject({ code: 3 });
  expect(json(end)).toMatchObject({ status: 'partial', counts: { accepted: rows, succeeded: rows - leftOut, not_sampled: leftOut, dead_lettered: 0 } });
  expect(breaches(world.lake, 'tight', ids, world.truthFile)).toEqual([]);
});

it.each<[string, readonly string[], string, RegExp]>([
  ['an unknown segment', ['reviews.8k.hihg', '--sample', '1'], 'segment_unknown', /Did you mean|known from its first prompt/],
  ['an unknown model', ['invoices.8k.high', '--model', 'claude-haiku-4-6'], 'model_unknown', /Did you mean claude-haiku/],
  ['no number of tokens', ['invoices.8k.high', '--max-tokens', '0'], 'usage', /whole number from 1 on/],
  ['no sample', ['invoices.8k.high', '--sample', 'half'], 'usage', /--sample 2000 or --sample 10%/],
  ['no amount', ['invoices.8k.high', '--budget-usd', '5,00'], 'usage', /six decimals/],
  ['nobody who decides', ['invoices.8k.high', '--sample', '1', '--apply', '--reason', 'why'], 'usage', /--by ada/],
  ['no reason', ['invoices.8k.high', '--sample', '1', '--apply', '--by', 'ada'], 'usage', /--reason/],
  ['nothing that changes', ['invoices.8k.high', '--apply', '--by', 'ada', '--reason', 'why'], 'usage', /Add --model, --max-tokens or --sample/],
  ['a person without --apply', ['invoices.8k.high', '--by', 'ada'], 'usage', /Add --apply/],
])('%s is refused with what to do', async (_name, args, code, hint) => {
  world = await openWorld();
  const end = await world.run(['replan', ...args]);
  expect(end.code).toBe(2);
  expect(end.stderr).toMatch(hint);
  expect(end.stderr).toContain(`[${code}]`);
});
