/** On what a seed was played: a log that does not say it proves nothing about the product at hand. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

export interface Provenance {
  /** Version of the product. */
  readonly version: string;
  /** Commit that is checked out, with a `+` when files differ from it; `unknown` outside of a checkout. */
  readonly commit: string;
  /** Version of Node. */
  readonly node: string;
}

/** What is played here. `commit` replaces what the checkout says, for a copy of one. */
export function provenance(commit: string | undefined = undefined): Provenance {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return { version, commit: commit ?? commitOf(), node: process.version };
}

function commitOf(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--exclude', '*', '--abbrev=12', '--dirty=+'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown';
  }
}

/** What the lines of a log were played on, with how many seeds each. `seeds` of a line without a provenance are of a log from before there was one. */
export function provenanceText(lines: readonly { readonly provenance: Partial<Provenance>; readonly seeds: number }[]): string {
  const counts = new Map<string, number>();
  for (const { provenance: { version = 'unknown', commit = 'unknown', node = 'unknown' }, seeds } of lines) {
    const name = `version ${version}, commit ${commit}, node ${node}`;
    counts.set(name, (counts.get(name) ?? 0) + seeds);
  }
  return [...counts].map(([name, seeds]) => `${seeds} seeds on ${name}`).join('\n');
}
