/**
 * The way in. A producer reads a source as a stream, judges every line, gathers the good ones into chunks and the bad
 * ones into a rejects file, and acknowledges only what is durable. The same run key may be started again at any time: a
 * finished run costs nothing, an interrupted one goes on where its durable chunks end.
 *
 * It owns the source and the open chunks; the spooler owns the writes, the ledger owns the truth about what is durable.
 *
 * Invariants
 *   A1  A prompt is acknowledged when its chunk is in the ledger, never earlier.
 *   A2  A run takes exactly one input: before anything is added to an existing run, the digest of what was read for it
 *       is compared with the source at hand.
 *   A3  Under a bound on bad lines nothing is released before the whole source was judged; a file is judged before the
 *       run is opened, so that a refused file leaves its run key free for the mended one.
 *   A4  A run is read in sections, and a restart begins behind the last one that is durable (`section.ts`).
 *   A5  When `produce` returns or throws, no write of its own is under way, and no thread of its own runs.
 */
import { PlimsollError } from '../segments/errors.ts';
import type { Ledger, RunRecord } from '../segments/ledger/ledger.ts';
import { rejectsKey } from '../segments/lake.ts';
import { termsWith, type Terms } from '../segments/quota.ts';
import type { RunKey } from '../segments/segment.ts';
import { assertSide, type Side } from '../segments/side.ts';
import { readDeferrals } from '../segments/store/evidence.ts';
import type { Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';
import { answerDeferred, type Deferred } from './deferral.ts';
import { inputDiffers, InputGuard, readDigest } from './same-input.ts';
import { IdLog } from './id-log.ts';
import { canceled, Ingest } from './ingest.ts';
import { asideOf, Intake } from './intake.ts';
import type { JudgedLine } from './intake.ts';
import { LineReader } from './lines.ts';
import { readIngestion, readOpening } from './journal.ts';
import { RejectsFile, tooManyRejects } from './rejects.ts';
import { isTrail, Resumption } from './resumption.ts';
import { readLastSection } from './section.ts';
import { SeenIds } from './seen-ids.ts';
import { intakeRules, isBoundBroken, isGuarded, sectionBytes } from './settings.ts';
import type { ProducerSettings } from './settings.ts';
import { readSource, sourceUri } from './source.ts';
import type { SourceLocation } from './source.ts';
import { emptySource, judgeSource } from './survey.ts';

export type { BadRowsBound, ProducerSettings } from './settings.ts';
export type { Deferred } from './deferral.ts';
export type { SourceLocation } from './source.ts';
export type { SegmentSurvey, Survey } from './survey.ts';
export type { ClientSurvey } from './client-survey.ts';
export { survey } from './survey.ts';

/** What became of one call. */
export interface Production {
  readonly run: RunRecord;
  readonly accepted: number;
  readonly rejected: number;
  /** Where the rejects file is in the lake; undefined when no line was refused. */
  readonly rejectsKey: string | undefined;
  /** Clients that were over their tiers, and what they are told; empty where none was. */
  readonly deferred: readonly Deferred[];
  /** Whether this call ingested anything, rather than find a run that was ingested before. */
  readonly isNew: boolean;
}

export interface ProduceRequest {
  readonly runKey: RunKey;
  readonly source: SourceLocation;
  readonly settings: ProducerSettings;
  /** Who answers the run, where the caller works it too; undefined: whoever works it first decides. */
  readonly side?: Side | undefined;
  readonly ledger: Ledger;
  readonly store: Store;
  readonly wake: Wake;
  readonly installationId: string;
  readonly now: () => number;
  readonly signal: AbortSignal;
  /** Called for every refused line with `file:line[:column]: problem`, as it stands in the rejects file. */
  readonly onReject?: (message: string) => void;
  /** Called after every block of the source and at its end. Rows and bytes are what was read; rejects may lag behind. Bytes are those of the decompressed source. */
  readonly onProgress?: (progress: { readonly rows: number; readonly rejected: number; readonly bytes: number }) => void;
}

/**
 * Ingests a source as a run, or finds that it was ingested.
 * @throws PlimsollError `source_unreadable`, `source_damaged`, `input_rejected`, `run_input_differs`,
 *   `run_config_differs`, `run_side_differs`, `run_busy`, `run_canceled`, and what the store and the ledger raise; the signal's reason when
 *   it is aborted. Whatever is thrown, the chunks that are durable stay, and the same call goes on from there.
 */
export async function produce(given: ProduceRequest): Promise<Production> {
  const { runKey, source, ledger, store, signal } = given;
  const known = await ledger.readRun(runKey);
  assertSide(runKey, known?.side, given.side);
  if (known?.state === 'canceled' || known?.state === 'canceling') throw canceled(runKey);
  if (known && known.state !== 'ingesting') return await findFinished(given, known);
  // A run keeps the name, the sections and the terms that it was opened with, whatever they would be now.
  const opening = await readOpening(store, runKey);
  const settings: ProducerSettings = { ...given.settings, terms: opening ? opening.terms : await termsNow(given) };
  const request: ProduceRequest = { ...given, settings };
  // A resumed run has passed the check before it was opened; its own bound still holds at the end.
  if (!known && isGuarded(settings) && (source.kind === 'file' || source.kind === 'objects')) await checkSource(request);

  const uri = opening?.source ?? sourceUri(source);
  const reader = new LineReader(settings.lineBytesMax, opening ? opening.sectionBytes : (settings.sectionBytes ?? sectionBytes));
  const section = known && opening?.sectionBytes !== undefined ? await readLastSection(store, runKey, await ledger.readHighWater(runKey)) : undefined;
  const ingestion = await readIngestion(store, runKey);
  const deferrals = opening?.terms ? await readDeferrals(store, runKey) : [];
  const resumption = section && new Resumption(runKey, reader, section);
  const start = resumption ? await resumption.begin(source) : { source, skipBytes: 0 };
  const guard = new InputGuard(runKey, reader, known?.checkpoint, ingestion?.input, section?.place.bytes);
  const rejects = new RejectsFile(runKey, uri, settings.scratchDirectory);
  const ids = new IdLog(runKey, settings.scratchDirectory);
  const seen = new SeenIds(ids);
  const intake = new Intake(uri, intakeRules(settings), seen, asideOf(source, true));
  let ingest: Ingest | undefined;
  const openRun = async (): Promise<Ingest> => await Ingest.open({ ...request, uri, known, ingestion, reader, guard, rejects, ids, section, deferrals });
  const tellProgress = (): void => request.onProgress?.({ rows: reader.rows, rejected: rejects.count, bytes: reader.bytes });
  // The run is opened by its first line, so that an empty source opens none.
  const takeFirst = async ({ line, verdict }: JudgedLine): Promise<void> => {
    ingest = await openRun();
    await ingest.take(line, verdict);
  };
  const takeAll = async (judged: AsyncIterable<Iterable<JudgedLine>>): Promise<void> => {
    for await (const lines of judged) {
      for (const each of lines) {
        const taken = ingest ? ingest.take(each.line, each.verdict) : takeFirst(each);
        if (taken) await taken;
      }
    }
  };
  try {
    if (section) {
      ingest = await openRun();
      for (const key of section.idsKeys) await seen.load(store.read(key));
      await rejects.restore(store, section.rejectsKeys, section.rejected);
    }
    for await (const block of readSource(start.source, settings.expansionMax, signal, (object) => reader.begin(object), start.skipBytes)) {
      signal.throwIfAborted();
      for (const part of reader.parts(block)) {
        reader.hash(part);
        guard.check();
        if (resumption?.isBefore()) continue;
        await takeAll(intake.verdicts(reader.cut(part)));
        if (!reader.isAtSectionEnd) continue;
        await takeAll(intake.rest());
        await ingest?.endSection();
        intake.beginSection();
      }
      tellProgress();
    }
    resumption?.end();
    await takeAll(intake.verdicts(reader.end()));
    await takeAll(intake.rest());
    tellProgress();
    guard.end();
    if (!ingest) throw emptySource(sourceUri(source));
    return await ingest.finish();
  } catch (error) {
    guard.abandon(error);
    throw error;
  } finally {
    await intake.close();
    await ingest?.settle();
    await rejects.discard();
    await ids.discard();
  }
}

/** Compares the source with the input that a finished run has taken (A2); objects that are the same need not be read for it. */
async function findFinished(request: ProduceRequest, run: RunRecord): Promise<Production> {
  const { source, settings, ledger, store, signal } = request;
  const ingestion = await readIngestion(store, run.run);
  const trail = source.kind === 'objects' ? ingestion?.trail : undefined;
  if (!(trail && source.kind === 'objects' && (await isTrail(source.objects(), trail)))) {
    const found = await readDigest(source, settings, signal, (await readOpening(store, run.run))?.sectionBytes);
    if (found.bytes !== run.checkpoint.bytes || found.sha256 !== run.checkpoint.sha256) throw inputDiffers(run.run, run.checkpoint, found);
  }
  return {
    run,
    accepted: run.accepted,
    rejected: run.rejected,
    rejectsKey: run.rejected > 0 ? rejectsKey(run.dt, run.run) : undefined,
    deferred: await answerDeferred(ingestion?.deferred ?? [], ledger, settings, run.state !== 'open'),
    isNew: false,
  };
}

/** What tiers let clients hand in with a run that is opened now. @throws PlimsollError `tier_unknown` */
async function termsNow({ settings, ledger }: ProduceRequest): Promise<Terms | undefined> {
  return termsUnder(settings.terms, await ledger.readTiers());
}

/** The terms of the settings with the words of operators over them. @throws PlimsollError `tier_unknown` */
export function termsUnder(terms: Terms | undefined, assigned: readonly { readonly client: string; readonly tier: string | null }[]): Terms | undefined {
  for (const { client, tier } of assigned) {
    if (tier === null || (terms && Object.hasOwn(terms.tiers, tier))) continue;
    throw new PlimsollError('tier_unknown', {
      message: `an operator has put the client ${client} into the tier ${tier}, which the configuration at hand does not have`,
      where: `tiers.${tier}`,
      hint: `Define it, so that everybody who takes prompts in knows the same tiers; or move the client: plimsoll quota set ${client} --tier TIER`,
    });
  }
  return termsWith(terms, new Map(assigned.map(({ client, tier }) => [client, tier])));
}

/** Judges a file before its run is opened (A3). @throws PlimsollError `input_rejected` */
async function checkSource(request: ProduceRequest): Promise<void> {
  const { runKey, source, settings, signal } = request;
  const uri = sourceUri(source);
  const rejects = new RejectsFile(runKey, uri, settings.scratchDirectory);
  let rows = 0;
  try {
    await judgeSource(source, settings, signal, (line, verdict) => {
      rows += 1;
      if (verdict.kind === 'rejected') rejects.add(line, verdict.fault);
    });
    if (isBoundBroken(settings, rejects.count, rows, true)) throw await tooManyRejects(rejects, rows, uri, 'no run was opened');
  } finally {
    await rejects.discard();
  }
}

