/** What was spent, seen from all sides: by whatever it is grouped, in the runs' reports, and in the provider's own bill. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesBelow } from '../chaos/oracle.ts';
import { corpus, openWorld, type World } from '../chaos/world.ts';

/** A row of a report, as far as the tests look at it. */
interface Group {
  readonly spent_micro_usd: number;
  readonly rows: number;
  readonly dead_lettered: number;
  readonly retried: number;
  readonly cache_saved_usd: string;
}

interface Budget {
  readonly target: string;
  readonly unit: string;
  readonly alerts: readonly string[];
  readonly spent?: number;
}

/** Several models and clients, and a long system prompt that is cached in every third row. */
function mixed(count: number): string {
  const models = ['claude-haiku-4-5', 'claude-sonnet-5', 'claude-opus-5'];
  const system = [{ type: 'text', text: 'You are a careful clerk. '.repeat(1_200), cache_control: { type: 'ephemeral', ttl: '1h' } }];
  return corpus(count, 9).trimEnd().split('\n').map((line, index) => {
    const prompt = JSON.parse(line) as { id: string; params: object };
    return JSON.stringify({ ...prompt, client: index % 2 === 0 ? 'etl' : 'crm', params: { ...prompt.params, model: models[(index >> 1) % 3], ...(index % 3 === 0 ? { system } : {}) } });
  }).join('\n');
}

/** The provider's own bill in micro-USD, to the last of its decimals. */
function billOf({ truthFile }: World): number {
  const billed = readFileSync(truthFile, 'utf8').split('\n').filter((line) => line.includes('"row_billed"')).map((line) => (JSON.parse(line) as { cost_pico_usd: number }).cost_pico_usd);
  return billed.reduce((sum, pico) => sum + pico, 0) / 1_000_000;
}

/** How often an amount was rounded up: once for each chunk, model and rate. */
function partsOf({ lake }: World): number {
  const outcomes = filesBelow(join(lake, 'journal/outcomes')).map((path) => JSON.parse(readFileSync(path, 'utf8')) as { chunks: readonly { spends: readonly unknown[] }[] });
  return outcomes.reduce((sum, { chunks }) => sum + chunks.reduce((parts, { spends }) => parts + spends.length, 0), 0);
}

/** What the runs' reports say was spent, integer micro-USD. */
function spentOf(world: World): number {
  return reportsOf(world).reduce((sum, report) => sum + report.micro_usd, 0);
}

function reportsOf({ lake }: World): readonly { readonly micro_usd: number }[] {
  const names = readdirSync(join(lake, 'runs'), { recursive: true }).map(String).filter((name) => name.endsWith('run.json'));
  return names.map((name) => JSON.parse(readFileSync(join(lake, 'runs', name), 'utf8')) as { micro_usd: number });
}

