import type { IncomingMessage, ServerResponse } from 'node:http';
import { checkAccess } from './access.ts';
import { batchResults, cancelBatch, deleteBatch, retrieveBatch } from './batches.ts';
import { listBatches } from './batchlist.ts';
import { createBatch, refuseUnread } from './batchcreate.ts';
import { instantText } from './clock.ts';
import { control, isControlPath } from './control.ts';
import { deliver, drop, hang } from './delivery.ts';
import { refusalReply, type Caller, type Exchange, type Reply } from './exchange.ts';
import { refusalByFault } from './faultplay.ts';
import { CallFaults } from './faults.ts';
import { discardRest } from './intake.ts';
import { countTokens, createMessage, listModels, retrieveModel } from './messages.ts';
import { notFound } from './refusal.ts';
import { findRoute, type Route } from './routes.ts';
import { assertNever } from './shape.ts';
import type { World } from './world.ts';

/**
 * Takes every call from its first header to its last byte: who, what, which faults, the work, the reply, the truth log.
 *
 * Invariants
 *   D1  Every call to the API appears in the truth log when it arrives and again when it has been dealt with.
 *   D2  Every reply of the API carries request id, organisation, workspace and the meter headers; a reply of the edge carries none.
 *   D3  Work that was begun is finished even if the client has gone, as it is behind a real load balancer.
 */
export async function serve(world: World, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://simulator');
  if (isControlPath(url.pathname)) {
    await control(world, request, response, url);
    return;
  }
  const requestId = world.nextRequestId();
  const route = findRoute(request.method ?? 'GET', url.pathname);
  logArrival(world, request, requestId, route, url);
  const faults = route === undefined ? new CallFaults([], () => undefined) : world.faults.begin(route.operation, requestId);
  const nobody: Caller = { workspaceId: '', apiVersion: '', betas: [] };
  const operation = route?.operation ?? 'models.list';
  const base = { request, response, requestId, operation, url, subject: route?.subject ?? '', faults };
  const access = checkAccess(request, world.settings);
  const exchange: Exchange = { ...base, caller: access.kind === 'granted' ? access.caller : nobody };
  let reply: Reply;
  if (faults.take('drop_before') !== undefined) {
    drop(response);
    reply = { kind: 'none' };
  } else if (access.kind === 'refused') {
    reply = refusalReply(access.refusal, requestId);
  } else if (route === undefined) {
    reply = refusalReply(notFound('Not found'), requestId);
  } else {
    reply = await work(world, exchange);
  }
  await finish(world, exchange, reply);
}

/** Meters, early refusals, then the handler. */
async function work(world: World, exchange: Exchange): Promise<Reply> {
  const { operation, faults, response, requestId } = exchange;
  const isBatchCall = operation.startsWith('batches.');
  const isEarly = faults.peek('status', (rule) => rule.early === true) ?? faults.peek('rate_limit', (rule) => rule.early === true);
  const refusal = (isBatchCall ? world.meters.takeBatchCall() : undefined) ?? (operation === 'batches.create' ? refuseUnread(world, exchange) : undefined);
  if (refusal !== undefined) {
    return refusalReply(refusal, requestId);
  }
  if (operation !== 'batches.create' || isEarly !== undefined) {
    const byFault = refusalByFault(exchange, false);
    if (byFault !== undefined) {
      return refusalReply(byFault, requestId);
    }
  }
  if (operation !== 'batches.create') {
    const silence = faults.take('hang');
    if (silence !== undefined) {
      await hang(response, silence);
      return { kind: 'none' };
    }
    if (faults.take('drop_after') !== undefined) {
      drop(response);
      return { kind: 'none' };
    }
  }
  const reply = await handle(world, exchange);
  const afterwards = operation === 'batches.create' ? undefined : refusalByFault(exchange, true);
  return afterwards === undefined ? reply : refusalReply(afterwards, requestId);
}

async function handle(world: World, exchange: Exchange): Promise<Reply> {
  switch (exchange.operation) {
    case 'batches.create':
      return await createBatch(world, exchange);
    case 'batches.retrieve':
      return await retrieveBatch(world, exchange);
    case 'batches.list':
      return await listBatches(world, exchange);
    case 'batches.cancel':
      return await cancelBatch(world, exchange);
    case 'batches.delete':
      return await deleteBatch(world, exchange);
    case 'batches.results':
      return await batchResults(world, exchange);
    case 'messages.create':
      return await createMessage(world, exchange);
    case 'messages.count_tokens':
      return await countTokens(world, exchange);
    case 'models.list':
      return listModels(world, exchange);
    case 'models.retrieve':
      return retrieveModel(world, exchange);
    default:
      return assertNever(exchange.operation);
  }
}

async function finish(world: World, exchange: Exchange, reply: Reply): Promise<void> {
  const { request, response, requestId } = exchange;
  const status = await deliver(exchange, reply, replyHeaders(world, exchange));
  world.truth.append({ kind: 'request_answered', request_id: requestId, status: status === 0 ? null : status });
  if (!request.complete && !response.destroyed) {
    if (world.settings.early413 === 'close' && status === 413) {
      drop(response);
    } else {
      discardRest(request);
    }
  }
}

/** D2, and a `Date` of simulated time, because clients compare it with `created_at`. */
function replyHeaders(world: World, exchange: Exchange): Record<string, string> {
  const skew = exchange.faults.take('date_skew')?.seconds ?? 0;
  const meters = exchange.operation.startsWith('batches.')
    ? world.meters.batchHeaders()
    : exchange.operation === 'messages.count_tokens'
      ? world.meters.countHeaders()
      : {};
  return {
    date: new Date(world.clock.nowMs() + skew * 1000).toUTCString(),
    'request-id': exchange.requestId,
    'anthropic-organization-id': world.organizationId,
    ...(exchange.caller.workspaceId === '' ? {} : { 'anthropic-workspace-id': exchange.caller.workspaceId }),
    ...meters,
  };
}

function logArrival(world: World, request: IncomingMessage, requestId: string, route: Route | undefined, url: URL): void {
  world.truth.append({
    kind: 'request_received',
    at: instantText(world.clock.nowUs()),
    request_id: requestId,
    operation: route?.operation ?? null,
    method: request.method,
    path: url.pathname,
    content_length: request.headers['content-length'] ?? null,
    retry_count: request.headers['x-stainless-retry-count'] ?? null,
    api_version: request.headers['anthropic-version'] ?? null,
  });
}
