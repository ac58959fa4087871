/** What a person is told of rehearsals: that a run is one, and what waits until a worker with `--simulate` takes it. */
import type { ArchiveRecord, RunRecord } from '../segments/ledger/ledger.ts';
import { isRehearsal } from '../segments/side.ts';
import type { RunView } from './follow.ts';
import { countOf } from './terminal.ts';

/** The command that takes what waits of a rehearsal. */
export const rehearsalWork = 'plimsoll work --simulate';

/** Whether nobody but a worker with `--simulate` takes an archive further: in line for the simulator, or with it. */
export function waitsForSimulator(run: Pick<RunRecord, 'side'>, { state }: Pick<ArchiveRecord, 'state'>): boolean {
  return isRehearsal(run) && (state === 'sealed' || state === 'accepted' || state === 'in_doubt');
}

/** One line for a run that waits for the simulator; undefined: it does not. */
export function rehearsalText({ run, archives }: Pick<RunView, 'run' | 'archives'>): string | undefined {
  const waiting = archives.filter((archive) => waitsForSimulator(run, archive));
  if (waiting.length === 0) return undefined;
  const rows = waiting.reduce((sum, archive) => sum + archive.rows, 0);
  return `run ${run.run} is a rehearsal: ${countOf(waiting.length, 'archive')} with ${countOf(rows, 'row')} ${waiting.length === 1 ? 'waits' : 'wait'} for: ${rehearsalWork}`;
}
