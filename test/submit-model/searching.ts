/** The adopter and the settler: what becomes of an archive in doubt, and of one that has a batch. */
import { lifecycle, nextState } from '../../segments/lifecycle.ts';
import { bind, undo } from './moves.ts';
import { foreignBatch, isClaimed, isFinished, type Intent, type Look } from './state.ts';

/** The adopter: fence, list, adopt, declare absent (workers/adopter.ts). */
export function search(look: Look, archive: number): void {
  const { parts, archives } = look.setting;
  const record = look.state.redis.archives[archive];
  const last = record === undefined ? -1 : record.intents.length - 1;
  const intent = record?.intents[last];
  if (!record || !intent) return;
  for (const [batch, attempt] of look.state.attempts.entries()) {
    // The results name the archive: once it has ended, its own batch is known for sure.
    if (attempt.archive === archive && attempt.net === 'landed' && ['in_doubt', 'held', 'adopted'].includes(intent.state)) {
      look.step(`batch ${batch} ends and names archive ${archive}`, (next, move) => {
        if (next.redis.archives[archive]?.intents[last]?.batch === batch) return false;
        bind(next, archive, last, batch, move);
        return true;
      });
    }
  }
  if (!['in_doubt', 'held'].includes(intent.state)) return;
  const sender = parts.durableIntent ? (look.state.lake[`${archive}/${last}`] ?? intent.owner) : intent.owner;
  if (!intent.isFenced && isFinished(look.state, sender, archive, last)) look.step(`the sender of archive ${archive} is proven gone`, (next) => void Object.assign(next.redis.archives[archive]?.intents[last] ?? {}, { isFenced: true }));
  if (look.setting.mayForgo === true) {
    look.step(`a person gives archive ${archive} up`, (next, move) => {
      move('intent', next.redis.archives[archive]?.intents[last] as Intent, 'forgo');
      move('archive', next.redis.archives[archive] as { state: string }, 'forgo');
    });
  }
  if (intent.state === 'held') return;
  if (look.setting.mayHold === true) look.step(`a person holds archive ${archive}`, (next, move) => move('intent', next.redis.archives[archive]?.intents[last] as Intent, 'hold'));
  const rows = archives[archive];
  const candidates = batches(look).filter((each) => each.rows === rows && !intent.not.includes(each.batch) && !each.isOver);
  const open = candidates.filter((each) => !isClaimed(look.state, each.batch));
  // A batch of what was given up may still turn up, and is told from its own by nothing but its results (accept-intent.lua).
  const isRival = (state: string): boolean => !lifecycle.intent.terminal.includes(state) || (state === 'forgone' && parts.remembered);
  const isAlone = !look.state.redis.archives.some((other, at) => at !== archive && archives[at] === rows && isRival(other.intents.at(-1)?.state ?? 'refused'));
  if (open.length === 1 && (isAlone || !parts.distinctCounts)) {
    look.step(`archive ${archive} is bound to batch ${String(open[0]?.batch)} by time and count`, (next, move) => {
      const own = next.redis.archives[archive];
      const last = own?.intents.at(-1);
      if (!own || !last) return;
      move('intent', last, 'adopt');
      move('archive', own, 'adopt');
      last.batch = open[0]?.batch ?? -1;
    });
  }
  const isUnderWay = look.state.attempts.some((each) => each.archive === archive && each.net === 'flying');
  const rivals = candidates.filter((each) => look.state.redis.archives.some((other) => other.intents.some((one) => one.batch === each.batch && one.state === 'adopted')));
  const counts = (!parts.fence || intent.isFenced) && !(parts.landingWait && isUnderWay);
  if (!intent.isScanned && counts && open.length === 0 && rivals.length === 0) look.step(`nothing is found for archive ${archive}`, (next) => void Object.assign(next.redis.archives[archive]?.intents[last] ?? {}, { isScanned: true }));
  if (intent.isScanned && !parts.hold) {
    look.step(`archive ${archive} is declared absent`, (next, move) => {
      const own = next.redis.archives[archive];
      const last = own?.intents.at(-1);
      if (!own || !last) return;
      move('intent', last, 'absolve');
      move('archive', own, 'absolve');
    });
  }
}

/** Batches that the list shows. `isOver`: it ended, and its results name somebody who is not ours. */
function batches(look: Look): readonly { readonly batch: number; readonly rows: number | undefined; readonly isOver: boolean }[] {
  const own = look.state.attempts.flatMap((each, batch) => (each.net === 'landed' ? [{ batch, rows: look.setting.archives[each.archive], isOver: false }] : []));
  if (look.state.foreign === 'none') return own;
  return [...own, { batch: foreignBatch, rows: look.setting.foreign, isOver: look.state.foreign === 'ended' }];
}

/** The tracker and the settler: the batch ends, and its results are taken or disowned. */
export function settle(look: Look, archive: number): void {
  const record = look.state.redis.archives[archive];
  const intent = record?.intents.at(-1);
  if (!record || !intent) return;
  const isOwn = look.state.attempts[intent.batch]?.archive === archive;
  if (record.state === 'accepted') look.step(`the batch of archive ${archive} ends`, (next, move) => {
    if (intent.batch === foreignBatch) next.foreign = 'ended';
    move('archive', next.redis.archives[archive] as { state: string }, 'end');
  });
  if (record.state !== 'ended') return;
  if (isOwn || intent.state === 'forgone' || !look.setting.parts.disown) {
    look.step(`archive ${archive} is settled`, (next, move) => {
      const own = next.redis.archives[archive];
      const last = own?.intents.at(-1);
      if (!own || !last) return;
      if (nextState('intent', last.state, 'confirm') !== undefined) move('intent', last, 'confirm');
      move('archive', own, 'settle');
    });
  } else look.step(`archive ${archive} disowns its batch`, (next, move) => undo(next, archive, move));
}
