/** An archive whose create has no reply that proves anything: its batch is found, or it is proven that there is none. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import type { FaultRule } from '../../local/simulator/simulator.ts';
import { acceptedKey, outcomeKey } from '../../segments/lake.ts';
import type { ArchiveId, BatchId } from '../../segments/segment.ts';
import { openClaude } from '../../workers/anthropic.ts';
import type { SettlerDependencies } from '../../workers/settler.ts';
import { landingWaitMs, loseOwner, openDoubtWorld, type DoubtWorld } from '../doubt-world.ts';
import { account, amounts } from '../ledger-world.ts';

let world: DoubtWorld;
afterEach(async () => await world.close());

const batchEvents = async (): Promise<readonly string[]> => (await world.ledger.readEvents(0, 100)).map((event) => event.type).filter((type) => type.startsWith('batch.'));

const endAll = async (): Promise<void> => {
  for (const batch of world.batches()) await world.end(batch);
};

/** A provider whose results are gone, but for the first line's `custom_id` when one is given. */
const withoutLines = (first?: string): SettlerDependencies['claude'] => ({
  account,
  side: 'real',
  probe: async () => world.now(),
  createBatch: async () => await Promise.reject(new Error('nothing is created here')),
  cancelBatch: async () => undefined,
  retrieveBatch: async (batch) => ({ batch, isEnded: true, isCanceling: false, createdAtMs: world.now(), counts: { processing: 0, succeeded: 2, errored: 0, canceled: 0, expired: 0 }, retryAfterMs: undefined }),
  async *readResults() {},
  firstResult: async () => first,
});

/** Seals and submits one archive whose reply the simulator loses. */
async function doubted(rows: number, fault: FaultRule = { fault: 'reply_lost', nth: 1 }): Promise<ArchiveId> {
  world = await openDoubtWorld([fault]);
  const archive = await world.seal(rows);
  await world.submit();
  expect((await world.archive(archive)).state).toBe('in_doubt');
  return archive;
}

/** Seals and submits an archive that never lands, and lets it be bound to a stranger's batch of as many rows. */
async function boundToStranger(): Promise<{ readonly archive: ArchiveId; readonly foreign: BatchId }> {
  world = await openDoubtWorld([{ fault: 'drop_after', nth: 1 }]);
  const archive = await world.seal(2);
  await world.submit();
  const foreign = await world.postForeign(2);
  expect(await world.look(archive)).toEqual({ kind: 'done' });
  return { archive, foreign };
}

/** Reads results that prove nothing: the archive stays ended, and is settled 27 hours later, when every batch of that day has ended. */
async function settledOnlyWhenOver(archive: ArchiveId): Promise<void> {
  await world.finish(archive, { claude: withoutLines() });
  expect((await world.archive(archive)).state).toBe('ended');
  expect(await world.journal(outcomeKey('nightly' as never, archive))).toBe(false);
  world.advance(27 * 3_600_000);
  await world.finish(archive, { claude: withoutLines() });
  expect((await world.archive(archive)).state).toBe('settled');
}

