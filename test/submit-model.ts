/**
 * An exhaustive small model of the submit protocol (reliability.md 4.5, E27). States of intents and archives move only
 * along the table of `lifecycle.ts`; around it stand what the table cannot say: who may make a move and when, a network
 * that delays and loses messages, workers that pause and die, and a Redis that is set back.
 *
 * A pause needs no action of its own: every worker may be passed over for as long as the search likes, and a lease may
 * end although its owner lives. Time passes only where an assumption names it: the landing wait is over when no message
 * that was sent before it is under way any more.
 */
import { lifecycle, nextState } from '../segments/lifecycle.ts';

/** What the protocol consists of; a part that is false is left out. */
export interface Parts {
  /** The intent is written as `sent` before the last byte leaves. */
  readonly intent: boolean;
  /** The intent is in the lake as well, and a ledger that was set back is put right from there. */
  readonly durableIntent: boolean;
  /** An empty list counts only when nothing can be under way any more. */
  readonly landingWait: boolean;
  /** Absence needs a sender that can send nothing more. */
  readonly fence: boolean;
  /** Two archives of one row count are never in doubt together, and never bound by count alone. */
  readonly distinctCounts: boolean;
  /** An adoption that its results refute is undone. */
  readonly disown: boolean;
  /** Nobody is ever declared absent: a person decides, and here decides nothing. */
  readonly hold: boolean;
}

export interface Setting {
  readonly parts: Parts;
  /** Row counts of the archives. */
  readonly archives: readonly number[];
  readonly workers: number;
  readonly crashes: number;
  /** How often Redis may be set back to an earlier state. */
  readonly setBacks: number;
  /** A lease may end although its owner lives. */
  readonly pauses: boolean;
  /** Row count of a batch that somebody else posts into the workspace; undefined: none. */
  readonly foreign?: number;
  /** A person may take a doubt out of the hands of the protocol. */
  readonly mayHold?: boolean;
  /** Intents of one archive, refused ones included; more of them show nothing new. */
  readonly intentsMax: number;
}

export const allParts: Parts = { intent: true, durableIntent: true, landingWait: true, fence: true, distinctCounts: true, disown: true, hold: false };

interface Intent {
  state: string;
  owner: string;
  isFenced: boolean;
  isScanned: boolean;
  /** Index of its attempt's batch, `foreign`, or -1. */
  batch: number;
  /** Batches that turned out not to be its own. */
  not: number[];
}
interface Redis {
  archives: { state: string; intents: Intent[] }[];
  /** Who may send: worker and archive; null when free. */
  lane: { owner: string; archive: number } | null;
}
interface Attempt {
  archive: number;
  intent: number;
  net: 'flying' | 'landed' | 'lost';
  reply: 'none' | 'flying' | 'gone';
}
interface Worker {
  pc: 'idle' | 'prepared' | 'journaled' | 'armed' | 'released' | 'waiting' | 'dead';
  life: number;
  archive: number;
  intent: number;
  attempt: number;
}
interface State {
  redis: Redis;
  /** An earlier state that Redis may be set back to. */
  old: Redis | null;
  /** Owner by `archive/intent`. */
  lake: Record<string, string>;
  attempts: Attempt[];
  workers: Worker[];
  foreign: 'none' | 'running' | 'ended';
  crashes: number;
  setBacks: number;
}

/** Index of the foreign batch among the batches. */
const foreignBatch = 99;
/** A third create of one archive shows nothing that the second does not. */
const attemptsMax = 2;

