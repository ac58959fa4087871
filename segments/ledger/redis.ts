/**
 * The ledger in Redis: it owns one connection and turns each method of the port into one script or one read. Nothing is
 * decided here; what must be atomic is in `scripts/`, what must be pure is in the other files of `segments/`.
 *
 * Invariants: G1 to G6 of `ledger.ts`. A read is a snapshot that may be old when it arrives; every script looks again.
 */
import type { Redis } from 'ioredis';
import { childChunkId, type ArchiveId, type ChunkId, type IntentId, type Priority, type RunKey, type SegmentName } from '../segment.ts';
import { behind } from './behind.ts';
import { budgetCalls, callerInWindows } from './budgets.ts';
import { count, decodeArchive, decodeChunk, decodeEvent, decodeIntent, decodeRun, type Fields } from './decode.ts';
import type { LedgerKeys } from './keys.ts';
import type { Admission, BatchWatch, Cancellation, ChunkPart, DueEntity, HoldTarget, Ledger, Preparation, QueuedChunk, Replacement, RunRecord } from './ledger.ts';
import { doubtCalls } from './doubts.ts';
import { quotaCalls } from './quotas.ts';
import { scriptCaller, type Call } from './scripts.ts';

const flushOrder: readonly Priority[] = ['high', 'normal', 'low', 'fallback'];

/** Chunks that one call of `cancel-run` moves: a script must not keep Redis busy for long. */
const cancelStep = 500;
/** Likewise of `replan-chunks`. */
const replanStep = 500;

function nameOf(target: HoldTarget): Readonly<Record<string, string>> {
  return target.kind === 'segment' ? { segment: target.segment } : { run: target.run };
}

