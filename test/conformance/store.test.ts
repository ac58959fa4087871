/** The store port: the suite on every kind of store, and what only a folder can get wrong. */
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openFolderStore } from '../../segments/store/folder.ts';
import { contentOf, sha256, storeSuite } from './store-suite.ts';

const nowMs = Date.now();

async function filesOf(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(root, join(entry.parentPath, entry.name))).sort();
}

storeSuite('a folder', async () => {
  const root = await mkdtemp(join(tmpdir(), 'plimsoll-store-'));
  return {
    open: async () => await openFolderStore(root, nowMs),
    visible: async () => (await filesOf(root)).filter((path) => !path.startsWith('.tmp')),
    close: async () => await rm(root, { recursive: true, force: true }),
  };
});

describe('a folder', () => {
  let root: string;
  beforeEach(async () => void (root = await mkdtemp(join(tmpdir(), 'plimsoll-store-'))));
  afterEach(async () => await rm(root, { recursive: true, force: true }));

  it('keeps no temporary file after a put, a conflict or a failure', async () => {
    const store = await openFolderStore(root, nowMs);
    await store.put('a/b', contentOf(Buffer.from('x')));
    await store.put('a/b', contentOf(Buffer.from('x')));
    await store.put('a/b', contentOf(Buffer.from('y'))).catch(() => undefined);
    await store.put('a/c', { ...contentOf(Buffer.from('y')), sizeBytes: 2 }).catch(() => undefined);
    expect(await filesOf(root)).toEqual([join('a', 'b')]);
  });

  it('hides what a crash left behind, removes it when it is old, and leaves alone what may be in writing (T3)', async () => {
    await mkdir(join(root, '.tmp'), { recursive: true });
    const [old, young] = [join(root, '.tmp', 'old'), join(root, '.tmp', 'young')];
    await writeFile(old, 'half a chunk');
    await writeFile(young, 'half a chunk');
    const days2 = new Date(nowMs - 2 * 86_400_000);
    await utimes(old, days2, days2);
    const store = await openFolderStore(root, nowMs);
    for await (const object of store.list('')) throw new Error(`${object.key} should not be seen`);
    await expect(stat(old)).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await stat(young)).size).toBe(12);
    await expect(store.readWhole('.tmp/young')).rejects.toThrow();
  });

  it('made by a writer that died between the link and its end is there once and can be put again', async () => {
    const store = await openFolderStore(root, nowMs);
    await mkdir(join(root, 'a'));
    await writeFile(join(root, 'a', 'b'), 'linked');
    expect(await store.put('a/b', contentOf(Buffer.from('linked')))).toBe('same');
  });

  it('takes a file without copying it', async () => {
    const store = await openFolderStore(root, nowMs);
    const path = join(root, '.tmp', 'finished');
    await writeFile(path, 'bytes');
    const { ino } = await stat(path);
    await store.putFile('results/f', path, { sizeBytes: 5, sha256: sha256(Buffer.from('bytes')) });
    expect((await stat(join(root, 'results', 'f'))).ino).toBe(ino);
  });

  it('has an address that leads to its objects', async () => {
    const store = await openFolderStore(join(root, 'a lake'), nowMs);
    await store.put('x', contentOf(Buffer.from('1')));
    expect((await stat(fileURLToPath(`${store.uri}/x`))).size).toBe(1);
  });

  it('that is a file is refused with words', async () => {
    await writeFile(join(root, 'file'), '');
    await expect(openFolderStore(join(root, 'file'), nowMs)).rejects.toMatchObject({ code: 'lake_unavailable' });
  });
});
