/**
 * The one way from a line to a prompt: read its shape, judge its params, estimate it, choose its segment, and see that
 * its id is new. `produce` and `survey` share it, so a plan and a run can never disagree about a line.
 *
 * Invariants
 *   I1  The same source under the same settings gives the same verdicts in the same order: nothing here knows the time,
 *       a random number or what an earlier run did. A resumed run relies on it to skip what is durable. It may begin with
 *       any section: what is remembered of shared prefixes ends with each (F1), and what is remembered of ids is restored.
 *   I2  Only an accepted line claims its id: a mended copy of a refused line may follow it in the same source.
 */
import { isUtf8 } from 'node:buffer';
import { estimateParams, withCacheMarker } from '../segments/estimate.ts';
import { tierOf, type Terms } from '../segments/quota.ts';
import { segmentName } from '../segments/segment.ts';
import type { ContextClass, Prompt, SegmentName, SourceOrigin } from '../segments/segment.ts';
import { fault } from './faults.ts';
import type { Fault } from './faults.ts';
import type { Line, LineOrigin } from './lines.ts';
import { Outliner, wholeLine } from './outline.ts';
import type { LineText } from './outline.ts';
import { markerBytesMax, markPrefix, prefixCuts } from './prefix.ts';
import type { CachedModel, PrefixCut } from './prefix.ts';
import { SeenIds } from './seen-ids.ts';
import type { CacheRules } from './settings.ts';
import { invalidUtf8, readText } from './shapes.ts';
import type { ShapeDefaults } from './shapes.ts';
import { SharedPrefixes } from './shared-prefixes.ts';
import { judgeByTier } from './terms.ts';
import { validateParams } from './validate.ts';
import type { ValidationRules } from './validate.ts';

/** What decides about a line. */
export interface IntakeRules extends ValidationRules {
  readonly contextClasses: readonly ContextClass[];
  readonly defaults: ShapeDefaults;
  readonly lineBytesMax: number;
  /** undefined: nothing is marked. */
  readonly cache?: CacheRules | undefined;
  /** What tiers let clients hand in. */
  readonly terms?: Terms | undefined;
}

export type Verdict =
  /** `markedTokens`: expected tokens of the prefix that was marked for the cache; 0: none was. */
  | { readonly kind: 'prompt'; readonly prompt: Prompt; readonly segment: SegmentName; readonly isGeoPinned: boolean; readonly markedTokens: number }
  | { readonly kind: 'rejected'; readonly fault: Fault };

/** A verdict on a line by itself; what came before it has not been asked. */
type Judgement =
  | { readonly kind: 'prompt'; readonly prompt: Prompt; readonly segment: SegmentName; readonly isGeoPinned: boolean; readonly model: CachedModel; readonly cuts: readonly PrefixCut[] }
  | { readonly kind: 'rejected'; readonly fault: Fault };

const noCuts: readonly PrefixCut[] = [];

export class Intake {
  readonly #uri: string;
  readonly #rules: IntakeRules;
  readonly #outliner = new Outliner();
  readonly #seen: SeenIds;
  readonly #prefixes: SharedPrefixes;

  /** @param seen the ids of what was read before; none by default */
  constructor(uri: string, rules: IntakeRules, seen = new SeenIds()) {
    this.#uri = uri;
    this.#rules = rules;
    this.#seen = seen;
    this.#prefixes = new SharedPrefixes(rules.cache?.after ?? 0);
  }

  /** A section of the source has ended and another begins (I1). */
  beginSection(): void {
    this.#prefixes.beginSection();
  }

