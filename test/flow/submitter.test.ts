/** One archive on its way to the provider: submitter, gate, lane and adapter over real HTTP, real Redis and a real lake. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { intentKey, spoolKey } from '../../segments/lake.ts';
import type { Ledger } from '../../segments/ledger/ledger.ts';
import { intentId, type ArchiveId, type IntentId, type RunKey, type SegmentName } from '../../segments/segment.ts';
import type { StageLog, StageOutcome } from '../../segments/stage.ts';
import { putDocument } from '../../segments/store/document.ts';
import type { Wake, WakeUp } from '../../segments/wake.ts';
import { openClaude } from '../../workers/anthropic.ts';
import { makeSealer } from '../../workers/sealer.ts';
import { makeSubmitter, type SubmitterDependencies } from '../../workers/submitter.ts';
import { account, amounts, ledgerForTest, limits, nowMs, tagOf, type LedgerWorld } from '../ledger-world.ts';
import { promptOf, sealChunk, storeForTest } from '../spool-world.ts';
import { errorBody, startProvider, type ProviderScript } from './provider-script.ts';

const run = 'nightly' as RunKey;
const normal = 'invoices.8k.normal' as SegmentName;
const leaseMs = 60_000;

let world: LedgerWorld;
let lake: Awaited<ReturnType<typeof storeForTest>>;
let provider: ProviderScript;
let claude: ReturnType<typeof openClaude>;
let clockMs: number;
let woken: WakeUp[];
let faults: string[];
const never = new AbortController().signal;
const wake: Wake = { wake: async (wakeUp) => void woken.push(wakeUp), enqueueChunk: async () => undefined, close: async () => undefined };

beforeEach(async () => {
  [world, lake, provider] = await Promise.all([ledgerForTest(), storeForTest(), startProvider()]);
  claude = openClaude({ apiKey: 'test-key', authToken: undefined, baseUrl: provider.url, version: '2023-06-01', account });
  clockMs = nowMs;
  woken = [];
  faults = [];
  await world.open(run);
});
afterEach(async () => {
  expect(provider.posts.every((post) => post.retryCount === '0'), 'nothing retries a create by itself').toBe(true);
  await claude.close();
  await provider.close();
  await lake.close();
  await world.close();
});

/** A submitter of its own process; `given` replaces what the test is about. */
function submitter(given: Partial<SubmitterDependencies> = {}): (signal?: AbortSignal) => Promise<StageOutcome> {
  const handler = makeSubmitter({
    ledger: world.ledger, store: lake.store, wake, claude, owner: 'host/1/aa', leaseMs, replyTimeoutMs: 30_000, queueRowsMax: 100_000, pollMinMs: 100, now: () => clockMs,
    log: () => undefined, onAccountFault: (fault) => void faults.push(fault.code), ...given,
  });
  return async (signal = never) => await handler.handle('next', signal);
}

const sealer = (): ReturnType<typeof makeSealer> => makeSealer({ ledger: world.ledger, store: lake.store, wake, now: () => clockMs, log: () => undefined });

/** Spools the texts as one chunk, packs and seals it. */
async function sealed(texts: readonly string[], segment = normal): Promise<ArchiveId> {
  const chunk = sealChunk(texts.map((text, index) => promptOf(index + 1, text)), { run, segment, tag: tagOf(run) });
  const key = spoolKey(run, chunk.footer.chunk);
  await lake.store.put(key, chunk);
  await world.ledger.addChunk({ footer: chunk.footer, spoolKey: key, previousRow: 0, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs: clockMs });
  const archive = await world.pack(chunk.footer.chunk, limits.bytesMax > chunk.footer.paramsBytes ? {} : { bytesMax: 256_000_000 });
  await sealer().handle(archive, never);
  return archive;
}

const whole = (): number => provider.posts.filter((post) => post.isWhole).length;
const stateOf = async (archive: ArchiveId): Promise<string | undefined> => (await world.ledger.readArchive(archive))?.state;
const intentOf = async (archive: ArchiveId, ordinal: number) => await world.ledger.readIntent(intentId(archive, ordinal));

