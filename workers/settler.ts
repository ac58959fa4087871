/**
 * The settler: turns an ended batch into outcomes. It brings the results to the lake as a verified set, decides what
 * became of each row, writes retries as new chunks, journals the outcome, and settles the ledger.
 *
 * It owns: the outcome of each row. The ledger owns the money that moves with it.
 *
 * Invariants
 *   O1  Results are booked only as a complete set, or after the last re-download with every hole named. A download that
 *       broke off proves no hole: its rows are at the provider still, and the stage tries again later.
 *   O2  The outcome is decided once: a rerun takes the one in the lake, whatever settings and prices say by then.
 *   O3  Everything is durable in the lake before the ledger is settled; a crash before that repeats it harmlessly.
 *   O4  A row that can succeed goes round again with its own bytes, as attempt + 1, at most `attemptsMax` times.
 *   O5  Results that hold none of an archive's rows are never booked, kept or exported, unless a reply named their batch:
 *       the adoption was wrong, or is undone already and this process has slept. Results without a single readable row
 *       prove neither: they wait until every batch of that day has ended and the sweep has looked at it.
 *   O6  Results that stand in the lake already are believed as little as a download: an object without its own digest, or
 *       an incomplete set that the provider does not give once more, byte for byte, stops the stage. Rows that were paid
 *       for and are missing only there would be lost for good in an outcome.
 *   O7  A fault of the account uses up no attempt: its rows go round again on their own attempt while the account rests, at
 *       most `accountRoundsMax` times.
 */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChunkFooter } from '../segments/chunk.ts';
