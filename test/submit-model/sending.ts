/** The submitter: prepare, journal, arm, gate, last byte, reply (workers/submitter.ts). */
import { lifecycle, nextState } from '../../segments/lifecycle.ts';
import { bind, doubt } from './moves.ts';
import { attemptsMax, nameOf, rest, type Intent, type Look, type Move, type State, type Worker } from './state.ts';

/** What a worker does next. Its memory is its own: it may be older than what the ledger says. */
export function work(look: Look, index: number): void {
  const worker = look.state.workers[index];
  if (!worker) return;
  const { parts } = look.setting;
  const name = nameOf(look.state, index);
  const who = `worker ${index}`;
  const me = (next: State): Worker => next.workers[index] as Worker;
  const mine = (next: State): Intent | undefined => next.redis.archives[worker.archive]?.intents[worker.intent];
  const holds = (next: State): boolean => next.redis.lane?.owner === name && next.redis.lane.archive === worker.archive;
  if (worker.pc === 'dead') {
    look.step(`${who} starts again`, (next) => void Object.assign(me(next), { pc: 'idle', life: worker.life + 1 }));
    return;
  }
  if (look.state.crashes > 0 && worker.pc !== 'idle') {
    look.step(`${who} dies while ${worker.pc}`, (next) => {
      Object.assign(me(next), { pc: 'dead', archive: -1, intent: -1, attempt: -1 });
      next.crashes -= 1;
    });
  }
  switch (worker.pc) {
    case 'idle':
      for (const archive of look.setting.archives.keys()) prepare(look, index, archive);
      return;
    case 'prepared':
      look.step(`${who} writes the intent into the lake`, (next, move) => {
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
        doubt(next, worker.archive, move, before);
        return true;
      });
      return;
    case 'journaled':
      look.step(`${who} arms the intent`, (next, move) => {
        const intent = mine(next);
        if (!intent || !holds(next) || nextState('intent', intent.state, 'arm') === undefined) return refuse(look, next, index, move);
        move('intent', intent, 'arm');
        me(next).pc = 'armed';
        return true;
      });
      return;
    case 'armed':
      look.step(`${who} asks the gate`, (next, move) => {
        if (parts.intent) {
          const intent = mine(next);
          if (!intent || !holds(next) || nextState('intent', intent.state, 'send') === undefined) return refuse(look, next, index, move);
          move('intent', intent, 'send');
        }
        me(next).pc = 'released';
        return true;
      });
      return;
    case 'released':
      if (look.state.attempts.filter((each) => each.archive === worker.archive).length >= attemptsMax) return;
      look.step(`${who} writes the last byte`, (next) => {
        me(next).attempt = next.attempts.push({ archive: worker.archive, intent: worker.intent, net: 'flying', reply: 'none' }) - 1;
        me(next).pc = 'waiting';
      });
      return;
    case 'waiting': {
      const attempt = look.state.attempts[worker.attempt];
      if (attempt?.reply === 'flying') {
        look.step(`${who} reads the reply`, (next, move) => {
          const own = next.attempts[worker.attempt];
          if (own) own.reply = 'gone';
          rest(me(next));
          bind(next, worker.archive, worker.intent, worker.attempt, move);
        });
      }
      look.step(`${who} waits no longer`, (next, move) => {
        const own = next.attempts[worker.attempt];
        if (own?.reply === 'flying') own.reply = 'gone';
        rest(me(next));
        const intent = mine(next);
        if (!intent) return true;
        if (nextState('intent', intent.state, 'doubt') !== undefined && holds(next)) doubt(next, worker.archive, move);
        if (['in_doubt', 'held', 'adopted'].includes(intent.state)) intent.isFenced = true;
        return true;
      });
      return;
    }
    default:
      throw new Error(`a worker cannot be ${String(worker.pc)}`);
  }
}

function prepare(look: Look, index: number, archive: number): void {
  const { parts, archives } = look.setting;
  look.step(`worker ${index} prepares archive ${archive}`, (next, move) => {
    const record = next.redis.archives[archive];
    const worker = next.workers[index];
    if (next.redis.lane !== null || !record || !worker || record.intents.length >= look.setting.intentsMax) return false;
    const isTaken = next.redis.archives.some((other, at) => at !== archive && other.state === 'in_doubt' && archives[at] === archives[archive]);
    if (parts.distinctCounts && isTaken) return false;
    move('archive', record, 'prepare');
    record.intents.push({ state: lifecycle.intent.initial, owner: nameOf(look.state, index), isFenced: false, isScanned: false, batch: -1, not: [] });
    next.redis.lane = { owner: nameOf(look.state, index), archive };
    Object.assign(worker, { pc: 'prepared', archive, intent: record.intents.length - 1 });
    return true;
  });
}

/** Nothing was sent: the intent is refused if it is still this worker's affair. */
function refuse(look: Look, next: State, index: number, move: Move): boolean {
  const worker = next.workers[index];
  if (!worker) return false;
  const record = next.redis.archives[worker.archive];
  const intent = record?.intents[worker.intent];
  if (record && intent && next.redis.lane?.owner === nameOf(look.state, index) && nextState('intent', intent.state, 'refuse') !== undefined) {
    move('intent', intent, 'refuse');
    move('archive', record, 'refuse');
    next.redis.lane = null;
  }
  rest(worker);
  return true;
}
