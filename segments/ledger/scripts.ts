/**
 * Loads the Lua scripts. Each gets the table of allowed moves, made from `lifecycle.ts`, and what it uses of the prelude
 * in front of it, so the guard that Redis enforces is the table that people read.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { lifecycle } from '../lifecycle.ts';
import { behind } from './behind.ts';
import { ledgerFault, replyCodeOf } from './refusal.ts';

export const scriptNames = [
  'absolve-intent', 'book-leak', 'disown-batch', 'fence-intent', 'forgo-intent', 'hold-intent', 'note-look', 'note-stranger',
  'mark-behind', 'raise-generation', 'read-intents', 'read-standing', 'restore-archive', 'restore-begin', 'restore-chunks', 'restore-end', 'restore-forget', 'restore-run',
  'accept-intent', 'add-chunk', 'admit', 'advance-relay', 'claim-relay', 'arm-intent', 'cancel-run', 'claim', 'claim-lake', 'close-archive', 'complete-run', 'defer-poll', 'drop-accounts',
  'doubt-intent', 'end-archive', 'expire-lane', 'export-archive', 'flush-archives', 'flush-run', 'halve-archive', 'hold', 'hold-chunk',
  'measure-clients', 'next-segment', 'open-run', 'overdue', 'prepare-intent', 'read-stops', 'refuse-intent', 'reject-archive', 'release', 'replan-chunks',
  'renew-lane', 'resume', 'resume-held', 'seal-archive', 'send-intent', 'set-budget', 'set-tier', 'set-weights', 'settle', 'split', 'stop-on-budget', 'tell-forecast',
  'watch-batch',
] as const;
export type ScriptName = (typeof scriptNames)[number];

/**
 * The scripts that run whatever the ledger's standing is. All others change what a rebuild writes, and are refused while
 * one is under way and from the moment on in which the ledger is known to be behind (`gateRefusal` in `standing.lua`). A
 * new script is gated unless it is written here.
 */
export const ungatedScripts: ReadonlySet<ScriptName> = new Set<ScriptName>([
  // They read. A person wants to see what there is, and the guard has to.
  'next-segment', 'read-intents', 'read-standing', 'read-stops',
  // They say where the ledger stands.
  'mark-behind',
  // The rebuild's own: the first shuts the gate, the others work only on the epoch that it has begun.
  'restore-archive', 'restore-begin', 'restore-chunks', 'restore-end', 'restore-forget', 'restore-run',
  // A rebuild keeps the outbox with how far its sinks were told, and which lake the ledger belongs to.
  'advance-relay', 'claim-lake', 'claim-relay',
]);

/** The parts of the prelude, in `scripts/prelude/`: each uses only what stands before it. */
export const preludeParts = ['base', 'side', 'share', 'queue', 'calibration', 'account', 'runtime', 'standing', 'stop', 'archive', 'cancel', 'primer', 'lane', 'doubt'] as const;

/** The table of allowed moves as Lua: `MOVES[noun][from][event]` is the state that follows. `nouns`: which of them. */
export function movesTable(nouns: readonly string[] = Object.keys(lifecycle)): string {
  const rows = Object.entries(lifecycle).filter(([noun]) => nouns.includes(noun)).map(([noun, machine]) => {
    const states = new Map<string, string[]>();
    for (const each of machine.moves) {
      states.set(each.from, [...(states.get(each.from) ?? []), `['${each.event}']='${each.to}'`]);
    }
    return `['${noun}']={${[...states].map(([from, moves]) => `['${from}']={${moves.join(',')}}`).join(',')}}`;
  });
  return `local MOVES={${rows.join(',')}}`;
}

function textOf(name: string): string {
  return readFileSync(new URL(`./scripts/${name}.lua`, import.meta.url), 'utf8');
}

/** One statement of the prelude: a function, or one or several values. */
interface Definition {
  readonly names: readonly string[];
  readonly lua: string;
}

let prelude: readonly Definition[] | undefined;

/** Cuts the prelude into its statements, in their order. Each begins a line of its own, and comments stand between them. */
function definitions(): readonly Definition[] {
  const lines = preludeParts.flatMap((part) => textOf(`prelude/${part}`).split('\n')).filter((line) => line.trim() !== '' && !line.startsWith('--'));
  const found: { names: readonly string[]; lua: string }[] = [];
  for (const line of lines) {
    const names = /^local (?:function )?(\w+(?:, \w+)*)/.exec(line)?.[1]?.split(', ');
    const last = found.at(-1);
    if (names !== undefined) found.push({ names, lua: line });
    else if (last) last.lua += `\n${line}`;
  }
  return found;
}

function namesIn(lua: string): ReadonlySet<string> {
  return new Set(lua.match(/\w+/g));
}

/**
 * A script as Redis gets it: of the table of moves and of the prelude what it uses, and its own text. Redis runs all of
 * that at every call: with the whole prelude in front, a call that only reads three fields spent most of its time in
 * making functions and tables that it never touched.
 */
export function luaOf(name: ScriptName): string {
  prelude ??= definitions();
  const gate = ungatedScripts.has(name) ? '' : 'do local shut = gateRefusal() if shut then return shut end end\n';
  const own = gate + textOf(name).split('\n').filter((line) => !line.startsWith('--')).join('\n');
  const used = new Set(namesIn(own));
  const parts: string[] = [];
  // Each local uses only what stands before it, so one look from the end finds everything.
  for (const { names, lua } of [...prelude].reverse()) {
    if (!names.some((local) => used.has(local))) continue;
    for (const each of namesIn(lua)) used.add(each);
    parts.unshift(lua);
  }
  if (used.has('MOVES')) parts.unshift(movesTable(Object.keys(lifecycle).filter((noun) => `${parts.join('\n')}\n${own}`.includes(`'${noun}'`))));
  return `${parts.join('\n')}\n${own}`;
}

/** Runs a script on a request and returns its decoded reply. */
export type Call = (name: ScriptName, request: Readonly<Record<string, unknown>>) => Promise<unknown>;

/**
 * Prepares every script for a connection. A script that Redis does not know yet (a new server, a flush) is sent whole.
 * @throws PlimsollError `redis_unavailable` when Redis cannot be reached within the client's own limits, `redis_refused`
 *   when it says that it takes no writes now, `ledger_behind` when the gate is shut for the script or was shut by it
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
      if (replyCodeOf(error) !== 'NOSCRIPT') throw ledgerFault(error, `script ${name}`);
      return await redis.eval(script.lua, 1, prefix, argument).catch((again: unknown) => {
        throw ledgerFault(again, `script ${name}`);
      });
    });
    const decoded = JSON.parse(String(reply)) as unknown;
    const { kind, reason } = Object(decoded) as { readonly kind?: string; readonly reason?: string };
    if (kind === 'behind') throw behind(reason ?? '', subjectOf(request));
    return decoded;
  };
}

/** What a request is about, for an error. */
function subjectOf(request: Readonly<Record<string, unknown>>): string {
  const named = [request['run'], request['archive'], request['intent'], request['chunk']].find((each) => typeof each === 'string');
  return typeof named === 'string' ? named : 'standing';
}
