import { hash } from 'node:crypto';

/**
 * Randomness as a function. Every choice the simulator makes is drawn from (seed, names of the thing decided), so the same seed and the
 * same prompt give the same answer, order and fault in every process, on every machine and after every restart. Nothing here keeps state
 * except the generators that callers own.
 */

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** A number in [0, 1) that depends on all labels. Not cryptographic: two 32-bit multiply-xor lanes, fast enough for a call per row. */
export function uniform(seed: number, ...labels: readonly (string | number)[]): number {
  let high = 0xdeadbeef ^ seed;
  let low = 0x41c6ce57 ^ seed;
  for (const label of labels) {
    const text = typeof label === 'string' ? label : String(label);
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index);
      high = Math.imul(high ^ code, 2654435761);
      low = Math.imul(low ^ code, 1597334677);
    }
    high = Math.imul(high ^ 0x1f, 2246822507);
    low = Math.imul(low ^ 0x1f, 3266489909);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return ((low >>> 0) * 2097152 + ((high >>> 0) >>> 11)) / 9007199254740992;
}

/** `prefix` followed by `length` base-62 characters that depend on all labels, the form of the provider's ids (claude-batches.md 1.6). */
export function identifier(prefix: string, length: number, seed: number, ...labels: readonly (string | number)[]): string {
  const bytes = hash('sha256', `${seed}|${labels.join('|')}`, 'binary');
  let text = prefix;
  for (let index = 0; index < length; index += 1) {
    text += BASE62.charAt(bytes.charCodeAt(index) % 62);
  }
  return text;
}

/** A version-4 shaped UUID that depends on all labels. */
export function uuid(seed: number, ...labels: readonly (string | number)[]): string {
  const hex = hash('sha256', `${seed}|${labels.join('|')}`, 'hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** A generator of numbers in [0, 1) (mulberry32), owned by one caller. */
export function generator(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** The numbers 0 … count-1 in an order that depends on seed and label (Fisher-Yates). Four bytes each, so 100,000 rows cost 400 KB. */
export function shuffledOrder(count: number, seed: number, label: string): Uint32Array {
  const order = new Uint32Array(count);
  for (let index = 0; index < count; index += 1) {
    order[index] = index;
  }
  const next = generator(Math.floor(uniform(seed, 'order', label) * 4294967296));
  for (let index = count - 1; index > 0; index -= 1) {
    const other = Math.floor(next() * (index + 1));
    const kept = order[index] ?? 0;
    order[index] = order[other] ?? 0;
    order[other] = kept;
  }
  return order;
}
