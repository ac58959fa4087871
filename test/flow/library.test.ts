/** An ETL job that imports the package instead of calling the command: the same doors, the same answers. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { existsSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as library from '../../cli/library.ts';
import type { SegmentName } from '../../segments/segment.ts';
import { corpus } from '../chaos/world.ts';
import { openLibraryWorld, type LibraryWorld } from '../library-world.ts';

const settings = {
  PLIMSOLL_TIERS: '{"pilot": {"requestsPerDay": 40}, "internal": {"requestsPerDay": 1000}}',
  PLIMSOLL_CLIENTS: '{"etl": {"tier": "pilot"}}',
  PLIMSOLL_DEFAULTS__CLIENT: 'etl',
};

let both: LibraryWorld;
let world: LibraryWorld['world'];
let plimsoll: library.Installation;
beforeAll(async () => {
  both = await openLibraryWorld(settings);
  ({ world, plimsoll } = both);
});
afterAll(async () => await both.close());

async function* rowsOf(count: number): AsyncGenerator<Buffer> {
  for (const line of corpus(count, 5).trimEnd().split('\n')) yield Buffer.from(line);
}

it('queues rows that a program makes, and says what a client over its tier has to reduce', async () => {
  const production = await library.enqueue(plimsoll, { kind: 'rows', uri: 'etl://documents', rows: rowsOf(60) }, { runKey: 'from-a-program' });
  expect(production).toMatchObject({ accepted: 60, rejected: 0, isNew: true });
  expect(production.deferred).toMatchObject([{ client: 'etl', tier: 'pilot', limit: 'requestsPerDay' }]);
  const again = await library.enqueue(plimsoll, { kind: 'rows', uri: 'etl://documents', rows: rowsOf(60) }, { runKey: 'from-a-program' });
  expect(again).toMatchObject({ accepted: 60, isNew: false });
});

it('queues a file that workers finish, after an operator has moved the client', async () => {
  await library.moveClient(plimsoll, { client: 'etl', tier: 'internal', by: 'ops', reason: 'the pilot is over' });
  const rejects: string[] = [];
  const path = world.write('in.jsonl', `${corpus(30, 6)}not json\n`);
  const production = await library.enqueue(plimsoll, path, { runKey: 'from-a-file', onReject: (message) => rejects.push(message) });
  expect(production).toMatchObject({ accepted: 30, rejected: 1, deferred: [] });
  expect(rejects[0]).toContain(`${path}:31`);
  const end = await world.run(['run', path, '--run-key', 'from-a-file', '--json']);
  expect(JSON.parse(end.stdout)).toMatchObject({ counts: { accepted: 30, succeeded: 30 } });
});

it('reads what was spent and what a budget will have spent, in the documents that the command prints', async () => {
  const { lake: _lake, ...printed } = JSON.parse((await world.run(['cost', '--by', 'client,topic', '--run', 'from-a-file', '--json'])).stdout) as Record<string, unknown>;
  const cost = await library.readCost(plimsoll, { by: ['client', 'topic'], run: 'from-a-file' });
  expect(cost).toEqual(printed);
  expect(cost).toMatchObject({ total: { succeeded: 30 } });
  expect(cost.groups.map(({ client }) => client)).toEqual(['etl', 'etl', 'etl']);
  expect((await library.readCost(plimsoll, { until: '2020-01-01' })).groups).toEqual([]);
  expect((await world.run(['budget', 'set', 'all', '--usd', '9', '--window', 'day', '--mode', 'estimate'])).code).toBe(0);
  const forecast = await library.readForecast(plimsoll);
  const { budgets } = JSON.parse((await world.run(['forecast', '--json'])).stdout) as library.ForecastDocument;
  expect(forecast.budgets.map(({ target, mode, limit, spent }) => ({ target, mode, limit, spent }))).toEqual(budgets.map(({ target, mode, limit, spent }) => ({ target, mode, limit, spent })));
  expect(forecast.budgets).toMatchObject([{ target: 'all', mode: 'estimate', limit: 9_000_000, unit: 'micro_usd' }]);
  expect((await world.run(['forecast'])).stdout).toContain('all, by estimate');
});

it('raises the errors of the command line, with their codes', async () => {
  await expect(library.enqueue(plimsoll, 'nowhere.jsonl', { runKey: 'lost' })).rejects.toMatchObject({ code: 'source_unreadable' });
  await expect(library.planReplan(plimsoll, { segment: 'docs.8k.normal' as SegmentName, option: {} as library.ReplanRequest['option'] })).rejects.toMatchObject({ code: 'nothing_held' });
  await expect(library.readCost(plimsoll, { run: 'from-a-fil' })).rejects.toMatchObject({ code: 'run_unknown' });
  await expect(library.readCost(plimsoll, { since: '2026-13-01' })).rejects.toMatchObject({ code: 'usage' });
  await expect(library.openPlimsoll({ env: { PLIMSOLL_HOM: 'x' }, home: world.home })).rejects.toThrow('PLIMSOLL_HOM');
});

it('is what the package names as its door', () => {
  const { exports } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as { exports: Record<string, { default: string }> };
  expect(exports['.']?.default).toBe('./dist/cli/library.js');
  expect(Object.keys(library).sort()).toEqual(['PlimsollError', 'applyReplan', 'enqueue', 'moveClient', 'openPlimsoll', 'planReplan', 'readCost', 'readForecast']);
});

it('is opened on a scratch folder without what a process left there that died a day ago', async () => {
  const scratch = join(world.home, 'scratch');
  const abandoned = join(scratch, '5b0c2f6e-9d41-4c1a-8a53-0f3f6f5f7a10.put');
  mkdirSync(scratch, { recursive: true });
  writeFileSync(abandoned, 'x');
  utimesSync(abandoned, 0, 0);
  await (await library.openPlimsoll({ env: { ...settings, ANTHROPIC_API_KEY: 'sk-test-canary-7781' }, home: world.home })).close();
  expect(existsSync(abandoned)).toBe(false);
});
