/**
 * One run while its source is read: opened in the journal and in the ledger, fed line by line, and flushed. The loop
 * that reads the source is `producer.ts`; this is what it does with a verdict.
 */
import { isDeepStrictEqual } from 'node:util';
import { PlimsollError } from '../segments/errors.ts';
import { rejectsKey, sectionKey } from '../segments/lake.ts';
import type { Deferral } from '../segments/quota.ts';
import { behind } from '../segments/ledger/behind.ts';
import type { RunRecord } from '../segments/ledger/ledger.ts';
import type { RunKey } from '../segments/segment.ts';
import { assertSide } from '../segments/side.ts';
import { Admission } from './admission.ts';
import { answerDeferred } from './deferral.ts';
import type { Fault } from './faults.ts';
import type { Verdict } from './intake.ts';
import type { IdLog } from './id-log.ts';
import { closeJournal, journaledTerms, openJournal } from './journal.ts';
import type { RunIngestion, RunOpening } from './journal.ts';
import type { Line, LineReader } from './lines.ts';
import type { Production, ProduceRequest } from './producer.ts';
import { faultMessage, tooManyRejects } from './rejects.ts';
import type { RejectsFile } from './rejects.ts';
import { cutSha256, isBoundBroken, isGuarded } from './settings.ts';
import { countDiffers, inputDiffers } from './same-input.ts';
import type { InputGuard } from './same-input.ts';
import { isSectionEnded, putSection } from './section.ts';
import type { Section } from './section.ts';
import { Spooler } from './spooler.ts';
import { outputExpectedPermille } from './survey.ts';
import { setTierBudgets } from './tier-budgets.ts';

/** A request, and what the reading loop has made for it. */
export interface IngestRequest extends ProduceRequest {
  /** What the run calls its source. */
  readonly uri: string;
  /** The run as the ledger knew it before the source was read; undefined: it did not. */
  readonly known: RunRecord | undefined;
  /** The end of its ingest, when its source was read to the end before. */
  readonly ingestion: RunIngestion | undefined;
  readonly reader: LineReader;
  readonly guard: InputGuard;
  readonly rejects: RejectsFile;
  readonly ids: IdLog;
  /** The section behind which the reader begins; undefined: it begins with the source. */
  readonly section: Section | undefined;
  /** Clients of the run that are over their tiers, as the lake has it. */
  readonly deferrals: readonly Deferral[];
}

export class Ingest {
  readonly #request: IngestRequest;
  readonly #opening: RunOpening;
  readonly #spooler: Spooler;
  readonly #admission: Admission;
  #accepted: number;
  /** Prompts that were refused although their lines are good. */
  #refused: number;
  /** Sections that have ended. */
  #sections: number;

  /**
   * Opens the run or takes it up again.
   * @throws PlimsollError `run_config_differs`, `run_side_differs`, `run_canceled`, `run_busy`
   */
  static async open(request: IngestRequest): Promise<Ingest> {
    const { runKey, settings, side, ledger, store, installationId, known, uri, reader, now } = request;
    const cut = cutSha256(settings);
    const sectionBytes = Number.isFinite(reader.sectionBytes) ? reader.sectionBytes : undefined;
    const opening = await openJournal(store, { run: runKey, installationId, nowMs: now(), source: uri, cutSha256: cut, side, sectionBytes, terms: settings.terms });
    assertSide(runKey, opening.side, side);
    if (opening.cutSha256 !== cut) throw configDiffers(runKey);
    if (opening.sectionBytes !== sectionBytes || !isDeepStrictEqual(opening.terms, settings.terms && journaledTerms(settings.terms))) throw openedElsewhere(runKey);
    const { tag, dt } = opening;
    const reply = await ledger.openRun({ run: runKey, tag, dt, source: opening.source, cutSha256: cut, side: opening.side, nowMs: opening.openedAtMs });
    assertSide(runKey, reply.run.side, side);
    if (reply.run.cutSha256 !== cut) throw configDiffers(runKey);
    // A run without a chunk may be this very call, sent twice; two producers meet at the latest at their first chunks.
    const isOpenedElsewhere = reply.kind === 'exists' && !known && (reply.run.state !== 'ingesting' || reply.run.chunks > 0);
    if (isOpenedElsewhere) throw openedElsewhere(runKey);
    const highWater = await ledger.readHighWater(runKey);
    return new Ingest(request, opening, highWater);
  }

