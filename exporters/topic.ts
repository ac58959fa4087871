/**
 * The export of one topic of an archive: its rows, in the order of the archive, into data files or error files.
 *
 * Invariants
 *   X1  Every row of the topic's chunks is written exactly once, to the results or to the errors, or is one that goes on
 *       in another archive, retried or replanned. What the outcome says decides; a row that it counts as succeeded must have a succeeded result.
 */
import type { ChunkRow } from '../segments/chunk.ts';
import { invariant, PlimsollError } from '../segments/errors.ts';
import { errorsKey, resultsKey } from '../segments/lake.ts';
import type { ArchiveChunkOutcome, ArchiveOutcome, DeadRow } from '../segments/outcome.ts';
import { addUsage, noUsage, segmentParts, totalTokens } from '../segments/segment.ts';
import { cacheSavedMicroUsd, spendFacts } from '../segments/spend.ts';
import { readSpoolRows } from '../segments/store/spool.ts';
import { urlOf, type Store } from '../segments/store/store.ts';
import type { Answers } from './answers.ts';
import { TopicSpend } from './cost.ts';
import { splice, splicedBytesMax, usageDocument, type RowEncoder, type RowSaid, type RowWords } from './encode.ts';
import { PartWriter, type ExportedPart, type PartSettings } from './files.ts';
import type { ExportedTopic, ManifestEntry } from './manifest.ts';

/** What the topics of one archive share. */
export interface ArchiveExport {
  readonly outcome: ArchiveOutcome;
  readonly answers: Answers;
  readonly encoder: RowEncoder;
  readonly fates: RowFates;
  readonly parts: PartSettings;
}

/** The topics of an archive with their chunks, in the order of their names. */
export function topicsOf(outcome: ArchiveOutcome): ReadonlyMap<string, readonly ArchiveChunkOutcome[]> {
  const topics = new Map<string, ArchiveChunkOutcome[]>();
  for (const chunk of outcome.chunks) {
    const topic = segmentParts(chunk.segment)?.topic;
    invariant(topic !== undefined, `${chunk.segment} is not the name of a segment`);
    topics.set(topic, [...(topics.get(topic) ?? []), chunk]);
  }
  return new Map([...topics].sort(([a], [b]) => (a < b ? -1 : 1)));
}

const markedFates = ['succeeded', 'retried', 'replanned', 'not_sampled'] as const;

/** What the outcome says of each row, by index. */
export class RowFates {
  /** 1 for what was retried, 2 for what goes on as part of a replan, 3 for what a replan left out. */
  readonly #marks: Uint8Array;
  readonly #dead: ReadonlyMap<number, DeadRow>;

  constructor(outcome: ArchiveOutcome) {
    this.#marks = new Uint8Array(outcome.rows);
    for (const [first, last] of outcome.retried) this.#marks.fill(1, first, last + 1);
    for (const [first, last] of outcome.replan?.replanned ?? []) this.#marks.fill(2, first, last + 1);
    for (const [first, last] of outcome.replan?.notSampled ?? []) this.#marks.fill(3, first, last + 1);
    this.#dead = new Map(outcome.dead.map((row) => [row.index, row]));
  }

  of(index: number): 'succeeded' | 'retried' | 'replanned' | 'not_sampled' | DeadRow {
    return this.#dead.get(index) ?? markedFates[this.#marks[index] ?? 0] ?? 'succeeded';
  }
}

/** Writes one topic's files to the lake. */
export async function exportTopic(shared: ArchiveExport, topic: string, chunks: readonly ArchiveChunkOutcome[]): Promise<ExportedTopic> {
  const { outcome, parts } = shared;
  const { dt, run, archive } = outcome;
  const results = new PartWriter(parts, (part) => resultsKey(dt, topic, run, archive, part));
  const errors = new PartWriter(parts, (part) => errorsKey(dt, topic, run, archive, part));
  const rows = new TopicRows(shared, new TopicSpend(topic, outcome), results, errors);
  try {
    for (const chunk of chunks) await rows.addChunk(chunk);
    const entries = [
      ...(await results.end()).map((part) => entryOf(part, topic, 'results', parts.store)),
      ...(await errors.end()).map((part) => entryOf(part, topic, 'errors', parts.store)),
    ];
    return { entries, ...rows.summary(topic, chunks) };
  } finally {
    await results.abandon();
    await errors.abandon();
  }
}

function entryOf(part: ExportedPart, topic: string, kind: 'results' | 'errors', store: Store): ManifestEntry {
  const meta = { content_length: part.sizeBytes, record_count: part.rows };
  return { url: urlOf(store, part.key), mandatory: true, meta, sha256: part.sha256, topic, kind };
}

/** Sorts the rows of a topic into its files and counts them. */
class TopicRows {
  readonly #shared: ArchiveExport;
  readonly #spend: TopicSpend;
  readonly #results: PartWriter;
  readonly #errors: PartWriter;
  #succeeded = 0;
  #retried = 0;
  #deadLettered = 0;
  #notSampled = 0;
  #replanned = 0;
  #truncated = 0;
  #refused = 0;

