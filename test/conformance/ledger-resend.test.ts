/** A client resends a call whose reply was lost. So every script is sent twice here, and the second time nothing may change. */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Redis } from 'ioredis';
import { deriveRun } from '../../segments/derive.ts';
import { openRedisLedger } from '../../segments/ledger/redis.ts';
import { openRestore } from '../../segments/ledger/restore.ts';
import { openStanding } from '../../segments/ledger/standing.ts';
import { luaOf, scriptNames, type ScriptName } from '../../segments/ledger/scripts.ts';
import { noUsage, type BatchId, type IntentId } from '../../segments/segment.ts';
import { intentOf, runEvidence, sealedOf } from '../evidence-world.ts';
import { account, footerOf, input, ledgerForTest, limits, normal, nowMs, outcomeOf, partsAfter, runA, runB, snapshot, type LedgerWorld } from '../ledger-world.ts';

const runC = 'run-c' as typeof runA;

let world: LedgerWorld;
beforeEach(async () => void (world = await ledgerForTest()));
afterEach(async () => await world.close());

/** What Redis knows a script by. */
function shaOf(name: ScriptName): string {
  return createHash('sha1').update(luaOf(name)).digest('hex');
}

/** A connection that sends every script twice and compares everything that Redis holds after each; it answers the first reply. */
function doubling(seen: Set<string>): Redis {
  const doubled = (name: 'eval' | 'evalsha') => async (script: string, keys: number, prefix: string, request: string): Promise<unknown> => {
    const first: unknown = await world.redis[name](script, keys, prefix, request);
    const after = await snapshot(world);
    await world.redis[name](script, keys, prefix, request);
    expect(await snapshot(world), `a script changed something when it was sent again: ${request}`).toEqual(after);
    seen.add(name === 'evalsha' ? script : createHash('sha1').update(script).digest('hex'));
    return first;
  };
  return new Proxy(world.redis, {
    get: (target, name) => {
      if (name === 'eval' || name === 'evalsha') return doubled(name);
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

it('every script is harmless when it is sent twice, along a whole life with budgets, splits, doubts, halves and retries', async () => {
  const seen = new Set<string>();
  const redis = doubling(seen);
  const ledger = openRedisLedger(redis, world.keys);
  const open = { side: 'real' as const, tag: '00000000b0', dt: '2026-11-21', source: 's', cutSha256: 'c', nowMs };
  const claimed = async (stage: 'seal' | 'settle', entity: string): Promise<void> => {
    expect(await ledger.claim(stage, entity, 'me', 1_000, nowMs)).toBe(true);
    await ledger.release(stage, entity, 'me', nowMs + 5);
  };

  // Two runs; one keeps its chunks until the flush.
  expect((await ledger.openRun({ run: runB, ...open })).kind).toBe('opened');
  await ledger.setBudget({ target: 'all', tokens: 200, microUsd: 1_000, window: 'total' }, 'operator', nowMs);
  const checkpoint = { bytes: 50, rows: 10, sha256: 'aa' };
  const first = footerOf(10, 1, { run: runB });
  const second = footerOf(10, 11, { run: runB });
  const third = footerOf(4, 21, { run: runB });
  expect((await ledger.addChunk({ footer: first, spoolKey: 'a', previousRow: 0, checkpoint, isReleased: true, nowMs })).kind).toBe('added');
  expect((await ledger.addChunk({ footer: second, spoolKey: 'b', previousRow: 10, checkpoint, isReleased: false, nowMs })).kind).toBe('added');
  expect((await ledger.addChunk({ footer: third, spoolKey: 'c', previousRow: 20, checkpoint, isReleased: false, nowMs })).kind).toBe('added');
  expect((await ledger.flushRun({ run: runB, accepted: 24, rejected: 0, high: new Map(), input, nowMs })).queued).toHaveLength(2);

  // The first fits, the second fits in part, the rest is held.
  expect(await ledger.nextSegment([])).toBe(normal);
  expect((await ledger.admit(first.chunk, limits, false, nowMs)).kind).toBe('packed');
  expect(await ledger.holdChunk({ chunk: second.chunk, asideMs: 10, asideMaxMs: 20, nowMs })).toMatchObject({ isHeld: true, isFirst: true });
  expect(await ledger.resumeHeld(nowMs + 9)).toEqual([]);
  expect((await ledger.resumeHeld(nowMs + 10)).map((each) => each.chunk)).toEqual([second.chunk]);
  const [left, right] = await ledger.split(second.chunk, ...partsAfter(8, 0, 9), nowMs);
  if (!left || !right) throw new Error('the split queued no children');
  expect((await ledger.admit(left.chunk, limits, false, nowMs)).kind).toBe('packed');
  expect((await ledger.admit(third.chunk, limits, false, nowMs)).kind).toBe('refused');
  const stop = await ledger.stopOnBudget({ chunk: third.chunk, target: 'all', reason: 'budget_tokens', tokensNeeded: 30, microUsdNeeded: 20, nowMs });
  expect(stop.kind).toBe('stopped');
  expect((await ledger.admit(right.chunk, limits, false, nowMs)).kind).toBe('held');
  expect(await ledger.listSegments(nowMs)).toMatchObject([{ segment: normal, state: 'stopped', chunksHeld: 2, rowsHeld: 6 }]);

  // Flush, seal, claim, sweep.
  const [archive] = await ledger.flushArchives(runB, 'normal', limits, nowMs);
  if (!archive) throw new Error('no archive was flushed');
  await claimed('seal', archive);
  expect((await ledger.overdue(nowMs + 10, 1_000, 10)).map((each) => each.entity)).toContain(archive);
  expect(await ledger.sealArchive({ archive, bodyBytes: 10, bodySha256: 'x', nowMs })).toBe(true);

  // Refused once, expired once, halved; one half accepted late, the other rejected.
  const take = async (owner = 'me'): Promise<IntentId> => {
    const prepared = await ledger.prepareIntent({ account, side: 'real', owner, leaseMs: 1_000, queueRowsMax: 1_000, nowMs });
    if (prepared.kind !== 'prepared') throw new Error(prepared.kind);
    expect(await ledger.renewLane(account, owner, prepared.intent, 1_000, nowMs)).toBe(true);
    expect(await ledger.armIntent(prepared.intent, owner, nowMs, nowMs)).toBe(true);
    expect(await ledger.sendIntent(prepared.intent, owner, nowMs)).toBe(true);
    return prepared.intent;
  };
  expect(await ledger.refuseIntent({ intent: await take(), reason: 'status_429', pauseUntilMs: nowMs, nowMs })).toBe(true);
  expect(await ledger.refuseIntent({ intent: await take(), reason: 'not_sent_lake_missing', pauseUntilMs: undefined, asideUntilMs: nowMs, nowMs })).toBe(true);
  expect((await ledger.readArchive(archive))?.asides).toBe(1);
  const halves = await ledger.halveArchive(await take(), [first.chunk], 'status_400', nowMs);
  for (const half of halves) await ledger.sealArchive({ archive: half, bodyBytes: 10, bodySha256: 'x', nowMs });
  const lost = await take();
  expect((await ledger.expireLane(account, nowMs + 1_000)).kind).toBe('in_doubt');
  expect(await ledger.acceptIntent({ intent: lost, batch: 'msgbatch_1' as BatchId, pollAtMs: nowMs, nowMs })).toBe(true);
  const doubted = await take();
  expect(await ledger.doubtIntent(doubted, 'no_reply', nowMs)).toBe(true);
  expect(await ledger.refuseIntent({ intent: doubted, reason: 'late', pauseUntilMs: undefined, nowMs })).toBe(true);
  expect(await ledger.rejectArchive(await take(), 'status_400', nowMs)).toBe(true);

  // Ended, settled with a retry, exported.
  const [one, two] = halves;
  if (!one || !two) throw new Error('there are not two halves');
  await ledger.deferPoll(one, nowMs + 5);
  expect(await ledger.endArchive(one, undefined, nowMs)).toBe(true);
  await claimed('settle', one);
  const retry = { footer: { ...footerOf(2, 1, { run: runB, attempt: 2 }), chunk: `${first.chunk}.again` as typeof first.chunk }, spoolKey: 'r' };
  await ledger.settle({ archive: one, chunks: [outcomeOf(first.chunk, 10, 60, { succeeded: 8, retried: 2, overBound: 0 })], retries: [retry], rest: { rows: 2, round: 1, untilMs: nowMs }, nowMs });
  await ledger.settle({ archive: two, chunks: [outcomeOf(left.chunk, 8, 0, { succeeded: 0, deadLettered: 8 })], retries: [], nowMs });
  await ledger.exportArchive(one, { archive: one, none: null, list: [], text: 'ü' }, nowMs);
  await ledger.exportArchive(two, {}, nowMs);

  // Room is back: the held ones and the retry go out, and the run ends.
  expect((await ledger.resumeHeld(nowMs)).map((each) => each.chunk)).toEqual([right.chunk, third.chunk]);
  for (const chunk of [right.chunk, third.chunk, retry.footer.chunk]) expect((await ledger.admit(chunk, limits, false, nowMs)).kind).toBe('packed');
  const lastArchives = await ledger.listArchives(runB);
  const open3 = lastArchives[lastArchives.length - 1];
  if (!open3) throw new Error('there is no open archive');
  await ledger.closeArchive(open3, 'linger', nowMs);
  await ledger.sealArchive({ archive: open3, bodyBytes: 10, bodySha256: 'x', nowMs });
  await ledger.acceptIntent({ intent: await take(), batch: 'msgbatch_2' as BatchId, pollAtMs: nowMs, nowMs });
  await ledger.endArchive(open3, undefined, nowMs);
  await ledger.settle({ archive: open3, chunks: [outcomeOf(right.chunk, 2, 5), outcomeOf(third.chunk, 4, 5), outcomeOf(retry.footer.chunk, 2, 5)], retries: [], nowMs });
  expect(await ledger.exportArchive(open3, {}, nowMs)).toMatchObject({ isRunDone: true });
  expect(await ledger.completeRun({ run: runB, result: 'partial', event: { cost_usd: 0.1234567 }, nowMs })).toBe(true);

  expect(await ledger.readRun(runB)).toMatchObject({ state: 'complete', accepted: 24, succeeded: 16, deadLettered: 8, retried: 2, chunksOpen: 0, chunksHeld: 0, archivesInDoubt: 0, rowsQueued: 0, rowsHeld: 0 });
  const events = await ledger.readEvents(0, 100);
  expect(events.map((event) => event.sequence)).toEqual(events.map((_, index) => index + 1));
  expect(new Set(events.map((event) => event.id)).size).toBe(events.length);
  expect(events.find((event) => event.subject === one && event.type === 'batch.exported')?.data).toEqual({ archive: one, none: null, list: [], text: 'ü' });
  expect((await ledger.overdue(nowMs + 1e9, 1, 100)).filter((due) => due.stage !== 'doubt')).toEqual([]);

  // A doubt that is proven absent, and one that is adopted, disowned and held; a batch of strangers, and a leak.
  await ledger.setBudget({ target: 'all', tokens: undefined, microUsd: undefined, window: 'total' }, 'operator', nowMs);
  const wary = await world.pack(await world.add(3));
  await ledger.closeArchive(wary, 'linger', nowMs);
  await ledger.sealArchive({ archive: wary, bodyBytes: 10, bodySha256: 'x', nowMs });
  const vanished = await take();
  expect(await ledger.doubtIntent(vanished, 'no_reply', nowMs, nowMs)).toBe(true);
  const candidates = [{ batch: 'msgbatch_6' as BatchId, createdAtMs: nowMs, rows: 3, isEnded: false }];
  const look = { intent: vanished, landingWaitMs: 5, spacingMs: 5, alarmEveryMs: 1_000, nowMs };
  expect(await ledger.noteLook({ ...look, isEmpty: false, candidates, askedAtMs: nowMs + 1 })).toEqual({ scans: 0, looks: 1, isAlarm: false });
  for (const scan of [1, 2, 3]) expect(await ledger.noteLook({ ...look, isEmpty: true, candidates: [], askedAtMs: nowMs + 5 * scan })).toMatchObject({ scans: scan });
  expect(await ledger.absolveIntent({ intent: vanished, by: 'adopter', reason: 'proven_absent', scansMin: 3, landingWaitMs: 5, nowMs: nowMs + 20 })).toBe(true);
  const adopted = await take();
  expect((await ledger.expireLane(account, nowMs + 1_000)).kind).toBe('in_doubt');
  expect(await ledger.fenceIntent(adopted, 'sender_gone', nowMs)).toBe(true);
  expect(await ledger.acceptIntent({ intent: adopted, batch: 'msgbatch_7' as BatchId, pollAtMs: nowMs, isTentative: true, nowMs })).toBe(true);
  expect(await ledger.disownBatch(wary, 'msgbatch_7' as BatchId, nowMs)).toBe(true);
  await ledger.noteStranger({ account, batch: 'msgbatch_7' as BatchId, archive: undefined, createdAtMs: nowMs, nowMs });
  expect(await ledger.holdIntent(adopted, 'operator', nowMs)).toBe(true);
  expect(await ledger.bookLeak({ account, archive: one, batch: 'msgbatch_8' as BatchId, rows: 10, usage: noUsage, microUsd: 7, rowsAtBound: 0, nowMs })).toEqual({ isBooked: true, isCovered: false });
  expect(await ledger.forgoIntent({ intent: adopted, by: 'ada', decidedAtMs: nowMs, nowMs })).toBe(true);
  expect(await ledger.readArchive(wary)).toMatchObject({ state: 'ended', reason: 'submission_in_doubt' });
  expect(await ledger.bookLeak({ account, archive: wary, batch: 'msgbatch_9' as BatchId, rows: 3, usage: noUsage, microUsd: 7, rowsAtBound: 0, nowMs })).toEqual({ isBooked: true, isCovered: true });

  await ledger.setWeights({ etl: 2 });
  const foreseen = { target: 'all', windowId: 'total', unit: 'tokens' as const, limit: 77, exceedsAtMs: nowMs, exceedsBy: 'Thursday 2026-11-26', chancePercent: 80, nowMs };
  await ledger.setBudget({ target: 'all', tokens: 77, microUsd: undefined, window: 'total' }, 'operator', nowMs);
  await ledger.tellForecast(foreseen);
  expect((await ledger.readEvents(0, 10_000)).filter(({ type }) => type === 'budget.forecast')).toHaveLength(1);

  // A client that is measured, deferred, and put into another tier.
  const handedIn = { client: 'etl', floorRow: 0, known: undefined, tier: { name: 'pilot', over: 'fallback', limits: { requestsPerDay: 2 } }, parts: [[1, 1, 1, 5, 9], [2, 2, 1, 5, 9], [3, 3, 1, 5, 9]] } as const;
  expect((await ledger.measureClients({ run: runA, clients: [handedIn], nowMs })).deferrals.get('etl')).toMatchObject({ fromRow: 3, limit: 'requestsPerDay', allowed: 2, measured: 3 });
  expect(await ledger.setTier({ client: 'etl', tier: 'internal', ordinal: 1, by: 'ada', setAtMs: nowMs })).toBe(true);

  // A lake of its own, an operator's hold, a batch that is looked after, a run that is canceled while it waits, packs and sends.
  await ledger.claimLake('file:///lake');
  await ledger.setBudget({ target: 'all', tokens: undefined, microUsd: undefined, window: 'total' }, 'operator', nowMs);
  expect(await ledger.hold({ kind: 'segment', segment: normal }, nowMs)).toBe(true);
  const ids = [await world.add(2), await world.add(2), await world.add(2), await world.add(2)];
  const [sent, packed, waiting, held] = ids;
  if (!sent || !packed || !waiting || !held) throw new Error('four chunks were added');
  expect((await ledger.admit(sent, limits, false, nowMs)).kind).toBe('held');
  expect((await ledger.resume({ kind: 'segment', segment: normal }, nowMs)).queued.map((each) => each.chunk)).toEqual([sent]);
  const going = await world.pack(sent);
  await ledger.closeArchive(going, 'linger', nowMs);
  await ledger.sealArchive({ archive: going, bodyBytes: 10, bodySha256: 'x', nowMs });
  await ledger.acceptIntent({ intent: await take(), batch: 'msgbatch_3' as BatchId, pollAtMs: nowMs, nowMs });
  expect(await ledger.watchBatch(going, nowMs)).toMatchObject({ isCancelDue: false });
  await world.pack(packed);
  await ledger.hold({ kind: 'run', run: runA }, nowMs);
  expect((await ledger.admit(held, limits, false, nowMs)).kind).toBe('held');
  expect(await ledger.cancelRun(runA, 1_000, nowMs)).toMatchObject({ kind: 'canceling', track: [going] });
  expect(await ledger.watchBatch(going, nowMs)).toMatchObject({ isCancelDue: true });
  expect(await ledger.readRun(runA)).toMatchObject({ state: 'canceling', rowsQueued: 0, rowsHeld: 0, chunksHeld: 0 });

  // A replan of what is held and of what waits; a chunk that waits no more is left as it is.
  await ledger.openRun({ run: runC, ...open, tag: '00000000c0' });
  await ledger.setBudget({ target: 'all', tokens: 1, microUsd: undefined, window: 'total' }, 'operator', nowMs);
  const [stopped, idle] = [await world.add(2, { run: runC }), await world.add(2, { run: runC })];
  await ledger.stopOnBudget({ chunk: stopped, target: 'all', reason: 'budget_tokens', tokensNeeded: 10, microUsdNeeded: 20, nowMs });
  expect((await ledger.listHeld(normal)).map(({ chunk }) => chunk)).toEqual([stopped]);
  const replan = { replan: `${normal}.00aa`, segment: normal, by: 'ada', chunks: [stopped, idle, going as unknown as typeof idle], rows: { kept: 1, notSampled: 3 }, rowsMax: 3, nowMs };
  const replaced = await ledger.replanChunks(replan);
  expect(replaced).toMatchObject({ taken: [stopped, idle], gone: [going] });
  expect(replaced.archives).toHaveLength(2);
  expect(await ledger.readArchive(replaced.archives[0] ?? first.chunk as never)).toMatchObject({ state: 'ended', reason: 'replanned', replan: replan.replan });
  expect((await ledger.readEvents(0, 1_000)).filter(({ type }) => type === 'segment.replanned')).toHaveLength(1);
  expect(await ledger.readRun(runC)).toMatchObject({ rowsHeld: 0, chunksHeld: 0, rowsQueued: 0 });

  // A ledger that is found to be behind, and its rebuild.
  const standing = openStanding(redis, world.keys);
  expect(await standing.raiseGeneration('me')).toBe(1);
  expect(await standing.readIntents(['none-i1' as IntentId])).toEqual([undefined]);
  expect(await standing.markBehind('for a test', nowMs)).toBe(true);
  const evidence = runEvidence({ rows: [4, 4, 4] });
  const restore = openRestore(redis, world.keys);
  await restore.begin(1, 'me', nowMs);
  await restore.forget();
  const derived = deriveRun({ ...evidence, sealed: [sealedOf(evidence, 1, [0]), sealedOf(evidence, 2, [1])], intents: [intentOf(evidence, 2, 1)] });
  await restore.run(derived, nowMs);
  await restore.end({ accounts: derived.accounts, overBound: [normal], calibrations: [{ topic: 'invoices', sample: { model: 'm', rows: 1, tokens: { 5: 1 }, microUsd: { 7: 1 } } }], generation: 1, epoch: 1, nowMs });
  expect(await standing.read()).toMatchObject({ generation: 1, epoch: 1, behind: undefined, isRecovering: false });

  // Accounts of windows that are over.
  await ledger.sweepAccounts(nowMs + 100 * 86_400_000);

  // A sink of the outbox.
  expect(await ledger.claimRelay({ sink: 'etl', owner: 'me', leaseMs: 1_000, isFromNow: false, nowMs })).toMatchObject({ isClaimed: true, sequence: 0 });
  expect(await ledger.advanceRelay({ sink: 'etl', owner: 'me', sequence: 3, leaseMs: 1_000, eventsKept: 1_000, sinkForgottenMs: 1_000, nowMs })).toBe(true);

  expect(scriptNames.filter((name) => !seen.has(shaOf(name)))).toEqual([]);
});
