/**
 * Decides what became of each row of an archive. Pure: from recorded results, index and times to an outcome, so that a
 * rerun after a crash decides the same (O2). The index of one chunk at a time is in hand, so that memory does not
 * grow with the archive.
 */
import { accountCohortOf } from '../segments/account-cohort.ts';
import { samplesOf, type RowConsumption } from '../segments/calibration.ts';
import type { ChunkRow } from '../segments/chunk.ts';
import { invariant } from '../segments/errors.ts';
import { resultLinesKey } from '../segments/lake.ts';
import type { ArchiveRecord, RunRecord } from '../segments/ledger/ledger.ts';
import { rangesOfIndexes, sizeOfRanges, type ArchiveChunkOutcome, type ArchiveOutcome, type DeadLetterReason, type ReplanOutcome, type RowVerdict } from '../segments/outcome.ts';
import { microUsdUp, rowFemtoUsd, rowMicroUsd, type ModelPrice } from '../segments/price.ts';
import type { ResultsCheck } from '../segments/results.ts';
import { keptMask, replannedIn, type ReplanDocument } from '../segments/replan-document.ts';
import { addUsage, assertNever, noUsage, roundOf, totalTokens, type Usage } from '../segments/segment.ts';
import { SpendTally } from '../segments/spend.ts';
import type { SealedChunkRange } from './sealer.ts';

export interface JudgeInput {
  readonly archive: ArchiveRecord;
  readonly run: RunRecord;
  /** undefined: the archive has no batch: it was rejected whole, never sent, or given up in doubt. */
  readonly results: ResultsCheck | undefined;
  /** What an operator made of the archive's chunks; undefined: the archive was sent, or was to be. */
  readonly replan?: ReplanDocument | undefined;
  readonly attemptsMax: number;
  /** How often a row may go round for a fault of the account before it is a dead letter. */
  readonly accountRoundsMax: number;
  readonly priceOf: (model: string) => ModelPrice | undefined;
  readonly priceVersion: string;
}

type Fate = { readonly kind: 'succeeded'; readonly usage: Usage; readonly model: string } | { readonly kind: 'retry' | 'rest' | 'replanned' | 'not_sampled' } | { readonly kind: 'dead'; readonly reason: DeadLetterReason; readonly errorType: string | undefined };

/** Of these nobody knows whether they were billed, so they count as spent at their bounds. */
const mayBeBilled: ReadonlySet<DeadLetterReason> = new Set(['result_missing', 'result_conflict', 'submission_in_doubt']);

/** Judges an archive chunk by chunk, in the order of the archive. */
export class Judge {
  readonly #input: JudgeInput;
  readonly #ranges: SealedChunkRange[] = [];
  readonly #chunks: ArchiveChunkOutcome[] = [];
  readonly #dead: { index: number; reason: DeadLetterReason; errorType: string | null }[] = [];
  readonly #retried: number[] = [];
  readonly #rested: number[] = [];
  readonly #isOfCohort: (index: number) => boolean;
  readonly #replanned: number[] = [];
  readonly #notSampled: number[] = [];
  readonly #prices = new Map<string, ModelPrice>();

  constructor(input: JudgeInput) {
    this.#input = input;
    this.#isOfCohort = input.results ? accountCohortOf(input.results.index) : () => false;
  }

