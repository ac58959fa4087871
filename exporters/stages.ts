/**
 * The last two stages: `export` commits one archive's files, `gather` commits a run. Both read what the settler wrote
 * down and write create-only objects, so they may run twice, late, or on another machine.
 *
 * Invariants
 *   X1  The ledger says `exported` only after the archive's manifest is in the lake.
 *   X2  The completion event is written with the state, after `_SUCCESS` is in the lake.
 */
import { invariant } from '../segments/errors.ts';
import { outcomeKey } from '../segments/lake.ts';
import type { Ledger } from '../segments/ledger/ledger.ts';
import { decodeOutcome } from '../segments/outcome.ts';
import { asRunKey, type ArchiveId } from '../segments/segment.ts';
import type { SettledResults } from '../segments/settled-results.ts';
import { done, type Log, type Now, type StageHandler } from '../segments/stage.ts';
import type { Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';
import { isAudited, writeAudit } from './audit.ts';
import { exportArchive, gatherRun, type ExporterSettings } from './exporter.ts';
import { completedData, exportedData } from './lake-feed.ts';

export interface ExportDependencies {
  readonly ledger: Ledger;
  readonly store: Store;
  readonly wake: Wake;
  readonly settings: ExporterSettings;
  /** What the settler of this process knows of the results; undefined: nothing. */
  readonly settled?: SettledResults;
  /** Told after every archive and every run: what is spent has changed. It returns at once and never fails. */
  readonly onSpent?: ((noun: 'archive' | 'run') => void) | undefined;
  readonly now: Now;
  readonly log: Log;
}

/** Makes the stage that exports settled archives. */
export function makeExporter({ ledger, store, wake, settings, settled, onSpent, now, log }: ExportDependencies): StageHandler {
  return {
    stage: 'export',
    concurrency: 2,
    isClaimed: true,
    async handle(entity) {
      const id = entity as ArchiveId;
      const archive = await ledger.readArchive(id);
      if (!archive || archive.state !== 'settled') return done;
      const outcome = decodeOutcome(await store.readWhole(outcomeKey(archive.run, id)));
      const manifest = await exportArchive({ outcome, store, settings, index: settled?.take(outcome.resultsSha256) });
      if (isAudited(outcome, settings.auditTopics ?? [])) await writeAudit({ outcome, store, scratchDirectory: settings.scratchDirectory });
      const { isRunDone } = await ledger.exportArchive(id, exportedData(store, manifest), now());
      log({ level: 'info', event: 'archive.exported', subject: id, detail: { files: manifest.entries.length } });
      onSpent?.('archive');
      if (isRunDone) await wake.wake({ stage: 'gather', entity: archive.run, epoch: 0 });
      return done;
    },
  };
}

/** Makes the stage that commits runs of which nothing is left to do. */
export function makeGatherer({ ledger, store, onSpent, now, log }: ExportDependencies): StageHandler {
  return {
    stage: 'gather',
    concurrency: 1,
    isClaimed: true,
    async handle(entity) {
      const key = asRunKey(entity);
      const run = key === undefined ? undefined : await ledger.readRun(key);
      if (!run || !['open', 'canceling'].includes(run.state) || run.chunksOpen > 0) return done;
      invariant(run.completedAtMs !== undefined, `run ${run.run} is done but has no recorded end`);
      const report = await gatherRun({ run, archives: await ledger.listArchives(run.run), store, completedAtMs: run.completedAtMs });
      await ledger.completeRun({
        run: run.run,
        result: report.status,
        event: completedData(store, report),
        nowMs: now(),
      });
      log({ level: 'info', event: 'run.completed', subject: run.run, detail: { status: report.status, succeeded: run.succeeded, deadLettered: run.deadLettered, rejected: run.rejected } });
      onSpent?.('run');
      return done;
    },
  };
}