import { invariant, PlimsollError } from '../segments/errors.ts';
import { acceptedKey, outcomeKey, resultLinesKey } from '../segments/lake.ts';
import type { ArchiveRecord, IntentRecord, Ledger, RunRecord } from '../segments/ledger/ledger.ts';
import { decodeOutcome, type ArchiveOutcome } from '../segments/outcome.ts';
import type { ModelPrice } from '../segments/price.ts';
import { replannedIn, type ReplanDocument } from '../segments/replan-document.ts';
import type { ResultCounts } from '../segments/result-index.ts';
import { checkResults, type ExpectedRows, type ResultsCheck } from '../segments/results.ts';
import type { ArchiveId } from '../segments/segment.ts';
import type { SettledResults } from '../segments/settled-results.ts';
import { done, type Log, type Now, type StageHandler, type StageOutcome } from '../segments/stage.ts';
import { putDocument } from '../segments/store/document.ts';
import { readReplan } from '../segments/store/replans.ts';
import { readPromptDigests, readSpoolRows } from '../segments/store/spool.ts';
import { urlOf, type Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';
import type { BatchSearch, Claude } from './claude.ts';
import { downloadResults } from './download.ts';
import { warnOfExpiry } from './expiry.ts';
import { Judge, restedIn, retriedRowsOf, summaryOf } from './judge.ts';
import { makeLeaving } from './other-account.ts';
import { writeRetries } from './retries.ts';
import { rangesOf, type SealedChunkRange } from './sealer.ts';
import { archiveOf } from './workspace.ts';

export interface SettlerDependencies {
  readonly ledger: Ledger;
  readonly store: Store;
  readonly wake: Wake;
  readonly claude: Claude & Pick<BatchSearch, 'firstResult'>;
  readonly attemptsMax: number;
  /** How often a row may go round for a fault of the account (O7). */
  readonly accountRoundsMax: number;
  /** How long the account rests after the first of these rounds, ms; after each further one twice as long, up to an hour. */
  readonly accountRestMs: number;
  /** Told when results show that the account cannot work until a person acts. */
  readonly onAccountFault: (fault: PlimsollError) => void;
  readonly chunkBytesMax: number;
  readonly chunkRowsMax: number;
  readonly priceOf: (model: string) => ModelPrice | undefined;
  readonly priceVersion: string;
  /** A local folder; on the lake's own disk the results need no copy. */
  readonly scratchDirectory: string;
  /** Where the index of what was settled waits for an exporter of this process; undefined: there is none. */
  readonly settled?: SettledResults;
  readonly now: Now;
  readonly log: Log;
}

/** How often an incomplete set is downloaded again before its holes are taken for true. */
const downloadsMax = 5;
/** A batch ends within a day (claude-batches.md 2.4), and the sweep looks at it once more after that. */
const everyRivalEndsMs = 26 * 3_600_000;
const lookAgainMs = 15 * 60_000;
const otherAccountMs = 60_000;
/** No rest for a fault of the account is longer. */
const restMaxMs = 3_600_000;

/** Makes the settler's stage; its entities are archives whose batch has ended. */
export function makeSettler(dependencies: SettlerDependencies): StageHandler {
  const { ledger, store, wake, now, log } = dependencies;
  const leave = makeLeaving(dependencies);
  return {
    stage: 'settle',
    concurrency: 2,
    isClaimed: true,
    async handle(entity, signal) {
      const id = entity as ArchiveId;
      const archive = await ledger.readArchive(id);
      if (!archive || archive.state !== 'ended') return done;
      warnOfExpiry(archive, now(), log);
      if (archive.batch !== undefined && archive.account !== dependencies.claude.account) return await leave(archive, archive.endedAtMs ?? now(), otherAccountMs);
      const ranges = rangesOf(await ledger.readChunks(await ledger.readArchiveChunks(id)));
      const rows = ranges.reduce((sum, range) => sum + range.to - range.from + 1, 0);
      invariant(rows === archive.rows, `${id} has ${archive.rows} rows, its chunks ${rows}`);
      const run = await ledger.readRun(archive.run);
      invariant(run !== undefined, `the run of ${id} is in the ledger`);
      const replan = archive.replan === undefined ? undefined : await readReplan(store, archive.replan);
      const outcome = await decide(dependencies, { archive, run, ranges, replan }, signal);
      if (outcome === 'not_ours') return await disown(dependencies, archive);
      if (outcome === 'unproven') return { kind: 'later', atMs: now() + lookAgainMs, why: 'results_unproven' };
      if (archive.batch !== undefined && archive.intent !== undefined && archive.account !== undefined) {
        // The submitter writes this too; it may have died in between, or the batch was adopted and is proven only now.
        await putDocument(store, acceptedKey(archive.account, archive.intent), { v: 1, intent: archive.intent, archive: id, run: archive.run, account: archive.account, batch: archive.batch });
      }
      const retries = replan ? successorsIn(replan, ranges) : await writeRetries({ ...dependencies, archive, run, ranges, retried: retriedRowsOf(outcome), rested: new Set(retriedRowsOf({ retried: outcome.rested ?? [] })) });
      const rested = restedIn(outcome);
      const rest = rested && { ...rested, untilMs: now() + Math.min(dependencies.accountRestMs * 2 ** (rested.round - 1), restMaxMs) };
      const settled = await ledger.settle({ archive: id, chunks: outcome.chunks, retries, nowMs: now(), ...(rest ? { rest } : {}) });
      for (const chunk of settled.queued) await wake.enqueueChunk(chunk.segment, chunk.chunk, chunk.epoch);
      if (settled.isSettled) log({ level: 'info', event: 'archive.settled', subject: id, detail: summaryOf(outcome) });
      if (settled.isSettled && rest) {
        log({ level: 'error', event: 'account.rested', subject: archive.account ?? '', detail: { archive: id, batch: archive.batch, rows: rest.rows, round: rest.round, untilMs: rest.untilMs } });
        dependencies.onAccountFault(accountFault(outcome, rest.rows));
      }
      for (const chunk of await ledger.resumeHeld(now())) await wake.enqueueChunk(chunk.segment, chunk.chunk, chunk.epoch);
      await wake.wake({ stage: 'export', entity: id, epoch: 0 });
      return done;
    },
  };
}

function accountFault({ batch, rows, resultsKey }: ArchiveOutcome, struck: number): PlimsollError {
  return new PlimsollError('account_at_fault', {
    message: `${struck} of ${rows} rows of ${batch ?? 'a batch'} came back with an error of the account, not of the prompt`,
    where: resultsKey ?? '',
    hint: 'Check billing, spend limits, key and workspace; the provider\'s words stand in that file. The account rests, then the rows are sent again on the same attempt.',
  });
}

/** The archive was bound to its batch by time and count, and the results are somebody else's (O5). */
async function disown({ ledger, wake, now, log }: SettlerDependencies, archive: ArchiveRecord): Promise<StageOutcome> {
  if (archive.batch !== undefined && (await ledger.disownBatch(archive.archive, archive.batch, now()))) {
    log({ level: 'error', event: 'batch.disowned', subject: archive.batch, detail: { archive: archive.archive } });
    await wake.wake({ stage: 'doubt', entity: archive.archive, epoch: now() });
  }
  return done;
}

/** The outcome of an archive: the one that an earlier try wrote down, or a new one, written down before it is acted on (O2). */
async function decide(
  dependencies: SettlerDependencies,
  ended: {
    readonly archive: ArchiveRecord;
    readonly run: RunRecord;
    readonly ranges: readonly SealedChunkRange[];
    readonly replan: ReplanDocument | undefined;
  },
  signal: AbortSignal,
): Promise<ArchiveOutcome | 'not_ours' | 'unproven'> {
  const { store } = dependencies;
  const { archive, ranges } = ended;
  const key = outcomeKey(archive.run, archive.archive);
  if (await store.head(key)) return decodeOutcome(await store.readWhole(key));
  const results = archive.batch === undefined ? undefined : await bringResults(dependencies, archive, ranges, signal);
  if (results === 'not_ours' || results === 'unproven') return results;
  const judge = new Judge({ ...dependencies, ...ended, results });
  for (const range of ranges) judge.add(range, (await readSpoolRows(store, range)).rows);
  const outcome = judge.outcome();
  await putDocument(store, key, outcome);
  return outcome;
}

/** The chunks that carry the rows of replanned ones on; they were written before the decision was. */
function successorsIn(replan: ReplanDocument, ranges: readonly SealedChunkRange[]): readonly { readonly footer: ChunkFooter; readonly spoolKey: string }[] {
  return ranges.flatMap(({ chunk }) => replannedIn(replan, chunk).successor ?? []);
}

/**
 * When the last byte left, or the latest time that is known of the attempt. The ledger has no `sentAtMs` of one that a
 * rebuild restored, nor of one that came into doubt before it was known to be sent: taken for long ago, a stranger's results
 * that nobody can read would be booked as holes at once (O5).
 */
function doubtBeganMs(intent: IntentRecord | undefined): number {
  return intent?.sentAtMs ?? intent?.doubt?.sinceMs ?? intent?.preparedAtMs ?? 0;
}

/** Makes sure that the verbatim result lines are in the lake, and returns what they say. Lines of others are not kept (O5). */
async function bringResults(dependencies: SettlerDependencies, archive: ArchiveRecord, ranges: readonly SealedChunkRange[], signal: AbortSignal): Promise<ResultsCheck | 'not_ours' | 'unproven'> {
  const { ledger, store, claude, now, log } = dependencies;
  invariant(archive.batch !== undefined, `${archive.archive} has a batch`);
  const key = resultLinesKey(archive.run, archive.archive);
  const expected = { archive: archive.archive, rows: archive.rows, ...(await readPromptDigests(store, ranges)) };
  const { counts } = await claude.retrieveBatch(archive.batch, signal);
  // They are there already when an earlier try died after bringing them.
  const kept = await checkKept(store, key, expected, counts);
  if (kept?.isComplete) return kept;

  // Only a reply or earlier results prove whose the batch is. This process may have been stopped since it read the archive:
  // the adoption may be undone by now, and a stranger's results must not be written down for it (O5).
  const intent = archive.intent === undefined ? undefined : await ledger.readIntent(archive.intent);
  const isProven = intent?.state === 'accepted' && intent.batch === archive.batch;
  let isEachWhole = true;
  for (let download = 1; ; download += 1) {
    const path = join(dependencies.scratchDirectory, `${archive.archive}-${randomUUID()}.jsonl`);
    try {
      const { check, isWhole } = await downloadResults(path, claude.readResults(archive.batch, signal), expected, counts);
      if (!isWhole) isEachWhole = false;
      const holdsNone = check.faultCounts.row_missing === archive.rows && check.faultCounts.check_mismatch === 0;
      if (!isProven && holdsNone && check.faultCounts.row_foreign > 0) return 'not_ours';
      if (!check.isComplete && !isEachWhole && download === downloadsMax) {
        throw new PlimsollError('results_incomplete', {
          message: `the results of ${archive.batch} are not complete after ${downloadsMax} downloads, and some of them broke off`,
          where: key,
          hint: 'They are downloaded again in a while; the provider keeps them for 29 days.',
        });
      }
      if (check.isComplete || download === downloadsMax) {
        if (!isProven && holdsNone) {
          // No line of the whole set could be read; the first one alone may be.
          const first = await claude.firstResult(archive.batch, signal);
          if (first !== undefined && archiveOf(first) !== archive.archive) return 'not_ours';
          if (first === undefined && now() < doubtBeganMs(intent) + everyRivalEndsMs) {
            log({ level: 'error', event: 'results.unproven', subject: archive.batch, detail: { archive: archive.archive, rows: archive.rows } });
            return 'unproven';
          }
        }
        if (!check.isComplete) log({ level: 'error', event: 'results.incomplete', subject: archive.batch, detail: { archive: archive.archive, ...check.faultCounts } });
        if (kept && kept.sha256 !== check.sha256) throw damagedResults(store, key, `they are not the complete set of ${archive.batch} (${kept.faultCounts.row_missing} of ${archive.rows} rows have none), and the provider gives other bytes`);
        if (store.knownSha256) dependencies.settled?.keep(check);
        await store.putFile(key, path, { sizeBytes: check.sizeBytes, sha256: check.sha256 });
        return check;
      }
      log({ level: 'warn', event: 'results.faulty', subject: archive.batch, detail: { archive: archive.archive, download, ...check.faultCounts } });
    } finally {
      await rm(path, { force: true });
    }
  }
}

/**
 * What the results object says that an earlier try has left; undefined: there is none.
 * @throws PlimsollError `lake_conflict` when it is not what was to be written there (O6)
 */
async function checkKept(store: Store, key: string, expected: ExpectedRows, counts: ResultCounts): Promise<ResultsCheck | undefined> {
  const found = await store.head(key);
  if (!found) return undefined;
  const check = await checkResults(store.read(key), expected, counts);
  if (check.sizeBytes === found.sizeBytes && (found.sha256 === undefined || found.sha256 === check.sha256)) return check;
  throw damagedResults(store, key, `it has ${check.sizeBytes} bytes with the sha256 ${check.sha256.slice(0, 12)}, and ${found.sha256?.slice(0, 12) ?? `${found.sizeBytes} bytes`} was to be written`);
}

function damagedResults(store: Store, key: string, what: string): PlimsollError {
  return new PlimsollError('lake_conflict', {
    message: `the results in the lake are damaged: ${what}`,
    where: urlOf(store, key),
    hint: 'Nothing was booked. Move the object out of the lake by hand: the results are then downloaded again, the provider keeps them for 29 days.',
  });
}
