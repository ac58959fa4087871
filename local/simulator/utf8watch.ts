import { isUtf8 } from 'node:buffer';

const NOTHING: Buffer = Buffer.alloc(0);

/** Checks that chunks, put together, are UTF-8. It carries the up to three bytes of a character that a chunk boundary cuts. */
export class Utf8Watch {
  #carry: Buffer = NOTHING;

  /** True while a character has begun and not ended. */
  get isUnfinished(): boolean {
    return this.#carry.length > 0;
  }

  /** Looks at the next chunk; false when it is not UTF-8. */
  accepts(chunk: Buffer): boolean {
    const all = this.#carry.length === 0 ? chunk : Buffer.concat([this.#carry, chunk]);
    const cut = unfinishedTail(all);
    this.#carry = cut === 0 ? NOTHING : Buffer.from(all.subarray(all.length - cut));
    return isUtf8(all.subarray(0, all.length - cut));
  }
}

/** Bytes at the end that begin a character but do not finish it: 0 to 3. */
function unfinishedTail(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) {
      return 0;
    }
    if (byte >= 0xc0) {
      const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return needed > back ? back : 0;
    }
  }
  return 0;
}
