/**
 * What a source would become, without writing anything: the same lines, the same verdicts, the same segments as a run,
 * only counted. Sections are not told apart: a run marks its prefixes anew in each, a few prompts later, so that a long
 * source may reserve a little less than is said here, never more. For `plan`, and for the pass that a run makes over a file before it is allowed to send anything.
 */
import type { Checkpoint } from '../segments/ledger/ledger.ts';
import { ratesFor } from '../segments/price.ts';
import type { ModelEntry, PriceTable } from '../config/models.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { SegmentName } from '../segments/segment.ts';
import { ClientTallies, type ClientSurvey } from './client-survey.ts';
import { asideOf, Intake } from './intake.ts';
import type { JudgedLine, Verdict } from './intake.ts';
import { LineReader } from './lines.ts';
import type { Line } from './lines.ts';
import { rejectedLine } from './rejects.ts';
import type { RejectedLine } from './rejects.ts';
import type { FaultCode } from './faults.ts';
import { intakeRules, isBoundBroken } from './settings.ts';
import type { ProducerSettings } from './settings.ts';
import { readSource, sourceUri } from './source.ts';
import type { SourceLocation } from './source.ts';

/** What one segment would hold. Tokens and micro-USD are integers. */
export interface SegmentSurvey {
  readonly segment: SegmentName;
  readonly rows: number;
  readonly paramsBytes: number;
  /** Expected input tokens plus the expected part of `max_tokens`. */
  readonly tokensExpected: number;
  /** What strict budgets would reserve. */
  readonly tokensMax: number;
  /** With what the cache is expected to save taken off. */
  readonly microUsdExpected: number;
  readonly microUsdMax: number;
  /** Rows whose beginning is marked for the provider's cache, and what that is expected to save; negative where it costs. */
  readonly rowsMarked: number;
  readonly microUsdSavedExpected: number;
}

export interface Survey {
  readonly source: string;
  /** Size, lines and digest of the decompressed source; a plan is applied only to the same input. */
  readonly input: Checkpoint;
  readonly priceVersion: string;
  readonly accepted: number;
  readonly rejected: number;
  /** Prompts that would go ahead of the others of their prefix, each in a batch of its own. */
  readonly primers: number;
  /** Models that accepted prompts name, sorted. */
  readonly models: readonly string[];
  /** Sorted by name. */
  readonly segments: readonly SegmentSurvey[];
  /** Sorted by name. */
  readonly clients: readonly ClientSurvey[];
  readonly rejectedByCode: Readonly<Partial<Record<FaultCode, number>>>;
  /** The first rejects of each code, as people read them: `file:line:column: problem`. */
  readonly rejectMessages: readonly string[];
  /** The first rejects, in the order of the source, {@link rejectsListedMax} at most. */
  readonly rejects: readonly RejectedLine[];
  /** Whether the rejects are more than the settings bear, so that a run of this source would queue nothing. */
  readonly isBoundBroken: boolean;
}

/** How much of `max_tokens` an answer is taken to use until a topic is calibrated, in thousandths. */
export const outputExpectedPermille = 500;
/**
 * How many marked prompts are taken to be served from the cache, in thousandths; each of the others writes. Rows of a batch
 * run side by side, so hits are best effort, and 30 to 98 % are reported (claude-batches.md 5).
 */
export const cacheHitsExpectedPermille = 800;
/** A file of nothing but bad lines must not make a plan of its own size; the rejects file of a run has all of them. */
export const rejectsListedMax = 1_000;
const messagesMax = 20;
/** One mistake in every line is one mistake: the other kinds must not drown in it. */
const messagesOfCodeMax = 5;

/** The tally of one segment while it grows. Costs are pico-USD, so that a million cheap rows do not round to nothing. */
interface Tally {
  rows: number;
  paramsBytes: number;
  tokensExpected: number;
  tokensMax: number;
  picoExpected: bigint;
  microUsdMax: number;
  rowsMarked: number;
  picoSaved: bigint;
}

/**
 * Surveys a source.
 * @throws PlimsollError `source_unreadable`, `source_damaged` (also when the source is empty), `input_rejected` beyond
 *   the ids that one run can tell apart
 */
export async function survey(source: SourceLocation, settings: ProducerSettings, signal?: AbortSignal): Promise<Survey> {
  const tallies = new Map<SegmentName, Tally>();
  const clients = new ClientTallies(settings.terms);
  const rejectedByCode: Partial<Record<FaultCode, number>> = {};
  const rejectMessages: string[] = [];
  const rejects: RejectedLine[] = [];
  const uri = sourceUri(source);
  const models = new Set<string>();
  const prefixes = new Set<string>();
  let accepted = 0;
  let rejected = 0;
  const input = await judgeSource(source, settings, signal, (line, verdict) => {
    if (verdict.kind === 'prompt') {
      accepted += 1;
      models.add(verdict.prompt.model);
      if (settings.cache?.isPriming && verdict.prompt.prefix !== undefined) prefixes.add(verdict.prompt.prefix);
      count(tallies, clients, verdict, settings.price);
      return;
    }
    rejected += 1;
    const ofCode = (rejectedByCode[verdict.fault.code] ?? 0) + 1;
    rejectedByCode[verdict.fault.code] = ofCode;
    const isTold = ofCode <= messagesOfCodeMax && rejectMessages.length < messagesMax;
    if (!isTold && rejects.length >= rejectsListedMax) return;
    const reject = rejectedLine(uri, line, verdict.fault);
    if (isTold) rejectMessages.push(reject.message);
    if (rejects.length < rejectsListedMax) rejects.push(reject);
  });
  if (accepted + rejected === 0) throw emptySource(uri);
  const segments = [...tallies].map(([segment, tally]) => finish(segment, tally)).sort((a, b) => (a.segment < b.segment ? -1 : 1));
  return {
    source: uri, input, priceVersion: settings.price.version, accepted, rejected, primers: prefixes.size, models: [...models].sort(), segments, clients: clients.finish(),
    rejectedByCode, rejectMessages, rejects, isBoundBroken: isBoundBroken(settings, rejected, accepted + rejected, true),
  };
}

