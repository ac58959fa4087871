/**
 * What one request may consume, before it is sent: an upper bound of its input tokens, for the ledger to reserve, and an
 * expected number, for people to plan with. Pure: bytes and parsed params in, numbers out.
 *
 * The bound rests on one assumption, that of every byte-level tokenizer: a text has at most as many tokens as the bytes
 * of the text that the tokenizer sees, which may be its NFKC form (claude-batches.md 4.3). The text of a request is part
 * of its JSON, and JSON is never shorter than the text inside it once `\u` escapes and exponents are written out. So
 *
 *   bound = max(bytes(JSON), bytes(NFKC(JSON))) + digits that exponents hide + 16 + 8 per message + hidden tool prompts + 4,784 per image
 *
 * where base64 image data is left out of the bytes. What a tokenizer sees of a PDF, of a file or of a URL is not in the
 * request, so its bound is the context window of the model: one pass that does not fit in there is not answered. A
 * server tool makes the provider run several passes and bill each of them; no bound is known and the caller refuses.
 */
import { normalizedBytesMax } from './normalization.ts';
import { boundMicroUsd } from './price.ts';
import type { ModelPrice } from './price.ts';
import type { Estimate } from './segment.ts';

/** Counts as part of how a source is cut: another version may choose other segments for the same rows. */
export const estimatorVersion = 3;

/** Overheads in tokens (claude-batches.md 4.3 to 4.5). Figures that the page gives as "about" are rounded up. */
export const overheads = {
  perRequest: 16,
  perMessage: 8,
  /** The most that any image can cost: a high-resolution image after the provider has shrunk it. */
  perImage: 4_784,
  /** The longest hidden prompt of any model that is sent when there is a tool, `tool_choice` forced. */
  toolPrompt: 804,
  bashTool: 325,
  textEditorTool: 700,
  computerTool: 5_000,
  browserTool: 7_500,
  memoryTool: 700,
  /** Requests with a JSON schema for the answer get a hidden instruction whose length is not published. */
  outputFormat: 1_024,
} as const;

/** Priors of the expectation, until a topic is calibrated: 2.5 and 3.4 characters per token (claude-batches.md 4.2). */
const bytesPerToken = { newer: 2.5, previous: 3.4 } as const;
/** A PDF page costs 1,500 to 3,000 tokens of text and one image, and is about 100 kB of base64. */
const pdfBytesPerToken = 20;
/** What a document that is only named by its address is taken to be worth. */
const namedDocumentTokens = 10_000;

/** What a text of so many bytes is expected to count, rounded down. */
export function textTokensExpected(bytes: number, tokenizer: EstimatedModel['tokenizer']): number {
  return Math.floor(bytes / bytesPerToken[tokenizer]);
}

/** How many tokens of one tokenizer an expected token of another is worth. */
export function tokensPerToken(from: EstimatedModel['tokenizer'], to: EstimatedModel['tokenizer']): number {
  return bytesPerToken[from] / bytesPerToken[to];
}

/** The facts of a model that an estimate needs. */
export interface EstimatedModel extends ModelPrice {
  readonly tokenizer: 'previous' | 'newer';
}

export type Estimation =
  /** `mayWriteCache`: the request holds a marker of its own. */
  | { readonly kind: 'estimated'; readonly estimate: Estimate; readonly isGeoPinned: boolean; readonly mayWriteCache: boolean }
  /** `what` names the part of the request whose cost nobody can bound. */
  | { readonly kind: 'unbounded'; readonly what: string };

/** Params as JSON.parse gives them; strings may be latin1 readings of UTF-8, only ASCII parts are looked at. Long strings
 *  may be cut, base64 data excepted. */
export type ParsedParams = Readonly<Record<string, unknown>>;

/** What a walk over the content blocks finds. */
interface Contents {
  images: number;
  /** Bytes of base64 image data, which the tokenizer never sees. */
  imageBytes: number;
  pdfBytes: number;
  namedDocuments: number;
  /** Digits that are not in the JSON and may be in what the tokenizer sees of the inputs of tools. */
  hiddenDigits: number;
  /** A block whose tokens are not a function of its bytes. */
  isOpaque: boolean;
  /** A block marks a place up to which the prompt is written to the cache. */
  hasCacheControl: boolean;
}

