/** A large body that a thread makes is the body that is made here, and fails as it would here. */
import { readdirSync, readlinkSync } from 'node:fs';
import { rm, truncate, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { archiveId } from '../../segments/pack.ts';
import type { SpoolRange } from '../../segments/store/spool.ts';
import { Thread } from '../../segments/thread.ts';
import { archiveBody, digestBody, makeBody, type MadeBody } from '../../workers/body.ts';
import { asideBytesMin } from '../../workers/body-aside.ts';
import { BodyHash, type SealedBody } from '../../workers/body-digest.ts';
import { readBodyFault } from '../../workers/body-fault.ts';
import { gateBody, GateShut } from '../../workers/gate.ts';
import { promptOf, sealChunk, spool, storeForTest, tag } from '../spool-world.ts';

const archive = archiveId(tag, 1);
let lake: Awaited<ReturnType<typeof storeForTest>>;
let ranges: SpoolRange[] = [];

beforeEach(async () => {
  lake = await storeForTest();
  ranges = [];
  for (const first of [1, 4, 7, 10]) ranges.push(await spool(lake.store, sealChunk([first, first + 1, first + 2].map((row) => promptOf(row, `${row} ü `.repeat(200_000))))));
});

afterEach(async () => {
  vi.restoreAllMocks();
  // Whatever became of a body, no file of it is open once the thread has answered what it was asked behind that.
  const other = await storeForTest();
  await digestBody(other.store, archive, [await spool(other.store, sealChunk([promptOf(1, 'last')]))], asideBytesMin);
  await other.close();
  expect(openFiles()).toEqual([]);
  await lake.close();
});

function openFiles(): string[] {
  const targets = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      // The listing itself was open when it was made.
      return [];
    }
  });
  return targets.filter((target) => target.startsWith(lake.directory));
}

function pathOf(place: number): string {
  return lake.store.localPath?.(ranges[place]?.spoolKey ?? '') ?? '';
}

/** Large enough for the thread, and compared by its GMAC. */
const large: SealedBody = { sizeBytes: asideBytesMin, gmac: '0', sha256: '' };
const aside = (given = ranges, sealed = large): MadeBody => makeBody(lake.store, archive, given, sealed);

/** Takes a body as an upload does: a block is given back when the next one has come. */
async function take({ blocks, give }: MadeBody): Promise<SealedBody> {
  const hash = new BodyHash('all');
  let before: Uint8Array | undefined;
  for await (const block of blocks) {
    if (before) give?.(before);
    hash.update(block);
    before = block;
  }
  const { sizeBytes, gmac, sha256 } = hash.digest();
  return { sizeBytes, gmac, sha256: sha256 ?? '' };
}

async function here(given = ranges): Promise<SealedBody> {
  return await take({ blocks: archiveBody(lake.store, archive, given) });
}

