/**
 * A small run of high priority that comes when a large one of low priority is already in line: the larger one has filled the
 * provider's queue with its first batch, and its other archives are sealed and wait. What is told is when the provider took
 * which batch, by its own log.
 *
 *   node --import tsx test/latecomer.ts 100000 200
 */
import { readFileSync } from 'node:fs';
import { openWorld } from './chaos/world.ts';

export interface LatecomerTrial {
  /** Rows of the large run, a multiple of its batches. */
  readonly rowsLow: number;
  readonly rowsHigh: number;
  /** Batches of the large run. */
  readonly batchesLow: number;
}

export interface LatecomerFigures {
  /** Rows of the batches in the order in which the provider took them. */
  readonly batches: readonly number[];
  /** Batches of the large run that were taken between the moment at which the small run was enqueued and its own. */
  readonly passedBy: number;
  /** Archives of the large run that were sealed and in line when the small one came. */
  readonly inLine: number;
  /** From the first room in the provider's queue to the small run's batch, and to the last batch of the large one, ms of the machine. */
  readonly smallMs: number;
  readonly largeMs: number;
  /** How the command that enqueued each run ended, low before high. */
  readonly codes: readonly (number | null)[];
}

/** Plays it once. @throws Error when a run does not come to its end */
export async function playLatecomer({ rowsLow, rowsHigh, batchesLow }: LatecomerTrial): Promise<LatecomerFigures> {
  const rowsMax = rowsLow / batchesLow;
  // A batch takes an hour until the clock is hurried, and the provider's queue has room for one of the large run.
  const world = await openWorld({ batchMs: 3_600_000 }, { PLIMSOLL_ARCHIVE__ROWS_MAX: String(rowsMax), PLIMSOLL_CHUNK__ROWS_MAX: String(rowsMax / 5), PLIMSOLL_SUBMIT__QUEUE_ROWS: String(rowsMax), PLIMSOLL_ARCHIVE__LINGER: '200ms' });
  try {
    const worker = world.start(['work']);
    await worker.said('worker.started');
    const low = await world.run(['enqueue', world.write('low.jsonl', prompts(rowsLow, 'low')), '--run-key', 'large', '--quiet']);
    await worker.said('"batch.accepted"');
    for (let sealed = 1; sealed <= batchesLow; sealed += 1) await worker.said('"archive.sealed"', sealed);
    const high = await world.run(['enqueue', world.write('high.jsonl', prompts(rowsHigh, 'high')), '--run-key', 'small', '--quiet']);
    const before = readBatches(world.truthFile).length;
    await worker.said('"archive.sealed"', batchesLow + 1);
    const began = performance.now();
    const reply = await fetch(`${world.simulator.url}/_simulator/clock`, { method: 'POST', body: JSON.stringify({ time_scale: 36_000 }) });
    if (!reply.ok) throw new Error(`the provider's clock cannot be hurried: ${reply.status}`);
    await worker.said(`"rows":${rowsHigh},"isBound":true`);
    const smallMs = performance.now() - began;
    await worker.said('"batch.accepted"', batchesLow + 1);
    const largeMs = performance.now() - began;
    await worker.said('"run.completed"', 2);
    const batches = readBatches(world.truthFile);
    return { batches, passedBy: batches.indexOf(rowsHigh) - before, inLine: batchesLow - before, smallMs, largeMs, codes: [low.code, high.code] };
  } finally {
    await world.close();
  }
}

function prompts(count: number, priority: 'low' | 'high'): string {
  const lines = Array.from({ length: count }, (_, index) => JSON.stringify({
    id: `${priority}-${index}`, topic: 'mails', priority,
    params: { model: 'claude-haiku-4-5', max_tokens: 16, messages: [{ role: 'user', content: `Mail ${index}: is this about an order? ${'It came late. '.repeat(index % 20)}` }] },
  }));
  return `${lines.join('\n')}\n`;
}

/** The rows of every batch, in the order in which it was taken. */
function readBatches(truthFile: string): readonly number[] {
  const lines = readFileSync(truthFile, 'utf8').split('\n').filter((line) => line.includes('"kind":"batch_accepted"'));
  return lines.map((line) => (JSON.parse(line) as { requests: number }).requests);
}

if (process.argv[1] === import.meta.filename) {
  const [rowsLow, rowsHigh] = [Number(process.argv[2] ?? 100_000), Number(process.argv[3] ?? 200)];
  const found = await playLatecomer({ rowsLow, rowsHigh, batchesLow: 10 });
  process.stdout.write(`${JSON.stringify({ rowsLow, rowsHigh, ...found, smallMs: Math.round(found.smallMs), largeMs: Math.round(found.largeMs) })}\n`);
  process.exitCode = found.passedBy === 0 ? 0 : 1;
}