export interface Verdict {
  readonly states: number;
  /** What is wrong and the shortest way there; undefined: nothing is. */
  readonly violation: { readonly what: 'DOUBLE BILL' | 'MIS-ADOPTION' | 'WRONG RESULTS'; readonly trace: readonly string[] } | undefined;
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
    for (const [name, next] of new Steps(setting, keys[at] ?? '', moves).all()) {
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

function violationOf(setting: Setting, state: State): 'DOUBLE BILL' | 'MIS-ADOPTION' | 'WRONG RESULTS' | undefined {
  for (const [index, archive] of state.redis.archives.entries()) {
    if (state.attempts.filter((each) => each.archive === index && each.net === 'landed').length > 1) return 'DOUBLE BILL';
    const bound = archive.intents.at(-1)?.batch ?? -1;
    const isOwn = state.attempts[bound]?.archive === index;
    if (archive.state === 'settled' && !isOwn) return 'WRONG RESULTS';
    if (bound >= 0 && bound !== foreignBatch && !isOwn) return 'MIS-ADOPTION';
  }
  return setting.archives.length === 0 ? 'WRONG RESULTS' : undefined;
}

/** Every step that one state allows. */
class Steps {
  readonly #setting: Setting;
  readonly #state: State;
  readonly #moves: Set<string>;
  readonly #found: [string, State][] = [];
  readonly #key: string;

  constructor(setting: Setting, key: string, moves: Set<string>) {
    this.#setting = setting;
    this.#key = key;
    this.#state = JSON.parse(key) as State;
    this.#moves = moves;
  }

  all(): readonly (readonly [string, State])[] {
    for (const index of this.#state.workers.keys()) this.#work(index);
    for (const index of this.#state.attempts.keys()) this.#network(index);
    for (const index of this.#state.redis.archives.keys()) {
      this.#expire(index);
      this.#search(index);
      this.#settle(index);
    }
    this.#world();
    return this.#found;
  }

  /** A step on a copy of the state. It counts only when every move that it made is in the table. */
  #step(name: string, act: (next: State, move: (noun: 'intent' | 'archive', record: { state: string }, event: string) => void) => boolean | void): void {
    const next = JSON.parse(this.#key) as State;
    const made: string[] = [];
    let isAllowed = true;
    const move = (noun: 'intent' | 'archive', record: { state: string }, event: string): void => {
      const to = nextState(noun, record.state, event);
      if (to === undefined) isAllowed = false;
      else {
        made.push(`${noun} ${record.state} ${event}`);
        record.state = to;
      }
    };
    if (act(next, move) === false || !isAllowed) return;
    forget(next);
    for (const each of made) this.#moves.add(each);
    this.#found.push([name, next]);
  }

  #nameOf(index: number): string {
    return `${index}.${this.#state.workers[index]?.life ?? 0}`;
  }

  /** What a worker does next. Its memory is its own: it may be older than what the ledger says. */
  #work(index: number): void {
    const worker = this.#state.workers[index];
    if (!worker) return;
    const { parts } = this.#setting;
    const name = this.#nameOf(index);
    const who = `worker ${index}`;
    const me = (next: State): Worker => next.workers[index] as Worker;
    const mine = (next: State): Intent | undefined => next.redis.archives[worker.archive]?.intents[worker.intent];
    const holds = (next: State): boolean => next.redis.lane?.owner === name && next.redis.lane.archive === worker.archive;
    if (worker.pc === 'dead') {
      this.#step(`${who} starts again`, (next) => void Object.assign(me(next), { pc: 'idle', life: worker.life + 1 }));
      return;
    }
    if (this.#state.crashes > 0 && worker.pc !== 'idle') {
      this.#step(`${who} dies while ${worker.pc}`, (next) => {
        Object.assign(me(next), { pc: 'dead', archive: -1, intent: -1, attempt: -1 });
        next.crashes -= 1;
      });
    }
    switch (worker.pc) {
      case 'idle':
        for (const archive of this.#setting.archives.keys()) this.#prepare(index, archive);
        return;
      case 'prepared':
        this.#step(`${who} writes the intent into the lake`, (next, move) => {
          const key = `${worker.archive}/${worker.intent}`;
          const before = next.lake[key];
          const intent = mine(next);
          if (!parts.durableIntent || before === undefined) {
            if (parts.durableIntent) next.lake[key] = name;
            me(next).pc = 'journaled';
            return true;
          }
          // S5: it was written before, so Redis was set back since.
          rest(me(next));
          if (!intent || !holds(next)) return true;
          this.#doubt(next, worker.archive, move, before);
          return true;
        });
        return;
      case 'journaled':
        this.#step(`${who} arms the intent`, (next, move) => {
          const intent = mine(next);
          if (!intent || !holds(next) || nextState('intent', intent.state, 'arm') === undefined) return this.#refuse(next, index, move);
          move('intent', intent, 'arm');
          me(next).pc = 'armed';
          return true;
        });
        return;
      case 'armed':
        this.#step(`${who} asks the gate`, (next, move) => {
          if (parts.intent) {
            const intent = mine(next);
            if (!intent || !holds(next) || nextState('intent', intent.state, 'send') === undefined) return this.#refuse(next, index, move);
            move('intent', intent, 'send');
          }
          me(next).pc = 'released';
          return true;
        });
        return;
      case 'released':
        if (this.#state.attempts.filter((each) => each.archive === worker.archive).length >= attemptsMax) return;
        this.#step(`${who} writes the last byte`, (next) => {
          me(next).attempt = next.attempts.push({ archive: worker.archive, intent: worker.intent, net: 'flying', reply: 'none' }) - 1;
          me(next).pc = 'waiting';
        });
        return;
      case 'waiting': {
        const attempt = this.#state.attempts[worker.attempt];
        if (attempt?.reply === 'flying') {
          this.#step(`${who} reads the reply`, (next, move) => {
            const own = next.attempts[worker.attempt];
            if (own) own.reply = 'gone';
            rest(me(next));
            this.#bind(next, worker.archive, worker.intent, worker.attempt, move);
          });
        }
        this.#step(`${who} waits no longer`, (next, move) => {
          const own = next.attempts[worker.attempt];
          if (own?.reply === 'flying') own.reply = 'gone';
          rest(me(next));
          const intent = mine(next);
          if (!intent) return true;
          if (nextState('intent', intent.state, 'doubt') !== undefined && holds(next)) this.#doubt(next, worker.archive, move);
          if (['in_doubt', 'held', 'adopted'].includes(intent.state)) intent.isFenced = true;
          return true;
        });
        return;
      }
      default:
        throw new Error(`a worker cannot be ${String(worker.pc)}`);
    }
  }

  #prepare(index: number, archive: number): void {
    const { parts, archives } = this.#setting;
    this.#step(`worker ${index} prepares archive ${archive}`, (next, move) => {
      const record = next.redis.archives[archive];
      const worker = next.workers[index];
      if (next.redis.lane !== null || !record || !worker || record.intents.length >= this.#setting.intentsMax) return false;
      const isTaken = next.redis.archives.some((other, at) => at !== archive && other.state === 'in_doubt' && archives[at] === archives[archive]);
      if (parts.distinctCounts && isTaken) return false;
      move('archive', record, 'prepare');
      record.intents.push({ state: lifecycle.intent.initial, owner: this.#nameOf(index), isFenced: false, isScanned: false, batch: -1, not: [] });
      next.redis.lane = { owner: this.#nameOf(index), archive };
      Object.assign(worker, { pc: 'prepared', archive, intent: record.intents.length - 1 });
      return true;
    });
  }

  /** Nothing was sent: the intent is refused if it is still this worker's affair. */
  #refuse(next: State, index: number, move: Move): boolean {
    const worker = next.workers[index];
    if (!worker) return false;
    const record = next.redis.archives[worker.archive];
    const intent = record?.intents[worker.intent];
    if (record && intent && next.redis.lane?.owner === this.#nameOf(index) && nextState('intent', intent.state, 'refuse') !== undefined) {
      move('intent', intent, 'refuse');
      move('archive', record, 'refuse');
      next.redis.lane = null;
    }
    rest(worker);
    return true;
  }

  #doubt(next: State, archive: number, move: Move, sender?: string): void {
    const record = next.redis.archives[archive];
    const intent = record?.intents.at(-1);
    if (!record || !intent) return;
    move('intent', intent, 'doubt');
    move('archive', record, 'doubt');
    if (sender !== undefined) intent.owner = sender;
    if (next.redis.lane?.archive === archive) next.redis.lane = null;
  }

  /** A batch is proven to be this intent's: by a reply, or by its results. */
  #bind(next: State, archive: number, index: number, batch: number, move: Move): void {
    const record = next.redis.archives[archive];
    const intent = record?.intents[index];
    if (!record || !intent || intent.batch === batch || isClaimed(next, batch)) return;
    if (intent.batch >= 0) this.#undo(next, archive, move);
    const event = nextState('intent', intent.state, 'accept') !== undefined ? 'accept' : 'adopt';
    if (nextState('intent', intent.state, event) === undefined || nextState('archive', record.state, event) === undefined) return;
    move('intent', intent, event);
    move('archive', record, event);
    intent.batch = batch;
    if (next.redis.lane?.archive === archive) next.redis.lane = null;
  }

  #undo(next: State, archive: number, move: Move): void {
    const record = next.redis.archives[archive];
    const intent = record?.intents.at(-1);
    if (!record || !intent || nextState('intent', intent.state, 'disown') === undefined || nextState('archive', record.state, 'disown') === undefined) return;
    move('archive', record, 'disown');
    move('intent', intent, 'disown');
    intent.not = [...intent.not, intent.batch].sort();
    intent.batch = -1;
    intent.isScanned = false;
  }

  #network(index: number): void {
    const attempt = this.#state.attempts[index];
    if (attempt?.net === 'flying') {
      this.#step(`create ${index} lands`, (next) => void Object.assign(next.attempts[index] ?? {}, { net: 'landed', reply: 'flying' }));
      this.#step(`create ${index} is lost`, (next) => void Object.assign(next.attempts[index] ?? {}, { net: 'lost' }));
    }
    if (attempt?.reply === 'flying') this.#step(`reply ${index} is lost`, (next) => void Object.assign(next.attempts[index] ?? {}, { reply: 'gone' }));
  }

  /** The lease of a lane ends: what was not sent is refused, what was sent is in doubt (expire-lane.lua). */
  #expire(archive: number): void {
    const { lane } = this.#state.redis;
    if (lane?.archive !== archive) return;
    if (!this.#setting.pauses && !isGone(this.#state, lane.owner)) return;
    this.#step('the lease ends', (next, move) => {
      const record = next.redis.archives[archive];
      const intent = record?.intents.at(-1);
      if (!record || !intent) return false;
      if (intent.state === 'sent') return this.#doubt(next, archive, move);
      move('intent', intent, 'refuse');
      move('archive', record, 'refuse');
      next.redis.lane = null;
      return true;
    });
  }

  /** The adopter: fence, list, adopt, declare absent (workers/adopter.ts). */
  #search(archive: number): void {
    const { parts, archives } = this.#setting;
    const record = this.#state.redis.archives[archive];
    const last = record === undefined ? -1 : record.intents.length - 1;
    const intent = record?.intents[last];
    if (!record || !intent) return;
    for (const [batch, attempt] of this.#state.attempts.entries()) {
      // The results name the archive: once it has ended, its own batch is known for sure.
      if (attempt.archive === archive && attempt.net === 'landed' && ['in_doubt', 'held', 'adopted'].includes(intent.state)) {
        this.#step(`batch ${batch} ends and names archive ${archive}`, (next, move) => {
          if (next.redis.archives[archive]?.intents[last]?.batch === batch) return false;
          this.#bind(next, archive, last, batch, move);
          return true;
        });
      }
    }
    if (!['in_doubt', 'held'].includes(intent.state)) return;
    const sender = parts.durableIntent ? (this.#state.lake[`${archive}/${last}`] ?? intent.owner) : intent.owner;
    if (!intent.isFenced && isFinished(this.#state, sender, archive, last)) this.#step(`the sender of archive ${archive} is proven gone`, (next) => void Object.assign(next.redis.archives[archive]?.intents[last] ?? {}, { isFenced: true }));
    if (intent.state === 'held') return;
    if (this.#setting.mayHold === true) this.#step(`a person holds archive ${archive}`, (next, move) => move('intent', next.redis.archives[archive]?.intents[last] as Intent, 'hold'));
    const rows = archives[archive];
    const candidates = this.#batches().filter((each) => each.rows === rows && !intent.not.includes(each.batch) && !each.isOver);
    const open = candidates.filter((each) => !isClaimed(this.#state, each.batch));
    const isAlone = !this.#state.redis.archives.some((other, at) => at !== archive && archives[at] === rows && !lifecycle.intent.terminal.includes(other.intents.at(-1)?.state ?? 'refused'));
    if (open.length === 1 && (isAlone || !parts.distinctCounts)) {
      this.#step(`archive ${archive} is bound to batch ${String(open[0]?.batch)} by time and count`, (next, move) => {
        const own = next.redis.archives[archive];
        const last = own?.intents.at(-1);
        if (!own || !last) return;
        move('intent', last, 'adopt');
        move('archive', own, 'adopt');
        last.batch = open[0]?.batch ?? -1;
      });
    }
    const isUnderWay = this.#state.attempts.some((each) => each.archive === archive && each.net === 'flying');
    const rivals = candidates.filter((each) => this.#state.redis.archives.some((other) => other.intents.some((one) => one.batch === each.batch && one.state === 'adopted')));
    const counts = (!parts.fence || intent.isFenced) && !(parts.landingWait && isUnderWay);
    if (!intent.isScanned && counts && open.length === 0 && rivals.length === 0) this.#step(`nothing is found for archive ${archive}`, (next) => void Object.assign(next.redis.archives[archive]?.intents[last] ?? {}, { isScanned: true }));
    if (intent.isScanned && !parts.hold) {
      this.#step(`archive ${archive} is declared absent`, (next, move) => {
        const own = next.redis.archives[archive];
        const last = own?.intents.at(-1);
        if (!own || !last) return;
        move('intent', last, 'absolve');
        move('archive', own, 'absolve');
      });
    }
  }

  /** Batches that the list shows. `isOver`: it ended, and its results name somebody who is not ours. */
  #batches(): readonly { readonly batch: number; readonly rows: number | undefined; readonly isOver: boolean }[] {
    const own = this.#state.attempts.flatMap((each, batch) => (each.net === 'landed' ? [{ batch, rows: this.#setting.archives[each.archive], isOver: false }] : []));
    if (this.#state.foreign === 'none') return own;
    return [...own, { batch: foreignBatch, rows: this.#setting.foreign, isOver: this.#state.foreign === 'ended' }];
  }

  #settle(archive: number): void {
    const record = this.#state.redis.archives[archive];
    const intent = record?.intents.at(-1);
    if (!record || !intent) return;
    const isOwn = this.#state.attempts[intent.batch]?.archive === archive;
    if (record.state === 'accepted') this.#step(`the batch of archive ${archive} ends`, (next, move) => {
      if (intent.batch === foreignBatch) next.foreign = 'ended';
      move('archive', next.redis.archives[archive] as { state: string }, 'end');
    });
    if (record.state !== 'ended') return;
    if (isOwn || !this.#setting.parts.disown) {
      this.#step(`archive ${archive} is settled`, (next, move) => {
        const own = next.redis.archives[archive];
        const last = own?.intents.at(-1);
        if (!own || !last) return;
        if (nextState('intent', last.state, 'confirm') !== undefined) move('intent', last, 'confirm');
        move('archive', own, 'settle');
      });
    } else this.#step(`archive ${archive} disowns its batch`, (next, move) => this.#undo(next, archive, move));
  }

  #world(): void {
    const { setting, state } = { setting: this.#setting, state: this.#state };
    if (setting.foreign !== undefined && state.foreign === 'none') this.#step('somebody else posts a batch', (next) => void (next.foreign = 'running'));
    if (state.foreign === 'running') this.#step("somebody else's batch ends", (next) => void (next.foreign = 'ended'));
    if (state.setBacks === 0) return;
    if (state.old === null) this.#step('a replica of Redis falls behind here', (next) => void (next.old = JSON.parse(JSON.stringify(next.redis)) as Redis));
    else {
      this.#step('Redis is set back', (next, move) => {
        next.redis = next.old ?? next.redis;
        next.old = null;
        next.setBacks -= 1;
        if (setting.parts.durableIntent) this.#recover(next, move);
      });
    }
  }

  /** Start-up finds that Redis is older than the lake: what the lake knows and nobody has answered for is in doubt. */
  #recover(next: State, move: Move): void {
    next.redis.lane = null;
    for (const [archive, record] of next.redis.archives.entries()) {
      const known = Math.max(0, ...Object.keys(next.lake).filter((key) => key.startsWith(`${archive}/`)).map((key) => Number(key.split('/')[1]) + 1));
      // Only the last of them can be unanswered: a further one follows a refusal or a proof of absence.
      while (record.intents.length < known) record.intents.push({ state: lifecycle.intent.initial, owner: '', isFenced: false, isScanned: false, batch: -1, not: [] });
      for (const intent of record.intents.slice(0, -1)) if (!lifecycle.intent.terminal.includes(intent.state)) intent.state = 'refused';
      const last = record.intents.at(-1);
      if (!last || lifecycle.intent.terminal.includes(last.state)) continue;
      const sender = next.lake[`${archive}/${record.intents.length - 1}`];
      if (['in_doubt', 'held', 'adopted'].includes(last.state)) continue;
      if (sender === undefined) {
        // Never journaled, so no byte of it was uploaded.
        move('intent', last, 'refuse');
        record.state = 'sealed';
        continue;
      }
      last.owner = sender;
      last.isFenced = false;
      move('intent', last, 'doubt');
      record.state = 'in_doubt';
    }
  }
}

