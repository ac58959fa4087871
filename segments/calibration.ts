/**
 * Calibration: what share of its upper bound a prompt really consumes, learned for each topic and model from settled
 * rows. Budgets in estimate mode reserve by it. Pure.
 *
 * A sample is a histogram of shares in whole percent of the bound, rounded up, so it needs at most a hundred numbers for
 * each amount, however many rows it stands for. The ledger adds samples up (`scripts/prelude/calibration.lua`).
 */

/** Rows by the share of their bound that they consumed, whole percent from 1 to 100. */
export type ShareHistogram = Readonly<Record<string, number>>;

/** What rows of one model consumed. */
export interface CalibrationSample {
  readonly model: string;
  readonly rows: number;
  readonly tokens: ShareHistogram;
  readonly microUsd: ShareHistogram;
}

/** What one row consumed and what it could have at most; tokens and micro-USD. */
export interface RowConsumption {
  readonly model: string;
  readonly tokens: number;
  readonly tokensMax: number;
  readonly microUsd: number;
  readonly microUsdMax: number;
}

/** Adds rows up into one sample for each model, in the order of the models' names. */
export function samplesOf(rows: Iterable<RowConsumption>): readonly CalibrationSample[] {
  const found = new Map<string, { rows: number; tokens: Record<string, number>; microUsd: Record<string, number> }>();
  for (const row of rows) {
    const sample = found.get(row.model) ?? { rows: 0, tokens: {}, microUsd: {} };
    sample.rows += 1;
    count(sample.tokens, row.tokens, row.tokensMax);
    count(sample.microUsd, row.microUsd, row.microUsdMax);
    found.set(row.model, sample);
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([model, sample]) => ({ model, ...sample }));
}

/** Adds samples up by topic and model. The key of the answer is the topic. */
export function mergeSamples(given: Iterable<{ readonly topic: string; readonly sample: CalibrationSample }>): readonly { readonly topic: string; readonly sample: CalibrationSample }[] {
  const merged = new Map<string, { topic: string; sample: CalibrationSample }>();
  for (const { topic, sample } of given) {
    const key = `${topic}|${sample.model}`;
    const known = merged.get(key)?.sample;
    const sum: CalibrationSample = known
      ? { model: sample.model, rows: known.rows + sample.rows, tokens: addHistograms(known.tokens, sample.tokens), microUsd: addHistograms(known.microUsd, sample.microUsd) }
      : sample;
    merged.set(key, { topic, sample: sum });
  }
  return [...merged.values()];
}

function count(histogram: Record<string, number>, used: number, bound: number): void {
  const percent = bound === 0 ? 1 : Math.min(100, Math.max(1, Math.ceil((used * 100) / bound)));
  histogram[percent] = (histogram[percent] ?? 0) + 1;
}

function addHistograms(one: ShareHistogram, other: ShareHistogram): ShareHistogram {
  const sum: Record<string, number> = { ...one };
  for (const [percent, rows] of Object.entries(other)) sum[percent] = (sum[percent] ?? 0) + rows;
  return sum;
}
