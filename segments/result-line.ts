/**
 * One line of a batch's results, read in place: the few fields that matter are kept as byte ranges, everything else is
 * skipped. It sees what `JSON.parse` would see (the last of two equal keys wins, escaped keys count), because it walks
 * the structure: answer text that contains `"usage":{` and tool input that holds a key `result` lie inside a string or
 * deeper down, and never mislead it.
 *
 * One real line (claude-batches.md 1.7):
 *   {"custom_id":"7f3a91c2ab-000012_00417_1f0zk3m","result":{"type":"succeeded","message":{…,"model":"claude-…",
 *    "content":[{"type":"text","text":"…"}],"stop_reason":"end_turn","usage":{"input_tokens":16,…}}}}
 */
import { isUtf8 } from 'node:buffer';
import { malformed } from './json-bytes.ts';
import { JsonScanner } from './json-scan.ts';
import { clearSpan, noSpan, type Span } from './json-span.ts';
import type { Usage } from './segment.ts';

/** What became of a request, in the provider's words. */
export const resultKinds = ['succeeded', 'errored', 'canceled', 'expired'] as const;
export type ResultKind = (typeof resultKinds)[number];

/** The keys that are read, and after them those that are only expected: known keys are the cheaper ones to pass by. */
const keyNames = [
  'custom_id',
  'result',
  'type',
  'message',
  'error',
  'model',
  'content',
  'stop_reason',
  'usage',
  'text',
  'input_tokens',
  'output_tokens',
  'cache_read_input_tokens',
  'cache_creation_input_tokens',
  'cache_creation',
  'ephemeral_5m_input_tokens',
  'ephemeral_1h_input_tokens',
  'id',
  'role',
  'stop_sequence',
  'service_tier',
  'inference_geo',
] as const;
const key = Object.fromEntries(keyNames.map((name, place) => [name, place])) as Readonly<Record<(typeof keyNames)[number], number>>;

/** Reads result lines one after the other; its fields describe the line that was read last. */
export class ResultLine {
  kind: ResultKind = 'expired';
  /** Where the line begins in the bytes; its spans count from the same place as this. */
  from = 0;
  readonly customId: Span = noSpan();
  /** The value of `result`, verbatim JSON. */
  readonly result: Span = noSpan();
  readonly model: Span = noSpan();
  readonly stopReason: Span = noSpan();
  readonly errorType: Span = noSpan();
  readonly errorMessage: Span = noSpan();
  /** The strings of the answer's text blocks: from, to, from, to, … */
  readonly texts: number[] = [];
  inputTokens = NaN;
  outputTokens = NaN;
  cacheReadInputTokens = 0;
  /** All cache writes; never less than the sum of their two kinds. */
  cacheWriteInputTokens = 0;
  cacheWrite1hInputTokens = 0;

  readonly #scan = new JsonScanner(keyNames);
  readonly #type: Span = noSpan();
  readonly #blockType: Span = noSpan();
  readonly #blockText: Span = noSpan();
  #isObject = false;
  #cacheWrite5m = 0;

  /**
   * Reads the line `bytes[from, to)`. A newline must follow it, optionally after a carriage return. `isKnownUtf8` saves
   * the check when the caller has made it for many lines at once, `isKnownSound` the look at every byte of its strings when
   * this very line was read before.
   * @returns false when it is not JSON in UTF-8 or not a result: no `custom_id`, an unknown kind, or a succeeded row
   * without a model or without whole, non-negative token counts below 2^32.
   */
  read(bytes: Buffer, from: number, to: number, isKnownUtf8: boolean, isKnownSound = false): boolean {
    if (!isKnownUtf8 && !isUtf8(bytes.subarray(from, to))) return false;
    this.from = from;
    this.#scan.start(bytes, from, to, isKnownSound);
    clearSpan(this.customId);
    this.#resetResult();
    try {
      this.#line();
      return this.#scan.isAtEnd(to) && this.#isResult();
    } catch (error) {
      if (error === malformed) return false;
      throw error;
    }
  }

  /** What a succeeded row consumed. */
  usage(): Usage {
    return {
      inputTokens: this.inputTokens,
      outputTokens: this.outputTokens,
      cacheReadInputTokens: this.cacheReadInputTokens,
      cacheWriteInputTokens: this.cacheWriteInputTokens,
      cacheWrite1hInputTokens: this.cacheWrite1hInputTokens,
    };
  }

  /** The string of one of this line's spans, unescaped; undefined when there is none. */
  textOf(span: Span): string | undefined {
    return span.from < 0 ? undefined : this.#scan.textOf(span);
  }

  /** Whether one of this line's spans holds exactly this ASCII text. */
  isText(span: Span, text: string): boolean {
    return this.#scan.isText(span, text);
  }

