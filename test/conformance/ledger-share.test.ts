/** Fair shares between clients, on the real scripts: who is packed next, and whose archive is submitted next. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ledgerForTest, account, normal, nowMs, runA, runB, type LedgerWorld } from '../ledger-world.ts';
import type { ArchiveId, RunKey, SegmentName } from '../../segments/segment.ts';

let world: LedgerWorld;
beforeEach(async () => {
  world = await ledgerForTest();
  await world.open(runA);
  await world.open(runB);
});
afterEach(async () => await world.close());

/** Packs until nothing is queued; the clients in the order in which they were served. */
async function served(): Promise<readonly string[]> {
  const clients: string[] = [];
  for (let segment = await world.ledger.nextSegment([]); segment; segment = await world.ledger.nextSegment([])) {
    const chunk = (await world.ledger.nextQueued(segment))?.chunk;
    if (!chunk) throw new Error(`${segment} is ready and has nothing queued`);
    clients.push((await world.ledger.readChunk(chunk))?.client ?? '');
    await world.pack(chunk);
  }
  return clients;
}

async function sealed(run: RunKey, rows: number, client: string, segment: SegmentName = normal): Promise<ArchiveId> {
  const archive = await world.pack(await world.add(rows, { run, client, segment }));
  await world.ledger.closeArchive(archive, 'linger', nowMs);
  await world.sealOne(archive);
  return archive;
}

/** The order in which archives leave the line. */
async function submitted(count: number, patienceMs?: number, atMs = nowMs): Promise<readonly ArchiveId[]> {
  const order: ArchiveId[] = [];
  for (let each = 0; each < count; each += 1) {
    const next = await world.ledger.prepareIntent({ account, side: 'real', owner: 'me', leaseMs: 1_000, queueRowsMax: 1e9, ...(patienceMs === undefined ? {} : { patienceMs }), nowMs: atMs });
    if (next.kind !== 'prepared') throw new Error(`nothing was prepared: ${next.kind}`);
    order.push(next.archive);
    await world.ledger.armIntent(next.intent, 'me', atMs, atMs);
    await world.ledger.sendIntent(next.intent, 'me', atMs);
    await world.ledger.acceptIntent({ intent: next.intent, batch: `msgbatch_${next.archive}` as never, pollAtMs: atMs, nowMs: atMs });
  }
  return order;
}

describe('packing', () => {
  it('of a client that comes late and asks for little is not behind what another has in line', async () => {
    for (let each = 0; each < 20; each += 1) await world.add(10, { client: 'nightly' });
    for (let each = 0; each < 3; each += 1) await world.pack((await world.ledger.nextQueued(normal))?.chunk ?? ('' as never));
    await world.add(1, { run: runB, client: 'etl' });
    expect((await served()).indexOf('etl')).toBe(0);
  });

  it('takes turns between clients, also within one segment', async () => {
    for (let each = 0; each < 3; each += 1) await world.add(10, { client: 'a' });
    for (let each = 0; each < 3; each += 1) await world.add(10, { run: runB, client: 'b' });
    expect(await served()).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
  });

  it('gives a client of twice the weight twice the tokens while both wait', async () => {
    await world.ledger.setWeights({ a: 2 });
    for (let each = 0; each < 6; each += 1) await world.add(10, { client: 'a' });
    for (let each = 0; each < 6; each += 1) await world.add(10, { run: runB, client: 'b' });
    const first = (await served()).slice(0, 9);
    expect(first.filter((client) => client === 'a')).toHaveLength(6);
  });

  it('measures a turn in tokens, not in chunks', async () => {
    for (let each = 0; each < 3; each += 1) await world.add(40, { client: 'large' });
    for (let each = 0; each < 12; each += 1) await world.add(10, { run: runB, client: 'small' });
    const first = (await served()).slice(0, 10);
    expect(first.filter((client) => client === 'large')).toHaveLength(2);
  });

  it('keeps the order of each client', async () => {
    const chunks = [await world.add(30, { client: 'a' }), await world.add(1, { client: 'a' }), await world.add(20, { client: 'a' })];
    expect(await world.redis.zrange(world.keys.of(`queued:${normal}`), 0, '-1')).toEqual(chunks);
  });

  it('never lets a share go before a priority', async () => {
    await world.add(100, { client: 'a', segment: 'x.8k.high' as SegmentName });
    await world.add(100, { client: 'a', segment: 'x.8k.high' as SegmentName });
    await world.add(1, { client: 'b', segment: 'x.8k.low' as SegmentName });
    expect(await served()).toEqual(['a', 'a', 'b']);
  });
});

describe('submitting', () => {
  it('lets the one archive of a small client pass the many of a large one', async () => {
    const many = [await sealed(runA, 100, 'nightly'), await sealed(runA, 101, 'nightly'), await sealed(runA, 102, 'nightly')];
    expect(await submitted(1)).toEqual([many[0]]);
    const one = await sealed(runB, 5, 'etl');
    expect(await submitted(3)).toEqual([one, many[1], many[2]]);
  });

  it('puts a high priority first, whoever came first', async () => {
    const low = await sealed(runA, 100, 'nightly', 'x.8k.low' as SegmentName);
    const high = await sealed(runB, 5, 'nightly', 'x.8k.high' as SegmentName);
    expect(await submitted(2)).toEqual([high, low]);
  });

  it('lets what has waited longer than the patience go before a higher priority', async () => {
    const low = await sealed(runA, 100, 'nightly', 'x.8k.fallback' as SegmentName);
    await sealed(runB, 5, 'etl', 'x.8k.high' as SegmentName);
    expect(await submitted(1, 60_000, nowMs + 60_000)).toEqual([low]);
  });

  it('of an archive that the provider sent back keeps its place', async () => {
    const first = await sealed(runA, 100, 'nightly');
    await sealed(runA, 101, 'nightly');
    const sent = await world.send();
    await world.ledger.refuseIntent({ intent: sent.intent, reason: 'rate_limited', pauseUntilMs: undefined, nowMs });
    expect(await submitted(1)).toEqual([first]);
  });
});
