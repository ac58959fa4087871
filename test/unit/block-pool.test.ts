import { describe, expect, it } from 'vitest';
import { BlockPool, Section } from '../../segments/block-pool.ts';

const textOf = (section: Section): string => Buffer.concat(section.blocks()).toString('utf8');

describe('a section', () => {
  it('holds its lines in order, also those that cross blocks or are larger than one', () => {
    const section = new Section(new BlockPool());
    const lines = ['a', 'b'.repeat(32 * 1024 - 3), 'c', 'd'.repeat(100_000), 'ü'.repeat(20_000), ''];
    for (const [place, line] of lines.entries()) {
      if (place % 2 === 0) section.addLine(Buffer.from(line));
      else section.addText(line);
    }
    expect(textOf(section)).toBe(`${lines.join('\n')}\n`);
    expect(section.sizeBytes).toBe(Buffer.byteLength(textOf(section)));
  });

  it('copies, so that its caller may use the bytes again', () => {
    const section = new Section(new BlockPool());
    const bytes = Buffer.from('before');
    section.addLine(bytes);
    bytes.fill(0x78);
    expect(textOf(section)).toBe('before\n');
  });

  it('leaves its blocks to the next one when it is released', () => {
    const pool = new BlockPool();
    const first = new Section(pool);
    first.addLine(Buffer.alloc(100_000));
    const memory = new Set(first.blocks().map((block) => block.buffer));
    first.release();
    const second = new Section(pool);
    second.addLine(Buffer.alloc(100_000));
    expect(second.blocks().every((block) => memory.has(block.buffer))).toBe(true);
  });
});
