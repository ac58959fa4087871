/** Moves that several steps make on an intent and its archive together. */
import { nextState } from '../../segments/lifecycle.ts';
import { isClaimed, type Move, type State } from './state.ts';

/** Nobody can say whether the last intent made a batch. */
export function doubt(next: State, archive: number, move: Move, sender?: string): void {
  const record = next.redis.archives[archive];
  const intent = record?.intents.at(-1);
  if (!record || !intent) return;
  move('intent', intent, 'doubt');
  move('archive', record, 'doubt');
  if (sender !== undefined) intent.owner = sender;
  if (next.redis.lane?.archive === archive) next.redis.lane = null;
}

/** A batch is proven to be this intent's: by a reply, or by its results. */
export function bind(next: State, archive: number, index: number, batch: number, move: Move): void {
  const record = next.redis.archives[archive];
  const intent = record?.intents[index];
  if (!record || !intent || intent.batch === batch || isClaimed(next, batch)) return;
  if (intent.batch >= 0) undo(next, archive, move);
  const event = nextState('intent', intent.state, 'accept') !== undefined ? 'accept' : 'adopt';
  if (nextState('intent', intent.state, event) === undefined || nextState('archive', record.state, event) === undefined) return;
  move('intent', intent, event);
  move('archive', record, event);
  intent.batch = batch;
  if (next.redis.lane?.archive === archive) next.redis.lane = null;
}

/** An adoption is undone: the batch belongs to somebody else. */
export function undo(next: State, archive: number, move: Move): void {
  const record = next.redis.archives[archive];
  const intent = record?.intents.at(-1);
  if (!record || !intent || nextState('intent', intent.state, 'disown') === undefined || nextState('archive', record.state, 'disown') === undefined) return;
  move('archive', record, 'disown');
  move('intent', intent, 'disown');
  intent.not = [...intent.not, intent.batch].sort();
  intent.batch = -1;
  intent.isScanned = false;
}
