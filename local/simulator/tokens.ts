import type { PromptBlock } from './content.ts';
import { pdfPages, pdfPageTokens, pictureSize, pictureTokens, pictureTokensMax } from './media.ts';
import type { ModelEntry } from './modeltable.ts';
import { isObject, listOf, textOf, type JsonObject } from './shape.ts';

/**
 * Token counts. The real tokenizers are not public; this one splits text into words, numbers and signs, which lands where the documentation's
 * two examples are (claude-batches.md 4.2), and it is a pure function, so count_tokens, bills and tests agree to the token.
 *
 * Invariants
 *   N1  A prompt counts the same for count_tokens, Messages and batches.
 *   N2  A text never counts more tokens than it has UTF-8 bytes, so the upper bound of claude-batches.md 4.3 holds in both billing modes.
 */

export type Billing = 'plausible' | 'worst';

/** Fixed tokens per request and per message (claude-batches.md 4.2 for plausible, 4.3 for worst). */
const OVERHEAD = { plausible: { request: 3, message: 4 }, worst: { request: 16, message: 8 } } as const;

/** The older tokenizer needs about 30 % fewer tokens for the same text (claude-batches.md 4.2). */
const PREVIOUS_FACTOR = 1 / 1.3;

/** Tokens of one text. */
export function textTokens(text: string, model: ModelEntry, billing: Billing): number {
  return measureText(text, model, billing).tokens;
}

/** What one pass over a text finds: its tokens, and a 32-bit digest of its bytes from which answers are seeded. */
export interface TextMeasure {
  readonly tokens: number;
  readonly digest: number;
}

/** Tokens and digest of one text. */
export function measureText(text: string, model: ModelEntry, billing: Billing): TextMeasure {
  const { tokens, digest } = walkText(text);
  if (billing === 'worst') {
    return { tokens: Buffer.byteLength(text.normalize('NFKC')), digest };
  }
  return { tokens: tokensFor(model, tokens), digest };
}

/** What a text of so many tokens for the newer tokenizer counts for the one of `model`. */
export function tokensFor(model: ModelEntry, newer: number): number {
  return model.tokenizer === 'newer' ? newer : Math.ceil(newer * PREVIOUS_FACTOR);
}

/** Tokens of a text for the newer tokenizer. */
export function newerTokens(text: string): number {
  return walkText(text).tokens;
}

/**
 * Words up to nine letters are one token, three digits are one, each sign is one, a character outside ASCII is one, four spaces are one.
 * Counted over UTF-8 bytes by a table: the state is what the present run is made of and how long it is; each byte leads to the next state
 * and adds a token or not. No branch depends on the text, which makes it three times as fast as asking. The digest takes four bytes at a
 * time, because the two together would wait for each other at every byte of a full batch.
 */
function walkText(text: string): TextMeasure {
  if (text.length * 3 + 4 > bytes.length) {
    bytes = Buffer.allocUnsafeSlow(text.length * 3 + 4);
  }
  const written = bytes;
  const length = written.write(text);
  let tokens = 0;
  let state = 0;
  for (let index = 0; index < length; index += 1) {
    const step = STEPS[state | (CLASSES[written[index] ?? 0] ?? 0)] ?? 0;
    tokens += step >> 8;
    state = step & 0xff;
  }
  return { tokens, digest: digestOf(written, length) };
}

/** A 32-bit digest of the first `length` bytes: multiply and xor over words, the last one filled up with zeros. */
function digestOf(space: Buffer, length: number): number {
  space.fill(0, length, length + 3);
  const words = new Int32Array(space.buffer, space.byteOffset, (length + 3) >> 2);
  let digest = 0x811c9dc5 ^ length;
  for (let index = 0; index < words.length; index += 1) {
    digest = Math.imul(digest ^ (words[index] ?? 0), 0x01000193);
    digest ^= digest >>> 15;
  }
  return digest;
}

/** Space the text is written into before it is counted; grows with the longest text. */
let bytes = Buffer.allocUnsafeSlow(65_536);

