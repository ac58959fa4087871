import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../config/fault.ts';
import { editDistance, suggest } from '../../config/suggest.ts';
import { settings } from '../../config/tree.ts';
import { errorOf, faultsOf, load, places } from './config-world.ts';

describe('faults', () => {
  const yaml = [
    'pol: {}', 'poll:', '  mxa: 5m', '  min: ten', 'chunk: 12', 'rowsMax: 3', 'contexts:', '  - { name: 8k, tokensMax: 8000 }',
    '  - { name: 9k, tokensMax: 7000, tokenMax: 1 }', 'defaults:', '  model:',
  ].join('\n');
  const env = { PLIMSOLL_POL__MIN: '1s', PLIMSOLL_REDIS__URL: 'x', PLIMSOLL_REDIS_URL: 'x', PLIMSOLL_DEFAULTS__PRIORITY: 'hihg', PLIMSOLL_SUBMIT__LEASE: '1s' };
  const flags = [{ name: '--max-tokens', path: 'defaults.maxTokens', value: 0 }];

  test('are reported all at once, each with its place', () => {
    expect(places({ yaml, env, flags })).toEqual([
      'plimsoll.yaml:1:1 pol',
      'plimsoll.yaml:3:3 poll.mxa',
      'plimsoll.yaml:4:8 poll.min',
      'plimsoll.yaml:5:8 chunk',
      'plimsoll.yaml:6:1 rowsMax',
      'plimsoll.yaml:9:28 contexts.1.tokensMax',
      'plimsoll.yaml:9:44 contexts.1.tokenMax',
      'plimsoll.yaml:11:3 defaults.model',
      'PLIMSOLL_DEFAULTS__PRIORITY defaults.priority',
      'PLIMSOLL_POL__MIN ',
      'PLIMSOLL_REDIS__URL ',
      'PLIMSOLL_REDIS_URL ',
      'PLIMSOLL_SUBMIT__LEASE submit.lease',
      '--max-tokens defaults.maxTokens',
    ]);
  });

  test('say what was probably meant', () => {
    const meant = new Map(faultsOf({ yaml, env, flags }).map(({ origin, suggestion }) => [origin, suggestion]));
    expect(meant.get('plimsoll.yaml:1:1')).toBe('poll');
    expect(meant.get('plimsoll.yaml:3:3')).toBe('poll.max');
    expect(meant.get('plimsoll.yaml:6:1')).toBe('chunk.rowsMax');
    expect(meant.get('plimsoll.yaml:9:44')).toBe('tokensMax');
    expect(meant.get('PLIMSOLL_DEFAULTS__PRIORITY')).toBe('high');
    expect(meant.get('PLIMSOLL_POL__MIN')).toBe('PLIMSOLL_POLL__MIN');
    expect(meant.get('PLIMSOLL_REDIS__URL')).toBe('REDIS_URL');
    expect(meant.get('PLIMSOLL_REDIS_URL')).toBe('REDIS_URL');
  });

  test('carry the value and what would be allowed', () => {
    expect(faultsOf({ env: { PLIMSOLL_POLL__MIN: '5 minutes' } })).toEqual([
      {
        path: 'poll.min',
        origin: 'PLIMSOLL_POLL__MIN',
        value: '"5 minutes"',
        allowed: 'a duration such as 200ms, 10s, 5m, 24h or 1d, from 20ms to 1d',
        message: 'poll.min is "5 minutes"; it must be a duration such as 200ms, 10s, 5m, 24h or 1d, from 20ms to 1d.',
        suggestion: undefined,
      },
    ]);
  });

  test('make one error whose message lists them', () => {
    const error = errorOf(() => load({ yaml: 'pol: 1\nsubmti: 2' }));
    expect([error.code, error.exit]).toEqual(['config_invalid', 2]);
    expect(error.message.split('\n')).toEqual([
      'The configuration has 2 faults:',
      '  plimsoll.yaml:1:1: pol is not a setting. Did you mean poll?',
      '  plimsoll.yaml:2:1: submti is not a setting. Did you mean submit?',
    ]);
  });

  test('of a line that a variable overrides are reported all the same', () => {
    expect(places({ yaml: 'poll: {min: ten}', env: { PLIMSOLL_POLL__MIN: '1s' } })).toEqual(['plimsoll.yaml:1:13 poll.min']);
  });

  test.each([
    ['poll:\n\tmin: 1s', 'plimsoll.yaml:2:1', 'tabs'],
    ['poll: {min: 1s}\npoll: {max: 2s}', 'plimsoll.yaml:2:1', 'twice'],
    ['home: a\n---\nhome: b', 'plimsoll.yaml:2:1', 'second YAML document'],
    ['home: !secret x', 'plimsoll.yaml:1:7', 'tags'],
    ['home: "x', 'plimsoll.yaml:1:9', 'quote'],
    ['- home', 'plimsoll.yaml:1:1', 'must be a map'],
    ['contexts: &a [1]\nbudgets: *a', 'plimsoll.yaml:2:10', 'alias'],
    [`budgets:\n  a: ${'{"a":'.repeat(20_000)}`, 'plimsoll.yaml:2', 'nested deeper'],
    [`budgets:\n  ${'- '.repeat(20_000)}`, 'plimsoll.yaml:2', 'nested deeper'],
    [`${' '.repeat(5_000)}budgets: {}`, 'plimsoll.yaml:1', 'nested deeper'],
    ['budgets: {__proto__: {usd: 1}}', 'plimsoll.yaml:1:11', '__proto__'],
    ['__proto__: {home: x}', 'plimsoll.yaml:1:1', 'not a setting'],
    ['contexts: [[[[[[[[[[1]]]]]]]]]]', 'plimsoll.yaml:1:20', 'deeper'],
  ])('of YAML itself have a place: %j', (text, origin, words) => {
    const fault = faultsOf({ yaml: text }).find((candidate) => candidate.origin === origin);
    expect(fault?.message).toContain(words);
  });

  test.each(['', '# nothing', 'poll:', 'budgets:', 'contexts: ~'])('are not seen in a file that sets nothing: %j', (text) => {
    expect(load({ yaml: text }).poll.minMs).toBe(10_000);
  });

  test('of a hundred wrong lines are a hundred', () => {
    const many = Array.from({ length: 100 }, (_, index) => `x${index}: 1`).join('\n');
    expect(faultsOf({ yaml: many })).toHaveLength(100);
  });

  test('a flag for a setting that does not exist is a programmer\'s mistake', () => {
    expect(() => load({ flags: [{ name: '--x', path: 'no.such', value: 1 }] })).toThrow('invariant broken');
  });

  test('any text in place of a settings file gives a configuration or faults, never another error', () => {
    const word = fc.constantFrom(...settings.keys(), 'poll', 'budgets', 'all', 'usd', ':', '{', '}', '[', ']', '\n', '  ', '- ', '&a', '*a', '10s', '"', '!', '#');
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.array(word, { maxLength: 30 }).map((words) => words.join(''))), (text) => {
        try {
          load({ yaml: text });
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      }),
      { seed: 7, numRuns: 500 },
    );
  });
});

