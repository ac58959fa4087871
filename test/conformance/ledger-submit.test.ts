/** The ledger port against a real Redis: the lane, intents, late replies, doubts, halves, dead letters (G3, G4, G5). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ArchiveId, BatchId, IntentId, SegmentName } from '../../segments/segment.ts';
import { account, amounts, ledgerForTest, nowMs, outcomeOf, partsAfter, runA, snapshot, twice, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
beforeEach(async () => void (world = await ledgerForTest()));
afterEach(async () => await world.close());

const leaseMs = 1_000;
const prepare = async (owner = 'me', given: { readonly nowMs?: number; readonly queueRowsMax?: number; readonly account?: string } = {}) =>
  await world.ledger.prepareIntent({ account: given.account ?? account, side: 'real', owner, leaseMs, queueRowsMax: given.queueRowsMax ?? 1_000, nowMs: given.nowMs ?? nowMs });
const take = async (owner = 'me', given: { readonly nowMs?: number; readonly account?: string } = {}): Promise<{ readonly intent: IntentId; readonly archive: ArchiveId }> => {
  const prepared = await prepare(owner, given);
  if (prepared.kind !== 'prepared') throw new Error(`nothing was prepared: ${prepared.kind}`);
  return prepared;
};
const accept = async (intent: IntentId, batch = 'msgbatch_1'): Promise<boolean> => await world.ledger.acceptIntent({ intent, batch: batch as BatchId, pollAtMs: nowMs, nowMs });
const refuse = async (intent: IntentId, pauseUntilMs?: number, at = nowMs): Promise<boolean> => await world.ledger.refuseIntent({ intent, reason: 'status_429', pauseUntilMs, nowMs: at });
const dueStages = async (atMs: number): Promise<readonly string[]> => (await world.ledger.overdue(atMs, 1, 100)).filter((due) => due.stage !== 'doubt').map((due) => `${due.stage} ${due.entity}`);
/** One sealed archive of its own segment. */
async function sealed(rows: number, segment = 'invoices.8k.normal'): Promise<ArchiveId> {
  const archive = await world.pack(await world.add(rows, { segment: segment as SegmentName }));
  await world.ledger.closeArchive(archive, 'linger', nowMs);
  await world.sealOne(archive);
  return archive;
}
const laneRows = async (): Promise<number> => Number((await world.redis.hget(world.keys.of(`lane:${account}`), 'rowsEnqueued')) ?? 0);

