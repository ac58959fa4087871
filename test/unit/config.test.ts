import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../config/config.ts';
import { readEnvironment, variableOf } from '../../config/env.ts';
import { settings } from '../../config/tree.ts';
import { errorOf, faultsOf, load } from './config-world.ts';

function isFrozenThrough(data: unknown): boolean {
  if (typeof data !== 'object' || data === null || data instanceof Map) return true;
  return Object.isFrozen(data) && Object.values(data).every(isFrozenThrough);
}

describe('where settings come from', () => {
  test('without any source every setting has its default', () => {
    const config = load({});
    expect(config).toMatchObject({
      home: '/job/.plimsoll',
      lake: '/job/.plimsoll/lake',
      redis: { url: undefined, tag: 'plimsoll' },
      anthropic: { apiKey: undefined, authToken: undefined, baseUrl: 'https://api.anthropic.com', version: '2026-10-21' },
      defaults: { topic: 'default', priority: 'normal', client: 'default', model: undefined, maxTokens: undefined },
      chunk: { bytesMax: 8_000_000, rowsMax: 2_500, openBytesMax: 28_000_000 },
      archive: { bytesMax: 256_000_000, rowsMax: 100_000, lingerMs: 60_000, fullPermille: 985 },
      poll: { minMs: 10_000, maxMs: 300_000 },
      submit: { leaseMs: 6_000, queueRows: 200_000, timeoutMs: 600_000, landingWaitMs: 900_000 },
      retry: { attemptsMax: 3, accountRestMs: 60_000, accountRounds: 6 },
      sweep: { intervalMs: 2_000, leaseMs: 6_000 },
      work: { concurrency: 2 },
      input: { lineBytesMax: 32_000_000, nestingMax: 64, expansionMax: 200, sectionBytes: 1_000_000_000 },
      export: { partBytes: 128_000_000, gzipLevel: 1 },
      budgets: [],
      log: { level: 'info' },
    });
    expect(config.contexts.map(({ name }) => name)).toEqual(['8k', '64k', '200k', '1m']);
    expect(new Set(config.origins.values())).toEqual(new Set(['default']));
  });

  test('a flag beats a variable, a variable beats the file, the file beats the default', () => {
    const yaml = 'defaults:\n  topic: from-file\n  client: from-file\n  model: from-file\n';
    const env = { PLIMSOLL_DEFAULTS__CLIENT: 'from-variable', PLIMSOLL_DEFAULTS__MODEL: 'from-variable' };
    const flags = [{ name: '--model', path: 'defaults.model', value: 'from-flag' }];
    const { defaults, origins } = load({ yaml, env, flags });
    expect(defaults).toMatchObject({ topic: 'from-file', client: 'from-variable', model: 'from-flag', priority: 'normal' });
    expect([...origins].filter(([path]) => path.startsWith('defaults.'))).toEqual([
      ['defaults.topic', 'plimsoll.yaml:2:10'],
      ['defaults.priority', 'default'],
      ['defaults.client', 'PLIMSOLL_DEFAULTS__CLIENT'],
      ['defaults.model', '--model'],
      ['defaults.maxTokens', 'default'],
      ['defaults.tier', 'default'],
    ]);
  });

  test('a flag that was not used leaves the setting alone', () => {
    expect(load({ flags: [{ name: '--topic', path: 'defaults.topic', value: undefined }] }).defaults.topic).toBe('default');
  });

  test.each([
    ['home', 'PLIMSOLL_HOME'],
    ['lake', 'PLIMSOLL_LAKE'],
    ['poll.min', 'PLIMSOLL_POLL__MIN'],
    ['submit.landingWait', 'PLIMSOLL_SUBMIT__LANDING_WAIT'],
    ['input.lineBytesMax', 'PLIMSOLL_INPUT__LINE_BYTES_MAX'],
    ['redis.url', 'REDIS_URL'],
    ['anthropic.apiKey', 'ANTHROPIC_API_KEY'],
    ['anthropic.authToken', 'ANTHROPIC_AUTH_TOKEN'],
    ['anthropic.baseUrl', 'ANTHROPIC_BASE_URL'],
    ['log.level', 'LOG_LEVEL'],
  ])('the variable of %s is %s', (path, name) => {
    expect(variableOf(path)).toBe(name);
    expect(settings.has(path)).toBe(true);
  });

  test('no two settings share a variable', () => {
    expect(new Set([...settings.keys()].map(variableOf)).size).toBe(settings.size);
  });

  test('a variable that is set to nothing counts as not set', () => {
    expect(load({ env: { ANTHROPIC_API_KEY: '', PLIMSOLL_POLL__MIN: '' } })).toMatchObject({ anthropic: { apiKey: undefined }, poll: { minMs: 10_000 } });
  });

  test('LOG_LEVEL is taken in any case, because other programs write it in capitals', () => {
    expect(load({ env: { LOG_LEVEL: 'WARN' } }).log.level).toBe('warn');
  });

  test('lists and maps are YAML or JSON text in a variable', () => {
    const env = { PLIMSOLL_CONTEXTS: '[{"name":"all","tokensMax":5000}]', PLIMSOLL_BUDGETS: 'topic:a: {usd: 0.10}' };
    const config = load({ env });
    expect(config.contexts).toEqual([{ name: 'all', tokensMax: 5_000 }]);
    expect(config.budgets).toMatchObject([{ target: 'topic:a', microUsd: 100_000 }]);
    expect(faultsOf({ env: { PLIMSOLL_CONTEXTS: '[{' } })).toMatchObject([{ path: 'contexts', origin: 'PLIMSOLL_CONTEXTS', value: '"[{"' }]);
  });

  test('the settings file can be named, relative to the working directory, and --config is the stronger name', () => {
    const files = { '/job/a.yaml': 'home: a', '/etc/b.yaml': 'home: b' };
    expect(load({ files, env: { PLIMSOLL_CONFIG: 'a.yaml' } }).home).toBe('/job/a');
    const both = load({ files, env: { PLIMSOLL_CONFIG: 'a.yaml' }, configFile: '/etc/b.yaml' });
    expect([both.home, both.origins.get('home')]).toEqual(['/job/b', '/etc/b.yaml:1:7']);
  });

  test('a settings file that was named and is not there is a fault of the name', () => {
    expect(faultsOf({ env: { PLIMSOLL_CONFIG: 'a.yaml' } })).toMatchObject([{ origin: 'PLIMSOLL_CONFIG', message: 'There is no settings file /job/a.yaml.' }]);
    expect(faultsOf({ configFile: 'a.yaml' })).toMatchObject([{ origin: '--config' }]);
  });

  test('a settings file that cannot be read, or is too long, says so', () => {
    const refuse = (): never => {
      throw Object.assign(new Error('no'), { code: 'EACCES' });
    };
    const loading = () => loadConfig({ env: readEnvironment({}), cwd: '/job', readFile: refuse });
    expect(errorOf(loading).message).toContain('plimsoll.yaml: The settings file cannot be read (EACCES).');
    expect(faultsOf({ yaml: `#${'x'.repeat(1_048_576)}` })).toMatchObject([{ message: 'The settings file is longer than 1048576 bytes.' }]);
  });

  test('the file of the working directory is read from the disk, and a missing one is no fault', () => {
    expect(loadConfig({ env: readEnvironment({}), cwd: import.meta.dirname }).home).toBe(`${import.meta.dirname}/.plimsoll`);
    const named = () => loadConfig({ env: readEnvironment({}), cwd: import.meta.dirname, configFile: import.meta.filename });
    expect(errorOf(named).faults[0]?.origin).toMatch(/^config\.test\.ts:\d+:\d+$/);
    const folder = () => loadConfig({ env: readEnvironment({}), cwd: import.meta.dirname, configFile: '.' });
    expect(errorOf(folder).message).toContain('EISDIR');
  });

  test('the result is frozen through and through', () => {
    expect(isFrozenThrough(load({ yaml: 'budgets: {all: {usd: 1}}' }))).toBe(true);
  });
});

