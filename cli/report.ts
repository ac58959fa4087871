/** What a person reads at the end of a run: where the rows went, what it cost, where the files are, what to do next. */
import type { RunRecord } from '../segments/ledger/ledger.ts';
import { runManifestKey, runReportKey } from '../segments/lake.ts';
import { isRehearsal } from '../segments/side.ts';
import { readDocument } from '../segments/store/document.ts';
import { urlOf } from '../segments/store/store.ts';
import type { Production } from '../producers/producer.ts';
import type { RunReport } from '../exporters/exporter.ts';
import type { Installation } from './compose.ts';
import type { RunView } from './follow.ts';
import { heldText } from './held.ts';
import { countOf, countText, dollarText, tell } from './terminal.ts';

/** Tells how a run stands. */
export async function tellRun(installation: Installation, view: RunView, production: Production | undefined): Promise<void> {
  const { run } = view;
  const cache = await cacheText(installation, view);
  const lines = [
    `run ${run.run}: ${statusText(view)}${production && isOver(production.run) ? ' (was there already: 0 submitted now, $0.00)' : ''}`,
    `  rows in   ${countText(run.accepted + run.rejected)} = ${countText(run.succeeded)} succeeded + ${countOf(run.deadLettered, 'dead letter')}${run.notSampled > 0 ? ` + ${countText(run.notSampled)} not sampled` : ''} + ${countText(run.rejected)} rejected${openText(run.accepted - run.succeeded - run.deadLettered - run.notSampled)}`,
    `  batches   ${run.batches}`,
    `  tokens    ${countText(run.usage.inputTokens)} in, ${countText(run.usage.outputTokens)} out`,
    `  cost      ${dollarText(run.microUsd)} estimated; ${dollarText(run.standardMicroUsd - run.microUsd)} less than one by one`,
  ];
  if (cache !== undefined) lines.push(`  cache     ${cache}`);
  if (isRehearsal(run)) lines.push('  rehearsal the simulator answers it: the cost is what it would have been, and nothing is billed');
  if (run.retryOf !== undefined) lines.push(`  retry of  ${run.retryOf}`);
  if (run.succeeded > 0 && view.standing === 'complete') lines.push(`  results   ${urlOf(installation.store, `results/dt=${run.dt}/topic=*/${run.run}-*.jsonl.gz`)}`);
  if (run.deadLettered > 0 && (view.standing === 'complete' || view.standing === 'canceled')) lines.push(`  errors    ${urlOf(installation.store, `errors/dt=${run.dt}/topic=*/${run.run}-*.jsonl.gz`)}; once more: plimsoll retry ${run.run}`);
  if (production?.rejectsKey !== undefined) lines.push(`  rejects   ${urlOf(installation.store, production.rejectsKey)}`);
  if (view.standing === 'complete' || view.standing === 'canceled') lines.push(`  manifest  ${urlOf(installation.store, runManifestKey(run.dt, run.run))}`);
  // Most often a forgotten flag: the same command with it would find this run and answer as this one did.
  if (run.accepted === 0 && run.rejected > 0 && view.standing === 'complete') lines.push('  next      no line was good, and this run key is used up: mend the lines or the flags, and use another key');
  tell(lines.join('\n'));
  if (run.rowsHeld > 0 || view.standing === 'held') await tellHeld(installation, view);
  if (run.archivesInDoubt > 0) tellDoubts(view);
}

/** What the prompt cache did for the run; what that saved is known once its report is written. */
async function cacheText({ store }: Installation, { run }: RunView): Promise<string | undefined> {
  const { cacheReadInputTokens, cacheWriteInputTokens } = run.usage;
  if (cacheReadInputTokens + cacheWriteInputTokens === 0) return undefined;
  const report = (await readDocument(store, runReportKey(run.dt, run.run))) as Partial<Pick<RunReport, 'cache_saved_micro_usd'>> | undefined;
  // A report of before this was counted does not say it.
  const saved = report?.cache_saved_micro_usd;
  const effect = saved === undefined ? '' : saved < 0 ? `; it cost ${dollarText(-saved)} more than it saved` : `; it saved ${dollarText(saved)}`;
  return `${countText(cacheReadInputTokens)} tokens read, ${countText(cacheWriteInputTokens)} written${effect}`;
}

/** Tells what is held, by which limit, how much is missing, and what would make it fit. */
async function tellHeld(installation: Installation, view: RunView): Promise<void> {
  for (const stop of await installation.ledger.listStops(installation.now())) {
    if (stop.run === undefined || stop.run === view.run.run) tell(heldText(stop));
  }
}

function tellDoubts(view: RunView): void {
  for (const archive of view.archives.filter((each) => each.state === 'in_doubt')) {
    tell(
      `archive ${archive.archive} is in doubt (${archive.reason ?? ''}): its last byte may have reached the provider and no reply proves what became of it\n` +
        `  ${countText(archive.rows)} rows keep their reservation; it is not sent again before it is proven that no batch exists. Evidence and choices: plimsoll doubts`,
    );
  }
}

function statusText(view: RunView): string {
  return view.standing === 'complete' ? (view.run.result ?? 'complete') : view.standing === 'moving' ? (view.run.state === 'canceling' ? 'canceling' : 'running') : view.standing;
}

function openText(open: number): string {
  return open > 0 ? ` + ${countText(open)} open` : '';
}

/** Whether the run had ended before the command began. A run that was only read before still has its batches to send. */
function isOver({ state }: RunRecord): boolean {
  return state === 'complete' || state === 'canceled';
}
