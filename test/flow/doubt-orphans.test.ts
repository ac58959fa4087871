/** Batches of the workspace that no archive claims: adopted, left alone, or booked as a leak. */
import { afterEach, expect, it } from 'vitest';
import { PlimsollError } from '../../segments/errors.ts';
import type { ArchiveId } from '../../segments/segment.ts';
import { openDoubtWorld, type DoubtWorld } from '../doubt-world.ts';
import { account, amounts } from '../ledger-world.ts';

let world: DoubtWorld;
afterEach(async () => await world.close());

const endAll = async (): Promise<void> => {
  for (const batch of world.batches()) await world.end(batch);
};
/** The provider breaks the assumption that a 4xx makes no batch. */
const refusedButMade = { fault: 'status', nth: 1, status: 429, error_type: 'rate_limit_error', accept: true } as const;
const overload = { fault: 'status', status: 529, error_type: 'overloaded_error', accept: true } as const;
/** Opens a world in which a refused create has made a batch all the same and the archive was sent again; both have ended. */
async function sendTwice(): Promise<ArchiveId> {
  world = await openDoubtWorld([refusedButMade]);
  const archive = await world.seal(3);
  await world.submit();
  world.advance(61_000);
  await world.submit();
  await endAll();
  return archive;
}
const leaks = (): number => world.logs.filter((line) => line.event === 'batch.leaked').length;

it('one that a 429 has made is booked to leak and told once', async () => {
  world = await openDoubtWorld([refusedButMade]);
  const archive = await world.seal(3);
  await world.submit();
  expect(await world.archive(archive)).toMatchObject({ state: 'sealed', reason: 'status_429' });
  // The account rests for a moment, then the archive is sent again: that is the price of taking a 429 for a refusal.
  world.advance(61_000);
  await world.submit();
  expect((await world.archive(archive)).state).toBe('accepted');
  await endAll();
  await world.sweep();
  await world.sweep();
  expect(leaks()).toBe(1);
  const [, tokens, , microUsd] = await amounts(world.ledger, 'leak');
  await world.finish(archive);
  const [reserved, spent, , spentMicroUsd] = await amounts(world.ledger, 'all');
  const { billed } = world.truth();
  expect(reserved).toBe(0);
  expect(tokens + spent).toBe(billed.inputTokens + billed.outputTokens);
  expect(tokens).toBeGreaterThan(0);
  expect(microUsd).toBeGreaterThan(0);
  expect(spentMicroUsd).toBeGreaterThan(0);
  const leaked = (await world.ledger.readEvents(0, 100)).filter((event) => event.type === 'batch.leaked');
  expect(leaked).toHaveLength(1);
  expect(leaked[0]).toMatchObject({ subject: archive, data: { batch_id: world.batches()[0], rows: 3, rows_at_bound: 0 } });
});

it('one that a 529 has made is found before anything is posted again, from the first 529 on', async () => {
  world = await openDoubtWorld([overload]);
  const archive = await world.seal(3);
  await world.submit();
  expect(await world.archive(archive)).toMatchObject({ state: 'in_doubt', reason: 'status_529' });
  world.advance(61_000);
  await world.submit();
  expect(await world.look(archive)).toEqual({ kind: 'done' });
  expect(await world.archive(archive)).toMatchObject({ state: 'accepted', batch: world.batches()[0] });
  await endAll();
  await world.finish(archive);
  await world.sweep();
  expect(world.truth().creates).toBe(1);
  expect(leaks()).toBe(0);
});

it('one that a ledger holds for a leak which has forgotten its claim is not booked: the ledger is behind (U2)', async () => {
  const archive = await sendTwice();
  const refusing = { prove: async () => await Promise.reject(new PlimsollError('ledger_behind', { message: 'set back' })) };
  await expect(world.sweep({ guard: refusing })).rejects.toMatchObject({ code: 'ledger_behind' });
  expect(leaks()).toBe(0);
  expect((await amounts(world.ledger, 'leak'))[1]).toBe(0);
  await world.sweep();
  expect(leaks()).toBe(1);
  expect((await world.archive(archive)).state).toBe('accepted');
});

it('one whose results lack a row however often they are read is booked at its bound, and told once', async () => {
  const archive = await sendTwice();
  const [batch] = world.batches();
  await world.arm([{ fault: 'results_missing', on: 'batches.results' }]);
  await world.sweep();
  await world.sweep();
  expect(leaks()).toBe(1);
  expect(world.logs.filter((line) => line.event === 'orphan.not_readable')).toEqual([]);
  const leaked = (await world.ledger.readEvents(0, 100)).filter((event) => event.type === 'batch.leaked');
  expect(leaked).toMatchObject([{ subject: archive, data: { batch_id: batch, rows: 3, rows_at_bound: 1 } }]);
  const [, tokens] = await amounts(world.ledger, 'leak');
  expect(tokens).toBeGreaterThan(416);
});

