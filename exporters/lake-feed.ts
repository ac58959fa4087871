/**
 * The events that tell of files, made of what stands in the lake: an archive's manifest for `batch.exported`, a run's
 * report and `_SUCCESS` for its completion. The stages tell of them so when they happen; `events replay` makes them again
 * for consumers of before what the outbox still holds. Nothing is written.
 *
 * A fact that is told again has the id that it had (`source` and `id` are the key by which consumers drop repetitions). It
 * has no sequence, because the lake knows none, and the time that the lake has recorded, shortly before it was told first.
 */
import { z } from 'zod';
import { PlimsollError } from '../segments/errors.ts';
import { cloudEvent, type CloudEvent } from '../segments/event.ts';
import { archiveManifestKey, runFileOf, runManifestKey, runReportKey } from '../segments/lake.ts';
import type { RunKey } from '../segments/segment.ts';
import { readDocument } from '../segments/store/document.ts';
import { urlOf, type Store } from '../segments/store/store.ts';
import { readArchiveManifest, type ArchiveManifest } from './manifest.ts';
import type { RunReport } from './run-report.ts';

/** Data of `batch.exported`. */
export function exportedData(store: Pick<Store, 'uri'>, { run_key, archive, batch_id, counts, dt }: Pick<ArchiveManifest, 'run_key' | 'archive' | 'batch_id' | 'counts' | 'dt'>): Readonly<Record<string, unknown>> {
  return { run_key, archive, batch_id, counts, manifest_uri: urlOf(store, archiveManifestKey(dt, run_key, archive)) };
}

/** Data of `run.completed` and `run.failed`. */
export function completedData(store: Pick<Store, 'uri'>, { run_key, is_rehearsal, status, counts, cost_usd_estimated, dt }: Pick<RunReport, 'run_key' | 'is_rehearsal' | 'status' | 'counts' | 'cost_usd_estimated' | 'dt'>): Readonly<Record<string, unknown>> {
  return { run_key, ...(is_rehearsal === undefined ? {} : { is_rehearsal }), status, counts, cost_usd_estimated, manifest_uri: urlOf(store, runManifestKey(dt, run_key)) };
}

/** What of a report its event is made of. */
const reportShape = z.looseObject({ run_key: z.string(), dt: z.string(), status: z.string(), completed_at: z.string().nullable(), cost_usd_estimated: z.number(), counts: z.looseObject({ succeeded: z.number() }) });

export interface LakeFeedRequest {
  readonly store: Store;
  /** Tag of the installation, part of every event's source. */
  readonly tag: string;
  /** Only this run. */
  readonly run?: RunKey | undefined;
  /** false: the event of this id is left out, and its file is not read. */
  readonly isWanted: (id: string) => boolean;
}

/**
 * Yields what happened to the exports of the lake, by date of the runs: of each run its archives, then its completion.
 * @throws PlimsollError `ledger_corrupt` for a document that is damaged, and the store's passing faults
 */
export async function* lakeEvents({ store, tag, run: only, isWanted }: LakeFeedRequest): AsyncGenerator<CloudEvent> {
  let success: { readonly dt: string; readonly run: RunKey } | undefined;
  const completion = async (): Promise<CloudEvent[]> => (success ? await completionOf(store, tag, success.dt, success.run, isWanted) : []);
  for await (const { key } of store.list('runs/')) {
    const file = runFileOf(key);
    if (!file || (only !== undefined && file.run !== only)) continue;
    // `_SUCCESS` stands before `archives/` in the order of the keys; it is told when the next run begins.
    if (success !== undefined && (success.run !== file.run || success.dt !== file.dt)) {
      yield* await completion();
      success = undefined;
    }
    if (file.archive === undefined) {
      success = file;
      continue;
    }
    const id = `${file.archive}:exported`;
    if (!isWanted(id)) continue;
    const manifest = await readArchiveManifest(store, file.dt, file.run, file.archive);
    const timeMs = Date.parse(manifest.ended_at ?? manifest.accepted_at ?? manifest.dt);
    yield cloudEvent({ id, type: 'batch.exported', subject: file.archive, timeMs, data: exportedData(store, manifest) }, tag);
  }
  yield* await completion();
}

async function completionOf(store: Store, tag: string, dt: string, run: RunKey, isWanted: LakeFeedRequest['isWanted']): Promise<CloudEvent[]> {
  const key = runReportKey(dt, run);
  const read = reportShape.safeParse(await readDocument(store, key));
  if (!read.success) throw new PlimsollError('ledger_corrupt', { message: 'the report of a run is not one', where: key, hint: 'Somebody changed or damaged it; restore it from a copy of the lake.' });
  const report = read.data as unknown as RunReport;
  // As complete-run.lua tells it.
  const verb = report.counts.succeeded === 0 ? 'failed' : 'completed';
  const id = `${run}:${verb}`;
  if (!isWanted(id)) return [];
  return [cloudEvent({ id, type: `run.${verb}`, subject: run, timeMs: Date.parse(report.completed_at ?? dt), data: completedData(store, report) }, tag)];
}
