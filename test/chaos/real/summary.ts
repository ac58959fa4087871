/** Sums up a log of seeds: what was played, what was reached, and what never was. */
import { existsSync, readFileSync } from 'node:fs';
import { deadLetterReasons } from '../../../segments/outcome.ts';
import { provenanceText, type Provenance } from '../provenance.ts';
import { allEdges } from './history.ts';
import { allPoints } from './points.ts';
import type { Verdict } from './trial.ts';

/** One line of a log; lines from before there was a provenance have none. */
export type LogLine = Verdict & Partial<Provenance>;

/** The verdicts of a log; a line that a kill tore is left out. */
export function readLog(path: string): readonly LogLine[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8').split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as LogLine];
    } catch {
      return [];
    }
  });
}

function countsOf(verdicts: readonly Verdict[], of: (verdict: Verdict) => Readonly<Record<string, number>>): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const verdict of verdicts) for (const [name, times] of Object.entries(of(verdict))) sums.set(name, (sums.get(name) ?? 0) + times);
  return sums;
}

function table(title: string, counts: ReadonlyMap<string, number>, expected: readonly string[]): string {
  const names = [...new Set([...expected, ...counts.keys()])].sort();
  const reached = expected.filter((name) => (counts.get(name) ?? 0) > 0).length;
  return [`${title}: ${expected.length === 0 ? names.length : `${reached} of ${expected.length}`}`, ...names.map((name) => `  ${String(counts.get(name) ?? 0).padStart(7)}  ${name}`)].join('\n');
}

/** The summary as text. */
export function summaryOf(verdicts: readonly LogLine[]): string {
  const broken = verdicts.filter(({ breaches }) => breaches.length > 0);
  const seconds = verdicts.map((verdict) => verdict.seconds).sort((a, b) => a - b);
  const kinds = new Map<string, number>();
  for (const { struck } of verdicts) for (const fault of struck) {
    const kind = fault.replace(/'s batch of \S+/, "'s batch").replace(/ -?\d+ ms( after.*)?/g, '').replace(/ \(\d+\)$/, '').replace(/ at \S+$/, '').replace(/,(nth|rate|seconds|retry_after|message|rows|count)=[^,]*/g, '');
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  return `${[
    `${verdicts.length} seeds, ${broken.length} broken${broken.length > 0 ? `: ${broken.map(({ seed }) => seed).join(', ')}` : ''}; median ${(seconds[Math.floor(seconds.length / 2)] ?? 0).toFixed(1)} s, longest ${(seconds.at(-1) ?? 0).toFixed(1)} s`,
    provenanceText(verdicts.map((line) => ({ provenance: line, seeds: 1 }))),
    `${verdicts.reduce((sum, { batches }) => sum + batches, 0)} batches, ${verdicts.reduce((sum, { rows }) => sum + rows, 0)} rows, ${verdicts.reduce((sum, { rebuilds }) => sum + rebuilds, 0)} rebuilds, ${verdicts.reduce((sum, { powerCuts }) => sum + powerCuts, 0)} power cuts`,
    table('crash points', countsOf(verdicts, ({ points }) => points), allPoints),
    table('state edges', countsOf(verdicts, ({ edges }) => edges), allEdges),
    table('dead letters', countsOf(verdicts, ({ deadLetters }) => deadLetters), deadLetterReasons),
    table('outcomes of creates', countsOf(verdicts, ({ outcomes }) => outcomes), []),
    table('faults of the provider', countsOf(verdicts, ({ injected }) => injected), []),
    table('faults that struck', kinds, []),
  ].join('\n')}\n`;
}