  /** Judges one line that is not blank. The prompt's params may be a slice of the line, valid as long as the line is. */
  judge(line: Line): Verdict {
    const { lineBytesMax } = this.#rules;
    if (line.sizeBytes > lineBytesMax) return rejected(fault('line_too_long', `the line has ${line.sizeBytes} bytes, at most ${lineBytesMax} are allowed`));
    if (!isUtf8(line.bytes)) return rejected(invalidUtf8(line.bytes));
    const outline = this.#outliner.outline(line.bytes);
    const outlined = outline && this.#judgeText(line, outline);
    // An outline serves to accept a line; why one is refused, and where, is told by the whole of it.
    const judgement = outlined?.kind === 'prompt' ? outlined : this.#judgeText(line, wholeLine(line.bytes));
    if (judgement.kind === 'rejected') return judgement;
    const { prompt, segment, isGeoPinned, model, cuts } = judgement;
    const firstRow = this.#seen.add(prompt.id, line.row);
    if (firstRow !== undefined) return rejected(fault('id_duplicate', `line ${firstRow} has the same id`));
    const cut = cuts.length > 0 ? this.#prefixes.note(cuts) : undefined;
    if (!cut) return { kind: 'prompt', prompt, segment, isGeoPinned, markedTokens: 0 };
    const marked: Prompt = {
      ...prompt,
      params: markPrefix(prompt.params, cut),
      estimate: withCacheMarker(prompt.estimate, model, isGeoPinned),
      prefix: this.#prefixes.hasLane(segment, prompt.client, cut.digest) ? cut.digest : undefined,
    };
    return { kind: 'prompt', prompt: marked, segment, isGeoPinned, markedTokens: cut.tokensExpected };
  }

  /** Everything about a line but whether its id is new. */
  #judgeText(line: Line, text: LineText): Judgement {
    const { contextClasses, defaults, lineBytesMax, terms } = this.#rules;
    const shape = readText(text, defaults);
    if ('fault' in shape) return rejected(shape.fault);
    const draft = shape.value;
    const validation = validateParams(draft.parsed, this.#rules);
    if (validation.kind === 'fault') return rejected(validation.fault);
    const { model, maxTokens } = validation;
    const { params, parsed, hasEscapes, isPlain } = draft;
    const estimation = estimateParams({ json: params, params: parsed, outputTokensMax: maxTokens, hasEscapes, isPlain }, model);
    if (estimation.kind === 'unbounded') {
      const why = `${estimation.what} lets the provider run several passes and bill each; no bound is known that a budget could reserve`;
      return rejected(fault('bound_unknown', why));
    }
    const { estimate } = estimation;
    // Input and answer share the context window, so no request is larger than the window of its model.
    const contextTokens = Math.min(estimate.tokensMax, model.contextTokensMax);
    const contextClass = contextClasses.find((candidate) => candidate.tokensMax >= contextTokens);
    if (!contextClass) {
      const largest = contextClasses.at(-1);
      const limit = `the largest context class, ${largest?.name ?? 'none'}, takes ${largest?.tokensMax ?? 0}`;
      return rejected(fault('context_too_large', `the request may take up to ${contextTokens} tokens; ${limit}`));
    }
    const bound = tierOf(terms, draft.client);
    const judged = bound ? judgeByTier(bound.name, bound.tier, { ...draft, contextTokens }) : draft;
    if ('fault' in judged) return rejected(judged.fault);
    const { priority } = judged;
    const prompt: Prompt = {
      id: draft.id,
      topic: draft.topic,
      priority,
      client: draft.client,
      deadlineMs: draft.deadlineMs,
      metadataJson: draft.metadataJson,
      params,
      model: model.model,
      source: { uri: this.#uri, row: line.row, byteOffset: line.byteOffset, ...(line.origin && { origin: originOf(line.origin) }) },
      estimate,
    };
    // A prompt that has markers of its own is the work of somebody who knows; and none becomes too long by ours.
    const isLeftAlone = estimation.mayWriteCache || !this.#isMarked(draft.topic) || params.length + markerBytesMax > lineBytesMax;
    const cuts = isLeftAlone ? noCuts : prefixCuts(params, parsed, model);
    return { kind: 'prompt', prompt, segment: segmentName(draft.topic, contextClass.name, priority), isGeoPinned: estimation.isGeoPinned, model, cuts };
  }

  #isMarked(topic: string): boolean {
    const { cache } = this.#rules;
    return cache !== undefined && (cache.topics.includes('*') || cache.topics.includes(topic));
  }
}

function originOf({ uri, row, etag, version }: LineOrigin): SourceOrigin {
  return { uri, row, etag, ...(version === undefined ? {} : { version }) };
}

function rejected(found: Fault): { readonly kind: 'rejected'; readonly fault: Fault } {
  return { kind: 'rejected', fault: found };
}
