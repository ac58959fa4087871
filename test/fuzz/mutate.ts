/** Seeded damage to valid samples: what a bad disk, a careless script and a hostile sender would make of them. */
import type { Random } from '../chaos/box/random.ts';

type Mutation = (bytes: Buffer, random: Random, others: readonly Buffer[]) => Buffer;

/** Replaces `length` bytes at `at`. */
function spliced(bytes: Buffer, at: number, length: number, by: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), by, bytes.subarray(at + length)]);
}

const numbers = ['0', '-0', '-1', '1e400', '-1e400', '1E-999', '9007199254740993', '18446744073709551616', '1.5', '01', '0x1f', '+1', 'NaN', 'Infinity', '1_000', '99999999999999999999999999999999999999', '.5', '1.', '1e', '4294967296'];
const strings = ['', '\u0000', '\ud800', '\\ud800', '\\u0000', 'unknown', '__proto__', 'constructor', '../../etc/passwd', '\u202e\u200d', '\ufeff', 'a'.repeat(5_000), '\\', '"', '\n', '\r', '\u2028', '%00', '%ff', '𝒳'];
const values = ['null', 'true', 'false', '{}', '[]', '""', '[[]]', '{"":{}}', ...numbers];
const badUtf8 = [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0x80], [0xf8, 0x88, 0x80, 0x80, 0x80]];

/** Places of the text that match, at most a few hundred. */
function placesOf(text: string, pattern: RegExp): readonly RegExpExecArray[] {
  const found: RegExpExecArray[] = [];
  for (const match of text.matchAll(pattern)) {
    found.push(match);
    if (found.length === 100) break;
  }
  return found;
}

/** Replaces one match of a pattern in the latin1 view of the bytes. */
function replaced(bytes: Buffer, random: Random, pattern: RegExp, by: (match: string) => string): Buffer {
  const places = placesOf(bytes.toString('latin1'), pattern);
  if (places.length === 0) return bytes;
  const place = random.pick(places);
  return spliced(bytes, place.index, place[0].length, Buffer.from(by(place[0]), 'utf8'));
}

const mutations: readonly Mutation[] = [
  // Bits and bytes.
  (bytes, random) => {
    const copy = Buffer.from(bytes);
    for (let flips = 1 + random.int(4); flips > 0 && copy.length > 0; flips -= 1) {
      const at = random.int(copy.length);
      copy[at] = (copy[at] ?? 0) ^ (1 << random.int(8));
    }
    return copy;
  },
  (bytes, random) => spliced(bytes, random.int(bytes.length + 1), 0, Buffer.from(Array.from({ length: 1 + random.int(8) }, () => random.int(256)))),
  (bytes, random) => spliced(bytes, random.int(bytes.length + 1), 0, Buffer.from(random.pick(badUtf8))),
  (bytes, random) => bytes.subarray(0, random.int(bytes.length + 1)),
  (bytes, random) => bytes.subarray(random.int(bytes.length + 1)),
  (bytes, random) => spliced(bytes, random.int(bytes.length + 1), random.int(Math.min(60, bytes.length + 1)), Buffer.alloc(0)),
  // Pieces of others, and of itself.
  (bytes, random, others) => {
    const other = random.pick(others);
    const from = random.int(other.length + 1);
    return spliced(bytes, random.int(bytes.length + 1), random.int(20), other.subarray(from, from + random.int(200)));
  },
  (bytes, random) => {
    const from = random.int(bytes.length + 1);
    return spliced(bytes, random.int(bytes.length + 1), 0, bytes.subarray(from, from + random.int(100)));
  },
  (bytes) => Buffer.concat([bytes, bytes]),
  // Values of JSON.
  (bytes, random) => replaced(bytes, random, /-?\d+(\.\d+)?/g, () => random.pick(numbers)),
  (bytes, random) => replaced(bytes, random, /"(?:[^"\\]|\\.)*"/g, () => `"${random.pick(strings)}"`),
  (bytes, random) => replaced(bytes, random, /"(?:[^"\\]|\\.)*"(?=\s*[,}\]])|-?\d+|true|false|null/g, () => random.pick(values)),
  (bytes, random) => replaced(bytes, random, /"(?:[^"\\]|\\.)*"\s*:/g, (key) => `${key}${random.pick(values)},${key}`),
  (bytes, random) => replaced(bytes, random, /"(?:[^"\\]|\\.)*"\s*:/g, () => `"${random.pick(strings)}":`),
  (bytes, random) => replaced(bytes, random, /[{}[\],:"]/g, () => random.pick(['{', '}', '[', ']', ',', ':', '"', ''])),
  (bytes, random) => replaced(bytes, random, /"(?:[^"\\]|\\.)*"|-?\d+|null/g, (value) => {
    const depth = random.pick([10, 63, 64, 65, 1_000, 6_000]);
    return random.chance(0.5) ? `${'['.repeat(depth)}${value}${']'.repeat(depth)}` : `${'{"a":'.repeat(depth)}${value}${'}'.repeat(depth)}`;
  }),
  // Lines.
  (bytes, random) => replaced(bytes, random, /\n/g, () => random.pick(['', '\r\n', '\r', '\n\n', '\u2028'])),
];

/** A sample with one to four mutations. */
export function mutate(samples: readonly Buffer[], random: Random): Buffer {
  let bytes = random.pick(samples);
  const many = 1 + random.int(4);
  for (let count = 0; count < many; count += 1) bytes = random.pick(mutations)(bytes, random, samples);
  return bytes.subarray(0, 200_000);
}
