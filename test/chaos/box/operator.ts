/**
 * The people of a schedule: limits, holds, a cancellation, and decisions on doubts that nobody else may end, giving them up included. They call
 * the ledger as the verbs of the CLI do, and they know what they do: they look into the provider's books.
 */
import { parseCustomId } from '../../../segments/pack.ts';
import { PlimsollError } from '../../../segments/errors.ts';
import type { ArchiveRecord, RunRecord } from '../../../segments/ledger/ledger.ts';
import { applyReplan, finishReplans, readHeld, readUnfinished, type ReplanningDependencies } from '../../../segments/ledger/replanning.ts';
import type { IntentId, SegmentName } from '../../../segments/segment.ts';
import { journalBudget, journalCancellation, journalHold } from '../../../segments/store/decisions.ts';
import { forgo } from '../../../workers/forgo.ts';
import { findModel, landingWaitMs, priceVersion, type World } from './crew.ts';
import { withFaults } from './ports.ts';

const limited = 'topic:a';
/** So often a replan that was killed is given again. */
const handsMax = 12;

export class Operator {
  readonly #world: World;
  #isRoomMade = false;
  #heldUntil: number | undefined;
  #seen: RunRecord | undefined;
  #replans: 'not begun' | 'begun' | 'done' = 'not begun';
  #hands = 0;
  #forgoings = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** What they see of the run at the end of a round. */
  see(record: RunRecord | undefined): void {
    this.#seen = record;
  }

  async begin(): Promise<void> {
    const { rig, ledger, clock } = this.#world;
    if (rig.limit) await ledger.setBudget({ target: limited, ...rig.limit, window: 'total' }, 'config', clock.nowMs);
  }

