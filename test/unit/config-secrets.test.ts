import { describe, expect, test } from 'vitest';
import { settings } from '../../config/tree.ts';
import { errorOf, faultsOf, load } from './config-world.ts';

describe('secrets', () => {
  const key = 'sk-ant-api03-0123456789abcdef';

  test('come from the environment or from a file that a variable names', () => {
    expect(load({ env: { ANTHROPIC_API_KEY: key } }).anthropic.apiKey).toBe(key);
    const fromFile = load({ env: { ANTHROPIC_API_KEY_FILE: 'key.txt', REDIS_URL_FILE: '/run/redis' }, files: { '/job/key.txt': `${key}\n`, '/run/redis': 'redis://:pw@host:1' } });
    expect([fromFile.anthropic.apiKey, fromFile.origins.get('anthropic.apiKey')]).toEqual([key, 'ANTHROPIC_API_KEY_FILE']);
    expect(fromFile.redis.url).toBe('redis://:pw@host:1');
  });

  test('from both at once, or from a file that is not there, are a fault', () => {
    const env = { ANTHROPIC_API_KEY: key, ANTHROPIC_API_KEY_FILE: 'key.txt', ANTHROPIC_AUTH_TOKEN_FILE: 'gone.txt' };
    expect(faultsOf({ env, files: { '/job/key.txt': key } }).map(({ message }) => message)).toEqual([
      'ANTHROPIC_API_KEY and ANTHROPIC_API_KEY_FILE are both set; keep one of them.',
      'The file for anthropic.authToken does not exist.',
    ]);
  });

  test('in a settings file are refused and not repeated', () => {
    const error = errorOf(() => load({ yaml: `anthropic:\n  apiKey: ${key}\n  apikye: ${key}\n` }));
    expect(error.faults.map(({ origin }) => origin)).toEqual(['plimsoll.yaml:2:3', 'plimsoll.yaml:3:3']);
    expect(error.message).not.toContain(key);
  });

  test.each([
    { env: { ANTHROPIC_API_KEY: `${key} x` } },
    { env: { PLIMSOLL_DEFAULTS__MODEL: `${key} x` } },
    { env: { PLIMSOLL_POLL__MIN: key } },
    { env: { PLIMSOLL_BUDGETS: `{"all": {"usd": "${key}"}}` } },
    { yaml: `home: "${key}` },
    { yaml: `${'x'.repeat(10)}: ${key}` },
  ])('never reach the text of an error: %#', (world) => {
    const error = errorOf(() => load(world));
    expect(error.message + JSON.stringify(error.faults)).not.toContain(key);
  });

  test('are masked in the list of effective values, and so are passwords in URLs', () => {
    const { effective } = load({ env: { ANTHROPIC_API_KEY: key, REDIS_URL: 'rediss://user:hunter2@host:6379/0?password=hunter3' } });
    const values = new Map(effective.map(({ path, value }) => [path, value]));
    expect(values.get('anthropic.apiKey')).toBe('…cdef');
    expect(values.get('redis.url')).toBe('rediss://user:…@host:6379/0?password=…');
    expect(JSON.stringify(effective)).not.toMatch(/hunter|0123456789/);
    expect(load({ env: { ANTHROPIC_API_KEY: 'short' } }).effective.find(({ path }) => path === 'anthropic.apiKey')?.value).toBe('…');
  });

  test('do not stop the list from showing every other setting as it was written', () => {
    const { effective } = load({ yaml: 'chunk: {bytesMax: 4MiB}' });
    expect(effective.map(({ path }) => path)).toEqual([...settings.keys()]);
    expect(effective.find(({ path }) => path === 'chunk.bytesMax')).toEqual({
      path: 'chunk.bytesMax',
      value: '4MiB',
      origin: 'plimsoll.yaml:1:19',
      doc: 'Bytes of one chunk; a single larger prompt makes a chunk of its own.',
    });
    expect(effective.find(({ path }) => path === 'home')?.value).toBe('/job/.plimsoll');
  });
});
