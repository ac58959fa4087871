import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeIndex, indexOffset } from '../../segments/chunk.ts';
import { decodeMarks } from '../../segments/row-mark.ts';
import { promptOf, sealChunk } from '../spool-world.ts';

/** The index section of a chunk of these ids. */
function indexOf(ids: readonly string[], metadataJson?: string): { readonly section: Buffer; readonly rows: number; readonly paramsBytes: number } {
  const { blocks, footer } = sealChunk(ids.map((id, place) => promptOf(place + 1, 'x'.repeat(place * 7), { id, metadataJson })));
  const start = indexOffset(footer);
  return { section: Buffer.concat(blocks).subarray(start, start + footer.indexBytes), rows: footer.rows, paramsBytes: footer.paramsBytes };
}

describe('the marks of an index', () => {
  it('are the lengths and digests that parsing every line finds, whatever the ids hold', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string({ unit: 'binary', minLength: 1 }), fc.constantFrom(',"bytes":7,"sha":"', '","bytes":7', ',\\"bytes\\":1', 'ü,"sha":"')), { minLength: 1, maxLength: 8 }), (ids) => {
        const { section, rows, paramsBytes } = indexOf(ids, '{"bytes":3,"sha":"no"}');
        const marks = decodeMarks(section, rows, paramsBytes);
        const parsed = decodeIndex(section, rows, paramsBytes);
        expect([...marks.bytes]).toEqual(parsed.map((row) => row.bytes));
        expect([...marks.shaAt].map((at) => marks.section.toString('latin1', at, at + 64))).toEqual(parsed.map((row) => row.sha));
      }),
    );
  });

  it.each([
    ['a line too few', (text: string) => text.slice(text.indexOf('\n') + 1)],
    ['no newline at the end', (text: string) => text.slice(0, -1)],
    ['another length', (text: string) => text.replace('"bytes":8', '"bytes":9')],
    ['a digest that is cut', (text: string) => text.replace(/"sha":"../, '"sha":"')],
    ['no digest', (text: string) => text.replace('"sha"', '"shb"')],
    ['no length', (text: string) => text.replace('"bytes"', '"bites"')],
  ])('are refused with %s (K2)', (_what, damage) => {
    const { section, rows, paramsBytes } = indexOf(['a', 'b', 'c']);
    expect(() => decodeMarks(section, rows, paramsBytes)).not.toThrow();
    const damaged = Buffer.from(damage(section.toString('latin1')), 'latin1');
    expect(damaged.equals(section)).toBe(false);
    expect(() => decodeMarks(damaged, rows, paramsBytes)).toThrow(RangeError);
  });
});
