/**
 * The local feed of events, behind `plimsoll events tail`: the outbox, in order, in its envelopes. It keeps no position
 * of its own; the sequence of the last event that was seen is all a reader needs to go on.
 */
import { cloudEvent, type CloudEvent } from '../segments/event.ts';
import type { Ledger } from '../segments/ledger/ledger.ts';

/** Events read at once. */
const pageEvents = 500;

export interface FeedRequest {
  readonly ledger: Pick<Ledger, 'readEvents'>;
  /** Tag of the installation, part of every event's source. */
  readonly tag: string;
  /** Events after this sequence number; 0: from the first that is kept. */
  readonly afterSequence: number;
  /** Called when there is nothing more; false ends the feed. Undefined: it ends there. */
  readonly wait?: () => Promise<boolean>;
}

/** Yields the events of the outbox, oldest first. */
export async function* tailEvents({ ledger, tag, afterSequence, wait }: FeedRequest): AsyncIterable<CloudEvent> {
  let last = afterSequence;
  for (;;) {
    const events = await ledger.readEvents(last, pageEvents);
    for (const event of events) {
      yield cloudEvent(event, tag);
      last = event.sequence;
    }
    if (events.length === 0 && !(await wait?.())) return;
  }
}
