/** What the model knows: its settings, a state, and the questions that every step asks of a state. */

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
  /** The row count of an archive that was given up is remembered: no other is bound by it. */
  readonly remembered: boolean;
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
  /** A person may give an archive in doubt up, held or not. */
  readonly mayForgo?: boolean;
  /** Intents of one archive, refused ones included; more of them show nothing new. */
  readonly intentsMax: number;
}

export const allParts: Parts = { intent: true, durableIntent: true, landingWait: true, fence: true, distinctCounts: true, disown: true, remembered: true, hold: false };

export interface Intent {
  state: string;
  owner: string;
  isFenced: boolean;
  isScanned: boolean;
  /** Index of its attempt's batch, `foreign`, or -1. */
  batch: number;
  /** Batches that turned out not to be its own. */
  not: number[];
}
export interface Redis {
  archives: { state: string; intents: Intent[] }[];
  /** Who may send: worker and archive; null when free. */
  lane: { owner: string; archive: number } | null;
}
export interface Attempt {
  archive: number;
  intent: number;
  net: 'flying' | 'landed' | 'lost';
  reply: 'none' | 'flying' | 'gone';
}
export interface Worker {
  pc: 'idle' | 'prepared' | 'journaled' | 'armed' | 'released' | 'waiting' | 'dead';
  life: number;
  archive: number;
  intent: number;
  attempt: number;
}
export interface State {
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
export const foreignBatch = 99;
/** A third create of one archive shows nothing that the second does not. */
export const attemptsMax = 2;

/** One state that is looked at, and how a step from it is noted. */
export interface Look {
  readonly setting: Setting;
  readonly state: State;
  /** Notes a step on a copy of the state. It counts only when every move that it made is in the table. */
  readonly step: (name: string, act: (next: State, move: Move) => boolean | void) => void;
}

/** Names a worker's process: a worker that starts again is another one. */
export function nameOf(state: State, index: number): string {
  return `${index}.${state.workers[index]?.life ?? 0}`;
}

/** Makes a move of the table on a record; one that is not in the table voids the whole step. */
export type Move = (noun: 'intent' | 'archive', record: { state: string }, event: string) => void;

/** A worker has nothing more to do. */
export function rest(worker: Worker): void {
  Object.assign(worker, { pc: 'idle', archive: -1, intent: -1, attempt: -1 });
}

/** Its process has ended, or knows that it has no such call under way. */
export function isFinished(state: State, owner: string, archive: number, intent: number): boolean {
  const worker = state.workers[Number(owner.split('.')[0])];
  return isGone(state, owner) || (worker !== undefined && (worker.archive !== archive || worker.intent !== intent));
}

/** The process of this name has ended. */
export function isGone(state: State, owner: string): boolean {
  const [index, life] = owner.split('.').map(Number);
  const worker = state.workers[index ?? -1];
  return worker !== undefined && (worker.life !== life || worker.pc === 'dead');
}

/** An intent is bound to the batch. */
export function isClaimed(state: State, batch: number): boolean {
  return state.redis.archives.some((archive) => archive.intents.some((intent) => intent.batch === batch));
}

/** What nobody asks for any more is forgotten, or states would differ that behave the same. */
export function forget(state: State): void {
  for (const archive of state.redis.archives) {
    for (const intent of archive.intents) {
      if (['refused', 'absent', 'accepted', 'forgone'].includes(intent.state)) Object.assign(intent, { owner: '', isFenced: false, isScanned: false, not: [] });
    }
  }
  for (const attempt of state.attempts) if (attempt.net === 'lost') attempt.reply = 'gone';
}