describe('an archive that the provider accepts', () => {
  it('is bound to its batch, journaled before the upload and followed by a poll', async () => {
    provider.answer = async (body) => {
      if (body === '') expect(await lake.store.head(intentKey(account, intentId(archive, 1)))).toBeDefined();
      return { kind: 'accept' };
    };
    const archive = await sealed(['one', 'two', 'three']);
    expect(await submitter()()).toEqual({ kind: 'done' });
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'accepted', batch: 'msgbatch_00000001', account, intents: 1 });
    expect(await intentOf(archive, 1)).toMatchObject({ state: 'accepted', batch: 'msgbatch_00000001' });
    expect(woken).toContainEqual({ stage: 'track', entity: archive, epoch: clockMs + 100, delayMs: 100 });
    expect(provider.batches[0]?.map((id) => id.slice(0, 23))).toEqual([0, 1, 2].map((index) => `${archive}_0000${index}`));
    expect(whole()).toBe(1);
  });

  it('of several goes one after the other, never two at a time', async () => {
    await sealed(['one'], 'a.8k.low' as SegmentName);
    await sealed(['two'], 'b.8k.high' as SegmentName);
    let isOpen = false;
    provider.answer = (body) => {
      if (body === '') expect(isOpen).toBe(false);
      isOpen = body === '';
      return { kind: 'accept' };
    };
    const other = submitter({ owner: 'host/2/bb' });
    await Promise.all([submitter()(), other()]);
    await other();
    expect(whole()).toBe(2);
    expect(provider.posts[0]?.body).toContain('"two"');
  });
});

describe('a create whose fate nobody can tell', () => {
  it.each([
    ['the reply is lost', { kind: 'lose_reply' }, 'connection_lost'],
    ['the reply is cut', { kind: 'cut_reply' }, 'connection_lost'],
    ['the reply is 500', { kind: 'status', status: 500, body: errorBody('api_error') }, 'status_500'],
    ['the reply is 409', { kind: 'status', status: 409, body: errorBody('conflict') }, 'status_409'],
    ['the reply names no batch', { kind: 'status', status: 200, body: '{}' }, 'reply_without_batch'],
    ['the reply is not JSON', { kind: 'status', status: 200, body: '<html>' }, 'reply_unreadable'],
    ['the reply is 529', { kind: 'status', status: 529, headers: { 'request-id': 'req_1' }, body: errorBody('overloaded_error') }, 'status_529'],
  ] as const)('is in doubt when %s, keeps its reservation, and is never posted again', async (_what, answer, reason) => {
    provider.answer = (body) => (body === '' ? { kind: 'accept' } : answer);
    const archive = await sealed(['one']);
    await submitter()();
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'in_doubt', reason });
    clockMs += 10 * leaseMs;
    await submitter()();
    await submitter({ owner: 'host/2/bb' })();
    expect(provider.posts).toHaveLength(1);
    expect(await world.ledger.readRun(run)).toMatchObject({ archivesInDoubt: 1 });
    expect(await amounts(world.ledger, 'all')).toEqual([120, 0, 200, 0]);
  });

  it('is in doubt when the provider keeps silent for too long', async () => {
    provider.answer = () => ({ kind: 'silence' });
    const archive = await sealed(['one']);
    await submitter({ replyTimeoutMs: 30 })();
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'in_doubt', reason: 'no_reply' });
  });

  it('is in doubt when this process must stop while it waits for the reply', async () => {
    const stop = new AbortController();
    provider.answer = (body) => {
      if (body !== '') stop.abort();
      return { kind: 'silence' };
    };
    const archive = await sealed(['one']);
    await submitter()(stop.signal);
    expect(await stateOf(archive)).toBe('in_doubt');
  });

  it('is resolved by the reply when only the lane was lost meanwhile (N2)', async () => {
    const archive = await sealed(['one']);
    let isLost = (): void => undefined;
    const lost = new Promise<void>((resolve) => {
      isLost = () => resolve();
    });
    const ledger: Ledger = {
      ...world.ledger,
      async renewLane(...args) {
        const isHeld = await world.ledger.renewLane(...args);
        if (!isHeld) isLost();
        return isHeld;
      },
    };
    provider.answer = async (body) => {
      if (body === '') return { kind: 'accept' };
      expect(await world.ledger.expireLane(account, clockMs + leaseMs)).toMatchObject({ kind: 'in_doubt' });
      await lost;
      return { kind: 'accept' };
    };
    await submitter({ ledger, leaseMs: 30 })();
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'accepted', batch: 'msgbatch_00000001' });
    expect(await intentOf(archive, 1)).toMatchObject({ state: 'adopted' });
    expect(await world.ledger.readRun(run)).toMatchObject({ archivesInDoubt: 0 });
  });

  it('is in doubt, and nothing is posted, when the lake knows the intent from before Redis was set back (S5)', async () => {
    const archive = await sealed(['one']);
    await putDocument(lake.store, intentKey(account, intentId(archive, 1)), { v: 1, intent: intentId(archive, 1), owner: 'an earlier life' });
    await submitter()();
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'in_doubt', reason: 'journaled_before' });
    expect(provider.posts).toEqual([]);
  });
});

