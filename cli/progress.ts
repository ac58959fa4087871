/** One line that says how far a run is: rewritten on a terminal, otherwise repeated every ten seconds. Never an ETA. */
import type { RunView } from './follow.ts';
import { countOf, countText, dollarText } from './terminal.ts';

export interface Progress {
  ingest(rows: number, rejected: number): void;
  show(view: RunView): void;
  end(): void;
}

const repeatEveryMs = 10_000;

/** Starts a progress line on stderr. `isShown` false shows nothing; `isCi` true never rewrites a line: logs keep them all. */
export function startProgress(isShown: boolean, isCi = false): Progress {
  const isTerminal = process.stderr.isTTY === true && !isCi;
  let shownAt = Number.NEGATIVE_INFINITY;
  let isOpen = false;
  const line = (text: string): void => {
    if (!isShown) return;
    if (isTerminal) {
      process.stderr.write(`\r\u001b[2K${text}`);
      isOpen = true;
      return;
    }
    if (performance.now() - shownAt < repeatEveryMs) return;
    shownAt = performance.now();
    process.stderr.write(`${text}\n`);
  };
  return {
    ingest: (rows, rejected) => line(`reading: ${countOf(rows, 'line')}${rejected > 0 ? `, ${countText(rejected)} rejected` : ''}`),
    show: (view) => line(progressText(view)),
    end() {
      if (isOpen) process.stderr.write('\n');
      isOpen = false;
    },
  };
}

/** How far a run is, in one line. There is no estimate of its end: a batch takes from a minute to a day. */
export function progressText({ run, archives }: RunView): string {
  const sent = archives.filter((archive) => archive.batch !== undefined);
  const ended = sent.filter((archive) => archive.state !== 'accepted').length;
  const done = run.succeeded + run.deadLettered + run.notSampled;
  const tokens = run.usage.inputTokens + run.usage.outputTokens;
  return (
    `${countText(done)}/${countText(run.accepted)} rows · ${sent.length} batches (${ended} ended) · ${countText(tokens)} tokens · ${dollarText(run.microUsd)}` +
    (run.rowsHeld > 0 ? ` · ${countText(run.rowsHeld)} held` : '') +
    (run.archivesInDoubt > 0 ? ` · ${run.archivesInDoubt} in doubt` : '') +
    (run.state === 'canceling' ? ' · canceling' : '')
  );
}
