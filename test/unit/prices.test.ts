/** Prices of one's own over the shipped table. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { priceTable } from '../../config/models.ts';
import { pricesInForce } from '../../config/prices.ts';
import { judgePrices } from '../../cli/fitness.ts';

interface Table {
  as_of: string;
  models: { id: string; aliases: string[]; price_per_mtok: Record<string, number>; batch_price_per_mtok: Record<string, number> }[];
}
const shipped = (): Table => JSON.parse(readFileSync(new URL('../../config/models.json', import.meta.url), 'utf8')) as Table;
const folder = mkdtempSync(join(tmpdir(), 'plimsoll-prices-'));
let files = 0;
const fileOf = (text: string): string => {
  files += 1;
  const path = join(folder, `${files}.json`);
  writeFileSync(path, text);
  return path;
};
/** A table of one shipped model, changed. */
const tableOf = (change: (model: Table['models'][number]) => void): string => {
  const table = shipped();
  const model = table.models.find((each) => each.aliases.includes('claude-haiku-4-5'));
  if (!model) throw new Error('the shipped table has no claude-haiku-4-5');
  change(model);
  return JSON.stringify({ ...table, as_of: '2027-01-05', models: [model] });
};

test('without a file are the shipped ones', () => {
  expect(pricesInForce(undefined)).toBe(priceTable());
});

test('replace those of the same model and leave the others; the version names both days and the content', () => {
  const prices = pricesInForce(fileOf(tableOf((model) => (model.batch_price_per_mtok['input'] = 0.25))));
  expect(prices.find('claude-haiku-4-5')?.batch.input).toBe(250_000);
  expect(prices.find('claude-haiku-4-5')).toBe(prices.find('claude-haiku-4-5-20251001'));
  expect(prices.find('claude-sonnet-5')).toEqual(priceTable().find('claude-sonnet-5'));
  expect(prices.models).toHaveLength(priceTable().models.length);
  expect(prices.version).toMatch(/^2026-11-21\+2027-01-05\.[0-9a-f]{8}$/);
  expect(pricesInForce(fileOf(tableOf((model) => (model.batch_price_per_mtok['input'] = 0.2)))).version).not.toBe(prices.version);
  expect(judgePrices(prices, Date.parse('2027-01-06')).detail).toContain('1 days old');
});

test('add a model that this release does not know', () => {
  const prices = pricesInForce(fileOf(tableOf((model) => {
    model.id = 'claude-haiku-9';
    model.aliases = ['claude-haiku-4-5'];
  })));
  expect(prices.find('claude-haiku-9')?.model).toBe('claude-haiku-9');
  // The name goes to the newer owner, and the shipped model keeps its full id.
  expect(prices.find('claude-haiku-4-5')?.model).toBe('claude-haiku-9');
  expect(prices.find('claude-haiku-4-5-20251001')?.model).toBe('claude-haiku-4-5-20251001');
});

test.each([
  ['no JSON', '{', /it is not JSON/],
  ['no table', '{"models":[]}', /schema_version/],
  ['a price finer than the books', tableOf((model) => (model.price_per_mtok['input'] = 0.000_000_5)), /finer than a pico-USD/],
])('that are %s are refused with their place and what to do', (_what, text, says) => {
  const path = fileOf(text);
  expect(() => pricesInForce(path)).toThrow(expect.objectContaining({ code: 'config_invalid', where: path, message: expect.stringMatching(says) as string }));
});

test('in a file that is not there are refused with its path', () => {
  expect(() => pricesInForce(join(folder, 'none.json'))).toThrow(expect.objectContaining({ code: 'config_invalid', where: join(folder, 'none.json') }));
});
