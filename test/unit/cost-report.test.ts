/** Reports over the same facts: whatever they are grouped by, they add up to the same, to the micro-dollar. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CostReport, costGroupDocuments, costKeys, costReportCsv, costSumsDocument, type CostKey } from '../../exporters/cost-report.ts';
import { FocusLines, focusHead } from '../../exporters/focus.ts';
import { rowMicroUsd, type ModelPrice, type Rates } from '../../segments/price.ts';
import { archiveId } from '../../segments/pack.ts';
import { noUsage, segmentName, type RunKey } from '../../segments/segment.ts';
import type { SpendFact } from '../../segments/spend.ts';

const rates = (factor: number): Rates => ({ input: 500_000 * factor, output: 2_500_000 * factor, cacheWrite5m: 625_000 * factor, cacheWrite1h: 1_000_000 * factor, cacheRead: 50_000 * factor });
const priceOf = (model: string): ModelPrice => ({
  model, batch: rates(1), standard: rates(2), longContext: { thresholdTokens: 200_000, batch: rates(2), standard: rates(4) }, geoPermille: undefined,
  contextTokensMax: 1_000_000, outputTokensMax: 64_000, outputTokensMaxExtended: undefined, status: 'active',
});
const days = [Date.UTC(2026, 10, 30, 23, 59), Date.UTC(2026, 11, 1), Date.UTC(2027, 0, 1, 12)];

interface Given {
  readonly run?: string;
  readonly topic?: string;
  readonly client?: string;
  readonly model?: string;
  readonly day?: number;
  readonly tokens?: readonly number[];
  readonly rate?: SpendFact['rate'];
}

function factOf({ run = 'nightly', topic = 'invoices', client = 'etl', model = 'claude-a', day = 0, tokens = [100, 20, 0, 0, 0], rate = 'usual' }: Given = {}): SpendFact {
  const [inputTokens = 0, outputTokens = 0, cacheReadInputTokens = 0, write5m = 0, cacheWrite1hInputTokens = 0] = tokens;
  const usage = { ...noUsage, inputTokens, outputTokens, cacheReadInputTokens, cacheWriteInputTokens: write5m + cacheWrite1hInputTokens, cacheWrite1hInputTokens };
  const price = priceOf(model);
  return {
    run: run as RunKey, archive: archiveId('7f3a91c2ab', 1), topic, client, segment: segmentName(topic, '8k', 'normal'), account: 'acct', model, rate, isGeoPinned: false,
    succeeded: 1, retried: 0, deadLettered: 1, usage, microUsd: rowMicroUsd(usage, price, 'batch', false), standardMicroUsd: rowMicroUsd(usage, price, 'standard', false),
    submittedAtMs: days[day] ?? 0, endedAtMs: days[day] ?? 0, priceVersion: '2026-11-21', price: rate === 'usual' ? price : undefined,
  };
}

const anyFact = fc.record({
  run: fc.constantFrom('a', 'a-b', 'b'), topic: fc.constantFrom('invoices', 'mails'), client: fc.constantFrom('etl', 'crm'), model: fc.constantFrom('claude-a', 'claude-b'),
  day: fc.nat({ max: 2 }), tokens: fc.array(fc.nat({ max: 5_000 }), { minLength: 5, maxLength: 5 }), rate: fc.constantFrom('usual' as const, 'usual' as const, 'unconfirmed' as const),
}).map(factOf);

function reportOf(facts: readonly SpendFact[], keys: readonly CostKey[]): CostReport {
  const report = new CostReport(keys);
  for (const fact of facts) report.add(fact);
  return report;
}

/** Reads CSV as a spreadsheet does. */
function parse(text: string): readonly Readonly<Record<string, string>>[] {
  const records = text.trimEnd().split('\n').map((line) => [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map((match) => match[1]?.replaceAll('""', '"') ?? match[2] ?? ''));
  const [head = [], ...rows] = records;
  return rows.map((row) => Object.fromEntries(head.map((name, place) => [name, row[place] ?? ''])));
}

/** Decimals of six places as integers, so that they are added exactly. */
const millionths = (text: string): number => Number(text.replace('.', ''));

describe('a cost report', () => {
  it('adds up to the same whatever it is grouped by', () => {
    fc.assert(fc.property(fc.array(anyFact, { maxLength: 40 }), fc.subarray([...costKeys], { minLength: 1 }), (facts, keys) => {
      const report = reportOf(facts, keys);
      const groups = costGroupDocuments(report);
      const sum = (of: (group: (typeof groups)[number]) => number): number => groups.reduce((total, group) => total + of(group), 0);
      expect(sum((group) => group.spent_micro_usd)).toBe(facts.reduce((total, fact) => total + fact.microUsd, 0));
      const total = costSumsDocument(report.total);
      for (const name of ['spent_usd', 'standard_usd', 'batch_saved_usd', 'cache_saved_usd', 'unconfirmed_usd'] as const) expect(sum((group) => millionths(group[name]))).toBe(millionths(total[name]));
      expect(sum((group) => group.rows)).toBe(2 * facts.length);
    }));
  });

  it('has the dearest first, and time in its own order', () => {
    const facts = [factOf({ topic: 'mails', day: 1 }), factOf({ topic: 'invoices', tokens: [9_000], day: 2 }), factOf({ topic: 'mails', day: 0 })];
    expect(reportOf(facts, ['topic']).groups().map((group) => group.names)).toEqual([['invoices'], ['mails']]);
    expect(reportOf(facts, ['day', 'topic']).groups().map((group) => group.names)).toEqual([['2026-11-30', 'mails'], ['2026-12-01', 'mails'], ['2027-01-01', 'invoices']]);
  });

  it('is CSV without a total, with fields quoted where they must be', () => {
    const csv = costReportCsv(reportOf([factOf({ client: 'a,"b"' }), factOf({ client: 'etl' })], ['client']));
    expect(csv.split('\n')[0]).toMatch(/^client,rows,/);
    expect(csv).toContain('\n"a,""b""",2,1,1,0,100,20,0,0,0.000100,0.000200,');
    expect(parse(csv).map((row) => row['client'])).toEqual(['a,"b"', 'etl']);
  });
});

describe('the FOCUS lines', () => {
  const linesOf = (facts: readonly SpendFact[]): ReturnType<typeof parse> => {
    const lines = new FocusLines();
    return parse(focusHead() + facts.map((fact) => lines.add(fact)).join('') + lines.end());
  };

  it('add up to what was spent and to the standard price, by any tag', () => {
    fc.assert(fc.property(fc.array(anyFact, { maxLength: 40 }), (facts) => {
      const sorted = facts.toSorted((a, b) => (a.run < b.run ? -1 : 1));
      const lines = linesOf(sorted);
      const sum = (rows: typeof lines, column: string): number => rows.reduce((total, row) => total + millionths(row[column] ?? ''), 0);
      expect(sum(lines, 'BilledCost')).toBe(facts.reduce((total, fact) => total + fact.microUsd, 0));
      expect(sum(lines, 'ListCost')).toBe(facts.reduce((total, fact) => total + fact.standardMicroUsd, 0));
      for (const run of ['a', 'a-b', 'b']) {
        const own = lines.filter((row) => (JSON.parse(row['Tags'] ?? '') as { run_key: string }).run_key === run);
        expect(sum(own, 'EffectiveCost')).toBe(facts.filter((fact) => fact.run === run).reduce((total, fact) => total + fact.microUsd, 0));
      }
    }));
  });

  it('have a line per token class whose quantity times price is its cost, but for the rounding of its rows', () => {
    const lines = linesOf([factOf({ tokens: [1_000, 300, 5_000, 700, 40] })]);
    expect(lines.map((line) => line['SkuId'])).toEqual(['input', 'output', 'cache_read', 'cache_write_5m', 'cache_write_1h'].map((name) => `claude-a/${name}`));
    for (const line of lines) {
      expect(Math.abs(Number(line['ContractedUnitPrice']) * Number(line['PricingQuantity']) - Number(line['ContractedCost']))).toBeLessThanOrEqual(0.000001);
      expect(Math.abs(Number(line['ListUnitPrice']) * Number(line['PricingQuantity']) - Number(line['ListCost']))).toBeLessThanOrEqual(0.000001);
    }
  });

  it('fill every column that FOCUS 1.2 calls mandatory and not nullable', () => {
    const mandatory = ['BilledCost', 'BillingAccountId', 'BillingCurrency', 'BillingPeriodEnd', 'BillingPeriodStart', 'ChargeCategory', 'ChargePeriodEnd', 'ChargePeriodStart', 'ContractedCost', 'EffectiveCost', 'InvoiceIssuerName', 'ListCost', 'ProviderName', 'PublisherName', 'ServiceCategory', 'ServiceName'];
    const nullable = ['BillingAccountName', 'ChargeClass', 'ChargeDescription', 'PricingQuantity', 'PricingUnit'];
    const [line = {}] = linesOf([factOf({ day: 0 })]);
    expect(mandatory.filter((name) => (line[name] ?? '') === '')).toEqual([]);
    expect(nullable.filter((name) => line[name] === undefined)).toEqual([]);
    expect(line).toMatchObject({ ChargePeriodStart: '2026-11-30T00:00:00Z', ChargePeriodEnd: '2026-12-01T00:00:00Z', BillingPeriodStart: '2026-11-01T00:00:00Z', BillingPeriodEnd: '2026-12-01T00:00:00Z', ConsumedUnit: 'Tokens' });
    expect(linesOf([factOf({ day: 1 })])[0]).toMatchObject({ BillingPeriodStart: '2026-12-01T00:00:00Z', BillingPeriodEnd: '2027-01-01T00:00:00Z' });
  });

  it('are written run by run: no run is held once the next one begins', () => {
    const lines = new FocusLines();
    expect(lines.add(factOf({ run: 'a' }))).toBe('');
    expect(lines.add(factOf({ run: 'b' }))).toContain('""run_key"":""a""');
    expect(lines.end()).not.toContain('""run_key"":""a""');
    expect(lines.end()).toBe('');
  });
});