type Move = (noun: 'intent' | 'archive', record: { state: string }, event: string) => void;

function rest(worker: Worker): void {
  Object.assign(worker, { pc: 'idle', archive: -1, intent: -1, attempt: -1 });
}

/** Its process has ended, or knows that it has no such call under way. */
function isFinished(state: State, owner: string, archive: number, intent: number): boolean {
  const worker = state.workers[Number(owner.split('.')[0])];
  return isGone(state, owner) || (worker !== undefined && (worker.archive !== archive || worker.intent !== intent));
}

function isGone(state: State, owner: string): boolean {
  const [index, life] = owner.split('.').map(Number);
  const worker = state.workers[index ?? -1];
  return worker !== undefined && (worker.life !== life || worker.pc === 'dead');
}

function isClaimed(state: State, batch: number): boolean {
  return state.redis.archives.some((archive) => archive.intents.some((intent) => intent.batch === batch));
}

/** What nobody asks for any more is forgotten, or states would differ that behave the same. */
function forget(state: State): void {
  for (const archive of state.redis.archives) {
    for (const intent of archive.intents) {
      if (['refused', 'absent', 'accepted'].includes(intent.state)) Object.assign(intent, { owner: '', isFenced: false, isScanned: false, not: [] });
    }
  }
  for (const attempt of state.attempts) if (attempt.net === 'lost') attempt.reply = 'gone';
}
