/**
 * Which ids a run has seen, and on which line first. A million ids in a JavaScript Map of strings cost 150 MB and more;
 * here an id is the first 16 bytes of its sha256 and its row, in flat tables of 24 bytes a slot that are at most three
 * quarters full: 32 to 64 bytes an id, so 1,000,000 ids stay below 64 MB. Two different ids share a digest with a
 * probability below 1e-26 at a million ids.
 *
 * Invariants
 *   D1  Memory is bounded: beyond `idsMax` ids the run is refused, not the process killed.
 *   D2  The tables are 256 shards by the last digest byte that is kept, so growing one copies a 256th of the whole.
 */
import { hash } from 'node:crypto';
import { PlimsollError } from '../segments/errors.ts';
import { idBytes } from './id-log.ts';
import type { IdLog } from './id-log.ts';

/** At most this many ids in one run: 3 GB of tables. */
export const idsMax = 50_000_000;

/** Four words of digest and two of row (rows go beyond 2^32 in an endless source). */
const slotWords = 6;
const shardSlots = 16;

interface Shard {
  words: Uint32Array;
  slots: number;
  used: number;
}

export class SeenIds {
  readonly #shards: Shard[] = Array.from({ length: 256 }, () => ({ words: new Uint32Array(shardSlots * slotWords), slots: shardSlots, used: 0 }));
  readonly #log: Pick<IdLog, 'append'> | undefined;
  #count = 0;

  /** @param log told of every id that is new */
  constructor(log?: Pick<IdLog, 'append'>) {
    this.#log = log;
  }

  /** How many ids are remembered. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the tables. */
  get sizeBytes(): number {
    return this.#shards.reduce((sum, shard) => sum + shard.words.byteLength, 0);
  }

  /**
   * Remembers an id, or returns the 1-based row that has it already.
   * @param digest the first 16 bytes of its sha256, where somebody has made them
   * @throws PlimsollError `input_rejected` beyond `idsMax` ids (D1)
   */
  add(id: string, row: number, digest = idDigest(id)): number | undefined {
    const first = this.#remember(digest, row);
    if (first === undefined) this.#log?.append(digest, row);
    return first;
  }

  /**
   * Remembers the ids of an earlier section, as `IdLog` has written them. Blocks may end anywhere.
   * @throws PlimsollError `input_rejected` beyond `idsMax` ids (D1)
   */
  async load(blocks: AsyncIterable<Buffer>): Promise<void> {
    let carry: Buffer = Buffer.alloc(0);
    for await (const block of blocks) {
      const bytes = carry.length === 0 ? block : Buffer.concat([carry, block]);
      const whole = bytes.length - (bytes.length % idBytes);
      for (let at = 0; at < whole; at += idBytes) this.#remember(bytes.subarray(at, at + idBytes), bytes.readUInt32LE(at + 16) + bytes.readUInt32LE(at + 20) * 2 ** 32);
      carry = Buffer.from(bytes.subarray(whole));
    }
  }

  /** @param digest the sha256 of the id, or at least its first 16 bytes */
  #remember(digest: Buffer, row: number): number | undefined {
    const shard = this.#shards[digest[15] ?? 0];
    if (!shard) return undefined;
    if ((shard.used + 1) * 4 > shard.slots * 3) grow(shard);
    const words = [digest.readUInt32LE(0), digest.readUInt32LE(4), digest.readUInt32LE(8), digest.readUInt32LE(12)] as const;
    const at = findSlot(shard, words);
    const found = rowAt(shard, at);
    if (found !== 0) return found;
    if (this.#count >= idsMax) {
      throw new PlimsollError('input_rejected', {
        message: `one run can tell at most ${idsMax} ids apart`,
        hint: 'Split the source and give each part a run key of its own.',
      });
    }
    shard.words.set(words, at);
    shard.words[at + 4] = row % 2 ** 32;
    shard.words[at + 5] = Math.floor(row / 2 ** 32);
    shard.used += 1;
    this.#count += 1;
    return undefined;
  }
}

/** The sha256 of an id, of which the first 16 bytes count. */
export function idDigest(id: string): Buffer {
  return hash('sha256', id, 'buffer');
}

/** Index of the slot that holds the digest, or of the free slot where it belongs. A row of 0 marks a free slot. */
function findSlot(shard: Shard, words: readonly [number, number, number, number]): number {
  let slot = words[0] & (shard.slots - 1);
  for (;;) {
    const at = slot * slotWords;
    const table = shard.words;
    if (rowAt(shard, at) === 0) return at;
    if (table[at] === words[0] && table[at + 1] === words[1] && table[at + 2] === words[2] && table[at + 3] === words[3]) return at;
    slot = (slot + 1) & (shard.slots - 1);
  }
}

function rowAt(shard: Shard, at: number): number {
  return (shard.words[at + 4] ?? 0) + (shard.words[at + 5] ?? 0) * 2 ** 32;
}

/** Doubles a shard (D2). */
function grow(shard: Shard): void {
  const old = shard.words;
  shard.slots *= 2;
  shard.words = new Uint32Array(shard.slots * slotWords);
  for (let at = 0; at < old.length; at += slotWords) {
    const slot = old.subarray(at, at + slotWords);
    if ((slot[4] ?? 0) + (slot[5] ?? 0) === 0) continue;
    shard.words.set(slot, findSlot(shard, [slot[0] ?? 0, slot[1] ?? 0, slot[2] ?? 0, slot[3] ?? 0]));
  }
}
