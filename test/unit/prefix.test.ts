/** Shared beginnings: where they end, what the marker changes, and which prompts get one. Invariants F1 to F3. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { priceTable } from '../../config/models.ts';
import { Intake } from '../../producers/intake.ts';
import type { Verdict } from '../../producers/intake.ts';
import { Outliner, wholeLine } from '../../producers/outline.ts';
import { markerBytesMax, markPrefix, prefixCuts } from '../../producers/prefix.ts';
import { intakeRules } from '../../producers/settings.ts';
import { readText } from '../../producers/shapes.ts';
import { SharedPrefixes } from '../../producers/shared-prefixes.ts';
import { estimateParams } from '../../segments/estimate.ts';
import { defaults, settingsIn } from './producer-world.ts';

const marker = { type: 'ephemeral', ttl: '1h' };
const long = 'The harbour master wrote it down, "and the clerk" copied it\ninto the large book. '.repeat(60);
const opus = modelOf('claude-opus-5');

function modelOf(name: string) {
  const found = priceTable().find(name);
  if (!found) throw new Error(`${name} is not in the price table`);
  return found;
}

const request = (changes: Readonly<Record<string, unknown>>): Record<string, unknown> => ({ model: 'claude-opus-5', max_tokens: 64, messages: [{ role: 'user', content: 'Say hello.' }], ...changes });
const text = (value: string, more: Readonly<Record<string, unknown>> = {}) => ({ type: 'text', text: value, ...more });
const tool = (name: string, more: Readonly<Record<string, unknown>> = {}) => ({ name, description: long, input_schema: { type: 'object' }, ...more });
const bytesOf = (params: unknown, indent?: string): Buffer => Buffer.from(JSON.stringify(params, undefined, indent).replaceAll('\n', ''));
const cutsOf = (params: Record<string, unknown>, model = opus) => prefixCuts(bytesOf(params), params, model);

/** The request after the longest of its cuts was marked. */
function marked(params: Record<string, unknown>, bytes = bytesOf(params)): unknown {
  const [cut] = prefixCuts(bytes, params, opus);
  if (!cut) return undefined;
  const made = markPrefix(bytes, cut);
  expect(made.length - bytes.length).toBeLessThanOrEqual(markerBytesMax);
  return JSON.parse(made.toString('utf8'));
}

describe('the marker', () => {
  it.each<[string, Record<string, unknown>, Record<string, unknown>]>([
    ['a string of system, which becomes its one text block', request({ system: long }), request({ system: [text(long, { cache_control: marker })] })],
    ['the last block of system', request({ system: [text('a'), text(long)] }), request({ system: [text('a'), text(long, { cache_control: marker })] })],
    ['system and not the tools before it', request({ tools: [tool('a')], system: long }), request({ tools: [tool('a')], system: [text(long, { cache_control: marker })] })],
    ['the last tool where there is no system', request({ tools: [tool('a'), tool('b')] }), request({ tools: [tool('a'), tool('b', { cache_control: marker })] })],
    ['the last tool where system is empty', request({ tools: [tool('a')], system: '' }), request({ tools: [tool('a', { cache_control: marker })], system: '' })],
    [
      'the first block of the first message, where others follow it',
      request({ messages: [{ role: 'user', content: [text(long), text('What of it?')] }, { role: 'assistant', content: 'No.' }, { role: 'user', content: [text('Why?')] }] }),
      request({ messages: [{ role: 'user', content: [text(long, { cache_control: marker }), text('What of it?')] }, { role: 'assistant', content: 'No.' }, { role: 'user', content: [text('Why?')] }] }),
    ],
  ])('stands on %s, and nothing else is changed', (_, params, expected) => {
    expect(marked(params)).toEqual(expected);
    expect(marked(params, bytesOf(params, ' '))).toEqual(expected);
    const backwards = Object.fromEntries(Object.entries(params).reverse());
    expect(marked(backwards)).toEqual(expected);
  });

  it.each<[string, Record<string, unknown>]>([
    ['a system prompt below the minimum of the model', request({ system: 'You are a clerk.' })],
    ['a prefix below the minimum before a long question', request({ system: 'You are a clerk.', messages: [{ role: 'user', content: long }] })],
    ['a long text inside of the one string of a message', request({ messages: [{ role: 'user', content: long }] })],
    ['the only block of a message', request({ messages: [{ role: 'user', content: [text(long)] }] })],
    ['an empty text at the end of system', request({ system: [text(long), text('')] })],
    ['a marker that is null', request({ system: [text(long, { cache_control: null })] })],
    ['a tool that is loaded later', request({ tools: [tool('a', { defer_loading: true })] })],
    ['a file', request({ messages: [{ role: 'user', content: [{ type: 'document', source: { type: 'url', url: 'https://example.com/a.pdf' } }, text(long)] }] })],
  ])('stands nowhere with %s', (_, params) => expect(cutsOf(params)).toEqual([]));

  it('stands nowhere for a model that caches nothing, and for a prefix that is too short for the model', () => {
    const params = request({ system: long });
    expect(cutsOf(params, { ...opus, cacheTokensMin: undefined })).toEqual([]);
    const [cut] = cutsOf(params);
    expect(cutsOf(params, { ...opus, cacheTokensMin: cut?.tokensExpected })).toHaveLength(1);
    expect(cutsOf(params, { ...opus, cacheTokensMin: (cut?.tokensExpected ?? 0) + 1 })).toEqual([]);
  });

  it('leaves a request that is read as the same one, whatever stands in it', () => {
    const part = fc.string({ unit: 'grapheme', maxLength: 40 });
    fc.assert(fc.property(part, part, fc.boolean(), (head, question, isList) => {
      const system = isList ? [text(head || 'x'), text(`${long}${head}`)] : `${head}${long}`;
      const params = request({ system, metadata: { user_id: question }, messages: [{ role: 'user', content: question || 'x' }] });
      const blocks = typeof system === 'string' ? [text(system)] : system;
      expect(marked(params)).toEqual({ ...params, system: blocks.map((block, at) => (at === blocks.length - 1 ? { ...block, cache_control: marker } : block)) });
    }));
  });

  it('is found alike in a line and in its outline', () => {
    const params = request({ tools: [tool('a')], system: [text(long), text(`${long}.`)], messages: [{ role: 'user', content: [text(`${long}!`), text('Why?')] }] });
    const line = Buffer.from(JSON.stringify({ id: 'a', params }));
    const outline = new Outliner().outline(line);
    const found = [wholeLine(line), ...(outline ? [outline] : [])].map((each) => {
      const shape = readText(each, defaults);
      if ('fault' in shape) throw new Error(shape.fault.code);
      return prefixCuts(shape.value.params, shape.value.parsed, opus);
    });
    expect(found[0]).toHaveLength(2);
    expect(found[1]).toEqual(found[0]);
  });
});

