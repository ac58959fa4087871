/** Finding bytes sixteen at a time, and one by one: both say the same (F1 to F3). */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { ByteFinder } from '../../segments/byte-finder.ts';

const setOf = (...bytes: readonly number[]): Uint8Array => {
  const set = new Uint8Array(256);
  for (const byte of bytes) set[byte] = 1;
  return set;
};

/** Every offset that is found. */
function allIn(finder: ByteFinder, text: Uint8Array): readonly number[] {
  const found: number[] = [];
  finder.begin(text);
  for (let at = finder.next(0); at < text.length; at = finder.next(at + 1)) found.push(at);
  return found;
}

describe('a byte finder', () => {
  const set = setOf(0x00, 0x0a, 0x22, 0x5c, 0xc2, 0xe2, 0xff);
  const [sixteen, single] = [new ByteFinder(set), new ByteFinder(set, false)];

  test('finds each byte of a set of whole rows, and no other', () => {
    const controls = new Uint8Array(256).fill(1, 0, 0x20).fill(1, 0xf0);
    const every = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    for (const canVector of [true, false]) expect(allIn(new ByteFinder(controls, canVector), every)).toEqual([...every].filter((byte) => byte < 0x20 || byte >= 0xf0));
  });

  test('finds as a loop does, from any place on, in any order', () => {
    const text = fc.array(fc.oneof({ arbitrary: fc.constant(0x61), weight: 12 }, { arbitrary: fc.nat(255), weight: 1 }), { maxLength: 400 }).map((bytes) => Uint8Array.from(bytes));
    fc.assert(
      fc.property(text, fc.array(fc.nat(420), { maxLength: 8 }), (bytes, places) => {
        sixteen.begin(bytes);
        for (const place of places) {
          const from = Math.min(place, bytes.length);
          const wanted = bytes.findIndex((byte, at) => at >= from && set[byte] === 1);
          expect(sixteen.next(from)).toBe(wanted < 0 ? bytes.length : wanted);
        }
      }),
      { numRuns: 2_000, seed: 7 },
    );
  });

  test('finds what stands at the borders of its windows, and nothing of the text before', () => {
    const places = [0, 15, 16, 32_767, 32_768, 32_769, 65_535, 65_536, 99_999];
    const text = new Uint8Array(100_000).fill(0x61);
    for (const place of places) text[place] = 0x22;
    expect(allIn(sixteen, text)).toEqual(places);
    expect(allIn(single, text)).toEqual(places);
    expect(allIn(sixteen, new Uint8Array(65_536).fill(0x61))).toEqual([]);
    expect(allIn(sixteen, new Uint8Array(0))).toEqual([]);
  });

  test('finds nothing behind the end that it was given, in memory of one thread or of several', () => {
    for (const memory of [new ArrayBuffer(100), new SharedArrayBuffer(100)]) {
      const text = new Uint8Array(memory).fill(0x61);
      text[59] = 0x22;
      text[60] = 0x22;
      for (const finder of [sixteen, single]) {
        finder.begin(text, 60);
        expect([finder.next(0), finder.next(60)]).toEqual([59, 60]);
        finder.begin(text, 59);
        expect(finder.next(3)).toBe(59);
        finder.begin(text, 1_000);
        expect([finder.next(60), finder.next(61)]).toEqual([60, 100]);
      }
    }
  });

  test('two finders of one set, asked in turn, see each its own text (F3)', () => {
    const [one, other] = [new ByteFinder(set), new ByteFinder(set)];
    const text = (place: number): Uint8Array => new Uint8Array(100).fill(0x61).fill(0x22, place, place + 1);
    one.begin(text(70));
    other.begin(text(40));
    expect([one.next(0), other.next(0), one.next(50), other.next(41), one.next(71)]).toEqual([70, 40, 70, 100, 100]);
  });

  test('a thousand finders of a set reserve the addresses of one (F3)', () => {
    const finders = Array.from({ length: 1_000 }, () => new ByteFinder(set));
    expect(finders.map((finder) => allIn(finder, Uint8Array.of(0x61, 0x22)))).toEqual(finders.map(() => [1]));
    const reservedGiB = Number(/VmSize:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024 ** 2;
    expect(reservedGiB).toBeLessThan(500);
  });

  test('where no addresses can be reserved, it walks byte by byte (F1)', () => {
    const refused = class { constructor() { throw new RangeError('could not allocate memory'); } };
    vi.stubGlobal('WebAssembly', Object.assign(Object.create(Reflect.get(globalThis, 'WebAssembly') as object) as object, { Memory: refused }));
    const finder = new ByteFinder(setOf(0x22));
    vi.unstubAllGlobals();
    expect(allIn(finder, Buffer.from('a"bc"'))).toEqual([1, 4]);
  });

  test('a set that eight bits cannot tell is a defect of whoever names it', () => {
    // Nine high halves, each with a low half of its own.
    expect(() => new ByteFinder(setOf(...Array.from({ length: 9 }, (_, half) => half * 17)))).toThrow('eight bits');
  });
});