describe('the lane of an account (G4)', () => {
  it('is given to one of many submitters at once', async () => {
    await sealed(1);
    await sealed(1, 'b.8k.normal');
    const ledgers = await Promise.all(Array.from({ length: 8 }, async () => await world.connect()));
    const answers = await Promise.all(ledgers.map(async (ledger, index) => await ledger.prepareIntent({ account, side: 'real', owner: `o${index}`, leaseMs, queueRowsMax: 100, nowMs })));
    expect(answers.map((answer) => answer.kind).sort()).toEqual([...Array.from({ length: 7 }, () => 'lane_busy'), 'prepared']);
  });

  it('serves by priority, then by age', async () => {
    const low = await sealed(1, 'a.8k.low');
    const high = await sealed(1, 'b.8k.high');
    const normal = await sealed(1, 'c.8k.normal');
    const served: ArchiveId[] = [];
    for (const batch of ['msgbatch_1', 'msgbatch_2', 'msgbatch_3']) served.push((await world.accept(batch)).archive);
    expect(served).toEqual([high, normal, low]);
    expect((await prepare()).kind).toBe('nothing');
  });

  it('is given back with every end of an intent', async () => {
    await sealed(1);
    const ends: ((intent: IntentId) => Promise<unknown>)[] = [
      async (intent) => await refuse(intent),
      async (intent) => await world.ledger.doubtIntent(intent, 'no_reply', nowMs),
    ];
    for (const end of ends) {
      const { intent } = await world.send();
      expect((await prepare('other')).kind).toBe('lane_busy');
      await end(intent);
      expect((await world.redis.hget(world.keys.of(`lane:${account}`), 'intent')) ?? '').toBe('');
    }
  });

  it('is renewed for its owner and intent only', async () => {
    await sealed(1);
    const { intent } = await take();
    const renew = async (owner: string, which: IntentId, at: number): Promise<boolean> => await world.ledger.renewLane(account, owner, which, leaseMs, at);
    expect(await renew('other', intent, nowMs)).toBe(false);
    expect(await renew('me', 'else' as IntentId, nowMs)).toBe(false);
    expect(await renew('me', intent, nowMs + 900)).toBe(true);
    expect(await world.ledger.expireLane(account, nowMs + 1_899)).toEqual({ kind: 'held', untilMs: nowMs + 1_900 });
    expect((await world.ledger.expireLane(account, nowMs + 1_900)).kind).toBe('refused');
    expect(await renew('me', intent, nowMs + 1_901)).toBe(false);
  });

  it('left by one who died before the last byte is free for a new intent, and the gate stays shut for the sleeper', async () => {
    const archive = await sealed(1);
    const { intent } = await take('sleeper');
    await world.ledger.armIntent(intent, 'sleeper', nowMs, nowMs);
    expect(await twice(async () => (await world.ledger.expireLane(account, nowMs + leaseMs)).kind)).toEqual(['refused', 'free']);
    const second = await take('other', { nowMs: nowMs + leaseMs });
    expect(second).toMatchObject({ archive, intent: `${archive}-i2` });
    expect(await world.ledger.sendIntent(intent, 'sleeper', nowMs)).toBe(false);
    expect(await world.ledger.armIntent(intent, 'sleeper', nowMs, nowMs)).toBe(false);
    expect(await world.ledger.readIntent(intent)).toMatchObject({ state: 'refused', reason: 'owner_lost' });
    expect(await laneRows()).toBe(1);
  });

  it('left by one who died after the last byte leaves a doubt, and the archive is not sent again', async () => {
    const archive = await sealed(1);
    const { intent } = await world.send('gone');
    expect(await twice(async () => (await world.ledger.expireLane(account, nowMs + leaseMs)).kind)).toEqual(['in_doubt', 'free']);
    expect((await prepare('other', { nowMs: nowMs + leaseMs })).kind).toBe('nothing');
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'in_doubt', reason: 'owner_lost', intents: 1 });
    expect(await world.ledger.readIntent(intent)).toMatchObject({ state: 'in_doubt' });
    expect(await world.ledger.readRun(runA)).toMatchObject({ archivesInDoubt: 1 });
    expect(await amounts(world.ledger, 'all')).toEqual([10, 0, 20, 0]);
    expect(await laneRows()).toBe(1);
  });

  it('shuts its gate when the lease is over, whoever asks', async () => {
    await sealed(1);
    const { intent } = await take();
    await world.ledger.armIntent(intent, 'me', nowMs, nowMs);
    expect(await world.ledger.sendIntent(intent, 'other', nowMs)).toBe(false);
    expect(await world.ledger.sendIntent(intent, 'me', nowMs + leaseMs)).toBe(false);
    expect(await world.ledger.sendIntent(intent, 'me', nowMs + leaseMs - 1)).toBe(true);
    expect(await world.ledger.readIntent(intent)).toMatchObject({ state: 'sent', sentAtMs: nowMs + leaseMs - 1 });
  });

  it('opens the gate only for what is armed', async () => {
    await sealed(1);
    const { intent } = await take();
    expect(await world.ledger.sendIntent(intent, 'me', nowMs)).toBe(false);
  });

  it('of an account that nobody uses any more is looked after by the next submitter of another', async () => {
    const archive = await sealed(1);
    await take('old', { account: 'old-key' });
    expect((await prepare('new', { account: 'new-key' })).kind).toBe('nothing');
    expect(await dueStages(nowMs + leaseMs)).toContain('submit next');
    expect(await take('new', { account: 'new-key', nowMs: nowMs + leaseMs })).toMatchObject({ archive });
    expect(await world.ledger.readArchive(archive)).toMatchObject({ account: 'new-key' });
  });

  it('is due for a look when its lease ends although nothing is in line', async () => {
    await sealed(1);
    await take();
    expect(await dueStages(nowMs + leaseMs - 1)).not.toContain('submit next');
    expect(await dueStages(nowMs + leaseMs)).toContain('submit next');
  });
});

describe("the provider's queue", () => {
  it('takes archives while their rows fit, and the next one when a batch has ended', async () => {
    const one = await sealed(6);
    await sealed(6, 'b.8k.normal');
    await world.accept('msgbatch_1');
    expect(await prepare('me', { queueRowsMax: 10 })).toEqual({ kind: 'queue_full', rows: 6, rowsFree: 4 });
    expect(await twice(async () => await world.ledger.endArchive(one, undefined, nowMs))).toEqual([true, false]);
    expect((await prepare('me', { queueRowsMax: 10 })).kind).toBe('prepared');
    expect(await laneRows()).toBe(6);
  });

  it('takes an archive that is larger than the whole queue when the queue is empty', async () => {
    await sealed(50);
    expect((await prepare('me', { queueRowsMax: 10 })).kind).toBe('prepared');
  });

  it('is left on refusal, halving and rejection, and kept in doubt', async () => {
    const archive = await sealed(4);
    await refuse((await take()).intent);
    expect(await laneRows()).toBe(0);
    const chunk = (await world.ledger.readArchiveChunks(archive))[0];
    const { intent } = await world.send();
    if (chunk) await world.ledger.split(chunk, ...partsAfter(1, 0, 3), nowMs, intent);
    const halves = await world.ledger.halveArchive(intent, (await world.ledger.readArchiveChunks(archive)).slice(0, 1), 'status_400', nowMs);
    expect(await laneRows()).toBe(0);
    for (const half of halves) await world.sealOne(half);
    await world.ledger.rejectArchive((await world.send()).intent, 'status_400', nowMs);
    expect(await laneRows()).toBe(0);
    await world.ledger.doubtIntent((await world.send()).intent, 'no_reply', nowMs);
    expect(await laneRows()).toBe(3);
  });
});

