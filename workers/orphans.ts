/**
 * The search for orphans: batches of the workspace that hold our rows and that no archive claims. Each is a batch whose
 * archive is in doubt, or money that was paid for nothing: a create that the protocol holds for refused has made one.
 *
 * Invariants
 *   U1  A batch is called a leak only after its results named an archive of ours that can no longer claim it; one that still
 *       runs is left alone, because nobody can know whose it is.
 *   U2  It is called one only by a ledger that has forgotten nothing: one that was set back knows none of its newest claims.
 */
import { PlimsollError } from '../segments/errors.ts';
import { decodeJournal } from '../segments/journal.ts';
import { acceptedKey, sealedKey } from '../segments/lake.ts';
import type { LedgerGuard } from '../segments/ledger/guard.ts';
import type { ArchiveRecord, Ledger } from '../segments/ledger/ledger.ts';
import { microUsdUp, rowFemtoUsd, type ModelPrice } from '../segments/price.ts';
import { checkResults } from '../segments/results.ts';
import { addUsage, noUsage, type BatchId, type Usage } from '../segments/segment.ts';
import type { Log, Now } from '../segments/stage.ts';
import { putDocument, readDocument } from '../segments/store/document.ts';
import { readSpoolRows } from '../segments/store/spool.ts';
import type { Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';
import type { BatchListing, BatchSearch, Claude, ListedBatch } from './claude.ts';
import { archiveOf } from './workspace.ts';

export interface OrphanDependencies {
  readonly ledger: Ledger;
  readonly store: Store;
  readonly wake: Wake;
  readonly claude: Claude & BatchSearch;
  readonly landingWaitMs: number;
  readonly pollMinMs: number;
  readonly priceOf: (model: string) => ModelPrice | undefined;
  /** Asked before a batch is called a leak (U2). */
  readonly guard?: Pick<LedgerGuard, 'prove'>;
  readonly now: Now;
  readonly log: Log;
}

/** A batch ends within a day; what was created before that has been looked at after its end. */
const lookBackMs = 26 * 3_600_000;
const readsMax = 100;
/** Downloads of one sweep after which what they do not show is not to be had; as many as the settler tries. */
const downloadsMax = 5;

/** Warns that a listing proves no absence, and of what it lacks. Of a batch that may be a stranger's its id alone is told. */
export function tellUnread(account: string, { batches, isComplete, unread }: BatchListing, log: Log): void {
  if (isComplete) return;
  const isTooLarge = unread === undefined || unread.reason === 'too_large';
  if (isTooLarge) log({ level: 'warn', event: 'workspace.too_large', subject: account, detail: { read: batches.length } });
  else log({ level: 'warn', event: 'workspace.unreadable', subject: account, detail: { read: batches.length, reason: unread.reason, batch: unread.batch, hint: 'no archive in doubt is proven absent meanwhile: plimsoll doubts' } });
}

/** Looks once through the workspace of the account. @throws PlimsollError `ledger_behind`, and as the list of batches */
export async function sweepWorkspace(dependencies: OrphanDependencies, signal: AbortSignal): Promise<void> {
  const { ledger, claude, now, log } = dependencies;
  const listing = await claude.listBatches(now() - lookBackMs, signal);
  tellUnread(claude.account, listing, log);
  const ended = listing.batches.filter((each) => each.isEnded);
  const claims = await ledger.readClaims(claude.account, ended.map((each) => each.batch));
  for (const each of ended.filter((one) => !claims.has(one.batch)).slice(0, readsMax)) {
    try {
      await judgeOrphan(dependencies, each, signal);
    } catch (error) {
      // One batch that cannot be read must not hide the others; the next sweep comes back to it.
      if (!(error instanceof PlimsollError) || error.code === 'ledger_behind') throw error;
      log({ level: 'warn', event: 'orphan.not_readable', subject: each.batch, detail: { code: error.code } });
    }
  }
}

async function judgeOrphan(dependencies: OrphanDependencies, orphan: ListedBatch, signal: AbortSignal): Promise<void> {
  const { ledger, store, wake, claude, now, log, pollMinMs } = dependencies;
  const first = await claude.firstResult(orphan.batch, signal);
  if (first === undefined) return;
  const named = archiveOf(first);
  const archive = named === undefined ? undefined : await ledger.readArchive(named);
  if (!archive) return await ledger.noteStranger({ account: claude.account, batch: orphan.batch, archive: named, createdAtMs: orphan.createdAtMs, nowMs: now() });
  // Its reply may be on the way, or has just come.
  if (archive.state === 'submitting' || archive.batch === orphan.batch) return;
  if (archive.intent !== undefined && (await mayAdopt(dependencies, archive, signal))) {
    const pollAtMs = now() + pollMinMs;
    if (!(await ledger.acceptIntent({ intent: archive.intent, batch: orphan.batch, pollAtMs, nowMs: now() }))) return;
    log({ level: 'info', event: 'batch.adopted', subject: orphan.batch, detail: { archive: archive.archive, intent: archive.intent, isProven: true } });
    await wake.wake({ stage: 'track', entity: archive.archive, epoch: pollAtMs, delayMs: pollMinMs });
    const account = archive.account ?? claude.account;
    await putDocument(store, acceptedKey(account, archive.intent), { v: 1, intent: archive.intent, archive: archive.archive, run: archive.run, account, batch: orphan.batch });
    return;
  }
  await bookLeak(dependencies, archive, orphan, signal);
}

/**
 * In doubt, or bound to another batch on time and count alone. One that has ended and holds the archive's rows keeps it:
 * then there are two of them, and the results of the first may have been read already.
 */
async function mayAdopt({ ledger, claude }: OrphanDependencies, archive: ArchiveRecord, signal: AbortSignal): Promise<boolean> {
  if (archive.state === 'in_doubt') return true;
  if (archive.intent === undefined || archive.batch === undefined || (archive.state !== 'accepted' && archive.state !== 'ended')) return false;
  if ((await ledger.readIntent(archive.intent))?.state !== 'adopted') return false;
  const first = await claude.firstResult(archive.batch, signal);
  return first === undefined || archiveOf(first) !== archive.archive;
}

async function bookLeak(dependencies: OrphanDependencies, archive: ArchiveRecord, orphan: ListedBatch, signal: AbortSignal): Promise<void> {
  const { ledger, claude, guard, now, log } = dependencies;
  const bill = await billOf(dependencies, archive, orphan.batch, signal);
  await guard?.prove();
  const { isBooked, isCovered } = await ledger.bookLeak({ account: claude.account, archive: archive.archive, batch: orphan.batch, rows: orphan.rows, ...bill, nowMs: now() });
  if (isBooked) log({ level: 'error', event: 'batch.leaked', subject: orphan.batch, detail: { archive: archive.archive, rows: orphan.rows, microUsd: bill.microUsd, rowsAtBound: bill.rowsAtBound, isCovered } });
}

/** `rowsAtBound`: rows of which no result is to be had; they are booked at their upper bounds, as the settler does. */
interface Bill {
  readonly usage: Usage;
  /** The exact sum of what was billed, rounded up once, so that no leak is booked below its bill. */
  readonly microUsd: number;
  readonly rowsAtBound: number;
}

/**
 * What a batch of an archive's rows was billed. Results that are not the whole set however often they are read to their
 * end would otherwise be asked for, and told of, in every sweep for as long as the provider lists the batch.
 * @throws PlimsollError `provider_unavailable` when a download broke off: then what is missing proves nothing
 */
async function billOf(dependencies: OrphanDependencies, archive: ArchiveRecord, batch: BatchId, signal: AbortSignal): Promise<Bill> {
  const { store, claude, priceOf } = dependencies;
  // The manifest, not the ledger: an archive that was halved meanwhile has given its chunks away.
  const key = sealedKey(archive.run, archive.archive);
  const sealed = decodeJournal('sealed', key, await readDocument(store, key));
  const rows = (await Promise.all(sealed.chunks.map(async (range) => (await readSpoolRows(store, range)).rows))).flat();
  const expected = { archive: archive.archive, rows: rows.length, shaOf: (index: number) => rows[index]?.sha ?? '' };
  let check = await checkResults(claude.readResults(batch, signal), expected);
  for (let download = 1; !check.isComplete && download < downloadsMax; download += 1) check = await checkResults(claude.readResults(batch, signal), expected);
  let [usage, femtoUsd, microUsdAtBound, rowsAtBound] = [noUsage, 0n, 0, 0];
  for (const [index, row] of rows.entries()) {
    const verdict = check.index.verdictOf(index);
    if (verdict.kind === 'dead' && (verdict.reason === 'result_missing' || verdict.reason === 'result_conflict')) {
      usage = addUsage(usage, { ...noUsage, inputTokens: row.in, outputTokens: row.out });
      microUsdAtBound += row.usd;
      rowsAtBound += 1;
    }
    if (verdict.kind !== 'succeeded') continue;
    const price = priceOf(verdict.model) ?? priceOf(row.model);
    usage = addUsage(usage, verdict.usage);
    if (price) femtoUsd += rowFemtoUsd(verdict.usage, price, 'batch', row.geo === 1);
  }
  return { usage, microUsd: microUsdUp(femtoUsd) + microUsdAtBound, rowsAtBound };
}
