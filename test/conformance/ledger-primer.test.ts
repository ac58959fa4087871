/** Primers, on the real scripts: one prompt of a prefix goes ahead, and the rest waits for it, but never long. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Preparation } from '../../segments/ledger/ledger.ts';
import type { ArchiveId, ChunkId, RunKey } from '../../segments/segment.ts';
import { account, footerOf, ledgerForTest, limits, normal, nowMs, runA, runB, snapshot, type LedgerWorld } from '../ledger-world.ts';

let world: LedgerWorld;
beforeEach(async () => {
  world = await ledgerForTest();
  await world.open(runB);
});
afterEach(async () => await world.close());

const waitMs = 600_000;
const hourMs = 3_600_000;
const rowsByLane = new Map<string, number>();
beforeEach(() => rowsByLane.clear());

async function add(rows: number, given: { readonly run?: RunKey; readonly prefix?: string; readonly primes?: true } = {}): Promise<ChunkId> {
  const { run = runA, prefix, primes } = given;
  const previousRow = rowsByLane.get(`${run}|${prefix}`) ?? 0;
  // Lanes of one run keep apart by a thousand rows.
  const firstRow = previousRow === 0 ? 1 + 1_000 * rowsByLane.size : previousRow + 1;
  const footer = { ...footerOf(rows, firstRow, { run }), ...(prefix === undefined ? {} : { prefix }), ...(primes ? { primes } : {}) };
  rowsByLane.set(`${run}|${prefix}`, footer.lastRow);
  const reply = await world.ledger.addChunk({ footer, spoolKey: 's', previousRow, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs });
  expect(reply.kind).toBe('added');
  return footer.chunk;
}

const admit = async (chunk: ChunkId, atMs = nowMs) => {
  const admission = await world.ledger.admit(chunk, limits, false, atMs);
  if (admission.kind !== 'packed') throw new Error(`${chunk} was not packed but ${admission.kind}`);
  return admission;
};

const prepare = async (atMs = nowMs, primerWaitMs?: number): Promise<Preparation> =>
  await world.ledger.prepareIntent({ account, side: 'real', owner: 'me', leaseMs: 1_000, queueRowsMax: 1e9, ...(primerWaitMs === undefined ? {} : { primerWaitMs }), nowMs: atMs });

/** Sends the archive that is next, which must be this one. */
async function send(archive: ArchiveId, atMs = nowMs): Promise<void> {
  const next = await prepare(atMs, waitMs);
  if (next.kind !== 'prepared') throw new Error(`nothing was prepared: ${next.kind}`);
  expect(next.archive).toBe(archive);
  await world.ledger.armIntent(next.intent, 'me', atMs, atMs);
  await world.ledger.sendIntent(next.intent, 'me', atMs);
  await world.ledger.acceptIntent({ intent: next.intent, batch: `msgbatch_${archive}` as never, pollAtMs: atMs, nowMs: atMs });
}

/** A primer that is sealed, and 20 rows of its prefix in a sealed archive behind it. */
async function primerAndRest(run: RunKey = runA): Promise<{ readonly primer: ArchiveId; readonly rest: ArchiveId }> {
  const primer = await admit(await add(1, { run, prefix: 'aa', primes: true }));
  await world.sealOne(primer.archive);
  const rest = await world.ledger.admit(await add(20, { run, prefix: 'aa' }), limits, false, nowMs);
  if (rest.kind !== 'packed') throw new Error('the rest was not packed');
  await world.ledger.closeArchive(rest.archive, 'linger', nowMs);
  await world.sealOne(rest.archive);
  return { primer: primer.archive, rest: rest.archive };
}