it('one whose archive was halved meanwhile is booked by what was sealed', async () => {
  world = await openDoubtWorld([refusedButMade, { fault: 'status', nth: 2, status: 400, error_type: 'invalid_request_error' }]);
  const archive = await world.seal(3);
  await world.submit();
  world.advance(61_000);
  await world.submit();
  expect(await world.archive(archive)).toMatchObject({ state: 'canceled', reason: 'status_400' });
  await endAll();
  await world.sweep();
  expect(leaks()).toBe(1);
  const { billed } = world.truth();
  const [, tokens] = await amounts(world.ledger, 'leak');
  expect(tokens).toBe(billed.inputTokens + billed.outputTokens);
});

it('of two that both hold the rows of an archive, the first that was proven stays, and the other is a leak', async () => {
  world = await openDoubtWorld([refusedButMade, { fault: 'reply_lost', nth: 2 }]);
  const archive = await world.seal(3);
  await world.submit();
  world.advance(61_000);
  await world.submit();
  expect((await world.archive(archive)).state).toBe('in_doubt');
  await endAll();
  expect(await world.look(archive)).toEqual({ kind: 'done' });
  const { batch } = await world.archive(archive);
  expect(batch).toBeDefined();
  await world.sweep();
  expect(await world.archive(archive)).toMatchObject({ state: 'accepted', batch });
  await world.finish(archive);
  expect((await world.archive(archive)).state).toBe('settled');
  await world.sweep();
  expect(leaks()).toBe(1);
});

it('one that still runs is left alone, because nobody can know whose it is', async () => {
  world = await openDoubtWorld([refusedButMade]);
  const archive = await world.seal(3);
  await world.submit();
  world.advance(61_000);
  await world.submit();
  await world.sweep();
  expect(leaks()).toBe(0);
  expect((await world.archive(archive)).state).toBe('accepted');
  await endAll();
  await world.sweep();
  expect(leaks()).toBe(1);
});

it('one of an archive in doubt is adopted by the search, even when a person holds it', async () => {
  world = await openDoubtWorld([{ fault: 'reply_lost', nth: 1 }]);
  const archive = await world.seal(2);
  await world.submit();
  await world.ledger.holdIntent((await world.intent(archive)).intent, 'operator', world.now());
  await world.sweep();
  expect((await world.archive(archive)).state).toBe('in_doubt');
  await endAll();
  await world.sweep();
  expect(await world.archive(archive)).toMatchObject({ state: 'accepted', batch: world.batches()[0] });
  await world.finish(archive);
  expect((await world.archive(archive)).state).toBe('settled');
  expect(leaks()).toBe(0);
});

it("a stranger's is read once and then remembered", async () => {
  world = await openDoubtWorld();
  const foreign = await world.postForeign(2);
  await world.end(foreign);
  await world.sweep();
  expect((await world.ledger.readClaims(account, [foreign])).get(foreign)).toEqual({ kind: 'stranger' });
  await world.arm([{ fault: 'status', on: 'batches.results', status: 500 }]);
  await world.sweep();
  expect(world.logs.filter((line) => line.event === 'orphan.not_readable')).toEqual([]);
});

it('a batch of ours that was read while its archive was not in the ledger is ours again as soon as it is', async () => {
  world = await openDoubtWorld([{ fault: 'reply_lost', nth: 1 }]);
  const archive = await world.seal(2);
  await world.submit();
  await endAll();
  const { redis, keys } = world.world;
  await redis.rename(keys.of(`archive:${archive}`), keys.of('aside'));
  await world.sweep();
  const [batch] = world.batches();
  if (batch === undefined) throw new Error('there is no batch');
  expect((await world.ledger.readClaims(account, [batch])).get(batch)).toEqual({ kind: 'stranger' });
  await redis.rename(keys.of('aside'), keys.of(`archive:${archive}`));
  expect((await world.ledger.readClaims(account, [batch])).size).toBe(0);
  expect(await world.look(archive)).toEqual({ kind: 'done' });
  expect(await world.archive(archive)).toMatchObject({ state: 'accepted', batch });
});

it('the search goes on with the others when one of them cannot be read', async () => {
  world = await openDoubtWorld([{ fault: 'reply_lost', nth: 2 }]);
  const foreign = await world.postForeign(9);
  const archive = await world.seal(2);
  await world.submit();
  await endAll();
  // The list is newest first: the first that is read fails.
  await world.arm([{ fault: 'status', on: 'batches.results', status: 500, nth: 1 }]);
  await world.sweep();
  expect((await world.ledger.readClaims(account, [foreign])).get(foreign)).toEqual({ kind: 'stranger' });
  expect((await world.archive(archive)).state).toBe('in_doubt');
  await world.sweep();
  expect((await world.archive(archive)).state).toBe('accepted');
});