/** One request to be estimated. */
export interface EstimatedRequest {
  /** The params, the UTF-8 bytes that are sent; valid JSON. */
  readonly json: Buffer;
  /** The same, parsed. */
  readonly params: ParsedParams;
  /** `max_tokens`, a checked integer. */
  readonly outputTokensMax: number;
  /** Whether the JSON has, or may have, a `\u` escape. */
  readonly hasEscapes: boolean;
  /** Somebody has found that normalising does not lengthen the JSON; nobody has when it is absent. */
  readonly isPlain?: boolean;
}

/** Estimates one request to a model. */
export function estimateParams(request: EstimatedRequest, model: EstimatedModel): Estimation {
  const { json, params, outputTokensMax, hasEscapes, isPlain } = request;
  const unbounded = unboundedPart(params);
  if (unbounded !== undefined) return { kind: 'unbounded', what: unbounded };

  const contents: Contents = { images: 0, imageBytes: 0, pdfBytes: 0, namedDocuments: 0, hiddenDigits: 0, isOpaque: false, hasCacheControl: false };
  const messages = Array.isArray(params['messages']) ? params['messages'] : [];
  for (const message of messages) if (isObject(message)) countBlocks(message['content'], contents);
  countBlocks(params['system'], contents);

  const fixed =
    overheads.perRequest + messages.length * overheads.perMessage + toolTokens(params['tools']) + outputFormatTokens(params) + contents.images * overheads.perImage;
  const isWindowBound = contents.isOpaque || contents.pdfBytes > 0 || contents.namedDocuments > 0;
  const normalizedBytes = isPlain ? json.length : normalizedBytesMax(hasEscapes ? withoutEscapes(json) : json);
  const digits = contents.hiddenDigits + hiddenDigits(params['tools']) + hiddenDigits(params['output_config']) + hiddenDigits(params['output_format']);
  const bytesMax = isWindowBound ? 0 : Math.max(json.length, normalizedBytes) + digits - contents.imageBytes;
  const inputTokensMax = isWindowBound ? model.contextTokensMax : Math.min(bytesMax + fixed, model.contextTokensMax);

  const textBytes = json.length - contents.imageBytes - contents.pdfBytes;
  const expected =
    textBytes / bytesPerToken[model.tokenizer] + contents.pdfBytes / pdfBytesPerToken + contents.namedDocuments * namedDocumentTokens + fixed - overheads.perRequest;
  const exposure = { mayWriteCache: contents.hasCacheControl || isSet(params['cache_control']) || hasCachedTool(params['tools']), isGeoPinned: isGeoPinned(params) };
  return {
    kind: 'estimated',
    ...exposure,
    estimate: {
      inputTokensExpected: Math.min(Math.ceil(expected), inputTokensMax),
      inputTokensMax,
      outputTokensMax,
      tokensMax: inputTokensMax + outputTokensMax,
      microUsdMax: boundMicroUsd(inputTokensMax, outputTokensMax, model, exposure),
    },
  };
}

/**
 * The estimate of a request that is given a marker after it was estimated: a marker is no text, so the tokens stay and their
 * price is that of a write to the cache, twice the input (claude-batches.md 3). The whole input is taken at it, because a
 * bound of the prefix alone would rest on where the provider counts hidden prompts.
 */
export function withCacheMarker(estimate: Estimate, model: EstimatedModel, isGeoPinned: boolean): Estimate {
  return { ...estimate, microUsdMax: boundMicroUsd(estimate.inputTokensMax, estimate.outputTokensMax, model, { mayWriteCache: true, isGeoPinned }) };
}

/**
 * The JSON with every `\u` escape written out as the character it stands for. An escape hides that character from the
 * normaliser: `\ufdfa` is 6 bytes here and 33 bytes to the tokenizer.
 */
function withoutEscapes(json: Buffer): Buffer {
  return Buffer.from(JSON.stringify(JSON.parse(json.toString('utf8'))), 'utf8');
}

/**
 * By how many bytes the numbers of a value can grow when it is written anew: definitions of tools, their inputs and schemas
 * are values to the provider and not text, and `1e20` becomes 21 digits. Nothing is known of how each number was written
 * here, so the shortest way is assumed.
 */
