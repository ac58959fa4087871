/**
 * Strikes inside the processes of the product, which knows nothing of it: this file is loaded before the program
 * (`NODE_OPTIONS=--import`) and stands in the seams between it and the world: the Redis client, the names of files, and
 * the provider's transport. What a process is told to suffer comes in `CHAOS_PLAN`, what struck goes out on descriptor 3.
 *
 * Invariants
 *   K1  `before`: nothing of the effect has happened. `after`: all of it has, and the program does not know it yet.
 *   K2  A strike is told before it strikes, so no death goes unnoticed.
 *   K3  A strike strikes once in the life of a process.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import fsPromises from 'node:fs/promises';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { sep } from 'node:path';
import type { Readable } from 'node:stream';
import { claudeOperation, lakeKind, type Plan, type Strike } from './points.ts';

const plan = JSON.parse(process.env['CHAOS_PLAN'] ?? '{"strikes":[],"lake":"","scripts":{}}') as Plan;
// What the program starts itself must not strike, too.
delete process.env['CHAOS_PLAN'];
delete process.env['NODE_OPTIONS'];
const passed = new Map<string, number>();
const waiting = new Set(plan.strikes);
const wanted = new Set(plan.strikes.map((strike) => strike.point));
let fullUntil = 0;

function dueAt(point: string): Strike | undefined {
  if (!wanted.has(point)) return undefined;
  const times = (passed.get(point) ?? 0) + 1;
  passed.set(point, times);
  const strike = [...waiting].find((each) => each.point === point && each.nth <= times);
  if (strike) waiting.delete(strike);
  return strike;
}

const pause = async (ms: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, ms));

/** Does what a strike says. Returns the error that the effect ends with, if any. */
async function suffer(strike: Strike, subject: string, fault: () => Error): Promise<Error | undefined> {
  fs.writeSync(3, `${JSON.stringify({ id: strike.id, subject })}\n`);
  switch (strike.kind) {
    case 'kill':
      if (strike.ms > 0) setTimeout(() => process.kill(process.pid, 'SIGKILL'), strike.ms);
      else process.kill(process.pid, 'SIGKILL');
      // Nothing more of this call may happen; what others do until then is theirs.
      if (strike.ms === 0) await new Promise(() => undefined);
      return undefined;
    case 'stop':
      process.kill(process.pid, 'SIGSTOP');
      return undefined;
    case 'term':
      process.kill(process.pid, 'SIGTERM');
      return undefined;
    case 'delay':
      await pause(strike.ms);
      return undefined;
    case 'full':
      fullUntil = performance.now() + strike.ms;
      return undefined;
    case 'clock':
      shiftClock(strike.ms);
      return undefined;
    case 'fail':
      return fault();
  }
}

/** Puts the effect between its two points. */
async function through<Result>(name: string, subject: string, effect: () => Promise<Result>, fault: () => Error): Promise<Result> {
  const before = dueAt(`${name}:before`);
  const refused = before && (await suffer(before, subject, fault));
  if (refused) throw refused;
  const result = await effect();
  const after = dueAt(`${name}:after`);
  const lost = after && (await suffer(after, subject, fault));
  if (lost) throw lost;
  return result;
}

const isStruck = (name: string): boolean => wanted.has(`${name}:before`) || wanted.has(`${name}:after`);

function errnoError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code, syscall: 'chaos' });
}

/** The wall clock jumps; the monotonic one does not, as on a machine whose time is set. */
function shiftClock(ms: number): void {
  const now = Date.now.bind(Date);
  const RealDate = Date;
  class ShiftedDate extends RealDate {
    constructor(...parts: readonly unknown[]) {
      super(...((parts.length === 0 ? [now() + ms] : parts) as [number]));
    }
    static override now(): number {
      return now() + ms;
    }
  }
  globalThis.Date = ShiftedDate as DateConstructor;
}

/** A package as the program has it: the product is built with doors to these (`test/product.ts`), and this file lies beside it. */
const packageOf = async <Door>(name: string): Promise<Door> => ((await import(new URL(`../dist/packages/${name}.js`, import.meta.url).href)) as { default: Door }).default;

// The Redis client.
const { Redis } = await packageOf<{ Redis: { prototype: { sendCommand(command: { name: string; args: readonly unknown[] }, stream?: unknown): unknown } } }>('ioredis');
const sendCommand = Redis.prototype.sendCommand;

function effectOf(command: { readonly name: string; readonly args: readonly unknown[] }): string | undefined {
  if (command.name !== 'evalsha' && command.name !== 'eval') return undefined;
  const sha = command.name === 'evalsha' ? String(command.args[0]) : createHash('sha1').update(String(command.args[0])).digest('hex');
  const script = plan.scripts[sha];
  return script === undefined ? 'queue.script' : `ledger.${script}`;
}

function subjectOf(argument: unknown): string {
  return typeof argument === 'string' ? (/"(?:archive|intent|entity|chunk)":"([^"]+)"/.exec(argument)?.[1] ?? '') : '';
}

Redis.prototype.sendCommand = function (command, stream) {
  const name = effectOf(command);
  if (name === undefined || !isStruck(name)) return sendCommand.call(this, command, stream);
  const fault = (): Error => Object.assign(new Error('the connection was lost'), { name: 'MaxRetriesPerRequestError' });
  return through(name, subjectOf(command.args[3]), async () => (await sendCommand.call(this, command, stream)) as unknown, fault);
};

