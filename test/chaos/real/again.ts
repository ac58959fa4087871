/** I11: the files of a run are taken away and exported once more, and must come back byte for byte. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { filesBelow } from '../oracle.ts';
import type { Exit } from './players.ts';
import type { Stage } from './stage.ts';

/** Files that an export makes; what a producer has rejected is not its own. */
function filesOf(lake: string, run: string): string[] {
  const isOwn = (key: string): boolean => (key.includes(`/${run}-`) && !key.includes('/topic=rejected/')) || (key.startsWith('runs/') && key.includes(`/${run}/`));
  return ['results', 'errors', 'runs'].flatMap((folder) => filesBelow(join(lake, folder))).filter((file) => isOwn(relative(lake, file)));
}

function digestsOf(lake: string, run: string): ReadonlyMap<string, string> {
  return new Map(filesOf(lake, run).map((file) => [relative(lake, file), createHash('sha256').update(readFileSync(file)).digest('hex')]));
}

/** Exports a run again. `replay` runs the product's own command for it. Returns what is broken. */
export async function exportAgain(stage: Stage, run: string, replay: () => Promise<Exit>): Promise<string[]> {
  const { lake } = stage;
  const before = digestsOf(lake, run);
  await stage.removeFromLake([...before.keys()]);
  const exit = await replay();
  await stage.readLake();
  const after = digestsOf(lake, run);
  return [
    ...(exit.code === 0 ? [] : [`I11: ${run} cannot be exported again: ${exit.stderr.slice(-300)}`]),
    ...[...before].flatMap(([key, digest]) => (after.get(key) === digest ? [] : [`I11: ${key} ${after.has(key) ? 'is another file' : 'does not come back'} when ${run} is exported again`])),
    ...[...after.keys()].filter((key) => !before.has(key)).map((key) => `I11: ${key} came only when ${run} was exported again`),
  ];
}