describe('what else the environment says', () => {
  test.each([
    [{ CI: 'true' }, true],
    [{ CI: '1' }, true],
    [{ CI: 'false' }, false],
    [{ CI: '0' }, false],
    [{}, false],
  ])('CI of %j is %s', (env, isCi) => {
    expect(load({ env }).isCi).toBe(isCi);
  });

  test('NO_COLOR and PATH are passed on', () => {
    expect(load({ env: { NO_COLOR: '1', PATH: '/bin' } })).toMatchObject({ isColorless: true, searchPath: '/bin' });
    expect(load({ env: { NO_COLOR: '' } })).toMatchObject({ isColorless: false, searchPath: '' });
  });

  test('variables of other programs are not looked at', () => {
    expect(readEnvironment({ HOME: '/root', AWS_PROFILE: 'x' }).variables.size).toBe(0);
  });
});

describe('places', () => {
  test.each([
    [{ PLIMSOLL_HOME: '/var/plimsoll' }, '/var/plimsoll', '/var/plimsoll/lake'],
    [{ PLIMSOLL_HOME: 'state', PLIMSOLL_LAKE: '../lake' }, '/job/state', '/lake'],
    [{ PLIMSOLL_LAKE: 's3://bucket/claude/' }, '/job/.plimsoll', 's3://bucket/claude'],
  ])('%j give home %s and lake %s', (env, home, lake) => {
    expect(load({ env })).toMatchObject({ home, lake });
  });

  test.each([
    { PLIMSOLL_HOME: '~/plimsoll' }, { PLIMSOLL_HOME: 's3://bucket' }, { PLIMSOLL_LAKE: 'gs://bucket' }, { PLIMSOLL_LAKE: 's3://B' },
    { REDIS_URL: 'localhost:6379' }, { REDIS_URL: 'redis://a b' }, { ANTHROPIC_BASE_URL: 'api.anthropic.com' },
    { ANTHROPIC_BASE_URL: 'https://user:pw@host' }, { ANTHROPIC_BASE_URL: 'https://host/?x=1' }, { PLIMSOLL_REDIS__TAG: '{x}' },
  ])('that cannot be meant are faults: %j', (env) => {
    expect(faultsOf({ env })).toHaveLength(1);
  });

  test('of Redis may be a socket, and the API\'s has no slash at its end', () => {
    const config = load({ env: { REDIS_URL: '/run/redis.sock', ANTHROPIC_BASE_URL: 'http://127.0.0.1:8080/' } });
    expect([config.redis.url, config.anthropic.baseUrl]).toEqual(['/run/redis.sock', 'http://127.0.0.1:8080']);
  });
});
