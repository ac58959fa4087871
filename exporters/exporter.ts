/**
 * The way out: an archive's outcome becomes files in the lake, and a run's archives become its manifest.
 *
 * It owns everything under `results/`, `errors/` (but for the rejects file, which the producer writes) and `runs/`. It
 * reads the outcome document, the results and the spool, and nothing else: no clock, no ledger. So it may run twice,
 * late, or in two processes at once, and the lake ends the same.
 *
 * Invariants
 *   E1  Files first, then the archive's manifest: a crash in between leaves files that no manifest lists, and the next
 *       export meets them as its own.
 *   E2  The same outcome gives the same bytes under the same keys. Nothing is overwritten.
 *   E3  Memory is bounded: one chunk's index, a few compression blocks, one row, and the places of the archive's lines.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, PlimsollError } from '../segments/errors.ts';
import { archiveManifestKey } from '../segments/lake.ts';
import type { ArchiveOutcome } from '../segments/outcome.ts';
import type { ResultIndex } from '../segments/result-index.ts';
import { putDocument } from '../segments/store/document.ts';
import type { Store } from '../segments/store/store.ts';
import { Answers } from './answers.ts';
import { RowEncoder } from './encode.ts';
import { archiveManifest, type ArchiveManifest, type ExportedTopic } from './manifest.ts';
import { pressFor } from './press.ts';
import { exportTopic, RowFates, topicsOf } from './topic.ts';

export { gatherRun, type GatherRequest, type RunReport } from './run-report.ts';
export { runDocument, type RunDocument, type RunStatus } from './run-document.ts';

export interface ExporterSettings {
  /** Uncompressed size at which a data file is closed and the next part begins; usually 128,000,000. */
  readonly partBytesMax: number;
  /** 1 is right for most: higher levels cost several times as much for a tenth of the size. */
  readonly gzipLevel: number;
  /** Local folder for files on their way into the lake; best on the lake's own file system. */
  readonly scratchDirectory: string;
  /** Topics whose archives are also kept as an audit archive; `*` for all. Undefined: none. */
  readonly auditTopics?: readonly string[];
}

export interface ExportRequest {
  readonly outcome: ArchiveOutcome;
  readonly store: Store;
  readonly settings: ExporterSettings;
  /** What this process knows of results with the digest of the outcome, a complete set; it is used only while their file is
   *  as the process has put it there. */
  readonly index?: ResultIndex | undefined;
}

/**
 * Writes an archive's data and error files and then its manifest, which commits them (E1).
 * @throws PlimsollError `lake_conflict`, `lake_missing`, `ledger_corrupt`, `lake_full` when the scratch disk has no room,
 *   and the store's passing faults
 */
export async function exportArchive(request: ExportRequest): Promise<ArchiveManifest> {
  const { outcome, store, settings } = request;
  let folder: string | undefined;
  try {
    await mkdir(settings.scratchDirectory, { recursive: true });
    folder = await mkdtemp(join(settings.scratchDirectory, `export-${outcome.archive}-`));
    const topics = await exportTopics(request, folder);
    const manifest = archiveManifest(outcome, topics);
    await putDocument(store, archiveManifestKey(outcome.dt, outcome.run, outcome.archive), manifest);
    return manifest;
  } catch (error) {
    // Only the scratch disk raises a plain one: the store has words of its own. Room comes back, so it is tried again soon.
    if (errnoOf(error) !== 'ENOSPC' && errnoOf(error) !== 'EDQUOT') throw error;
    throw new PlimsollError('lake_full', {
      message: 'the files of an archive do not fit on the scratch disk',
      where: settings.scratchDirectory,
      hint: 'Free some space; the export begins again by itself.',
      cause: error,
    });
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

async function exportTopics({ outcome, store, settings, index }: ExportRequest, folder: string): Promise<readonly ExportedTopic[]> {
  const press = pressFor(outcome.resultsBytes);
  const answers = await Answers.open(outcome, store, join(folder, 'results.jsonl'), press, index);
  try {
    const shared = {
      outcome,
      answers,
      encoder: new RowEncoder(outcome),
      fates: new RowFates(outcome),
      parts: { partBytesMax: settings.partBytesMax, gzipLevel: settings.gzipLevel, folder, store, press, proven: async () => await answers.proven() },
    };
    const topics: ExportedTopic[] = [];
    // One topic after the other: two files are open at a time, however many topics share the archive.
    for (const [topic, chunks] of topicsOf(outcome)) topics.push(await exportTopic(shared, topic, chunks));
    await answers.proven();
    return topics;
  } catch (error) {
    // Rows that cannot be made may only show that the results are not the settled ones; that is the fault to name.
    await answers.proven();
    throw error;
  } finally {
    await answers.close();
  }
}