  /** Judges the next chunk. `rows`: the index lines of its range, in order. @throws RangeError when one is missing */
  add(range: SealedChunkRange, rows: readonly ChunkRow[]): void {
    const input = this.#input;
    const tally = { succeeded: 0, retried: 0, deadLettered: 0, usage: noUsage, overBound: 0 };
    const spends = new SpendTally();
    const consumed: RowConsumption[] = [];
    const size = range.to - range.from + 1;
    const kept = input.replan && keptMask(replannedIn(input.replan, range.chunk));
    const before = { replanned: this.#replanned.length, notSampled: this.#notSampled.length };
    for (let place = 0; place < size; place += 1) {
      const index = range.firstIndex + place;
      const row = rows[place];
      if (!row) throw new RangeError(`row ${index} of ${input.archive.archive} has no index line`);
      const fate: Fate = kept ? { kind: kept[place] === 1 ? 'replanned' : 'not_sampled' } : fateOf(input, range, row, this.#verdictOf(index));
      switch (fate.kind) {
        case 'succeeded':
          consumed.push(book(tally, spends, fate.usage, row, priceFor(input, this.#prices, fate.model, row)));
          break;
        case 'retry':
        case 'rest':
          if (fate.kind === 'rest') this.#rested.push(index);
          tally.retried += 1;
          spends.count('retried', modelOf(input, row));
          this.#retried.push(index);
          break;
        case 'replanned':
          this.#replanned.push(index);
          break;
        case 'not_sampled':
          this.#notSampled.push(index);
          break;
        case 'dead':
          tally.deadLettered += 1;
          spends.count('deadLettered', modelOf(input, row));
          if (mayBeBilled.has(fate.reason)) bookBound(tally, spends, row, input.priceOf(row.model));
          this.#dead.push({ index, reason: fate.reason, errorType: fate.errorType ?? null });
          break;
        default:
          assertNever(fate, 'fate');
      }
    }
    const { tokensMax, microUsdMax, estimated: _estimate, ...place } = range;
    const samples = consumed.length === 0 ? {} : { samples: samplesOf(consumed) };
    const leftOut = kept ? { notSampled: this.#notSampled.length - before.notSampled, replanned: this.#replanned.length - before.replanned } : {};
    const parts = spends.list();
    const money = { microUsd: parts.reduce((sum, part) => sum + part.microUsd, 0), standardMicroUsd: parts.reduce((sum, part) => sum + part.standardMicroUsd, 0) };
    this.#ranges.push(range);
    this.#chunks.push({ ...place, ...tally, ...money, ...leftOut, reserved: { tokens: kept ? 0 : tokensMax, microUsd: kept ? 0 : microUsdMax }, spends: parts, ...samples });
  }

  /** What the provider said of a row. An error that many different prompts share is not the row's own, but for their size. */
  #verdictOf(index: number): RowVerdict | undefined {
    const verdict = this.#input.results?.index.verdictOf(index);
    const isShared = verdict?.kind === 'dead' && verdict.reason === 'invalid_request' && verdict.errorType !== 'request_too_large' && this.#isOfCohort(index);
    return isShared ? { kind: 'retryable', cause: 'account_fault', errorType: verdict.errorType } : verdict;
  }

  /** The outcome of the archive, once every chunk of it was added. */
  outcome(): ArchiveOutcome {
    const { archive, run, results, priceVersion, replan } = this.#input;
    return {
      v: 1,
      archive: archive.archive,
      run: archive.run,
      dt: archive.dt,
      account: archive.account ?? null,
      batch: archive.batch ?? null,
      rows: archive.rows,
      resultsKey: results ? resultLinesKey(archive.run, archive.archive) : null,
      resultsBytes: results?.sizeBytes ?? 0,
      resultsSha256: results?.sha256 ?? '',
      acceptedAtMs: run.openedAtMs,
      submittedAtMs: archive.acceptedAtMs ?? null,
      endedAtMs: archive.endedAtMs ?? null,
      source: run.source,
      priceVersion,
      rounding: 'part',
      prices: Object.fromEntries([...this.#prices].sort(([a], [b]) => (a < b ? -1 : 1))),
      chunks: this.#chunks,
      retried: rangesOfIndexes(this.#retried),
      ...(this.#rested.length === 0 ? {} : { rested: rangesOfIndexes(this.#rested) }),
      dead: this.#dead,
      ...(replan === undefined ? {} : { replan: replanOutcome(replan, this.#ranges, this.#notSampled, this.#replanned) }),
    };
  }
}

function replanOutcome(document: ReplanDocument, ranges: readonly SealedChunkRange[], notSampled: readonly number[], replanned: readonly number[]): ReplanOutcome {
  return {
    replan: document.replan,
    notSampled: rangesOfIndexes(notSampled),
    replanned: rangesOfIndexes(replanned),
    chunks: ranges.flatMap(({ chunk }) => replannedIn(document, chunk).successor?.footer.chunk ?? []),
  };
}

/** Archive indexes of the rows that go round again, ascending. */
export function retriedRowsOf({ retried }: Pick<ArchiveOutcome, 'retried'>): readonly number[] {
  return retried.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, offset) => first + offset));
}

/** The rows that a fault of the account has struck, and the round on which they go, from 1; undefined: there are none. */
export function restedIn(outcome: ArchiveOutcome): { readonly rows: number; readonly round: number } | undefined {
  const { rested } = outcome;
  if (rested === undefined) return undefined;
  const isStruck = ({ firstIndex, from, to }: ArchiveChunkOutcome): boolean => rested.some(([first, last]) => first <= firstIndex + to - from && last >= firstIndex);
  return { rows: sizeOfRanges(rested), round: Math.max(...outcome.chunks.filter(isStruck).map(({ chunk }) => roundOf(chunk))) + 1 };
}

/** The sums of an outcome, for the log. */
export function summaryOf({ chunks }: ArchiveOutcome): { readonly succeeded: number; readonly retried: number; readonly deadLettered: number; readonly microUsd: number } {
  const sum = (of: (chunk: (typeof chunks)[number]) => number): number => chunks.reduce((total, chunk) => total + of(chunk), 0);
  return {
    succeeded: sum((chunk) => chunk.succeeded),
    retried: sum((chunk) => chunk.retried),
    deadLettered: sum((chunk) => chunk.deadLettered),
    microUsd: sum((chunk) => chunk.microUsd),
  };
}

function fateOf(input: JudgeInput, range: SealedChunkRange, row: ChunkRow, verdict: RowVerdict | undefined): Fate {
  if (!verdict) {
    if (input.archive.reason === 'canceled') return { kind: 'dead', reason: 'canceled', errorType: undefined };
    if (input.archive.reason === 'submission_in_doubt') return { kind: 'dead', reason: 'submission_in_doubt', errorType: undefined };
    const reason = input.archive.reason === 'status_413' ? 'too_large' : 'invalid_request';
    return { kind: 'dead', reason, errorType: input.archive.reason };
  }
  switch (verdict.kind) {
    case 'succeeded':
      return { kind: 'succeeded', usage: verdict.usage, model: verdict.model };
    case 'dead': {
      // The provider does not say who canceled a row; the ledger knows whether we did.
      const isOurs = verdict.reason === 'canceled_externally' && input.archive.cancelAskedAtMs !== undefined;
      return { kind: 'dead', reason: isOurs ? 'canceled' : verdict.reason, errorType: verdict.errorType };
    }
    case 'retryable': {
      if (input.run.state === 'canceling') return { kind: 'dead', reason: 'canceled', errorType: verdict.errorType };
      // The recorded end of the batch, not the clock: a rerun must decide the same.
      const isLate = row.deadline !== undefined && row.deadline <= (input.archive.endedAtMs ?? 0);
      if (isLate) return { kind: 'dead', reason: 'deadline', errorType: verdict.errorType };
      if (verdict.cause === 'account_fault') {
        // Nothing is wrong with the prompt, so no attempt is used up; but a fault that nobody repairs must end.
        return roundOf(range.chunk) < input.accountRoundsMax ? { kind: 'rest' } : { kind: 'dead', reason: 'account_fault', errorType: verdict.errorType };
      }
      if (range.attempt < input.attemptsMax) return { kind: 'retry' };
      return { kind: 'dead', reason: verdict.cause === 'expired' ? 'expired' : 'attempts_exhausted', errorType: verdict.errorType };
    }
    default:
      return assertNever(verdict, 'verdict');
  }
}

interface Tally {
  succeeded: number;
  usage: Usage;
  overBound: number;
}

/** The price of the model that answered; where the table does not know that name, of the one that was asked. */
function priceFor(input: JudgeInput, prices: Map<string, ModelPrice>, answered: string, row: ChunkRow): ModelPrice {
  const price = prices.get(answered) ?? input.priceOf(answered) ?? input.priceOf(row.model);
  invariant(price !== undefined, `the price table has no ${row.model} although a prompt was accepted with it`);
  prices.set(answered, price);
  return price;
}

/** What the price table calls the model that a row asked for; its own word where the table does not know it. */
function modelOf(input: JudgeInput, row: ChunkRow): string {
  return input.priceOf(row.model)?.model ?? row.model;
}

/** Books an answered row; returns what it consumed of its bounds. */
function book(tally: Tally, spends: SpendTally, usage: Usage, row: ChunkRow, price: ModelPrice): RowConsumption {
  const isGeoPinned = row.geo === 1;
  const femtoUsd = rowFemtoUsd(usage, price, 'batch', isGeoPinned);
  spends.addRow(price, usage, isGeoPinned, femtoUsd, rowFemtoUsd(usage, price, 'standard', isGeoPinned));
  // The bound is a whole number, so the cost is above it exactly when the cost rounded up is; and what prompts consume of
  // their bounds is learned from no smaller amount than was paid.
  const microUsd = microUsdUp(femtoUsd);
  tally.succeeded += 1;
  tally.usage = addUsage(tally.usage, usage);
  const tokens = totalTokens(usage);
  if (microUsd > row.usd || tokens > row.in + row.out) tally.overBound += 1;
  return { model: row.model, tokens, tokensMax: row.in + row.out, microUsd, microUsdMax: row.usd };
}

/**
 * Books the bound of a row whose result is not known: the provider may have billed it (reliability.md 4.7). It cannot
 * have billed more, so the budget holds; the cost report names the difference to the confirmed rows.
 */
function bookBound(tally: Tally, spends: SpendTally, row: ChunkRow, price: ModelPrice | undefined): void {
  const usage: Usage = { ...noUsage, inputTokens: row.in, outputTokens: row.out };
  const standardMicroUsd = Math.max(row.usd, price ? rowMicroUsd(usage, price, 'standard', row.geo === 1) : 0);
  spends.addBound(price?.model ?? row.model, usage, row.usd, standardMicroUsd);
  tally.usage = addUsage(tally.usage, usage);
}
