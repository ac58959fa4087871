/**
 * Rows that one and the same error has struck although their prompts differ (reliability.md 4.7). The provider says of an
 * empty credit balance `invalid_request_error`, row by row, for a whole batch; read row by row that is a batch of bad
 * prompts. No text is compared with anything but the text of the other rows, so no wording has to be known. Pure.
 */
import type { ResultIndex } from './result-index.ts';

/** So many rows with one error are a cohort where they are the whole batch: a few prompts may well share a fault of their own. */
const wholeRowsMin = 5;
/** In a batch that has other results too, a cohort is at least so many rows, and more than this share of it. */
const partRowsMin = 20;
const partShareMin = 0.2;

/**
 * Finds the cohorts of a verified set of results.
 * @returns whether the row of an archive index has an error (type and message) that is shared by a cohort
 */
export function accountCohortOf(index: ResultIndex): (row: number) => boolean {
  const rowsByError = new Map<number, number>();
  for (let row = 0; row < index.rows; row += 1) {
    const error = index.errorOf(row);
    if (error !== undefined) rowsByError.set(error, (rowsByError.get(error) ?? 0) + 1);
  }
  const isCohort = (rows: number): boolean => (rows === index.rows && rows >= wholeRowsMin) || (rows >= partRowsMin && rows > index.rows * partShareMin);
  const cohorts = new Set([...rowsByError].flatMap(([error, rows]) => (isCohort(rows) ? [error] : [])));
  return (row) => {
    const error = index.errorOf(row);
    return error !== undefined && cohorts.has(error);
  };
}
