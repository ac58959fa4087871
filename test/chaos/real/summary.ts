/** Sums up a log of seeds: what was played, what was reached, and what never was. */
import { existsSync, readFileSync } from 'node:fs';
import { deadLetterReasons } from '../../../segments/outcome.ts';
import { provenanceText, type Provenance } from '../provenance.ts';
import { allEdges } from './history.ts';
import { allPoints } from './points.ts';
import type { Verdict } from './trial.ts';

/** One line of a log; lines from before there was a provenance have none. */
export type LogLine = Verdict & Partial<Provenance> & { readonly aim?: string };

/** What is out of reach here, and why. */
export const unreachable: Readonly<Record<string, string>> = {
  'edge intent: held -> absent': 'nobody here says that a batch does not exist: the box and test/flow/doubt-operator.test.ts do',
  'dead letter result_conflict': 'the simulator sends a row twice, and never with two contents: test/unit has such results',
};

/** So often every crash point has to be hit. */
export const hitsWanted = 30;

/** How often each crash point was hit, and how often a schedule was aimed at it. */
export interface Tally {
  readonly hits: Map<string, number>;
  readonly aims: Map<string, number>;
}

/** The tally of a log. */
export function tallyOf(lines: readonly LogLine[]): Tally {
  return { hits: new Map(countsOf(lines, ({ points }) => points)), aims: new Map(countsOf(lines, ({ aim }) => (aim === undefined ? {} : { [aim]: 1 }))) };
}

/** Adds to one side of a tally. */
export function add(counts: Map<string, number>, name: string, times = 1): void {
  counts.set(name, (counts.get(name) ?? 0) + times);
}

/** The crash point to aim at next: the one that was hit least. An aim that missed counts as a hit, so that a point which nobody passes does not take every seed. */
export function rarestPoint({ hits, aims }: Tally): string | undefined {
  const rank = (point: string): number => Math.max(hits.get(point) ?? 0, aims.get(point) ?? 0);
  const [rarest] = [...allPoints].sort((a, b) => rank(a) - rank(b));
  return rarest === undefined || rank(rarest) >= hitsWanted ? undefined : rarest;
}

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

function countsOf(verdicts: readonly LogLine[], of: (verdict: LogLine) => Readonly<Record<string, number>>): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const verdict of verdicts) for (const [name, times] of Object.entries(of(verdict))) sums.set(name, (sums.get(name) ?? 0) + times);
  return sums;
}

function table(title: string, counts: ReadonlyMap<string, number>, expected: readonly string[]): string {
  const names = [...new Set([...expected, ...counts.keys()])].sort();
  const reached = expected.filter((name) => (counts.get(name) ?? 0) > 0).length;
  return [`${title}: ${expected.length === 0 ? names.length : `${reached} of ${expected.length}`}`, ...names.map((name) => `  ${String(counts.get(name) ?? 0).padStart(7)}  ${name}`)].join('\n');
}

/** What was never reached, and crash points that were hit too seldom: what a reader looks for first. */
function lackingLines(verdicts: readonly LogLine[]): readonly string[] {
  const { hits, aims } = tallyOf(verdicts);
  const neverOf = (what: string, counts: ReadonlyMap<string, number>, expected: readonly string[]): string[] => expected.filter((name) => (counts.get(name) ?? 0) === 0 && !(`${what} ${name}` in unreachable)).map((name) => `never reached: ${what} ${name}${aims.has(name) ? `, aimed at ${aims.get(name)} times` : ''}`);
  return [
    ...neverOf('point', hits, allPoints),
    ...neverOf('edge', countsOf(verdicts, ({ edges }) => edges), allEdges),
    ...neverOf('dead letter', countsOf(verdicts, ({ deadLetters }) => deadLetters), deadLetterReasons),
    ...Object.entries(unreachable).map(([name, reason]) => `out of reach: ${name}: ${reason}`),
    `${allPoints.filter((point) => (hits.get(point) ?? 0) >= hitsWanted).length} of ${allPoints.length} crash points were hit at least ${hitsWanted} times`,
  ];
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
    ...lackingLines(verdicts),
    table('crash points', countsOf(verdicts, ({ points }) => points), allPoints),
    table('state edges', countsOf(verdicts, ({ edges }) => edges), allEdges),
    table('dead letters', countsOf(verdicts, ({ deadLetters }) => deadLetters), deadLetterReasons),
    table('outcomes of creates', countsOf(verdicts, ({ outcomes }) => outcomes), []),
    table('faults of the provider', countsOf(verdicts, ({ injected }) => injected), []),
    table('faults that struck', kinds, []),
  ].join('\n')}\n`;
}
