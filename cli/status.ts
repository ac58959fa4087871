/** `status`: what runs, what waits, what stands still and why. */
import { Command } from 'commander';
import { runDocument } from '../exporters/exporter.ts';
import type { ExitCode } from '../segments/errors.ts';
import { viewRun } from './follow.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { heldText } from './report.ts';
import { countText, dollarText, print, printJson, tableText } from './terminal.ts';

/** The `status` verb. */
export function statusCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('status'))
    .description('Show runs, segments and everything that stands still.')
    .addHelpText('after', '\nExample:\n  plimsoll status --json')
    .action(async (options: CommonOptions) => {
      exit(
        await withInstallation(options, 'words', async ({ ledger, store, now }) => {
          const views = (await Promise.all((await ledger.listRuns()).map(async (run) => await viewRun(ledger, run)))).filter((view) => view !== undefined);
          const segments = await ledger.listSegments(now());
          if (options.json) {
            printJson({
              runs: views.map((view) => runDocument(view.run, store.uri)),
              segments: segments.map((each) => ({ segment: each.segment, state: each.state, rows_queued: each.rowsQueued, rows_held: each.rowsHeld, reasons: each.stops.map((stop) => stop.reason) })),
              in_doubt: views.flatMap((view) => view.archives.filter((archive) => archive.state === 'in_doubt').map((archive) => ({ archive: archive.archive, run_key: view.run.run, rows: archive.rows, reason: archive.reason ?? null }))),
            });
            return 0;
          }
          print(tableText(['run', 'status', 'rows', 'done', 'dead', 'held', 'batches', 'cost'], views.map(({ run, standing }) => [
            run.run, standing === 'complete' ? (run.result ?? 'complete') : standing, countText(run.accepted), countText(run.succeeded), countText(run.deadLettered), countText(run.rowsHeld), String(run.batches), dollarText(run.microUsd),
          ])));
          const waiting = segments.filter((each) => each.rowsQueued > 0 || each.rowsHeld > 0);
          if (waiting.length > 0) print(`\n${tableText(['segment', 'state', 'queued', 'held'], waiting.map((each) => [each.segment, each.state, countText(each.rowsQueued), countText(each.rowsHeld)]))}`);
          for (const stop of segments.flatMap((each) => each.stops)) print(`\n${heldText(stop)}`);
          for (const archive of views.flatMap((view) => view.archives)) {
            if (archive.state === 'in_doubt') print(`\narchive ${archive.archive} of run ${archive.run}: in doubt (${archive.reason ?? ''}), ${countText(archive.rows)} rows, reservation kept`);
          }
          return 0;
        }),
      );
    });
}