describe('two runs with retries, dead letters, caches and three models', () => {
  let world: World;
  beforeAll(async () => {
    world = await openWorld({ faults: { faults: [{ fault: 'errored', rate: 0.1, error_type: 'api_error', nth: 1 }, { fault: 'errored', rate: 0.05, error_type: 'invalid_request_error', nth: 1 }] } });
    for (const [run, rows] of [['first', 150], ['second', 40]] as const) {
      const end = await world.run(['run', world.write(`${run}.jsonl`, mixed(rows)), '--run-key', run, '--json']);
      expect([0, 3], end.stderr).toContain(end.code);
    }
  });
  afterAll(async () => await world.close());

  const cost = async (...args: readonly string[]): Promise<{ readonly groups: readonly Group[]; readonly total: Group; readonly verified?: object }> => {
    const end = await world.run(['cost', '--json', ...args]);
    expect(end.code, end.stderr).toBe(0);
    return JSON.parse(end.stdout) as { groups: Group[]; total: Group };
  };

  it('groups and reports agree to the micro-dollar; the provider’s bill is not above them, and below by less than one for each part', async () => {
    const spent = spentOf(world);
    expect(billOf(world)).toBeGreaterThan(0);
    expect(spent).toBeGreaterThanOrEqual(billOf(world));
    expect(spent - billOf(world)).toBeLessThan(partsOf(world));
    for (const keys of ['topic', 'client,model', 'run', 'day', 'topic,client,model,run,day']) {
      const { groups, total } = await cost('--by', keys);
      expect([keys, total.spent_micro_usd, groups.reduce((sum, group) => sum + group.spent_micro_usd, 0)]).toEqual([keys, spent, spent]);
      expect(total.rows).toBe(190);
    }
    const { total } = await cost();
    expect(total.dead_lettered).toBeGreaterThan(0);
    expect(total.retried).toBeGreaterThan(0);
    expect(Number(total.cache_saved_usd)).not.toBe(0);
  });

  it('--verify compares with every report, and finds one that was changed', async () => {
    expect((await cost('--verify')).verified).toEqual({ equal: 2, unfinished: 0, differing: [] });
    const words = await world.run(['cost', '--by', 'run', '--verify']);
    expect(words.code).toBe(0);
    expect(words.stdout).toMatch(/^first +150 .*\nsecond +40 .*\ntotal +190 /m);
    expect(words.stderr).toBe('2 run reports say the same to the micro-dollar; 0 runs have not ended; 0 reports differ\n');

    const [name = ''] = readdirSync(join(world.lake, 'runs'), { recursive: true }).map(String).filter((each) => each.endsWith('second/run.json'));
    const path = join(world.lake, 'runs', name);
    const report = readFileSync(path, 'utf8');
    rmSync(path);
    writeFileSync(path, report.replace(/"micro_usd":\d+,"standard_micro_usd":(\d+),"cost_usd/, '"micro_usd":1,"standard_micro_usd":$1,"cost_usd'));
    const differs = await world.run(['cost', '--verify']);
    expect(differs.code).toBe(1);
    expect(differs.stderr).toMatch(/1 report differs\n {2}second: outcomes \d+ micro-USD and \d+ \+ \d+ rows, report 1 and /);
    rmSync(path);
    writeFileSync(path, report);
  });

  it('FOCUS lines add up to it too', async () => {
    const { stdout } = await world.run(['cost', '--focus']);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^BilledCost,BillingAccountId,/);
    expect(lines.slice(1).reduce((sum, line) => sum + Number(line.split(',')[0]?.replace('.', '')), 0)).toBe(spentOf(world));
  });

  it('one run and one day can be picked; nothing there is no fault', async () => {
    expect((await cost('--run', 'second')).total.rows).toBe(40);
    expect((await cost('--since', '2000-01-01', '--until', '2000-12-31')).groups).toEqual([]);
    expect((await world.run(['cost', '--until', '2000-12-31'])).stdout).toBe('Nothing was spent there.\n');
  });

  it.each([
    [['cost', '--by', 'topics'], 'Did you mean topic?'],
    [['cost', '--by', 'topic,topic'], 'topic is named twice (--by)'],
    [['cost', '--since', '2026-02-30'], '"2026-02-30" is not a day (--since)'],
    [['cost', '--since', '2026-02-02', '--until', '2026-02-01'], '2026-02-02 is after 2026-02-01'],
    [['cost', '--run', 'frist'], 'Did you mean first?'],
    [['cost', '--csv', '--json'], "cannot be used with option '--json'"],
    [['cost', '--focus', '--by', 'run'], "cannot be used with option '--by"],
    [['forecast', '--fail-on', 'panic'], 'Allowed choices are warning, forecast, exceeded'],
  ])('%j is refused with one clear error', async (args, text) => {
    const end = await world.run(args);
    expect([end.code, end.stdout]).toEqual([2, '']);
    expect(end.stderr).toContain(text);
  });

  it('forecast says what is used up, and exits 5 only when asked to', async () => {
    const limit = (spentOf(world) / 1_000_000).toFixed(6);
    await world.run(['budget', 'set', 'all', '--usd', limit]);
    await world.run(['budget', 'set', 'topic:invoices', '--tokens', '900000000', '--window', 'month', '--time-zone', 'Europe/Berlin']);
    await world.run(['budget', 'set', 'client:etl', '--usd', '1', '--window', 'run']);
    const end = await world.run(['forecast', '--json']);
    expect(end.code, end.stderr).toBe(0);
    const { budgets } = JSON.parse(end.stdout) as { budgets: Budget[] };
    expect(budgets.find((each) => each.target === 'all')).toMatchObject({ unit: 'micro_usd', spent: spentOf(world), alerts: ['warning', 'exceeded'], projected: null });
    expect(budgets.find((each) => each.target === 'topic:invoices')).toMatchObject({ unit: 'tokens', window: 'month', time_zone: 'Europe/Berlin', alerts: [], projected: null, rests_on: { former_windows: 0 } });
    expect(budgets.find((each) => each.target === 'client:etl')).toMatchObject({ window: 'run', alerts: [], projected: null });
    const words = await world.run(['forecast', '--fail-on', 'forecast']);
    expect(words.code).toBe(5);
    expect(words.stdout).toContain('all: is used up (100 % spent).');
    expect(words.stdout).toContain('topic:invoices (tokens): too early to project');
    expect(words.stdout).toContain('client:etl: a budget of each run is not projected');
  });

  it('needs no Redis, and says the same of the lake alone', async () => {
    const before = await cost('--by', 'topic,model');
    const alone = await world.run(['cost', '--json', '--by', 'topic,model'], { REDIS_URL: 'redis://127.0.0.1:1' });
    expect(alone.code, alone.stderr).toBe(0);
    expect(JSON.parse(alone.stdout)).toEqual(before);
  });
});
