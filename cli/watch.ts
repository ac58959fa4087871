/** `watch`: how far the runs are, until they stand still. It reads the ledger and changes nothing; no worker starts here. */
import { Command } from 'commander';
import type { ExitCode } from '../segments/errors.ts';
import type { RunKey } from '../segments/segment.ts';
import { isRehearsal } from '../segments/side.ts';
import type { Installation } from './compose.ts';
import { pause, viewDocument, viewRun, type RunView } from './follow.ts';
import { interruptSignal } from './interrupt.ts';
import { findRun } from './names.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { progressText } from './progress.ts';
import { rehearsalText } from './rehearsal.ts';
import { tellRun } from './report.ts';
import { runExitCodes } from './run.ts';
import { timeoutOf } from './source.ts';
import { ageText } from './status.ts';
import { countText, print, printJson, tell } from './terminal.ts';
import { exitOf } from './work-run.ts';

interface WatchOptions extends CommonOptions {
  readonly timeout?: string;
}

const lookEveryMs = 500;
const repeatEveryMs = 10_000;

/** The `watch` verb. */
export function watchCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('watch'))
    .description('Watch one run, or all that have not ended, until they stand still.')
    .argument('[run]', 'run key; without it, every run that has not ended')
    .option('--timeout <duration>', 'stop watching after this long (exit 6)')
    .addHelpText('after', `\nLive on a terminal; otherwise one line per run every 10 seconds. With --json, one document per line whenever a run has\nmoved. No end is predicted: a batch takes from a minute to a day.\n\nExamples:\n  plimsoll watch nightly-2026-11-21\n  plimsoll watch --json --timeout 10m\n\n${runExitCodes}`)
    .action(async (name: string | undefined, options: WatchOptions) => exit(await withInstallation(options, 'words', async (installation) => await watch(installation, name, options))));
}

async function watch(installation: Installation, name: string | undefined, options: WatchOptions): Promise<ExitCode> {
  const { ledger, store, config } = installation;
  const timeoutMs = timeoutOf(options.timeout);
  const keys = name === undefined ? await unfinishedRuns(installation) : [(await findRun(ledger, name)).run];
  if (keys.length === 0) {
    if (!options.quiet && !options.json) tell('Nothing runs. plimsoll status lists what has ended.');
    return 0;
  }
  const interrupt = interruptSignal();
  const untilMs = timeoutMs === undefined ? Infinity : performance.now() + timeoutMs;
  const screen = new Screen(process.stdout.isTTY === true && !config.isCi && !options.json);
  const printed = new Map<RunKey, string>();
  let stillLooks = 0;
  try {
    for (;;) {
      const views = (await Promise.all(keys.map(async (key) => await viewRun(ledger, key)))).filter((view) => view !== undefined);
      for (const view of options.json ? views : []) {
        const document = viewDocument(view, store.uri);
        if (printed.get(view.run.run) !== JSON.stringify(document)) printJson(document);
        printed.set(view.run.run, JSON.stringify(document));
      }
      if (!options.json) screen.show([...views.map((view) => runLine(view, installation.now())), ...views.flatMap((view) => rehearsalText(view) ?? []).map((text) => `  ${text}`), ...(await waitingLines(installation))]);
      // Standing still must be seen twice: a settlement may be about to let held chunks go.
      stillLooks = views.every((view) => view.standing !== 'moving') ? stillLooks + 1 : 0;
      const isTimedOut = performance.now() >= untilMs;
      if (stillLooks >= 2 || isTimedOut || interrupt.signal.aborted) {
        screen.end();
        return await conclude(installation, views, options, isTimedOut && stillLooks < 2, interrupt.signal.aborted && stillLooks < 2);
      }
      await pause(lookEveryMs, interrupt.signal);
    }
  } finally {
    screen.end();
    interrupt.stop();
  }
}