/** Opens the ledger of an installation on a connection, which it closes in the end. `call`: how its scripts are run. */
export function openRedisLedger(redis: Redis, keys: LedgerKeys, call: Call = scriptCaller(redis, keys.prefix)): Ledger {
  const inWindows = callerInWindows(call);
  const hash = async (name: string): Promise<Fields> => await redis.hgetall(keys.of(name));

  const readRun = async (run: RunKey): Promise<RunRecord | undefined> => {
    const fields = await hash(`run:${run}`);
    return fields['state'] === undefined ? undefined : decodeRun(run, fields);
  };
  const readChunk = async (chunk: ChunkId) => {
    const fields = await hash(`chunk:${chunk}`);
    return fields['state'] === undefined ? undefined : decodeChunk(chunk, fields);
  };
  const partOf = (chunk: ChunkId, part: ChunkPart) => ({ ...part, chunk: childChunkId(chunk, part.from, part.to) });

  return {
    async openRun(request) {
      const { kind } = (await call('open-run', { ...request })) as { readonly kind: 'opened' | 'exists' };
      const run = await readRun(request.run);
      if (!run) throw behind('a run that was opened at this moment is not known to the ledger', request.run);
      return { kind, run };
    },
    readRun,
    listRuns: async () => (await redis.smembers(keys.of('runs'))).sort() as RunKey[],
    readHighWater: async (run) => new Map(Object.entries(await hash(`run:${run}:high`)).map(([lane, row]) => [lane, Number(row)])),
    addChunk: async (request) => (await call('add-chunk', { ...request })) as Awaited<ReturnType<Ledger['addChunk']>>,
    flushRun: async ({ high, ...request }) => (await call('flush-run', { ...request, high: Object.fromEntries(high) })) as Awaited<ReturnType<Ledger['flushRun']>>,

    readChunk,
    readChunks: async (chunks) => (await Promise.all(chunks.map(readChunk))).filter((each) => each !== undefined),
    setWeights: async (weights) => void (await call('set-weights', { weights })),
    nextSegment: async (skip) => ((await call('next-segment', { skip: [...skip] })) as { segment?: SegmentName }).segment,
    async nextQueued(segment) {
      const [chunk] = await redis.zrange(keys.of(`queued:${segment}`), 0, '0');
      if (chunk === undefined) return undefined;
      return { chunk: chunk as ChunkId, segment, epoch: Number(await redis.hget(keys.of(`chunk:${chunk}`), 'epoch')) };
    },
    admit: async (chunk, limits, isFillEnough, nowMs) => (await inWindows('admit', { chunk, limits, isFillEnough, nowMs })) as Admission,
    split: async (chunk, left, right, nowMs, refused) =>
      (await call('split', { chunk, left: partOf(chunk, left), right: partOf(chunk, right), refused, nowMs })) as QueuedChunk[],
    async cancelRun(run, rowsMax, nowMs) {
      const settle = new Set<ArchiveId>();
      for (;;) {
        const reply = (await call('cancel-run', { run, rowsMax, limit: cancelStep, nowMs })) as Cancellation & { readonly left: number };
        for (const archive of reply.settle) settle.add(archive);
        if (reply.left === 0) return { kind: reply.kind, settle: [...settle], track: reply.track, submitting: reply.submitting, inDoubt: reply.inDoubt };
      }
    },
    async listHeld(segment) {
      const scopes = await redis.smembers(keys.of('stops'));
      const held = await Promise.all(scopes.sort().map(async (scope) => await redis.zrange(keys.of(`stop:${scope}:held`), 0, '-1')));
      const chunks = await Promise.all((held.flat() as ChunkId[]).map(readChunk));
      return chunks.filter((chunk) => chunk !== undefined).filter((chunk) => chunk.segment === segment && chunk.state === 'held');
    },
    async listRests(nowMs) {
      const accounts = (await redis.smembers(keys.of('lanes'))).sort();
      const lanes = await Promise.all(accounts.map(async (account) => ({ account, fields: await hash(`lane:${account}`) })));
      const rests = lanes.map(({ account, fields }) => ({ account, reason: fields['pauseReason'] ?? '', untilMs: Number(fields['pausedUntilMs'] ?? 0) }));
      return rests.filter(({ untilMs }) => untilMs > nowMs);
    },
    async replanChunks({ chunks, ...request }) {
      const found = { archives: [], taken: [], gone: [] } as { archives: ArchiveId[]; taken: ChunkId[]; gone: ChunkId[] };
      for (let at = 0; at < chunks.length; at += replanStep) {
        const reply = (await call('replan-chunks', { ...request, chunks: chunks.slice(at, at + replanStep), isLast: at + replanStep >= chunks.length })) as Replacement;
        found.archives.push(...reply.archives);
        found.taken.push(...reply.taken);
        found.gone.push(...reply.gone);
      }
      return found;
    },
    async readTurnarounds(segment) {
      const own = await redis.lrange(keys.of(`turnaround:${segment}`), 0, -1);
      return (own.length > 0 ? own : await redis.lrange(keys.of('turnaround:all'), 0, -1)).map(Number);
    },
    hold: async (target, saidAtMs) => ((await call('hold', { ...nameOf(target), nowMs: saidAtMs })) as { isNew: boolean }).isNew,
    flushArchives: async (run, priority, limits, nowMs) => (await call('flush-archives', { run, priority, limits, nowMs })) as ArchiveId[],
    async flushDue(run) {
      const fields = await hash(`run:${run}`);
      if (fields['state'] !== 'open') return [];
      return flushOrder.filter((priority) => count(fields, `queued:${priority}`) === 0 && count(fields, `archivesOpen:${priority}`) > 0);
    },

    async readArchive(archive) {
      const fields = await hash(`archive:${archive}`);
      return fields['state'] === undefined ? undefined : decodeArchive(archive, fields);
    },
    readArchiveChunks: async (archive) => (await redis.lrange(keys.of(`archive:${archive}:chunks`), 0, -1)) as ChunkId[],
    listArchives: async (run) => (await redis.lrange(keys.of(`run:${run}:archives`), 0, -1)) as ArchiveId[],
    closeArchive: async (archive, reason, nowMs) => void (await call('close-archive', { archive, reason, nowMs })),
    sealArchive: async (request) => ((await call('seal-archive', { ...request })) as { isSealed: boolean }).isSealed,

    prepareIntent: async (request) => (await call('prepare-intent', { ...request })) as Preparation,
    renewLane: async (account, owner, intent, leaseMs, nowMs) =>
      ((await call('renew-lane', { account, owner, intent, leaseMs, nowMs })) as { isHeld: boolean }).isHeld,
    armIntent: async (intent, owner, providerDateMs, nowMs) =>
      ((await call('arm-intent', { intent, owner, providerDateMs, nowMs })) as { isArmed: boolean }).isArmed,
    sendIntent: async (intent, owner, nowMs) => ((await call('send-intent', { intent, owner, nowMs })) as { isOpen: boolean }).isOpen,
    acceptIntent: async (request) => ((await call('accept-intent', { ...request })) as { isAccepted: boolean }).isAccepted,
    refuseIntent: async (request) => ((await call('refuse-intent', { ...request })) as { isRefused: boolean }).isRefused,
    doubtIntent: async (intent, reason, nowMs, fencedAtMs, pauseUntilMs) => ((await call('doubt-intent', { intent, reason, fencedAtMs, pauseUntilMs, nowMs })) as { isInDoubt: boolean }).isInDoubt,
    expireLane: async (account, nowMs) => (await call('expire-lane', { account, nowMs })) as Awaited<ReturnType<Ledger['expireLane']>>,
    halveArchive: async (intent, leftChunks, reason, nowMs) =>
      (await call('halve-archive', { intent, leftChunks: [...leftChunks], reason, nowMs })) as ArchiveId[],
    rejectArchive: async (intent, reason, nowMs) => ((await call('reject-archive', { intent, reason, nowMs })) as { isRejected: boolean }).isRejected,
    async readIntent(intent: IntentId) {
      const fields = await hash(`intent:${intent}`);
      return fields['state'] === undefined ? undefined : decodeIntent(intent, fields);
    },

    ...doubtCalls(redis, keys, call),

    watchBatch: async (archive, nowMs) => (await call('watch-batch', { archive, nowMs })) as BatchWatch,
    deferPoll: async (archive, pollAtMs) => void (await call('defer-poll', { archive, pollAtMs })),
    endArchive: async (archive, reason, nowMs) => ((await call('end-archive', { archive, reason, nowMs })) as { isEnded: boolean }).isEnded,
    settle: async (request) => (await call('settle', { ...request })) as Awaited<ReturnType<Ledger['settle']>>,
    exportArchive: async (archive, event, nowMs) => (await call('export-archive', { archive, event: JSON.stringify(event), nowMs })) as { isRunDone: boolean },
    completeRun: async (request) => ((await call('complete-run', { ...request, event: JSON.stringify(request.event) })) as { isComplete: boolean }).isComplete,

    claim: async (stage, entity, owner, leaseMs, nowMs) =>
      ((await call('claim', { stage, entity, owner, leaseMs, nowMs })) as { isClaimed: boolean }).isClaimed,
    release: async (stage, entity, owner, dueAtMs) => void (await call('release', { stage, entity, owner, dueAtMs })),
    overdue: async (nowMs, againMs, limit) => (await call('overdue', { nowMs, againMs, limit })) as DueEntity[],

    ...budgetCalls(redis, keys, inWindows),
    ...quotaCalls(redis, keys, call),

    claimLake: async (lake) => ((await call('claim-lake', { lake })) as { lake: string }).lake,
    claimRelay: async (request) => (await call('claim-relay', { ...request })) as Awaited<ReturnType<Ledger['claimRelay']>>,
    advanceRelay: async (request) => ((await call('advance-relay', { ...request })) as { isHeld: boolean }).isHeld,
    async readEvents(afterSequence, limit) {
      const entries = await redis.xrange(keys.of('events'), `(${afterSequence}-0`, '+', 'COUNT', limit);
      return entries.map(([id, flat]) => decodeEvent(id, flat));
    },
    close: async () => void (await redis.quit().catch(() => redis.disconnect())),
  };
}