describe('a create that provably made no batch', () => {
  it('for a 429 pauses the account as long as it was asked to, then goes out with a new intent', async () => {
    provider.answer = (body, ordinal) => (body !== '' && ordinal === 1 ? { kind: 'status', status: 429, headers: { 'retry-after': '7' }, body: errorBody('rate_limit_error') } : { kind: 'accept' });
    const archive = await sealed(['one']);
    expect(await submitter()()).toEqual({ kind: 'later', atMs: nowMs + 7_000, why: 'status_429' });
    clockMs += 6_999;
    expect((await submitter()()).kind).toBe('later');
    expect(provider.posts).toHaveLength(1);
    clockMs += 1;
    await submitter()();
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'accepted', intents: 2 });
    expect(await intentOf(archive, 1)).toMatchObject({ state: 'refused', reason: 'status_429' });
    expect(provider.batches).toHaveLength(1);
  });

  it('for a 529 rests, longer each time, and sends none of the archives again', async () => {
    provider.answer = (body) => (body === '' ? { kind: 'accept' } : { kind: 'status', status: 529, headers: { 'request-id': 'req_1' }, body: errorBody('overloaded_error') });
    const archives = [await sealed(['one']), await sealed(['two', 'three'], 'letters.8k.normal' as typeof normal), await sealed(['four', 'five', 'six'], 'notes.8k.normal' as typeof normal)];
    const submit = submitter();
    const rests: number[] = [];
    for (const _archive of archives) {
      const outcome = await submit();
      if (outcome.kind !== 'later') throw new Error('it should rest');
      rests.push(outcome.atMs - clockMs);
      clockMs = outcome.atMs;
    }
    expect(rests).toEqual([2_000, 4_000, 8_000]);
    await submit();
    expect(await Promise.all(archives.map(stateOf))).toEqual(['in_doubt', 'in_doubt', 'in_doubt']);
    expect(provider.posts).toHaveLength(3);
  });

  it('for a refused connection rests, and nothing was sent', async () => {
    const archive = await sealed(['one']);
    const nobody = openClaude({ apiKey: 'k', authToken: undefined, baseUrl: 'http://127.0.0.1:1', version: '2023-06-01', account });
    expect(await submitter({ claude: nobody })()).toMatchObject({ kind: 'later', atMs: nowMs + 2_000 });
    await nobody.close();
    expect(await intentOf(archive, 1)).toMatchObject({ state: 'refused', reason: 'not_sent_provider_unavailable' });
    expect(provider.posts).toEqual([]);
  });

  it('for an upload that dies on its way tries again with a new intent', async () => {
    provider.answer = (_body, ordinal) => (ordinal === 1 ? { kind: 'die_after', bytes: 100_000 } : { kind: 'accept' });
    const archive = await sealed(Array.from({ length: 6 }, (_, index) => 'x'.repeat(700_000) + index));
    const outcome = await submitter()();
    expect(outcome.kind).toBe('later');
    expect(await intentOf(archive, 1)).toMatchObject({ state: 'refused' });
    expect(whole()).toBe(0);
    clockMs += 60_000;
    await submitter()();
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'accepted', intents: 2 });
    expect(whole()).toBe(1);
  });

  it.each([401, 403])('for a %i tells a person and keeps the work queued', async (status) => {
    provider.answer = (body) => (body === '' ? { kind: 'accept' } : { kind: 'status', status, body: errorBody('permission_error') });
    const archive = await sealed(['one']);
    expect(await submitter()()).toMatchObject({ kind: 'later', atMs: nowMs + 60_000 });
    expect(faults).toEqual(['credentials_refused']);
    expect(await stateOf(archive)).toBe('sealed');
  });

  it('for a process that is told to stop during the upload sends no last byte', async () => {
    const stop = new AbortController();
    provider.answer = (body) => {
      if (body === '') stop.abort();
      return { kind: 'accept' };
    };
    const archive = await sealed(Array.from({ length: 6 }, (_, index) => 'x'.repeat(700_000) + index));
    await submitter()(stop.signal);
    await provider.arrived(1);
    expect(whole()).toBe(0);
    expect(await stateOf(archive)).toBe('sealed');
  });
});

