/**
 * The submitter: sends sealed archives, one at a time per account, and never twice (reliability.md 4.5).
 *
 *   prepare   the lane is taken and the intent is in the ledger
 *   probe     the provider answers and tells its time
 *   journal   the intent is a create-only object in the lake: a second record that survives the loss of Redis
 *   arm       the upload may begin
 *   upload    everything but the last byte
 *   gate      the ledger says that this process still holds the lane; the intent is `sent` before the byte leaves
 *   classify  accepted, refused, or in doubt
 *
 * It owns: the order of these steps. The ledger owns who may take the next one.
 *
 * Invariants
 *   S1  No byte is uploaded before the intent is durable in the ledger and in the lake.
 *   S2  The last byte leaves only while the lane is held, and after the intent is `sent`.
 *   S3  A create is sent once per intent; nothing retries it.
 *   S4  What is neither proven accepted nor proven refused is in doubt, keeps its reservation, and is not sent again.
 *   S5  An intent that the lake knows and this process did not just write is from before Redis was set back: it may have
 *       been sent, so it is in doubt, and nothing more is posted before the ledger was rebuilt.
 *   S6  An intent is prepared only on a ledger that the guard has compared with the lake.
 *   S7  An archive whose body cannot be made is put aside for a while, longer each time; the account does not rest for it,
 *       so the archives behind it go on.
 *   S8  Nothing of a run that the other side answers is prepared, and so nothing of a rehearsal is ever sent to the provider (G7).
 */
