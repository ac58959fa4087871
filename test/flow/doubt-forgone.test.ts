/** An archive in doubt that is given up: never sent again, booked once at its bounds, and no other is taken for it. */
import { afterEach, describe, expect, it } from 'vitest';
import type { FaultRule } from '../../local/simulator/simulator.ts';
import { forgoneKey, outcomeKey } from '../../segments/lake.ts';
import type { ArchiveOutcome } from '../../segments/outcome.ts';
import type { ArchiveId, BatchId, RunKey } from '../../segments/segment.ts';
import { loseOwner, openDoubtWorld, type DoubtWorld } from '../doubt-world.ts';
import { amounts } from '../ledger-world.ts';

let world: DoubtWorld;
afterEach(async () => await world.close());

const run = 'nightly' as RunKey;
const hourMs = 3_600_000;
/** The bounds of one row of this world. */
const bound = { tokens: 416, microUsd: 2_000 };
/** The provider breaks the assumption that a 4xx makes no batch. */
const refusedButMade: FaultRule = { fault: 'status', nth: 1, status: 429, error_type: 'rate_limit_error', accept: true };

const eventsOf = async (type: string) => (await world.ledger.readEvents(0, 100)).filter((event) => event.type === type);
const endAll = async (): Promise<void> => {
  for (const batch of world.batches()) await world.end(batch);
};

async function doubted(rows: number, ...faults: readonly FaultRule[]): Promise<ArchiveId> {
  world = await openDoubtWorld(faults);
  const archive = await world.seal(rows);
  await world.submit();
  expect((await world.archive(archive)).state).toBe('in_doubt');
  return archive;
}

describe('what is given up', () => {
  it('ends as dead letters at its bounds, is never posted again, and says who decided it', async () => {
    const archive = await doubted(3, { fault: 'reply_lost', nth: 1 });
    expect(await world.forgo(archive)).toBe(true);
    // Until the settlement the reservation stands: at no moment is what may be billed free budget.
    expect(await amounts(world.ledger, 'all')).toMatchObject([3 * bound.tokens, 0, 3 * bound.microUsd, 0]);
    await world.finish(archive);
    expect(await world.archive(archive)).toMatchObject({ state: 'settled', reason: undefined, batch: undefined });
    expect(await amounts(world.ledger, 'all')).toMatchObject([0, 3 * bound.tokens, 0, 3 * bound.microUsd]);
    const outcome = (await world.readJournal(outcomeKey(run, archive))) as ArchiveOutcome;
    expect(outcome).toMatchObject({ batch: null, dead: [0, 1, 2].map((index) => ({ index, reason: 'submission_in_doubt', errorType: null })) });
    expect(outcome.chunks[0]?.spends).toContainEqual(expect.objectContaining({ rate: 'unconfirmed', microUsd: 3 * bound.microUsd }));
    const { intent } = await world.intent(archive);
    expect(await world.readJournal(forgoneKey(run, intent))).toMatchObject({ by: 'ada', reason: 'nobody can ask its sender', archive });
    expect(await eventsOf('batch.forgone')).toMatchObject([{ subject: archive, data: { by: 'ada', rows: 3 } }]);
    await world.submit();
    expect(world.truth().creates).toBe(1);
    expect(await world.ledger.readRun(run)).toMatchObject({ archivesInDoubt: 0, deadLettered: 3, succeeded: 0 });
  });

  it('is given up once, however often it is said and whoever says it next', async () => {
    const archive = await doubted(2, { fault: 'reply_lost', nth: 1 });
    expect([await world.forgo(archive), await world.forgo(archive)]).toEqual([true, true]);
    await world.finish(archive);
    expect(await world.forgo(archive)).toBe(true);
    await world.finish(archive);
    expect(await amounts(world.ledger, 'all')).toMatchObject([0, 2 * bound.tokens, 0, 2 * bound.microUsd]);
    expect(await eventsOf('batch.forgone')).toHaveLength(1);
    expect(await world.look(archive)).toEqual({ kind: 'done' });
  });

  it('is carried out by the next look when whoever said it was killed right after the word was in the lake', async () => {
    const archive = await doubted(2, { fault: 'reply_lost', nth: 1 });
    expect(await world.forgo(archive, true)).toBe(false);
    expect((await world.archive(archive)).state).toBe('in_doubt');
    expect(await world.look(archive)).toEqual({ kind: 'done' });
    expect(await world.archive(archive)).toMatchObject({ state: 'ended', reason: 'submission_in_doubt' });
  });

  it('is nothing that a late reply or refusal of its sender brings back', async () => {
    const archive = await doubted(2, { fault: 'reply_lost', nth: 1 });
    await world.forgo(archive);
    const { intent } = await world.intent(archive);
    const [batch] = world.batches() as [BatchId];
    expect(await world.ledger.acceptIntent({ intent, batch, pollAtMs: world.now(), nowMs: world.now() })).toBe(false);
    expect(await world.ledger.refuseIntent({ intent, reason: 'status_429', pauseUntilMs: undefined, nowMs: world.now() })).toBe(false);
    expect(await world.ledger.doubtIntent(intent, 'connection_lost', world.now())).toBe(false);
    expect(await world.ledger.absolveIntent({ intent, by: 'operator', reason: 'operator', scansMin: 3, landingWaitMs: 0, nowMs: world.now() })).toBe(false);
    expect((await world.archive(archive)).state).toBe('ended');
  });
});

