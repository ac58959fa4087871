/** A doubt as its operator meets it: real processes, the evidence, and every decision. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { breaches, filesBelow, readTruth } from '../chaos/oracle.ts';
import { corpus, openWorld, type World } from '../chaos/world.ts';

let world: World;
afterEach(async () => await world.close());

interface Doubt {
  readonly archive: string;
  readonly state: string;
  readonly rows: number;
  readonly bound_usd: number;
  readonly sender_state: string;
  readonly fence: string | null;
  readonly empty_scans: number;
  readonly looks: number;
  readonly candidates: readonly { readonly batch_id: string; readonly rows: number; readonly is_ended: boolean }[];
  readonly absent_from: string | null;
  readonly choices: readonly { readonly choice: string; readonly command: string | null; readonly cost_usd_max: number }[];
}

const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `doc-${index}`);
const doubts = async (): Promise<readonly Doubt[]> => JSON.parse((await world.run(['doubts', '--json'])).stdout) as readonly Doubt[];
async function doubt(): Promise<Doubt> {
  const [only, ...others] = await doubts();
  if (!only || others.length > 0) throw new Error('there is not exactly one doubt');
  return only;
}
/** Ten rows of one segment are one archive. */
const tenRows = (): string => corpus(10, 1).split('\n').filter((line) => line !== '').map((line) => JSON.stringify({ ...(JSON.parse(line) as object), topic: 'one', priority: 'normal' })).join('\n');

it('a stopped sender is never taken for finished; when it is killed, the archive is posted once more and no more', { timeout: 120_000 }, async () => {
  world = await openWorld({ faults: { faults: [{ fault: 'hang', nth: 1 }] } }, { PLIMSOLL_SUBMIT__LANDING_WAIT: '1s' });
  const source = world.write('in.jsonl', tenRows());
  const sender = world.start(['run', source, '--run-key', 'stopped', '--json']);
  // Whole, not only begun: a sender that stops before its last byte has sent nothing, and another posts at once.
  await expect.poll(() => readTruth(world.truthFile).struck.get('hang'), { timeout: 30_000, interval: 20 }).toBe(1);
  sender.process.kill('SIGSTOP');
  const worker = world.start(['work']);
  await worker.said('doubt.search_began');
  // Longer than lease, landing wait and scans together would take.
  await expect.poll(async () => (await doubt()).looks, { timeout: 60_000, interval: 500 }).toBeGreaterThanOrEqual(8);
  expect(await doubt()).toMatchObject({ state: 'in_doubt', sender_state: 'running', fence: null, absent_from: null, empty_scans: 0 });
  expect(readTruth(world.truthFile).creates).toBe(1);
  sender.process.kill('SIGKILL');
  await sender.ended;
  await worker.said('run.completed');
  expect(readTruth(world.truthFile)).toMatchObject({ creates: 2 });
  expect(breaches(world.lake, 'stopped', ids(10), world.truthFile)).toEqual([]);
  worker.process.kill('SIGTERM');
  await worker.ended;
});

it('a doubt shows its evidence and the cost of each choice, and a person can hold it or send it again', { timeout: 120_000 }, async () => {
  world = await openWorld({ faults: { faults: [{ fault: 'drop_after', nth: 1 }] } });
  const source = world.write('in.jsonl', tenRows());
  const command = ['run', source, '--run-key', 'decided', '--json'];
  expect((await world.run(command)).code).toBe(6);
  const found = await doubt();
  expect(found).toMatchObject({ state: 'in_doubt', rows: 10, sender_state: 'finished', fence: 'call_ended', candidates: [] });
  expect(found.bound_usd).toBeGreaterThan(0);
  expect(found.choices.map((each) => each.choice)).toEqual(['wait', 'adopt', 'absent', 'forgo', 'hold']);
  expect(found.choices.find((each) => each.choice === 'absent')?.cost_usd_max).toBe(found.bound_usd);
  const words = await world.run(['doubts']);
  expect(words.stdout).toContain(`archive ${found.archive} of run decided: in doubt (connection_lost)`);
  expect(words.stdout).toContain(`plimsoll doubts absent ${found.archive} --yes`);

  const refused = await Promise.all([
    world.run(['doubts', 'absent', found.archive]),
    world.run(['doubts', 'absent', 'nobody', '--yes']),
    world.run(['doubts', 'adopt', found.archive, 'batch-7']),
  ]);
  expect(refused.map((each) => each.code)).toEqual([2, 2, 2]);
  expect(refused[0]?.stderr).toMatch(/is paid twice \(--yes\)/);
  expect(refused[1]?.stderr).toContain('[archive_unknown]');

  const held = await world.run(['doubts', 'hold', found.archive, '--json']);
  expect(held.stderr).toBe('');
  expect(JSON.parse(held.stdout)).toMatchObject({ archive: found.archive, state: 'held' });
  expect(await doubt()).toMatchObject({ state: 'held', absent_from: null });
  // What a person keeps is still kept when the ledger is made anew from the lake.
  expect((await world.run(['recover', '--json'])).code).toBe(0);
  expect(await doubt()).toMatchObject({ state: 'held', absent_from: null });
  expect((await world.run(command, { PLIMSOLL_SUBMIT__LANDING_WAIT: '1s' })).code).toBe(6);
  expect(readTruth(world.truthFile).creates).toBe(1);

  expect((await world.run(['doubts', 'absent', found.archive, '--yes'])).code).toBe(0);
  expect(await doubts()).toEqual([]);
  const end = await world.run(command);
  expect({ code: end.code, stderr: end.stderr }).toMatchObject({ code: 0 });
  expect(readTruth(world.truthFile)).toMatchObject({ creates: 2 });
  expect(breaches(world.lake, 'decided', ids(10), world.truthFile)).toEqual([]);
  expect((await world.run(['doubts', 'hold', found.archive])).stderr).toContain('[not_in_doubt]');
});