const SPACE = 0;
const LETTER = 1;
const DIGIT = 2;
const SIGN = 3;
/** The first byte of a character outside ASCII, and the bytes that continue it. */
const FOREIGN = 4;
const CONTINUATION = 5;
/** Length of a run after which a further token begins, and where the states of such runs lie. Signs and the rest share one state. */
const RUNS = [
  { kind: SPACE, first: 0, longest: 4 },
  { kind: LETTER, first: 4, longest: 9 },
  { kind: DIGIT, first: 13, longest: 3 },
] as const;
const OTHER_STATE = 16;

const CLASSES = new Uint8Array(256);
CLASSES.fill(SIGN, 0, 0x80);
CLASSES.fill(DIGIT, 0x30, 0x3a);
CLASSES.fill(LETTER, 0x41, 0x5b);
CLASSES.fill(LETTER, 0x61, 0x7b);
CLASSES[0x20] = SPACE;
CLASSES.fill(CONTINUATION, 0x80, 0xc0);
CLASSES.fill(FOREIGN, 0xc0, 0x100);

/** Index: state times eight plus class. Value: the next state times eight, plus 256 if a token begins. */
const STEPS = new Uint16Array(256);
for (let state = 0; state <= OTHER_STATE; state += 1) {
  for (let kind = SPACE; kind <= CONTINUATION; kind += 1) {
    STEPS[state * 8 + kind] = stepOf(state, kind);
  }
}

function stepOf(state: number, kind: number): number {
  const run = RUNS.find((known) => known.kind === kind);
  if (run === undefined) {
    return OTHER_STATE * 8 + (kind === CONTINUATION ? 0 : 256);
  }
  const isSameRun = state >= run.first && state < run.first + run.longest;
  if (isSameRun && state + 1 < run.first + run.longest) {
    return (state + 1) * 8;
  }
  return run.first * 8 + (isSameRun || kind !== SPACE ? 256 : 0);
}

/** Tokens of a picture or PDF. */
export function mediaTokens(block: PromptBlock, model: ModelEntry, billing: Billing): number {
  const { media } = block;
  if (media === undefined) {
    return 0;
  }
  const bytes = media.source === 'base64' ? Buffer.from(media.data, 'base64') : undefined;
  if (media.kind === 'pdf') {
    return (bytes === undefined ? 1 : pdfPages(bytes)) * pdfPageTokens(model, billing === 'worst');
  }
  const size = bytes === undefined ? undefined : pictureSize(bytes);
  return billing === 'worst' || size === undefined ? pictureTokensMax(model) : pictureTokens(size, model);
}

/** Tokens and digest of one block. */
export function measureBlock(block: PromptBlock, model: ModelEntry, billing: Billing): TextMeasure {
  const text = measureText(block.text, model, billing);
  if (block.media === undefined) {
    return text;
  }
  const { digest } = measureText(block.media.data, model, 'plausible');
  return { tokens: text.tokens + mediaTokens(block, model, billing), digest: Math.imul(text.digest ^ digest, 0x01000193) };
}

/** Tokens that belong to no block: the frame of the request and its messages, and the hidden prompt that tools bring (claude-batches.md 4.5). */
export function overheadTokens(params: JsonObject, model: ModelEntry, billing: Billing): number {
  const frame = OVERHEAD[billing];
  const tools = listOf(params.tools);
  const messages = Math.max(1, listOf(params.messages).length);
  return frame.request + frame.message * messages + (tools.length === 0 ? 0 : toolPromptTokens(params, model)) + predefinedTokens(tools, model);
}

function toolPromptTokens(params: JsonObject, model: ModelEntry): number {
  const choice = isObject(params.tool_choice) ? params.tool_choice.type : 'auto';
  return model.toolPrompt[choice === 'any' || choice === 'tool' ? 1 : 0];
}

/** Extra tokens of the service's own tools (claude-batches.md 4.5). */
function predefinedTokens(tools: readonly unknown[], model: ModelEntry): number {
  let tokens = 0;
  for (const tool of tools) {
    const type = isObject(tool) ? (textOf(tool.type) ?? '') : '';
    if (type.startsWith('bash_')) {
      tokens += model.generation >= 47 ? 325 : 244;
    } else if (type.startsWith('text_editor_')) {
      tokens += 700;
    } else if (type.startsWith('computer_')) {
      tokens += 4_500;
    } else if (type.startsWith('browser_')) {
      tokens += 6_600;
    }
  }
  return tokens;
}
