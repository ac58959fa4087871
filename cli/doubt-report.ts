/** What an operator reads of an archive in doubt: the evidence, when it resolves itself, and what each choice can cost. */
import type { ArchiveRecord, IntentRecord, Ledger } from '../segments/ledger/ledger.ts';
import { microUsdToUsd } from '../segments/price.ts';
import { emptyScansMin } from '../workers/adopter.ts';
import { isOwnerGone } from './owner.ts';
import { absentAtMs } from './patience.ts';
import { countText, dollarText } from './terminal.ts';

/** One archive in doubt with everything that is known of it. */
export interface DoubtView {
  readonly archive: ArchiveRecord;
  readonly intent: IntentRecord;
  /** Upper bound of what its batch can cost, micro-USD. */
  readonly boundMicroUsd: number;
}

/** Reads every doubt, oldest first. */
export async function viewDoubts(ledger: Ledger): Promise<readonly DoubtView[]> {
  const views: DoubtView[] = [];
  for (const id of await ledger.listDoubts()) {
    const archive = await ledger.readArchive(id);
    const intent = archive?.intent === undefined ? undefined : await ledger.readIntent(archive.intent);
    if (!archive || !intent) continue;
    const chunks = await ledger.readChunks(await ledger.readArchiveChunks(id));
    views.push({ archive, intent, boundMicroUsd: chunks.reduce((sum, chunk) => sum + chunk.microUsdMax, 0) });
  }
  return views;
}

type Sender = 'finished' | 'running' | 'not visible from here';

function senderOf(intent: IntentRecord): Sender {
  if (intent.doubt?.fencedAtMs !== undefined) return 'finished';
  const isGone = isOwnerGone(intent.owner);
  return isGone === undefined ? 'not visible from here' : isGone ? 'finished' : 'running';
}

const timeText = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());

/** Each thing that can be done, and the most that it can cost beyond the batch itself. */
function choicesOf({ archive, intent, boundMicroUsd }: DoubtView): readonly { readonly choice: string; readonly command: string; readonly cost: string; readonly costUsdMax: number }[] {
  const waiting = { choice: 'wait', command: '', cost: 'nothing; the reservation stays', costUsdMax: 0 };
  const adopting = { choice: 'adopt', command: `plimsoll doubts adopt ${archive.archive} BATCH`, cost: 'nothing more than that batch; if its results are not ours the adoption is undone', costUsdMax: 0 };
  const sending = { choice: 'absent', command: `plimsoll doubts absent ${archive.archive} --yes`, cost: `it is sent again; if there is a batch after all, up to ${dollarText(boundMicroUsd)} is paid twice`, costUsdMax: microUsdToUsd(boundMicroUsd) };
  const forgoing = { choice: 'forgo', command: `plimsoll doubts forgo ${archive.archive} --yes`, cost: `it is never sent again and its ${countText(intent.rows)} rows become dead letters; ${dollarText(boundMicroUsd)} count as spent, whether it has a batch or not, and plimsoll retry pays for them anew`, costUsdMax: microUsdToUsd(boundMicroUsd) };
  const holding = { choice: 'hold', command: `plimsoll doubts hold ${archive.archive}`, cost: 'nothing; it is never sent again by itself, its reservation stays, and nothing with the same row count is sent', costUsdMax: 0 };
  return intent.state === 'held' ? [adopting, sending, forgoing] : [waiting, adopting, sending, forgoing, holding];
}

/** A doubt as JSON. Amounts in USD, times in ISO 8601. */
export function doubtDocument(view: DoubtView, landingWaitMs: number): Readonly<Record<string, unknown>> {
  const { archive, intent, boundMicroUsd } = view;
  const { doubt } = intent;
  return {
    archive: archive.archive,
    run_key: archive.run,
    intent: intent.intent,
    state: intent.state,
    reason: intent.reason ?? null,
    rows: intent.rows,
    bound_usd: microUsdToUsd(boundMicroUsd),
    sender: intent.owner,
    sender_state: senderOf(intent),
    sent_at: timeText(intent.sentAtMs),
    since: timeText(doubt?.sinceMs),
    fenced_at: timeText(doubt?.fencedAtMs),
    fence: doubt?.fence ?? null,
    looks: doubt?.looks ?? 0,
    looked_at: timeText(doubt?.lookedAtMs),
    empty_scans: doubt?.scans ?? 0,
    empty_scans_needed: emptyScansMin,
    candidates: (doubt?.candidates ?? []).map((each) => ({ batch_id: each.batch, created_at: timeText(each.createdAtMs), rows: each.rows, is_ended: each.isEnded })),
    absent_from: intent.state === 'held' || doubt === undefined ? null : timeText(absentAtMs(doubt, landingWaitMs)),
    choices: choicesOf(view).map((each) => ({ choice: each.choice, command: each.command === '' ? null : each.command, cost: each.cost, cost_usd_max: each.costUsdMax })),
  };
}

/** A doubt in words. */
export function doubtText(view: DoubtView, landingWaitMs: number, nowMs: number): string {
  const { archive, intent, boundMicroUsd } = view;
  const { doubt } = intent;
  const absent = doubt === undefined ? undefined : absentAtMs(doubt, landingWaitMs);
  const resolves =
    intent.state === 'held'
      ? 'not by itself: a person decides, unless its batch ends and shows whose it is'
      : absent === undefined
        ? 'when its batch is found; absence cannot be proven before its sender is finished'
        : `when its batch is found, else it is sent again after ${absent > nowMs ? timeText(absent) : 'the next empty scans'}`;
  const candidates = (doubt?.candidates ?? []).map((each) => `  candidate  ${each.batch} of ${timeText(each.createdAtMs)}, ${countText(each.rows)} requests, ${each.isEnded ? 'ended' : 'running'}`);
  return [
    `archive ${archive.archive} of run ${archive.run}: ${intent.state === 'held' ? 'held' : 'in doubt'} (${intent.reason ?? ''})`,
    `  intent     ${intent.intent}, last byte ${timeText(intent.sentAtMs) ?? 'at an unknown time'}`,
    `  rows       ${countText(intent.rows)}, at most ${dollarText(boundMicroUsd)}`,
    `  sender     ${intent.owner}: ${senderOf(intent)}${doubt?.fencedAtMs === undefined ? '' : ` since ${timeText(doubt.fencedAtMs)} (${doubt.fence ?? ''})`}`,
    `  search     ${doubt?.looks ?? 0} looks, ${doubt?.scans ?? 0} of ${emptyScansMin} empty scans after the landing wait`,
    ...(candidates.length > 0 ? candidates : ['  candidate  none']),
    `  resolves   ${resolves}`,
    ...choicesOf(view).filter((each) => each.command !== '').map((each) => `  ${each.choice.padEnd(9)}  ${each.command}: ${each.cost}`),
  ].join('\n');
}