describe('the gate', () => {
  it('is shut for a process that slept past its lease: the server never gets the last byte', async () => {
    const archive = await sealed(['one', 'two']);
    const asleep: Ledger = {
      ...world.ledger,
      // It sleeps just before the gate; another process finds the lane left behind.
      async sendIntent(intent: IntentId, owner: string, atMs: number) {
        expect(await world.ledger.expireLane(account, clockMs + leaseMs)).toMatchObject({ kind: 'refused' });
        return await world.ledger.sendIntent(intent, owner, atMs);
      },
    };
    // It rests afterwards, like after any failure.
    expect((await submitter({ ledger: asleep })()).kind).toBe('later');
    await provider.arrived(1);
    expect(provider.posts[0]?.isWhole).toBe(false);
    expect(provider.posts[0]?.body.length).toBeLessThan(provider.posts[0]?.announcedBytes ?? 0);
    expect(await intentOf(archive, 1)).toMatchObject({ state: 'refused', reason: 'owner_lost' });
    clockMs += leaseMs;
    await submitter({ owner: 'host/2/bb' })();
    expect(whole()).toBe(1);
    expect(provider.batches).toHaveLength(1);
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'accepted', intents: 2 });
  });

  it.each([
    ['the GMAC that it was sealed with', { bodySha256: 'of another' }, 'accepted'],
    ['its sha256 where a rebuilt ledger knows no more', { bodyGmac: undefined }, 'accepted'],
    ['a GMAC that is not its own', { bodyGmac: '0'.repeat(32) }, 'sealed'],
    ['a sha256 that is not its own', { bodyGmac: undefined, bodySha256: 'of another' }, 'sealed'],
  ])('compares the body with %s', async (_what, known, state) => {
    const archive = await sealed(['one', 'two']);
    expect((await world.ledger.readArchive(archive))?.bodyGmac).toMatch(/^[0-9a-f]{32}$/);
    const altered: Ledger = {
      ...world.ledger,
      async readArchive(wanted: ArchiveId) {
        const found = await world.ledger.readArchive(wanted);
        return found && { ...found, ...known };
      },
    };
    await submitter({ ledger: altered })();
    expect(await stateOf(archive)).toBe(state);
    expect(provider.batches).toHaveLength(state === 'accepted' ? 1 : 0);
  });

  it.each([
    ['differs from the sealed one', 'body_differs', async (path: string) => await writeFile(path, (await readFile(path, 'latin1')).replace('honest text', 'hOnest text'), 'latin1')],
    ['has lost an object of its spool', 'lake_missing', async (path: string) => await rm(path)],
  ])('never lets a body through that %s: it is put aside, told once, and the next archive goes (S7)', async (_name, code, damage) => {
    const archive = await sealed(['honest text', 'more']);
    const chunk = (await world.ledger.readChunks(await world.ledger.readArchiveChunks(archive)))[0];
    const healthy = await sealed(['healthy'], 'receipts.8k.normal' as SegmentName);
    await damage(join(lake.directory, 'lake', ...(chunk?.spoolKey ?? '').split('/')));
    const lines: StageLog[] = [];
    const submit = submitter({ log: (line) => void lines.push(line) });
    expect(await submit()).toMatchObject({ kind: 'later', atMs: nowMs + 60_000, why: 'set_aside' });
    expect(provider.batches).toHaveLength(1);
    expect(await stateOf(healthy)).toBe('accepted');
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'sealed', reason: `not_sent_${code}`, intents: 1 });
    // Nobody tries before it is due, and each time it is left alone for longer, up to an hour.
    clockMs = nowMs + 59_999;
    expect(await submit()).toMatchObject({ kind: 'later', atMs: nowMs + 60_000 });
    for (const minutes of [2, 4, 8, 16, 32, 60, 60]) {
      const outcome = await submit();
      clockMs = outcome.kind === 'later' ? outcome.atMs : clockMs;
      expect(await submit()).toMatchObject({ kind: 'later', atMs: clockMs + minutes * 60_000, why: 'set_aside' });
    }
    expect(await world.ledger.readArchive(archive)).toMatchObject({ state: 'sealed', intents: 8 });
    expect(whole()).toBe(1);
    const told = lines.filter((line) => line.event === 'archive.set_aside');
    expect(told.map((line) => line.level)).toEqual(['error', ...Array.from({ length: 7 }, () => 'warn')]);
    expect(told[0]).toMatchObject({ subject: archive, detail: { code, ...(code === 'lake_missing' ? { where: chunk?.spoolKey } : {}) } });
  });
});

