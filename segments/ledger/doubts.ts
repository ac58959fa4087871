/** The part of the Redis ledger that deals with archives in doubt: the search for their batches, and what ends it. */
import type { Redis } from 'ioredis';
import type { ArchiveId, BatchId, IntentId } from '../segment.ts';
import type { LedgerKeys } from './keys.ts';
import type { BatchClaim, Ledger } from './ledger.ts';
import type { Call } from './scripts.ts';

/** The provider shows a batch for 29 days (claude-batches.md 1.2); a day more, and nobody can ask for it any more. */
const strangersKeptMs = 30 * 86_400_000;
/** A batch ends within a day (claude-batches.md 2.4); after that its results say whose it is, whatever its count. */
export const forgoneMs = 26 * 3_600_000;

/** The reason of a doubt that a person has left to a person. */
export const heldByOperator = 'operator';

type DoubtMethods = 'listDoubts' | 'fenceIntent' | 'noteLook' | 'absolveIntent' | 'holdIntent' | 'forgoIntent' | 'disownBatch' | 'readClaims' | 'noteStranger' | 'bookLeak';

/** The methods of the ledger for doubts, on its connection. */
export function doubtCalls(redis: Redis, keys: LedgerKeys, call: Call): Pick<Ledger, DoubtMethods> {
  const boundTo = async (intent: string): Promise<BatchClaim> => {
    if (intent.startsWith('leak:')) return { kind: 'leaked' };
    const [state, rows] = await redis.hmget(keys.of(`intent:${intent}`), 'state', 'rows');
    return { kind: 'bound', intent: intent as IntentId, rows: Number(rows ?? 0), isConfirmed: state !== 'adopted' };
  };
  // An archive that was unknown when the batch was read may have come back: a ledger is rebuilt archive by archive.
  const isStranger = async (archive: string | null | undefined): Promise<boolean> => {
    if (archive === null || archive === undefined) return false;
    return archive === '' || (await redis.exists(keys.of(`archive:${archive}`))) === 0;
  };
  return {
    async listDoubts() {
      const archives = await redis.smembers(keys.of('doubts'));
      const since = await Promise.all(archives.map(async (archive) => {
        const intent = await redis.hget(keys.of(`archive:${archive}`), 'intent');
        return Number((await redis.hget(keys.of(`intent:${intent ?? ''}`), 'doubtedAtMs')) ?? 0);
      }));
      return archives
        .map((archive, index) => ({ archive: archive as ArchiveId, sinceMs: since[index] ?? 0 }))
        .sort((a, b) => a.sinceMs - b.sinceMs || (a.archive < b.archive ? -1 : 1))
        .map((each) => each.archive);
    },
    fenceIntent: async (intent, fence, nowMs) => ((await call('fence-intent', { intent, fence, nowMs })) as { isFenced: boolean }).isFenced,
    noteLook: async (request) => (await call('note-look', { ...request, candidates: JSON.stringify(request.candidates) })) as Awaited<ReturnType<Ledger['noteLook']>>,
    absolveIntent: async (request) => ((await call('absolve-intent', { ...request })) as { isAbsolved: boolean }).isAbsolved,
    holdIntent: async (intent, reason, nowMs) => ((await call('hold-intent', { intent, reason, nowMs })) as { isHeld: boolean }).isHeld,
    forgoIntent: async (request) => ((await call('forgo-intent', { ...request, rivalUntilMs: request.decidedAtMs + forgoneMs })) as { isForgone: boolean }).isForgone,
    disownBatch: async (archive, batch, nowMs) => ((await call('disown-batch', { archive, batch, nowMs })) as { isDisowned: boolean }).isDisowned,
    async readClaims(account, batches) {
      const claims = new Map<BatchId, BatchClaim>();
      if (batches.length === 0) return claims;
      const bound = await redis.hmget(keys.of('batches'), ...batches);
      const named = await redis.hmget(keys.of(`strangers:${account}:named`), ...batches);
      for (const [index, batch] of batches.entries()) {
        const intent = bound[index];
        if (intent) claims.set(batch, await boundTo(intent));
        else if (await isStranger(named[index])) claims.set(batch, { kind: 'stranger' });
      }
      return claims;
    },
    noteStranger: async ({ account, batch, archive, createdAtMs, nowMs }) => void (await call('note-stranger', { account, batch, archive: archive ?? '', createdAtMs, keptMs: strangersKeptMs, nowMs })),
    bookLeak: async (request) => (await call('book-leak', { ...request })) as Awaited<ReturnType<Ledger['bookLeak']>>,
  };
}
