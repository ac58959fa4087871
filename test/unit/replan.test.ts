/** What would become of held rows: bounds that stay bounds, samples that are the same every time, params changed byte by byte. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { priceTable } from '../../config/models.ts';
import type { ChunkRow } from '../../segments/chunk.ts';
import { estimateParams } from '../../segments/estimate.ts';
import { editParams } from '../../segments/params-edit.ts';
import type { ReplanOption } from '../../segments/replan-document.ts';
import { PlannedRows, sampleSize, samplingOrder, termsUnder, turnaroundMax } from '../../segments/replan.ts';

const find = (name: string) => priceTable().find(name);
const model = (name: string) => {
  const found = find(name);
  if (!found) throw new Error(`${name} is not in the price table`);
  return found;
};

/** The index line of a request as the producer would write it. */
function rowOf(params: Record<string, unknown>, id = 'doc'): ChunkRow {
  const json = Buffer.from(JSON.stringify(params));
  const found = estimateParams({ json, params, outputTokensMax: Number(params['max_tokens']), hasEscapes: false }, model(String(params['model'])));
  if (found.kind !== 'estimated') throw new Error(found.what);
  const { estimate } = found;
  return { id, row: 1, at: 0, bytes: json.length, sha: '', model: String(params['model']), expect: estimate.inputTokensExpected, in: estimate.inputTokensMax, out: estimate.outputTokensMax, usd: estimate.microUsdMax };
}

const request = (name: string, maxTokens: number, more: Record<string, unknown> = {}) => ({ model: name, max_tokens: maxTokens, messages: [{ role: 'user', content: 'x'.repeat(3_000) }], ...more });

describe('the terms of a row', () => {
  it.each<[string, Record<string, unknown>, ReplanOption]>([
    ['a cheaper model', request('claude-sonnet-4-5', 500), { model: 'claude-haiku-4-5' }],
    ['fewer output tokens', request('claude-sonnet-4-5', 500), { maxTokens: 64 }],
    ['both, where the request marks the cache', request('claude-sonnet-4-5', 500, { cache_control: { type: 'ephemeral' } }), { model: 'claude-haiku-4-5', maxTokens: 64 }],
  ])('under %s are at least what the producer would reserve for the changed request, and close to it (V1)', (_name, params, option) => {
    const terms = termsUnder(rowOf(params), option, find);
    const anew = rowOf({ ...params, ...(option.model === undefined ? {} : { model: option.model }), ...(option.maxTokens === undefined ? {} : { max_tokens: option.maxTokens }) });
    expect(terms.out).toBe(anew.out);
    expect(terms.in).toBeGreaterThanOrEqual(anew.in - 8);
    expect(terms.usd / anew.usd).toBeGreaterThan(0.99);
    expect(terms.usd / anew.usd).toBeLessThan(1.02);
  });

  it('stay as they are where nothing changes: a smaller max_tokens of its own is kept', () => {
    const row = rowOf(request('claude-haiku-4-5', 64));
    expect(termsUnder(row, { maxTokens: 100 }, find)).toBe(row);
    expect(termsUnder(row, { model: 'claude-haiku-4-5' }, find)).toBe(row);
  });

  it('take the window of the new model where the bound was the window of the old one', () => {
    const file = { model: 'claude-haiku-4-5', max_tokens: 64, messages: [{ role: 'user', content: [{ type: 'document', source: { type: 'url', url: 'https://example.com/a.pdf' } }] }] };
    const wide = priceTable().models.find((each) => each.status === 'active' && each.contextTokensMax > model('claude-haiku-4-5').contextTokensMax);
    if (!wide) throw new Error('no model has a wider window');
    expect(termsUnder(rowOf(file), { model: wide.model }, find).in).toBe(wide.contextTokensMax);
  });
});

