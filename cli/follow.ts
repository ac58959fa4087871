/**
 * Follows a run to where it can go no further by itself: complete, held by a budget, or in doubt. It reads the ledger and
 * changes nothing.
 */
import { runDocument, type RunDocument } from '../exporters/exporter.ts';
import type { ArchiveRecord, Ledger, RunRecord } from '../segments/ledger/ledger.ts';
import type { RunKey } from '../segments/segment.ts';

/** Where a run stands. */
export type Standing = 'complete' | 'held' | 'in_doubt' | 'moving' | 'canceled';

/** What a watcher shows. */
export interface RunView {
  readonly run: RunRecord;
  readonly archives: readonly ArchiveRecord[];
  readonly standing: Standing;
}

const lookEveryMs = 200;

/** The document of a run that was looked at. `lakeUri` has no trailing slash. */
export function viewDocument({ run, standing }: RunView, lakeUri: string): RunDocument {
  return runDocument(run, lakeUri, standing === 'held' || standing === 'in_doubt' ? standing : undefined);
}

/** Looks once. */
export async function viewRun(ledger: Ledger, key: RunKey): Promise<RunView | undefined> {
  const run = await ledger.readRun(key);
  if (!run) return undefined;
  const archives = (await Promise.all((await ledger.listArchives(key)).map(async (id) => await ledger.readArchive(id)))).filter((each) => each !== undefined);
  return { run, archives, standing: standingOf(run, archives) };
}

function standingOf(run: RunRecord, archives: readonly ArchiveRecord[]): Standing {
  if (run.state === 'complete') return 'complete';
  if (run.state === 'canceled') return 'canceled';
  // The sealed archives of a run that an operator holds wait for the operator.
  const resting = ['in_doubt', 'exported', 'canceled', ...(run.heldAtMs === undefined ? [] : ['sealed'])];
  // So does a sealed archive whose row count an archive in doubt has: it is sent when the doubt is over.
  const doubted = new Set(archives.filter((archive) => archive.state === 'in_doubt').map((archive) => archive.rows));
  const isBehindDoubt = (archive: ArchiveRecord): boolean => archive.state === 'sealed' && doubted.has(archive.rows);
  const isMoving = archives.some((archive) => !resting.includes(archive.state) && !isBehindDoubt(archive));
  // What waits of a held run is held as a packer meets it; without one it only looks queued.
  if (run.state === 'open' && run.heldAtMs !== undefined && run.rowsQueued > 0 && !isMoving) return 'held';
  if (run.state === 'ingesting' || run.rowsQueued > 0 || isMoving) return 'moving';
  if (run.rowsHeld > 0 || archives.some((archive) => archive.state === 'sealed' && !isBehindDoubt(archive))) return 'held';
  return archives.some((archive) => archive.state === 'in_doubt') ? 'in_doubt' : 'moving';
}

/**
 * Waits until the run stands still, the time is over (`undefined`: no limit), or the signal aborts. `mayMove` tells of a
 * run that stands still whether it may go on by itself.
 */
export async function followRun(
  ledger: Ledger,
  key: RunKey,
  options: { readonly timeoutMs: number | undefined; readonly signal: AbortSignal; readonly onLook?: (view: RunView) => void; readonly mayMove?: (view: RunView) => Promise<boolean> },
): Promise<{ readonly view: RunView; readonly isTimedOut: boolean }> {
  const untilMs = options.timeoutMs === undefined ? Infinity : performance.now() + options.timeoutMs;
  let stillLooks = 0;
  for (;;) {
    const view = await viewRun(ledger, key);
    if (!view) throw new RangeError(`run ${key} is not in the ledger`);
    options.onLook?.(view);
    // Standing still must be seen twice: a settlement may be about to let held chunks go.
    stillLooks = view.standing === 'moving' || (await options.mayMove?.(view)) === true ? 0 : stillLooks + 1;
    if (view.standing === 'complete' || view.standing === 'canceled' || stillLooks >= 2) return { view, isTimedOut: false };
    if (options.signal.aborted || performance.now() >= untilMs) return { view, isTimedOut: true };
    await pause(lookEveryMs, options.signal);
  }
}

/** Waits, or less when the signal aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
    function end(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    }
  });
}
