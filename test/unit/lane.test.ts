import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Ledger } from '../../segments/ledger/ledger.ts';
import type { IntentId } from '../../segments/segment.ts';
import { holdLane, type HeldLane } from '../../workers/lane.ts';

const leaseMs = 3_000;
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Holds a lane whose renewals answer as `renewLane` says, on a clock that follows the fake timers. */
function hold(renewLane: Ledger['renewLane'], signal = new AbortController().signal): HeldLane {
  const ledger: Pick<Ledger, 'renewLane'> = { renewLane };
  return holdLane({ ledger: ledger as Ledger, account: 'a', owner: 'me', intent: 'i' as IntentId, leaseMs, now: () => Date.now(), signal });
}

describe('a held lane', () => {
  it('is renewed three times per lease and is not lost', async () => {
    let renewals = 0;
    const lane = hold(async () => {
      renewals += 1;
      return true;
    });
    await vi.advanceTimersByTimeAsync(10 * leaseMs);
    expect(renewals).toBe(30);
    expect(lane.signal.aborted).toBe(false);
    await lane.release();
    await vi.advanceTimersByTimeAsync(leaseMs);
    expect(renewals).toBe(30);
  });

  it('aborts the upload as soon as the ledger says that it is lost', async () => {
    const lane = hold(async () => false);
    await vi.advanceTimersByTimeAsync(leaseMs / 3);
    expect(lane.signal.aborted).toBe(true);
    await lane.release();
  });

  it('aborts the upload when its lease is over and Redis never answered (N1)', async () => {
    let answer = (): void => undefined;
    const lane = hold(async () => await new Promise<boolean>((resolve) => {
      answer = () => resolve(true);
    }));
    await vi.advanceTimersByTimeAsync(leaseMs - 1);
    expect(lane.signal.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(leaseMs / 3);
    expect(lane.signal.aborted).toBe(true);
    answer();
    await lane.release();
  });

  it('survives a renewal that fails while the lease lasts', async () => {
    let renewals = 0;
    const lane = hold(async () => {
      renewals += 1;
      if (renewals === 1) throw new Error('no connection');
      return true;
    });
    await vi.advanceTimersByTimeAsync(5 * leaseMs);
    expect(lane.signal.aborted).toBe(false);
    await lane.release();
  });

  it('aborts nothing once the last byte may have left (N2)', async () => {
    const lane = hold(async () => false);
    lane.keepWaiting();
    await vi.advanceTimersByTimeAsync(10 * leaseMs);
    expect(lane.signal.aborted).toBe(false);
    await lane.release();
  });

  it('aborts with its process, last byte or not', async () => {
    const stop = new AbortController();
    const lane = hold(async () => true, stop.signal);
    lane.keepWaiting();
    stop.abort();
    expect(lane.signal.aborted).toBe(true);
    await lane.release();
  });
});