describe('relations', () => {
  test.each([
    ['poll: {min: 6m}', 'poll.min', 'plimsoll.yaml:1:13'],
    ['poll: {max: 5s}', 'poll.max', 'plimsoll.yaml:1:13'],
    ['chunk: {bytesMax: 2MB}\narchive: {bytesMax: 2MB}', 'chunk.bytesMax', 'plimsoll.yaml:1:19'],
    ['chunk: {rowsMax: 11}\narchive: {rowsMax: 10}', 'chunk.rowsMax', 'plimsoll.yaml:1:18'],
    ['chunk: {openBytesMax: 1MB}', 'chunk.openBytesMax', 'plimsoll.yaml:1:23'],
    ['sweep: {lease: 2s}', 'sweep.lease', 'plimsoll.yaml:1:16'],
    ['sweep: {interval: 10s}', 'sweep.interval', 'plimsoll.yaml:1:19'],
    ['input: {lineBytesMax: 20MB}\narchive: {bytesMax: 20MB}', 'input.lineBytesMax', 'plimsoll.yaml:1:23'],
    ['contexts: [{name: a, tokensMax: 9}, {name: b, tokensMax: 9}]', 'contexts.1.tokensMax', 'plimsoll.yaml:1:58'],
    ['contexts: [{name: a, tokensMax: 9}, {name: a, tokensMax: 10}]', 'contexts.1.name', 'plimsoll.yaml:1:44'],
    ['budgets: {"segment:a.9k.high": {usd: 1}}', 'budgets.segment:a.9k.high', 'plimsoll.yaml:1:32'],
  ])('that do not hold are faults: %s', (yaml, path, origin) => {
    expect(places({ yaml })).toEqual([`${origin} ${path}`]);
  });

  test.each([
    ['archive: {bytesMax: 256000001}', 'archive.bytesMax'],
    ['archive: {rowsMax: 100001}', 'archive.rowsMax'],
    ['submit: {lease: 2999ms}', 'submit.lease'],
    ['input: {lineBytesMax: 32000001}', 'input.lineBytesMax'],
    ['contexts: []', 'contexts'],
  ])('to the limits that do not hold are faults: %s', (yaml, path) => {
    expect(faultsOf({ yaml }).map((fault) => fault.path)).toEqual([path]);
    expect(faultsOf({ yaml }).map((fault) => fault.path)).not.toContain('');
  });

  test('name both values and where they came from', () => {
    expect(faultsOf({ yaml: 'poll: {min: 6m}', env: { PLIMSOLL_POLL__MAX: '90s' } })[0]?.message).toBe(
      'poll.min (6m, plimsoll.yaml:1:13) must not be longer than poll.max (90s, PLIMSOLL_POLL__MAX). The wait between polls grows from the one to the other.',
    );
  });

  test('of a setting that is wrong by itself are not reported on top', () => {
    expect(places({ yaml: 'poll: {min: 6m, max: soon}' })).toEqual(['plimsoll.yaml:1:22 poll.max']);
    expect(places({ yaml: 'contexts: [{name: a, tokensMax: 0}]\nbudgets: {"segment:a.8k.high": {usd: 1}}' })).toEqual(['plimsoll.yaml:1:33 contexts.0.tokensMax']);
  });

  test('between a default and a smaller archive hold by themselves: a line is at most what fits', () => {
    const { input, archive } = load({ yaml: 'chunk: {bytesMax: 1MB}\narchive: {bytesMax: 2MB}' });
    expect(input.lineBytesMax).toBeLessThan(archive.bytesMax);
    expect(load({ yaml: `input: {lineBytesMax: ${input.lineBytesMax}}\nchunk: {bytesMax: 1MB}\narchive: {bytesMax: 2MB}` }).input).toEqual(input);
    expect(faultsOf({ yaml: `input: {lineBytesMax: ${input.lineBytesMax + 1}}\nchunk: {bytesMax: 1MB}\narchive: {bytesMax: 2MB}` })).toHaveLength(1);
  });
});

describe('did you mean', () => {
  test.each([
    ['', '', 0], ['a', '', 1], ['', 'ab', 2], ['kitten', 'sitting', 3], ['ab', 'ba', 1], ['hihg', 'high', 1],
  ])('from %j to %j it is %i mistakes', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
  });

  test.each([
    ['prioriy', ['priority', 'model'], 'priority'],
    ['max-tokens', ['max_tokens', 'model'], 'max_tokens'],
    ['MAXTOKENS', ['maxTokens'], 'maxTokens'],
    ['zzz', ['priority', 'model'], undefined],
    ['aa', ['ab', 'ac'], 'ab'],
    ['x'.repeat(100), ['x'.repeat(100)], undefined],
    ['short', ['s'.repeat(100)], undefined],
  ])('%j among %j is %j', (word, candidates, meant) => {
    expect(suggest(word, candidates)).toBe(meant);
  });
});
