/** The table that the benchmark prints, and the arithmetic behind its cells. */

/** One line of the table. `isHeld` undefined: a figure without a goal. */
export interface Row {
  readonly stage: string;
  readonly figure: string;
  readonly compared: string;
  readonly goal: string;
  readonly isHeld: boolean | undefined;
}

/** The middle value; of an even number the lower one of the two in the middle. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[(values.length - 1) >> 1] ?? 0;
}

/** A ratio of two figures of the same rounds: the median of the ratios, which bears a machine that is busy for a while. */
export function medianRatio(over: readonly number[], under: readonly number[]): number {
  return median(over.map((value, round) => value / (under[round] ?? value)));
}

/**
 * Two sides of the same rounds in processor time per unit, all threads together: how much less work one of them is. It
 * says little about a machine with an idle core, but it holds on one that is busy with other things.
 */
export function workRatio(theirs: readonly number[], ours: readonly number[]): string {
  return `${shown(medianRatio(theirs, ours))} x in processor time`;
}

/** A goal with its verdict. */
export function atLeast(ratio: number, goal: number): Pick<Row, 'goal' | 'isHeld'> {
  return { goal: `>= ${goal}`, isHeld: ratio >= goal };
}

export function atMost(value: number, goal: number, unit = ''): Pick<Row, 'goal' | 'isHeld'> {
  return { goal: `<= ${goal}${unit}`, isHeld: value <= goal };
}

/** Figures as people read them: three digits that count. */
export function shown(value: number): string {
  if (value >= 1_000) return Math.round(value).toLocaleString('en');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** MB per second, MB being 1,000,000 bytes. */
export function rate(bytes: number, ms: number): number {
  return bytes / 1_000 / ms;
}

/** The rows as a table in Markdown. */
export function tableOf(rows: readonly Row[]): string {
  const head = ['stage', 'measured', 'compared with', 'goal', 'held'];
  const cells = rows.map((row) => [row.stage, row.figure, row.compared, row.goal, row.isHeld === undefined ? '' : row.isHeld ? 'yes' : 'NO']);
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((line) => line[column]?.length ?? 0)));
  const lineOf = (line: readonly string[]): string => `| ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [lineOf(head), lineOf(widths.map((width) => '-'.repeat(width))), ...cells.map(lineOf)].join('\n');
}