describe('the digest of a prefix', () => {
  const digests = (params: Record<string, unknown>) => cutsOf(params).map((cut) => cut.digest);

  it('is the same for other questions and other values beside it, and another for other models, tools, systems and first blocks', () => {
    const base = { system: long, tools: [tool('a')], messages: [{ role: 'user', content: [text(long), text('Why?')] }] };
    const [first, system] = digests(request(base));
    expect(digests(request({ ...base, max_tokens: 900, messages: [{ role: 'user', content: [text(long), text('How?')] }] }))).toEqual([first, system]);
    expect(digests(request({ ...base, messages: [{ role: 'user', content: [text(`${long} `), text('Why?')] }] }))[1]).toBe(system);
    const others = [request({ ...base, model: 'claude-opus-5-5' }), request({ ...base, tools: [tool('b')] }), request({ ...base, system: `${long} ` })].map((params) => prefixCuts(bytesOf(params), params, modelOf(String(params['model']))).map((cut) => cut.digest));
    const all = [[first, system], ...others].flat();
    expect(new Set(all).size).toBe(8);
  });

  it('tells a text in system from the same text in the tools', () => {
    const block = [text(long)];
    expect(digests(request({ system: block }))[0]).not.toBe(digests(request({ tools: block.map((each) => ({ ...each, name: 'a' })) }))[0]);
  });
});

describe('prompts that share a prefix', () => {
  const cut = (digest: string) => ({ digest, tokensExpected: 5_000, mark: { kind: 'block' as const, at: 0 } });

  it('are marked after the first ones, at the longest that came often enough', () => {
    const prefixes = new SharedPrefixes(2);
    const notes = [['a1', 'a'], ['a2', 'a'], ['a3', 'a'], ['a3', 'a'], ['a3', 'a'], ['b']].map((digests) => prefixes.note(digests.map(cut))?.digest);
    expect(notes).toEqual([undefined, undefined, 'a', 'a', 'a3', undefined]);
  });

  it('are counted anew in every section (F1)', () => {
    const prefixes = new SharedPrefixes(1);
    const once = () => [prefixes.note([cut('a')])?.digest, prefixes.note([cut('a')])?.digest];
    expect(once()).toEqual([undefined, 'a']);
    prefixes.beginSection();
    expect(once()).toEqual([undefined, 'a']);
  });

  it('are found among any number of others, as long as they keep coming (F2)', () => {
    const prefixes = new SharedPrefixes(3);
    for (let at = 0; at < 200_000; at += 1) {
      prefixes.note([cut(`once-${at}`)]);
      if (at % 10_000 === 0) prefixes.note([cut('often')]);
    }
    expect(prefixes.note([cut('often')])?.digest).toBe('often');
    expect(prefixes.note([cut('once-1')])).toBeUndefined();
  });

  it('have a lane of their own while there are not too many (F3)', () => {
    const prefixes = new SharedPrefixes(1);
    const lanes = Array.from({ length: 80 }, (_, at) => prefixes.hasLane('docs.8k.normal', 'etl', `digest-${at}`));
    expect(lanes.filter(Boolean)).toHaveLength(64);
    expect(prefixes.hasLane('docs.8k.normal', 'etl', 'digest-0')).toBe(true);
    expect(prefixes.hasLane('docs.8k.high', 'etl', 'digest-0')).toBe(false);
  });
});