it("a person binds a batch by its id; another's is refused", { timeout: 120_000 }, async () => {
  // The list hides what is young, so the search by itself finds nothing for now.
  world = await openWorld({ faults: { faults: [{ fault: 'reply_lost', nth: 1 }, { fault: 'list_lag', seconds: 3_600 }] } });
  const source = world.write('in.jsonl', tenRows());
  const command = ['run', source, '--run-key', 'bound', '--json'];
  expect((await world.run(command)).code).toBe(6);
  const { archive } = await doubt();
  const [own = ''] = readTruth(world.truthFile).batches.keys();
  const requests = Array.from({ length: 10 }, (_, index) => ({ custom_id: `theirs-${index}`, params: { model: 'claude-haiku-4-5', max_tokens: 8, messages: [{ role: 'user', content: 'hello' }] } }));
  const reply = await fetch(`${world.simulator.url}/v1/messages/batches`, { method: 'POST', headers: { 'x-api-key': 'theirs', 'anthropic-version': '2026-10-21', 'content-type': 'application/json' }, body: JSON.stringify({ requests }) });
  const { id: foreign } = (await reply.json()) as { id: string };
  await expect.poll(async () => (await world.run(['doubts', 'adopt', archive, foreign])).stderr, { timeout: 20_000, interval: 100 }).toContain('do not belong to');
  const bound = await world.run(['doubts', 'adopt', archive, own, '--json']);
  expect(bound.stderr).toBe('');
  expect(JSON.parse(bound.stdout)).toMatchObject({ archive, state: 'adopted', batch_id: own });
  const end = await world.run(command);
  expect({ code: end.code, stderr: end.stderr }).toMatchObject({ code: 0 });
  expect(breaches(world.lake, 'bound', ids(10), world.truthFile)).toEqual([]);
  expect(readTruth(world.truthFile)).toMatchObject({ creates: 2 });
});

it('a person gives an archive up: the run ends, the bound counts as spent, a late batch is told once, and retry sends the rows anew', { timeout: 120_000 }, async () => {
  world = await openWorld({ batchMs: 500, faults: { faults: [{ fault: 'reply_lost', nth: 1 }, { fault: 'list_lag', seconds: 3_600, count: 40 }] } });
  const source = world.write('in.jsonl', tenRows());
  const command = ['run', source, '--run-key', 'forgone', '--json'];
  expect((await world.run(command)).code).toBe(6);
  const { archive, bound_usd: boundUsd } = await doubt();
  const refused = await world.run(['doubts', 'forgo', archive]);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(/10 rows of .* are given up, and \$[\d.]+ count as spent \(--yes\)/);
  expect((await world.run(['doubts', 'forgo', archive, '--yes', '--by', ' '])).code).toBe(2);
  expect((await world.run(['doubts', 'forgo', 'nobody', '--yes'])).stderr).toContain('[archive_unknown]');

  const given = await world.run(['doubts', 'forgo', archive, '--yes', '--by', 'ada', '--reason', 'the list shows nothing', '--json']);
  expect(given.stderr).toBe('');
  expect(JSON.parse(given.stdout)).toMatchObject({ archive, state: 'forgone', rows: 10, booked_usd_max: boundUsd });
  expect((await world.run(['doubts', 'forgo', archive, '--yes'])).code).toBe(0);
  expect(await doubts()).toEqual([]);
  const end = await world.run(command);
  expect(end.code, end.stderr).toBe(3);
  const report = JSON.parse(readFileSync(filesBelow(join(world.lake, 'runs')).find((file) => file.endsWith('forgone/run.json')) ?? '', 'utf8')) as object;
  expect(report).toMatchObject({ status: 'partial', reasons: { submission_in_doubt: 10 }, counts: { dead_lettered: 10, succeeded: 0 }, batches: 0, cost_usd_estimated: boundUsd });
  expect(breaches(world.lake, 'forgone', ids(10), world.truthFile)).toEqual([]);
  const { total } = JSON.parse((await world.run(['cost', '--json', '--verify'])).stdout) as { readonly total: { readonly spent_usd: string; readonly unconfirmed_usd: string } };
  expect([Number(total.spent_usd), Number(total.unconfirmed_usd)]).toEqual([boundUsd, boundUsd]);

  // Redis forgets everything: what was given up stays so, and its batch, which shows now, is no leak beside the bound.
  expect((await world.run(['recover', '--json'])).code).toBe(0);
  await fetch(`${world.simulator.url}/_simulator/faults`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ faults: [], replace: true }) });
  const worker = world.start(['work'], { PLIMSOLL_SWEEP__WORKSPACE: '100ms' });
  await worker.said('batch.leaked');
  worker.process.kill('SIGTERM');
  await worker.ended;
  const budgets = JSON.parse((await world.run(['budget', 'show', '--json'])).stdout) as { readonly accounts?: readonly { readonly target: string }[] };
  expect(JSON.stringify(budgets)).not.toContain('leak');
  expect(readTruth(world.truthFile)).toMatchObject({ creates: 1 });

  const retried = await world.run(['retry', 'forgone', '--json']);
  expect(retried.code, retried.stderr).toBe(0);
  expect(JSON.parse(retried.stdout)).toMatchObject({ status: 'succeeded', counts: { succeeded: 10 } });
  expect(readTruth(world.truthFile)).toMatchObject({ creates: 2 });
});