describe.skipIf(availableParallelism() === 1)('a large body that a thread makes', () => {
  it('has the bytes and the digests that it has here, in whole chunks and in parts of them (D1)', async () => {
    const [first, second, third] = ranges;
    const parts = [first, second, third].flatMap((range) => (range ? [{ ...range, to: 0 }, { ...range, from: 1 }] : []));
    for (const given of [ranges, parts]) {
      const expected = await here(given);
      for (const [sealed, compared] of [[large, { ...expected, sha256: undefined }], [{ ...large, gmac: undefined }, { ...expected, gmac: undefined }]] as const) {
        const body = aside(given, sealed);
        expect(await take(body)).toEqual(expected);
        expect(body.digest?.()).toEqual(compared);
      }
      expect(await digestBody(lake.store, archive, given, asideBytesMin)).toEqual(expected);
    }
  });

  it('fills the memory again that was given back (D2)', async () => {
    const twice = [...ranges, ...ranges, ...ranges];
    const posted = vi.spyOn(Thread.prototype, 'ask');
    const { sizeBytes } = await take(aside(twice));
    const given = posted.mock.calls.flatMap(([, transfer = []]) => transfer).length;
    expect(given).toBeGreaterThan(sizeBytes / 1024 / 1024 / 2);
  });

  it('does not mix with others that are made and digested at the same time', async () => {
    const backwards = ranges.toReversed();
    const expected = [await here(), await here(backwards), await here()];
    const found = await Promise.all([take(aside()), take(aside(backwards)), digestBody(lake.store, archive, ranges, asideBytesMin)]);
    for (const [place, each] of expected.entries()) expect(found[place]).toMatchObject(each);
  });

  it('leaves no file open when it is given up in the middle, and is made anew behind that (D3, W1)', async () => {
    const body = aside();
    for await (const block of body.blocks) {
      expect(block.length).toBeGreaterThan(0);
      break;
    }
    expect(await take(aside())).toMatchObject(await here());
    expect(openFiles()).toEqual([]);
  });

  it('says which object is missing, as the store does (D4)', async () => {
    const gone = ranges.with(2, { ...(ranges[2] ?? ranges[0] as SpoolRange), spoolKey: `${ranges[2]?.spoolKey}.gone` });
    const wanted = { code: 'lake_missing', where: gone[2]?.spoolKey, disposition: 'stop' };
    await expect(take(aside(gone))).rejects.toMatchObject(wanted);
    await expect(digestBody(lake.store, archive, gone, asideBytesMin)).rejects.toMatchObject(wanted);
  });

  it('says that the lake is away when it has the object and the file cannot be read (D4)', async () => {
    const path = pathOf(1);
    const { store } = lake;
    await rm(path);
    const fault = await take(makeBody({ ...faceOf(store), readWhole: async () => Buffer.from('x') }, archive, ranges, large)).catch((error: unknown) => error);
    expect(fault).toMatchObject({ code: 'lake_unavailable', where: ranges[1]?.spoolKey });
    expect(readBodyFault(fault)).toBeUndefined();
  });

  it('fails with the words of the invariant, or the kind of the error, where a chunk is not what its index says (D4)', async () => {
    const [first] = ranges;
    const shifted = await lake.store.readWhole(first?.spoolKey ?? '');
    const end = shifted.indexOf(0x0a);
    shifted[end] = 0x20;
    await writeFile(pathOf(0), shifted);
    const broken = await take(aside()).catch((error: unknown) => error);
    expect(readBodyFault(broken)).toMatchObject({ kind: 'unmade', code: 'defect', message: `invariant broken: ${first?.spoolKey}: row 0 does not end where its index says` });
    await truncate(pathOf(0), (first?.spoolParamsBytes ?? 0) + 100);
    const cut = await take(aside()).catch((error: unknown) => error);
    expect(readBodyFault(cut)).toMatchObject({ kind: 'unmade', code: 'defect', message: 'RangeError' });
  });

  it('ends one byte short behind the gate when the spool was altered, and is not released (A2)', async () => {
    const sealed = await here();
    for (const isAltered of [true, false]) {
      const spooled = await lake.store.readWhole(ranges[3]?.spoolKey ?? '');
      spooled[1_000] = (spooled[1_000] ?? 0) ^ 1;
      await writeFile(pathOf(3), spooled);
      let asked = 0;
      const gated = gateBody(aside(ranges, sealed), sealed, async () => (asked += 1) > 0);
      let left = 0;
      const sending = (async () => {
        for await (const block of gated.blocks) {
          left += block.length;
          gated.give(block);
        }
      })();
      if (isAltered) await expect(sending).rejects.toMatchObject({ code: 'body_differs' });
      else await sending;
      expect([left, asked, gated.isReleased()]).toEqual(isAltered ? [sealed.sizeBytes - 1, 0, false] : [sealed.sizeBytes, 1, true]);
      expect(gated.fault() instanceof GateShut).toBe(isAltered);
    }
  });

  it('is tried again after its thread has died: the next one has another thread', async () => {
    const asked = vi.spyOn(Thread.prototype, 'ask');
    const taking = (async () => {
      for await (const _ of aside().blocks) await (asked.mock.contexts[0] as Thread<unknown, unknown>).end();
    })();
    const fault = await taking.catch((error: unknown) => error);
    expect(fault).toMatchObject({ code: 'thread_failed', disposition: 'retry' });
    expect(readBodyFault(fault)).toBeUndefined();
    expect(await take(aside())).toMatchObject(await here());
  });

  it('is not for small bodies, nor for a lake that is elsewhere', async () => {
    expect(makeBody(lake.store, archive, ranges, { ...large, sizeBytes: asideBytesMin - 1 }).digest).toBeUndefined();
    const { read, readWhole } = faceOf(lake.store);
    expect(makeBody({ read, readWhole }, archive, ranges, large).digest).toBeUndefined();
    expect(aside().digest).toBeDefined();
  });
});

/** The part of a store that a body is made from. */
function faceOf(store: typeof lake.store): { read: typeof store.read; readWhole: typeof store.readWhole; localPath: (key: string) => string } {
  return { read: (key, range) => store.read(key, range), readWhole: async (key, range) => await store.readWhole(key, range), localPath: (key) => store.localPath?.(key) ?? '' };
}
