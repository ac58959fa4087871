/** Every line of the doctor, provoked. */
import { describe, expect, it } from 'vitest';
import { priceTable } from '../../config/models.ts';
import { judgeClock, judgeDisk, judgeModels, judgeNode, judgePrices, judgeRedis, judgeWorkers, type Finding } from '../../cli/fitness.ts';
import { peersOf } from '../../cli/peers.ts';

const healthy = { redis_version: '7.0.15', maxmemory_policy: 'noeviction', aof_enabled: '1', aof_last_write_status: 'ok', used_memory: '1000000', maxmemory: '0' };
const info = (more: Readonly<Record<string, string>> = {}): string => Object.entries({ ...healthy, ...more }).map(([name, value]) => `${name}:${value}\r\n`).join('');
const of = (findings: readonly Finding[], check: string): Finding | undefined => findings.find((finding) => finding.check === check);

describe('Redis', () => {
  it('with the settings that are shipped is ok in every line', () => {
    expect(judgeRedis(info(), 'always').map((finding) => finding.verdict)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok']);
  });

  it.each<[string, string, Readonly<Record<string, string>>, string | undefined, Finding['verdict'], RegExp]>([
    ['that is too old', 'redis.version', { redis_version: '6.0.16' }, 'always', 'fail', /older than 6\.2/],
    ['that may evict', 'redis.policy', { maxmemory_policy: 'volatile-lru' }, 'always', 'fail', /may evict/],
    ['without an append-only file', 'redis.aof', { aof_enabled: '0' }, undefined, 'warning', /a restart forgets/],
    ['that syncs every second', 'redis.aof', {}, 'everysec', 'warning', /1,553 to 26,819 writes/],
    ['that never syncs', 'redis.aof', {}, 'no', 'warning', /76,000/],
    ['that hides its settings', 'redis.aof', {}, undefined, 'warning', /does not say/],
    ['whose file cannot be written', 'redis.aof_status', { aof_last_write_status: 'err' }, 'always', 'fail', /not durable/],
    ['that is nearly full', 'redis.memory', { used_memory: '900', maxmemory: '1000' }, 'always', 'warning', /refuses new prompts/],
  ])('%s: %s', (_name, check, more, fsync, verdict, detail) => {
    const finding = of(judgeRedis(info(more), fsync), check);
    expect(finding).toMatchObject({ verdict, detail: expect.stringMatching(detail) as string });
    expect(finding?.fix).toMatch(/\.$/);
  });
});

it.each<[string, Finding, Finding['verdict']]>([
  ['a Node that is recent enough', judgeNode('v20.19.0'), 'ok'],
  ['a Node that is too old', judgeNode('v20.18.3'), 'fail'],
  ['clocks that agree', judgeClock('clock.redis', 'Redis', -1_900), 'ok'],
  ['a clock that is ahead', judgeClock('clock.provider', 'the provider', 5_000), 'warning'],
  ['a disk with room', judgeDisk('disk.lake', '/x', 5e10), 'ok'],
  ['a disk that fills up', judgeDisk('disk.lake', '/x', 5e9), 'warning'],
  ['a full disk', judgeDisk('disk.lake', '/x', 5e8), 'fail'],
  ['prices of today', judgePrices({ version: '2026-11-21' }, Date.parse('2026-11-22')), 'ok'],
  ['prices of last season', judgePrices({ version: '2026-08-01' }, Date.parse('2026-11-22')), 'warning'],
  ['work that nobody handles', judgeWorkers({ pack: 3, export: 0 }, 0), 'warning'],
  ['work that is handled', judgeWorkers({ pack: 3 }, 2), 'ok'],
  ['nobody and nothing to do', judgeWorkers({ pack: 0 }, 0), 'ok'],
  ['a server that does not say who is there', judgeWorkers({}, undefined), 'warning'],
])('%s', (_name, finding, verdict) => {
  expect(finding.verdict).toBe(verdict);
  expect(finding.fix === undefined).toBe(verdict === 'ok');
});

describe('models', () => {
  const table = priceTable();
  it('that are offered are ok, that are retired or unknown fail', () => {
    const retired = table.models.find((entry) => entry.status === 'retired')?.model;
    const names = ['claude-haiku-4-5', ...(retired === undefined ? [] : [retired]), 'claude-none'];
    const verdicts = judgeModels(names, table, Date.parse('2026-11-21')).map((finding) => finding.verdict);
    expect(verdicts).toEqual(['ok', ...(retired === undefined ? [] : ['fail']), 'fail']);
  });

  it('are none where nothing waits and none is the default', () => {
    expect(judgeModels([], table, 0)).toMatchObject([{ verdict: 'ok' }]);
  });
});

it('the processes of an installation are told by the names of their connections, other installations and lines are not', () => {
  const list = ['id=3 name=plimsoll:prod:stages:host-1/42 db=0', 'id=4 name=plimsoll:prod:stages:host-1/42 db=0', 'id=5 name=plimsoll:prod:view:host-2/7 db=0', 'id=6 name=plimsoll:other:stages:host-1/42', 'id=7 name= db=0'].join('\n');
  expect(peersOf(list, 'prod')).toEqual([{ role: 'stages', process: 'host-1/42' }, { role: 'view', process: 'host-2/7' }]);
});
