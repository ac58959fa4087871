/**
 * The one way from a line to a prompt: it is judged (`judge.ts`), its id must be new, and it is marked where others before it
 * had the same beginning. `produce` and `survey` share it, so a plan and a run can never disagree about a line.
 *
 * Of a large source the lines are judged on another thread (`judging.ts`) while this one reads on, so what is handed out lags
 * behind what was put in; `rest` brings the lag. A pipe may be silent for hours, and its lines must not wait for the next
 * ones: they are judged here, as those of a small source are.
 *
 * Invariants
 *   I1  The same source under the same settings gives the same verdicts in the same order: nothing here knows the time,
 *       a random number or what an earlier run did. A resumed run relies on it to skip what is durable. It may begin with
 *       any section: what is remembered of shared prefixes ends with each (F1), and what is remembered of ids is restored.
 *   I2  Only an accepted line claims its id: a mended copy of a refused line may follow it in the same source.
 *   I3  Every line that is not blank is handed out once, in the order of the source, wherever it was judged.
 */
import { withCacheMarker } from '../segments/estimate.ts';
import { invariant } from '../segments/errors.ts';
import type { Prompt, SegmentName, SourceOrigin } from '../segments/segment.ts';
import { fault } from './faults.ts';
import type { Fault } from './faults.ts';
import { Judge } from './judge.ts';
import type { IntakeRules } from './judge.ts';
import type { Unpacked } from './judgements.ts';
import { JudgingThread } from './judging.ts';
import type { JudgedBatch } from './judging.ts';
import { isBlank } from './lines.ts';
import type { Line, LineOrigin } from './lines.ts';
import { markPrefix } from './prefix.ts';
import { SeenIds } from './seen-ids.ts';
import { SharedPrefixes } from './shared-prefixes.ts';
import type { SourceLocation } from './source.ts';

export type Verdict =
  /**
   * `paramsSha`: sha256 of the prompt's params, hex, where it was made on the way. `markedTokens`: expected tokens of the
   * prefix that was marked for the cache; 0: none was.
   */
  | { readonly kind: 'prompt'; readonly prompt: Prompt; readonly segment: SegmentName; readonly isGeoPinned: boolean; readonly paramsSha: string | undefined; readonly markedTokens: number }
  | { readonly kind: 'rejected'; readonly fault: Fault };

/** A line and its verdict, valid until the next lines are asked for. */
export interface JudgedLine {
  readonly line: Line;
  readonly verdict: Verdict;
}

/** When a thread is started, and what for. */
export interface AsideSettings {
  /** Bytes of lines that are judged here before. */
  readonly afterBytes: number;
  /** Whether prompts are wanted with the digest of their params. */
  readonly isDigested: boolean;
}

/** A smaller source is judged before a thread has started. */
const afterBytes = 1024 * 1024;

export class Intake {
  readonly #uri: string;
  readonly #rules: IntakeRules;
  readonly #judge: Judge;
  readonly #seen: SeenIds;
  readonly #prefixes: SharedPrefixes;
  readonly #aside: AsideSettings | undefined;
  /** Bytes of lines that were judged here. */
  #besideBytes = 0;
  #thread: JudgingThread | undefined;

  /**
   * @param seen the ids of what was read before; none by default
   * @param aside undefined: all lines are judged on this thread
   */
  constructor(uri: string, rules: IntakeRules, seen = new SeenIds(), aside?: AsideSettings) {
    this.#uri = uri;
    this.#rules = rules;
    this.#judge = new Judge(rules);
    this.#seen = seen;
    this.#prefixes = new SharedPrefixes(rules.cache?.after ?? 0);
    this.#aside = aside;
  }

  /** A section of the source has ended and another begins (I1); everything before it was handed out. */
  beginSection(): void {
    this.#prefixes.beginSection();
  }

  /** Judges one line that is not blank. The prompt's params may be a slice of the line, valid as long as the line is. */
  judge(line: Line): Verdict {
    return this.#verdict(line, { judgement: this.#judge.judge(line), idDigest: undefined, paramsSha: undefined });
  }

