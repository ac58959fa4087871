/** A client over its tier, from the first call to the operator who moves it, as its users see it on the command line. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { breaches, readTruth } from '../chaos/oracle.ts';
import { corpus, openWorld, type Ended, type World } from '../chaos/world.ts';

const tiers = {
  pilot: { requestsPerDay: 40, contextTokensMax: 8_000, budget: { tokens: 900_000, window: 'month' } },
  internal: { requestsPerDay: 1_000, tokensPerDay: 50_000_000, weight: 3 },
  enterprise: { metadata: ['team'] },
};
const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `doc-${index}`);
const json = (end: Ended): Record<string, unknown> => {
  expect(end.code, end.stderr).toBe(0);
  return JSON.parse(end.stdout) as Record<string, unknown>;
};
/** The rows of a run by the lane in which the provider's batches had them. */
const lanes = async (run: string): Promise<unknown> => json(await world.run(['cost', '--by', 'client', '--run', run, '--json']))['total'];

let world: World;
let first: string;
beforeAll(async () => {
  world = await openWorld({}, { PLIMSOLL_TIERS: JSON.stringify(tiers), PLIMSOLL_CLIENTS: '{"etl": {"tier": "pilot"}}', PLIMSOLL_DEFAULTS__CLIENT: 'etl' });
  first = world.write('in.jsonl', corpus(100, 3));
});
afterAll(async () => await world.close());