import { invariant, PlimsollError } from '../segments/errors.ts';
import { acceptedKey, halvedKey, intentKey, rejectedKey } from '../segments/lake.ts';
import type { LedgerGuard } from '../segments/ledger/guard.ts';
import type { ArchiveRecord, Ledger, LedgerProof } from '../segments/ledger/ledger.ts';
import { assertNever, type ArchiveId, type IntentId } from '../segments/segment.ts';
import { done, type Log, type Now, type StageHandler, type StageOutcome } from '../segments/stage.ts';
import { putDocument } from '../segments/store/document.ts';
import { readSpoolRows } from '../segments/store/spool.ts';
import type { Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';
import { makeBody } from './body.ts';
import { readBodyFault, setAside, type UnmadeBody } from './body-fault.ts';
import type { Claude, CreateOutcome } from './claude.ts';
import { OpenCalls } from './fence.ts';
import { gateBody } from './gate.ts';
import { holdLane, type HeldLane } from './lane.ts';
import { tellerOfOtherSide } from './other-account.ts';
import { partsOf } from './packer.ts';
import { refusedAccount } from './provider-fault.ts';
import { rangesOf } from './sealer.ts';

export interface SubmitterDependencies {
  readonly ledger: Ledger;
  readonly store: Store;
  readonly wake: Wake;
  readonly claude: Claude;
  /** Names this process: host, pid, boot id and start. */
  readonly owner: string;
  /** Told which creates are under way, for the fence of this process. */
  readonly calls?: OpenCalls;
  /** Proves that the ledger is not behind the lake (S6). */
  readonly guard?: LedgerGuard;
  readonly leaseMs: number;
  readonly replyTimeoutMs: number;
  /** How many requests may wait at the provider at once. */
  readonly queueRowsMax: number;
  /** After so long in line an archive goes before every other, ms. */
  readonly patienceMs?: number;
  /** How long an archive waits for the primers of its prefixes after it was sealed, ms; absent: it does not. */
  readonly primerWaitMs?: number;
  readonly pollMinMs: number;
  readonly now: Now;
  readonly log: Log;
  /** Told when the account cannot work until a person acts. */
  readonly onAccountFault: (fault: PlimsollError) => void;
}

/** The reason of a doubt that is older than this process (S5). */
const journaledBefore = 'journaled_before';
/** After a passing fault the account rests this long, doubling up to the maximum while faults go on. */
const restMs = 2_000;
/** A ledger that is behind is looked at again this seldom: only a rebuild changes that. */
const behindMs = 60_000;
const restMaxMs = 60_000;
/** So many whole-archive refusals in a row without one acceptance speak of the account, not of the archives. */
const refusalsInARowMax = 20;

/** Makes the submitter's stage; its only entity is `next`. */
export function makeSubmitter(dependencies: SubmitterDependencies): StageHandler {
  const submitter = new Submitter(dependencies);
  return { stage: 'submit', concurrency: 1, isClaimed: false, handle: async (_entity, signal, drain) => await submitter.run(signal, drain) };
}

class Submitter {
  readonly #dependencies: SubmitterDependencies;
  readonly #calls: OpenCalls;
  readonly #tellOtherSide: () => void;
  #faultsInARow = 0;
  #refusalsInARow = 0;
  /** Intents that this process has journaled and whose upload has not begun (S5). */
  readonly #unsent = new Set<IntentId>();

  constructor(dependencies: SubmitterDependencies) {
    this.#dependencies = dependencies;
    this.#calls = dependencies.calls ?? new OpenCalls();
    this.#tellOtherSide = tellerOfOtherSide(dependencies);
  }

  /** Submits until nothing is in line or something is in the way. Once a drain was asked for no other intent is prepared. */
  async run(signal: AbortSignal, drain?: AbortSignal): Promise<StageOutcome> {
    const { ledger, claude, owner, leaseMs, queueRowsMax, patienceMs, primerWaitMs, now, log } = this.#dependencies;
    while (!signal.aborted && drain?.aborted !== true) {
      const proof = await this.#prove();
      if (proof === 'behind') return { kind: 'later', atMs: now() + behindMs, why: 'ledger_behind' };
      const waits = { ...(patienceMs === undefined ? {} : { patienceMs }), ...(primerWaitMs === undefined ? {} : { primerWaitMs }) };
      const next = await ledger.prepareIntent({ account: claude.account, side: claude.side, owner, leaseMs, queueRowsMax, ...waits, proof, nowMs: now() });
      switch (next.kind) {
        case 'unproven':
          log({ level: 'warn', event: 'submit.unproven', subject: claude.account, detail: { reason: next.reason } });
          break;
        case 'prepared':
          await this.#submit(next.intent, next.archive, signal);
          break;
        case 'lane_busy': {
          const lane = await ledger.expireLane(claude.account, now());
          if (lane.kind === 'held') return { kind: 'later', atMs: lane.untilMs, why: 'lane_busy' };
          break;
        }
        case 'paused':
          return { kind: 'later', atMs: next.untilMs, why: next.reason };
        case 'awaiting_primer':
        case 'set_aside':
        case 'other_side':
          if (next.kind === 'other_side') this.#tellOtherSide();
          log({ level: 'debug', event: `submit.${next.kind}`, subject: claude.account, detail: { untilMs: next.untilMs } });
          return { kind: 'later', atMs: next.untilMs, why: next.kind };
        case 'counts_taken':
          log({ level: 'warn', event: 'submit.counts_taken', subject: claude.account, detail: { rows: next.rows, hint: 'waits for the end of a doubt: plimsoll doubts' } });
          return done;
        case 'queue_full':
        case 'nothing':
          return done;
        default:
          return assertNever(next, 'preparation');
      }
    }
    return done;
  }

  /** What the next intent may be prepared on (S6). */
  async #prove(): Promise<LedgerProof | 'behind' | undefined> {
    try {
      return await this.#dependencies.guard?.prove();
    } catch (error) {
      if (!(error instanceof PlimsollError) || error.code !== 'ledger_behind') throw error;
      this.#dependencies.onAccountFault(error);
      return 'behind';
    }
  }

  async #submit(intent: IntentId, archiveId: ArchiveId, signal: AbortSignal): Promise<void> {
    const { ledger, claude, owner, leaseMs, now } = this.#dependencies;
    const archive = await ledger.readArchive(archiveId);
    invariant(archive !== undefined && archive.bodyBytes !== undefined && archive.bodySha256 !== undefined, `${archiveId} is in line but not sealed`);
    const lane = holdLane({ ledger, account: claude.account, owner, intent, leaseMs, now, signal });
    try {
      await this.#conclude(intent, archive, await this.#calls.during(intent, async () => await this.#send(intent, archive, lane)));
    } finally {
      await lane.release();
    }
  }

  /** Steps probe to classify. Whatever fails before the upload is a refusal of this intent: nothing was sent. */
  async #send(intent: IntentId, archive: ArchiveRecord, lane: HeldLane): Promise<CreateOutcome | UnmadeBody> {
    const { ledger, store, claude, owner, guard, onAccountFault, replyTimeoutMs, now } = this.#dependencies;
    const { bodyBytes: sizeBytes, bodyGmac: gmac, bodySha256: sha256 } = archive;
    invariant(sizeBytes !== undefined && sha256 !== undefined, `${archive.archive} is not sealed`);
    const { signal } = lane;
    let chunks;
    try {
      const providerDateMs = await claude.probe(signal);
      chunks = rangesOf(await ledger.readChunks(await ledger.readArchiveChunks(archive.archive)));
      await putDocument(store, intentKey(claude.account, intent), {
        v: 1, intent, archive: archive.archive, run: archive.run, account: claude.account, owner, rows: archive.rows,
        bodyBytes: sizeBytes, bodySha256: sha256, providerDateMs, preparedAtMs: now(), side: claude.side,
      });
      this.#unsent.add(intent);
      if (!(await ledger.armIntent(intent, owner, providerDateMs, now()))) return notSent('lane_lost');
    } catch (error) {
      if (error instanceof PlimsollError && error.code === 'lake_conflict' && !this.#unsent.has(intent)) {
        if (guard) onAccountFault(await guard.condemn('an intent was prepared that the lake has known before', intentKey(claude.account, intent)));
        return { kind: 'in_doubt', reason: journaledBefore };
      }
      return this.#notReached(error);
    }
    this.#unsent.delete(intent);
    const mayLeave = async (): Promise<boolean> => {
      // Asked of the ledger, not of this process's memory: it may have slept past its lease (S2).
      if (signal.aborted || !(await ledger.sendIntent(intent, owner, now()))) return false;
      lane.keepWaiting();
      return true;
    };
    const sealed = { sizeBytes, gmac, sha256 };
    const body = gateBody(makeBody(store, archive.archive, chunks, sealed), sealed, mayLeave);
    const outcome = await claude.createBatch(body, replyTimeoutMs, signal);
    return outcome.kind === 'refused' && body.fault() !== undefined ? (readBodyFault(body.fault()) ?? this.#notReached(body.fault())) : outcome;
  }

  #notReached(error: unknown): CreateOutcome {
    if (error instanceof PlimsollError && error.code === 'credentials_refused') {
      this.#dependencies.onAccountFault(error);
      return { ...notSent('credentials_refused'), scope: 'account' };
    }
    if (error instanceof PlimsollError) {
      this.#dependencies.log({ level: 'warn', event: 'submit.not_reached', subject: error.where ?? '', detail: { code: error.code } });
      return notSent(error.code);
    }
    if (error instanceof Error && error.name === 'APIUserAbortError') return notSent('aborted');
    throw error;
  }

  async #conclude(intent: IntentId, archive: ArchiveRecord, outcome: CreateOutcome | UnmadeBody): Promise<void> {
    const { ledger, store, wake, claude, now, log, pollMinMs } = this.#dependencies;
    switch (outcome.kind) {
      case 'accepted': {
        this.#faultsInARow = 0;
        this.#refusalsInARow = 0;
        const pollAtMs = now() + pollMinMs;
        const journal = async (): Promise<unknown> => await putDocument(store, acceptedKey(claude.account, intent), { v: 1, intent, archive: archive.archive, run: archive.run, account: claude.account, batch: outcome.batch });
        const isAccepted = await ledger.acceptIntent({ intent, batch: outcome.batch, pollAtMs, nowMs: now() }).catch(async (error: unknown) => {
          // A ledger that is rebuilt takes no reply, but its rebuild reads what a reply has proven in the lake.
          if (error instanceof PlimsollError && error.code === 'ledger_behind') await journal();
          throw error;
        });
        log({ level: isAccepted ? 'info' : 'error', event: 'batch.accepted', subject: outcome.batch, detail: { archive: archive.archive, rows: archive.rows, isBound: isAccepted } });
        if (outcome.rows !== archive.rows) {
          log({ level: 'error', event: 'batch.count_differs', subject: outcome.batch, detail: { archive: archive.archive, sent: archive.rows, counted: outcome.rows } });
        }
        await wake.wake({ stage: 'track', entity: archive.archive, epoch: pollAtMs, delayMs: pollMinMs });
        await journal();
        return;
      }
      case 'in_doubt': {
        // The call has ended, so this process can send nothing more of it. Whoever sent it before a set-back is not known.
        const fencedAtMs = outcome.reason === journaledBefore ? undefined : now();
        await ledger.doubtIntent(intent, outcome.reason, now(), fencedAtMs, outcome.status === undefined ? undefined : this.#restUntilMs(outcome.retryAfterMs));
        await wake.wake({ stage: 'doubt', entity: archive.archive, epoch: now() });
        log({ level: 'error', event: 'archive.in_doubt', subject: archive.archive, detail: { intent, reason: outcome.reason } });
        return;
      }
      case 'refused':
        log({ level: 'warn', event: 'archive.refused', subject: archive.archive, detail: { intent, scope: outcome.scope, reason: outcome.reason, status: outcome.status } });
        return await this.#refuse(intent, archive, outcome);
      case 'unmade':
        return await setAside(this.#dependencies, intent, archive, outcome);
      default:
        assertNever(outcome, 'create outcome');
    }
  }

  async #refuse(intent: IntentId, archive: ArchiveRecord, refusal: Extract<CreateOutcome, { kind: 'refused' }>): Promise<void> {
    const { ledger, now, onAccountFault } = this.#dependencies;
    if (refusal.scope === 'archive') {
      this.#refusalsInARow += 1;
      if (this.#refusalsInARow < refusalsInARowMax) return await this.#divide(intent, archive, refusal.reason);
    }
    if (refusal.scope !== 'moment' && refusal.status !== undefined) onAccountFault(refusedAccount(refusal.status));
    const pauseUntilMs = this.#restUntilMs(refusal.retryAfterMs ?? (refusal.scope === 'moment' ? undefined : restMaxMs));
    await ledger.refuseIntent({ intent, reason: refusal.reason, pauseUntilMs, nowMs: now() });
  }

  /** Until when the account rests: as long as the provider asks for, else longer with each fault in a row. */
  #restUntilMs(retryAfterMs: number | undefined): number {
    this.#faultsInARow += 1;
    return this.#dependencies.now() + (retryAfterMs ?? Math.min(restMs * 2 ** (this.#faultsInARow - 1), restMaxMs));
  }

  /** The provider refuses the archive whole: halve it, down to the one row that is the cause. Refusals cost nothing. */
  async #divide(intent: IntentId, archive: ArchiveRecord, reason: string): Promise<void> {
    const { ledger, store, wake, now } = this.#dependencies;
    // The journal first: without Redis an intent that is not known to be refused would be a doubt.
    if (archive.rows === 1) {
      await putDocument(store, rejectedKey(archive.run, intent), { v: 1, intent, archive: archive.archive, run: archive.run, reason });
      if (await ledger.rejectArchive(intent, reason, now())) await wake.wake({ stage: 'settle', entity: archive.archive, epoch: 0 });
      return;
    }
    let chunks = await ledger.readArchiveChunks(archive.archive);
    if (chunks.length === 1 && chunks[0] !== undefined) {
      const record = await ledger.readChunk(chunks[0]);
      invariant(record !== undefined, `${chunks[0]} of ${archive.archive} is in the ledger`);
      const { rows } = await readSpoolRows(store, record);
      await ledger.split(record.chunk, ...partsOf(record, rows, Math.floor(rows.length / 2)), now(), intent);
      chunks = await ledger.readArchiveChunks(archive.archive);
    }
    const left = chunks.slice(0, Math.floor(chunks.length / 2));
    const document = { v: 1, intent, archive: archive.archive, run: archive.run, reason, left, right: chunks.slice(left.length) };
    await putDocument(store, halvedKey(archive.run, intent), document);
    const halves = await ledger.halveArchive(intent, left, reason, now());
    for (const half of halves) await wake.wake({ stage: 'seal', entity: half, epoch: 0 });
  }
}

function notSent(reason: string): Extract<CreateOutcome, { kind: 'refused' }> {
  return { kind: 'refused', scope: 'moment', reason: `not_sent_${reason}`, status: undefined, retryAfterMs: undefined };
}