  /**
   * Takes the next lines of the source, and hands out lines with their verdicts, these or earlier ones (I3), in portions
   * of which each is to be used up before the next is asked for.
   * @throws PlimsollError `thread_failed`
   */
  async *verdicts(lines: Iterable<Line>): AsyncGenerator<Iterable<JudgedLine>, void, void> {
    const aside = this.#aside;
    if (!aside || this.#besideBytes < aside.afterBytes) {
      yield this.#beside(lines);
      return;
    }
    this.#thread ??= new JudgingThread(this.#rules, aside.isDigested);
    for (const line of lines) {
      if (isBlank(line)) continue;
      this.#thread.add(line);
      while (this.#thread.isFull) yield* this.#oldest(this.#thread);
    }
  }

  /** Hands out what `verdicts` still owes. @throws PlimsollError `thread_failed` */
  async *rest(): AsyncGenerator<Iterable<JudgedLine>, void, void> {
    this.#thread?.send();
    while (this.#thread && this.#thread.owed > 0) yield* this.#oldest(this.#thread);
  }

  /** Ends the thread, if there is one. Safe to call again. */
  async close(): Promise<void> {
    await this.#thread?.end();
  }

  async *#oldest(thread: JudgingThread): AsyncGenerator<Iterable<JudgedLine>, void, void> {
    const batch = await thread.take();
    yield this.#verdicts(batch);
    thread.give(batch);
  }

  *#beside(lines: Iterable<Line>): Generator<JudgedLine, void, void> {
    for (const line of lines) {
      if (isBlank(line)) continue;
      this.#besideBytes += line.bytes.length;
      yield { line, verdict: this.judge(line) };
    }
  }

  *#verdicts(batch: JudgedBatch): Generator<JudgedLine, void, void> {
    for (const judged of batch.lines()) yield { line: judged.line, verdict: this.#verdict(judged.line, judged) };
  }

  /** The verdict on a line that comes next in the source (I2). */
  #verdict(line: Line, { judgement, idDigest, paramsSha }: Unpacked): Verdict {
    if (judgement.kind === 'rejected') return judgement;
    const { id, topic, priority, client, deadlineMs, metadataJson, params, model, estimate } = judgement.prompt;
    const firstRow = this.#seen.add(id, line.row, idDigest);
    if (firstRow !== undefined) return { kind: 'rejected', fault: fault('id_duplicate', `line ${firstRow} has the same id`) };
    const source = { uri: this.#uri, row: line.row, byteOffset: line.byteOffset, ...(line.origin && { origin: originOf(line.origin) }) };
    const prompt: Prompt = { id, topic, priority, client, deadlineMs, metadataJson, params, model, source, estimate };
    const { segment, isGeoPinned, cuts } = judgement;
    const cut = cuts.length > 0 ? this.#prefixes.note(cuts) : undefined;
    if (!cut) return { kind: 'prompt', prompt, segment, isGeoPinned, paramsSha, markedTokens: 0 };
    const entry = this.#rules.price.find(model);
    invariant(entry !== undefined, `the model ${model} of a prompt that was judged has a price`);
    const marked: Prompt = {
      ...prompt,
      params: markPrefix(params, cut),
      estimate: withCacheMarker(estimate, entry, isGeoPinned),
      prefix: this.#prefixes.hasLane(segment, client, cut.digest) ? cut.digest : undefined,
    };
    return { kind: 'prompt', prompt: marked, segment, isGeoPinned, paramsSha: undefined, markedTokens: cut.tokensExpected };
  }
}

/** How a source is judged: here all of one that may keep its reader waiting, undefined, and aside what others have more than a little. */
export function asideOf(source: SourceLocation, isDigested: boolean): AsideSettings | undefined {
  return source.kind === 'file' || source.kind === 'objects' ? { afterBytes, isDigested } : undefined;
}

function originOf({ uri, row, etag, version }: LineOrigin): SourceOrigin {
  return { uri, row, etag, ...(version === undefined ? {} : { version }) };
}