/** A provider whose list of batches is always this page; nothing else is asked of it. */
async function listing(page: object): Promise<ReturnType<typeof openClaude>> {
  const server = createServer((_request, reply) => void reply.setHeader('content-type', 'application/json').end(JSON.stringify(page)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const claude = openClaude({ apiKey: 'test-key', authToken: undefined, baseUrl: `http://127.0.0.1:${port}`, version: '2026-10-21', account });
  onTestFinished(async () => {
    await claude.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return claude;
}

describe('a create that was accepted and whose reply was lost', () => {
  it('is adopted while it runs, confirmed by its results, and never posted again', async () => {
    const archive = await doubted(3);
    expect(await world.look(archive)).toEqual({ kind: 'done' });
    const [batch] = world.batches();
    expect(await world.archive(archive)).toMatchObject({ state: 'accepted', batch });
    expect((await world.intent(archive)).state).toBe('adopted');
    await endAll();
    await world.finish(archive);
    expect((await world.archive(archive)).state).toBe('settled');
    expect((await world.intent(archive)).state).toBe('accepted');
    await world.submit();
    expect(world.truth().creates).toBe(1);
    expect(await amounts(world.ledger, 'all')).toMatchObject({ 0: 0, 2: 0 });
    expect(await world.ledger.readRun('nightly' as never)).toMatchObject({ archivesInDoubt: 0, batches: 1 });
  });

  it('is adopted at once when it has ended, whatever its count says, because its results name it', async () => {
    const archive = await doubted(2);
    const [batch] = world.batches();
    await endAll();
    await world.arm([{ fault: 'counts_wrong', on: 'batches.list', rows: 1 }]);
    expect(await world.look(archive)).toEqual({ kind: 'done' });
    expect(await world.archive(archive)).toMatchObject({ state: 'accepted', batch });
    expect(world.truth().creates).toBe(1);
  });

  it('is found although the list lags behind', async () => {
    const archive = await doubted(2);
    await world.arm([{ fault: 'list_lag', seconds: 60, count: 4 }]);
    expect(await world.lookUntilDone(archive, 8)).toBe(true);
    expect((await world.archive(archive)).state).toBe('accepted');
    expect(world.truth().creates).toBe(1);
  });

  it('is found although it was accepted only after the connection had died', async () => {
    const archive = await doubted(2, { fault: 'accept_late', nth: 1, seconds: 1 });
    expect(await world.look(archive)).toMatchObject({ kind: 'later', why: 'not_found' });
    await expect.poll(async () => (await world.look(archive)).kind, { timeout: 5_000, interval: 100 }).toBe('done');
    expect(world.truth().creates).toBe(1);
  });

  it.each(['before', 'after'] as const)("is not mistaken for a stranger's batch of the same count that was posted %s it", async (order) => {
    world = await openDoubtWorld([{ fault: 'reply_lost', nth: order === 'before' ? 2 : 1 }]);
    const archive = await world.seal(3);
    if (order === 'before') await world.postForeign(3);
    await world.submit();
    const own = world.batches().at(-1);
    if (order === 'after') await world.postForeign(3);
    expect(await world.look(archive)).toMatchObject({ kind: 'later', why: 'undecided' });
    expect((await world.intent(archive)).doubt?.candidates).toHaveLength(2);
    // Nothing is absent while one of them may be ours, however long it takes.
    world.advance(2 * landingWaitMs);
    expect(await world.lookUntilDone(archive, 5)).toBe(false);
    await endAll();
    expect(await world.lookUntilDone(archive, 3)).toBe(true);
    expect(await world.archive(archive)).toMatchObject({ state: 'accepted', batch: own });
    expect(world.truth().creates).toBe(2);
  });

  it('is given the right batch in the end although a stranger\'s looked like it and its own showed late', async () => {
    world = await openDoubtWorld([{ fault: 'accept_late', nth: 1, seconds: 1 }]);
    const archive = await world.seal(2);
    await world.submit();
    const [own] = world.batches();
    const foreign = await world.postForeign(2);
    expect(await world.look(archive)).toEqual({ kind: 'done' });
    expect(await world.archive(archive)).toMatchObject({ state: 'accepted', batch: foreign });
    await world.end(foreign);
    await world.finish(archive);
    expect(await world.archive(archive)).toMatchObject({ state: 'in_doubt', batch: undefined });
    expect(await world.intent(archive)).toMatchObject({ state: 'in_doubt', batch: undefined });
    expect(await world.ledger.readRun('nightly' as never)).toMatchObject({ archivesInDoubt: 1, batches: 0 });
    await expect.poll(async () => (await world.look(archive)).kind, { timeout: 5_000, interval: 100 }).toBe('done');
    expect(await world.archive(archive)).toMatchObject({ state: 'accepted', batch: own });
    await endAll();
    await world.finish(archive);
    expect((await world.archive(archive)).state).toBe('settled');
    expect(await batchEvents()).toEqual(['batch.in_doubt', 'batch.submitted', 'batch.disowned', 'batch.submitted']);
  });

  it("is not given a stranger's results by a settler that slept while the adoption was undone (O5)", async () => {
    const { archive, foreign } = await boundToStranger();
    const remembered = { ...(await world.archive(archive)), state: 'ended' as const };
    await world.end(foreign);
    await world.finish(archive);
    expect((await world.archive(archive)).state).toBe('in_doubt');
    await world.finish(archive, { ledger: { ...world.ledger, readArchive: async () => remembered } });
    expect(await world.journal(outcomeKey('nightly' as never, archive))).toBe(false);
    expect((await world.archive(archive)).state).toBe('in_doubt');
  });

  it('is not settled by results that prove nothing, until every batch of that day has ended (O5)', async () => {
    const { archive, foreign } = await boundToStranger();
    await world.end(foreign);
    await settledOnlyWhenOver(archive);
  });

  it('is not settled by results that prove nothing after a rebuild, which knows no time of its last byte (O5)', async () => {
    const archive = await doubted(2, { fault: 'drop_after', nth: 1 });
    await world.rebuild();
    const foreign = await world.postForeign(2);
    // Whoever rebuilt is another process than the one that sent.
    expect(await world.look(archive, world.other(true))).toEqual({ kind: 'done' });
    expect(await world.intent(archive)).toMatchObject({ state: 'adopted', batch: foreign, sentAtMs: undefined });
    await world.end(foreign);
    await settledOnlyWhenOver(archive);
  });

  it("is taken back from a stranger's batch of which the first line alone can be read (O5)", async () => {
    const { archive, foreign } = await boundToStranger();
    await world.end(foreign);
    await world.finish(archive, { claude: withoutLines('theirs-0') });
    expect((await world.archive(archive)).state).toBe('in_doubt');
    expect(await world.journal(outcomeKey('nightly' as never, archive))).toBe(false);
  });

  it('has an event of its own for each submission, also when another attempt makes the second one', async () => {
    const { archive, foreign } = await boundToStranger();
    await world.end(foreign);
    await world.finish(archive);
    expect((await world.archive(archive)).state).toBe('in_doubt');
    expect(await world.lookUntilDone(archive)).toBe(true);
    await world.submit();
    expect((await world.archive(archive)).state).toBe('accepted');
    const told = (await world.ledger.readEvents(0, 100)).filter((event) => event.type === 'batch.submitted');
    expect(told.map((event) => event.data['batch_id'])).toEqual([foreign, world.batches().at(-1)]);
    expect(new Set(told.map((event) => event.id)).size).toBe(2);
  });

  it('takes its own batch from the search for orphans, while it is bound to a stranger\'s that still runs', async () => {
    world = await openDoubtWorld([{ fault: 'accept_late', nth: 1, seconds: 1 }]);
    const archive = await world.seal(2);
    await world.submit();
    const [own] = world.batches();
    await world.postForeign(2);
    await world.look(archive);
    if (own === undefined) throw new Error('there is no batch');
    await world.end(own);
    await expect.poll(async () => await world.sweep().then(async () => (await world.archive(archive)).batch), { timeout: 5_000, interval: 100 }).toBe(own);
    await world.finish(archive);
    expect((await world.archive(archive)).state).toBe('settled');
    expect(world.truth().creates).toBe(2);
  });
});

describe('a create that never became a batch', () => {
  it('is proven absent after the landing wait and three empty scans, and posted again once', async () => {
    const archive = await doubted(2, { fault: 'drop_after', nth: 1 });
    expect((await world.intent(archive)).doubt).toMatchObject({ fence: 'call_ended', scans: 0 });
    const doubtedMs = world.now();
    expect(await world.lookUntilDone(archive)).toBe(true);
    expect(world.now() - doubtedMs).toBeGreaterThanOrEqual(landingWaitMs - 1_000);
    expect((await world.intent(archive)).state).toBe('absent');
    expect((await world.archive(archive)).state).toBe('sealed');
    await world.submit();
    expect(await world.archive(archive)).toMatchObject({ state: 'accepted', intents: 2 });
    expect(world.truth()).toMatchObject({ creates: 2 });
    expect(world.truth().batches.size).toBe(1);
  });

  const running = { id: 'msgbatch_000000000001', processing_status: 'in_progress', created_at: '2026-11-22T09:00:00Z', request_counts: { processing: 2, succeeded: 0, errored: 0, canceled: 0, expired: 0 } };
  const lastPage = { has_more: false, first_id: null, last_id: null };

  it.each([
    ['ends a page without saying where the next one begins', { ...lastPage, data: [], has_more: true }, { reason: 'page_without_end', batch: undefined }],
    ['names a batch in a form that is not known', { ...lastPage, data: [{ ...running, id: 'batch_01NewForm000', created_at: '2999-01-01T00:00:00Z' }] }, { reason: 'id', batch: 'batch_01NewForm000' }],
    ['tells a time that cannot be read', { ...lastPage, data: [{ ...running, created_at: 'yesterday' }] }, { reason: 'created_at', batch: running.id }],
    ['counts requests in a form that is not known', { ...lastPage, data: [{ ...running, created_at: '2999-01-01T00:00:00Z', request_counts: { processing: '2' } }] }, { reason: 'request_counts', batch: running.id }],
  ])('is not absent while the list of the workspace %s (B2)', async (_name, page, told) => {
    const archive = await doubted(2, { fault: 'drop_after', nth: 1 });
    const claude = await listing(page);
    world.advance(2 * landingWaitMs);
    expect(await world.lookUntilDone(archive, 6, { claude })).toBe(false);
    await world.submit();
    expect((await world.archive(archive)).state).toBe('in_doubt');
    expect(world.truth().creates).toBe(1);
    const warnings = world.logs.filter((line) => line.event === 'workspace.unreadable');
    expect(warnings).toHaveLength(6);
    expect(warnings[0]?.detail).toMatchObject(told);
    await world.sweep({ claude });
    expect(world.logs.filter((line) => line.event === 'workspace.unreadable')).toHaveLength(7);
  });

  it('is absent although a batch that is too old to be its own has a form that is not known', async () => {
    const archive = await doubted(2, { fault: 'drop_after', nth: 1 });
    const claude = await listing({ ...lastPage, data: [{ ...running, id: 'batch_01NewForm000', created_at: '2020-01-01T00:00:00Z' }] });
    world.advance(2 * landingWaitMs);
    expect(await world.lookUntilDone(archive, 6, { claude })).toBe(true);
    expect((await world.archive(archive)).state).toBe('sealed');
  });

  it('is not absent before the landing wait, however often one looks (B2)', async () => {
    const archive = await doubted(2, { fault: 'drop_after', nth: 1 });
    for (let look = 0; look < 10; look += 1) await world.look(archive);
    expect((await world.intent(archive)).doubt).toMatchObject({ looks: 10, scans: 0 });
    world.advance(landingWaitMs + 1);
    // Looks at the same moment are one scan.
    for (let look = 0; look < 5; look += 1) await world.look(archive);
    expect((await world.intent(archive)).doubt?.scans).toBe(1);
    expect(await world.ledger.absolveIntent({ intent: (await world.intent(archive)).intent, by: 'adopter', reason: 'x', scansMin: 3, landingWaitMs, nowMs: world.now() })).toBe(false);
    expect((await world.archive(archive)).state).toBe('in_doubt');
  });

  it('is never taken for absent while its sender is only stopped (B3)', async () => {
    const archive = await lostOwner();
    world.advance(10 * landingWaitMs);
    expect(await world.lookUntilDone(archive, 12, world.other(false))).toBe(false);
    expect(await world.intent(archive)).toMatchObject({ state: 'in_doubt', doubt: { fencedAtMs: undefined, scans: 0 } });
    expect(await world.lookUntilDone(archive, 200, world.other(true))).toBe(true);
    expect((await world.intent(archive)).state).toBe('absent');
  });

  it('is left to a person when nobody can see its sender, and told again after 25 hours', async () => {
    const archive = await lostOwner();
    world.advance(landingWaitMs + 1);
    await world.look(archive, world.other(undefined));
    expect(await world.intent(archive)).toMatchObject({ state: 'held', reason: 'sender_not_visible' });
    for (let day = 0; day < 2; day += 1) {
      world.advance(25 * 3_600_000);
      for (let look = 0; look < 3; look += 1) await world.look(archive, world.other(undefined));
    }
    expect(await batchEvents()).toEqual(['batch.in_doubt', 'batch.held', 'batch.in_doubt', 'batch.in_doubt']);
    await world.submit();
    expect(world.truth().creates).toBe(0);
    expect(world.logs.filter((line) => line.event === 'archive.still_in_doubt')).toHaveLength(2);
  });

  it('is sent again when a person says so, and only then', async () => {
    const archive = await lostOwner();
    const { intent } = await world.intent(archive);
    expect(await world.ledger.holdIntent(intent, 'operator', world.now())).toBe(true);
    world.advance(10 * landingWaitMs);
    expect(await world.lookUntilDone(archive, 8, world.other(true))).toBe(false);
    expect(await world.ledger.absolveIntent({ intent, by: 'operator', reason: 'operator', scansMin: 3, landingWaitMs, nowMs: world.now() })).toBe(true);
    await world.submit();
    expect(await world.archive(archive)).toMatchObject({ state: 'accepted', intents: 2 });
  });

  /** The owner is lost after the gate and before any byte of the provider's: its lease ends with the intent `sent`. */
  async function lostOwner(): Promise<ArchiveId> {
    world = await openDoubtWorld();
    return await loseOwner(world);
  }
});

describe('row counts', () => {
  it('of two archives in doubt are never equal: one waits in line until the other is decided', async () => {
    world = await openDoubtWorld([{ fault: 'drop_after', count: 2 }]);
    const [first, twin, other] = [await world.seal(2), await world.seal(2), await world.seal(5)];
    await world.submit();
    expect(await Promise.all([first, twin, other].map(async (each) => (await world.archive(each)).state))).toEqual(['in_doubt', 'sealed', 'in_doubt']);
    expect(world.logs).toContainEqual(expect.objectContaining({ event: 'submit.counts_taken', detail: expect.objectContaining({ rows: 2 }) }));
    expect(await world.lookUntilDone(first)).toBe(true);
    expect((await world.ledger.overdue(world.now(), 1, 100)).map((due) => `${due.stage} ${due.entity}`)).toContain('submit next');
    await world.submit();
    expect((await world.archive(first)).state).toBe('accepted');
    expect((await world.archive(twin)).state).toBe('accepted');
  });

  it('that two intents share all the same keep both from being bound before a batch has ended', async () => {
    const first = await doubted(2, { fault: 'reply_lost', count: 2 });
    expect(await world.look(first)).toEqual({ kind: 'done' });
    // Bound on time and count alone, it no longer keeps its twin in line; but the twin is not bound on such evidence.
    const twin = await world.seal(2);
    await world.submit();
    expect((await world.archive(twin)).state).toBe('in_doubt');
    expect(await world.look(twin)).toMatchObject({ kind: 'later', why: 'undecided' });
    await endAll();
    expect(await world.look(twin)).toEqual({ kind: 'done' });
    await Promise.all([world.finish(first), world.finish(twin)]);
    expect([(await world.archive(first)).state, (await world.archive(twin)).state]).toEqual(['settled', 'settled']);
    expect(world.truth().creates).toBe(2);
  });
});

it('a proven batch is written into the journal, an adopted one only when its results agree', async () => {
  world = await openDoubtWorld([{ fault: 'reply_lost', nth: 1 }]);
  const archive = await world.seal(2);
  await world.submit();
  await world.look(archive);
  const key = acceptedKey(account, (await world.intent(archive)).intent);
  expect(await world.journal(key)).toBe(false);
  for (const batch of world.batches()) await world.end(batch);
  await world.finish(archive);
  expect(await world.journal(key)).toBe(true);
});
