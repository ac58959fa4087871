/**
 * The rules for params that the provider would only tell a day later, as an errored row (claude-batches.md 1.5): checked
 * on the way in, before anything is reserved or sent. One rule, one code. The params are the parsed ones; strings in
 * them may be latin1 readings of UTF-8, so a rule compares ASCII words and never measures text.
 */
import { suggest } from '../config/suggest.ts';
import type { ModelEntry, PriceTable } from '../config/models.ts';
import type { ParsedParams } from '../segments/estimate.ts';
import { didYouMean, fault, quoted } from './faults.ts';
import type { Fault } from './faults.ts';
import { checkContents, checkMessages } from './messages.ts';
import { fromLatin1 } from './scan.ts';

export type AnthropicVersion = '2026-10-21' | '2023-06-01';

/** What the rules depend on. */
export interface ValidationRules {
  readonly anthropicVersion: AnthropicVersion;
  readonly price: PriceTable;
}

export type Validation =
  | { readonly kind: 'valid'; readonly model: ModelEntry; readonly maxTokens: number }
  | { readonly kind: 'fault'; readonly fault: Fault };

/** Keys of a Messages request, from the parameter types of the official SDK 1.12.0, beta surface included. */
const knownParams: readonly string[] = [
  'model', 'max_tokens', 'messages', 'system', 'metadata', 'stop_sequences', 'stream', 'temperature', 'top_k', 'top_p', 'thinking',
  'tools', 'tool_choice', 'service_tier', 'cache_control', 'container', 'context_management', 'inference_geo', 'mcp_servers',
  'output_config', 'output_format', 'speed', 'compaction', 'diagnostics', 'thread', 'billing_policy', 'user_profile_id',
];

/** Keys that a batch refuses whatever their value (claude-batches.md 1.5), and why. */
const refusedParams: Readonly<Record<string, string>> = {
  store: 'a Message Batch stores nothing',
  previous_thread_event_id: 'a Message Batch has no threads',
  cache_hint: 'a Message Batch takes no hints',
  context_hint: 'a Message Batch takes no hints',
  fallbacks: 'a Message Batch has no fallbacks',
  fallback_credit_token: 'a Message Batch has no fallbacks',
  betas: 'it is a header of the whole batch, not a field of one request',
  workspace_id: 'it is a header of the whole batch, not a field of one request',
};

const samplingParams = ['temperature', 'top_p', 'top_k'] as const;

/** Judges the params of one prompt. */
export function validateParams(params: ParsedParams, rules: ValidationRules): Validation {
  const found = checkKeys(params) ?? checkSampling(params, rules.anthropicVersion);
  if (found) return { kind: 'fault', fault: found };
  const model = findModel(params['model'], rules.price);
  if ('fault' in model) return { kind: 'fault', fault: model.fault };
  const maxTokens = params['max_tokens'];
  const isCount = typeof maxTokens === 'number' && Number.isSafeInteger(maxTokens) && maxTokens >= 1;
  const later =
    checkMaxTokens(maxTokens, isCount, model.entry) ??
    checkMessages(params['messages']) ??
    checkContents(params['messages'], params['system'], rules.anthropicVersion) ??
    checkThinking(params['thinking'], isCount ? maxTokens : 0, model.entry) ??
    checkTools(params['tools'], params['tool_choice']) ??
    checkValues(params);
  if (later || !isCount) return { kind: 'fault', fault: later ?? fault('max_tokens_invalid', 'max_tokens must be a positive integer') };
  return { kind: 'valid', model: model.entry, maxTokens };
}

function checkKeys(params: ParsedParams): Fault | undefined {
  for (const key of Object.keys(params)) {
    const reason = Object.hasOwn(refusedParams, key) ? refusedParams[key] : undefined;
    if (reason !== undefined) return fault('param_refused', `params.${key} is not accepted: ${reason}`);
    if (key.startsWith('research_preview_')) {
      if (params[key] === 'active') return fault('param_refused', `params.${key} "active" is not accepted in a Message Batch`);
    } else if (!knownParams.includes(key)) {
      const word = fromLatin1(key);
      return fault('param_unknown', `the Messages API has no parameter ${quoted(word)}${didYouMean(suggest(word, knownParams))}`);
    }
  }
  if (params['stream'] === true) return fault('param_refused', 'params.stream must not be true: a Message Batch does not stream');
  if (typeof params['speed'] === 'string' && params['speed'] !== 'standard') {
    return fault('param_refused', 'params.speed must be left out: there is no fast mode in a Message Batch');
  }
  return undefined;
}