describe('a client over its tier', () => {
  it('gets a deferred answer with advice, and its work finishes all the same', async () => {
    const planned = json(await world.run(['plan', first, '--json']));
    const end = await world.run(['run', first, '--run-key', 'first', '--json']);
    const answer = json(end) as { deferred: Record<string, unknown>[] };
    // A plan foresees it, and what the tier's budget would say.
    expect(planned['quotas']).toEqual([{ client: 'etl', tier: 'pilot', rows: 100, limit: 'requestsPerDay', allowed: 40, rows_over: 60, over: 'fallback' }]);
    expect(planned['budgets']).toMatchObject([{ target: 'client:etl', kind: 'tokens', limit: 900_000, window: 'month', bound: planned['tokens_max'], strict: 'fits' }]);
    expect(answer).toMatchObject({ status: 'succeeded', counts: { accepted: 100, succeeded: 100 } });
    expect(answer.deferred).toMatchObject([{
      client: 'etl', tier: 'pilot', action: 'fallback', reason: 'requestsPerDay', limit: 40, measured: 41, from_row: 41, prompts: 100, prompts_over: 60, interval_ms: null,
      reduce: { prompts_per_call_max: 40, context_tokens: null, call_interval_ms: 216_000_000, prompt_interval_ms: 2_160_000 },
    }]);
    expect(end.stderr).toContain('deferred: the client etl is over its tier pilot (requestsPerDay): 60 of its 100 prompts, from line 41 on, wait in the lane fallback');
    expect(end.stderr).toContain('to reduce  hand in at most 40 prompts like these at once');
    const told = (await world.run(['events', 'tail'])).stdout.split('\n').filter((line) => line.includes('client.deferred'));
    expect(told.map((line) => JSON.parse(line) as object)).toMatchObject([{ type: 'dev.plimsoll.client.deferred.v1', subject: 'first', data: { client: 'etl', tier: 'pilot', from_row: 41, allowed: 40 } }]);
    expect(breaches(world.lake, 'first', ids(100), world.truthFile)).toEqual([]);
    expect(await lanes('first')).toMatchObject({ rows: 100 });
  });

  it('is deferred with an expected delay while its work waits, and the same call says the same', async () => {
    const second = world.write('second.jsonl', corpus(30, 4));
    const end = await world.run(['enqueue', second, '--run-key', 'second', '--json']);
    const { deferred, status } = json(end) as { deferred: { expected_delay_ms: number; longest_delay_ms: number; delay_rests_on: object; interval_ms: number }[]; status: string };
    expect(status).toBe('running');
    expect(deferred).toMatchObject([{ from_row: 1, prompts_over: 30, delay_rests_on: { prompts_in_line: 30 } }]);
    expect(deferred[0]?.expected_delay_ms).toBeGreaterThan(0);
    expect(deferred[0]?.expected_delay_ms).toBeLessThanOrEqual(deferred[0]?.longest_delay_ms ?? 0);
    expect(deferred[0]?.interval_ms).toBeGreaterThan(0);
    const again = json(await world.run(['enqueue', second, '--run-key', 'second', '--json'])) as { deferred: object[] };
    expect(again.deferred).toMatchObject([{ from_row: 1, prompts_over: 30 }]);
    const segments = json(await world.run(['status', '--json']))['segments'] as { segment: string; rows_queued: number }[];
    expect(segments.filter(({ segment }) => segment.endsWith('.fallback')).reduce((sum, { rows_queued }) => sum + rows_queued, 0)).toBe(30);

    const done = json(await world.run(['run', second, '--run-key', 'second', '--json']));
    expect(done).toMatchObject({ status: 'succeeded', counts: { succeeded: 30 }, deferred: [{ prompts_over: 30 }] });
    expect(readTruth(world.truthFile).creates).toBeGreaterThan(1);
  });

  it('shows what is measured, and which tier would have been enough', async () => {
    const { clients } = json(await world.run(['quota', 'show', 'etl', '--json'])) as { clients: object[] };
    expect(clients).toMatchObject([{ client: 'etl', tier: 'pilot', set_by: 'config', operator: null, limits: { requests_per_day: 40, tokens_per_day: null, over: 'fallback' }, now: { requests_per_day: 40 }, last_day: { requests: 130, requests_over: 90 } }]);
    const words = await world.run(['quota', 'show']);
    expect(words.stdout).toMatch(/^etl +pilot +config .* 40 \/ 40 /m);
    expect(words.stdout).toContain('etl: 90 of 130 prompts of ');

    const proposal = json(await world.run(['quota', 'suggest', 'etl', '--json'])) as { expected_usd_per_month: { all: number; admitted: number; difference: number } };
    expect(proposal).toMatchObject({
      client: 'etl', days: 1, measured: { requests: 130, requests_over: 90, requests_per_day_max: 130 },
      current: { tier: 'pilot', too_small: ['requestsPerDay'] }, suggested: { tier: 'internal', too_small: [], budget_usd_per_month: null },
    });
    const billed = json(await world.run(['cost', '--by', 'client', '--json'])) as { total: { spent_usd: number } };
    const { all, admitted, difference } = proposal.expected_usd_per_month;
    expect(all).toBeCloseTo(billed.total.spent_usd * 30, 4);
    expect(admitted).toBeCloseTo((all * 40) / 130, 4);
    expect(difference).toBeCloseTo(all - admitted, 5);
    const sentence = await world.run(['quota', 'suggest', 'etl']);
    expect(sentence.stdout).toContain('etl: pilot -> internal, the smallest tier that would have admitted everything');
    expect(sentence.stdout).toContain('next      plimsoll quota set etl --tier internal --by WHO --reason TEXT');
  });

  it('is moved by an operator, which the audit shows, and is admitted from then on', async () => {
    expect((json(await world.run(['budget', 'show', '--json'])) as unknown as { target: string; tokens_limit: number }[]).find(({ target }) => target === 'client:etl')?.tokens_limit).toBe(900_000);
    const moved = json(await world.run(['quota', 'set', 'etl', '--tier', 'internal', '--by', 'ada', '--reason', 'pilot went well', '--json']));
    expect(moved).toMatchObject({ client: 'etl', from: 'pilot', tier: 'internal', by: 'ada', ordinal: 1, is_new: true, weight: 3 });
    expect(json(await world.run(['quota', 'set', 'etl', '--tier', 'internal', '--by', 'bob', '--reason', 'again', '--json']))).toMatchObject({ by: 'ada', ordinal: 1, is_new: false });
    expect((json(await world.run(['budget', 'show', '--json'])) as unknown as { target: string; tokens_limit: number | null }[]).find(({ target }) => target === 'client:etl')?.tokens_limit).toBeNull();

    // A plan knows of it from the lake.
    expect(json(await world.run(['plan', first, '--json'], { REDIS_URL: 'redis://127.0.0.1:1' }))).toMatchObject({ quotas: [], budgets: [], warnings: [] });
    const third = world.write('third.jsonl', corpus(20, 5));
    const end = await world.run(['run', third, '--run-key', 'third', '--json']);
    expect(json(end)).toMatchObject({ status: 'succeeded', deferred: [] });
    expect(end.stderr).not.toContain('deferred');
    expect(json(await world.run(['quota', 'history', 'etl', '--json']))).toMatchObject({ client: 'etl', moves: [{ ordinal: 1, from: 'pilot', tier: 'internal', by: 'ada', reason: 'pilot went well' }] });
  });

  it('keeps its tier through a rebuild of the ledger, and its trail without Redis', async () => {
    json(await world.run(['recover', '--json']));
    expect((json(await world.run(['quota', 'show', 'etl', '--json'])) as { clients: object[] }).clients).toMatchObject([{ tier: 'internal', set_by: 'operator', operator: { by: 'ada', ordinal: 1 } }]);
    json(await world.run(['quota', 'set', 'etl', '--tier', 'none', '--by', 'bob', '--reason', 'contract ended', '--json']));
    const alone = await world.run(['quota', 'history', 'etl'], { REDIS_URL: 'redis://127.0.0.1:1' });
    expect(alone.stdout).toMatch(/ pilot +internal +ada +pilot went well\n.* internal +none +bob +contract ended\n$/);
    expect((await world.run(['quota', 'history', 'partner'])).stdout).toContain('No operator has moved partner');
  });
});

