/**
 * What follows when the body of an archive cannot be made as it was sealed: an object of its spool is gone or has changed.
 * That is the archive's own fault, and every try would end the same, so it is put aside for a while and the archives
 * behind it go. The account has done nothing and does not rest.
 */
import { InvariantBroken, PlimsollError } from '../segments/errors.ts';
import type { ArchiveRecord, Ledger } from '../segments/ledger/ledger.ts';
import type { IntentId } from '../segments/segment.ts';
import type { Log, Now } from '../segments/stage.ts';
import { GateShut } from './gate.ts';

/** The last byte of such a body never left. `code`: of the error, or `defect`; `where`: a lake key where the error names one. */
export interface UnmadeBody {
  readonly kind: 'unmade';
  readonly code: string;
  readonly where: string | undefined;
  readonly message: string;
}

/** It is tried again after this, twice as long each time, up to the maximum. */
export const asideMs = 60_000;
export const asideMaxMs = 3_600_000;

/** What is wrong with a body; undefined: nothing is wrong with this one, the lake is away and answers later. */
export function readBodyFault(fault: unknown): UnmadeBody | undefined {
  if (fault instanceof PlimsollError) return fault.disposition === 'retry' ? undefined : { kind: 'unmade', code: fault.code, where: fault.where, message: fault.message };
  if (fault instanceof GateShut) return { kind: 'unmade', code: fault.code, where: undefined, message: fault.message };
  // A stranger's message might quote what was read, so only its name is told.
  const message = fault instanceof InvariantBroken ? fault.message : fault instanceof Error ? fault.name : 'not an error';
  return { kind: 'unmade', code: 'defect', where: undefined, message };
}

/** Ends the intent and keeps the archive in line behind the others. The first time is an alarm, later ones are told only. */
export async function setAside(dependencies: { readonly ledger: Ledger; readonly now: Now; readonly log: Log }, intent: IntentId, archive: ArchiveRecord, body: UnmadeBody): Promise<void> {
  const { ledger, now, log } = dependencies;
  const times = archive.asides ?? 0;
  const untilMs = now() + Math.min(asideMs * 2 ** times, asideMaxMs);
  await ledger.refuseIntent({ intent, reason: `not_sent_${body.code}`, pauseUntilMs: undefined, asideUntilMs: untilMs, nowMs: now() });
  const { code, where, message } = body;
  log({ level: times === 0 ? 'error' : 'warn', event: 'archive.set_aside', subject: archive.archive, detail: { intent, code, where, message, untilMs, hint: 'bring the objects of its spool back as they were, or cancel its run' } });
}
