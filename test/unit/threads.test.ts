/** Work on other threads gives what it gives here, in order, and fails where it should. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { besidePress, pressedBytesMin, pressFor } from '../../exporters/press.ts';
import { archiveId, customId } from '../../segments/pack.ts';
import { checkResults, type ResultsCheck } from '../../segments/results.ts';
import { shaDigits } from '../../segments/row-mark.ts';
import { Thread } from '../../segments/thread.ts';
import { asideBytesMin, checkAside } from '../../workers/check.ts';
import { errored, succeeded } from '../flow/exporter-fixture.ts';

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'plimsoll-threads-'))));
afterAll(async () => await rm(folder, { recursive: true }));

const archive = archiveId('7f3a91c2ab', 3);
const rows = 400;
const shaOf = (index: number): string => createHash('sha256').update(`prompt ${index}`).digest('hex');
const expected = { archive, rows, shaOf };
const counts = { succeeded: rows - 1, errored: 1, canceled: 0, expired: 0 };

function lines(textBytes: number, over: Readonly<Record<number, string>> = {}): string[] {
  return Array.from({ length: rows }, (_, index) => {
    const result = index === 7 ? errored('overloaded_error', 'busy') : succeeded(`“${index}” ${'word "said" \n'.repeat(textBytes / 13)}`);
    return over[index] ?? JSON.stringify({ custom_id: customId(archive, index, shaOf(index)), result });
  });
}

async function* blocksOf(content: Buffer): AsyncGenerator<Buffer> {
  const size = 1_000_003;
  for (let from = 0; from < content.length; from += size) yield content.subarray(from, from + size);
}

function factsOf({ index, ...check }: ResultsCheck): unknown {
  return { ...check, rows: Array.from({ length: rows }, (_, row) => [index.offsetOf(row), index.lengthOf(row), index.verdictOf(row), index.answerOf(row)]) };
}

describe('results that are checked on a thread of their own', () => {
  const sizes = [['few bytes', 100], ['more than a thread is started for', asideBytesMin / rows + 10_000]] as const;
  for (const [name, textBytes] of sizes) {
    it(`have the verdict that they have here: ${name}`, async () => {
      const content = Buffer.from(lines(textBytes).map((line) => `${line}\n`).join(''));
      expect(content.length > asideBytesMin).toBe(textBytes > 100);
      const aside = await checkAside(blocksOf(content), expected, counts);
      expect(aside.isComplete).toBe(true);
      expect(factsOf(aside)).toEqual(factsOf(await checkResults(blocksOf(content), expected, counts)));
    });

    it(`have the same faults: ${name}`, async () => {
      const content = Buffer.from(lines(textBytes, { 3: '{"custom_id":', 9: '{}' }).map((line) => `${line}\n`).join('').slice(0, -1));
      const aside = await checkAside(blocksOf(content), expected, counts);
      expect(aside.isComplete).toBe(false);
      expect(factsOf(aside)).toEqual(factsOf(await checkResults(blocksOf(content), expected, counts)));
    });
  }

  it('are read there from the first byte on when there are many rows, with the digests that lie in shared memory', async () => {
    const many = { archive, rows: 30_000 };
    const shas = Buffer.from(new SharedArrayBuffer(many.rows * shaDigits));
    for (let index = 0; index < many.rows; index += 1) shas.write(shaOf(index), index * shaDigits);
    const onlyThere = (): string => {
      throw new Error('the digests are asked for here');
    };
    const content = Buffer.from(lines(100).map((line) => `${line}\n`).join(''));
    const aside = await checkAside(blocksOf(content), { ...many, shas, shaOf: onlyThere }, counts);
    expect(aside.faultCounts).toMatchObject({ row_missing: many.rows - rows, check_mismatch: 0 });
    expect(factsOf(aside)).toEqual(factsOf(await checkResults(blocksOf(content), { ...many, shaOf }, counts)));
  });

  it('raise what the stream raises, in the middle of it', async () => {
    const content = Buffer.from(lines(40_000).join('\n'));
    async function* broken(): AsyncGenerator<Buffer> {
      yield* blocksOf(content);
      throw new RangeError('the stream broke');
    }
    await expect(checkAside(broken(), expected, counts)).rejects.toThrow('the stream broke');
  });
});

describe('the press', () => {
  it('makes on its threads the bytes that it makes here, in order, and gives the blocks back (P1)', async () => {
    const press = pressFor(pressedBytesMin);
    expect(press).not.toBe(besidePress);
    expect(pressFor(pressedBytesMin - 1)).toBe(besidePress);
    const blockOf = (place: number): Buffer => {
      const block = Buffer.allocUnsafeSlow(50_000 * (place + 1));
      return block.fill(`block ${place} `);
    };
    const places = [5, 0, 3, 1, 4, 2];
    const there = await Promise.all(places.map(async (place) => await press.deflate(blockOf(place), 1)));
    for (const [at, place] of places.entries()) {
      const here = await besidePress.deflate(blockOf(place), 1);
      expect(there[at]?.bytes.equals(here.bytes)).toBe(true);
      expect(there[at]?.block.length).toBe(blockOf(place).length);
    }
  });

  it('digests a file there as here, and says what is wrong with one that is not there', async () => {
    const path = join(folder, 'file');
    await writeFile(path, Buffer.alloc(3_000_001, 'x'));
    const press = pressFor(pressedBytesMin);
    expect(await press.digest(path)).toMatchObject(await besidePress.digest(path));
    await expect(press.digest(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await press.digest(path)).toMatchObject({ sizeBytes: 3_000_001 });
  });
});

describe('a thread', () => {
  it('rejects what it owes and every later question when it has ended (H3)', async () => {
    const press = new URL('../../exporters/press-thread.ts', import.meta.url);
    const thread = new Thread<unknown, unknown>(press);
    const owed = thread.ask({ kind: 'digest', path: join(folder, 'file') });
    const rejected = expect(owed).rejects.toThrow('the thread has ended');
    await thread.end();
    await rejected;
    await expect(thread.ask({ kind: 'digest', path: folder })).rejects.toThrow('the thread has ended');
  });

  it('rejects what it owes with the fault of a module that cannot be run', async () => {
    const thread = new Thread<unknown, unknown>(new URL('./no-such-thread.ts', import.meta.url));
    await expect(thread.ask({})).rejects.toThrow('no-such-thread');
  });
});
