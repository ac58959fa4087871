import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { identifySelf } from '../../../local/process-identity.ts';
import { PromptCache, type CacheUse } from '../../../local/simulator/promptcache.ts';
import { BatchRecords } from '../../../local/simulator/records.ts';
import { settleRows } from '../../../local/simulator/settlement.ts';
import { lockState } from '../../../local/simulator/statelock.ts';
import { asJson, at, batchBody, create, rig, rowsOf, scratchFolder, START_MS, stopNow, truthLines, until } from './rig.ts';

/** What survives: restarts, kills, torn logs; and what the truth log promises. */

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) {
    child.kill('SIGKILL');
  }
});

/** The command line's simulator in a process of its own, for tests that kill it. */
async function launch(stateDir: string, ...flags: string[]): Promise<{ url: string; child: ChildProcess }> {
  const { url, child, said } = await start(stateDir, ...flags);
  if (url === undefined) throw new Error(`the simulator did not start: ${said}`);
  return { url, child };
}

/** The same, started or refused: then there is no `url` and it has `said` why. */
async function start(stateDir: string, ...flags: string[]): Promise<{ url: string | undefined; child: ChildProcess; said: string }> {
  const program = join(process.cwd(), 'test/conformance/simulator/simulate-process.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', program, stateDir, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  let said = '';
  child.stderr.on('data', (data) => (said += String(data)));
  const [url] = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), once(child, 'close').then((): [undefined] => [undefined])]);
  return { url: url === undefined ? undefined : String(url), child, said };
}

const HEADERS = { 'x-api-key': 'k', 'anthropic-version': '2023-06-01' };
const post = async (url: string, count: number): Promise<string> =>
  String(asJson(await (await fetch(`${url}/v1/messages/batches`, { method: 'POST', headers: HEADERS, body: JSON.stringify(batchBody(count)) })).text()).id);

describe('restarts', () => {
  it('a restart on the same folder finds every batch, ended or not', async () => {
    const first = await rig();
    const ended = await create(first, batchBody(3));
    await first.advance(61_000);
    const results = (await first.call('GET', `/v1/messages/batches/${ended}/results`)).text;
    const waiting = await create(first, batchBody(2));
    await stopNow(first.simulator);

    const second = await rig({ stateDir: first.stateDir, startMs: Date.UTC(2026, 10, 21, 8, 1, 2) });
    const list = (await second.call('GET', '/v1/messages/batches')).json;
    expect([at(list, 'data.length'), at(list, 'data.0.id'), at(list, 'data.1.id')]).toEqual([2, waiting, ended]);
    expect((await second.call('GET', `/v1/messages/batches/${ended}/results`)).text).toBe(results);
    await second.advance(120_000);
    expect((await second.call('GET', `/v1/messages/batches/${waiting}`)).json.processing_status).toBe('ended');
  });

  it('ids are not given twice, deleted batches included', async () => {
    const first = await rig();
    const id = await create(first, batchBody(1));
    await first.control('POST', `/batches/${id}/end`);
    await first.call('DELETE', `/v1/messages/batches/${id}`);
    const request = (await first.call('GET', '/v1/models')).headers.get('request-id');
    await stopNow(first.simulator);
    const second = await rig({ stateDir: first.stateDir });
    expect(await create(second, batchBody(1))).not.toBe(id);
    expect((await second.call('GET', '/v1/models')).headers.get('request-id')).not.toBe(request);
  });

  it('simulated time goes on where it was', async () => {
    const first = await rig();
    await first.advance(5_000_000);
    const before = (await first.control('GET', '/clock')).now;
    await stopNow(first.simulator);
    const { startSimulator } = await import('../../../local/simulator/simulator.ts');
    const second = await startSimulator({ stateDir: first.stateDir, timeScale: 0 });
    const after = asJson(await (await fetch(`${second.url}/_simulator/clock`)).text()).now;
    await second.stop();
    expect(String(after).slice(0, 19)).toBe(String(before).slice(0, 19));
  });
});

