import { describe, expect, it } from 'vitest';
import { at, batchBody, create, rig } from './rig.ts';

/** claude-batches.md 1.3, 1.6: retrieve, list, cancel and delete. */

describe('retrieve', () => {
  it('hints retry-after 10 on an unfinished batch and nothing on an ended one', async () => {
    const on = await rig();
    const id = await create(on);
    expect((await on.call('GET', `/v1/messages/batches/${id}`)).headers.get('retry-after')).toBe('10');
    await on.advance(61_000);
    expect((await on.call('GET', `/v1/messages/batches/${id}`)).headers.get('retry-after')).toBeNull();
  });

  it('leaves the hint out when it is set to 0', async () => {
    const on = await rig({ retryAfterSeconds: 0 });
    expect((await on.call('GET', `/v1/messages/batches/${await create(on)}`)).headers.get('retry-after')).toBeNull();
  });

  it.each([
    ['GET', ''],
    ['POST', '/cancel'],
    ['DELETE', ''],
    ['GET', '/results'],
  ])('%s of an unknown id%s answers the captured 404', async (method, tail) => {
    const reply = await (await rig()).call(method, `/v1/messages/batches/msgbatch_01unknown${tail}`);
    expect([reply.status, at(reply.json, 'error.type'), at(reply.json, 'error.message')]).toEqual([404, 'not_found_error', 'Message Batch msgbatch_01unknown not found.']);
  });
});

describe('list', () => {
  it('is empty with null cursors on a new account', async () => {
    const { json } = await (await rig()).call('GET', '/v1/messages/batches');
    expect(json).toEqual({ data: [], has_more: false, first_id: null, last_id: null });
  });

  it('shows newest first, 20 at a time', async () => {
    const on = await rig();
    const ids: string[] = [];
    for (let index = 0; index < 21; index += 1) {
      ids.unshift(await create(on, batchBody(1)));
    }
    const { json } = await on.call('GET', '/v1/messages/batches');
    expect([at(json, 'data.length'), json.has_more, json.first_id, json.last_id]).toEqual([20, true, ids[0], ids[19]]);
  });

  it('pages towards older entries by after_id and towards newer ones by before_id', async () => {
    const on = await rig();
    const [oldest, second, third, newest] = [await create(on), await create(on), await create(on), await create(on)];
    const older = (await on.call('GET', `/v1/messages/batches?limit=2&after_id=${newest}`)).json;
    const newer = (await on.call('GET', `/v1/messages/batches?limit=2&before_id=${oldest}`)).json;
    expect([older.first_id, older.last_id, older.has_more]).toEqual([third, second, true]);
    expect([newer.first_id, newer.last_id, newer.has_more]).toEqual([third, second, true]);
  });

  it.each(['1', '1000'])('takes limit=%s', async (limit) => {
    const on = await rig();
    const id = await create(on);
    expect(at((await on.call('GET', `/v1/messages/batches?limit=${limit}`)).json, 'data.0.id')).toBe(id);
  });

  it.each(['0', '1001', 'x'])('refuses limit=%s', async (limit) => {
    expect((await (await rig()).call('GET', `/v1/messages/batches?limit=${limit}`)).status).toBe(400);
  });
});

describe('cancel and delete', () => {
  it('cancel answers canceling with the counters unchanged', async () => {
    const on = await rig();
    const { json } = await on.call('POST', `/v1/messages/batches/${await create(on, batchBody(3))}/cancel`);
    expect([json.processing_status, at(json, 'request_counts.processing'), typeof json.cancel_initiated_at]).toEqual(['canceling', 3, 'string']);
  });

  it.each([['no body', undefined], ['{}', {}]])('cancel accepts %s', async (_name, body) => {
    const on = await rig();
    expect((await on.call('POST', `/v1/messages/batches/${await create(on)}/cancel`, body)).status).toBe(200);
  });

  it('a canceled batch ends after its latency and its results can be read', async () => {
    const on = await rig({ finishAfterCancel: 0 });
    const id = await create(on, batchBody(4));
    await on.call('POST', `/v1/messages/batches/${id}/cancel`);
    await on.advance(999);
    expect((await on.call('GET', `/v1/messages/batches/${id}`)).json.processing_status).toBe('canceling');
    await on.advance(2);
    expect(at((await on.call('GET', `/v1/messages/batches/${id}`)).json, 'request_counts.canceled')).toBe(4);
    expect((await on.call('GET', `/v1/messages/batches/${id}/results`)).text).toContain('{"custom_id":"row-0","result":{"type":"canceled"}}\n');
  });

  it('rows that had finished before the cancel stay succeeded and billed', async () => {
    const on = await rig({ finishAfterCancel: 0 });
    const id = await create(on, batchBody(40));
    await on.advance(30_000);
    await on.call('POST', `/v1/messages/batches/${id}/cancel`);
    await on.advance(2_000);
    const counts = (await on.call('GET', `/v1/messages/batches/${id}`)).json.request_counts;
    expect(at(counts, 'succeeded')).toBeGreaterThan(5);
    expect(at(counts, 'canceled')).toBeGreaterThan(5);
    expect(on.truth('row_billed')).toHaveLength(Number(at(counts, 'succeeded')));
  });

  it('it is possible that a cancel stops none of the rows', async () => {
    const on = await rig({ finishAfterCancel: 1 });
    const id = await create(on, batchBody(5));
    await on.call('POST', `/v1/messages/batches/${id}/cancel`);
    await on.advance(2_000);
    const { json } = await on.call('GET', `/v1/messages/batches/${id}`);
    expect([json.processing_status, typeof json.cancel_initiated_at, at(json, 'request_counts.succeeded'), at(json, 'request_counts.canceled')]).toEqual(['ended', 'string', 5, 0]);
  });

  it('a second cancel, and one after the end, change nothing', async () => {
    const on = await rig();
    const id = await create(on);
    const first = (await on.call('POST', `/v1/messages/batches/${id}/cancel`)).json;
    expect((await on.call('POST', `/v1/messages/batches/${id}/cancel`)).json).toEqual(first);
    await on.advance(5_000);
    expect((await on.call('POST', `/v1/messages/batches/${id}/cancel`)).json.processing_status).toBe('ended');
  });

  it('delete of an unfinished batch is refused with the captured text', async () => {
    const on = await rig();
    const reply = await on.call('DELETE', `/v1/messages/batches/${await create(on)}`);
    expect([reply.status, at(reply.json, 'error.message')]).toEqual([400, 'In progress batches cannot be deleted. Consider canceling the batch instead.']);
  });

  it('delete of an ended batch answers its captured body, and the batch is gone', async () => {
    const on = await rig();
    const id = await create(on);
    await on.advance(61_000);
    expect((await on.call('DELETE', `/v1/messages/batches/${id}`)).text).toBe(`{"id":"${id}","type":"message_batch_deleted"}`);
    expect((await on.call('GET', `/v1/messages/batches/${id}`)).status).toBe(404);
    expect((await on.call('GET', '/v1/messages/batches')).json.data).toEqual([]);
  });
});
