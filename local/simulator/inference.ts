import { composeAnswer, type AnswerQuestion, type Composed } from './answer.ts';
import { answerOf, type Answer, type AnswerFunction } from './answersource.ts';
import { promptBlocks } from './content.ts';
import { costPicoUsd } from './models.ts';
import type { ModelEntry } from './modeltable.ts';
import { checkParams, type ParamsQuestion } from './params.ts';
import type { CacheUse, PromptCache } from './promptcache.ts';
import { invalidRequest, statusOfType, type Refusal } from './refusal.ts';
import { SchemaEndless } from './schema.ts';
import { generator, identifier, uniform } from './seeded.ts';
import { isObject, listOf, numberOf, textOf, type JsonObject } from './shape.ts';
import { measureBlock, overheadTokens, type Billing } from './tokens.ts';

/**
 * One request through the simulated model: judge the params, count the prompt, ask the cache, compose the answer, make the bill. Batches and
 * Messages share it, so both say the same about the same prompt.
 */

export interface InferenceWorld {
  readonly seed: number;
  readonly billing: Billing;
  readonly cache: PromptCache;
  readonly answers: AnswerFunction | undefined;
}

export interface InferenceRequest extends ParamsQuestion {
  readonly workspaceId: string;
  /** When the request, or the batch that holds it, arrived, in simulated ms. */
  readonly arrivedMs: number;
  /** Names this request for its ids and its luck with the cache: batch and custom_id, or the request id. */
  readonly label: string;
  readonly batchId: string | undefined;
  readonly customId: string | undefined;
  readonly forced: 'refusal' | 'max_tokens' | undefined;
}

/** The four numbers of a bill, named as on the wire. */
export interface BilledUsage {
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly cache_creation_input_tokens: number;
  readonly cache_read_input_tokens: number;
}

export type Inference =
  | { readonly kind: 'answered'; readonly model: ModelEntry; readonly message: JsonObject; readonly billed: BilledUsage; readonly costPicoUsd: number }
  /** `isRunning` is true for a failure that happened while the model ran, which carries a worker's request id (claude-batches.md 1.7). */
  | { readonly kind: 'refused'; readonly refusal: Refusal; readonly isRunning: boolean };

/** The whole prompt in tokens, as count_tokens tells it and as bills add up to. */
export interface PromptCount {
  readonly blocks: ReturnType<typeof promptBlocks>;
  /** Tokens of each block. */
  readonly tokens: readonly number[];
  /** Digest of each block. */
  readonly digests: readonly number[];
  readonly overhead: number;
  readonly total: number;
}

export function countPrompt(params: JsonObject, model: ModelEntry, billing: Billing): PromptCount {
  const blocks = promptBlocks(params);
  const measures = blocks.map((block) => measureBlock(block, model, billing));
  const tokens = measures.map((measure) => measure.tokens);
  const digests = measures.map((measure) => measure.digest);
  const overhead = overheadTokens(params, model, billing);
  return { blocks, tokens, digests, overhead, total: tokens.reduce((sum, count) => sum + count, overhead) };
}