async function conclude(installation: Installation, views: readonly RunView[], options: WatchOptions, isTimedOut: boolean, isInterrupted: boolean): Promise<ExitCode> {
  if (isInterrupted) {
    tell('\nOnly the watching ended; the work goes on wherever a worker runs (plimsoll work).');
    return 130;
  }
  if (isTimedOut && !options.quiet) tell('The time is over; the work goes on wherever a worker runs (plimsoll work).');
  if (!options.quiet && !options.json && !isTimedOut) for (const view of views) await tellRun(installation, view, undefined);
  const codes = views.map((view) => exitOf({ view, isTimedOut }));
  // The most urgent one stands for all: what stands still comes before what has failed rows.
  return ([6, 5, 1, 3] as const).find((code) => codes.includes(code)) ?? 0;
}

async function unfinishedRuns({ ledger }: Installation): Promise<readonly RunKey[]> {
  const runs = await Promise.all((await ledger.listRuns()).map(async (key) => await ledger.readRun(key)));
  return runs.flatMap((run) => (run && run.state !== 'complete' && run.state !== 'canceled' ? [run.run] : []));
}

/** So many segments are shown; `status` lists them all. */
const segmentsShown = 8;

function runLine(view: RunView, nowMs: number): string {
  const underWay = view.archives.filter((archive) => archive.state === 'accepted').map((archive) => archive.acceptedAtMs ?? nowMs);
  const oldest = underWay.length === 0 ? '' : ` · oldest batch ${ageText(nowMs - Math.min(...underWay))}`;
  return `${view.run.run}  ${standingText(view)}${isRehearsal(view.run) ? ', rehearsal' : ''}  ${progressText(view)}${oldest}`;
}

/** What waits or stands still, a line per segment. */
async function waitingLines({ ledger, now }: Installation): Promise<readonly string[]> {
  const waiting = (await ledger.listSegments(now())).filter((each) => each.rowsQueued > 0 || each.rowsHeld > 0);
  const lines = waiting.slice(0, segmentsShown).map((each) => {
    const reasons = each.stops.map(({ reason, client }) => (client === undefined ? reason : `${reason} of ${client}`));
    return `  ${each.segment}  ${countText(each.rowsQueued)} queued${each.rowsHeld > 0 ? `, ${countText(each.rowsHeld)} held` : ''}${reasons.length > 0 ? ` (${reasons.join(', ')})` : ''}`;
  });
  return waiting.length > segmentsShown ? [...lines, `  and ${waiting.length - segmentsShown} more segments: plimsoll status`] : lines;
}

function standingText(view: RunView): string {
  if (view.standing === 'complete') return view.run.result ?? 'complete';
  return view.standing === 'moving' ? 'running' : view.standing;
}

/** Lines on standard output: rewritten in place on a terminal, else repeated every ten seconds and at the end. */
class Screen {
  readonly #isLive: boolean;
  #lines: readonly string[] = [];
  #shown: readonly string[] = [];
  #shownAtMs = Number.NEGATIVE_INFINITY;

  constructor(isLive: boolean) {
    this.#isLive = isLive;
  }

  show(lines: readonly string[]): void {
    this.#lines = lines;
    if (this.#isLive) {
      const width = process.stdout.columns || 80;
      // Everything below is cleared, because there may be fewer lines than before.
      const up = this.#shown.length === 0 ? '' : `\u001b[${this.#shown.length}A\r\u001b[J`;
      process.stdout.write(up + lines.map((line) => `\r\u001b[2K${line.length > width ? `${line.slice(0, width - 1)}…` : line}\n`).join(''));
      this.#shown = lines;
      return;
    }
    if (performance.now() - this.#shownAtMs >= repeatEveryMs) this.#print();
  }

  /** Prints the last state where it was not seen yet. */
  end(): void {
    if (!this.#isLive && this.#lines.join('\n') !== this.#shown.join('\n')) this.#print();
  }

  #print(): void {
    this.#shownAtMs = performance.now();
    this.#shown = this.#lines;
    for (const line of this.#lines) print(line);
  }
}
