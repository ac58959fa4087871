/**
 * Strikes inside the processes of the product, which knows nothing of it: this file is loaded before the program
 * (`NODE_OPTIONS=--import`) and stands in the seams between it and the world: the Redis client, the names of files, and
 * the provider's transport. What a process is told to suffer comes in `CHAOS_PLAN`, what struck goes out on descriptor 3.
 *
 * Invariants
 *   K1  `before`: nothing of the effect has happened. `after`: all of it has, and the program does not know it yet.
 *   K2  A strike is told before it strikes, so no death goes unnoticed.
 *   K3  A strike strikes once in the life of a process.
 *   K4  A command is struck at its first passing. The client hands it over again when its connection is back, to nobody who
 *       waits: a promise of ours would then be rejected unseen and end the process.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import fsPromises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { sep } from 'node:path';
import './http-seams.ts';
import { claudeOperation, lakeKind } from './points.ts';
import { errnoError, isFull, isStruck, plan, through, wanted } from './strikes.ts';

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

const handedOver = new WeakSet<object>();
Redis.prototype.sendCommand = function (command, stream) {
  const name = handedOver.has(command) ? undefined : effectOf(command);
  handedOver.add(command);
  if (name === undefined || !isStruck(name)) return sendCommand.call(this, command, stream);
  const fault = (): Error => Object.assign(new Error('the connection was lost'), { name: 'MaxRetriesPerRequestError' });
  return through(name, subjectOf(command.args[3]), async () => (await sendCommand.call(this, command, stream)) as unknown, fault);
};

// The folder of the lake: an object exists when its name is linked.
const link = fsPromises.link;
fsPromises.link = async (existing, path) => {
  const key = String(path).startsWith(`${plan.lake}${sep}`) ? String(path).slice(plan.lake.length + 1) : undefined;
  if (key === undefined) return await link(existing, path);
  if (isFull()) throw errnoError('ENOSPC', 'no space left on device');
  return await through(`lake.${lakeKind(key)}`, key, async () => await link(existing, path), () => errnoError('EIO', 'input/output error'));
};
const open = fsPromises.open;
fsPromises.open = (async (path: fs.PathLike, flags?: string | number, mode?: fs.Mode) => {
  if (isFull() && flags === 'wx') throw errnoError('ENOSPC', 'no space left on device');
  return await open(path, flags, mode);
}) as typeof open;
syncBuiltinESMExports();

// The provider's transport. Only where it is struck: most processes never load it themselves.
if ([...wanted].some((point) => point.startsWith('claude.'))) {
  const undici = await packageOf<{ fetch(input: string | URL, init?: { method?: string; body?: unknown }): Promise<unknown> }>('undici');
  const fetched = undici.fetch;
  undici.fetch = async (input, init = {}) => {
    const url = new URL(String(input));
    const operation = claudeOperation(init.method?.toUpperCase() ?? 'GET', url.pathname, url.searchParams);
    const fault = (): Error => new TypeError('fetch failed', { cause: errnoError('ECONNRESET', 'the connection was reset') });
    return await through(`claude.${operation}`, url.pathname, async () => await fetched(input, init), fault);
  };
}
