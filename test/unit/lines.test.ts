/** Lines out of blocks: invariants N1 to N3, and the table of ids D1 and D2. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isBlank, keptBytes, LineReader } from '../../producers/lines.ts';
import type { Line } from '../../producers/lines.ts';
import { SeenIds } from '../../producers/seen-ids.ts';

interface Seen {
  readonly row: number;
  readonly byteOffset: number;
  readonly text: string;
  readonly sizeBytes: number;
}

function copyOf({ row, byteOffset, bytes, sizeBytes }: Line): Seen {
  return { row, byteOffset, text: bytes.toString('latin1'), sizeBytes };
}

/** Reads blocks whose memory is overwritten after each, as the reader of a file does. */
function read(blocks: readonly Buffer[], lineBytesMax = 1_000_000): { readonly lines: readonly Seen[]; readonly reader: LineReader } {
  const reader = new LineReader(lineBytesMax);
  const lines: Seen[] = [];
  for (const block of blocks) {
    const reused = Buffer.from(block);
    reader.hash(reused);
    for (const line of reader.cut(reused)) lines.push(copyOf(line));
    reused.fill(0x2a);
  }
  for (const line of reader.end()) lines.push(copyOf(line));
  return { lines, reader };
}

/** Cuts a text into blocks at the given places. */
function blocksOf(text: Buffer, cuts: readonly number[]): readonly Buffer[] {
  const places = [0, ...[...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b), text.length];
  return places.slice(1).map((end, index) => text.subarray(places[index], end)).filter((block) => block.length > 0);
}

test('rows and byte offsets are the same wherever the blocks are cut', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', 'é', '\n', '\r', ' '), maxLength: 80 }), fc.array(fc.nat(200), { maxLength: 8 }), (text, cuts) => {
      const bytes = Buffer.from(text);
      const { lines, reader } = read(blocksOf(bytes, cuts));
      const parts = text.split('\n');
      if (parts.at(-1) === '') parts.pop();
      expect(lines.map((line) => Buffer.from(line.text, 'latin1').toString())).toEqual(parts.map((part) => part.replace(/\r$/, '')));
      for (const line of lines) expect(bytes.subarray(line.byteOffset, line.byteOffset + line.sizeBytes).toString('latin1')).toBe(line.text);
      expect(lines.map((line) => line.row)).toEqual(parts.map((_, index) => index + 1));
      expect(reader.position()).toEqual({ bytes: bytes.length, rows: parts.length, sha256: createHash('sha256').update(bytes).digest('hex') });
    }),
    { numRuns: 1_000 },
  );
});

test('a byte order mark belongs to no line', () => {
  expect(read([Buffer.from('\ufeffa\n\ufeffb\n')]).lines).toMatchObject([{ row: 1, byteOffset: 3, sizeBytes: 1 }, { row: 2, byteOffset: 5, sizeBytes: 4 }]);
});

test('a line that is too long is counted to its end, its beginning is kept, and the next line is whole', () => {
  const long = 'x'.repeat(300_000);
  for (const cuts of [[], [1], [100_000, 200_000], Array.from({ length: 30 }, (_, index) => index * 10_000)]) {
    const { lines } = read(blocksOf(Buffer.from(`a\n${long}\nb`), cuts), 150_000);
    expect(lines.map(({ row, byteOffset, sizeBytes, text }) => [row, byteOffset, sizeBytes, text.length])).toEqual([
      [1, 0, 1, 1],
      [2, 2, 300_000, keptBytes],
      [3, 300_003, 1, 1],
    ]);
  }
});

test('a long line of spaces is not taken for a blank one', () => {
  const reader = new LineReader(100_000);
  const block = Buffer.from(`${' '.repeat(100_001)}\n  \t\r\n`);
  reader.hash(block);
  expect([...reader.cut(block)].map(isBlank)).toEqual([false, true]);
});

test('the digest of a prefix is told wherever the prefix ends', () => {
  const text = Buffer.from('abc\ndef\nghi\n');
  for (let bytes = 0; bytes <= text.length; bytes += 1) {
    for (const cuts of [[], [4], [1, 2, 3, 4, 5, 6, 7]]) {
      const reader = new LineReader(100);
      let told: string | undefined;
      reader.watch(bytes, (sha256) => {
        told = sha256;
      });
      for (const block of blocksOf(text, cuts)) reader.hash(block);
      expect(told).toBe(createHash('sha256').update(text.subarray(0, bytes)).digest('hex'));
      expect(reader.position().sha256).toBe(createHash('sha256').update(text).digest('hex'));
    }
  }
});

describe('the table of ids', () => {
  test('names the first row of every id that comes again', () => {
    const seen = new SeenIds();
    for (let row = 1; row <= 20_000; row += 1) expect(seen.add(`id-${row}`, row)).toBeUndefined();
    for (let row = 1; row <= 20_000; row += 997) expect(seen.add(`id-${row}`, row + 50_000)).toBe(row);
    expect(seen.count).toBe(20_000);
  });

  test('remembers rows beyond 32 bits', () => {
    const seen = new SeenIds();
    seen.add('a', 2 ** 32 * 3 + 7);
    expect(seen.add('a', 1)).toBe(2 ** 32 * 3 + 7);
  });

  test('holds a million ids in less than 64 MB', () => {
    const seen = new SeenIds();
    for (let row = 1; row <= 1_000_000; row += 1) seen.add(String(row), row);
    expect(seen.sizeBytes).toBeLessThan(64_000_000);
  });
});
