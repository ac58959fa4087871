/**
 * Reads what was spent from the outcomes in the lake: they are written before the ledger is settled and never change, so
 * they say the same whatever became of Redis. Nothing is written.
 *
 * Invariant W2: memory holds a bounded number of outcomes, however many the lake holds.
 */
import { outcomePrefix } from '../lake.ts';
import { decodeOutcome, type ArchiveOutcome } from '../outcome.ts';
import type { RunKey } from '../segment.ts';
import type { Store } from './store.ts';

/** Reads under way at once, as in `evidence.ts`. */
const readsAtOnce = 16;

/**
 * Every outcome of the lake, or of one run; run by run, in the order of the archives' names.
 * @throws PlimsollError `ledger_corrupt` and the store's passing faults
 */
export async function* readSpending(store: Store, run?: RunKey): AsyncGenerator<ArchiveOutcome> {
  const underway: Promise<ArchiveOutcome>[] = [];
  for await (const { key } of store.list(outcomePrefix(run))) {
    const reading = store.readWhole(key).then(decodeOutcome);
    // It is awaited in its turn; until then a fault must not end the process.
    reading.catch(() => undefined);
    underway.push(reading);
    if (underway.length < readsAtOnce) continue;
    const first = underway.shift();
    if (first) yield await first;
  }
  for (const reading of underway) yield await reading;
}