describe('a pause', () => {
  it('keeps the whole account from sending until it is over', async () => {
    await sealed(1);
    await refuse((await world.send()).intent, nowMs + 500);
    expect(await prepare()).toEqual({ kind: 'paused', untilMs: nowMs + 500, reason: 'status_429' });
    expect(await dueStages(nowMs + 499)).not.toContain('submit next');
    expect(await dueStages(nowMs + 500)).toContain('submit next');
    expect((await prepare('me', { nowMs: nowMs + 500 })).kind).toBe('prepared');
  });
  it('is not cut short by a milder refusal', async () => {
    await sealed(1);
    const { intent } = await world.send('gone');
    await world.ledger.expireLane(account, nowMs + leaseMs);
    await sealed(2, 'b.8k.normal');
    await refuse((await world.send()).intent, nowMs + 60_000);
    await refuse(intent, nowMs + 100);
    expect(await prepare('me', { nowMs: nowMs + 200 })).toMatchObject({ kind: 'paused', untilMs: nowMs + 60_000 });
  });
});

describe('an archive (G3)', () => {
  it('has one living intent however often it is refused', async () => {
    const archive = await sealed(1);
    for (let ordinal = 1; ordinal <= 3; ordinal += 1) {
      const { intent } = await world.send();
      expect(intent).toBe(`${archive}-i${ordinal}`);
      expect((await prepare('other')).kind).toBe('lane_busy');
      expect(await twice(async () => await refuse(intent))).toEqual([true, true]);
    }
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'sealed', intents: 3 });
    expect(await amounts(world.ledger, 'all')).toEqual([10, 0, 20, 0]);
  });

  it('is bound to one batch, and a batch to one archive', async () => {
    const one = await sealed(1);
    await sealed(1, 'b.8k.normal');
    const first = await world.send();
    expect(await twice(async () => await accept(first.intent))).toEqual([true, true]);
    const second = await world.send();
    expect(await accept(second.intent, 'msgbatch_1')).toBe(false);
    expect(await accept(first.intent, 'msgbatch_2')).toBe(false);
    expect(await world.ledger.readArchive(one)).toMatchObject({ state: 'accepted', batch: 'msgbatch_1', account });
    expect(await world.ledger.readRun(runA)).toMatchObject({ batches: 1 });
    expect(await world.ledger.readIntent(second.intent)).toMatchObject({ state: 'sent' });
  });

  it('is asked for when its poll is due, and no more once it has ended', async () => {
    const archive = await sealed(1);
    await world.ledger.acceptIntent({ intent: (await world.send()).intent, batch: 'msgbatch_1' as BatchId, pollAtMs: nowMs + 100, nowMs });
    expect(await dueStages(nowMs + 99)).not.toContain(`track ${archive}`);
    expect(await dueStages(nowMs + 100)).toContain(`track ${archive}`);
    await world.ledger.deferPoll(archive, nowMs + 500);
    expect(await dueStages(nowMs + 499)).not.toContain(`track ${archive}`);
    await world.ledger.endArchive(archive, undefined, nowMs);
    await world.ledger.deferPoll(archive, nowMs);
    expect(await dueStages(nowMs + 1_000)).toEqual([`settle ${archive}`]);
  });
});

