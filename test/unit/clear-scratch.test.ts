/** What is left in the scratch folder by processes that died, and what must stay there. */
import { lutimes, mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { clearScratch } from '../../cli/scratch.ts';
import { archiveId } from '../../segments/pack.ts';

const hourMs = 3_600_000;
const nowMs = Date.UTC(2026, 10, 22, 12);
const archive = archiveId('7f3a91c2ab', 12);
const uuid = '5b0c2f6e-9d41-4c1a-8a53-0f3f6f5f7a10';

let scratch: string;
beforeEach(async () => void (scratch = await mkdtemp(join(tmpdir(), 'plimsoll-scratch-'))));
afterEach(async () => await rm(scratch, { recursive: true, force: true }));

/** Leaves a file that was last written to some hours ago; folders on the way to it are as old. */
async function leave(name: string, hours: number): Promise<void> {
  const path = join(scratch, name);
  const time = new Date(nowMs - hours * hourMs);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, 'x');
  await utimes(path, time, time);
  if (name.includes('/')) await utimes(join(path, '..'), time, time);
}

const left = async (): Promise<readonly string[]> => {
  await clearScratch(scratch, nowMs);
  return (await readdir(scratch, { recursive: true })).sort();
};

const ofStages = [`${archive}-${uuid}.jsonl`, `export-${archive}-aB3xYz/invoices-0.jsonl.gz`, `audit-${archive}-${uuid}.zip`, `verify-${uuid}.zip`, `${uuid}.put`];
const ofProducers = [`nightly.${uuid}.ids.part`, `a-2026.11.22.${uuid}.rejects.part`];

it.each(ofStages)('%s is removed when nothing was written to it for a day, and not before (C2)', async (name) => {
  await leave(name, 23);
  expect(await left()).toContain(name);
  await leave(name, 25);
  expect(await left()).toEqual([]);
});

it.each(ofProducers)('%s is removed after a week only: its source may have been silent for days (C2)', async (name) => {
  await leave(name, 6 * 24);
  expect(await left()).toEqual([name]);
  await leave(name, 8 * 24);
  expect(await left()).toEqual([]);
});

it('keeps the rows that a person has to mend, and all that is named otherwise (C1)', async () => {
  const names = ['nightly.rejects.jsonl', `${archive}-${uuid}.rejects.jsonl`, `${uuid}.put.rejects.jsonl`, 'notes.txt', `${archive}.jsonl`, `${uuid}.ids.part`];
  for (const name of names) await leave(name, 9_000);
  expect(await left()).toEqual(names.sort());
});

it('keeps an export in whose folder a file is still written to (C2)', async () => {
  const folder = `export-${archive}-aB3xYz`;
  await leave(`${folder}/mails-0.jsonl.gz`, 1);
  await leave(`${folder}/invoices-0.jsonl.gz`, 30);
  expect(await left()).toEqual([folder, `${folder}/invoices-0.jsonl.gz`, `${folder}/mails-0.jsonl.gz`]);
});

it('follows no link out of the folder (C1)', async () => {
  await leave('mine/precious', 9_000);
  const links = [[`export-${archive}-aB3xYz`, 'mine'], [`${uuid}.put`, 'mine/precious']] as const;
  for (const [name, target] of links) {
    await symlink(join(scratch, target), join(scratch, name));
    await lutimes(join(scratch, name), 0, 0);
  }
  await clearScratch(scratch, nowMs);
  expect(await readdir(join(scratch, 'mine'))).toEqual(['precious']);
  expect(await readdir(scratch)).toEqual([...links.map(([name]) => name), 'mine'].sort());
});

it('has nothing to do where no folder is yet', async () => {
  await rm(scratch, { recursive: true });
  await clearScratch(scratch, nowMs);
  await mkdir(scratch);
});