describe('an intake', () => {
  const open = (cache: { topics: readonly string[]; after: number; isPriming: boolean } | undefined, lineBytesMax = 32_000_000) => new Intake('in.jsonl', { ...intakeRules(settingsIn('/nowhere')), cache, lineBytesMax });
  const judge = (intake: Intake, row: number, params: unknown, extra: Readonly<Record<string, unknown>> = {}): Verdict & { kind: 'prompt' } => {
    const bytes = Buffer.from(JSON.stringify({ id: `doc-${row}`, ...extra, params }));
    const verdict = intake.judge({ row, byteOffset: 0, bytes, sizeBytes: bytes.length });
    if (verdict.kind !== 'prompt') throw new Error(verdict.fault.code);
    return verdict;
  };
  const ask = (question: string, more: Readonly<Record<string, unknown>> = {}) => request({ system: long, messages: [{ role: 'user', content: question }], ...more });

  it('marks from the prompt after the first ones on, and reserves each marked one as if it wrote the cache', () => {
    const intake = open({ topics: ['*'], after: 2, isPriming: true });
    const verdicts = [1, 2, 3, 4].map((row) => judge(intake, row, ask(`question ${row}`)));
    expect(verdicts.map(({ prompt }) => prompt.params.toString().includes('cache_control'))).toEqual([false, false, true, true]);
    expect(verdicts.map(({ prompt }) => prompt.prefix !== undefined)).toEqual([false, false, true, true]);
    const [plain, , third] = verdicts;
    expect(third?.segment).toBe(plain?.segment);
    expect(third?.prompt.estimate.inputTokensMax).toBe(plain?.prompt.estimate.inputTokensMax);
    // What the estimator says of the very bytes that are sent differs by the length of the marker alone.
    const json = Buffer.from(third?.prompt.params ?? '');
    const anew = estimateParams({ json, params: JSON.parse(json.toString('utf8')) as Record<string, unknown>, outputTokensMax: 64, hasEscapes: false }, opus);
    if (anew.kind !== 'estimated') throw new Error(anew.what);
    expect(anew.mayWriteCache).toBe(true);
    expect(anew.estimate.microUsdMax - (third?.prompt.estimate.microUsdMax ?? 0)).toBeLessThanOrEqual(Math.ceil((markerBytesMax * opus.batch.cacheWrite1h) / 1e6));
    expect(third?.prompt.estimate.microUsdMax).toBeGreaterThan((plain?.prompt.estimate.microUsdMax ?? 0) * 1.9);
  });

  it('leaves a prompt alone that has a marker of its own, is of another topic, or would become too long', () => {
    const own = ask('why?', { tools: [tool('a', { cache_control: { type: 'ephemeral' } })] });
    const cases: readonly [Intake, unknown][] = [
      [open({ topics: ['*'], after: 1, isPriming: true }), own],
      [open({ topics: ['invoices'], after: 1, isPriming: true }), ask('why?')],
      [open({ topics: ['*'], after: 1, isPriming: true }, bytesOf(ask('why?')).length + markerBytesMax - 1), ask('why?')],
      [open(undefined), ask('why?')],
    ];
    for (const [intake, params] of cases) {
      const verdicts = [1, 2, 3].map((row) => judge(intake, row, params));
      expect(verdicts.map(({ prompt }) => Buffer.from(prompt.params).equals(bytesOf(params)))).toEqual([true, true, true]);
      expect(verdicts.map(({ markedTokens }) => markedTokens)).toEqual([0, 0, 0]);
    }
  });

  it('counts accepted prompts only', () => {
    const intake = open({ topics: ['*'], after: 1, isPriming: true });
    judge(intake, 1, ask('why?'));
    const repeated = Buffer.from(JSON.stringify({ id: 'doc-1', params: ask('why?', { system: `${long}.` }) }));
    expect(intake.judge({ row: 2, byteOffset: 0, bytes: repeated, sizeBytes: repeated.length }).kind).toBe('rejected');
    expect(judge(intake, 3, ask('why?', { system: `${long}.` })).markedTokens).toBe(0);
    expect(judge(intake, 4, ask('why?')).markedTokens).toBeGreaterThan(0);
  });
});