describe('failures of the simulator itself', () => {
  it('P1: a row on which it fails is errored, and the rest of its batch succeeds', async () => {
    const on = await rig();
    const id = await create(on, batchBody(2));
    await stopNow(on.simulator);
    class BrokenCache extends PromptCache {
      override use(question: Parameters<PromptCache['use']>[0]): CacheUse {
        if (question.label === `${id}|row-0`) {
          throw new RangeError('a defect');
        }
        return super.use(question);
      }
    }
    const record = new BatchRecords(on.stateDir).get(id);
    const defects: string[][] = [];
    const cache = new BrokenCache(1, { together: 0, standing: 0 });
    const inference = { seed: 1, billing: 'plausible', cache, answers: undefined } as const;
    const folder = join(on.stateDir, 'batches', id);
    const settled = record && (await settleRows({ seed: 1, finishAfterCancel: 0, inference, nowMs: () => START_MS, isStopping: () => false, onDefect: (...told) => defects.push(told) }, record, folder));
    expect(settled?.outcomes).toEqual({ succeeded: 1, errored: 1, canceled: 0, expired: 0 });
    const rows = rowsOf(readFileSync(join(folder, 'results.jsonl'), 'utf8'));
    expect([at(rows.get('row-0'), 'result.error.error.type'), at(rows.get('row-1'), 'result.type')]).toEqual(['api_error', 'succeeded']);
    expect(defects).toEqual([[id, 'row-0', 'RangeError']]);
  });

  it('B4, T4: a pass that fails is told, ends no process and keeps no other batch waiting', async () => {
    const on = await rig();
    const broken = await create(on, batchBody(2));
    const whole = await create(on, batchBody(2));
    rmSync(join(on.stateDir, 'batches', broken, 'index.bin'));
    // Time runs by itself here, so that the alarm rings from its timer and nobody waits for it.
    await on.control('POST', '/clock', { time_scale: 1_000_000 });
    await until(() => on.truth('batch_ended').some((line) => line.batch_id === whole) && on.truth('simulator_defect').some((line) => line.batch_id === broken));
    expect((await on.call('GET', `/v1/messages/batches/${whole}`)).json.processing_status).toBe('ended');
  });
});

describe('a folder that another simulator uses', () => {
  it('K1: is refused before anything in it is touched, and is free again after a stop', async () => {
    const first = await rig();
    writeFileSync(join(first.stateDir, 'incoming', 'upload'), 'half');
    await expect(rig({ stateDir: first.stateDir })).rejects.toThrow(/Another simulator uses the folder .* \(process \d+\)/);
    expect([existsSync(join(first.stateDir, 'incoming', 'upload')), first.truth('simulator_started').length]).toEqual([true, 1]);
    await stopNow(first.simulator);
    expect((await rig({ stateDir: first.stateDir })).truth('simulator_started').length).toBe(2);
  });

  it('K1, K2: is had by one of three processes that start at once on what a killed one has left, and the others are refused', async () => {
    const folder = scratchFolder();
    const { child: killed } = await launch(folder);
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    const starts = await Promise.all([1, 2, 3].map(async () => await start(folder)));
    expect(starts.map(({ url }) => url !== undefined).filter(Boolean)).toEqual([true]);
    const refused = starts.filter(({ url }) => url === undefined);
    const holder = starts.find(({ url }) => url !== undefined)?.child.pid;
    for (const { said } of refused) expect(said).toContain(`Another simulator uses the folder ${folder} (process ${holder}).`);
    expect(truthLines(join(folder, 'truth.jsonl')).filter((line) => line.kind === 'simulator_started')).toHaveLength(2);
  });

  it('K1, K2: is had by one of three openers, however they take turns, and by the next when it is let go', async () => {
    const folder = scratchFolder();
    const dead = { token: 'of-the-dead', process: { ...identifySelf(), startedAt: '1' } };
    for (let round = 0; round < 20; round += 1) {
      mkdirSync(join(folder, 'lock'), { recursive: true });
      if (round % 2 === 0) writeFileSync(join(folder, 'lock', 'owner'), JSON.stringify({ ...dead, token: `of-the-dead-${round}` }));
      const tries = await Promise.allSettled([1, 2, 3].map(async () => await lockState(folder)));
      const held = tries.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
      expect(held).toHaveLength(1);
      for (const each of tries) if (each.status === 'rejected') expect(String(each.reason)).toContain('Another simulator uses the folder');
      for (const release of [...held, ...held]) await release();
      expect(readdirSync(join(folder, 'lock'))).toEqual([]);
    }
  });

  it('K2: is taken over from a process that was killed', async () => {
    const folder = scratchFolder();
    const { child } = await launch(folder);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect((await rig({ stateDir: folder })).truth('simulator_started').length).toBe(2);
  });
});

