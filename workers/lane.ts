/**
 * Keeps the lane of an account while one archive is submitted: renews its lease, and aborts the upload when it is lost.
 *
 * Invariants
 *   N1  `signal` aborts before anyone else can take the lane over, unless this process slept; then the gate of the ledger
 *       is shut for it. A Redis that does not answer counts as lost when the lease is over.
 *   N2  Once the last byte may have left, a lost lane aborts nothing: only the reply can still tell what became of it.
 */
import type { Ledger } from '../segments/ledger/ledger.ts';
import type { IntentId } from '../segments/segment.ts';
import type { Now } from '../segments/stage.ts';

export interface HeldLane {
  readonly signal: AbortSignal;
  /** Says that the last byte leaves now (N2). */
  keepWaiting(): void;
  /** Stops renewing; the lane itself is given back by the ledger's transition. */
  release(): Promise<void>;
}

/** Starts to renew a lane that `prepareIntent` has just given. */
export function holdLane(request: {
  readonly ledger: Ledger;
  readonly account: string;
  readonly owner: string;
  readonly intent: IntentId;
  readonly leaseMs: number;
  readonly now: Now;
  readonly signal: AbortSignal;
}): HeldLane {
  const { ledger, account, owner, intent, leaseMs, now } = request;
  const lost = new AbortController();
  let isReleased = false;
  let heldUntilMs = now() + leaseMs;
  let isRenewing: Promise<void> | undefined;
  const renew = async (): Promise<void> => {
    try {
      const askedAtMs = now();
      if (await ledger.renewLane(account, owner, intent, leaseMs, askedAtMs)) heldUntilMs = askedAtMs + leaseMs;
      else lose();
    } catch {
      // Redis does not answer: as long as the lease lasts nobody else can be the owner, and the timer watches the lease.
    }
  };
  const lose = (): void => {
    if (!isReleased) lost.abort();
  };
  const timer = setInterval(() => {
    // A call may hang for as long as Redis is away, so the lease is watched here and not by its failure.
    if (now() >= heldUntilMs) lose();
    isRenewing ??= renew().finally(() => {
      isRenewing = undefined;
    });
  }, leaseMs / 3);
  return {
    signal: AbortSignal.any([request.signal, lost.signal]),
    keepWaiting() {
      isReleased = true;
    },
    async release() {
      clearInterval(timer);
      await isRenewing;
    },
  };
}
