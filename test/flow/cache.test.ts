/** Prompts that share a long beginning: what is sent, what the provider bills for it, and what plan and reports say. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openWorld, type World } from '../chaos/world.ts';

const rows = 300;
/** About 8,000 tokens: one per word for the newer tokenizer, three quarters of it for that of this model. */
const system = Array.from({ length: 10_400 }, (_, at) => ['harbour', 'ledger', 'clerk', 'load', 'line'][(at * 7) % 5]).join(' ');

function corpus(prefix: string): string {
  const lines = Array.from({ length: rows }, (_, at) => JSON.stringify({
    id: `doc-${at}`, topic: 'invoices',
    params: { model: 'claude-haiku-4-5', max_tokens: 64, system: `${prefix} ${system}`, messages: [{ role: 'user', content: `What does document ${at} say of the year ${1_900 + at}?` }] },
  }));
  return `${lines.join('\n')}\n`;
}

interface Bill {
  readonly picoUsd: number;
  readonly read: number;
  readonly written: number;
  readonly rows: number;
}

/** The provider's own bill for the rows of one run. */
function billOf(world: World, batches: readonly string[]): Bill {
  const billed = readFileSync(world.truthFile, 'utf8').trimEnd().split('\n').filter((line) => line.includes('"row_billed"'))
    .map((line) => JSON.parse(line) as { batch_id: string; cost_pico_usd: number; usage: { cache_read_input_tokens: number; cache_creation_input_tokens: number } })
    .filter((row) => batches.includes(row.batch_id));
  const sum = (of: (row: (typeof billed)[number]) => number): number => billed.reduce((total, row) => total + of(row), 0);
  return { picoUsd: sum((row) => row.cost_pico_usd), read: sum((row) => row.usage.cache_read_input_tokens), written: sum((row) => row.usage.cache_creation_input_tokens), rows: billed.length };
}

interface Report {
  readonly batch_ids: readonly string[];
  readonly counts: { readonly accepted: number; readonly succeeded: number };
  readonly cache_saved_micro_usd: number;
}

