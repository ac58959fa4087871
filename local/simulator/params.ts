import { checkContent } from './contentrules.ts';
import { allowsThinking, findModel, outputLimit } from './models.ts';
import type { ModelEntry } from './modeltable.ts';
import { invalidRequest, notFound, type Refusal } from './refusal.ts';
import { isList, isObject, textOf, type JsonObject } from './shape.ts';
import { checkTools } from './toolrules.ts';

/**
 * What the service checks inside `params`: at once for Messages and count_tokens, and only while a batch is processed for its rows
 * (claude-batches.md 1.5). The first fault found is the one that is told.
 */

/** Which door the params came through; rules differ. */
export type Surface = 'batch' | 'messages' | 'count_tokens';

export interface ParamsQuestion {
  readonly params: JsonObject;
  readonly surface: Surface;
  readonly apiVersion: string;
  readonly betas: readonly string[];
  readonly nowMs: number;
}

export type ParamsVerdict = { readonly kind: 'valid'; readonly model: ModelEntry } | { readonly kind: 'refused'; readonly refusal: Refusal };

/** The newer API version, which no longer takes sampling parameters (claude-batches.md 1.1). */
export const VERSION_2026 = '2026-10-21';

const KNOWN_KEYS = new Set([
  'model', 'max_tokens', 'messages', 'system', 'metadata', 'stop_sequences', 'stream', 'temperature', 'top_p', 'top_k', 'thinking', 'tools',
  'tool_choice', 'cache_control', 'container', 'context_management', 'diagnostics', 'inference_geo', 'mcp_servers', 'output_config',
  'output_format', 'service_tier', 'speed', 'store', 'previous_thread_event_id', 'cache_hint', 'context_hint', 'fallbacks', 'betas',
  'research_preview_2026_02', 'billing_policy', 'user_profile_id', 'workspace_id',
]);

/** What the guide lists as unsupported inside a batch, beside `stream` and `max_tokens: 0` (claude-batches.md 1.5). */
const NOT_IN_BATCHES = ['store', 'previous_thread_event_id', 'cache_hint', 'context_hint', 'fallbacks'] as const;

/** Judges the params of one request. */
export function checkParams(question: ParamsQuestion): ParamsVerdict {
  const early = checkShape(question) ?? checkSurface(question);
  if (early !== undefined) {
    return { kind: 'refused', refusal: early };
  }
  const name = textOf(question.params.model) ?? '';
  const model = findModel(name, question.nowMs);
  if (model === undefined) {
    return { kind: 'refused', refusal: notFound(`model: ${name}`) };
  }
  const refusal =
    checkMaxTokens(question, model) ??
    checkSampling(question) ??
    checkThinking(question.params, model) ??
    checkContent(question.params, model, question.apiVersion) ??
    checkTools(question.params);
  return refusal === undefined ? { kind: 'valid', model } : { kind: 'refused', refusal };
}

function checkShape({ params, surface }: ParamsQuestion): Refusal | undefined {
  for (const [key, required] of [['messages', true], ['model', true], ['max_tokens', surface !== 'count_tokens']] as const) {
    if (required && params[key] === undefined) {
      return invalidRequest(`${key}: Field required`);
    }
  }
  if (typeof params.model !== 'string') {
    return invalidRequest('model: Input should be a valid string');
  }
  if (!isList(params.messages)) {
    return invalidRequest('messages: Input should be a valid list');
  }
  if (params.messages.length === 0) {
    return invalidRequest('messages: at least one message is required');
  }
  const unknown = Object.keys(params).find((key) => !KNOWN_KEYS.has(key));
  return unknown === undefined ? undefined : invalidRequest(`${unknown}: Extra inputs are not permitted`);
}

function checkSurface({ params, surface }: ParamsQuestion): Refusal | undefined {
  if (surface !== 'batch') {
    return undefined;
  }
  if (params.stream === true) {
    return invalidRequest('"stream=True" is not supported in the Message Batches API');
  }
  if (params.speed === 'fast') {
    return invalidRequest('"speed" is not supported in the Message Batches API');
  }
  if (params.research_preview_2026_02 === 'active') {
    return invalidRequest('"research_preview_2026_02" is not supported in the Message Batches API');
  }
  const named = NOT_IN_BATCHES.find((key) => params[key] !== undefined && params[key] !== null);
  if (named !== undefined) {
    return invalidRequest(`"${named}" is not supported in the Message Batches API`);
  }
  if (isObject(params.billing_policy) && params.billing_policy.bill_to === 'user_profile') {
    return invalidRequest('billing_policy.bill_to: "user_profile" is not supported in the Message Batches API');
  }
  return undefined;
}

function checkMaxTokens({ params, surface, betas }: ParamsQuestion, model: ModelEntry): Refusal | undefined {
  const asked = params.max_tokens;
  if (surface === 'count_tokens' || (surface === 'messages' && asked === 0)) {
    return undefined;
  }
  if (typeof asked !== 'number' || !Number.isInteger(asked)) {
    return invalidRequest('max_tokens: Input should be a valid integer');
  }
  if (asked < 1) {
    return invalidRequest('max_tokens: must be greater than or equal to 1');
  }
  const limit = outputLimit(model, surface === 'batch', betas);
  return asked > limit
    ? invalidRequest(`max_tokens: ${asked} > ${limit}, which is the maximum allowed number of output tokens for ${model.id}`)
    : undefined;
}

function checkSampling({ params, apiVersion }: ParamsQuestion): Refusal | undefined {
  for (const key of ['temperature', 'top_p', 'top_k'] as const) {
    const value = params[key];
    if (value === undefined || value === null) {
      continue;
    }
    if (apiVersion >= VERSION_2026) {
      return invalidRequest(`${key}: Extra inputs are not permitted`);
    }
    if (typeof value !== 'number') {
      return invalidRequest(`${key}: Input should be a valid number`);
    }
    if (key !== 'top_k' && (value < 0 || value > 1)) {
      return invalidRequest(`${key}: range: 0..1`);
    }
  }
  return undefined;
}

/** Model rules of claude-batches.md 1.5. */
function checkThinking(params: JsonObject, model: ModelEntry): Refusal | undefined {
  const { thinking } = params;
  if (thinking === undefined || thinking === null) {
    return undefined;
  }
  const type = isObject(thinking) ? (textOf(thinking.type) ?? '') : '';
  if (!isObject(thinking) || !['enabled', 'adaptive', 'disabled', 'between_tools'].includes(type)) {
    return invalidRequest("thinking: Input tag does not match any of the expected tags: 'adaptive', 'between_tools', 'disabled', 'enabled'");
  }
  if (!allowsThinking(model, type)) {
    return invalidRequest(`thinking.type.${type} is not supported for this model`);
  }
  if (type !== 'enabled') {
    return undefined;
  }
  const budget = thinking.budget_tokens;
  if (typeof budget !== 'number') {
    return invalidRequest('thinking.enabled.budget_tokens: Field required');
  }
  if (budget < 1024) {
    return invalidRequest('thinking.enabled.budget_tokens: Input should be greater than or equal to 1024');
  }
  return typeof params.max_tokens === 'number' && budget >= params.max_tokens
    ? invalidRequest('`max_tokens` must be greater than `thinking.budget_tokens`.')
    : undefined;
}