describe('kills', () => {
  it('A1: a batch whose reply arrived survives SIGKILL', async () => {
    const folder = scratchFolder();
    const { url, child } = await launch(folder);
    const id = await post(url, 5);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const second = await rig({ stateDir: folder });
    expect((await second.call('GET', `/v1/messages/batches/${id}`)).status).toBe(200);
  });

  it('B1: a batch whose bill was cut off by a kill is billed once in the end', async () => {
    const on = await rig();
    const id = await create(on, batchBody(20));
    await on.control('POST', `/batches/${id}/end`);
    const results = (await on.call('GET', `/v1/messages/batches/${id}/results`)).text;
    const whole = on.truth('row_billed');
    await stopNow(on.simulator);
    // What a kill between the eighth line of the bill and the record of the end leaves behind.
    const truth = join(on.stateDir, 'truth.jsonl');
    const lines = readFileSync(truth, 'utf8').split('\n');
    const eighth = lines.findIndex((line) => line.includes('"row_billed"')) + 8;
    writeFileSync(truth, `${lines.slice(0, eighth).join('\n')}\n{"kind":"row_bi`);
    const record = join(on.stateDir, 'batches', id, 'batch.json');
    writeFileSync(record, JSON.stringify({ ...asJson(readFileSync(record, 'utf8')), endedUs: null, outcomes: null }));
    for (const state of ['settled', 'unsettled']) {
      if (state === 'unsettled') {
        rmSync(join(on.stateDir, 'batches', id, 'ended.json'));
        writeFileSync(record, JSON.stringify({ ...asJson(readFileSync(record, 'utf8')), endedUs: null, outcomes: null }));
      }
      const again = await rig({ stateDir: on.stateDir });
      await again.advance(120_000);
      expect((await again.call('GET', `/v1/messages/batches/${id}/results`)).text).toBe(results);
      expect(again.truth('row_billed').map((line) => line.custom_id).sort()).toEqual(whole.map((line) => line.custom_id).sort());
      await stopNow(again.simulator);
    }
  });

  it.each(['behind', 'before'] as const)('B1: a batch whose end was cut off just %s its record has ended and is told of once', async (moment) => {
    const on = await rig();
    const id = await create(on, batchBody(3));
    const save = BatchRecords.prototype.save;
    const cut = vi.spyOn(BatchRecords.prototype, 'save').mockImplementation(function (this: BatchRecords, record) {
      if (record.endedUs === null || moment === 'behind') save.call(this, record);
      // Nothing of a process that is killed here comes after it.
      if (record.endedUs !== null) throw new Error('killed');
    });
    onTestFinished(() => cut.mockRestore());
    await on.advance(61_000);
    expect(cut).toHaveBeenCalledTimes(1);
    await stopNow(on.simulator);
    cut.mockRestore();
    const again = await rig({ stateDir: on.stateDir, startMs: START_MS });
    // The clock may stand before the end again; what the truth log calls ended is not canceled any more.
    expect((await again.call('POST', `/v1/messages/batches/${id}/cancel`)).json.processing_status).toBe('ended');
    expect((await again.call('GET', `/v1/messages/batches/${id}/results`)).status).toBe(200);
    await again.advance(61_000);
    expect([again.truth('batch_ended').map((line) => [line.batch_id, line.succeeded]), again.truth('row_billed').length]).toEqual([[[id, 3]], 3]);
  });

  it('B1: a batch whose record could not be written is told of and billed once when the next look ends it', async () => {
    const on = await rig();
    const id = await create(on, batchBody(3));
    const full = vi.spyOn(BatchRecords.prototype, 'save').mockImplementationOnce(() => {
      throw new Error('the disk is full');
    });
    onTestFinished(() => full.mockRestore());
    await on.advance(61_000);
    expect(on.truth('simulator_defect')).toHaveLength(1);
    expect((await on.call('GET', `/v1/messages/batches/${id}`)).json.processing_status).toBe('ended');
    expect([on.truth('batch_ended').length, on.truth('row_billed').length]).toEqual([1, 3]);
  });

  it('S1: an upload that was cut off leaves nothing behind after a restart', async () => {
    const folder = scratchFolder();
    const { url, child } = await launch(folder);
    const body = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(Buffer.from('{"requests":[')) });
    const sending = fetch(`${url}/v1/messages/batches`, { method: 'POST', headers: HEADERS, body, duplex: 'half' }).catch(() => undefined);
    await until(() => existsSync(join(folder, 'incoming', '1', 'body.json')));
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await Promise.all([sending, gone]);
    const second = await rig({ stateDir: folder });
    expect([existsSync(join(folder, 'incoming', '1')), (await second.call('GET', '/v1/messages/batches')).json.data]).toEqual([false, []]);
  });
});

