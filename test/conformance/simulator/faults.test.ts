import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadScript, parseFault } from '../../../local/simulator/faultscript.ts';
import { FAULTS } from '../../../local/simulator/faultkinds.ts';
import type { FaultRule } from '../../../local/simulator/simulator.ts';
import { at, batchBody, create, finish, rig, rowsOf, scratchFolder, until, type Rig } from './rig.ts';

/** Every fault, how it looks to a client, and what the truth log says happened (claude-batches.md 9.8). */

const struck = (rule: FaultRule, more: Parameters<typeof rig>[0] = {}): Promise<Rig> => rig({ ...more, faults: { faults: [rule] } });
const post = (on: Rig, count = 2): Promise<{ status: number; text: string }> => on.call('POST', '/v1/messages/batches', batchBody(count));
const accepted = (on: Rig): number => on.truth('batch_accepted').length;
const inList = async (on: Rig): Promise<unknown> => at((await on.call('GET', '/v1/messages/batches')).json, 'data.length');

describe('connections', () => {
  it.each([
    ['drop_before', 0],
    ['drop_mid', 0],
    ['drop_after', 0],
    ['reply_lost', 1],
  ] as const)('%s breaks the connection and leaves %i batches', async (fault, batches) => {
    const on = await struck({ fault, nth: 1 });
    await expect(post(on)).rejects.toThrow('fetch failed');
    expect([accepted(on), await inList(on), on.truth('fault_injected').map((line) => line.fault)]).toEqual([batches, batches, [fault]]);
    expect((await post(on)).status).toBe(200);
  });

  it('F3: drop_mid that is meant for one create strikes one of two that come at once', async () => {
    const on = await struck({ fault: 'drop_mid', count: 1 });
    const body = JSON.stringify(batchBody(2));
    const creates = [1, 2].map(() => {
      const outgoing = request({ port: on.simulator.port, method: 'POST', path: '/v1/messages/batches', agent: false, headers: { 'x-api-key': 'k', 'anthropic-version': '2023-06-01', 'content-length': body.length } });
      const status = new Promise<number | undefined>((resolve) => {
        outgoing.on('response', (reply) => resolve(reply.resume().statusCode));
        outgoing.on('error', () => resolve(undefined));
      });
      outgoing.write(body.slice(0, 10));
      return { outgoing, status };
    });
    await until(() => on.truth('request_received').length === 2);
    for (const { outgoing } of creates) outgoing.end(body.slice(10));
    expect((await Promise.all(creates.map(({ status }) => status))).sort()).toEqual([200, undefined]);
    expect([accepted(on), on.truth('fault_injected').map((line) => line.fault)]).toEqual([1, ['drop_mid']]);
  });

  it('reply_cut accepts the batch and breaks off in the reply', async () => {
    const on = await struck({ fault: 'reply_cut' });
    await expect(post(on)).rejects.toThrow();
    expect(accepted(on)).toBe(1);
  });

  it.each([
    ['hang', 0],
    ['reply_hang', 1],
  ] as const)('%s never answers and leaves %i batches', async (fault, batches) => {
    const on = await struck({ fault });
    const patience = new AbortController();
    const answer = fetch(`${on.simulator.url}/v1/messages/batches`, {
      method: 'POST',
      headers: { 'x-api-key': 'k', 'anthropic-version': '2023-06-01' },
      body: JSON.stringify(batchBody(1)),
      signal: patience.signal,
    });
    await until(() => on.truth('fault_injected').length === 1);
    patience.abort();
    await expect(answer).rejects.toThrow();
    expect(accepted(on)).toBe(batches);
  });

  it('accept_late breaks the connection and shows the batch only after its seconds', async () => {
    const on = await struck({ fault: 'accept_late', nth: 1, seconds: 30 });
    await expect(post(on)).rejects.toThrow('fetch failed');
    expect([accepted(on), await inList(on)]).toEqual([1, 0]);
    await on.advance(29_000);
    expect(await inList(on)).toBe(0);
    await on.advance(2_000);
    expect(await inList(on)).toBe(1);
  });

  it('slow_drip sends the whole reply, slowly', async () => {
    const on = await struck({ fault: 'slow_drip', on: 'batches.retrieve', bytes_per_second: 1_000 });
    const id = await create(on);
    const before = performance.now();
    expect((await on.call('GET', `/v1/messages/batches/${id}`)).json.id).toBe(id);
    expect(performance.now() - before).toBeGreaterThan(150);
  });

  it('slow_upload reads the body slowly and accepts it', async () => {
    const on = await struck({ fault: 'slow_upload', bytes_per_second: 4_000 });
    const before = performance.now();
    expect((await post(on, 5)).status).toBe(200);
    expect(performance.now() - before).toBeGreaterThan(100);
  });
});