describe('an archive that is refused for what is in it', () => {
  it.each([
    [400, errorBody('invalid_request_error'), 'status_400'],
    [413, undefined, 'status_413'],
  ])('with %i is halved down to the one row that is the cause', async (status, body, reason) => {
    provider.answer = (text) => (text.includes('poison') ? { kind: 'status', status, ...(body === undefined ? {} : { body }) } : { kind: 'accept' });
    const texts = Array.from({ length: 11 }, (_, index) => (index === 6 ? 'poison' : `fine ${index}`));
    await sealed(texts);
    const submit = submitter();
    for (let seals = -1; seals !== woken.length; ) {
      seals = woken.length;
      await submit();
      for (const { entity } of woken.filter((each) => each.stage === 'seal')) await sealer().handle(entity, never);
    }
    const archives = await Promise.all((await world.ledger.listArchives(run)).map(async (archive) => await world.ledger.readArchive(archive)));
    const rejected = archives.filter((archive) => archive?.state === 'ended');
    expect(rejected).toMatchObject([{ rows: 1, reason, batch: undefined }]);
    expect(archives.filter((archive) => archive?.state === 'accepted').reduce((sum, archive) => sum + (archive?.rows ?? 0), 0)).toBe(10);
    expect(archives.every((archive) => archive?.state === 'ended' || archive?.state === 'accepted')).toBe(true);
    expect(provider.batches.flat()).toHaveLength(10);
    expect(new Set(provider.batches.flat()).size).toBe(10);
    expect(woken).toContainEqual({ stage: 'settle', entity: rejected[0]?.archive, epoch: 0 });
    expect(await amounts(world.ledger, 'all')).toEqual([11 * 120, 0, 11 * 200, 0]);
  });
});