/** Answers one request. */
export async function infer(world: InferenceWorld, request: InferenceRequest): Promise<Inference> {
  const verdict = checkParams(request);
  if (verdict.kind === 'refused') {
    return { kind: 'refused', refusal: verdict.refusal, isRunning: verdict.refusal.message.startsWith('Unable to download') };
  }
  const { model } = verdict;
  const count = countPrompt(request.params, model, world.billing);
  if (count.total > model.context && world.billing === 'plausible') {
    return { kind: 'refused', refusal: invalidRequest(`prompt is too long: ${count.total} tokens > ${model.context} maximum`), isRunning: true };
  }
  const prompt = lastUserText(request.params);
  const own = await ownAnswer(world, request, model, prompt);
  if (own?.error !== undefined) {
    const { type, message } = own.error;
    return { kind: 'refused', refusal: { status: statusOfType(type), type, message }, isRunning: true };
  }
  const next = generator(promptSeed(world.seed, request.params, count));
  // Fields are named one by one here: copying whole objects takes as long as counting the prompt, once per row.
  const { params, label, forced, workspaceId, arrivedMs, nowMs } = request;
  const composed = composedOf({ params, label, forced, model, promptTokens: count.total, prompt, next, seed: world.seed, own });
  if (composed === undefined) {
    return { kind: 'refused', refusal: { status: 500, type: 'api_error', message: 'The schema of the answer has no finite value.' }, isRunning: true };
  }
  const { blocks, tokens, overhead } = count;
  const use = world.cache.use({ blocks, tokens, overhead, workspaceId, model, label, arrivedMs, nowMs });
  const outputTokens = world.billing === 'worst' ? (numberOf(request.params.max_tokens) ?? 0) : composed.outputTokens;
  const geo = textOf(request.params.inference_geo);
  // What is undefined does not appear in JSON; to leave it out here would copy the object.
  const message = {
    id: identifier('msg_01', 22, world.seed, 'message', request.label),
    type: 'message',
    role: 'assistant',
    model: model.id,
    content: composed.content,
    stop_reason: composed.stopReason,
    stop_sequence: composed.stopSequence,
    stop_details: composed.stopDetails,
    usage: usageOf(use, outputTokens, composed.thinkingTokens, model, request.surface === 'batch', geo),
  };
  return {
    kind: 'answered',
    model,
    message,
    billed: {
      input_tokens: use.input,
      output_tokens: outputTokens,
      cache_creation_input_tokens: use.write5m + use.write1h,
      cache_read_input_tokens: use.read,
    },
    costPicoUsd: costPicoUsd(model, { input: use.input, write5m: use.write5m, write1h: use.write1h, read: use.read, output: outputTokens }, request.surface === 'batch', geo),
  };
}

/** Usage in the captured key order (claude-batches.md 1.7). What is undefined does not appear in JSON. */
function usageOf(use: CacheUse, outputTokens: number, thinkingTokens: number, model: ModelEntry, isBatch: boolean, geo: string | undefined): JsonObject {
  return {
    input_tokens: use.input,
    cache_creation_input_tokens: use.write5m + use.write1h,
    cache_read_input_tokens: use.read,
    cache_creation: { ephemeral_5m_input_tokens: use.write5m, ephemeral_1h_input_tokens: use.write1h },
    output_tokens: outputTokens,
    output_tokens_details: thinkingTokens > 0 ? { thinking_tokens: thinkingTokens } : undefined,
    service_tier: isBatch ? 'batch' : 'standard',
    inference_geo: model.geo ? (geo ?? 'global') : 'not_available',
  };
}

async function ownAnswer(world: InferenceWorld, request: InferenceRequest, model: ModelEntry, prompt: string): Promise<Answer | undefined> {
  if (world.answers === undefined) {
    return undefined;
  }
  const { params, customId, batchId } = request;
  try {
    const answer = await world.answers({ params, prompt, model: model.id, customId, batchId, seed: world.seed });
    return answerOf(answer);
  } catch {
    return { error: { type: 'api_error', message: 'The answers module failed on this request.' } };
  }
}

/** Undefined when the answer has to satisfy a schema that nothing satisfies. */
function composedOf(question: AnswerQuestion): Composed | undefined {
  try {
    return composeAnswer(question);
  } catch (cause) {
    if (cause instanceof SchemaEndless) {
      return undefined;
    }
    throw cause;
  }
}

/** A 32-bit seed that depends on the simulator's seed, the model, the prompt and what shapes the answer, and on nothing else. */
function promptSeed(seed: number, params: JsonObject, count: PromptCount): number {
  const shape = params.output_config === undefined && params.tool_choice === undefined ? '' : JSON.stringify([params.output_config, params.tool_choice]);
  return Math.floor(uniform(seed, textOf(params.model) ?? '', shape, ...count.digests) * 4_294_967_296);
}

function lastUserText(params: JsonObject): string {
  const last = listOf(params.messages).findLast((message) => isObject(message) && message.role === 'user');
  const content = isObject(last) ? last.content : undefined;
  if (typeof content === 'string') {
    return content;
  }
  return listOf(content).map((block) => (isObject(block) ? (textOf(block.text) ?? '') : '')).join('');
}