  #isResult(): boolean {
    const kind = this.#kindOf(this.#type);
    if (this.customId.from < 0 || !this.#isObject || kind === undefined) return false;
    this.kind = kind;
    if (kind !== 'succeeded') return true;
    this.cacheWriteInputTokens = Math.max(this.cacheWriteInputTokens, this.#cacheWrite5m + this.cacheWrite1hInputTokens);
    return (
      this.model.from >= 0 &&
      isCount(this.inputTokens) &&
      isCount(this.outputTokens) &&
      isCount(this.cacheReadInputTokens) &&
      isCount(this.cacheWriteInputTokens) &&
      isCount(this.cacheWrite1hInputTokens) &&
      isCount(this.#cacheWrite5m)
    );
  }

  #kindOf(span: Span): ResultKind | undefined {
    for (const kind of resultKinds) if (this.#scan.isText(span, kind)) return kind;
    return undefined;
  }

  #line(): void {
    const scan = this.#scan;
    if (!scan.entersObject()) throw malformed;
    for (let more = scan.firstKey(); more; more = scan.nextKey()) {
      if (scan.key === key.custom_id) scan.stringInto(this.customId);
      else if (scan.key === key.result) this.#resultValue();
      else scan.skipValue();
    }
  }

  #resultValue(): void {
    const scan = this.#scan;
    this.#resetResult();
    scan.byteAfterSpace();
    const from = scan.at;
    this.#isObject = scan.entersObject();
    if (this.#isObject) {
      for (let more = scan.firstKey(); more; more = scan.nextKey()) {
        if (scan.key === key.type) scan.stringInto(this.#type);
        else if (scan.key === key.message) this.#messageValue();
        else if (scan.key === key.error) this.#errorValue();
        else scan.skipValue();
      }
    } else {
      scan.skipValue();
    }
    this.result.from = from;
    this.result.to = scan.at;
  }

  #messageValue(): void {
    const scan = this.#scan;
    this.#resetMessage();
    if (!scan.entersObject()) return scan.skipValue();
    for (let more = scan.firstKey(); more; more = scan.nextKey()) {
      if (scan.key === key.model) scan.stringInto(this.model);
      else if (scan.key === key.content) this.#contentValue();
      else if (scan.key === key.stop_reason) scan.stringInto(this.stopReason);
      else if (scan.key === key.usage) this.#usageValue();
      else scan.skipValue();
    }
  }

  #contentValue(): void {
    const scan = this.#scan;
    this.texts.length = 0;
    if (!scan.entersArray()) return scan.skipValue();
    for (let more = scan.firstItem(); more; more = scan.nextItem()) this.#contentBlock();
  }

  #contentBlock(): void {
    const scan = this.#scan;
    clearSpan(this.#blockType);
    clearSpan(this.#blockText);
    if (!scan.entersObject()) return scan.skipValue();
    for (let more = scan.firstKey(); more; more = scan.nextKey()) {
      if (scan.key === key.type) scan.stringInto(this.#blockType);
      else if (scan.key === key.text) scan.stringInto(this.#blockText);
      else scan.skipValue();
    }
    const isText = this.#blockText.from >= 0 && scan.isText(this.#blockType, 'text');
    if (isText) this.texts.push(this.#blockText.from, this.#blockText.to);
  }

  #usageValue(): void {
    const scan = this.#scan;
    this.#resetUsage();
    if (!scan.entersObject()) return scan.skipValue();
    for (let more = scan.firstKey(); more; more = scan.nextKey()) {
      if (scan.key === key.input_tokens) this.inputTokens = scan.number(NaN);
      else if (scan.key === key.output_tokens) this.outputTokens = scan.number(NaN);
      else if (scan.key === key.cache_read_input_tokens) this.cacheReadInputTokens = scan.number(0);
      else if (scan.key === key.cache_creation_input_tokens) this.cacheWriteInputTokens = scan.number(0);
      else if (scan.key === key.cache_creation) this.#cacheCreationValue();
      else scan.skipValue();
    }
  }

  #cacheCreationValue(): void {
    const scan = this.#scan;
    this.#cacheWrite5m = 0;
    this.cacheWrite1hInputTokens = 0;
    if (!scan.entersObject()) return scan.skipValue();
    for (let more = scan.firstKey(); more; more = scan.nextKey()) {
      if (scan.key === key.ephemeral_5m_input_tokens) this.#cacheWrite5m = scan.number(0);
      else if (scan.key === key.ephemeral_1h_input_tokens) this.cacheWrite1hInputTokens = scan.number(0);
      else scan.skipValue();
    }
  }

  /** The error is doubly nested: the type and the message that matter are at `result.error.error`. */
  #errorValue(): void {
    const scan = this.#scan;
    this.#resetError();
    if (!scan.entersObject()) return scan.skipValue();
    for (let more = scan.firstKey(); more; more = scan.nextKey()) {
      if (scan.key === key.error) this.#innerErrorValue();
      else scan.skipValue();
    }
  }

  #innerErrorValue(): void {
    const scan = this.#scan;
    this.#resetError();
    if (!scan.entersObject()) return scan.skipValue();
    for (let more = scan.firstKey(); more; more = scan.nextKey()) {
      if (scan.key === key.type) scan.stringInto(this.errorType);
      else if (scan.key === key.message) scan.stringInto(this.errorMessage);
      else scan.skipValue();
    }
  }

  // A key that comes twice starts over, as it would under JSON.parse; so each value resets what lies below it.

  #resetResult(): void {
    clearSpan(this.result);
    clearSpan(this.#type);
    this.#isObject = false;
    this.#resetMessage();
    this.#resetError();
  }

  #resetMessage(): void {
    clearSpan(this.model);
    clearSpan(this.stopReason);
    this.texts.length = 0;
    this.#resetUsage();
  }

  #resetUsage(): void {
    this.inputTokens = NaN;
    this.outputTokens = NaN;
    this.cacheReadInputTokens = 0;
    this.cacheWriteInputTokens = 0;
    this.#cacheWrite5m = 0;
    this.cacheWrite1hInputTokens = 0;
  }

  #resetError(): void {
    clearSpan(this.errorType);
    clearSpan(this.errorMessage);
  }
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffffffff;
}