/** Reads a source from end to end and hands every line that is not blank to `visit`, with its verdict. */
export async function judgeSource(
  source: SourceLocation,
  settings: ProducerSettings,
  signal: AbortSignal | undefined,
  visit: (line: Line, verdict: Verdict) => void,
): Promise<Checkpoint> {
  const reader = new LineReader(settings.lineBytesMax);
  const intake = new Intake(sourceUri(source), intakeRules(settings), undefined, asideOf(source, false));
  const visitAll = async (judged: AsyncIterable<Iterable<JudgedLine>>): Promise<void> => {
    for await (const lines of judged) for (const { line, verdict } of lines) visit(line, verdict);
  };
  try {
    for await (const block of readSource(source, settings.expansionMax, signal, (object) => reader.begin(object))) {
      signal?.throwIfAborted();
      reader.hash(block);
      await visitAll(intake.verdicts(reader.cut(block)));
    }
    await visitAll(intake.verdicts(reader.end()));
    await visitAll(intake.rest());
  } finally {
    await intake.close();
  }
  return reader.position();
}

/** A source without a line is refused before a run is opened: it is more often a failed upstream job than a wish. */
export function emptySource(uri: string): PlimsollError {
  return new PlimsollError('source_damaged', {
    message: 'the source is empty: it has no line that is not blank',
    where: uri,
    hint: 'Check the job that writes it; no run was opened.',
  });
}

function count(tallies: Map<SegmentName, Tally>, clients: ClientTallies, { prompt, segment, markedTokens }: Verdict & { readonly kind: 'prompt' }, price: PriceTable): void {
  let tally = tallies.get(segment);
  if (!tally) {
    tally = { rows: 0, paramsBytes: 0, tokensExpected: 0, tokensMax: 0, picoExpected: 0n, microUsdMax: 0, rowsMarked: 0, picoSaved: 0n };
    tallies.set(segment, tally);
  }
  const { inputTokensExpected, outputTokensMax, tokensMax, microUsdMax } = prompt.estimate;
  const outputExpected = Math.ceil((outputTokensMax * outputExpectedPermille) / 1000);
  tally.rows += 1;
  tally.paramsBytes += prompt.params.length;
  tally.tokensExpected += inputTokensExpected + outputExpected;
  tally.tokensMax += tokensMax;
  tally.microUsdMax += microUsdMax;
  const model = price.find(prompt.model);
  if (markedTokens > 0) tally.rowsMarked += 1;
  const picoExpected = model ? expectedPico(model, inputTokensExpected, outputExpected) : 0n;
  const picoSaved = model ? savedPico(model, inputTokensExpected, markedTokens) : 0n;
  tally.picoExpected += picoExpected;
  tally.picoSaved += picoSaved;
  clients.add(prompt.client, { tokensExpected: inputTokensExpected + outputExpected, tokensMax, picoExpected: picoExpected - picoSaved, microUsdMax });
}

function expectedPico(model: ModelEntry, inputTokens: number, outputTokens: number): bigint {
  const rates = ratesFor(model, inputTokens, 'batch');
  return BigInt(inputTokens) * BigInt(rates.input) + BigInt(outputTokens) * BigInt(rates.output);
}

/** What a marked prefix is expected to cost less than plain input. */
function savedPico(model: ModelEntry, inputTokens: number, markedTokens: number): bigint {
  const rates = ratesFor(model, inputTokens, 'batch');
  const cachedPerMille = cacheHitsExpectedPermille * rates.cacheRead + (1000 - cacheHitsExpectedPermille) * rates.cacheWrite1h;
  return (BigInt(Math.min(markedTokens, inputTokens)) * BigInt(rates.input * 1000 - cachedPerMille)) / 1000n;
}

function finish(segment: SegmentName, tally: Tally): SegmentSurvey {
  const { rows, paramsBytes, tokensExpected, tokensMax, picoExpected, microUsdMax, rowsMarked, picoSaved } = tally;
  const microUsdExpected = Number((picoExpected - picoSaved + 999_999n) / 1_000_000n);
  return { segment, rows, paramsBytes, tokensExpected, tokensMax, microUsdExpected, microUsdMax, rowsMarked, microUsdSavedExpected: Number(picoSaved / 1_000_000n) };
}
