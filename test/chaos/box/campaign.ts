/**
 * The log of a campaign: one JSON line per block of seeds, appended when the block has been played, so a campaign goes on
 * where it was broken off. The seeds that a log holds are those of its lines; the same seed is never counted twice.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { provenanceText, type Provenance } from '../provenance.ts';
import { timesWanted, unreachable, wanted } from './coverage.ts';

/** What a block came to. */
export interface Played {
  readonly v: 1;
  readonly first: number;
  readonly count: number;
  readonly turns: number;
  readonly doubts: number;
  readonly broken: readonly { readonly seed: number; readonly breaches: readonly string[]; readonly faults: readonly string[] }[];
  readonly coverage: Readonly<Record<string, number>>;
  /** Wall time, and processor time of the player without its Redis; ms. */
  readonly wallMs: number;
  readonly cpuMs: number;
}

export interface Block extends Played, Provenance {}

/** Reads a log; a last line that was cut off is left out. */
export function readLog(path: string): readonly Block[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.slice(0, -1).flatMap((line) => (line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line) as Block] : []));
}

export function appendBlock(path: string, block: Block): void {
  // A line that was cut off by a crash is ended first.
  const isCut = existsSync(path) && !/(^|\n)$/.test(readFileSync(path, 'utf8').slice(-1));
  appendFileSync(path, `${isCut ? '\n' : ''}${JSON.stringify(block)}\n`);
}

/** The blocks of `first .. first + count - 1` that no block of the log holds. */
export function missingBlocks(log: readonly Block[], first: number, count: number, blockSeeds: number): readonly { readonly first: number; readonly count: number }[] {
  const played = new Set<number>();
  for (const block of log) for (let seed = block.first; seed < block.first + block.count; seed += 1) played.add(seed);
  const missing: { first: number; count: number }[] = [];
  for (let seed = first; seed < first + count; seed += 1) {
    if (played.has(seed)) continue;
    const last = missing.at(-1);
    if (last && last.first + last.count === seed && last.count < blockSeeds) last.count += 1;
    else missing.push({ first: seed, count: 1 });
  }
  return missing;
}

/** Whether a campaign shows what it has to: nothing broken, everything reached. */
export function isGood(blocks: readonly Block[]): boolean {
  const reached = sumOf(blocks);
  return blocks.every((block) => block.broken.length === 0) && wanted.every((name) => (reached.get(name) ?? 0) >= timesWanted);
}

function sumOf(blocks: readonly Block[]): Map<string, number> {
  const reached = new Map<string, number>();
  for (const block of blocks) for (const [name, times] of Object.entries(block.coverage)) reached.set(name, (reached.get(name) ?? 0) + times);
  return reached;
}

/** The summary of a campaign, as text. */
export function summaryOf(blocks: readonly Block[]): string {
  const sum = (of: (block: Block) => number): number => blocks.reduce((total, block) => total + of(block), 0);
  const reached = sumOf(blocks);
  const seeds = sum((block) => block.count);
  const broken = blocks.flatMap((block) => block.broken);
  const lacking = wanted.filter((name) => (reached.get(name) ?? 0) < timesWanted);
  const kinds = ['point', 'edge', 'reason', 'create', 'row', 'list'].map((kind) => {
    const names = wanted.filter((name) => name.startsWith(`${kind} `));
    const times = names.map((name) => reached.get(name) ?? 0);
    return `${kind.padEnd(7)} ${names.filter((name) => (reached.get(name) ?? 0) >= timesWanted).length} of ${names.length} at least ${timesWanted} times, the rarest ${Math.min(...times)} times`;
  });
  const unexpected = Object.keys(unreachable).filter((name) => (reached.get(name) ?? 0) > 0);
  return [
    `${seeds} seeds, ${broken.length} broken, ${sum((block) => block.doubts)} ended in doubt, ${sum((block) => block.turns)} port calls`,
    provenanceText(blocks.map((block) => ({ provenance: block, seeds: block.count }))),
    `${(sum((block) => block.cpuMs) / Math.max(1, seeds)).toFixed(0)} ms of processor and ${(sum((block) => block.wallMs) / Math.max(1, seeds)).toFixed(0)} ms of wall time per seed and player, Redis apart`,
    ...kinds,
    ...broken.slice(0, 50).map((each) => `BROKEN seed ${each.seed}: ${each.breaches.slice(0, 3).join('; ')}`),
    ...lacking.map((name) => `LACKING ${name}: ${reached.get(name) ?? 0} times`),
    ...Object.entries(unreachable).map(([name, why]) => `out of reach here: ${name}: ${why}`),
    ...unexpected.map((name) => `REACHED although it is out of reach: ${name}`),
    '',
  ].join('\n');
}
