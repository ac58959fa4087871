/**
 * What a line is by itself: its shape is read, its params are judged and estimated, and its segment is chosen. Everything
 * but whether its id is new and its beginning shared, which depends on the lines before it (`intake.ts`). So it does not matter where a line is
 * judged, nor beside which others: a thread of its own comes to the same judgement.
 */
import { isUtf8 } from 'node:buffer';
import { estimateParams } from '../segments/estimate.ts';
import { tierOf, type Terms } from '../segments/quota.ts';
import { segmentName } from '../segments/segment.ts';
import type { ContextClass, Prompt, SegmentName } from '../segments/segment.ts';
import { fault } from './faults.ts';
import type { Fault } from './faults.ts';
import type { Line } from './lines.ts';
import { Outliner, wholeLine } from './outline.ts';
import type { LineText } from './outline.ts';
import { markerBytesMax, prefixCuts } from './prefix.ts';
import type { PrefixCut } from './prefix.ts';
import type { CacheRules } from './settings.ts';
import { invalidUtf8, readText } from './shapes.ts';
import type { ShapeDefaults } from './shapes.ts';
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

/** A prompt that does not know yet where it stands. Its params are valid as long as the line is that they are a slice of. */
export interface JudgedPrompt extends Omit<Prompt, 'params' | 'source' | 'prefix'> {
  readonly params: Buffer;
}

/** What a line is found to be; what came before it was not asked. */
export type Judgement =
  /** `cuts`: where it could be marked for the cache, if enough others share its beginning. */
  | { readonly kind: 'prompt'; readonly prompt: JudgedPrompt; readonly segment: SegmentName; readonly isGeoPinned: boolean; readonly cuts: readonly PrefixCut[] }
  | { readonly kind: 'rejected'; readonly fault: Fault };

/** Of a prompt that is not marked, whatever others share with it. */
export const noCuts: readonly PrefixCut[] = [];

/** Judges one line after the other; its memory is used again. */
export class Judge {
  readonly #rules: IntakeRules;
  readonly #outliner = new Outliner();

  constructor(rules: IntakeRules) {
    this.#rules = rules;
  }

  /** Judges one line that is not blank. */
  judge({ bytes, sizeBytes }: Pick<Line, 'bytes' | 'sizeBytes'>): Judgement {
    const { lineBytesMax } = this.#rules;
    if (sizeBytes > lineBytesMax) return rejected(fault('line_too_long', `the line has ${sizeBytes} bytes, at most ${lineBytesMax} are allowed`));
    if (!isUtf8(bytes)) return rejected(invalidUtf8(bytes));
    const outline = this.#outliner.outline(bytes);
    const outlined = outline && this.#judgeText(outline);
    // An outline serves to accept a line; why one is refused, and where, is told by the whole of it.
    return outlined?.kind === 'prompt' ? outlined : this.#judgeText(wholeLine(bytes));
  }

  #judgeText(text: LineText): Judgement {
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
    const { id, topic, client, deadlineMs, metadataJson } = draft;
    const prompt: JudgedPrompt = { id, topic, priority, client, deadlineMs, metadataJson, params, model: model.model, estimate };
    // A prompt that has markers of its own is the work of somebody who knows; and none becomes too long by ours.
    const isLeftAlone = estimation.mayWriteCache || !this.#isMarked(topic) || params.length + markerBytesMax > lineBytesMax;
    const cuts = isLeftAlone ? noCuts : prefixCuts(params, parsed, model);
    return { kind: 'prompt', prompt, segment: segmentName(topic, contextClass.name, priority), isGeoPinned: estimation.isGeoPinned, cuts };
  }

  #isMarked(topic: string): boolean {
    const { cache } = this.#rules;
    return cache !== undefined && (cache.topics.includes('*') || cache.topics.includes(topic));
  }
}

function rejected(found: Fault): Judgement {
  return { kind: 'rejected', fault: found };
}
