/** What the lake says becomes what the ledger has to say: invariants B1 to B5 of derive.ts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deriveRun, type DerivedRun, type RunEvidence } from '../../segments/derive.ts';
import { earlierOf } from '../../segments/derive-money.ts';
import { overlappingKeys } from '../../segments/derive-rows.ts';
import { archiveId } from '../../segments/pack.ts';
import { intentId, replannedChunkId, retryChunkId, type ChunkId, type SegmentName } from '../../segments/segment.ts';
import { acceptedOf, intentOf, outcomeOf, replanOf, replanOutcomeOf, retrySpooled, runEvidence, sealedOf, spooled, tag } from '../evidence-world.ts';

const states = (run: DerivedRun): Record<string, string> => Object.fromEntries(run.archives.map((each) => [Number(each.archive.slice(-6)), each.state]));
const waiting = (run: DerivedRun): string[] => run.chunks.filter((chunk) => chunk.archive === '').map((chunk) => `${chunk.chunk.slice(tag.length + 1)} ${chunk.state}`);
const all = (run: DerivedRun) => run.accounts.get('all@total');

describe('the state of an archive', () => {
  const base = runEvidence({ rows: [4, 4] });
  const sealed = sealedOf(base, 1, [0]);
  const given: RunEvidence = { ...base, sealed: [sealed] };
  const id = archiveId(tag, 1);
  const refusal = (ordinal: number) => [{ intent: intentId(id, ordinal), archive: id, reason: 'status_400' }];

  it.each<[string, Partial<RunEvidence>, string]>([
    ['sealed: it has no intent', {}, 'sealed'],
    ['in doubt: its newest intent has no answer (B2)', { intents: [intentOf(base, 1, 1)] }, 'in_doubt'],
    ['accepted: one of its intents has a batch', { intents: [intentOf(base, 1, 1)], accepted: [acceptedOf(base, 1, 1)] }, 'accepted'],
    ['accepted: even when a later intent has no answer', { intents: [intentOf(base, 1, 1), intentOf(base, 1, 2)], accepted: [acceptedOf(base, 1, 1)] }, 'accepted'],
    ['in doubt: a refusal speaks of its own intent only', { intents: [intentOf(base, 1, 1), intentOf(base, 1, 2)], halved: refusal(1) }, 'in_doubt'],
    ['ended: its only row was refused for good', { intents: [intentOf(base, 1, 1)], rejected: refusal(1) }, 'ended'],
    ['settled: its outcome is there', { intents: [intentOf(base, 1, 1)], accepted: [acceptedOf(base, 1, 1)], outcomes: [outcomeOf(sealed)] }, 'settled'],
    ['ended: its outcome is there but its retries are not all spooled (B3)', { outcomes: [outcomeOf(sealed, 2)] }, 'ended'],
    ['exported: its manifest is there', { outcomes: [outcomeOf(sealed)], exported: new Set([id]) }, 'exported'],
  ])('%s', (_name, more, state) => {
    expect(states(deriveRun({ ...given, ...more }))).toEqual({ 1: state });
  });

  it('is remembered for its intent only when it was halved: its rows wait again', () => {
    const derived = deriveRun({ ...given, intents: [intentOf(base, 1, 1)], halved: refusal(1) });
    expect(Object.values(states(derived))).toEqual(['canceled']);
    expect(derived.archives[0]).toMatchObject({ chunks: [], intents: [{ state: 'refused' }] });
    expect(waiting(derived)).toEqual(['invoices.8k.normal.1-4 queued', 'invoices.8k.normal.5-8 queued']);
  });

  it('keeps every older intent as refused, so the next one has a name of its own (B5)', () => {
    const derived = deriveRun({ ...given, intents: [intentOf(base, 1, 1), intentOf(base, 1, 2)] });
    expect(derived.archives[0]?.intents.map((each) => each.state)).toEqual(['refused', 'in_doubt']);
    expect(derived.archiveOrdinal).toBeGreaterThan(1);
  });
});

describe('the side of a run', () => {
  const base = runEvidence({ rows: [4, 4] });
  const sealed = [sealedOf(base, 1, [0])];
  const opening = { ...base.opening, side: 'simulated' as const };
  const simulated = { ...intentOf(base, 1, 2), side: 'simulated' as const };

  it.each<[string, Partial<RunEvidence>, string | undefined]>([
    ['is that of its opening', { opening }, 'simulated'],
    ['is that of the first intent that was prepared since runs have one', { intents: [intentOf(base, 1, 1), simulated] }, 'simulated'],
    ['is not known where neither says it, as in a lake of before', { intents: [intentOf(base, 1, 1)] }, undefined],
    ['stays when the run is complete', { intents: [simulated], isComplete: true, spool: [] }, 'simulated'],
  ])('%s', (_name, more, side) => {
    expect(deriveRun({ ...base, sealed, ...more }).side).toBe(side);
  });
});

describe('the rows', () => {
  it('that no archive holds are queued, cut where an archive ends', () => {
    const base = runEvidence({ rows: [10] });
    const derived = deriveRun({ ...base, sealed: [sealedOf(base, 1, [[0, 2, 5]])] });
    expect(waiting(derived)).toEqual(['invoices.8k.normal.1-10.0-1 queued', 'invoices.8k.normal.1-10.6-9 queued']);
    expect(derived.chunks.filter((chunk) => chunk.needsSums)).toHaveLength(3);
  });

  it('of two objects that overlap are taken once, and those of an archive come first', () => {
    const spool = [spooled(1, 10, { lines: true }), spooled(1, 6, { lines: true }), spooled(7, 12, { previousRow: 6, lines: true })];
    const base = runEvidence({ rows: [12], spool });
    expect([...overlappingKeys(spool)]).toHaveLength(3);
    const derived = deriveRun({ ...base, sealed: [sealedOf(base, 1, [1])] });
    expect(waiting(derived)).toEqual(['invoices.8k.normal.1-10.6-9 queued', 'invoices.8k.normal.7-12.4-5 queued']);
  });

  it('behind a gap are not counted while the source is not read to its end: the producer brings them again', () => {
    const spool = [spooled(1, 4), spooled(9, 12, { previousRow: 8 })];
    const derived = deriveRun({ ...runEvidence({ rows: [], spool }), ingestion: undefined });
    expect(derived).toMatchObject({ state: 'ingesting', accepted: 4 });
    expect(derived.highWater.get('invoices.8k.normal|etl')).toBe(4);
    expect(waiting(derived)).toEqual(['invoices.8k.normal.1-4 spooled']);
  });

  it('of a shared prefix lie between those of the rest without sharing any, and a gap of one lane is none of the other', () => {
    // The prefix has the rows 5 to 8 and, behind what was lost, 17 to 20; the rest has 1 to 4 and 9 to 12.
    const spool = [spooled(1, 4), spooled(5, 8, { prefix: 'aa', previousRow: 0 }), spooled(9, 12, { previousRow: 4 }), spooled(17, 20, { prefix: 'aa', previousRow: 16 })];
    expect([...overlappingKeys([...spool, spooled(3, 10, { prefix: 'bb', previousRow: 0 })])]).toEqual([]);
    const derived = deriveRun({ ...runEvidence({ rows: [], spool }), ingestion: undefined });
    expect(derived).toMatchObject({ state: 'ingesting', accepted: 12 });
    expect(derived.highWater).toEqual(new Map([['invoices.8k.normal|etl', 12], ['invoices.8k.normal|etl|aa', 8]]));
  });

  it('are counted up to what an archive references: that was registered, so nothing before it is missing', () => {
    const spool = [spooled(9, 12, { previousRow: 8 }), spooled(3, 8, { previousRow: 2 }), spooled(1, 2)];
    const base = { ...runEvidence({ rows: [], spool }), ingestion: undefined };
    const derived = deriveRun({ ...base, sealed: [sealedOf(base, 1, [0])] });
    expect(derived.accepted).toBe(12);
    expect(waiting(derived).every((each) => each.endsWith('queued'))).toBe(true);
  });

  it('that were acknowledged and are nowhere stop the rebuild', () => {
    const base = runEvidence({ rows: [4, 4] });
    expect(() => deriveRun({ ...base, spool: base.spool.slice(0, 1) })).toThrow(expect.objectContaining({ code: 'lake_missing' }));
  });

  it('of retries wait exactly when the outcome that they came from is settled (B3)', () => {
    const base = runEvidence({ rows: [4] });
    const sealed = sealedOf(base, 1, [0]);
    const spool = [...base.spool, retrySpooled(1, 2)];
    const settled = deriveRun({ ...base, spool, sealed: [sealed], outcomes: [outcomeOf(sealed, 2)] });
    expect(waiting(settled)).toEqual(['000001.invoices.8k.normal.attempt-2.p0 queued']);
    const unsettled = deriveRun({ ...base, spool, sealed: [sealed], accepted: [acceptedOf(base, 1, 1)], intents: [intentOf(base, 1, 1)] });
    expect(waiting(unsettled)).toEqual([]);
  });

  it('that went round for a fault of the account wait as retries do, although they are on their first attempt (B3)', () => {
    const base = runEvidence({ rows: [4] });
    const sealed = sealedOf(base, 1, [0]);
    const around = spooled(1, 4, { chunk: `${retryChunkId(sealed.archive, sealed.chunks[0]?.segment ?? ('' as SegmentName), 1, 1)}.p0` as ChunkId });
    const spool = [...base.spool, around];
    const outcome = { ...outcomeOf(sealed, 4), rested: [[0, 3]] as const };
    const settled = deriveRun({ ...base, spool, sealed: [sealed], outcomes: [outcome] });
    expect(states(settled)).toEqual({ 1: 'settled' });
    expect(waiting(settled)).toEqual(['000001.invoices.8k.normal.attempt-1.round-1.p0 queued']);
    expect(settled.accepted).toBe(4);
    const again = deriveRun({ ...base, spool, sealed: [sealed, sealedOf({ ...base, spool }, 2, [1])], outcomes: [outcome] });
    expect(waiting(again)).toEqual([]);
    const unwritten = deriveRun({ ...base, sealed: [sealed], outcomes: [outcome] });
    expect(states(unwritten)).toEqual({ 1: 'ended' });
    const unsettled = deriveRun({ ...base, spool, sealed: [sealed], accepted: [acceptedOf(base, 1, 1)], intents: [intentOf(base, 1, 1)] });
    expect([waiting(unsettled), unsettled.accepted]).toEqual([[], 4]);
  });
});

describe('a replan (B6)', () => {
  const base = runEvidence({ rows: [10, 4] });
  const successor = spooled(1, 3, { chunk: replannedChunkId(tag, 'invoices.8k.normal.00aa', 0) });
  /** The last six rows of the first chunk were held; three of them go on. */
  const replan = replanOf(base, [0, 4, 9], successor);
  const given: RunEvidence = { ...base, spool: [...base.spool, successor], replans: [replan] };

  it('that has no outcome yet waits to be done again, cut as it was, and its new chunk does not exist', () => {
    const derived = deriveRun(given);
    expect(waiting(derived)).toEqual(['invoices.8k.normal.1-10.4-9 queued', 'invoices.8k.normal.1-10.0-3 queued', 'invoices.8k.normal.11-14 queued']);
    expect(derived.replans).toMatchObject([{ replan: replan.replan, chunks: [{ from: 4, to: 9 }] }]);
    expect(derived.accepted).toBe(14);
  });

  it('whose outcome is settled has its new chunk in the place of the old one', () => {
    const derived = deriveRun({ ...given, outcomes: [replanOutcomeOf(replan, 3)] });
    expect(states(derived)).toEqual({ 3: 'settled' });
    expect(waiting(derived)).toEqual(['invoices.8k.normal.1-10.0-3 queued', 'invoices.8k.normal.00aa.replan-0 queued', 'invoices.8k.normal.11-14 queued']);
    expect(derived).toMatchObject({ replans: [], accepted: 14, sums: { notSampled: 3, succeeded: 0, deadLettered: 0 } });
    expect(derived.highWater.get('invoices.8k.normal|etl')).toBe(14);
  });

  it('of a chunk that an archive has taken before it could act is void', () => {
    const derived = deriveRun({ ...given, sealed: [sealedOf(base, 1, [[0, 4, 6]])] });
    expect(derived.replans).toEqual([]);
    expect(waiting(derived)).toEqual(['invoices.8k.normal.1-10.0-3 queued', 'invoices.8k.normal.1-10.7-9 queued', 'invoices.8k.normal.11-14 queued']);
  });

  it('that was never written down leaves nothing but an object that nobody sends', () => {
    expect(waiting(deriveRun({ ...given, replans: [] }))).toEqual(['invoices.8k.normal.1-10 queued', 'invoices.8k.normal.11-14 queued']);
  });

  it('of replanned rows refers to the chunk that carries them', () => {
    const again = replanOf({ ...given, spool: given.spool }, [2, 0, 2], undefined);
    const derived = deriveRun({ ...given, replans: [replan, again], outcomes: [replanOutcomeOf(replan, 3)] });
    expect(derived.replans.map(({ chunks }) => chunks.map(({ chunk }) => chunk))).toEqual([[successor.footer.chunk]]);
  });
});