function checkSampling(params: ParsedParams, version: AnthropicVersion): Fault | undefined {
  for (const key of samplingParams) {
    const value = params[key];
    if (value === undefined || value === null) continue;
    if (version === '2026-10-21') {
      return fault('sampling_refused', `API version 2026-10-21 refuses ${key}; leave it out, or set anthropic.version to 2023-06-01`);
    }
    const isFine = key === 'top_k' ? Number.isSafeInteger(value) && Number(value) >= 0 : typeof value === 'number' && value >= 0 && value <= 1;
    if (!isFine) return fault('param_invalid', key === 'top_k' ? 'top_k must be a whole number from 0 on' : `${key} must be a number from 0 to 1`);
  }
  return undefined;
}

function findModel(value: unknown, price: PriceTable): { readonly entry: ModelEntry } | { readonly fault: Fault } {
  if (value === undefined) return { fault: fault('model_missing', 'no model is given; in the short shape it can come from --model or the configuration') };
  if (typeof value !== 'string' || value === '') return { fault: fault('model_missing', 'the model must be a string that is not empty') };
  const entry = price.find(value);
  if (!entry) {
    const name = fromLatin1(value);
    return { fault: fault('model_unknown', `the price table of ${price.version} has no model ${quoted(name)}${didYouMean(price.nearest(name))}; a model that is new is added with its prices through prices.file`) };
  }
  if (entry.status === 'retired') {
    return { fault: fault('model_retired', `the provider has retired ${entry.model}${entry.retiresOn === undefined ? '' : ` on ${entry.retiresOn}`}`) };
  }
  return { entry };
}

function checkMaxTokens(value: unknown, isCount: boolean, model: ModelEntry): Fault | undefined {
  if (value === undefined) return fault('max_tokens_missing', 'no max_tokens is given; in the short shape it can come from --max-tokens or the configuration');
  if (!isCount) return fault('max_tokens_invalid', 'max_tokens must be a positive integer');
  if (Number(value) <= model.outputTokensMax) return undefined;
  return fault('max_tokens_too_large', `max_tokens ${Number(value)} is more than ${model.model} can answer, ${model.outputTokensMax}`);
}

/** claude-batches.md 1.5: `enabled` is refused from generation 4.7 on, and its budget lies between 1,024 and max_tokens. */
function checkThinking(value: unknown, maxTokens: number, model: ModelEntry): Fault | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) return fault('thinking_invalid', 'thinking must be an object');
  if (value['type'] !== 'enabled') return undefined;
  if (model.tokenizer === 'newer') return fault('thinking_invalid', `${model.model} refuses thinking.type "enabled"; use "adaptive"`);
  const budget = value['budget_tokens'];
  const isBudget = typeof budget === 'number' && Number.isSafeInteger(budget) && budget >= 1_024 && budget < maxTokens;
  return isBudget ? undefined : fault('thinking_invalid', 'thinking.budget_tokens must be at least 1024 and less than max_tokens');
}

function checkTools(tools: unknown, choice: unknown): Fault | undefined {
  if (tools !== undefined && tools !== null && !(Array.isArray(tools) && tools.every(isObject))) {
    return fault('param_invalid', 'tools must be an array of objects');
  }
  if (!isObject(choice) || choice['type'] !== 'tool') return undefined;
  const isThere = Array.isArray(tools) && tools.some((tool) => isObject(tool) && tool['name'] === choice['name']);
  return isThere ? undefined : fault('tool_choice_invalid', `tool_choice names ${quoted(fromLatin1(String(choice['name'])))}, which is not among the tools`);
}

function checkValues(params: ParsedParams): Fault | undefined {
  const stops = params['stop_sequences'];
  if (stops !== undefined && stops !== null && !(Array.isArray(stops) && stops.every((stop) => typeof stop === 'string'))) {
    return fault('param_invalid', 'stop_sequences must be an array of strings');
  }
  if (params['metadata'] !== undefined && params['metadata'] !== null && !isObject(params['metadata'])) {
    return fault('param_invalid', 'params.metadata must be an object; metadata of your own belongs beside the params');
  }
  return undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
