/** Builders of what a lake says of one run: one segment and client, chunks of given sizes, archives of whole chunks. */
import type { RunEvidence } from '../segments/derive.ts';
import type { SpooledObject } from '../segments/derive-rows.ts';
import type { AcceptedDocument, IntentDocument, SealedArchive, SealedChunkRange } from '../segments/journal.ts';
import type { ArchiveOutcome } from '../segments/outcome.ts';
import type { ReplanDocument } from '../segments/replan-document.ts';
import { archiveId } from '../segments/pack.ts';
import { chunkId, intentId, noUsage, retryChunkId, type BatchId, type ChunkId, type RunKey, type SegmentName } from '../segments/segment.ts';

export const tag = '0000000abc';
export const run = 'lost' as RunKey;
export const segment = 'invoices.8k.normal' as SegmentName;
export const account = 'acct';
/** Bounds of one row. */
const per = { bytes: 100, tokens: 10, microUsd: 20 };

/** An object of the spool that covers the source rows `first..last`, all of one segment and client. */
export function spooled(first: number, last: number, given: { readonly previousRow?: number; readonly lines?: boolean; readonly attempt?: number; readonly chunk?: ChunkId; readonly prefix?: string } = {}): SpooledObject {
  const rows = last - first + 1;
  const chunk = given.chunk ?? chunkId(tag, segment, first, last);
  return {
    key: `spool/${run}/${chunk}.chunk`,
    footer: {
      v: 1, chunk, run, segment, client: 'etl', ...(given.prefix === undefined ? {} : { prefix: given.prefix }), attempt: given.attempt ?? 1, source: 'docs.jsonl', previousRow: given.previousRow ?? first - 1, rows, firstRow: first, lastRow: last,
      paramsBytes: rows * per.bytes, indexBytes: rows * 200, tokensExpected: rows * 5, tokensMax: rows * per.tokens, microUsdMax: rows * per.microUsd,
    },
    ...(given.lines ? { sourceRows: Array.from({ length: rows }, (_, index) => first + index) } : {}),
  };
}

/** A run that was read to its end, its rows spooled in chunks of these sizes one after the other. */
export function runEvidence(given: { readonly rows: readonly number[]; readonly spool?: readonly SpooledObject[] }): RunEvidence {
  let first = 1;
  const spool = given.spool ?? given.rows.map((rows) => {
    const object = spooled(first, first + rows - 1);
    first += rows;
    return object;
  });
  const accepted = given.rows.reduce((sum, rows) => sum + rows, 0);
  return {
    opening: { run, tag, dt: '2026-11-21', openedAtMs: 1_000, source: 'docs.jsonl', cutSha256: 'cut' },
    ingestion: { accepted, rejected: 0, input: { bytes: 10, rows: accepted, sha256: 'ab' } },
    isCanceled: false, spool, sealed: [], intents: [], accepted: [], halved: [], rejected: [], forgone: [], outcomes: [], exported: new Set(), replans: [], completion: undefined, isComplete: false,
  };
}

/** A sealed archive of parts of spool objects: whole ones by their place, or `[place, from, to]`. */
export function sealedOf(evidence: RunEvidence, ordinal: number, parts: readonly (number | readonly [number, number, number])[]): SealedArchive {
  let rows = 0;
  const chunks = parts.map((part): SealedChunkRange => {
    const place = typeof part === 'number' ? part : part[0];
    const object = evidence.spool[place];
    if (!object) throw new Error(`the spool has no object ${place}`);
    const { footer, key } = object;
    const [from, to] = typeof part === 'number' ? [0, footer.rows - 1] : [part[1], part[2]];
    const size = to - from + 1;
    const isWhole = size === footer.rows;
    const range = {
      chunk: (isWhole ? footer.chunk : `${footer.chunk}.${from}-${to}`) as ChunkId, segment: footer.segment, client: footer.client, attempt: footer.attempt, spoolKey: key,
      spoolRows: footer.rows, spoolParamsBytes: footer.paramsBytes, spoolIndexBytes: footer.indexBytes, from, to, firstIndex: rows,
      tokensMax: size * per.tokens, microUsdMax: size * per.microUsd, accounts: ['all@total', 'topic:invoices@1d=0'],
    };
    rows += size;
    return range;
  });
  return { v: 1, archive: archiveId(tag, ordinal), run, dt: '2026-11-21', priority: 'normal', rows, bodyBytes: 1_000, bodySha256: 'cd', chunks };
}

export function intentOf(evidence: RunEvidence, archive: number, ordinal: number): IntentDocument {
  const id = archiveId(tag, archive);
  return { intent: intentId(id, ordinal), archive: id, run: evidence.opening.run, account, owner: 'host/1', rows: 4, bodyBytes: 1_000, providerDateMs: 2_000, preparedAtMs: 2_100 };
}

