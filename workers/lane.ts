/**
 * Keeps the lane of an account while one archive is submitted: renews its lease, and aborts the upload when it is lost.
 *
 * Invariant N1: `signal` aborts before anyone else can take the lane over, unless this process slept; then the gate of
 * the ledger is shut for it.
 */
import type { Ledger } from '../segments/ledger/ledger.ts';
import type { IntentId } from '../segments/segment.ts';
import type { Now } from '../segments/stage.ts';

export interface HeldLane {
  readonly signal: AbortSignal;
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
  let heldUntilMs = now() + leaseMs;
  let isRenewing: Promise<void> | undefined;
  const renew = async (): Promise<void> => {
    try {
      if (await ledger.renewLane(account, owner, intent, leaseMs, now())) heldUntilMs = now() + leaseMs;
      else lost.abort();
    } catch {
      // Redis does not answer: as long as the lease lasts nobody else can be the owner.
      if (now() >= heldUntilMs) lost.abort();
    }
  };
  const timer = setInterval(() => {
    isRenewing ??= renew().finally(() => {
      isRenewing = undefined;
    });
  }, leaseMs / 3);
  return {
    signal: AbortSignal.any([request.signal, lost.signal]),
    async release() {
      clearInterval(timer);
      await isRenewing;
    },
  };
}
