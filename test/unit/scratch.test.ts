import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GrowingFile, writingTo } from '../../segments/store/scratch.ts';

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
    const file = new GrowingFile(await open(join(folder, 'out'), 'wx'));
    const blocks: Buffer[] = [];
    for await (const block of writingTo(file, blocksOf(sizes), 1)) blocks.push(Buffer.from(block));
    await file.close();
    const expected = Buffer.concat(sizes.map((size, place) => Buffer.alloc(size, place + 1)));
    expect(Buffer.concat(blocks).equals(expected)).toBe(true);
    expect((await readFile(join(folder, 'out'))).equals(expected)).toBe(true);
    expect(blocks.length).toBeLessThan(sizes.length);
  });

  it('comes in memory that is used again, behind as many blocks as its reader may hold', async () => {
    const heldMax = 3;
    const memory = new Set<ArrayBufferLike>();
    const held: { readonly block: Buffer; readonly copy: Buffer }[] = [];
    const file = new GrowingFile(await open(join(folder, 'out'), 'wx'));
    for await (const block of writingTo(file, blocksOf(Array.from({ length: 40 }, () => 700_000)), heldMax)) {
      memory.add(block.buffer);
      for (const { block: earlier, copy } of held) expect(earlier.equals(copy)).toBe(true);
      held.push({ block, copy: Buffer.from(block) });
      if (held.length === heldMax) held.shift();
    }
    await file.close();
    expect(memory.size).toBe(heldMax + 1);
    expect((await readFile(join(folder, 'out'))).length).toBe(40 * 700_000);
  });

  it('is sent to the disk while it still grows, and stands in the file whole when a write takes only a part', async () => {
    const handle = await open(join(folder, 'out'), 'wx');
    const write: (block: Uint8Array, at: number, length: number) => Promise<unknown> = handle.write.bind(handle);
    const flush = vi.spyOn(handle, 'datasync');
    Object.assign(handle, { write: async (block: Uint8Array, at: number) => await write(block, at, Math.min(300_000, block.length - at)) });
    const file = new GrowingFile(handle);
    for (let place = 0; place < 40; place += 1) await file.append(Buffer.alloc(1_048_576, place));
    expect(flush).toHaveBeenCalled();
    await file.close();
    const expected = Buffer.concat(Array.from({ length: 40 }, (_, place) => Buffer.alloc(1_048_576, place)));
    expect((await readFile(join(folder, 'out'))).equals(expected)).toBe(true);
  });

  it('raises what the file raises', async () => {
    const file = new GrowingFile(await open(join(folder, 'out'), 'wx'));
    await file.close();
    const read = async (): Promise<void> => {
      for await (const _block of writingTo(file, blocksOf([10]), 1)) void _block;
    };
    await expect(read()).rejects.toThrow();
  });
});
