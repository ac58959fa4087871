import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openFolderStore } from '../../segments/store/folder.ts';
import type { Store } from '../../segments/store/store.ts';

let root = '';
let store: Store;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'plimsoll-folder-'));
  store = await openFolderStore(root, 0);
});
afterEach(async () => await rm(root, { recursive: true }));

/** Content whose digest is made only when somebody asks. */
function lazyContent(text: string, asked: string[]) {
  const blocks = [Buffer.from(text.slice(0, 3)), Buffer.from(text.slice(3))];
  return {
    blocks,
    sizeBytes: Buffer.byteLength(text),
    isDigested: true,
    get sha256(): string {
      asked.push(text);
      return '00'.repeat(32);
    },
  };
}

async function grown(text: string): Promise<string> {
  const path = join(root, text);
  await writeFile(path, text);
  return path;
}

describe('a folder', () => {
  it('does not ask for a digest that is made of the bytes themselves', async () => {
    const asked: string[] = [];
    expect(await store.put('a/b', lazyContent('one two', asked))).toBe('created');
    expect(asked).toEqual([]);
    expect((await store.readWhole('a/b')).toString()).toBe('one two');
  });

  it('asks for it where the name is taken, and refuses other content (T2)', async () => {
    const asked: string[] = [];
    await store.put('a/b', lazyContent('one two', asked));
    await expect(store.put('a/b', lazyContent('another', asked))).rejects.toMatchObject({ code: 'lake_conflict' });
    expect(asked).not.toEqual([]);
  });

  it('makes every name durable when many are created at once', async () => {
    const asked: string[] = [];
    const names = Array.from({ length: 40 }, (_, place) => `same/folder/${place}`);
    const answers = await Promise.all(names.map(async (name) => await store.put(name, lazyContent(name.padEnd(8), asked))));
    expect(answers.every((answer) => answer === 'created')).toBe(true);
    for (const name of names) expect(await store.head(name)).toBeDefined();
  });

  it('knows what a file holds that it has put itself, and no more when it was touched', async () => {
    const sha256 = createHash('sha256').update('one two').digest('hex');
    const path = await grown('one two');
    await store.putFile('a/b', path, { sizeBytes: 7, sha256 });
    await rm(path);
    expect(await store.knownSha256?.('a/b')).toBe(sha256);
    expect(await (await openFolderStore(root, 0)).knownSha256?.('a/b')).toBeUndefined();
    expect(await store.knownSha256?.('a/none')).toBeUndefined();
    const lies = store.localPath?.('a/b') ?? '';
    await writeFile(lies, 'one TWO');
    expect(await store.knownSha256?.('a/b')).toBeUndefined();
    await store.putFile('a/c', await grown('three'), { sizeBytes: 5, sha256 });
    await rm(store.localPath?.('a/c') ?? '');
    expect(await store.knownSha256?.('a/c')).toBeUndefined();
  });

  it('does not ask for the digest of a file that nobody has made yet, and so does not know it later', async () => {
    const asked: string[] = [];
    expect(await store.putFile('a/b', await grown('one two'), lazyContent('one two', asked))).toBe('created');
    expect(asked).toEqual([]);
    expect(await store.knownSha256?.('a/b')).toBeUndefined();
  });

  it('says where an object lies', async () => {
    await store.put('a/b', lazyContent('one two', []));
    expect((await readFile(store.localPath?.('a/b') ?? '')).toString()).toBe('one two');
  });
});
