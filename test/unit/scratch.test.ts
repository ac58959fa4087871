import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writingTo } from '../../segments/store/scratch.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plimsoll-scratch-'));
});
afterEach(async () => await rm(folder, { recursive: true }));

async function* blocksOf(sizes: readonly number[]): AsyncGenerator<Buffer> {
  for (const [place, size] of sizes.entries()) yield Buffer.alloc(size, place + 1);
}

describe('a stream that passes through a file', () => {
  it('comes out as it went in, in fewer blocks, and stands in the file', async () => {
    const sizes = [10, 65_536, 65_536, 1_000_000, 1, 3_000_000, 7, 1_048_576, 5];
    const file = await open(join(folder, 'out'), 'wx');
    const blocks: Buffer[] = [];
    for await (const block of writingTo(file, blocksOf(sizes))) blocks.push(block);
    await file.close();
    const expected = Buffer.concat(sizes.map((size, place) => Buffer.alloc(size, place + 1)));
    expect(Buffer.concat(blocks).equals(expected)).toBe(true);
    expect((await readFile(join(folder, 'out'))).equals(expected)).toBe(true);
    expect(blocks.length).toBeLessThan(sizes.length);
  });

  it('raises what the file raises', async () => {
    const file = await open(join(folder, 'out'), 'wx');
    await file.close();
    const read = async (): Promise<void> => {
      for await (const _block of writingTo(file, blocksOf([10]))) void _block;
    };
    await expect(read()).rejects.toThrow();
  });
});