export function acceptedOf(evidence: RunEvidence, archive: number, ordinal: number): AcceptedDocument {
  const { intent, archive: id, run: key } = intentOf(evidence, archive, ordinal);
  return { intent, archive: id, run: key, account, batch: `msgbatch_${id.replaceAll('-', '')}` as BatchId };
}

/** An outcome in which the first `retried` rows of each chunk went round again, and every other row took 3 tokens for 7 micro-USD. */
export function outcomeOf(sealed: SealedArchive, retried = 0): ArchiveOutcome {
  return {
    v: 1, archive: sealed.archive, run, dt: sealed.dt, account, batch: 'msgbatch_00000001' as BatchId, rows: sealed.rows, resultsKey: 'r', resultsBytes: 1, resultsSha256: 'r',
    acceptedAtMs: 1_000, submittedAtMs: 2_100, endedAtMs: 3_000, source: 'docs.jsonl', priceVersion: 'p', prices: {},
    chunks: sealed.chunks.map(({ tokensMax: _tokens, microUsdMax: _money, ...range }) => {
      const succeeded = range.to - range.from + 1 - retried;
      return { ...range, succeeded, retried, deadLettered: 0, usage: { ...noUsage, inputTokens: succeeded * 3 }, microUsd: succeeded * 7, standardMicroUsd: succeeded * 14, overBound: 0 };
    }),
    retried: retried === 0 ? [] : sealed.chunks.map((range): readonly [number, number] => [range.firstIndex, range.firstIndex + retried - 1]),
    dead: [],
  };
}

/** The object that carries the retried rows of an archive. */
export function retrySpooled(archive: number, rows: number): SpooledObject {
  return spooled(1, rows, { attempt: 2, chunk: `${retryChunkId(archiveId(tag, archive), segment, 2)}.p0` as ChunkId });
}

/** A replan of a part `[place, from, to]` of a spool object: the first rows of it, as many as `successor` has, go on. */
export function replanOf(evidence: RunEvidence, [place, from, to]: readonly [number, number, number], successor: SpooledObject | undefined): ReplanDocument {
  const object = evidence.spool[place];
  if (!object) throw new Error(`the spool has no object ${place}`);
  const { footer, key } = object;
  const chunk = (to - from + 1 === footer.rows ? footer.chunk : `${footer.chunk}.${from}-${to}`) as ChunkId;
  return {
    v: 1, replan: `${segment}.${place}0aa`, segment, by: 'ada', reason: 'a trend is enough', decidedAtMs: 5_000 + place, option: { sample: { rows: successor?.footer.rows ?? 0 } }, priceVersion: 'p',
    chunks: [{
      chunk, run, client: footer.client, attempt: footer.attempt, spoolKey: key, spoolRows: footer.rows, spoolParamsBytes: footer.paramsBytes, spoolIndexBytes: footer.indexBytes, from, to,
      kept: successor ? [[0, successor.footer.rows - 1]] : [],
      ...(successor ? { successor: { footer: successor.footer, spoolKey: successor.key } } : {}),
    }],
  };
}

/** What the settlement of a replan says: its rows are left out but for those that go on. */
export function replanOutcomeOf({ replan, chunks }: ReplanDocument, archive: number): ArchiveOutcome {
  let first = 0;
  const parts = chunks.map(({ successor, kept: _kept, run: _run, ...place }) => {
    const rows = place.to - place.from + 1;
    const replanned = successor?.footer.rows ?? 0;
    const part = { ...place, segment, firstIndex: first, replanned, notSampled: rows - replanned, successor };
    first += rows;
    return part;
  });
  const nothing = { succeeded: 0, retried: 0, deadLettered: 0, usage: noUsage, microUsd: 0, standardMicroUsd: 0, overBound: 0, accounts: [] };
  return {
    v: 1, archive: archiveId(tag, archive), run, dt: '2026-11-21', account: null, batch: null, rows: first, resultsKey: null, resultsBytes: 0, resultsSha256: '',
    acceptedAtMs: 1_000, submittedAtMs: null, endedAtMs: 6_000, source: 'docs.jsonl', priceVersion: 'p', prices: {}, retried: [], dead: [],
    chunks: parts.map(({ successor: _successor, ...part }) => ({ ...part, ...nothing })),
    replan: {
      replan,
      replanned: parts.filter((part) => part.replanned > 0).map((part): readonly [number, number] => [part.firstIndex, part.firstIndex + part.replanned - 1]),
      notSampled: parts.filter((part) => part.notSampled > 0).map((part): readonly [number, number] => [part.firstIndex + part.replanned, part.firstIndex + part.to - part.from]),
      chunks: parts.flatMap((part) => part.successor?.footer.chunk ?? []),
    },
  };
}