describe('the truth log', () => {
  it('names every call with its retry count and how it was answered', async () => {
    const on = await rig();
    await on.client.models.list();
    const [received] = on.truth('request_received');
    const [answered] = on.truth('request_answered');
    expect([received?.operation, received?.retry_count, answered?.status, answered?.request_id === received?.request_id]).toEqual(['models.list', '0', 200, true]);
  });

  it('gives the digest of the custom_ids in body order', async () => {
    const on = await rig();
    const id = await create(on, batchBody(3));
    const digest = createHash('sha256').update('row-0\nrow-1\nrow-2\n').digest('hex');
    const [line] = on.truth('batch_accepted');
    expect([line?.batch_id, line?.requests, line?.custom_ids_sha256]).toEqual([id, 3, digest]);
    expect(readFileSync(join(on.stateDir, 'batches', id, 'custom_ids.txt'), 'utf8')).toBe('row-0\nrow-1\nrow-2\n');
  });

  it('L1: a final line torn by a kill is cut off at the next start, and only that', async () => {
    const on = await rig();
    await create(on);
    await stopNow(on.simulator);
    const path = join(on.stateDir, 'truth.jsonl');
    const before = readFileSync(path, 'utf8');
    appendFileSync(path, '{"kind":"row_b');
    await stopNow((await rig({ stateDir: on.stateDir })).simulator);
    expect(readFileSync(path, 'utf8').startsWith(before)).toBe(true);
    expect(truthLines(path).every((line) => typeof line.kind === 'string')).toBe(true);
    truncateSync(path, 0);
  });

  it('L2: holds no prompt, no answer and no key', async () => {
    const on = await rig({ answers: () => 'ANSWER-CANARY' });
    const body = { requests: [{ custom_id: 'a', params: { model: 'claude-haiku-4-5', max_tokens: 10, messages: [{ role: 'user', content: 'PROMPT-CANARY' }] } }] };
    const id = await create(on, body, { 'x-api-key': 'KEY-CANARY' });
    await on.control('POST', `/batches/${id}/end`);
    const text = readFileSync(join(on.stateDir, 'truth.jsonl'), 'utf8');
    expect(text).toContain('row_billed');
    expect(text).not.toMatch(/CANARY/);
  });

  it('can be read, whole or narrowed, through the control endpoint', async () => {
    const on = await rig();
    const id = await create(on, batchBody(3));
    await on.control('POST', `/batches/${id}/end`);
    const text = (await on.call('GET', `/_simulator/truth?kind=row_billed&batch_id=${id}`)).text;
    expect(rowsOf(text).size).toBe(3);
  });
});

describe('time', () => {
  it('a scaled clock turns an hour into a second', async () => {
    const on = await rig({ timeScale: 3_600_000, batchMs: 3_600_000 });
    const id = await create(on);
    await until(async () => (await on.call('GET', `/v1/messages/batches/${id}`)).json.processing_status === 'ended');
    expect(on.truth('batch_ended')).toHaveLength(1);
  });

  it('a batch of 0 ms has ended when it is first asked for', async () => {
    const on = await rig({ batchMs: 0 });
    expect((await on.call('GET', `/v1/messages/batches/${await create(on)}`)).json.processing_status).toBe('ended');
  });

  it.each([{ advance_ms: -1 }, { to: '2020-01-01T00:00:00Z' }, {}])('the clock refuses %o', async (body) => {
    expect(await (await rig()).control('POST', '/clock', body)).toEqual({ error: expect.stringContaining('advance_ms') });
  });
});
