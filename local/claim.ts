/**
 * The claims of which locks are made: files, because the holder may be killed at any instant and its successor may be any later
 * process. `lock.ts` waits with them for its turn in a home, `simulator/statelock.ts` takes a state folder or is refused.
 *
 * A claim is a small file with a token that is never used twice and the identity of its process, for example
 * `{"token":"6f1e…","process":{"pid":4711,"startedAt":"183427","host":"ana","boot":"…","pidNamespace":"…"}}`. Whoever links its
 * claim to `owner` first holds the lock. When a holder has died, its successor links its own claim to
 * `after-<token of the dead>`, which again only one can. A successor may die in its turn and gets a successor the same
 * way, so the claims form a chain, and whoever stands at its end is the holder. To release, the holder removes `owner`
 * first and the rest of its chain after it.
 *
 * Taking over by removing the dead holder's file instead would race: of two waiters that both saw it, the slower one
 * removes the claim that the faster one has just made. Putting back what was moved aside by mistake races as well: a third
 * one has taken the empty place meanwhile.
 *
 * - L1 The end of the chain that starts at `owner` holds the lock, and it alone removes `owner`.
 * - L2 A claim is succeeded only when its process is certainly dead. A suspended holder keeps the lock.
 * - L3 A waiter that read `owner` before a release and links after it has succeeded nobody: it reads `owner` again,
 *   finds another token or nothing, and withdraws. Tokens are unique, so the old one cannot come back.
 */
import { randomUUID } from 'node:crypto';
import { link, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { identifySelf, judgeLiveness, type ProcessIdentity } from './process-identity.ts';
import { hasCode, processIdentitySchema, readRecord } from './record.ts';

const claimSchema = z.object({ token: z.string(), process: processIdentitySchema });
export type Claim = z.infer<typeof claimSchema>;

/** A claim of this process, for one lock. */
export function makeClaim(): Claim {
  return { token: randomUUID(), process: identifySelf() };
}

/** Whether the lock is ours now, and how it is let go; or who has it. */
export type Attempt = { readonly kind: 'held'; readonly release: () => Promise<void> } | { readonly kind: 'busy'; readonly holder: ProcessIdentity };

/**
 * Tries once to take the lock of a folder that is there and used for nothing else. It waits for nobody: of several that try at
 * once, one gets it and the others learn who has it. Raises an ordinary error for a claim that cannot be read.
 */
export async function attemptClaim(folder: string, claim: Claim): Promise<Attempt> {
  for (;;) {
    const owner = await readClaim(join(folder, 'owner'));
    if (owner === undefined) {
      if (!(await place(folder, claim, join(folder, 'owner')))) continue;
      await removeLeftovers(folder);
      return { kind: 'held', release: releaseOf(folder, []) };
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
    if (ownerNow?.token === owner.token) return { kind: 'held', release: releaseOf(folder, chain) };
    await rm(successorPath(folder, last.token), { force: true }); // L3
  }
}

/** Lets go once: the `owner` that a second time would remove is somebody else's (L1). */
function releaseOf(folder: string, chain: readonly string[]): () => Promise<void> {
  let released: Promise<void> | undefined;
  return () => (released ??= remove(folder, chain));
}

/** `chain`: the tokens before ours, whose successor files go with the lock. */
async function remove(folder: string, chain: readonly string[]): Promise<void> {
  await rm(join(folder, 'owner'), { force: true });
  for (const token of chain) await rm(successorPath(folder, token), { force: true });
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
