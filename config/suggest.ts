/**
 * "Did you mean": the known word nearest to a mistyped one, by the number of single mistakes (a letter added, dropped,
 * replaced, or two neighbours exchanged) that lie between them.
 */

/** Longer words are no typing mistakes, and the distance costs the product of both lengths. */
const wordLengthMax = 80;

/** Case and separators aside: `bytes_max`, `bytes-max` and `bytesMax` are the same word. */
function bare(word: string): string {
  return word.toLowerCase().replaceAll(/[\s_-]/g, '');
}

/** The optimal string alignment distance of two words: 0 when they are equal. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const isSame = a[row - 1] === b[column - 1];
      const replaced = (last[column - 1] ?? 0) + (isSame ? 0 : 1);
      const dropped = (last[column] ?? 0) + 1;
      const added = (current[column - 1] ?? 0) + 1;
      let best = Math.min(replaced, dropped, added);
      const isExchange = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (isExchange) best = Math.min(best, (beforeLast[column - 2] ?? 0) + 1);
      current.push(best);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}

/**
 * The candidate that was probably meant, or undefined when none is near: at most one mistake per three letters, at
 * least one. The first of several equally near ones wins, so the answer does not depend on chance.
 */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > wordLengthMax) return undefined;
  const wanted = bare(word);
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    if (candidate.length > wordLengthMax) continue;
    const known = bare(candidate);
    if (Math.abs(known.length - wanted.length) >= bestDistance) continue;
    const distance = editDistance(wanted, known);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}
