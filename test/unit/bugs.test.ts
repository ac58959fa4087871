import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bugs } from '../chaos/bugs.ts';

const root = resolve(import.meta.dirname, '../..');

describe('the planted bugs', () => {
  it.each(bugs.flatMap((bug) => [bug, ...(bug.also ?? [])].map((edit) => [bug.name, edit.file, edit] as const)))('%s: its text is in %s exactly once', (_name, file, edit) => {
    expect(readFileSync(join(root, file), 'utf8').split(edit.find)).toHaveLength(2);
  });

  it.each(bugs)('$name: the bug is another text than the product', ({ find, replace }) => {
    expect(replace).not.toBe(find);
  });
});