  private constructor(request: IngestRequest, opening: RunOpening, highWater: ReadonlyMap<string, number>) {
    const { runKey, settings, ledger, store, wake, reader, guard, section, now } = request;
    const { chunkBytesMax, chunkRowsMax, openBytesMax } = settings;
    this.#request = request;
    this.#opening = opening;
    this.#accepted = section?.accepted ?? 0;
    this.#refused = section?.refused ?? 0;
    this.#sections = section?.ordinal ?? 0;
    this.#spooler = new Spooler({
      run: runKey,
      tag: opening.tag,
      source: opening.source,
      chunkBytesMax,
      chunkRowsMax,
      openBytesMax,
      isReleased: !isGuarded(settings),
      isPriming: settings.cache?.isPriming === true,
      highWater,
      ledger,
      store,
      wake,
      now,
      position: () => reader.position(),
      gate: guard.opened,
    });
    this.#admission = new Admission({
      run: runKey, terms: settings.terms, ledger, store, highWater, deferrals: request.deferrals, tallies: section?.clients ?? {}, now,
      spool: ({ prompt, segment, isGeoPinned, paramsSha }) => this.#spooler.add(prompt, segment, isGeoPinned, paramsSha),
      refuse: async (line, found) => {
        this.#accepted -= 1;
        this.#refused += 1;
        await this.#reject(line, found);
      },
      meet: async (clients) => {
        const { tierBudgets } = settings;
        if (tierBudgets) await setTierBudgets(clients, { ledger, tierBudgets, now });
      },
    });
  }

  /**
   * Takes the verdict on one line. Returns a promise only where the reader has to wait, which it rarely has to: a promise for
   * every line would cost more than the line's way into its chunk.
   * @throws PlimsollError `input_rejected` as soon as a bound on bad rows is broken
   */
  take(line: Line, verdict: Verdict): Promise<void> | undefined {
    const { settings, rejects } = this.#request;
    if (verdict.kind === 'rejected') return this.#admission.mayRefuse ? this.#rejectInTurn(line, verdict.fault) : this.#reject(line, verdict.fault);
    this.#accepted += 1;
    // Under --strict one bad line decides; the rest is only judged, so that every bad line is listed.
    if (settings.isStrict && rejects.count > 0) return undefined;
    const { estimate, model } = verdict.prompt;
    const tokens = estimate.inputTokensExpected + Math.ceil((estimate.outputTokensMax * outputExpectedPermille) / 1000);
    const measuring = this.#admission.take(line, verdict, tokens, Math.min(estimate.tokensMax, settings.price.find(model)?.contextTokensMax ?? estimate.tokensMax));
    if (measuring) return this.#roomAfter(measuring);
    return this.#spooler.isFull ? this.#spooler.room() : undefined;
  }

  async #roomAfter(measuring: Promise<void>): Promise<void> {
    await measuring;
    if (this.#spooler.isFull) await this.#spooler.room();
  }

  /** Refuses a line behind the prompts that wait: theirs may be refused too. */
  async #rejectInTurn(line: Line, found: Fault): Promise<void> {
    await this.#admission.flush();
    await this.#reject(line, found);
  }

  async #reject(line: Line, found: Fault): Promise<void> {
    const { settings, rejects } = this.#request;
    rejects.add(line, found);
    this.#request.onReject?.(faultMessage(this.#request.uri, line, found));
    if (isBoundBroken(settings, rejects.count, this.#rows, false)) throw await this.#refusal();
  }

  /**
   * Ends a section: everything before the reader becomes durable, then the journal says so (`section.ts`).
   * @throws PlimsollError `lake_conflict`, and whatever a write failed with
   */
  async endSection(): Promise<void> {
    const { runKey, store, reader, guard, rejects, ids } = this.#request;
    this.#sections += 1;
    // Chunks wait for the guard, and the guard for more of the source: this section has ended before.
    if (!guard.isOpen) return await this.#passSection();
    await this.#admission.flush();
    await this.#spooler.flush();
    const end = { run: runKey, ordinal: this.#sections, place: reader.place(), accepted: this.#accepted, rejected: rejects.count, refused: this.#refused, clients: this.#admission.tallies, high: this.#spooler.durableRows };
    if (await isSectionEnded(store, end)) return await this.#passSection();
    await rejects.endSection(store, sectionKey(runKey, end.ordinal, 'rejects.jsonl.gz'));
    await ids.publish(store, sectionKey(runKey, end.ordinal, 'ids'));
    await putSection(store, end);
  }

  /** Goes on behind a section that is in the journal. */
  async #passSection(): Promise<void> {
    const { store, rejects, ids } = this.#request;
    await rejects.endSection(store, undefined);
    await ids.begin();
  }

  /** Makes everything durable, ends the ingest of the run and wakes the packers. */
  async finish(): Promise<Production> {
    const { runKey, settings, ledger, store, wake, reader, rejects, ingestion, now } = this.#request;
    await this.#admission.flush();
    if (isBoundBroken(settings, rejects.count, this.#rows, true)) throw await this.#refusal();
    await this.#spooler.flush();
    const { deferred } = this.#admission;
    const accepted = this.#accepted;
    const rejected = rejects.count;
    const key = rejected > 0 ? rejectsKey(this.#opening.dt, runKey) : undefined;
    if (key !== undefined) await rejects.publish(store, key);
    const input = reader.position();
    // Equal content under another etag is the same input; the journal keeps what it was called first.
    const trail = ingestion ? ingestion.trail : reader.trail.objects > 0 ? reader.trail : undefined;
    await closeJournal(store, runKey, { accepted, rejected, input, ...(trail && { trail }), ...(deferred.length > 0 ? { deferred: [...deferred] } : {}) });
    const flush = await ledger.flushRun({ run: runKey, accepted, rejected, high: this.#spooler.durableRows, input, nowMs: now() });
    const run = await ledger.readRun(runKey);
    if (flush.kind === 'canceled') throw canceled(runKey);
    if (run && flush.kind === 'mismatch') throw inputDiffers(runKey, run.checkpoint, input);
    if (run && flush.kind === 'miscount') throw countDiffers(runKey, run.accepted, accepted);
    if (run === undefined || run.state === 'ingesting') throw behind('the end of an ingest that was written at this moment is not known to the ledger', runKey);
    for (const chunk of flush.queued) await wake.enqueueChunk(chunk.segment, chunk.chunk, chunk.epoch);
    await wake.wake({ stage: 'pack', entity: 'all', epoch: now() });
    // Without a single good line there is nothing to pack, and the run's manifest can be written at once.
    if (accepted === 0) await wake.wake({ stage: 'gather', entity: runKey, epoch: 0 });
    return { run, accepted, rejected, rejectsKey: key, deferred: await answerDeferred(deferred, ledger, settings, false), isNew: this.#spooler.added > 0 || flush.kind === 'flushed' };
  }

  /** Resolves when no write is under way any more. */
  async settle(): Promise<void> {
    await this.#admission.settle();
    await this.#spooler.settle();
  }

  /** Lines that were judged. */
  get #rows(): number {
    return this.#accepted + this.#request.rejects.count;
  }

  async #refusal(): Promise<PlimsollError> {
    const { rejects, uri, runKey } = this.#request;
    return await tooManyRejects(rejects, this.#rows, uri, `nothing of the run ${runKey} was sent`);
  }
}

/** The error for a run that an operator has canceled. */
export function canceled(run: RunKey): PlimsollError {
  return new PlimsollError('run_canceled', {
    message: `the run ${run} was canceled, so nothing more is added to it`,
    where: run,
    hint: `Send what it left: plimsoll retry ${run}; or use another run key to begin again.`,
  });
}

function configDiffers(run: RunKey): PlimsollError {
  return new PlimsollError('run_config_differs', {
    message: `the run ${run} was begun under other settings, which would put its rows into other segments`,
    where: run,
    hint: 'Context classes, defaults (--topic, --priority, --model, --max-tokens), prices and API version must be the same; or use another run key.',
  });
}

function openedElsewhere(run: RunKey): PlimsollError {
  return new PlimsollError('run_busy', {
    message: `another producer has opened the run ${run} at the same moment`,
    where: run,
    hint: 'Let the other one finish; the same command then reports what it did.',
  });
}
