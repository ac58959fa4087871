/** The boundaries of the product, each with valid samples of what it reads. */
import { contentParsers } from './content-parsers.ts';
import { recordParsers } from './record-parsers.ts';
import type { Parser } from './run.ts';

export const parsers: readonly Parser[] = [...contentParsers, ...recordParsers];

/** How many of the inputs a parser gets. */
export function shareOf(parser: Parser, all: readonly Parser[], inputs: number): number {
  const shares = all.reduce((sum, each) => sum + each.share, 0);
  return Math.ceil((inputs * parser.share) / shares);
}