describe('a sample', () => {
  const rows = (count: number) => Array.from({ length: count }, (_, index) => ({ id: `doc-${index}`, bytes: 100 + ((index * 7_919) % 10_007) }));

  it('takes its share of every size, give or take a row', () => {
    const all = rows(1_000);
    const bySize = [...all].sort((a, b) => a.bytes - b.bytes).map(({ id }) => id);
    const taken = [...samplingOrder(all).subarray(0, 100)].map((place) => bySize.indexOf(all[place]?.id ?? ''));
    for (let stratum = 0; stratum < 10; stratum += 1) {
      const own = taken.filter((place) => Math.floor(place / 100) === stratum).length;
      expect(Math.abs(own - 10), `stratum ${stratum}`).toBeLessThanOrEqual(1);
    }
  });

  it('is the same rows whatever order they come in, and part of every larger one (V2)', () => {
    fc.assert(fc.property(fc.uniqueArray(fc.tuple(fc.string({ minLength: 1, maxLength: 8 }), fc.integer({ min: 1, max: 50 })), { selector: ([id]) => id, minLength: 1, maxLength: 40 }), fc.nat(40), (pairs, size) => {
      const all = pairs.map(([id, bytes]) => ({ id, bytes }));
      const turned = [...all].reverse();
      const ids = (of: typeof all): string[] => [...samplingOrder(of).subarray(0, size)].map((place) => of[place]?.id ?? '');
      expect(new Set(ids(turned))).toEqual(new Set(ids(all)));
      const order = samplingOrder(all);
      expect([...order].sort((a, b) => a - b)).toEqual(all.map((_, index) => index));
    }), { seed: 11, numRuns: 200 });
  });

  it('is given in rows or percent, and never larger than what is held', () => {
    expect([sampleSize(undefined, 7), sampleSize({ rows: 3 }, 7), sampleSize({ rows: 30 }, 7), sampleSize({ percent: 50 }, 7), sampleSize({ rows: 0 }, 7)]).toEqual([7, 3, 7, 4, 0]);
  });
});

it('sums and the rows that fit agree with the rows one by one', () => {
  const rows = [100, 900, 300].map((length, index) => rowOf({ model: 'claude-haiku-4-5', max_tokens: 10, messages: [{ role: 'user', content: 'y'.repeat(length) }] }, `doc-${index}`));
  const planned = new PlannedRows(rows, {}, find, 500);
  const usd = rows.map((row) => row.usd);
  expect(planned.sums()).toMatchObject({ rows: 3, notSampled: 0, microUsdMax: usd.reduce((a, b) => a + b, 0), tokensMax: rows.reduce((sum, row) => sum + row.in + row.out, 0) });
  expect(planned.sums([2, 0])).toMatchObject({ rows: 2, notSampled: 1, microUsdMax: (usd[2] ?? 0) + (usd[0] ?? 0) });
  expect(planned.leading({ tokens: Infinity, microUsd: usd[0] ?? 0 })).toBe(1);
  expect(planned.leading({ tokens: Infinity, microUsd: (usd[2] ?? 0) + (usd[0] ?? 0) }, [2, 0, 1])).toBe(2);
});

it('a turnaround is bounded by what was seen, and by nothing made up', () => {
  expect([turnaroundMax([]), turnaroundMax([1_000]), turnaroundMax([1_000, 500, 700, 100]), turnaroundMax([86_000_000])]).toEqual([undefined, 3_000, 1_500, 86_400_000]);
});

describe('editParams', () => {
  /** The byte after params is a newline, as in a spool object. */
  const edited = (text: string, edit: Parameters<typeof editParams>[1]): string => {
    const bytes = Buffer.from(`${text}\n`);
    return editParams(bytes.subarray(0, -1), edit).toString('utf8');
  };

  it('replaces the two values at the top and leaves every other byte', () => {
    const text = '{ "messages":[{"role":"user","content":"\\"model\\":\\"x\\" 東京 \\u00e9"}] , "max_tokens" : 1e2,"tools":[{"model":"inner","max_tokens":7}],"mod\\u0065l":"claude-a" }';
    expect(edited(text, { model: 'claude-b', maxTokens: 64 })).toBe('{ "messages":[{"role":"user","content":"\\"model\\":\\"x\\" 東京 \\u00e9"}] , "max_tokens" : 64,"tools":[{"model":"inner","max_tokens":7}],"mod\\u0065l":"claude-b" }');
    expect(edited(text, { maxTokens: 5 })).toBe(text.replace('1e2', '5'));
    expect(edited(text, {})).toBe(text);
  });

  it('means the same request but for what was replaced, whatever stands in it', () => {
    fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), (more, name) => {
      const { ['__proto__']: _proto, ...rest } = more;
      const params = { ...rest, model: 'claude-a', max_tokens: 10 };
      const text = JSON.stringify(params);
      expect(JSON.parse(edited(text, { model: name, maxTokens: 3 }))).toEqual({ ...(JSON.parse(text) as object), model: name, max_tokens: 3 });
    }), { seed: 5, numRuns: 300 });
  });

  it('stops at params that lack what is replaced', () => {
    expect(() => edited('{"model":"a"}', { maxTokens: 3 })).toThrow('invariant broken');
  });
});