describe('an archive that was given up in doubt', () => {
  const base = runEvidence({ rows: [4] });
  const sealed = sealedOf(base, 1, [0]);
  const intent = intentOf(base, 1, 1);
  const forgone = [{ intent: intent.intent, archive: intent.archive, run: intent.run, by: 'ada', reason: 'nobody knows', decidedAtMs: 9_000 }];
  const given: RunEvidence = { ...base, sealed: [sealed], intents: [intent], forgone };
  const settled = { ...outcomeOf(sealed), batch: null };

  it('is not in doubt again and never sent: its settlement is to come, and its bounds stay reserved until then', () => {
    const derived = deriveRun(given);
    expect(derived.archives).toMatchObject([{ state: 'ended', reason: 'submission_in_doubt', batch: '', endedAtMs: 9_000, intents: [{ state: 'forgone', forgoneAtMs: 9_000 }] }]);
    expect(all(derived)).toMatchObject({ tokensReserved: 40, tokensSpent: 0 });
    expect(derived.sums.archivesInDoubt).toBe(0);
  });

  it('is settled by the outcome that is there, whatever batch came to be known after that', () => {
    for (const accepted of [[], [acceptedOf(base, 1, 1)]]) {
      const derived = deriveRun({ ...given, accepted, outcomes: [settled] });
      expect(derived.archives).toMatchObject([{ state: 'settled', batch: '', intents: [{ state: 'forgone', batch: '' }] }]);
      expect(derived.sums.batches).toBe(0);
    }
  });

  it('has its batch all the same when a reply has named it and nothing is settled yet', () => {
    expect(deriveRun({ ...given, accepted: [acceptedOf(base, 1, 1)] }).archives).toMatchObject([{ state: 'accepted', intents: [{ state: 'accepted' }] }]);
  });

  it('that was proven absent after the word was said and sent again is judged by its newest intent', () => {
    expect(states(deriveRun({ ...given, intents: [intent, intentOf(base, 1, 2)] }))).toEqual({ 1: 'in_doubt' });
  });
});

