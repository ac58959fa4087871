/**
 * The seams in Node's own HTTP client, in which the create call of the provider, the read of its results and
 * every write of a lake in a bucket leave.
 *
 * Invariants: K1 to K4 of `seams.ts`.
 */
import { createRequire, syncBuiltinESMExports } from 'node:module';
import type { Readable } from 'node:stream';
import { claudeOperation, lakeKind } from './points.ts';
import { dueAt, errnoError, isStruck, plan, suffer, wanted } from './strikes.ts';

type Give = (error?: Error | null) => void;
interface Outgoing {
  destroyed: boolean;
  write(block: Uint8Array, given?: Give): boolean;
  end(...parts: readonly unknown[]): unknown;
  emit(event: string, ...parts: readonly unknown[]): boolean;
  destroy(error?: Error): unknown;
}
interface Addressed {
  readonly method?: string;
  readonly path?: string;
}
const http = createRequire(import.meta.url)('node:http') as { request(address: URL | Addressed, ...rest: readonly unknown[]): Outgoing };
const requested = http.request;

http.request = (address, ...rest) => {
  const request = requested(address, ...rest);
  if (address instanceof URL) {
    const { method = 'GET' } = (rest[0] ?? {}) as Addressed;
    const operation = claudeOperation(method.toUpperCase(), address.pathname, address.searchParams);
    if (operation === 'create') strikeCreate(request, address.pathname);
    if (operation === 'results' && (isStruck('claude.results') || wanted.has('claude.results:midway'))) strikeResults(request, address.pathname);
    return request;
  }
  const path = decodeURIComponent((address.path ?? '').replace(/\?.*/, ''));
  const key = plan.bucket !== undefined && address.method === 'PUT' && path.startsWith(plan.bucket) ? path.slice(plan.bucket.length) : undefined;
  if (key !== undefined && isStruck(`lake.${lakeKind(key)}`)) strikeWrite(request, key);
  return request;
};
syncBuiltinESMExports();

/**
 * Does what is due at a point of a request; a fault ends the request. True: it did. A request whose reply has come whole is
 * destroyed too once its connection is closed, so `destroyed` does not tell whether a reply was lost.
 */
async function strikeAt(request: Outgoing, point: string, subject: string, fault: () => Error): Promise<boolean> {
  const strike = dueAt(point);
  const broken = strike && (await suffer(strike, subject, fault));
  if (broken) request.destroy(broken);
  return broken !== undefined;
}

function strikeCreate(request: Outgoing, subject: string): void {
  const { write, end, emit } = request;
  const fault = (): Error => errnoError('EPIPE', 'broken pipe');
  const strike = async (point: string): Promise<boolean> => await strikeAt(request, `claude.create:${point}`, subject, fault);
  // In order: a block stands behind what struck before it.
  let line: Promise<unknown> = strike('before');
  request.write = (block, given) => {
    line = line.then(async () => {
      await strike('midway');
      if (request.destroyed) given?.(fault());
      else write.call(request, block, given);
    });
    return true;
  };
  // The product ends the request when the last byte is written.
  request.end = () => {
    line = line.then(async () => {
      if (!request.destroyed) end.call(request);
      await strike('sent');
    });
    return request;
  };
  request.emit = (event, ...parts) => {
    if (event !== 'response' || !wanted.has('claude.create:after')) return emit.call(request, event, ...parts);
    void strike('after').then((isLost) => isLost || emit.call(request, event, ...parts));
    return true;
  };
}

/** A read of results: before it is asked for, at its first words, and at its blocks, of which a half is lost. */
function strikeResults(request: Outgoing, subject: string): void {
  const { end, emit } = request;
  const fault = (): Error => errnoError('ECONNRESET', 'the connection was reset');
  const strike = async (side: string): Promise<boolean> => await strikeAt(request, `claude.results:${side}`, subject, fault);
  request.end = () => {
    void strike('before').then(() => request.destroyed || end.call(request));
    return request;
  };
  request.emit = (event, ...parts) => {
    if (event !== 'response') return emit.call(request, event, ...parts);
    void strike('after').then((isLost) => {
      if (isLost) return;
      if (wanted.has('claude.results:midway')) halve(parts[0] as Readable, subject, fault);
      emit.call(request, event, ...parts);
    });
    return true;
  };
}

/** Lets the blocks of a reply through in halves, and strikes between them. */
function halve(incoming: Readable, subject: string, fault: () => Error): void {
  const take = incoming.emit.bind(incoming);
  // In order: what follows a block stands behind what struck in the middle of it.
  let line: Promise<unknown> = Promise.resolve();
  incoming.emit = (name: string, ...given: readonly unknown[]) => {
    if (!['data', 'end', 'close'].includes(name)) return take(name, ...given);
    line = line.then(async () => {
      if (incoming.destroyed && name === 'data') return;
      const block = given[0] as Buffer | undefined;
      if (!block) return void take(name, ...given);
      take('data', block.subarray(0, Math.ceil(block.length / 2)));
      const strike = dueAt('claude.results:midway');
      const broken = strike && (await suffer(strike, subject, fault));
      if (broken) incoming.destroy(broken);
      else take('data', block.subarray(Math.ceil(block.length / 2)));
    });
    return true;
  };
}

/** A write of the lake: an object exists when the store says so. Nothing of it leaves before the first point (K1). */
function strikeWrite(request: Outgoing, key: string): void {
  const { write, end, emit } = request;
  const fault = (): Error => errnoError('ECONNRESET', 'the connection was reset');
  const strike = async (side: string): Promise<boolean> => await strikeAt(request, `lake.${lakeKind(key)}:${side}`, key, fault);
  let line: Promise<unknown> = strike('before');
  request.write = (block, given) => {
    line = line.then(() => {
      if (request.destroyed) given?.(fault());
      else write.call(request, block, given);
    });
    return true;
  };
  request.end = (...parts) => {
    line = line.then(() => {
      if (!request.destroyed) end.call(request, ...parts);
    });
    return request;
  };
  request.emit = (event, ...parts) => {
    // A refusal has no effect that anything could follow.
    if (event !== 'response' || (parts[0] as { statusCode: number }).statusCode !== 200) return emit.call(request, event, ...parts);
    void strike('after').then((isLost) => isLost || emit.call(request, event, ...parts));
    return true;
  };
}
