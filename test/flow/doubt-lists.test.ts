/** A doubt beside a provider whose lists have another form than they had so far: it is adopted or stays in doubt, and is never paid twice. */
import { afterEach, describe, expect, it } from 'vitest';
import type { FaultRule } from '../../local/simulator/simulator.ts';
import type { ArchiveId } from '../../segments/segment.ts';
import { landingWaitMs, openDoubtWorld, type DoubtWorld } from '../doubt-world.ts';

let world: DoubtWorld;
afterEach(async () => await world.close());

/** An archive of two rows whose reply is lost, with strangers' batches of other counts before and behind it; then the list changes its form. */
async function doubtedAmongStrangers(...forms: readonly FaultRule[]): Promise<ArchiveId> {
  world = await openDoubtWorld([{ fault: 'reply_lost', nth: 2 }]);
  await world.postForeign(3);
  const archive = await world.seal(2);
  await world.submit();
  for (const rows of [4, 5]) await world.postForeign(rows);
  expect((await world.archive(archive)).state).toBe('in_doubt');
  await world.arm(forms);
  return archive;
}

/** Four batches: ours is the second oldest. */
const creates = 4;

describe('the batch of a doubt is found in a list', () => {
  it.each([
    ['of one batch a page', [{ fault: 'list_short' }]],
    ['in which batches of one second are turned round', [{ fault: 'list_reordered' }]],
    ['of short pages that are turned round', [{ fault: 'list_short', rows: 2 }, { fault: 'list_reordered' }]],
    ['that shows a status and a field that nobody knows', [{ fault: 'status_unknown' }]],
  ] as const)('%s', async (_name, forms) => {
    const archive = await doubtedAmongStrangers(...forms);
    expect(await world.look(archive)).toEqual({ kind: 'done' });
    expect(await world.archive(archive)).toMatchObject({ state: 'accepted', batch: world.batches()[1] });
    expect(world.truth().creates).toBe(creates);
  });
});

describe('a doubt whose batch is hidden by the form of a list is not absent (B2)', () => {
  it.each([
    ['that promises more behind its first page and has nothing there', { fault: 'list_cut', rows: 2 }, 'page_empty'],
    ['with a counter that nobody knows', { fault: 'counts_unknown' }, 'request_counts'],
  ] as const)('%s', async (_name, form, reason) => {
    const archive = await doubtedAmongStrangers(form);
    world.advance(2 * landingWaitMs);
    expect(await world.lookUntilDone(archive, 6)).toBe(false);
    await world.submit();
    expect((await world.archive(archive)).state).toBe('in_doubt');
    expect(world.truth().creates).toBe(creates);
    expect(world.logs.find((line) => line.event === 'workspace.unreadable')?.detail).toMatchObject({ reason });
    // As soon as the list has a form that is understood, the batch is found in it.
    await world.arm([]);
    expect(await world.lookUntilDone(archive, 2)).toBe(true);
    expect(await world.archive(archive)).toMatchObject({ state: 'accepted', batch: world.batches()[1] });
    expect(world.truth().creates).toBe(creates);
  });
});

it('a batch with a counter that nobody knows is found when it has ended, because its results name it', async () => {
  const archive = await doubtedAmongStrangers({ fault: 'counts_unknown' });
  expect(await world.look(archive)).toMatchObject({ kind: 'later', why: 'undecided' });
  for (const batch of world.batches()) await world.end(batch);
  expect(await world.look(archive)).toEqual({ kind: 'done' });
  await world.finish(archive);
  expect(await world.archive(archive)).toMatchObject({ state: 'settled', batch: world.batches()[1] });
  expect(world.truth().creates).toBe(creates);
});

it('a counter that nobody knows is no obstacle while it holds nothing', async () => {
  const archive = await doubtedAmongStrangers({ fault: 'counts_unknown', rows: 0 });
  expect(await world.look(archive)).toEqual({ kind: 'done' });
  expect(world.truth().creates).toBe(creates);
});