describe('a ledger that was set back', () => {
  it('leaves a sealed archive out that was never sent and whose rows another one has sent (B1)', () => {
    const base = runEvidence({ rows: [4, 4] });
    const derived = deriveRun({ ...base, sealed: [sealedOf(base, 4, [0, 1]), sealedOf(base, 5, [0])], intents: [intentOf(base, 5, 1)] });
    expect(states(derived)).toEqual({ 5: 'in_doubt' });
    expect(derived.superseded).toEqual([archiveId(tag, 4)]);
    expect(waiting(derived)).toEqual(['invoices.8k.normal.5-8 queued']);
  });

  it('stops the rebuild when two archives that may both have been sent hold the same row', () => {
    const base = runEvidence({ rows: [4] });
    const evidence = { ...base, sealed: [sealedOf(base, 4, [0]), sealedOf(base, 5, [0])], intents: [intentOf(base, 4, 1), intentOf(base, 5, 1)] };
    expect(() => deriveRun(evidence)).toThrow(expect.objectContaining({ code: 'ledger_corrupt' }));
  });
});

describe('the money (B4)', () => {
  it('reserves the bounds of living archives and books outcomes that are settled, in the accounts that were noted', () => {
    const base = runEvidence({ rows: [4, 6] });
    const [first, second] = [sealedOf(base, 1, [0]), sealedOf(base, 2, [1])];
    const derived = deriveRun({ ...base, sealed: [first, second], intents: [intentOf(base, 2, 1)], outcomes: [outcomeOf(first)] });
    expect(all(derived)).toMatchObject({ tokensReserved: 60, microUsdReserved: 120, tokensSpent: 12, microUsdSpent: 28 });
    expect([...derived.accounts.keys()]).toEqual(['all@total', 'topic:invoices@1d=0']);
    expect(derived.sums).toMatchObject({ succeeded: 4, microUsd: 28, chunksOpen: 2, archivesInDoubt: 1 });
  });

  it('begins a stretch of work without a window with what is still reserved, and a window that ends with all of it', () => {
    const base = runEvidence({ rows: [4, 6] });
    const [first, second] = [sealedOf(base, 1, [0]), sealedOf(base, 2, [1])];
    const settled = deriveRun({ ...base, sealed: [first], outcomes: [outcomeOf(first)] });
    expect([...settled.accounts].map(([name, sums]) => [name, sums.startedAtMs])).toEqual([['all@total', undefined], ['topic:invoices@1d=0', 1_000]]);
    expect(all(deriveRun({ ...base, sealed: [first, second], outcomes: [outcomeOf(first)] }))?.startedAtMs).toBe(1_000);
    expect([earlierOf(undefined, undefined), earlierOf(3, undefined), earlierOf(undefined, 4), earlierOf(4, 3)]).toEqual([undefined, 3, 4, 3]);
  });

  it('lets a budget whose window is a run count what was packed before it was set, in runs that go on', () => {
    const base = runEvidence({ rows: [4, 6, 2] });
    const given = { ...base, sealed: [sealedOf(base, 1, [0]), sealedOf(base, 2, [1])], intents: [intentOf(base, 2, 1)], outcomes: [outcomeOf(sealedOf(base, 1, [0]))] };
    const derived = deriveRun(given, new Set(['topic:invoices', 'topic:letters']));
    expect(derived.accounts.get('topic:invoices@run=lost')).toMatchObject({ tokensReserved: 60, microUsdReserved: 120, tokensSpent: 12, microUsdSpent: 28 });
    expect(derived.chunks.map(({ joined, spent }) => [joined, spent?.microUsd])).toEqual([[['topic:invoices@run=lost'], 28], [['topic:invoices@run=lost'], undefined], [undefined, undefined]]);
    expect([...deriveRun({ ...given, exported: new Set(), isComplete: true }, new Set(['topic:invoices'])).accounts.keys()]).not.toContain('topic:invoices@run=lost');
  });

  it('reserves nothing for rows that wait, and nothing for a run that is over', () => {
    const base = runEvidence({ rows: [4] });
    expect(deriveRun(base).accounts.size).toBe(0);
    const sealed = sealedOf(base, 1, [0]);
    const over = deriveRun({ ...base, spool: [], sealed: [sealed], outcomes: [outcomeOf(sealed)], exported: new Set([sealed.archive]), isComplete: true, completion: { status: 'succeeded', completed_at: '2026-11-21T00:00:00.000Z' } });
    expect(over).toMatchObject({ state: 'complete', result: 'succeeded', accepted: 4, sums: { chunksOpen: 0 } });
    expect(all(over)).toMatchObject({ tokensReserved: 0, tokensSpent: 12 });
  });
});