it('a primer has an archive of its own, closed at once, whatever is open in its segment', async () => {
  const open = await admit(await add(5));
  const primer = await add(1, { prefix: 'aa', primes: true });
  const admission = await admit(primer);
  expect(admission.archive).not.toBe(open.archive);
  expect(admission.closed).toEqual([admission.archive]);
  expect(await world.ledger.readArchive(admission.archive)).toMatchObject({ rows: 1, closing: 'primer' });
  expect((await admit(await add(20, { prefix: 'aa' }))).archive).toBe(open.archive);
  const before = await snapshot(world);
  expect((await world.ledger.admit(primer, limits, false, nowMs)).kind).toBe('stale');
  expect(await snapshot(world)).toEqual(before);
});

it('the rest waits until the primer has ended, and is due then', async () => {
  const { primer, rest } = await primerAndRest();
  await send(primer);
  const untilMs = nowMs + waitMs;
  expect(await prepare(nowMs, waitMs)).toEqual({ kind: 'awaiting_primer', untilMs });
  const before = await snapshot(world);
  expect(await prepare(nowMs, waitMs)).toEqual({ kind: 'awaiting_primer', untilMs });
  expect(await snapshot(world)).toEqual(before);
  expect(await world.redis.zscore(world.keys.of('due:submit'), 'next')).toBe(String(untilMs));
  await world.ledger.endArchive(primer, undefined, nowMs + 5);
  expect(await world.redis.zscore(world.keys.of('due:submit'), 'next')).toBe(String(nowMs + 5));
  await send(rest, nowMs + 5);
});

it('the rest goes when the primer takes too long, and at once where nobody waits', async () => {
  const { primer, rest } = await primerAndRest();
  await send(primer);
  expect(await prepare(nowMs + waitMs - 1, waitMs)).toEqual({ kind: 'awaiting_primer', untilMs: nowMs + waitMs });
  await send(rest, nowMs + waitMs);
});

it('nobody waits without a bound', async () => {
  const { primer, rest } = await primerAndRest();
  await send(primer);
  expect(await prepare()).toMatchObject({ kind: 'prepared', archive: rest });
});

it('work without the prefix goes past the one that waits', async () => {
  const { primer } = await primerAndRest();
  await send(primer);
  const other = await admit(await add(7, { run: runB }));
  await world.ledger.closeArchive(other.archive, 'linger', nowMs);
  await world.sealOne(other.archive);
  await send(other.archive);
});

it('the tails of a run that share an archive wait for the primer of any of them', async () => {
  const primer = await admit(await add(1, { prefix: 'aa', primes: true }));
  await world.sealOne(primer.archive);
  const other = 'invoices.64k.normal' as typeof normal;
  await world.pack(await world.add(3, { segment: other }));
  await admit(await add(20, { prefix: 'aa' }));
  await world.flush(runA);
  await world.seal(runA);
  await send(primer.archive);
  expect((await prepare(nowMs, waitMs)).kind).toBe('awaiting_primer');
});

it('one that is on its way, or has ended less than an hour ago, primes other runs, too', async () => {
  const { primer, rest } = await primerAndRest();
  const second = await admit(await add(1, { run: runB, prefix: 'aa', primes: true }));
  expect(second.closed).toEqual([]);
  await send(primer);
  await world.ledger.endArchive(primer, undefined, nowMs + 1);
  await send(rest, nowMs + 1);
  const third = await add(1, { run: runB, prefix: 'bb', primes: true });
  expect((await admit(third)).closed).toHaveLength(1);
  await world.open('run-c' as RunKey);
  expect((await admit(await add(1, { run: 'run-c' as RunKey, prefix: 'aa', primes: true }), nowMs + hourMs)).closed).toHaveLength(1);
});

it('one that came to nothing is waited for no longer, and another goes ahead', async () => {
  const { primer, rest } = await primerAndRest();
  const next = await prepare(nowMs, waitMs);
  if (next.kind !== 'prepared') throw new Error('no primer was prepared');
  expect(next.archive).toBe(primer);
  await world.ledger.rejectArchive(next.intent, 'refused_400', nowMs);
  await send(rest);
  expect((await admit(await add(1, { run: runB, prefix: 'aa', primes: true }))).closed).toHaveLength(1);
});
