/** `status`: what runs, what waits, what stands still and why. */
import { Command } from 'commander';
import type { ExitCode } from '../segments/errors.ts';
import type { ArchiveRecord, Ledger, SegmentRecord } from '../segments/ledger/ledger.ts';
import { microUsdToUsd } from '../segments/price.ts';
import type { RunKey, SegmentName } from '../segments/segment.ts';
import { isRehearsal } from '../segments/side.ts';
import { viewDocument, viewRun, type RunView } from './follow.ts';
import { heldText } from './held.ts';
import { overrunsOf, overrunText } from './overrun.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { rehearsalText, rehearsalWork, waitsForSimulator } from './rehearsal.ts';
import { countText, dollarText, print, printJson, tableText } from './terminal.ts';

/** The `status` verb. */
export function statusCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('status'))
    .description('Show runs, segments, archives under way and everything that stands still.')
    .addHelpText('after', '\nExamples:\n  plimsoll status\n  plimsoll status --json | jq .in_doubt\n\nExit codes: 0 ok, 2 configuration or Redis')
    .action(async (options: CommonOptions) => {
      exit(
        await withInstallation(options, 'words', async ({ ledger, store, now }) => {
          const views = (await Promise.all((await ledger.listRuns()).map(async (run) => await viewRun(ledger, run)))).filter((view) => view !== undefined);
          const segments = await ledger.listSegments(now());
          const stops = await ledger.listStops(now());
          const rests = await ledger.listRests(now());
          const overruns = overrunsOf(await ledger.listAccounts(), await ledger.listBudgets());
          const oldest = await oldestWaiting(ledger, segments, views, now());
          if (options.json) {
            const waiting = new Set(views.flatMap(({ run, archives }) => archives.filter((archive) => waitsForSimulator(run, archive)).map(({ archive }) => archive)));
            printJson({
              runs: views.map((view) => ({ ...viewDocument(view, store.uri), age_ms: isOver(view) ? null : now() - view.run.openedAtMs })),
              segments: segments.map((each) => ({ segment: each.segment, state: each.state, rows_queued: each.rowsQueued, rows_held: each.rowsHeld, oldest_waiting_ms: oldest.get(each.segment) ?? null, reasons: each.stops.map((stop) => stop.reason) })),
              archives: underWay(views).map((each) => ({ archive: each.archive, run_key: each.run, state: each.state, rows: each.rows, batch_id: each.batch ?? null, reason: each.reason ?? null, waits_for: waiting.has(each.archive) ? rehearsalWork : null, age_ms: now() - (each.acceptedAtMs ?? each.openedAtMs) })),
              stops: stops.map((stop) => ({ segment: stop.segment === '' ? null : stop.segment, run_key: stop.run ?? null, client: stop.client ?? null, reason: stop.reason, target: stop.target === '' ? null : stop.target, rows_held: stop.rowsHeld, stopped_ms: now() - stop.stoppedAtMs })),
              rests: rests.map((each) => ({ account: each.account, reason: each.reason, rests_for_ms: each.untilMs - now() })),
              overruns: overruns.map((each) => ({ target: each.target, window: each.windowId, tokens: each.tokens, usd: microUsdToUsd(each.microUsd) })),
              in_doubt: views.flatMap((view) => view.archives.filter((archive) => archive.state === 'in_doubt').map((archive) => ({ archive: archive.archive, run_key: view.run.run, rows: archive.rows, reason: archive.reason ?? null }))),
            });
            return 0;
          }
          if (views.length === 0) {
            print('There is no run yet. Try: plimsoll demo, or plimsoll run FILE --run-key KEY');
            return 0;
          }
          print(runsText(views, now()));
          const waiting = segments.filter((each) => each.rowsQueued > 0 || each.rowsHeld > 0 || each.stops.length > 0);
          if (waiting.length > 0) print(`\n${segmentsText(waiting, oldest)}`);
          const archives = underWay(views);
          if (archives.length > 0) print(`\n${archivesText(archives, new Set(views.flatMap(({ run }) => (isRehearsal(run) ? [run.run] : []))), now())}`);
          for (const text of views.flatMap((view) => rehearsalText(view) ?? [])) print(`\n${text}`);
          for (const stop of stops) print(`\n${heldText(stop)}`);
          for (const rest of rests) print(`\naccount ${rest.account} rests for ${ageText(rest.untilMs - now())} (${rest.reason}): nothing is submitted until then${rest.reason === 'account_fault' ? '; check billing, spend limits, key and workspace' : ''}`);
          for (const overrun of overruns) print(`\n${overrunText(overrun)}`);
          for (const archive of archives) {
            if (archive.state === 'in_doubt') print(`\narchive ${archive.archive} of run ${archive.run}: in doubt (${archive.reason ?? ''}), ${countText(archive.rows)} rows, reservation kept`);
          }
          return 0;
        }),
      );
    });
}