function hiddenDigits(value: unknown): number {
  if (typeof value === 'number') {
    const written = String(value).length;
    const shortest = value.toExponential().replace('e+', 'e').replace('.', '').length;
    return Math.max(0, written - shortest);
  }
  if (typeof value !== 'object' || value === null) return 0;
  let digits = 0;
  for (const inner of Object.values(value)) digits += hiddenDigits(inner);
  return digits;
}

/** Whether the request is pinned to a geography, which is billed with a factor. */
function isGeoPinned(params: ParsedParams): boolean {
  const geo = params['inference_geo'];
  return typeof geo === 'string' && geo !== 'global';
}

/** The part of a request that makes the provider run several passes, or undefined. */
function unboundedPart(params: ParsedParams): string | undefined {
  for (const key of ['mcp_servers', 'container', 'compaction', 'thread'] as const) {
    const value = params[key];
    if (isSet(value) && !(Array.isArray(value) && value.length === 0)) return key;
  }
  const management = params['context_management'];
  if (isObject(management) && Array.isArray(management['edits'])) {
    const compact = management['edits'].find((edit) => isObject(edit) && String(edit['type']).startsWith('compact'));
    if (compact !== undefined) return 'context_management.edits: compaction';
  }
  const tools = Array.isArray(params['tools']) ? params['tools'] : [];
  for (const [index, tool] of tools.entries()) {
    const type = isObject(tool) ? tool['type'] : undefined;
    if (typeof type === 'string' && clientToolTokens(type) === undefined) return `tools.${index} (a tool that runs at the provider)`;
  }
  return undefined;
}

function toolTokens(tools: unknown): number {
  if (!Array.isArray(tools) || tools.length === 0) return 0;
  let tokens: number = overheads.toolPrompt;
  for (const tool of tools) {
    const type = isObject(tool) ? tool['type'] : undefined;
    tokens += typeof type === 'string' ? (clientToolTokens(type) ?? 0) : 0;
  }
  return tokens;
}

/** Hidden tokens of a tool that the client runs; undefined: the provider runs it, or nobody knows. */
function clientToolTokens(type: string): number | undefined {
  if (type === 'custom') return 0;
  if (type.startsWith('bash_')) return overheads.bashTool;
  if (type.startsWith('text_editor_')) return overheads.textEditorTool;
  if (type.startsWith('computer_')) return overheads.computerTool;
  if (type.startsWith('browser_toolset_')) return overheads.browserTool;
  if (type.startsWith('memory_')) return overheads.memoryTool;
  return undefined;
}

function hasCachedTool(tools: unknown): boolean {
  return Array.isArray(tools) && tools.some((tool) => isObject(tool) && isSet(tool['cache_control']));
}

function outputFormatTokens(params: ParsedParams): number {
  const config = params['output_config'];
  const hasFormat = (isObject(config) && isObject(config['format'])) || isObject(params['output_format']);
  return hasFormat ? overheads.outputFormat : 0;
}

/** Walks the content of a message or of a tool result. The depth is bounded: the scan before the parse saw to that. */
function countBlocks(content: unknown, found: Contents): void {
  if (!Array.isArray(content)) return;
  for (const block of content) {
    if (!isObject(block)) continue;
    if (isSet(block['cache_control'])) found.hasCacheControl = true;
    switch (block['type']) {
      case 'tool_use':
        found.hiddenDigits += hiddenDigits(block['input']);
        break;
      case 'text':
      case 'thinking':
      case 'redacted_thinking':
      case 'tool_reference':
        break;
      case 'search_result':
      case 'tool_result':
        countBlocks(block['content'], found);
        break;
      case 'image':
        found.images += 1;
        found.imageBytes += base64Bytes(block['source']);
        break;
      case 'document':
        countDocument(block['source'], found);
        break;
      default:
        found.isOpaque = true;
    }
  }
}

function countDocument(source: unknown, found: Contents): void {
  const type = isObject(source) ? source['type'] : undefined;
  if (!isObject(source) || type === 'text') return;
  if (type === 'content') countBlocks(source['content'], found);
  else if (type === 'base64') found.pdfBytes += base64Bytes(source);
  else found.namedDocuments += 1;
}

/** Length of inline base64 data. The parsed string is never longer than its JSON, so leaving it out keeps the bound. */
function base64Bytes(source: unknown): number {
  if (!isObject(source) || source['type'] !== 'base64' || typeof source['data'] !== 'string') return 0;
  return source['data'].length;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