describe('errors', () => {
  it.each([500, 504, 529, 409])('status %i refuses and accepts nothing', async (status) => {
    const on = await struck({ fault: 'status', status, count: 1 });
    expect([(await post(on)).status, accepted(on)]).toEqual([status, 0]);
    expect((await post(on)).status).toBe(200);
  });

  it.each([500, 504])('status %i with accept has accepted the batch nevertheless', async (status) => {
    const on = await struck({ fault: 'status', status, accept: true });
    expect([(await post(on)).status, accepted(on)]).toEqual([status, 1]);
  });

  it('a storm refuses the first N calls of any kind and then stops', async () => {
    const on = await struck({ fault: 'rate_limit', count: 3, retry_after: 2 });
    const replies = [await on.call('GET', '/v1/models'), await post(on), await on.call('GET', '/v1/messages/batches'), await post(on)];
    expect(replies.map((reply) => reply.status)).toEqual([429, 429, 429, 200]);
  });

  it('refuse_batch refuses the whole batch, or only one that holds a text', async () => {
    const on = await struck({ fault: 'refuse_batch', body_contains: 'number 3', message: 'requests.3: poison' });
    expect([(await post(on, 3)).status, (await post(on, 4)).status, accepted(on)]).toEqual([200, 400, 1]);
  });

  it('F3: refuse_batch that is meant for one create strikes one of two that come at once', async () => {
    const on = await struck({ fault: 'refuse_batch', body_contains: 'number 1', count: 1 });
    const replies = await Promise.all([post(on), post(on)]);
    expect([replies.map((reply) => reply.status).sort(), on.truth('fault_injected').length]).toEqual([[200, 400], 1]);
  });

  it('too_large refuses by declared length, without the API\'s headers', async () => {
    const on = await struck({ fault: 'too_large', above_bytes: 500 });
    const reply = await on.call('POST', '/v1/messages/batches', batchBody(20));
    expect([reply.status, at(reply.json, 'error.type'), reply.headers.get('request-id')]).toEqual([413, 'request_too_large', null]);
    expect((await on.call('POST', '/v1/messages/batches', batchBody(1))).status).toBe(200);
  });

  it('vanish hides one batch from retrieve', async () => {
    const on = await struck({ fault: 'vanish', nth: 1 });
    const id = await create(on);
    expect([(await on.call('GET', `/v1/messages/batches/${id}`)).status, (await on.call('GET', `/v1/messages/batches/${id}`)).status]).toEqual([404, 200]);
  });

  it('stream_error breaks a stream off with an error event', async () => {
    const on = await struck({ fault: 'stream_error' });
    await expect(on.client.messages.stream({ model: 'claude-haiku-4-5', max_tokens: 50, messages: [{ role: 'user', content: 'hi' }] }).finalMessage()).rejects.toThrow(/overloaded_error/);
  });

  it('stream_cut breaks the connection in the middle of a stream', async () => {
    const on = await struck({ fault: 'stream_cut' });
    await expect(on.client.messages.stream({ model: 'claude-haiku-4-5', max_tokens: 50, messages: [{ role: 'user', content: 'hi' }] }).finalMessage()).rejects.toThrow();
  });
});

