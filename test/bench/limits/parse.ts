/**
 * The least that "really parsed" costs in one thread: the file is read in blocks, cut at its newlines, and every line is
 * decoded and parsed, and forgotten.
 *
 *   parse.ts FILE     prints ms, rows
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { argument, begin, report } from '../child.ts';

const block = Buffer.allocUnsafe(8 * 1024 * 1024);
const file = openSync(argument(0), 'r');
const startMs = begin();
let rows = 0;
let kept = 0;
for (;;) {
  const count = readSync(file, block, kept, block.length - kept, null);
  if (count === 0) break;
  const filled = kept + count;
  let from = 0;
  for (let to = block.indexOf(0x0a, from); to >= 0 && to < filled; to = block.indexOf(0x0a, from)) {
    JSON.parse(block.toString('utf8', from, to));
    rows += 1;
    from = to + 1;
  }
  kept = block.copy(block, 0, from, filled);
}
closeSync(file);
report({ ms: performance.now() - startMs, rows });
