/**
 * An exhaustive small model of the submit protocol (reliability.md 4.5, E27). States of intents and archives move only
 * along the table of `lifecycle.ts`; around it stand what the table cannot say: who may make a move and when, a network
 * that delays and loses messages, workers that pause and die, and a Redis that is set back.
 *
 * A pause needs no action of its own: every worker may be passed over for as long as the search likes, and a lease may
 * end although its owner lives. Time passes only where an assumption names it: the landing wait is over when no message
 * that was sent before it is under way any more.
 */
import { nextState } from '../../segments/lifecycle.ts';
import { search, settle } from './searching.ts';
import { work } from './sending.ts';
import { foreignBatch, forget, type Look, type Redis, type Setting, type State } from './state.ts';
import { expire, network, world } from './world.ts';

export { allParts, type Parts, type Setting } from './state.ts';

export interface Verdict {
  readonly states: number;
  /** What is wrong and the shortest way there; undefined: nothing is. */
  readonly violation: { readonly what: 'DOUBLE BILL' | 'MIS-ADOPTION' | 'WRONG RESULTS' | 'SENT AGAIN'; readonly trace: readonly string[] } | undefined;
  /** Moves of the table that were made, as `noun from event`. */
  readonly moves: ReadonlySet<string>;
  /** The shortest way to a state from which no way leads to the end of every archive; undefined: there is none. */
  readonly stuck: readonly string[] | undefined;
}

/** Explores every reachable state, breadth first. */
export function explore(setting: Setting): Verdict {
  const moves = new Set<string>();
  const first: State = {
    redis: { archives: setting.archives.map(() => ({ state: 'sealed', intents: [] })), lane: null },
    old: null, lake: {}, attempts: [], foreign: 'none', crashes: setting.crashes, setBacks: setting.setBacks,
    workers: Array.from({ length: setting.workers }, () => ({ pc: 'idle' as const, life: 0, archive: -1, intent: -1, attempt: -1 })),
  };
  const firstKey = JSON.stringify(first);
  const keys = [firstKey];
  const indexes = new Map([[firstKey, 0]]);
  const cameFrom: number[] = [-1];
  const cameBy: string[] = ['begin'];
  const into: number[][] = [[]];
  const ends: number[] = [];
  for (let at = 0; at < keys.length; at += 1) {
    const state = JSON.parse(keys[at] ?? '') as State;
    const what = violationOf(setting, state);
    if (what) return { states: keys.length, violation: { what, trace: traceTo(at, cameFrom, cameBy) }, moves, stuck: undefined };
    if (state.redis.archives.every((archive) => hasEnded(setting, archive))) ends.push(at);
    for (const [name, next] of stepsFrom(setting, keys[at] ?? '', moves)) {
      const key = JSON.stringify(next);
      const known = indexes.get(key);
      if (known !== undefined) {
        into[known]?.push(at);
        continue;
      }
      indexes.set(key, keys.length);
      keys.push(key);
      cameFrom.push(at);
      cameBy.push(name);
      into.push([at]);
    }
  }
  const seen = reaching(ends, into);
  const stuckAt = keys.findIndex((_, index) => !seen.has(index));
  return { states: keys.length, violation: undefined, moves, stuck: stuckAt < 0 ? undefined : traceTo(stuckAt, cameFrom, cameBy) };
}

/** It is settled, a person has it, or the model looks no further. */
function hasEnded(setting: Setting, archive: Redis['archives'][number]): boolean {
  return archive.state === 'settled' || archive.intents.length >= setting.intentsMax || archive.intents.at(-1)?.state === 'held';
}

function traceTo(at: number, cameFrom: readonly number[], cameBy: readonly string[]): readonly string[] {
  const trace: string[] = [];
  for (let each = at; each > 0; each = cameFrom[each] ?? 0) trace.unshift(cameBy[each] ?? '');
  return trace;
}

/** The states that lead to one of the ends. */
function reaching(ends: readonly number[], into: readonly (readonly number[])[]): ReadonlySet<number> {
  const seen = new Set(ends);
  const open = [...ends];
  for (let each = open.pop(); each !== undefined; each = open.pop()) {
    for (const before of into[each] ?? []) {
      if (seen.has(before)) continue;
      seen.add(before);
      open.push(before);
    }
  }
  return seen;
}

function violationOf(setting: Setting, state: State): 'DOUBLE BILL' | 'MIS-ADOPTION' | 'WRONG RESULTS' | 'SENT AGAIN' | undefined {
  for (const [index, archive] of state.redis.archives.entries()) {
    if (state.attempts.filter((each) => each.archive === index && each.net === 'landed').length > 1) return 'DOUBLE BILL';
    const bound = archive.intents.at(-1)?.batch ?? -1;
    const isOwn = state.attempts[bound]?.archive === index;
    if (archive.intents.slice(0, -1).some((each) => each.state === 'forgone')) return 'SENT AGAIN';
    // What was given up is settled without results.
    if (archive.state === 'settled' && !isOwn && archive.intents.at(-1)?.state !== 'forgone') return 'WRONG RESULTS';
    if (bound >= 0 && bound !== foreignBatch && !isOwn) return 'MIS-ADOPTION';
  }
  return setting.archives.length === 0 ? 'WRONG RESULTS' : undefined;
}

/** Every step that one state allows. A step counts only when every move that it made is in the table. */
function stepsFrom(setting: Setting, key: string, moves: Set<string>): readonly (readonly [string, State])[] {
  const found: [string, State][] = [];
  const step: Look['step'] = (name, act) => {
    const next = JSON.parse(key) as State;
    const made: string[] = [];
    let isAllowed = true;
    const isDone = act(next, (noun, record, event) => {
      const to = nextState(noun, record.state, event);
      if (to === undefined) isAllowed = false;
      else {
        made.push(`${noun} ${record.state} ${event}`);
        record.state = to;
      }
    });
    if (isDone === false || !isAllowed) return;
    forget(next);
    for (const each of made) moves.add(each);
    found.push([name, next]);
  };
  const look: Look = { setting, state: JSON.parse(key) as State, step };
  for (const index of look.state.workers.keys()) work(look, index);
  for (const index of look.state.attempts.keys()) network(look, index);
  for (const index of look.state.redis.archives.keys()) {
    expire(look, index);
    search(look, index);
    settle(look, index);
  }
  world(look);
  return found;
}