describe('rows', () => {
  const kinds = async (rule: FaultRule, count = 200): Promise<Record<string, number>> => {
    const rows = await finish(await struck(rule), batchBody(count));
    const tally: Record<string, number> = {};
    for (const row of rows.values()) {
      const kind = `${String(at(row, 'result.type'))}:${String(at(row, 'result.error.error.type') ?? at(row, 'result.message.stop_reason') ?? '')}`;
      tally[kind] = (tally[kind] ?? 0) + 1;
    }
    return tally;
  };

  it.each([
    [{ fault: 'errored', rate: 0.2, error_type: 'overloaded_error' }, 'errored:overloaded_error'],
    [{ fault: 'expired', rate: 0.2 }, 'expired:'],
    [{ fault: 'canceled', rate: 0.2 }, 'canceled:'],
    [{ fault: 'refused', rate: 0.2 }, 'succeeded:refusal'],
    [{ fault: 'truncated', rate: 0.2 }, 'succeeded:max_tokens'],
  ] as const)('%o strikes about its share, the same rows every time', async (rule, kind) => {
    const first = await kinds(rule);
    expect(first[kind]).toBeGreaterThan(20);
    expect(first[kind]).toBeLessThan(65);
    expect(await kinds(rule)).toEqual(first);
  });

  it('rows=N strikes exactly N', async () => {
    expect((await kinds({ fault: 'errored', rows: 7 }))['errored:api_error']).toBe(7);
  });

  it('an account fault fails every row with one text', async () => {
    const rows = await finish(await struck({ fault: 'account_fault' }), batchBody(10));
    expect(new Set([...rows.values()].map((row) => at(row, 'result.error.error.message'))).size).toBe(1);
    expect([...rows.values()].every((row) => at(row, 'result.type') === 'errored')).toBe(true);
  });

  it('only the batch of the Nth create is struck', async () => {
    const on = await struck({ fault: 'account_fault', nth: 2 });
    const struckRows = [await finish(on, batchBody(1)), await finish(on, batchBody(1)), await finish(on, batchBody(1))];
    expect(struckRows.map((rows) => at(rows.get('row-0'), 'result.type'))).toEqual(['succeeded', 'errored', 'succeeded']);
  });
});

describe('results', () => {
  const download = async (rule: FaultRule): Promise<{ text: string; whole: string; on: Rig; url: string }> => {
    const on = await struck({ ...rule, nth: 1 });
    const id = await create(on, batchBody(10));
    await on.advance(61_000);
    const url = `/v1/messages/batches/${id}/results`;
    const text = (await on.call('GET', url)).text;
    return { text, whole: (await on.call('GET', url)).text, on, url };
  };

  it('results_truncated ends after whole rows', async () => {
    const { text, whole } = await download({ fault: 'results_truncated', rows: 4 });
    expect(text).toBe(whole.split('\n').slice(0, 4).join('\n').concat('\n'));
  });

  it('results_cut ends inside a line', async () => {
    const { text, whole } = await download({ fault: 'results_cut', rows: 4 });
    expect([whole.startsWith(text), text.endsWith('\n'), text.split('\n').length]).toEqual([true, false, 5]);
  });

  it('results_cut with abort breaks the connection', async () => {
    await expect(download({ fault: 'results_cut', abort: true })).rejects.toThrow();
  });

  it('results_duplicated repeats rows', async () => {
    const { text, whole } = await download({ fault: 'results_duplicated', rows: 2 });
    expect([text.split('\n').length - 1, rowsOf(text).size]).toEqual([12, rowsOf(whole).size]);
  });

  it('results_missing leaves rows out', async () => {
    const { text } = await download({ fault: 'results_missing', rows: 3 });
    expect(rowsOf(text).size).toBe(7);
  });

  it('results_foreign adds rows nobody sent', async () => {
    const { text } = await download({ fault: 'results_foreign', rows: 2 });
    expect([...rowsOf(text).keys()].filter((id) => id.startsWith('foreign-'))).toHaveLength(2);
  });

  it('results_crlf ends every line with CR LF', async () => {
    const { text, whole } = await download({ fault: 'results_crlf' });
    expect(text).toBe(whole.replaceAll('\n', '\r\n'));
  });

  it('results_unready answers as before the end', async () => {
    const { text } = await download({ fault: 'results_unready' });
    expect(text).toContain('has no available results.');
  });
});

