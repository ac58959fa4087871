/** The price table that is shipped, and what a table must be to be accepted. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { decodePriceTable, priceTable } from '../../config/models.ts';

const document = JSON.parse(readFileSync(new URL('../../config/models.json', import.meta.url), 'utf8')) as {
  models: { id: string; price_per_mtok: Record<string, number>; aliases: string[] }[];
};

test('prices are whole pico-USD per token, and a batch costs half of the standard price in every class', () => {
  for (const { standard, batch, longContext } of priceTable().models) {
    for (const [whole, half] of [[standard, batch], ...(longContext ? [[longContext.standard, longContext.batch]] : [])]) {
      expect(Object.values(whole ?? {}).every((rate) => Number.isSafeInteger(rate))).toBe(true);
      expect(half).toEqual(Object.fromEntries(Object.entries(whole ?? {}).map(([name, rate]) => [name, rate / 2])));
    }
  }
});

test('the version is the day of the table', () => {
  expect(priceTable().version).toBe('2026-11-21');
});

test('an alias finds the same entry as the full id', () => {
  const table = priceTable();
  expect(table.find('claude-haiku-4-5')).toBe(table.find('claude-haiku-4-5-20251001'));
  expect(table.find('claude-haiku-4-5')).toMatchObject({
    model: 'claude-haiku-4-5-20251001',
    batch: { input: 500_000, output: 2_500_000, cacheWrite5m: 625_000, cacheWrite1h: 1_000_000, cacheRead: 50_000 },
    contextTokensMax: 200_000,
    outputTokensMax: 64_000,
    status: 'active',
    tokenizer: 'previous',
  });
});

test('a model with a dearer long-context rate carries its step, others none', () => {
  const table = priceTable();
  expect(table.find('claude-haiku-5-5')?.longContext).toMatchObject({ thresholdTokens: 100_000, batch: { input: 250_000, output: 1_250_000 } });
  expect(table.find('claude-sonnet-5')?.longContext).toBeUndefined();
  expect(table.find('claude-sonnet-5')?.geoPermille).toBe(1100);
});

test('an unknown model is not found, and a mistyped one is led back to a model that can be used', () => {
  const table = priceTable();
  expect(table.find('claude-haiku-9')).toBeUndefined();
  expect(table.nearest('claude-hiaku-4-5')).toBe('claude-haiku-4-5');
  expect(table.nearest('claude-opus-4-2')).not.toBe('claude-opus-4-1');
  expect(table.nearest('gpt-4o')).toBeUndefined();
});

test('a price finer than a pico-USD per token is refused, because it would be rounded', () => {
  const broken = structuredClone(document);
  const first = broken.models[0];
  if (first) first.price_per_mtok['input'] = 0.000_000_5;
  expect(() => decodePriceTable(broken)).toThrow(/finer than a pico-USD/);
});

test('a name that stands for two models is refused', () => {
  const broken = structuredClone(document);
  broken.models[0]?.aliases.push(broken.models[1]?.id ?? '');
  expect(() => decodePriceTable(broken)).toThrow(/stands for two models/);
});

test('a table with a key that is not known is refused', () => {
  expect(() => decodePriceTable({ ...document, discount: 0.4 })).toThrow();
});
