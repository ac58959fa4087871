/**
 * Loads the Lua scripts. Each gets the table of allowed moves, made from `lifecycle.ts`, and the parts of the prelude in
 * front of it, so the guard that Redis enforces is the table that people read.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { errnoOf, PlimsollError } from '../errors.ts';
import { lifecycle } from '../lifecycle.ts';

export const scriptNames = [
  'absolve-intent', 'book-leak', 'disown-batch', 'fence-intent', 'hold-intent', 'note-look', 'note-stranger',
  'mark-behind', 'raise-generation', 'read-intents', 'read-standing', 'restore-archive', 'restore-begin', 'restore-chunks', 'restore-end', 'restore-run',
  'accept-intent', 'add-chunk', 'admit', 'advance-relay', 'claim-relay', 'arm-intent', 'cancel-run', 'claim', 'claim-lake', 'close-archive', 'complete-run', 'defer-poll',
  'doubt-intent', 'end-archive', 'expire-lane', 'export-archive', 'flush-archives', 'flush-run', 'halve-archive', 'hold',
  'next-segment', 'open-run', 'overdue', 'prepare-intent', 'read-stops', 'refuse-intent', 'reject-archive', 'release',
  'renew-lane', 'resume', 'resume-held', 'seal-archive', 'send-intent', 'set-budget', 'set-weights', 'settle', 'split', 'stop-on-budget', 'watch-batch',
] as const;
export type ScriptName = (typeof scriptNames)[number];

/** The parts of the prelude, in `scripts/prelude/`: each uses only what stands before it. */
export const preludeParts = ['base', 'share', 'queue', 'calibration', 'account', 'runtime', 'standing', 'stop', 'archive', 'cancel', 'lane', 'doubt'] as const;

/** The table of allowed moves as Lua: `MOVES[noun][from][event]` is the state that follows. */
export function movesTable(): string {
  const nouns = Object.entries(lifecycle).map(([noun, machine]) => {
    const states = new Map<string, string[]>();
    for (const each of machine.moves) {
      states.set(each.from, [...(states.get(each.from) ?? []), `['${each.event}']='${each.to}'`]);
    }
    const rows = [...states].map(([from, moves]) => `['${from}']={${moves.join(',')}}`);
    return `['${noun}']={${rows.join(',')}}`;
  });
  return `local MOVES={${nouns.join(',')}}`;
}

function textOf(name: string): string {
  return readFileSync(new URL(`./scripts/${name}.lua`, import.meta.url), 'utf8');
}

let prelude: string | undefined;

/** A script as Redis gets it: the table of moves, the prelude, its own text. */
export function luaOf(name: ScriptName): string {
  prelude ??= `${movesTable()}\n${preludeParts.map((part) => textOf(`prelude/${part}`)).join('\n')}`;
  return `${prelude}\n${textOf(name)}`;
}

/** Runs a script on a request and returns its decoded reply. */
export type Call = (name: ScriptName, request: Readonly<Record<string, unknown>>) => Promise<unknown>;

/**
 * Prepares every script for a connection. A script that Redis does not know yet (a new server, a flush) is sent whole.
 * @throws PlimsollError `redis_unavailable` when Redis cannot be reached within the client's own limits
 */
export function scriptCaller(redis: Redis, prefix: string): Call {
  const scripts = new Map(
    scriptNames.map((name) => {
      const lua = luaOf(name);
      return [name, { lua, sha: createHash('sha1').update(lua).digest('hex') }] as const;
    }),
  );
  return async (name, request) => {
    const script = scripts.get(name);
    if (!script) throw new RangeError(`no script is named ${name}`);
    const argument = JSON.stringify(request);
    const reply = await redis.evalsha(script.sha, 1, prefix, argument).catch(async (error: unknown) => {
      if (!isReplyError(error, 'NOSCRIPT')) throw connectionError(error, name);
      return await redis.eval(script.lua, 1, prefix, argument);
    });
    return JSON.parse(String(reply)) as unknown;
  };
}

/** True when Redis answered with an error of this code; codes are the first word of the reply by protocol. */
export function isReplyError(error: unknown, code: string): boolean {
  return error instanceof Error && error.name === 'ReplyError' && error.message.startsWith(`${code} `);
}

function connectionError(error: unknown, script: string): unknown {
  const isConnection = error instanceof Error && (error.name === 'MaxRetriesPerRequestError' || errnoOf(error) !== undefined);
  if (!isConnection) return error;
  return new PlimsollError('redis_unavailable', {
    message: 'the ledger cannot be reached',
    where: `script ${script}`,
    hint: 'Check that Redis runs and that REDIS_URL names it; nothing was half done.',
    cause: error,
  });
}