describe('views', () => {
  it('list_lag hides young batches from the list, not from retrieve', async () => {
    const on = await struck({ fault: 'list_lag', seconds: 20 });
    const id = await create(on);
    expect([await inList(on), (await on.call('GET', `/v1/messages/batches/${id}`)).status]).toEqual([0, 200]);
    await on.advance(21_000);
    expect(await inList(on)).toBe(1);
  });

  it('list_short gives fewer batches on a page, and the pages behind give the rest', async () => {
    const on = await struck({ fault: 'list_short', rows: 2 });
    const ids = [await create(on), await create(on), await create(on)];
    const first = (await on.call('GET', '/v1/messages/batches?limit=1000')).json;
    expect([at(first, 'data.length'), first.has_more, first.last_id]).toEqual([2, true, ids[1]]);
    const rest = (await on.call('GET', `/v1/messages/batches?limit=1000&after_id=${ids[1]}`)).json;
    expect([at(rest, 'data.0.id'), at(rest, 'data.length'), rest.has_more]).toEqual([ids[0], 1, false]);
    // The page that was not short is not counted.
    expect(on.truth('fault_injected')).toHaveLength(1);
  });

  it('list_reordered turns the order within a second and no other', async () => {
    const on = await struck({ fault: 'list_reordered', after: 1 });
    const early = await create(on);
    await on.advance(2_000);
    const late = [await create(on), await create(on)];
    const order = async (): Promise<unknown> => (at((await on.call('GET', '/v1/messages/batches')).json, 'data') as { id: string }[]).map(({ id }) => id);
    expect(await order()).toEqual([late[1], late[0], early]);
    expect(await order()).toEqual([late[0], late[1], early]);
  });

  it('list_cut promises more than its first page and answers the next one with nothing', async () => {
    const on = await struck({ fault: 'list_cut' });
    const [, second] = [await create(on), await create(on)];
    const first = (await on.call('GET', '/v1/messages/batches')).json;
    expect([at(first, 'data.length'), first.has_more, first.last_id]).toEqual([1, true, second]);
    expect((await on.call('GET', `/v1/messages/batches?after_id=${second}`)).json).toEqual({ data: [], has_more: false, first_id: null, last_id: null });
  });

  it('status_unknown shows a status and a field that nobody knows until the batch has ended', async () => {
    const on = await struck({ fault: 'status_unknown' });
    await create(on);
    const shown = async (): Promise<unknown> => at((await on.call('GET', '/v1/messages/batches')).json, 'data.0');
    expect(await shown()).toMatchObject({ processing_status: 'queued_for_capacity', capacity: {} });
    await on.advance(61_000);
    expect(await shown()).toMatchObject({ processing_status: 'ended' });
    expect(await shown()).not.toHaveProperty('capacity');
  });

  it('counts_unknown shows a counter that nobody knows, where it is asked for', async () => {
    const on = await struck({ fault: 'counts_unknown', on: 'batches.*' });
    const id = await create(on, batchBody(3));
    const counts = { processing: 3, succeeded: 0, errored: 0, canceled: 0, expired: 0, total: 3 };
    expect(at((await on.call('GET', '/v1/messages/batches')).json, 'data.0.request_counts')).toEqual(counts);
    expect((await on.call('GET', `/v1/messages/batches/${id}`)).json.request_counts).toEqual(counts);
  });

  it('date_skew shifts the Date header', async () => {
    const on = await struck({ fault: 'date_skew', seconds: -3_600 });
    expect((await on.call('GET', '/v1/models')).headers.get('date')).toBe('Sat, 21 Nov 2026 07:00:00 GMT');
  });

  it('counts_wrong reports counts that disagree with the rows', async () => {
    const on = await struck({ fault: 'counts_wrong', rows: 1 });
    const id = await create(on, batchBody(5));
    await on.advance(61_000);
    expect((await on.call('GET', `/v1/messages/batches/${id}`)).json.request_counts).toEqual({ processing: 0, succeeded: 4, errored: 1, canceled: 0, expired: 0 });
  });
});