describe('a batch of it that turns up later', () => {
  it.each(['before', 'after'] as const)('is told once and not booked again when it is found %s the settlement', async (order) => {
    const archive = await doubted(3, { fault: 'reply_lost', nth: 1 });
    await world.forgo(archive);
    if (order === 'after') await world.finish(archive);
    await endAll();
    await world.sweep();
    await world.sweep();
    if (order === 'before') await world.finish(archive);
    expect(await eventsOf('batch.leaked')).toMatchObject([{ subject: archive, data: { batch_id: world.batches()[0], rows: 3, is_covered: true } }]);
    expect(world.logs.filter((line) => line.event === 'batch.leaked')).toHaveLength(1);
    expect(await amounts(world.ledger, 'leak')).toMatchObject([0, 0, 0, 0]);
    expect(await amounts(world.ledger, 'all')).toMatchObject([0, 3 * bound.tokens, 0, 3 * bound.microUsd]);
    const { billed } = world.truth();
    expect(billed.inputTokens + billed.outputTokens).toBeLessThanOrEqual(3 * bound.tokens);
  });

  it('covers one batch only: a second one, which a refusal had made, is a leak', async () => {
    world = await openDoubtWorld([refusedButMade, { fault: 'reply_lost', nth: 2 }]);
    const archive = await world.seal(3);
    await world.submit();
    world.advance(61_000);
    await world.submit();
    expect(await world.archive(archive)).toMatchObject({ state: 'in_doubt', intents: 2 });
    await world.forgo(archive);
    await endAll();
    await world.sweep();
    await world.finish(archive);
    expect((await eventsOf('batch.leaked')).map(({ data }) => data['is_covered']).sort()).toEqual([false, true]);
    const [, leaked] = await amounts(world.ledger, 'leak');
    const { billed } = world.truth();
    expect(leaked).toBe((billed.inputTokens + billed.outputTokens) / 2);
  });

  it('is not taken for that of another archive in doubt with its row count', async () => {
    const archive = await doubted(2, { fault: 'accept_late', nth: 1, seconds: 1 }, { fault: 'drop_after', nth: 2 });
    await world.forgo(archive);
    const other = await world.seal(2);
    await world.submit();
    expect((await world.archive(other)).state).toBe('in_doubt');
    await expect.poll(() => world.batches().length, { timeout: 5_000, interval: 50 }).toBe(1);
    // The only batch of that count in the window; by time and count it would be bound.
    await expect.poll(async () => ((await world.look(other)) as { why?: string }).why, { timeout: 5_000, interval: 100 }).toBe('undecided');
    expect((await world.archive(other)).state).toBe('in_doubt');
    await endAll();
    await world.sweep();
    expect(await eventsOf('batch.disowned')).toEqual([]);
    expect(await eventsOf('batch.leaked')).toMatchObject([{ subject: archive, data: { is_covered: true } }]);
    // It is known now, so the other one is judged by what is left: nothing.
    expect(await world.lookUntilDone(other)).toBe(true);
    expect((await world.archive(other)).state).toBe('sealed');
  });
});

describe('submit.unprovable: forgo', () => {
  /** The owner is lost after the gate, and nobody can see whether it still lives. */
  async function lostOwner(): Promise<ArchiveId> {
    world = await openDoubtWorld();
    return await loseOwner(world);
  }
  const forgoing = () => ({ ...world.other(undefined), unprovable: 'forgo' as const });

  it('ends a doubt that nobody can prove after 25 hours, and not before', async () => {
    const archive = await lostOwner();
    world.advance(24 * hourMs);
    await world.look(archive, forgoing());
    expect((await world.intent(archive)).state).toBe('held');
    world.advance(hourMs);
    expect(await world.look(archive, forgoing())).toEqual({ kind: 'done' });
    expect(await world.archive(archive)).toMatchObject({ state: 'ended', reason: 'submission_in_doubt' });
    expect(await world.readJournal(forgoneKey(run, (await world.intent(archive)).intent))).toMatchObject({ by: 'settings' });
    await world.submit();
    expect(world.truth().creates).toBe(0);
  });

  it('leaves alone what a person holds', async () => {
    const archive = await lostOwner();
    await world.ledger.holdIntent((await world.intent(archive)).intent, 'operator', world.now());
    world.advance(30 * hourMs);
    expect(await world.look(archive, forgoing())).toMatchObject({ kind: 'later' });
    expect((await world.intent(archive)).state).toBe('held');
  });

  it('leaves alone what a batch may still turn out to be', async () => {
    const archive = await lostOwner();
    world.advance(hourMs);
    await world.look(archive, forgoing());
    await world.postForeign(2);
    world.advance(25 * hourMs);
    expect(await world.look(archive, forgoing())).toMatchObject({ kind: 'later', why: 'undecided' });
    expect((await world.intent(archive)).state).toBe('held');
  });
});