describe('whatever the lake holds', () => {
  /** Cuts of 24 rows into chunks: a chain, and more chunks that a producer left behind. */
  const cuts = fc.record({
    chain: fc.uniqueArray(fc.integer({ min: 1, max: 23 }), { maxLength: 5 }),
    strays: fc.array(fc.tuple(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 1, max: 24 })), { maxLength: 4 }),
    packed: fc.array(fc.tuple(fc.nat(5), fc.boolean()), { maxLength: 4 }),
  });

  it('every row is in exactly one living chunk (B1), and the same evidence gives the same records', () => {
    fc.assert(fc.property(cuts, ({ chain, strays, packed }) => {
      const ends = [...chain.sort((a, b) => a - b), 24];
      const objects = new Map(ends.map((end, index) => spooled((ends[index - 1] ?? 0) + 1, end, { lines: true })).map((each) => [each.key, each]));
      for (const [a, b] of strays) {
        const stray = spooled(Math.min(a, b), Math.max(a, b), { lines: true });
        if (!objects.has(stray.key)) objects.set(stray.key, stray);
      }
      const base = runEvidence({ rows: [24], spool: [...objects.values()] });
      const places = [...new Set(packed.map(([place]) => place % ends.length))];
      const sealed = places.map((place, index) => sealedOf(base, index + 1, [place]));
      const intents = places.flatMap((_place, index) => (packed[index]?.[1] === true ? [intentOf(base, index + 1, 1)] : []));
      const derived = deriveRun({ ...base, sealed, intents });
      const rows = derived.chunks.flatMap((chunk) => {
        const first = base.spool.find((object) => object.key === chunk.spoolKey)?.footer.firstRow ?? 0;
        return Array.from({ length: chunk.to - chunk.from + 1 }, (_, offset) => first + chunk.from + offset);
      });
      expect(rows.sort((a, b) => a - b)).toEqual(Array.from({ length: 24 }, (_, index) => index + 1));
      expect(deriveRun({ ...base, sealed, intents })).toEqual(derived);
    }), { seed: 7, numRuns: 300 });
  });
});