describe('rules', () => {
  it.each([
    ['reply_lost=1', { fault: 'reply_lost', nth: 1 }],
    ['errored=2%', { fault: 'errored', rate: 0.02 }],
    ['529@batches.retrieve=x3', { fault: 'status', status: 529, on: 'batches.retrieve', count: 3 }],
    ['results_cut=2+,rows=10,abort', { fault: 'results_cut', after: 1, rows: 10, abort: true }],
    ['list_lag,seconds=5', { fault: 'list_lag', seconds: 5 }],
    ['504=1,accept=true', { fault: 'status', status: 504, nth: 1, accept: true }],
  ])('the flag %s is read', (flag, rule) => {
    expect(parseFault(flag)).toEqual(rule);
  });

  it.each(['', 'nothing=1', 'reply_lost=soon', 'reply_lost=1,wings=2', 'errored=200%', 'reply_lost@nowhere=1', 'list_lag,seconds=x'])('the flag "%s" is refused with a sentence', (flag) => {
    expect(parseFault(flag)).toMatch(/^The fault .+\.$/);
  });

  it('a script of ten lines gives "accepted, reply lost" and "half a results file"', async () => {
    const path = join(scratchFolder(), 'faults.json');
    writeFileSync(path, '{\n "seed": 7,\n "faults": [\n  {"fault": "reply_lost", "nth": 1},\n  {"fault": "results_truncated", "nth": 1}\n ]\n}\n');
    const on = await rig({ faults: await loadScript(path) });
    await expect(post(on, 10)).rejects.toThrow('fetch failed');
    await on.advance(61_000);
    const id = String(at((await on.call('GET', '/v1/messages/batches')).json, 'first_id'));
    expect(rowsOf((await on.call('GET', `/v1/messages/batches/${id}/results`)).text).size).toBe(5);
    expect(rowsOf((await on.call('GET', `/v1/messages/batches/${id}/results`)).text).size).toBe(10);
  });

  it.each([
    ['nowhere.json', undefined, /cannot be read/],
    ['text.json', 'hello', /is not JSON/],
    ['wrong.json', '{"faults":[{"fault":"reply_lost","nth":0}]}', /faults\[0\]: "nth"/],
  ])('a script that is no script (%s) is told in one line', async (name, text, what) => {
    const path = join(scratchFolder(), name);
    if (text !== undefined) {
      writeFileSync(path, text);
    }
    await expect(loadScript(path)).rejects.toThrow(what);
  });

  it('F1: rates draw the same calls for the same seed', async () => {
    const run = async (seed: number): Promise<number[]> => {
      const on = await rig({ faults: { seed, faults: [{ fault: 'status', on: 'models.list', status: 500, rate: 0.5 }] } });
      const statuses: number[] = [];
      for (let index = 0; index < 20; index += 1) {
        statuses.push((await on.call('GET', '/v1/models')).status);
      }
      return statuses;
    };
    const first = await run(3);
    expect(await run(3)).toEqual(first);
    expect(await run(4)).not.toEqual(first);
    expect(new Set(first)).toEqual(new Set([200, 500]));
  });

  it('the control endpoint arms, shows and disarms rules', async () => {
    const on = await rig();
    await on.control('POST', '/faults', { faults: [{ fault: 'status', status: 500, on: 'models.list' }] });
    expect((await on.call('GET', '/v1/models')).status).toBe(500);
    expect(at(await on.control('GET', '/faults'), 'faults.0.strikes')).toBe(1);
    await on.control('DELETE', '/faults');
    expect((await on.call('GET', '/v1/models')).status).toBe(200);
    expect(await on.control('POST', '/faults', { faults: [{ fault: 'wings' }] })).toEqual({ error: expect.stringContaining('"wings" is not a fault') });
  });

  it('every fault has a test in this suite', async () => {
    const { readFileSync } = await import('node:fs');
    const source = readFileSync(new URL(import.meta.url), 'utf8');
    expect(Object.keys(FAULTS).filter((name) => !source.includes(`'${name}'`) && name !== 'spend_limit' && name !== 'usage_limit')).toEqual([]);
  });
});