describe('every bad value has one clear error', () => {
  it.each([
    [['quota', 'set', 'etl', '--tier', 'internall', '--by', 'a', '--reason', 'b'], 'Did you mean internal?'],
    [['quota', 'set', 'etl', '--tier', 'zzz', '--by', 'a', '--reason', 'b'], 'There are pilot, internal, enterprise, and none.'],
    [['quota', 'set', 'e|tl', '--tier', 'pilot', '--by', 'a', '--reason', 'b'], '"e|tl" cannot be a client'],
    [['quota', 'set', 'etl', '--tier', 'pilot', '--by', ' ', '--reason', 'b'], '--by is empty'],
    [['quota', 'set', 'etl', '--tier', 'pilot', '--by', 'a', '--reason', 'two\nlines'], '--reason is longer than 1,000 characters or has control characters'],
    [['quota', 'set', 'etl', '--tier', 'pilot', '--by', 'a'], "required option '--reason <text>' not specified"],
    [['quota', 'show', 'elt'], 'Did you mean etl?'],
    [['quota', 'suggest', 'partner'], 'nothing is known of a client "partner"'],
    [['quota', 'suggest', 'etl', '--days', '0'], '"0" is no number of days (--days)'],
  ])('%j', async (args, text) => {
    const end = await world.run(args);
    expect([end.code, end.stdout]).toEqual([2, '']);
    expect(end.stderr).toContain(text);
  });

  it.each([
    [{ PLIMSOLL_CLIENTS: '{"etl": {"tier": "pliot"}}' }, 'clients.etl.tier (pliot) is not a tier: tiers has pilot, internal, enterprise.'],
    [{ PLIMSOLL_DEFAULTS__TIER: 'gold' }, 'defaults.tier (gold) is not a tier'],
    [{ PLIMSOLL_TIERS: '{"pilot": {"requestPerDay": 5}}' }, 'tiers.pilot.requestPerDay is not a setting.'],
    [{ PLIMSOLL_TIERS: '{"pilot": {"tokensPerDay": 5, "contextTokensMax": 6}}' }, 'at least contextTokensMax (6)'],
    [{ PLIMSOLL_TIERS: '{"none": {}}' }, 'and not none'],
    [{ PLIMSOLL_TIERS: '{"pilot": {"over": "block"}}' }, 'one of fallback, refuse'],
    [{ PLIMSOLL_TIERS: '{"pilot": {"requestsPerDay": 0}}' }, 'a whole number, from 1 to 1000000000000'],
    [{ PLIMSOLL_TIERS: '{"pilot": {"priorities": ["urgent"]}}' }, 'one of high, normal, low'],
  ])('of the configuration: %j', async (settings, text) => {
    const end = await world.run(['config'], settings as unknown as Record<string, string>);
    expect(end.code).toBe(2);
    expect(end.stderr).toContain(text);
  });
});
