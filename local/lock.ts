/**
 * The lock of a home: one process at a time opens it, closes it or starts a server in it. It is made of files, because
 * the holder may be killed at any instant and its successor may be any later process.
 *
 * A claim is a small file with a token that is never used twice and the identity of its process. Whoever links its
 * claim to `owner` first holds the lock. When a holder has died, its successor links its own claim to
 * `after-<token of the dead>`, which again only one can. A successor may die in its turn and gets a successor the same
 * way, so the claims form a chain, and whoever stands at its end is the holder. To release, the holder removes `owner`
 * first and the rest of its chain after it.
 *
 * Taking over by removing the dead holder's file instead would race: of two waiters that both saw it, the slower one
 * removes the claim that the faster one has just made.
 *
 * - L1 The end of the chain that starts at `owner` holds the lock, and it alone removes `owner`.
 * - L2 A claim is succeeded only when its process is certainly dead. A suspended holder keeps the lock.
 * - L3 A waiter that read `owner` before a release and links after it has succeeded nobody: it reads `owner` again,
 *   finds another token or nothing, and withdraws. Tokens are unique, so the old one cannot come back.
 */
import { randomUUID } from 'node:crypto';
import { link, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { pollUntil, type Patience } from './poll.ts';
import { identifySelf, judgeLiveness, type ProcessIdentity } from './process-identity.ts';
import { hasCode, processIdentitySchema, readRecord } from './record.ts';
import { RedisUnavailable } from './unavailable.ts';

/** Whose turn it is to wait for whom. `announce` gets one line when the wait becomes noticeable. */
export interface LockOptions {
  readonly announce: (line: string) => void;
}

const claimSchema = z.object({ token: z.string(), process: processIdentitySchema });
type Claim = z.infer<typeof claimSchema>;

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
  const claim: Claim = { token: randomUUID(), process: identifySelf() };
  const chain = await acquire(folder, claim, options);
  try {
    return await action();
  } finally {
    await rm(join(folder, 'owner'), { force: true });
    for (const token of chain) await rm(successorPath(folder, token), { force: true });
  }
}

/** Gives the tokens before ours in the chain; their successor files go when the lock is released. */
async function acquire(folder: string, claim: Claim, options: LockOptions): Promise<readonly string[]> {
  const beganAt = performance.now();
  let hasAnnounced = false;
  let holder: ProcessIdentity = claim.process;
  const chain = await pollUntil(async () => {
    const attempt = await attemptClaim(folder, claim);
    if (attempt.kind === 'held') return attempt.chain;
    holder = attempt.holder;
    if (!hasAnnounced && performance.now() - beganAt > noticeableMs) {
      hasAnnounced = true;
      options.announce(`Waiting for process ${describe(holder)}, which is opening or closing this home.`);
    }
    return undefined;
  }, patience);
  if (chain !== undefined) return chain;
  throw new RedisUnavailable(
    'home_locked',
    `The home is locked by process ${describe(holder)} and has been for ${patience.limitMs / 60_000} minutes.`,
    `If that process is gone for good, delete ${folder}; otherwise choose another PLIMSOLL_HOME.`,
  );
}

type Attempt = { readonly kind: 'held'; readonly chain: readonly string[] } | { readonly kind: 'busy'; readonly holder: ProcessIdentity };

async function attemptClaim(folder: string, claim: Claim): Promise<Attempt> {
  for (;;) {
    const owner = await readClaim(join(folder, 'owner'));
    if (owner === undefined) {
      if (!(await place(folder, claim, join(folder, 'owner')))) continue;
      await removeLeftovers(folder);
      return { kind: 'held', chain: [] };
    }
    const chain = [owner.token];
    let last = owner;
    for (let next = await successor(folder, last); next !== undefined; next = await successor(folder, last)) {
      last = next;
      chain.push(next.token);
    }
    if (judgeLiveness(last.process) !== 'dead') return { kind: 'busy', holder: last.process }; // L2
    if (!(await place(folder, claim, successorPath(folder, last.token)))) continue;
    const ownerNow = await readClaim(join(folder, 'owner'));
    if (ownerNow?.token === owner.token) return { kind: 'held', chain };
    await rm(successorPath(folder, last.token), { force: true }); // L3
  }
}

/**
 * Puts a complete claim at a path where there is none; false when there is one. The draft is written first and linked
 * then, because a file that is created and filled in two steps can be read, or left behind, empty.
 */
async function place(folder: string, claim: Claim, path: string): Promise<boolean> {
  const draft = join(folder, `draft-${claim.token}`);
  try {
    await writeFile(draft, JSON.stringify(claim), { mode: 0o600, flush: true });
    await link(draft, path);
    return true;
  } catch (error) {
    // ENOENT: a new owner tidied our draft away as a leftover. Both mean "look again".
    if (hasCode(error, 'EEXIST') || hasCode(error, 'ENOENT')) return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/**
 * What killed processes left: drafts, and chains whose `owner` is gone. Only the holder of a fresh `owner` may do this:
 * it is alive, so nothing in the folder can be part of its chain, and nobody else can become holder meanwhile.
 */
async function removeLeftovers(folder: string): Promise<void> {
  const names = await readdir(folder);
  await Promise.all(names.filter((name) => name !== 'owner').map((name) => rm(join(folder, name), { force: true })));
}

async function successor(folder: string, claim: Claim): Promise<Claim | undefined> {
  return readClaim(successorPath(folder, claim.token));
}

async function readClaim(path: string): Promise<Claim | undefined> {
  return readRecord(path, claimSchema);
}

function successorPath(folder: string, token: string): string {
  return join(folder, `after-${token}`);
}

function describe(identity: ProcessIdentity): string {
  return judgeLiveness(identity) === 'alive' ? String(identity.pid) : `${identity.pid} on ${identity.host}`;
}