  constructor(shared: ArchiveExport, spend: TopicSpend, results: PartWriter, errors: PartWriter) {
    this.#shared = shared;
    this.#spend = spend;
    this.#results = results;
    this.#errors = errors;
  }

  async addChunk(chunk: ArchiveChunkOutcome): Promise<void> {
    const { rows } = await readSpoolRows(this.#shared.parts.store, chunk);
    for (const [place, row] of rows.entries()) {
      const index = chunk.firstIndex + place;
      const fate = this.#shared.fates.of(index);
      if (fate === 'retried') {
        this.#retried++;
        continue;
      }
      if (fate === 'replanned') {
        this.#replanned++;
        continue;
      }
      const writer = fate === 'succeeded' ? this.#results : this.#errors;
      const bytes = fate === 'succeeded' ? this.#addSucceeded(index, row, chunk.attempt) : fate === 'not_sampled' ? this.#encodeLeftOut(row, chunk.attempt) : this.#encodeDead(row, chunk.attempt, fate);
      if (bytes !== undefined && !writer.tryAdd(bytes)) await writer.addSlowly(bytes);
    }
  }

  /** The topic's counts; the chunks' outcomes say what the ledger has booked. */
  summary(topic: string, chunks: readonly ArchiveChunkOutcome[]): Pick<ExportedTopic, 'summary' | 'costs'> {
    const usage = chunks.reduce((sum, chunk) => addUsage(sum, chunk.usage), noUsage);
    const microUsd = chunks.reduce((sum, chunk) => sum + chunk.microUsd, 0);
    return {
      summary: {
        topic,
        succeeded: this.#succeeded,
        retried: this.#retried,
        dead_lettered: this.#deadLettered,
        not_sampled: this.#notSampled,
        replanned: this.#replanned,
        truncated: this.#truncated,
        refused: this.#refused,
        usage: usageDocument(usage),
        micro_usd: microUsd,
        standard_micro_usd: chunks.reduce((sum, chunk) => sum + chunk.standardMicroUsd, 0),
        cache_saved_micro_usd: spendFacts({ ...this.#shared.outcome, chunks }).reduce((sum, fact) => sum + cacheSavedMicroUsd(fact), 0),
      },
      costs: this.#spend.lines(totalTokens(usage), microUsd, chunks.flatMap((chunk) => chunk.spends ?? [])),
    };
  }

  /** Adds the row of an answered prompt, or returns it where there may be no room for it in the block at hand. */
  #addSucceeded(index: number, row: ChunkRow, attempt: number): Buffer | undefined {
    const { answers, encoder } = this.#shared;
    const placed = answers.placedOf(index);
    if (!placed) return this.#encodeSucceeded(index, row, attempt);
    const words = this.#wordsOf(row, attempt, placed);
    const isAdded = this.#results.tryWrite(splicedBytesMax(words, placed), (block, from) => splice(block, from, words, placed, answers));
    return isAdded ? undefined : encoder.spliced(words, placed, answers);
  }

  #encodeSucceeded(index: number, row: ChunkRow, attempt: number): Buffer {
    const { answers, encoder, outcome } = this.#shared;
    const source = answers.lineOf(index, row.sha, true);
    const model = source?.line.textOf(source.line.model);
    if (source?.line.kind !== 'succeeded' || model === undefined) {
      throw new PlimsollError('ledger_corrupt', {
        message: `row ${index} was settled as succeeded, but its result is not a succeeded one`,
        where: outcome.resultsKey ?? outcome.archive,
        hint: 'The outcome document and the results contradict each other; nothing of this archive was committed.',
      });
    }
    const said = { model, usage: source.line.usage(), stopReason: source.line.textOf(source.line.stopReason) ?? null };
    return encoder.succeeded(this.#wordsOf(row, attempt, said), source);
  }

  /** Counts an answered prompt and finds the words of its row. */
  #wordsOf(row: ChunkRow, attempt: number, said: RowSaid): RowWords {
    const { encoder, outcome } = this.#shared;
    // Both kinds of truncation end an answer early; neither is an error on the wire.
    if (said.stopReason === 'max_tokens' || said.stopReason === 'model_context_window_exceeded') this.#truncated++;
    if (said.stopReason === 'refusal') this.#refused++;
    this.#succeeded++;
    return encoder.wordsOf(row, attempt, said, this.#spend.add(said.model, said.usage, outcome.prices[said.model], row.geo === 1));
  }

  #encodeLeftOut(row: ChunkRow, attempt: number): Buffer {
    this.#notSampled++;
    return this.#shared.encoder.notSampled(row, attempt);
  }

  #encodeDead(row: ChunkRow, attempt: number, dead: DeadRow): Buffer {
    this.#deadLettered++;
    // Of two lines that contradict each other none is repeated; both are in the journal.
    const source = dead.reason === 'result_conflict' ? undefined : this.#shared.answers.lineOf(dead.index, row.sha, false);
    return this.#shared.encoder.deadLettered(row, attempt, source, dead);
  }
}
