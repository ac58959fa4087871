/** What happens around the protocol: the network, leases, strangers, and a Redis that is set back. */
import { lifecycle } from '../../segments/lifecycle.ts';
import { doubt } from './moves.ts';
import { isGone, type Look, type Move, type Redis, type State } from './state.ts';

/** A message lands or is lost. */
export function network(look: Look, index: number): void {
  const attempt = look.state.attempts[index];
  if (attempt?.net === 'flying') {
    look.step(`create ${index} lands`, (next) => void Object.assign(next.attempts[index] ?? {}, { net: 'landed', reply: 'flying' }));
    look.step(`create ${index} is lost`, (next) => void Object.assign(next.attempts[index] ?? {}, { net: 'lost' }));
  }
  if (attempt?.reply === 'flying') look.step(`reply ${index} is lost`, (next) => void Object.assign(next.attempts[index] ?? {}, { reply: 'gone' }));
}

/** The lease of a lane ends: what was not sent is refused, what was sent is in doubt (expire-lane.lua). */
export function expire(look: Look, archive: number): void {
  const { lane } = look.state.redis;
  if (lane?.archive !== archive) return;
  if (!look.setting.pauses && !isGone(look.state, lane.owner)) return;
  look.step('the lease ends', (next, move) => {
    const record = next.redis.archives[archive];
    const intent = record?.intents.at(-1);
    if (!record || !intent) return false;
    if (intent.state === 'sent') return doubt(next, archive, move);
    move('intent', intent, 'refuse');
    move('archive', record, 'refuse');
    next.redis.lane = null;
    return true;
  });
}

/** Strangers post, and Redis is set back. */
export function world(look: Look): void {
  const { setting, state } = look;
  if (setting.foreign !== undefined && state.foreign === 'none') look.step('somebody else posts a batch', (next) => void (next.foreign = 'running'));
  if (state.foreign === 'running') look.step("somebody else's batch ends", (next) => void (next.foreign = 'ended'));
  if (state.setBacks === 0) return;
  if (state.old === null) look.step('a replica of Redis falls behind here', (next) => void (next.old = JSON.parse(JSON.stringify(next.redis)) as Redis));
  else {
    look.step('Redis is set back', (next, move) => {
      next.redis = next.old ?? next.redis;
      next.old = null;
      next.setBacks -= 1;
      if (setting.parts.durableIntent) recover(next, move);
    });
  }
}

/** Start-up finds that Redis is older than the lake: what the lake knows and nobody has answered for is in doubt. */
function recover(next: State, move: Move): void {
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
