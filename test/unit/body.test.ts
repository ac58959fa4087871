import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { archiveId, bodyBytes, customId } from '../../segments/pack.ts';
import type { SpoolRange, SpoolReader } from '../../segments/store/spool.ts';
import type { ByteRange, Store } from '../../segments/store/store.ts';
import { archiveBody } from '../../workers/body.ts';
import { BodyMemory } from '../../workers/splice.ts';
import { promptOf, sealChunk, spool, storeForTest, tag } from '../spool-world.ts';

const archive = archiveId(tag, 1);
let lake: Awaited<ReturnType<typeof storeForTest>>;
beforeEach(async () => void (lake = await storeForTest()));
afterEach(async () => await lake.close());

async function bytesOf(blocks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const block of blocks) all.push(block);
  return Buffer.concat(all);
}

/** The same objects, not as files, in blocks that are `step` bytes long: a row may then begin and end anywhere in them. */
function inSteps(store: Store, step: number): SpoolReader {
  return {
    async *read(key, range) {
      const whole = await store.readWhole(key, range);
      for (let from = 0; from < whole.length; from += step) yield whole.subarray(from, from + step);
    },
    readWhole: async (key, range) => await store.readWhole(key, range),
  };
}

describe('the body of an archive', () => {
  it('is one request per row, in order, over several chunks', async () => {
    const first = await spool(lake.store, sealChunk([promptOf(1, 'one'), promptOf(2, 'zwei ü "\\ \u2028')]));
    const second = await spool(lake.store, sealChunk([promptOf(3, 'three')]));
    const body = await bytesOf(archiveBody(lake.store, archive, [first, second]));
    const parsed = JSON.parse(body.toString('utf8')) as { requests: { custom_id: string; params: { messages: { content: string }[] } }[] };
    expect(parsed.requests.map((each) => each.params.messages[0]?.content)).toEqual(['one', 'zwei ü "\\ \u2028', 'three']);
    const sha = createHash('sha256').update(promptOf(3, 'three').params).digest('hex');
    expect(parsed.requests[2]?.custom_id).toBe(customId(archive, 2, sha));
    expect(body.length).toBe(bodyBytes(3, first.spoolParamsBytes + second.spoolParamsBytes));
  });

  it('takes only the rows of a range, and the parts of a chunk make the same bytes as the whole', async () => {
    const whole = await spool(lake.store, sealChunk([1, 2, 3, 4].map((row) => promptOf(row, `text ${row}`))));
    const parts: SpoolRange[] = [{ ...whole, to: 0 }, { ...whole, from: 1, to: 2 }, { ...whole, from: 3 }];
    const split = await bytesOf(archiveBody(lake.store, archive, parts));
    expect(split.equals(await bytesOf(archiveBody(lake.store, archive, [whole])))).toBe(true);
  });

  it.each([1, 7, 64, 4096])('does not depend on how the store cuts its blocks (%i bytes)', async (step) => {
    const range = await spool(lake.store, sealChunk([1, 2, 3].map((row) => promptOf(row, 'y'.repeat(row * 30)))));
    const expected = await bytesOf(archiveBody(lake.store, archive, [range]));
    expect((await bytesOf(archiveBody(inSteps(lake.store, step), archive, [range]))).equals(expected)).toBe(true);
  });

  it('yields blocks of about a megabyte that are not touched again', async () => {
    const range = await spool(lake.store, sealChunk([1, 2, 3].map((row) => promptOf(row, 'z'.repeat(900_000)))));
    const hashes: string[] = [];
    const blocks: Buffer[] = [];
    for await (const block of archiveBody(lake.store, archive, [range])) {
      blocks.push(block);
      hashes.push(createHash('sha256').update(block).digest('hex'));
    }
    expect(blocks.length).toBeGreaterThan(1);
    expect(blocks.slice(0, -1).every((block) => block.length >= 1024 * 1024 - 128)).toBe(true);
    expect(blocks.map((block) => createHash('sha256').update(block).digest('hex'))).toEqual(hashes);
  });

  it('is the same bytes when its blocks are given back and filled again', async () => {
    const ranges: SpoolRange[] = [];
    for (const first of [1, 4, 7]) ranges.push(await spool(lake.store, sealChunk([first, first + 1, first + 2].map((row) => promptOf(row, `${row}`.repeat(700_000))))));
    const expected = createHash('sha256').update(await bytesOf(archiveBody(lake.store, archive, ranges))).digest('hex');
    const memory = new BodyMemory();
    const used = new Set<unknown>();
    const hash = createHash('sha256');
    for await (const block of archiveBody(lake.store, archive, ranges, memory)) {
      hash.update(block);
      used.add(block.buffer);
      memory.give(block);
    }
    expect(hash.digest('hex')).toBe(expected);
    expect(used.size).toBeLessThan(5);
  });

  it('says which object is missing, as the store does', async () => {
    const range = await spool(lake.store, sealChunk([promptOf(1, 'one')]));
    const gone = { ...range, spoolKey: `${range.spoolKey}.gone` };
    await expect(bytesOf(archiveBody(lake.store, archive, [range, gone]))).rejects.toMatchObject({ code: 'lake_missing', where: gone.spoolKey });
  });

  it('fails rather than shift rows when the params are not what the index says', async () => {
    const sealed = sealChunk([promptOf(1, 'one'), promptOf(2, 'two')]);
    const range = await spool(lake.store, sealed);
    const damaged = inSteps(lake.store, 1 << 20);
    const read = damaged.read.bind(damaged);
    Object.assign(damaged, {
      async *read(key: string, bounds?: ByteRange) {
        for await (const block of read(key, bounds)) yield Buffer.from(block.toString('latin1').replace('one"}]}\n', 'one1"}]}'), 'latin1');
      },
    });
    await expect(bytesOf(archiveBody(damaged, archive, [range]))).rejects.toThrow(/does not end where its index says/);
  });
});