describe('a corpus with a shared system prompt of 8,000 tokens', () => {
  let world: World;
  const reports = new Map<string, Report>();
  beforeAll(async () => {
    world = await openWorld({});
    for (const [run, policy] of [['plain', 'off'], ['marked', 'auto']] as const) {
      const source = world.write(`${run}.jsonl`, corpus(run));
      const end = await world.run(['run', source, '--run-key', run], { PLIMSOLL_CACHE__POLICY: policy });
      expect(end.code, end.stderr).toBe(0);
      if (run === 'marked') expect(end.stderr).toMatch(/cache {5}[\d,]+ tokens read, [\d,]+ written; it saved \$/);
      else expect(end.stderr).not.toContain('tokens read');
      reports.set(run, readReport(world, run));
    }
  });
  afterAll(async () => await world.close());

  it('costs at least 60 % less by the bill of the provider than without', () => {
    const [plain, marked] = ['plain', 'marked'].map((run) => billOf(world, reports.get(run)?.batch_ids ?? []));
    expect([plain?.rows, marked?.rows]).toEqual([rows, rows]);
    expect([plain?.read, plain?.written]).toEqual([0, 0]);
    expect((marked?.picoUsd ?? 0) / (plain?.picoUsd ?? 1)).toBeLessThan(0.4);
  });

  it('goes in two batches: one prompt alone, and the rest after it has ended', () => {
    const batches = reports.get('marked')?.batch_ids ?? [];
    const log = readFileSync(world.truthFile, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as { kind: string; batch_id?: string; requests?: number })
      .filter(({ kind, batch_id }) => batches.includes(batch_id ?? '') && kind.startsWith('batch_')).map(({ kind, requests }) => (requests === undefined ? kind : `${kind} ${requests}`));
    expect(log).toEqual(['batch_accepted 1', 'batch_ended', `batch_accepted ${rows - 1}`, 'batch_ended']);
    expect(reports.get('plain')?.batch_ids).toHaveLength(1);
  });

  it('is reported with what the cache really saved, to what the same usage would cost as plain input', () => {
    const marked = billOf(world, reports.get('marked')?.batch_ids ?? []);
    // Haiku 4.5 in a batch, pico-USD per token: input 500,000, written for an hour 1,000,000, read 50,000.
    const saved = marked.read * 450_000 - marked.written * 500_000;
    // The spending of each chunk is rounded by itself.
    expect(Math.abs((reports.get('marked')?.cache_saved_micro_usd ?? 0) - saved / 1e6)).toBeLessThanOrEqual(2);
    expect(reports.get('plain')?.cache_saved_micro_usd).toBe(0);
  });

  it('answers every row, and bills none above its bound', async () => {
    expect(reports.get('marked')?.counts).toMatchObject({ accepted: rows, succeeded: rows });
    const accounts = JSON.parse((await world.run(['budget', 'show', '--json'])).stdout) as { target: string; over_bound_rows: number }[];
    expect(accounts.find((account) => account.target === 'all')?.over_bound_rows).toBe(0);
  });

  it('is planned with the expected saving, and with a bound as if every marked prompt wrote', async () => {
    const source = world.write('planned.jsonl', corpus('marked'));
    const plan = async (policy: string) => JSON.parse((await world.run(['plan', source, '--json'], { PLIMSOLL_CACHE__POLICY: policy })).stdout) as { cost_usd_expected: number; cost_usd_max: number; batches: number; cache: { rows_marked: number; saved_usd_expected: number } };
    const [off, auto] = [await plan('off'), await plan('auto')];
    expect(off.cache).toMatchObject({ rows_marked: 0, saved_usd_expected: 0 });
    expect(auto.cache).toMatchObject({ rows_marked: rows - 8, primers: 1 });
    expect([off.batches, auto.batches]).toEqual([1, 2]);
    expect(auto.cost_usd_expected).toBeCloseTo(off.cost_usd_expected - auto.cache.saved_usd_expected, 5);
    expect(auto.cache.saved_usd_expected / off.cost_usd_expected).toBeGreaterThan(0.4);
    expect(auto.cost_usd_max).toBeGreaterThan(off.cost_usd_max * 1.8);
  });
});

describe('a strict budget and marked prompts', () => {
  let world: World;
  afterAll(async () => await world.close());

  it('are never billed above it, even where no prompt finds what another has written', async () => {
    // Every marked prompt writes, and every token that the assumption allows is billed: the bound is what is paid.
    world = await openWorld({ cacheHitRate: 0, billing: 'worst' }, { PLIMSOLL_BUDGETS: '{"topic:invoices": {"usd": 4}}', PLIMSOLL_CHUNK__ROWS_MAX: '20' });
    const end = await world.run(['run', world.write('in.jsonl', corpus('tight')), '--run-key', 'tight', '--json']);
    expect(end.code, end.stderr).toBe(5);
    const accounts = JSON.parse((await world.run(['budget', 'show', '--json'])).stdout) as { target: string; usd_spent: number; over_bound_rows: number }[];
    const invoices = accounts.find((account) => account.target === 'topic:invoices');
    expect(invoices?.over_bound_rows).toBe(0);
    const picoUsd = readFileSync(world.truthFile, 'utf8').split('\n').filter((line) => line.includes('"row_billed"')).reduce((sum, line) => sum + (JSON.parse(line) as { cost_pico_usd: number }).cost_pico_usd, 0);
    expect(picoUsd).toBeLessThanOrEqual(4e12);
    expect(picoUsd).toBeGreaterThan(3e12);
  });
});

function readReport({ lake }: World, run: string): Report {
  const name = readdirSync(join(lake, 'runs'), { recursive: true }).map(String).find((path) => path.endsWith(join(run, 'run.json')));
  return JSON.parse(readFileSync(join(lake, 'runs', name ?? run), 'utf8')) as Report;
}