  /** What they do in a round, apart from faults. */
  async act(round: number): Promise<void> {
    const { rig, ledger, store, run, clock } = this.#world;
    const isOpened = this.#seen !== undefined;
    if (rig.hold?.round === round && isOpened) {
      this.#heldUntil = round + rig.hold.rounds;
      await journalHold(store, { kind: 'run', run }, true, clock.nowMs);
      await ledger.hold({ kind: 'run', run }, clock.nowMs);
    }
    if (this.#heldUntil !== undefined && round >= this.#heldUntil) {
      this.#heldUntil = undefined;
      await journalHold(store, { kind: 'run', run }, false, clock.nowMs);
      await ledger.resume({ kind: 'run', run }, clock.nowMs);
    }
    if (rig.replan && this.#replans !== 'done' && (this.#seen?.rowsHeld ?? 0) > 0 && this.#hands < handsMax) this.#startReplan();
    if (rig.cancelRound !== undefined && round >= rig.cancelRound && isOpened) await this.#cancel();
    if ((this.#seen?.archivesInDoubt ?? 0) > 0 && (rig.isRemote || this.#isDecider(round))) await this.#decideDoubts();
  }

  /** Nothing moves any more: what is left is held or in doubt. */
  async isStill(record: RunRecord): Promise<boolean> {
    const { ledger, run } = this.#world;
    const archives = await Promise.all((await ledger.listArchives(run)).map(async (id) => await ledger.readArchive(id)));
    return archives.every((archive) => archive && ['in_doubt', 'exported', 'canceled'].includes(archive.state)) && record.chunksOpen > 0;
  }

  /** Raises the limit that keeps work back, or waits for what goes on by itself; false: that is not what it waits for. */
  async makeRoom(): Promise<boolean> {
    const { rig, ledger, clock } = this.#world;
    const record = this.#seen;
    if ((record?.archivesInDoubt ?? 0) > 0 || this.#heldUntil !== undefined) return true;
    // What could not be read is tried again after a minute or more, whatever has come back since.
    if (rig.misplaced && (await ledger.listStops(clock.nowMs)).some(({ reason }) => reason === 'spool_unreadable')) return true;
    if (!rig.limit || (record?.rowsHeld ?? 0) === 0 || this.#isRoomMade) return false;
    await this.#raise();
    return true;
  }

  /** `plimsoll replan --apply` as a process of its own, which may be killed; the next one goes on with what it has decided. */
  #startReplan(): void {
    const { turns } = this.#world;
    this.#hands += 1;
    const name = `operator-${this.#hands}`;
    turns.start(name, async () => {
      try {
        await this.#replan(name);
        this.#replans = 'done';
      } catch (error) {
        if (!(error instanceof PlimsollError)) throw error;
      }
    }, this.#world.onDefect);
  }

  async #replan(name: string): Promise<void> {
    const { rig, clock, wake } = this.#world;
    const faults = this.#world.faultsOf(name);
    const ledger = withFaults(this.#world.ledger, 'ledger', faults);
    const store = withFaults(this.#world.store, 'store', faults);
    const replanChunks: ReplanningDependencies['ledger']['replanChunks'] = async (request) => {
      if (rig.replan?.isRaised) await this.#raise();
      return await ledger.replanChunks(request);
    };
    const dependencies: ReplanningDependencies = {
      store, find: findModel, priceVersion, archiveRowsMax: rig.limits.rowsMax, faultOf: () => undefined, now: () => clock.nowMs,
      ledger: { listHeld: async (segment) => await ledger.listHeld(segment), readChunks: async (ids) => await ledger.readChunks(ids), readRun: async (run) => await ledger.readRun(run), replanChunks },
    };
    for (const segment of ['a.8k.high', 'a.8k.normal'] as SegmentName[]) {
      const done = [...(await finishReplans(dependencies, await readUnfinished(dependencies, segment)))];
      const held = await readHeld(dependencies, segment);
      if (held.chunks.length > 0 && done.length === 0 && this.#replans === 'not begun') {
        done.push(await applyReplan(dependencies, held, { option: { sample: { percent: rig.replan?.percent ?? 0 }, maxTokens: 8 }, by: 'ada', reason: 'a sample is enough' }));
      }
      for (const { archives } of done) for (const archive of archives) await wake.wake({ stage: 'settle', entity: archive, epoch: clock.nowMs });
    }
  }

  /** `plimsoll doubts forgo` as a process of its own, which may be killed; the adopter goes on with what it has written down. */
  #startForgoing(archive: ArchiveRecord, intent: IntentId): void {
    const { turns, clock, wake } = this.#world;
    if (this.#forgoings >= handsMax) return;
    this.#forgoings += 1;
    const name = `forgoer-${this.#forgoings}`;
    const faults = this.#world.faultsOf(name);
    const dependencies = { ledger: withFaults(this.#world.ledger, 'ledger', faults), store: withFaults(this.#world.store, 'store', faults), wake, now: () => clock.nowMs, log: () => undefined };
    turns.start(name, async () => {
      try {
        await forgo(dependencies, archive, intent, 'ada', 'nobody can prove it');
      } catch (error) {
        if (!(error instanceof PlimsollError)) throw error;
      }
    }, this.#world.onDefect);
  }

  /** Makes the limit one that nothing meets. */
  async #raise(): Promise<void> {
    const { rig, ledger, store, clock } = this.#world;
    if (!rig.limit || this.#isRoomMade) return;
    this.#isRoomMade = true;
    const budget = { target: limited, tokens: rig.limit.tokens === undefined ? undefined : 1e12, microUsd: rig.limit.microUsd === undefined ? undefined : 1e12, window: 'total' };
    await journalBudget(store, budget, clock.nowMs);
    await ledger.setBudget(budget, 'operator', clock.nowMs);
    await ledger.resumeHeld(clock.nowMs);
  }

  /** As `plimsoll cancel` does. */
  async #cancel(): Promise<void> {
    const { rig, ledger, store, run, clock, wake } = this.#world;
    const state = this.#seen?.state;
    if (state === 'canceling' || state === 'canceled' || state === 'complete') return;
    await journalCancellation(store, run);
    const canceled = await ledger.cancelRun(run, rig.limits.rowsMax, clock.nowMs);
    for (const archive of canceled.settle) await wake.wake({ stage: 'settle', entity: archive, epoch: clock.nowMs });
    for (const archive of canceled.track) await wake.wake({ stage: 'track', entity: archive, epoch: clock.nowMs });
    await wake.wake({ stage: 'gather', entity: run, epoch: clock.nowMs });
  }

  #isDecider(round: number): boolean {
    return this.#world.rig.rows % 7 === 0 && round % 5 === 4;
  }

  /** As `plimsoll doubts` does: a batch is adopted, its absence is stated only when its sender has ended and nothing can land. */
  async #decideDoubts(): Promise<void> {
    const { rig, ledger, provider, clock, turns, wake } = this.#world;
    for (const id of await ledger.listDoubts()) {
      const archive = await ledger.readArchive(id);
      const intent = archive?.intent === undefined ? undefined : await ledger.readIntent(archive.intent);
      if (!archive || !intent) continue;
      const own = provider.accepted.find((batch) => !batch.isForeign && !batch.isAgainstReply && parseCustomId(batch.customIds[0] ?? '')?.archive === id);
      if (rig.decidesLate && intent.state !== 'held') continue;
      // Some look first whether its batch is to be seen, and some have no patience for that.
      if (rig.forgoes && (rig.rows % 2 === 0 || own === undefined || own.visibleAtMs > clock.nowMs)) {
        this.#startForgoing(archive, intent.intent);
        continue;
      }
      if (own && own.visibleAtMs <= clock.nowMs) {
        if (await ledger.acceptIntent({ intent: intent.intent, batch: own.id, pollAtMs: clock.nowMs, nowMs: clock.nowMs })) await wake.wake({ stage: 'track', entity: id, epoch: clock.nowMs });
        continue;
      }
      if (intent.state !== 'held') {
        await ledger.holdIntent(intent.intent, 'operator', clock.nowMs);
        continue;
      }
      const isSenderGone = turns.dead.has(intent.owner) || !provider.uploading.has(intent.owner);
      const isWaited = clock.nowMs >= (intent.doubt?.sinceMs ?? clock.nowMs) + landingWaitMs;
      if (own === undefined && isSenderGone && isWaited && (await ledger.absolveIntent({ intent: intent.intent, by: 'operator', reason: 'operator', scansMin: 3, landingWaitMs: 0, nowMs: clock.nowMs }))) await wake.wake({ stage: 'submit', entity: 'next', epoch: clock.nowMs });
    }
  }
}
