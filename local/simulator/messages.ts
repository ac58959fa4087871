import { jsonReply, refusalReply, type Exchange, type Reply } from './exchange.ts';
import { countPrompt, infer, type Inference } from './inference.ts';
import { findModel, modelInfo } from './models.ts';
import { MODELS } from './modeltable.ts';
import { checkParams, type ParamsQuestion, type Surface } from './params.ts';
import { receiveParams } from './paramsbody.ts';
import { invalidRequest, notFound } from './refusal.ts';
import { uniform } from './seeded.ts';
import type { JsonObject } from './shape.ts';
import { streamMessage } from './sse.ts';
import type { World } from './world.ts';

/** Messages, count_tokens and models: the endpoints beside batches. */

/** `POST /v1/messages`, whole or streamed. */
export async function createMessage(world: World, exchange: Exchange): Promise<Reply> {
  const body = await receiveParams(exchange.request, world.settings.messageBodyBytes);
  if (body.kind === 'refused') {
    return refusalReply(body.refusal, exchange.requestId);
  }
  const question = questionOf(world, exchange, body.params, 'messages');
  const verdict = checkParams(question);
  if (verdict.kind === 'refused') {
    return refusalReply(verdict.refusal, exchange.requestId);
  }
  const estimate = countPrompt(body.params, verdict.model, world.settings.billing).total;
  const hasCache = JSON.stringify(body.params).includes('"cache_control"');
  const admitted = hasCache ? 0 : estimate;
  const limited = world.meters.takeMessage(verdict.model, admitted);
  if (limited !== undefined) {
    return withHeaders(refusalReply(limited, exchange.requestId), world.meters.messageHeaders(verdict.model));
  }
  const label = exchange.requestId;
  const { workspaceId } = exchange.caller;
  const inference = await infer(world.inference, { ...question, workspaceId, arrivedMs: question.nowMs, label, batchId: undefined, customId: undefined, forced: undefined });
  if (inference.kind === 'refused') {
    return refusalReply(inference.refusal, exchange.requestId);
  }
  settle(world, exchange, inference, admitted);
  await simulatedPause(world, world.settings.messageMs);
  const reply = body.params.stream === true ? streamMessage(exchange, inference.message) : jsonReply(200, inference.message);
  return withHeaders(reply, world.meters.messageHeaders(inference.model));
}

/** Corrects the estimate: cache reads do not count towards the input limit, except on Haiku 3.5 (claude-batches.md 2.3). */
function settle(world: World, exchange: Exchange, inference: Inference & { readonly kind: 'answered' }, admitted: number): void {
  const { billed, model, costPicoUsd } = inference;
  const counted = billed.input_tokens + billed.cache_creation_input_tokens + (model.generation === 35 ? billed.cache_read_input_tokens : 0);
  world.meters.settleMessage(model, counted - admitted, billed.output_tokens);
  world.truth.append({ kind: 'message_billed', request_id: exchange.requestId, model: model.id, usage: billed, cost_pico_usd: costPicoUsd });
}

/** `POST /v1/messages/count_tokens`. The number is the bill's, off by at most `countError` (claude-batches.md 4.1). */
export async function countTokens(world: World, exchange: Exchange): Promise<Reply> {
  const limited = world.meters.takeCountCall();
  if (limited !== undefined) {
    return refusalReply(limited, exchange.requestId);
  }
  const body = await receiveParams(exchange.request, world.settings.messageBodyBytes);
  if (body.kind === 'refused') {
    return refusalReply(body.refusal, exchange.requestId);
  }
  const verdict = checkParams(questionOf(world, exchange, body.params, 'count_tokens'));
  if (verdict.kind === 'refused') {
    return refusalReply(verdict.refusal, exchange.requestId);
  }
  const { total } = countPrompt(body.params, verdict.model, world.settings.billing);
  const error = world.settings.countError * (2 * uniform(world.settings.seed, 'count', total) - 1);
  return jsonReply(200, { input_tokens: Math.max(1, Math.round(total * (1 + error))) });
}

/** `GET /v1/models`. */
export function listModels(world: World, exchange: Exchange): Reply {
  const query = exchange.url.searchParams;
  const nowMs = world.clock.nowMs();
  const wanted = query.getAll('lifecycle').concat(query.getAll('lifecycle[]'));
  const infos = MODELS.map((model) => modelInfo(model, nowMs)).filter((info) => wanted.length === 0 ? info.lifecycle !== 'retired' : wanted.includes(String(info.lifecycle)));
  const limit = Number(query.get('limit') ?? '20');
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    return refusalReply(invalidRequest('limit: Input should be from 1 to 1000'), exchange.requestId);
  }
  const after = query.get('after_id');
  const from = after === null ? 0 : infos.findIndex((info) => info.id === after) + 1;
  const data = infos.slice(from, from + limit);
  return jsonReply(200, { data, has_more: from + limit < infos.length, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null });
}

/** `GET /v1/models/{id}`; aliases resolve. */
export function retrieveModel(world: World, exchange: Exchange): Reply {
  const nowMs = world.clock.nowMs();
  const model = findModel(exchange.subject, nowMs);
  return model === undefined ? refusalReply(notFound(`model: ${exchange.subject}`), exchange.requestId) : jsonReply(200, modelInfo(model, nowMs));
}

function questionOf(world: World, exchange: Exchange, params: JsonObject, surface: Surface): ParamsQuestion {
  return { params, surface, apiVersion: exchange.caller.apiVersion, betas: exchange.caller.betas, nowMs: world.clock.nowMs() };
}

function withHeaders(reply: Reply, headers: Readonly<Record<string, string>>): Reply {
  return reply.kind === 'none' ? reply : { ...reply, headers: { ...headers, ...reply.headers } };
}

async function simulatedPause(world: World, milliseconds: number): Promise<void> {
  if (milliseconds > 0) {
    await new Promise<void>((resolve) => {
      world.clock.at(world.clock.nowUs() + milliseconds * 1000, resolve);
    });
  }
}
