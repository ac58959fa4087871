/**
 * The adopter: ends doubts. For an archive whose create has no reply that proves anything, it looks through the
 * workspace until the batch is found, or until it is proven that there is none (reliability.md 4.5).
 *
 *   fence     is the sender finished?
 *   list      the batches of the workspace around the time of the upload
 *   decide    an ended batch by its first result, one that still runs by time and count if no other is possible
 *   conclude  adopted, absent after fence, landing wait and empty scans, left to a person, or forgone as the settings say
 *
 * It owns: which batch an archive in doubt is bound to. The settler confirms it from the results, or disowns it.
 *
 * Invariants
 *   B1  A batch is bound to one intent; one that ended is bound only to the archive that its results name.
 *   B2  Nothing is declared absent while its sender may still send, while a batch may still turn up, or while a batch
 *       that may be its own is undecided. A listing that is not complete proves nothing.
 *   B3  A sender that nobody can see from here is never taken for finished: a person decides.
 *   B4  What was given up in the lake is given up in the ledger, whoever was killed in between; and by this stage alone only
 *       where the settings say so, after every batch of the time has ended and shown whose it is.
 *   B5  Running twice, late or never costs nothing: every conclusion is one conditional transition of the ledger.
 */
import { acceptedKey, intentKey } from '../segments/lake.ts';
import type { ArchiveRecord, IntentRecord, Ledger } from '../segments/ledger/ledger.ts';
import type { ArchiveId, BatchId } from '../segments/segment.ts';
import { done, type Log, type Now, type StageHandler, type StageOutcome } from '../segments/stage.ts';
import { readForgoing } from '../segments/store/decisions.ts';
import { putDocument, readDocument } from '../segments/store/document.ts';
import type { Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';
import type { BatchSearch, Claude, ListedBatch } from './claude.ts';
import { senderState, type FenceView } from './fence.ts';
import { carryOutForgoing, forgo } from './forgo.ts';
import { sweepWorkspace, tellUnread, type OrphanDependencies } from './orphans.ts';
import { archiveOf, asEvidence, decodeJournaledIntent, onlyCandidate, sift, windowOf } from './workspace.ts';

export interface AdopterDependencies extends OrphanDependencies {
  readonly ledger: Ledger;
  readonly store: Store;
  readonly wake: Wake;
  readonly claude: Claude & BatchSearch;
  readonly fence: FenceView;
  /** How long after its sender was finished a batch may still turn up in the list. */
  readonly landingWaitMs: number;
  /** What becomes of a doubt that nobody has ended after 25 hours: a person decides, or its answers are given up. */
  readonly unprovable: 'hold' | 'forgo';
  /** How often the workspace is searched for batches that nobody claims. */
  readonly orphansEveryMs: number;
  readonly pollMinMs: number;
  readonly now: Now;
  readonly log: Log;
}

const workspacePrefix = 'workspace|';
/** So many empty scans in a row prove absence. */
export const emptyScansMin = 3;
/** A doubt that lasts is told again this often. */
const alarmEveryMs = 25 * 3_600_000;
/** By then every batch of that time has ended (claude-batches.md 2.4), so its results would have told whose it is. */
const unprovableAfterMs = 25 * 3_600_000;
/** First results read in one look; more are left for the next one, and until then nothing is absent. */
const readsMax = 50;
/** The reason of an intent that is held because its sender cannot be seen; one that a person holds has another. */
const senderNotVisible = 'sender_not_visible';
const looksEveryMaxMs = 30_000;
const heldLooksEveryMaxMs = 300_000;
const otherAccountMs = 60_000;

/** The least time between two scans that count as two. */
export function scanSpacingMs(landingWaitMs: number): number {
  return Math.min(20_000, Math.max(50, Math.floor(landingWaitMs / 30)));
}

/** Makes the adopter's stage; its entities are archives in doubt, and `workspace|<account>` for the search for orphans. */
export function makeAdopter(dependencies: AdopterDependencies): StageHandler {
  const { ledger, claude, orphansEveryMs, now } = dependencies;
  return {
    stage: 'doubt',
    concurrency: 2,
    isClaimed: true,
    async handle(entity, signal) {
      if (entity.startsWith(workspacePrefix)) {
        if (entity === `${workspacePrefix}${claude.account}`) await sweepWorkspace(dependencies, signal);
        return { kind: 'later', atMs: now() + orphansEveryMs, why: 'workspace' };
      }
      const archive = await ledger.readArchive(entity as ArchiveId);
      if (archive?.state !== 'in_doubt' || archive.intent === undefined) return done;
      const intent = await ledger.readIntent(archive.intent);
      if (!intent || (intent.state !== 'in_doubt' && intent.state !== 'held')) return done;
      if (intent.account !== claude.account) return { kind: 'later', atMs: now() + otherAccountMs, why: 'other_account' };
      return await look(dependencies, archive, intent, signal);
    },
  };
}

/** One look for one intent. */
async function look(dependencies: AdopterDependencies, archive: ArchiveRecord, before: IntentRecord, signal: AbortSignal): Promise<StageOutcome> {
  const { ledger, store, claude, fence, landingWaitMs, now, log } = dependencies;
  // Whoever decided it was killed, or Redis was set back since.
  const decided = await readForgoing(store, archive.run, before.intent);
  if (decided && (await carryOutForgoing(dependencies, decided))) return done;
  const journaled = decodeJournaledIntent(await readDocument(store, intentKey(before.account, before.intent)));
  const sender = senderState(fence, before.intent, journaled?.owner ?? before.owner);
  if (before.doubt?.fencedAtMs === undefined && sender === 'finished') await ledger.fenceIntent(before.intent, 'sender_gone', now());
  const intent = (await ledger.readIntent(before.intent)) ?? before;
  // A lane that expired is nobody's call: this is the first line that tells of it.
  if (intent.doubt?.looks === 0) log({ level: 'warn', event: 'doubt.search_began', subject: archive.archive, detail: { intent: intent.intent, reason: intent.reason, rows: intent.rows, sender } });

  const askedAtMs = now();
  const window = windowOf(intent, journaled, landingWaitMs);
  const listing = await claude.listBatches(window.wideFromMs, signal);
  tellUnread(claude.account, listing, log);
  const { ended, running, rivals } = sift(listing, window, intent, await ledger.readClaims(intent.account, listing.batches.map((each) => each.batch)));
  const undecided: ListedBatch[] = [...ended.slice(readsMax)];
  for (const each of ended.slice(0, readsMax)) {
    const whose = await ownerOf(dependencies, intent.account, each, signal);
    if (whose === archive.archive) return await adopt(dependencies, archive, intent, each.batch, true);
    if (whose === 'unreadable' && each.rows === intent.rows) undecided.push(each);
  }

  const candidates = [...running, ...undecided];
  const only = intent.state === 'in_doubt' && listing.isComplete ? onlyCandidate(candidates, rivals, window) : undefined;
  if (only !== undefined) {
    const adopted = await adopt(dependencies, archive, intent, only.batch, false);
    if (adopted.kind === 'done') return adopted;
  }
  const isEmpty = listing.isComplete && candidates.length === 0 && rivals.length === 0;
  const spacingMs = scanSpacingMs(landingWaitMs);
  const note = await ledger.noteLook({ intent: intent.intent, isEmpty, candidates: asEvidence([...candidates, ...rivals]), landingWaitMs, spacingMs, alarmEveryMs, askedAtMs, nowMs: now() });
  if (note.isAlarm) log({ level: 'error', event: 'archive.still_in_doubt', subject: archive.archive, detail: { intent: intent.intent, state: intent.state, hours: Math.floor((now() - (intent.doubt?.sinceMs ?? now())) / 3_600_000) } });
  if (intent.state === 'in_doubt' && note.scans >= emptyScansMin && (await absolve(dependencies, archive, intent))) return done;
  if (intent.state === 'in_doubt' && sender === 'unknown' && intent.doubt?.fencedAtMs === undefined && now() >= (intent.doubt?.sinceMs ?? 0) + landingWaitMs) await hold(dependencies, archive, intent);
  if (isEmpty && isUnprovable(dependencies, intent) && (await forgo(dependencies, archive, intent.intent, 'settings', 'submit.unprovable is forgo, and nothing was proven in 25 hours'))) return done;
  return { kind: 'later', atMs: nextLookMs(dependencies, intent, spacingMs), why: isEmpty ? 'not_found' : 'undecided' };
}

/** The archive that an ended batch holds. What is not ours is remembered, so that it is read once. */
async function ownerOf(dependencies: AdopterDependencies, account: string, batch: ListedBatch, signal: AbortSignal): Promise<ArchiveId | 'unreadable' | 'stranger'> {
  const { ledger, claude, now } = dependencies;
  const first = await claude.firstResult(batch.batch, signal);
  if (first === undefined) return 'unreadable';
  const archive = archiveOf(first);
  if (archive !== undefined && (await ledger.readArchive(archive))) return archive;
  await ledger.noteStranger({ account, batch: batch.batch, archive, createdAtMs: batch.createdAtMs, nowMs: now() });
  return 'stranger';
}

async function adopt(dependencies: AdopterDependencies, archive: ArchiveRecord, intent: IntentRecord, batch: BatchId, isProven: boolean): Promise<StageOutcome> {
  const { ledger, store, wake, now, log, pollMinMs } = dependencies;
  const pollAtMs = now() + pollMinMs;
  const isBound = await ledger.acceptIntent({ intent: intent.intent, batch, pollAtMs, nowMs: now(), isTentative: !isProven });
  if (!isBound) return { kind: 'later', atMs: pollAtMs, why: 'not_bound' };
  log({ level: 'info', event: 'batch.adopted', subject: batch, detail: { archive: archive.archive, intent: intent.intent, isProven } });
  await wake.wake({ stage: 'track', entity: archive.archive, epoch: pollAtMs, delayMs: pollMinMs });
  // An adoption on time and count alone is no record for the lake: the settler writes it when the results agree.
  if (isProven) await putDocument(store, acceptedKey(intent.account, intent.intent), { v: 1, intent: intent.intent, archive: archive.archive, run: archive.run, account: intent.account, batch });
  return done;
}

async function absolve(dependencies: AdopterDependencies, archive: ArchiveRecord, intent: IntentRecord): Promise<boolean> {
  const { ledger, wake, landingWaitMs, now, log } = dependencies;
  const isAbsent = await ledger.absolveIntent({ intent: intent.intent, by: 'adopter', reason: 'proven_absent', scansMin: emptyScansMin, landingWaitMs, nowMs: now() });
  if (!isAbsent) return false;
  log({ level: 'warn', event: 'archive.proven_absent', subject: archive.archive, detail: { intent: intent.intent, fence: intent.doubt?.fence } });
  await wake.wake({ stage: 'submit', entity: 'next', epoch: now() });
  return true;
}

async function hold(dependencies: AdopterDependencies, archive: ArchiveRecord, intent: IntentRecord): Promise<void> {
  const { ledger, now, log } = dependencies;
  if (!(await ledger.holdIntent(intent.intent, senderNotVisible, now()))) return;
  log({ level: 'error', event: 'archive.held', subject: archive.archive, detail: { intent: intent.intent, reason: senderNotVisible, hint: 'decide with: plimsoll doubts' } });
}

/** Nobody has ended it in a day, and it was not a person who kept it. */
function isUnprovable({ unprovable, now }: AdopterDependencies, { doubt, state, reason }: IntentRecord): boolean {
  if (unprovable !== 'forgo' || doubt === undefined || now() < doubt.sinceMs + unprovableAfterMs) return false;
  return state !== 'held' || reason === senderNotVisible;
}

/** Often while the doubt is young, seldom when it is old; and as soon as absence can be proven. */
function nextLookMs({ landingWaitMs, pollMinMs, now }: AdopterDependencies, intent: IntentRecord, spacingMs: number): number {
  const nowMs = now();
  const ageMs = nowMs - (intent.doubt?.sinceMs ?? nowMs);
  const mostMs = intent.state === 'held' ? heldLooksEveryMaxMs : looksEveryMaxMs;
  const patientMs = nowMs + Math.min(mostMs, Math.max(pollMinMs, Math.floor(ageMs / 4)));
  const fencedAtMs = intent.doubt?.fencedAtMs;
  if (intent.state === 'held' || fencedAtMs === undefined) return patientMs;
  const provableAtMs = fencedAtMs + landingWaitMs;
  return nowMs >= provableAtMs ? nowMs + spacingMs : Math.min(patientMs, provableAtMs);
}