// The folder of the lake: an object exists when its name is linked.
const link = fsPromises.link;
fsPromises.link = async (existing, path) => {
  const key = String(path).startsWith(`${plan.lake}${sep}`) ? String(path).slice(plan.lake.length + 1) : undefined;
  if (key === undefined) return await link(existing, path);
  if (performance.now() < fullUntil) throw errnoError('ENOSPC', 'no space left on device');
  return await through(`lake.${lakeKind(key)}`, key, async () => await link(existing, path), () => errnoError('EIO', 'input/output error'));
};
const open = fsPromises.open;
fsPromises.open = (async (path: fs.PathLike, flags?: string | number, mode?: fs.Mode) => {
  if (performance.now() < fullUntil && flags === 'wx') throw errnoError('ENOSPC', 'no space left on device');
  return await open(path, flags, mode);
}) as typeof open;
syncBuiltinESMExports();

// The provider's transport.
const undici = await packageOf<{ fetch(input: string | URL, init?: { method?: string; body?: unknown }): Promise<unknown> }>('undici');
const fetched = undici.fetch;
undici.fetch = async (input, init = {}) => {
  const url = new URL(String(input));
  const operation = claudeOperation(init.method?.toUpperCase() ?? 'GET', url.pathname, url.searchParams);
  const fault = (): Error => new TypeError('fetch failed', { cause: errnoError('ECONNRESET', 'the connection was reset') });
  return await through(`claude.${operation}`, url.pathname, async () => await fetched(input, init), fault);
};

// The calls that create a batch and read its results have a transport of their own.
type Give = (error?: Error | null) => void;
interface Upload {
  destroyed: boolean;
  write(block: Uint8Array, given?: Give): boolean;
  end(): unknown;
  emit(event: string, ...parts: readonly unknown[]): boolean;
  destroy(error?: Error): unknown;
}
const http = createRequire(import.meta.url)('node:http') as { request(address: URL, options: { method?: string }): Upload };
const requested = http.request;
http.request = (address, options) => {
  const request = requested(address, options);
  const operation = address instanceof URL ? claudeOperation(options.method?.toUpperCase() ?? 'GET', address.pathname, address.searchParams) : undefined;
  if (operation === 'results') return receiving(request, address);
  if (operation !== 'create') return request;
  const { write, end, emit } = request;
  const fault = (): Error => errnoError('EPIPE', 'broken pipe');
  const strikeAt = async (point: string): Promise<void> => {
    const strike = dueAt(`claude.create:${point}`);
    const broken = strike && (await suffer(strike, address.pathname, fault));
    if (broken) request.destroy(broken);
  };
  // In order: a block stands behind what struck before it.
  let line = strikeAt('before');
  request.write = (block, given) => {
    line = line.then(async () => {
      await strikeAt('midway');
      if (request.destroyed) given?.(fault());
      else write.call(request, block, given);
    });
    return true;
  };
  // The product ends the request when the last byte is written.
  request.end = () => {
    line = line.then(async () => {
      if (!request.destroyed) end.call(request);
      await strikeAt('sent');
    });
    return request;
  };
  request.emit = (event, ...parts) => {
    if (event !== 'response' || !wanted.has('claude.create:after')) return emit.call(request, event, ...parts);
    void strikeAt('after').then(() => request.destroyed || emit.call(request, event, ...parts));
    return true;
  };
  return request;
};

/** Strikes around a read of results: before it is asked for, at its first words, and at its blocks, of which a half is lost. */
function receiving(request: Upload, address: URL): Upload {
  const { end, emit } = request;
  const fault = (): Error => errnoError('ECONNRESET', 'the connection was reset');
  const strikeAt = async (name: string): Promise<Error | undefined> => {
    const strike = dueAt(name);
    return strike && (await suffer(strike, address.pathname, fault));
  };
  request.end = () => {
    void strikeAt('claude.results:before').then((broken) => (broken ? request.destroy(broken) : end.call(request)));
    return request;
  };
  request.emit = (event, ...parts) => {
    if (event !== 'response') return emit.call(request, event, ...parts);
    const incoming = parts[0] as Readable;
    void strikeAt('claude.results:after').then((broken) => {
      if (broken) {
        request.destroy(broken);
        return;
      }
      if (wanted.has('claude.results:midway')) {
        const take = incoming.emit.bind(incoming);
        // In order: what follows a block stands behind what struck in the middle of it.
        let line: Promise<unknown> = Promise.resolve();
        incoming.emit = (name: string, ...given: readonly unknown[]) => {
          if (!['data', 'end', 'close'].includes(name)) return take(name, ...given);
          line = line.then(async () => {
            if (incoming.destroyed && name === 'data') return;
            const block = given[0] as Buffer | undefined;
            if (block) take('data', block.subarray(0, Math.ceil(block.length / 2)));
            const halved = block && (await strikeAt('claude.results:midway'));
            if (halved) incoming.destroy(halved);
            else if (block) take('data', block.subarray(Math.ceil(block.length / 2)));
            else take(name, ...given);
          });
          return true;
        };
      }
      emit.call(request, event, ...parts);
    });
    return true;
  };
  return request;
}
syncBuiltinESMExports();
