/** What documents say of the code is the code's own word: where it is copied, a test compares. */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { lifecycle, lifecycleTables, type Machine } from '../../segments/lifecycle.ts';

const root = resolve(import.meta.dirname, '../..');
const between = (text: string, begin: string, end: string): string | undefined => {
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  return from < 0 || to < from ? undefined : text.slice(from + begin.length, to).trim();
};

describe('the tables of ARCHITECTURE.md', () => {
  it('are there', () => expect(existsSync(resolve(root, 'ARCHITECTURE.md'))).toBe(true));

  it('are those of lifecycle.ts; print them again with lifecycleTables() after a change', () => {
    const text = readFileSync(resolve(root, 'ARCHITECTURE.md'), 'utf8');
    expect(between(text, '<!-- lifecycle:begin -->', '<!-- lifecycle:end -->')).toBe(lifecycleTables().trim());
  });
});

describe('lifecycleTables', () => {
  it('has one row of five cells for every move', () => {
    const rows = lifecycleTables().split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| from '));
    const machines: readonly Machine[] = Object.values(lifecycle);
    const moves = machines.flatMap((machine) => machine.moves);
    expect(rows).toEqual(moves.map((move) => `| ${move.from} | ${move.event} | ${move.to} | ${move.by} | ${move.meaning} |`));
    expect(rows.every((row) => row.split(' | ').length === 5)).toBe(true);
  });

  it('names where each noun begins and ends', () => {
    const tables = lifecycleTables();
    expect(tables).toContain('**Run** begins as `ingesting`; ends as `complete`, `canceled`.');
    expect(tables).toContain('**Segment** begins as `flowing`; it never ends.');
  });
});