function isOver({ run }: RunView): boolean {
  return run.state === 'complete' || run.state === 'canceled';
}

function underWay(views: readonly RunView[]): readonly ArchiveRecord[] {
  return views.flatMap((view) => view.archives.filter((archive) => archive.state !== 'exported' && archive.state !== 'canceled'));
}

/** How long the oldest chunk of each segment has waited, ms, counted from the opening of its run. */
async function oldestWaiting(ledger: Ledger, segments: readonly SegmentRecord[], views: readonly RunView[], nowMs: number): Promise<ReadonlyMap<SegmentName, number>> {
  const opened = new Map(views.map(({ run }) => [run.run, run.openedAtMs]));
  const ages = new Map<SegmentName, number>();
  for (const { segment } of segments.filter((each) => each.rowsQueued > 0)) {
    const oldest = await ledger.nextQueued(segment);
    const chunk = oldest && (await ledger.readChunk(oldest.chunk));
    const openedAtMs = chunk && opened.get(chunk.run);
    if (openedAtMs !== undefined) ages.set(segment, nowMs - openedAtMs);
  }
  return ages;
}

function runsText(views: readonly RunView[], nowMs: number): string {
  return tableText(['run', 'status', 'rows', 'done', 'dead', 'rejected', 'held', 'batches', 'cost', 'age'], views.map((view) => {
    const { run, standing } = view;
    const status = standing === 'complete' ? (run.result ?? 'complete') : standing === 'moving' ? (run.state === 'canceling' ? 'canceling' : run.state === 'ingesting' ? 'reading' : 'running') : standing;
    return [run.run, isRehearsal(run) ? `${status}, rehearsal` : status, countText(run.accepted), countText(run.succeeded), countText(run.deadLettered), countText(run.rejected), countText(run.rowsHeld), String(run.batches), dollarText(run.microUsd), isOver(view) ? '-' : ageText(nowMs - run.openedAtMs)];
  }));
}

function segmentsText(segments: readonly SegmentRecord[], oldest: ReadonlyMap<SegmentName, number>): string {
  return tableText(['segment', 'state', 'queued', 'held', 'oldest waiting'], segments.map((each) => {
    const age = oldest.get(each.segment);
    return [each.segment, each.state, countText(each.rowsQueued), countText(each.rowsHeld), age === undefined ? '-' : ageText(age)];
  }));
}

function archivesText(archives: readonly ArchiveRecord[], rehearsals: ReadonlySet<RunKey>, nowMs: number): string {
  return tableText(['archive', 'run', 'state', 'rows', 'batch', 'age'], archives.map((each) => {
    const where = rehearsals.has(each.run) ? 'in the simulator' : 'at the provider';
    const state = each.state === 'accepted' ? (each.cancelAskedAtMs !== undefined ? 'canceling' : each.lateAtMs !== undefined ? `${where}, late` : where) : each.state;
    return [each.archive, each.run, state, countText(each.rows), each.batch ?? '-', ageText(nowMs - (each.acceptedAtMs ?? each.openedAtMs))];
  }));
}

/** An age in the two largest units. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}