describe('a reply that comes late', () => {
  const lost = async (): Promise<{ readonly intent: IntentId; readonly archive: ArchiveId }> => {
    await sealed(1);
    const sent = await world.send('slow');
    await world.ledger.expireLane(account, nowMs + leaseMs);
    return sent;
  };

  it('with a batch resolves the doubt, without touching the lane that another holds by now', async () => {
    const { intent, archive } = await lost();
    await sealed(2, 'b.8k.normal');
    const other = await take('other');
    expect(await twice(async () => await accept(intent))).toEqual([true, true]);
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'accepted', batch: 'msgbatch_1' });
    expect(await world.ledger.readIntent(intent)).toMatchObject({ state: 'adopted' });
    expect(await world.ledger.readRun(runA)).toMatchObject({ archivesInDoubt: 0, batches: 1 });
    expect(await world.ledger.renewLane(account, 'other', other.intent, leaseMs, nowMs)).toBe(true);
  });

  it('with a refusal resolves it the other way, and the archive may be sent again', async () => {
    const { intent, archive } = await lost();
    expect(await twice(async () => await refuse(intent))).toEqual([true, true]);
    expect(await world.ledger.readIntent(intent)).toMatchObject({ state: 'absent' });
    expect(await world.ledger.readRun(runA)).toMatchObject({ archivesInDoubt: 0 });
    expect(await take()).toEqual({ kind: 'prepared', archive, intent: `${archive}-i2` });
    expect(await laneRows()).toBe(1);
  });

  it('of an intent that was refused long ago changes nothing', async () => {
    const archive = await sealed(1);
    const { intent } = await world.send();
    await refuse(intent);
    const second = await world.send();
    const before = await snapshot(world);
    expect(await refuse(intent)).toBe(true);
    expect(await accept(intent)).toBe(false);
    expect(await world.ledger.doubtIntent(intent, 'late', nowMs)).toBe(false);
    expect(await snapshot(world)).toEqual(before);
    expect(second.intent).toBe(`${archive}-i2`);
  });

  it('names a batch although the ledger never heard of the last byte: it is believed, or the archive would be paid twice', async () => {
    const archive = await sealed(1);
    const { intent } = await take();
    await world.ledger.armIntent(intent, 'me', nowMs, nowMs);
    expect(await accept(intent)).toBe(true);
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'accepted' });
    expect((await prepare('other')).kind).toBe('nothing');
  });
});

describe('an intent of which the lake knew already', () => {
  it('is put in doubt before anything is sent, and only by its submitter', async () => {
    const archive = await sealed(1);
    const { intent } = await take();
    expect(await world.ledger.doubtIntent(intent, 'journaled_before', nowMs)).toBe(true);
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'in_doubt', reason: 'journaled_before' });
    expect((await prepare()).kind).toBe('nothing');
  });
});

describe('an archive that is refused whole', () => {
  it('is carried on by two halves; reservations stay with the chunks', async () => {
    const archive = await sealed(6);
    const [chunk] = await world.ledger.readArchiveChunks(archive);
    if (!chunk) throw new Error('the archive is empty');
    const { intent } = await world.send();
    await world.ledger.split(chunk, ...partsAfter(2, 0, 5), nowMs, intent);
    const [left, right] = await world.ledger.readArchiveChunks(archive);
    if (!left || !right) throw new Error('there are no halves');
    const [halves, again] = await twice(async () => await world.ledger.halveArchive(intent, [left], 'status_413', nowMs));
    expect(halves).toHaveLength(2);
    expect(again).toEqual([]);
    expect(await world.ledger.listArchives(runA)).toEqual(halves);
    expect(await Promise.all(halves.map(async (half) => (await world.ledger.readArchive(half))?.rows))).toEqual([2, 4]);
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'canceled', reason: 'status_413' });
    expect(await world.ledger.readIntent(intent)).toMatchObject({ state: 'refused' });
    expect(await amounts(world.ledger, 'all')).toEqual([60, 0, 120, 0]);
    expect(await dueStages(nowMs)).toEqual(halves.map((half) => `seal ${half}`));
    expect(await accept(intent)).toBe(false);
  });

  it('is not halved into nothing', async () => {
    const archive = await sealed(6);
    const { intent } = await world.send();
    const before = await snapshot(world);
    await expect(world.ledger.halveArchive(intent, [], 'status_400', nowMs)).rejects.toThrow();
    await expect(world.ledger.halveArchive(intent, await world.ledger.readArchiveChunks(archive), 'status_400', nowMs)).rejects.toThrow();
    expect(await snapshot(world)).toEqual(before);
  });

  it('down to one row ends as a dead letter, its reservation returned and nothing spent', async () => {
    const chunk = await world.add(1);
    const archive = await world.pack(chunk);
    await world.flush(runA);
    await world.seal(runA);
    const { intent } = await world.send();
    expect(await twice(async () => await world.ledger.rejectArchive(intent, 'status_413', nowMs))).toEqual([true, false]);
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'ended', reason: 'status_413', batch: undefined });
    await world.ledger.settle({ archive, chunks: [outcomeOf(chunk, 1, 0, { succeeded: 0, deadLettered: 1 })], retries: [], nowMs });
    expect(await world.ledger.exportArchive(archive, {}, nowMs)).toMatchObject({ isRunDone: true });
    expect(await amounts(world.ledger, 'all')).toEqual([0, 0, 0, 0]);
    expect(await world.ledger.readRun(runA)).toMatchObject({ deadLettered: 1, succeeded: 0, batches: 0, chunksOpen: 0 });
  });
});
