import { MODELS, type ModelEntry, type Prices } from './modeltable.ts';
import type { JsonObject } from './shape.ts';

/** Questions about models: resolving a name, its age, its price. */

const BY_NAME = new Map<string, ModelEntry>(MODELS.flatMap((model) => [model.id, ...model.aliases].map((name) => [name, model] as const)));

/** The model behind a name or alias at a simulated instant (epoch ms); undefined when unknown or already retired. */
export function findModel(name: string, nowMs: number): ModelEntry | undefined {
  const model = BY_NAME.get(name);
  return model === undefined || isRetired(model, nowMs) ? undefined : model;
}

/** True once the day of retirement has come. */
export function isRetired(model: ModelEntry, nowMs: number): boolean {
  return model.retires !== null && Date.parse(`${model.retires}T00:00:00Z`) <= nowMs;
}

/** The largest `max_tokens` this call may ask for (claude-batches.md 1.2, extended output). */
export function outputLimit(model: ModelEntry, isBatch: boolean, betas: readonly string[]): number {
  const extended = isBatch && model.outputBeta !== null && betas.includes('output-300k-2026-03-24');
  return extended && model.outputBeta !== null ? model.outputBeta : model.output;
}

/** Tokens by price class. */
export interface BilledTokens {
  readonly input: number;
  readonly output: number;
  readonly write5m: number;
  readonly write1h: number;
  readonly read: number;
}

/**
 * Cost in whole pico-USD (10^-12), the coarsest unit in which every price of the table, halved and with the 1.1 of a US-only request, is an
 * integer per token. A micro-USD is 1,000,000 of them.
 */
export function costPicoUsd(model: ModelEntry, tokens: BilledTokens, isBatch: boolean, geo: string | undefined): number {
  const promptTokens = tokens.input + tokens.write5m + tokens.write1h + tokens.read;
  const prices = model.longPrices !== undefined && promptTokens > model.longPrices.above ? model.longPrices.prices : model.prices;
  const factor = (isBatch ? 0.5 : 1) * (model.geo && geo === 'us' ? 1.1 : 1);
  const [input, output, write5m, write1h, read] = picoPerToken(prices, factor);
  return tokens.input * input + tokens.output * output + tokens.write5m * write5m + tokens.write1h * write1h + tokens.read * read;
}

/** USD per million tokens is micro-USD per token. */
function picoPerToken(prices: Prices, factor: number): Prices {
  const [input, output, write5m, write1h, read] = prices;
  return [toPico(input, factor), toPico(output, factor), toPico(write5m, factor), toPico(write1h, factor), toPico(read, factor)];
}

function toPico(price: number, factor: number): number {
  return Math.round(price * 1_000_000 * factor);
}

/** The model as `GET /v1/models/{id}` shows it (claude-batches.md 3). */
export function modelInfo(model: ModelEntry, nowMs: number): JsonObject {
  const yes = { supported: true };
  const when = (condition: boolean): JsonObject => ({ supported: condition });
  return {
    type: 'model',
    id: model.id,
    display_name: model.name,
    created_at: `${model.released ?? '2024-01-01'}T00:00:00Z`,
    deprecated_at: null,
    retires_at: model.retires === null ? null : `${model.retires}T00:00:00Z`,
    lifecycle: isRetired(model, nowMs) ? 'retired' : model.status === 'retired' ? 'active' : model.status,
    line: model.line,
    max_input_tokens: model.context,
    max_tokens: model.output,
    capabilities: {
      batch: yes,
      citations: yes,
      code_execution: when(model.generation >= 40),
      context_management: { supported: true, clear_thinking_20251015: yes, clear_tool_uses_20250919: yes, compact_20260112: when(model.generation >= 46) },
      effort: { supported: model.generation >= 45, low: yes, medium: yes, high: yes, max: when(model.generation >= 46), xhigh: when(model.generation >= 47) },
      image_input: yes,
      pdf_input: yes,
      server_tools: { supported: true, code_execution: when(model.generation >= 40), web_search: yes },
      structured_outputs: when(model.generation >= 45),
      thinking: {
        supported: model.generation >= 37,
        types: {
          adaptive: when(allowsThinking(model, 'adaptive')),
          between_tools: when(model.generation >= 50),
          disabled: when(allowsThinking(model, 'disabled')),
          enabled: when(allowsThinking(model, 'enabled')),
        },
      },
    },
  };
}

/** Which `thinking.type` a model takes (claude-batches.md 1.5, model rules). */
export function allowsThinking(model: ModelEntry, type: string): boolean {
  switch (type) {
    case 'enabled':
      return model.generation >= 37 && model.generation < 47;
    case 'adaptive':
      return model.generation >= 46;
    case 'between_tools':
      return model.generation >= 50;
    case 'disabled':
      return !(model.line === 'fable' || model.line === 'mythos' || model.id === 'claude-opus-5-5');
    default:
      return false;
  }
}
