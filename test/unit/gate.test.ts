import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { BodyHash, type SealedBody } from '../../workers/body-digest.ts';
import { gateBody, GateShut } from '../../workers/gate.ts';

const bytes = Buffer.from('{"requests":[1,2,3]}');
/** The digest that is not compared is wrong, so a gate that looks at it stays shut. */
const sealed: SealedBody = { sizeBytes: bytes.length, gmac: gmacOf(bytes), sha256: '' };
/** As it is known when the ledger was rebuilt. */
const restored: SealedBody = { sizeBytes: bytes.length, gmac: undefined, sha256: createHash('sha256').update(bytes).digest('hex') };

function gmacOf(...blocks: readonly Uint8Array[]): string | undefined {
  const hash = new BodyHash('gmac');
  for (const block of blocks) hash.update(block);
  return hash.digest().gmac;
}

async function* inBlocks(source: Buffer, step: number): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < source.length; from += step) yield source.subarray(from, from + step);
}

/** Drains a gated body; what came before an error is kept. */
async function drain(blocks: AsyncIterable<Uint8Array>): Promise<{ readonly received: Buffer; readonly error: unknown }> {
  const received: Uint8Array[] = [];
  try {
    for await (const block of blocks) received.push(Buffer.from(block));
  } catch (error) {
    return { received: Buffer.concat(received), error };
  }
  return { received: Buffer.concat(received), error: undefined };
}

describe('the digest of a body', () => {
  it('is the tag of the first test case of GCM where there is nothing to digest, and that of another implementation where there is', () => {
    // McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test case 1.
    expect(gmacOf()).toBe('58e2fccefa7e3061367f1d57a4e7455a');
    expect(gmacOf(Buffer.from('plimsoll '.repeat(10)))).toBe('363e291658099ed4f0f0251baacd526b');
  });

  it('is the same however the body is cut', () => {
    const whole = Buffer.from('{"requests":[]}'.repeat(100));
    const digests = [1, 7, 16, 31, 400].map((step) => {
      const hash = new BodyHash('all');
      for (let from = 0; from < whole.length; from += step) hash.update(whole.subarray(from, from + step));
      return hash.digest();
    });
    expect(new Set(digests.map((digest) => JSON.stringify(digest))).size).toBe(1);
    expect(digests[0]).toEqual({ sizeBytes: whole.length, gmac: gmacOf(whole), sha256: createHash('sha256').update(whole).digest('hex') });
  });
});

describe('the last-byte gate', () => {
  it.each([[1, sealed], [3, restored], [20, sealed], [64, restored]])('lets the whole body through when the ledger says so (blocks of %i)', async (step, known) => {
    const body = gateBody({ blocks: inBlocks(bytes, step) }, known, async () => true);
    const { received, error } = await drain(body.blocks);
    expect(error).toBeUndefined();
    expect(received.equals(bytes)).toBe(true);
    expect(body.isReleased()).toBe(true);
  });

  it('asks once, with everything but the last byte on its way, and is not released before the answer (A1)', async () => {
    let asked = 0;
    const received: number[] = [];
    const body = gateBody({ blocks: inBlocks(bytes, 6) }, sealed, async () => {
      asked += 1;
      expect(received.reduce((sum, length) => sum + length, 0)).toBe(bytes.length - 1);
      expect(body.isReleased()).toBe(false);
      return true;
    });
    for await (const block of body.blocks) received.push(block.length);
    expect(asked).toBe(1);
    expect(received.at(-1)).toBe(1);
  });

  it.each([1, 6, 64])('keeps the last byte when the lane is lost (A2, blocks of %i)', async (step) => {
    const body = gateBody({ blocks: inBlocks(bytes, step) }, sealed, async () => false);
    const { received, error } = await drain(body.blocks);
    expect(error).toBeInstanceOf(GateShut);
    expect(received.equals(bytes.subarray(0, -1))).toBe(true);
    expect(body.isReleased()).toBe(false);
  });

  it('keeps the last byte when the ledger cannot be asked', async () => {
    const body = gateBody({ blocks: inBlocks(bytes, 6) }, sealed, async () => await Promise.reject(new Error('no ledger')));
    const { received, error } = await drain(body.blocks);
    expect(error).toMatchObject({ message: 'no ledger' });
    expect(received.length).toBe(bytes.length - 1);
    expect(body.isReleased()).toBe(false);
  });

  const others = [
    ['another byte', Buffer.from('{"requests":[1,2,4]}')],
    ['a byte more', Buffer.from('{"requests":[1,2,33]}')],
    ['a byte less', Buffer.from('{"requests":[1,2,]}')],
  ] as const;
  it.each(others.flatMap(([what, other]) => [[what, 'gmac', other, sealed], [what, 'sha256', other, restored]] as const))('never completes a body that differs from the sealed one by %s (%s), and does not even ask', async (_what, _kind, other, known) => {
    let asked = 0;
    const body = gateBody({ blocks: inBlocks(other, 6) }, known, async () => {
      asked += 1;
      return true;
    });
    const { received, error } = await drain(body.blocks);
    expect(error).toBeInstanceOf(GateShut);
    expect(received.length).toBe(other.length - 1);
    expect(asked).toBe(0);
    expect(body.isReleased()).toBe(false);
  });

  it('ends with the error of a source that breaks', async () => {
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 10);
      throw new Error('the disk is gone');
    };
    const body = gateBody({ blocks: broken() }, sealed, async () => true);
    expect((await drain(body.blocks)).error).toMatchObject({ message: 'the disk is gone' });
    expect(body.isReleased()).toBe(false);
  });

  it('takes back every block but the last, whose memory still holds the last byte', async () => {
    const given: Uint8Array[] = [];
    const made = [Buffer.from('{"requests":'), Buffer.from('[1,2,3]}')].map((block) => Uint8Array.from(block));
    const body = gateBody({ blocks: (async function* () { yield* made; })(), give: (block) => void given.push(block) }, sealed, async () => true);
    for await (const block of body.blocks) body.give(block);
    expect(given).toEqual([made[0]]);
  });

  it('refuses an empty body', async () => {
    const body = gateBody({ blocks: inBlocks(Buffer.alloc(0), 1) }, sealed, async () => true);
    expect((await drain(body.blocks)).error).toBeInstanceOf(Error);
  });
});
