/**
 * The lock of a home: one process at a time opens it, closes it or starts a server in it. It owns the waiting for one's turn;
 * `claim.ts` says who holds it (L1 to L3).
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { attemptClaim, makeClaim } from './claim.ts';
import { pollUntil, type Patience } from './poll.ts';
import { judgeLiveness, type ProcessIdentity } from './process-identity.ts';
import { RedisUnavailable } from './unavailable.ts';

/** Whose turn it is to wait for whom. `announce` gets one line when the wait becomes noticeable. */
export interface LockOptions {
  readonly announce: (line: string) => void;
}

/** The holder may be installing Redis or loading a large AOF. */
const patience: Patience = { limitMs: 900_000, firstMs: 5, longestMs: 100 };
const noticeableMs = 3_000;

/**
 * Runs `action` while no other process runs one in this home, and lets go of the lock whatever comes of it.
 *
 * Raises `RedisUnavailable` `home_locked` when the holder is alive, or cannot be judged from here, for 15 minutes.
 */
export async function withLock<T>(home: string, options: LockOptions, action: () => Promise<T>): Promise<T> {
  const folder = join(home, 'lock');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const release = await acquire(folder, options);
  try {
    return await action();
  } finally {
    await release();
  }
}

/** Waits for the turn, and gives what lets go of the lock. */
async function acquire(folder: string, options: LockOptions): Promise<() => Promise<void>> {
  const claim = makeClaim();
  const beganAt = performance.now();
  let hasAnnounced = false;
  let holder: ProcessIdentity = claim.process;
  const release = await pollUntil(async () => {
    const attempt = await attemptClaim(folder, claim);
    if (attempt.kind === 'held') return attempt.release;
    holder = attempt.holder;
    if (!hasAnnounced && performance.now() - beganAt > noticeableMs) {
      hasAnnounced = true;
      options.announce(`Waiting for process ${describe(holder)}, which is opening or closing this home.`);
    }
    return undefined;
  }, patience);
  if (release !== undefined) return release;
  throw new RedisUnavailable(
    'home_locked',
    `The home is locked by process ${describe(holder)} and has been for ${patience.limitMs / 60_000} minutes.`,
    `If that process is gone for good, delete ${folder}; otherwise choose another PLIMSOLL_HOME.`,
  );
}

function describe(identity: ProcessIdentity): string {
  return judgeLiveness(identity) === 'alive' ? String(identity.pid) : `${identity.pid} on ${identity.host}`;
}
