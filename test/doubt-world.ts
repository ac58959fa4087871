/**
 * A world in which a create can lose its reply: the real simulator over HTTP, a real Redis and lake, and the stages
 * from the submitter to the settler, called by hand under a clock that the test moves. Batches end when a test says so.
 */
import { join } from 'node:path';
import { priceTable } from '../config/models.ts';
import { startSimulator, type FaultRule } from '../local/simulator/simulator.ts';
import { runOpenKey, spoolKey } from '../segments/lake.ts';
import type { ArchiveRecord, IntentRecord } from '../segments/ledger/ledger.ts';
import { rebuild } from '../segments/ledger/rebuild.ts';
import { openRestore } from '../segments/ledger/restore.ts';
import { intentId, type ArchiveId, type BatchId, type ChunkId, type RunKey, type SegmentName } from '../segments/segment.ts';
import { putDocument, readDocument } from '../segments/store/document.ts';
import type { StageHandler, StageLog, StageOutcome } from '../segments/stage.ts';
import type { Wake } from '../segments/wake.ts';
import { makeAdopter, type AdopterDependencies } from '../workers/adopter.ts';
import { openClaude } from '../workers/anthropic.ts';
import { OpenCalls } from '../workers/fence.ts';
import { forgo } from '../workers/forgo.ts';
import { makeSealer } from '../workers/sealer.ts';
import { makeSettler, type SettlerDependencies } from '../workers/settler.ts';
import { makeSubmitter, type SubmitterDependencies } from '../workers/submitter.ts';
import { makeTracker } from '../workers/tracker.ts';
import { readTruth, type Truth } from './chaos/oracle.ts';
import { account, ledgerForTest, tagOf, type LedgerWorld } from './ledger-world.ts';
import { promptOf, sealChunk, storeForTest } from './spool-world.ts';

export const landingWaitMs = 900_000;
const never = new AbortController().signal;
const wake: Wake = { wake: async () => undefined, enqueueChunk: async () => undefined, close: async () => undefined };

export interface DoubtWorld {
  readonly ledger: LedgerWorld['ledger'];
  readonly world: LedgerWorld;
  readonly simulatorUrl: string;
  readonly logs: StageLog[];
  /** Seals an archive of `rows` rows in a segment of its own. */
  seal(rows: number, segment?: string): Promise<ArchiveId>;
  /** The submitter of the first process. */
  submitter(given?: Partial<SubmitterDependencies>): StageHandler;
  /** Seals an archive of a chunk that is queued, as a retry is. */
  sealQueued(chunk: ChunkId): Promise<ArchiveId>;
  submit(given?: Partial<SubmitterDependencies>): Promise<StageOutcome>;
  /** One look of the adopter for an archive. */
  look(archive: ArchiveId, given?: Partial<AdopterDependencies>): Promise<StageOutcome>;
  /** Looks, advances to the time that it asks for, and looks again, until `done` or so many looks. */
  lookUntilDone(archive: ArchiveId, looks?: number, given?: Partial<AdopterDependencies>): Promise<boolean>;
  sweep(given?: Partial<AdopterDependencies>): Promise<void>;
  /** Gives an archive in doubt up, as `plimsoll doubts forgo` does. `isKilled`: after the word is in the lake. */
  forgo(archive: ArchiveId, isKilled?: boolean): Promise<boolean>;
  /** Tracks and settles an archive whose batch has ended. */
  finish(archive: ArchiveId, given?: Partial<SettlerDependencies>): Promise<void>;
  archive(archive: ArchiveId): Promise<ArchiveRecord>;
  intent(archive: ArchiveId, ordinal?: number): Promise<IntentRecord>;
  /** Builds the ledger anew from the lake, as `plimsoll recover` does. */
  rebuild(): Promise<void>;
  advance(ms: number): void;
  now(): number;
  arm(rules: readonly FaultRule[]): Promise<void>;
  /** Batches of the workspace, oldest first, as its truth log has them. */
  batches(): BatchId[];
  end(batch: BatchId): Promise<void>;
  /** Posts a batch of somebody else, with ids that are not ours. */
  postForeign(rows: number): Promise<BatchId>;
  truth(): Truth;
  /** A document of the lake; undefined: there is none. */
  readJournal(key: string): Promise<unknown>;
  /** Whether the lake has this object. */
  journal(key: string): Promise<boolean>;
  /** The stages of another process over the same stores. */
  readonly other: FenceOf;
  close(): Promise<void>;
}

/** How another process sees the first one. */
export interface FenceOf {
  (isOwnerGone: boolean | undefined): Partial<AdopterDependencies>;
}

const run = 'nightly' as RunKey;

export async function openDoubtWorld(faults: readonly FaultRule[] = []): Promise<DoubtWorld> {
  const [world, lake] = await Promise.all([ledgerForTest(), storeForTest()]);
  const truthFile = join(lake.directory, 'truth.jsonl');
  const simulator = await startSimulator({ stateDir: join(lake.directory, 'provider'), truthFile, batchMs: 3_600_000, tier: 'unlimited', retryAfterSeconds: 0, faults: { faults } });
  const claude = openClaude({ apiKey: 'test-key', authToken: undefined, baseUrl: simulator.url, version: '2026-10-21', account });
  const prices = priceTable();
  const logs: StageLog[] = [];
  let offsetMs = 0;
  const now = (): number => Date.now() + offsetMs;
  const calls = new OpenCalls();
  const owner = 'host/1/aa';
  const shared = { ledger: world.ledger, store: lake.store, wake, now, log: (line: StageLog) => void logs.push(line) };
  const priceOf = (model: string) => prices.find(model);
  let segments = 0;
  await world.open(run);

  const adopter = (given: Partial<AdopterDependencies>): StageHandler =>
    makeAdopter({ ...shared, claude, fence: { owner, calls, isOwnerGone: () => undefined }, landingWaitMs, unprovable: 'hold', orphansEveryMs: 60_000, pollMinMs: 100, priceOf, ...given });
  const control = async (path: string, method = 'POST', body: unknown = {}): Promise<void> => {
    const reply = await fetch(`${simulator.url}/_simulator${path}`, { method, ...(method === 'GET' ? {} : { body: JSON.stringify(body) }) });
    if (!reply.ok) throw new Error(`${path}: ${await reply.text()}`);
  };

  const self: DoubtWorld = {
    ledger: world.ledger, world, simulatorUrl: simulator.url, logs, now,
    async seal(rows, segment = `t${(segments += 1)}.8k.normal`) {
      const prompts = Array.from({ length: rows }, (_, index) =>
        promptOf(index + 1, `Document ${segment} ${index}`, {
          params: Buffer.from(JSON.stringify({ model: 'claude-haiku-4-5', max_tokens: 16, messages: [{ role: 'user', content: `Document ${segment} ${index}` }] })),
          model: 'claude-haiku-4-5',
          estimate: { inputTokensExpected: 50, inputTokensMax: 400, outputTokensMax: 16, tokensMax: 416, microUsdMax: 2_000 },
        }));
      const chunk = sealChunk(prompts, { run, segment: segment as SegmentName, tag: tagOf(run) });
      const key = spoolKey(run, chunk.footer.chunk);
      await lake.store.put(key, chunk);
      await world.ledger.addChunk({ footer: chunk.footer, spoolKey: key, previousRow: 0, checkpoint: { bytes: 0, rows: 0, sha256: '' }, isReleased: true, nowMs: now() });
      return await self.sealQueued(chunk.footer.chunk);
    },
    async sealQueued(chunk) {
      const archive = await world.pack(chunk);
      await makeSealer(shared).handle(archive, never);
      return archive;
    },
    submitter: (given = {}) =>
      makeSubmitter({ ...shared, claude, owner, calls, leaseMs: 60_000, replyTimeoutMs: 30_000, queueRowsMax: 100_000, pollMinMs: 100, onAccountFault: () => undefined, ...given }),
    submit: async (given = {}) => await self.submitter(given).handle('next', never),
    look: async (archive, given = {}) => await adopter(given).handle(archive, never),
    async lookUntilDone(archive, looks = 200, given = {}) {
      for (let count = 0; count < looks; count += 1) {
        const outcome = await self.look(archive, given);
        if (outcome.kind === 'done') return true;
        offsetMs += Math.max(0, outcome.atMs - now());
      }
      return false;
    },
    sweep: async (given = {}) => void (await adopter(given).handle(`workspace|${account}`, never)),
    async forgo(archive, isKilled = false) {
      const { intent } = await self.archive(archive);
      if (intent === undefined) throw new Error(`${archive} has no intent`);
      const ledger = isKilled ? { forgoIntent: async () => await Promise.resolve(false) } : world.ledger;
      return await forgo({ ...shared, ledger }, await self.archive(archive), intent, 'ada', 'nobody can ask its sender');
    },
    async finish(archive, given = {}) {
      await makeTracker({ ...shared, claude, pollMinMs: 100, pollMaxMs: 1_000 }).handle(archive, never);
      await makeSettler({
        ...shared, claude, attemptsMax: 3, accountRoundsMax: 6, accountRestMs: 60_000, onAccountFault: () => undefined, chunkBytesMax: 1_000_000, chunkRowsMax: 1_000, priceOf, priceVersion: 'test-1', scratchDirectory: join(lake.directory, 'scratch'),
        ...given,
      }).handle(archive, never);
    },
    async archive(archive) {
      const found = await world.ledger.readArchive(archive);
      if (!found) throw new Error(`${archive} is not in the ledger`);
      return found;
    },
    async intent(archive, ordinal = 1) {
      const found = await world.ledger.readIntent(intentId(archive, ordinal));
      if (!found) throw new Error(`${archive} has no intent ${ordinal}`);
      return found;
    },
    async rebuild() {
      const found = await world.ledger.readRun(run);
      if (!found) throw new Error(`${run} is not in the ledger`);
      const { tag, dt, source, cutSha256, openedAtMs } = found;
      await putDocument(lake.store, runOpenKey(run), { v: 1, run, tag, dt, source, cutSha256, openedAtMs, sectionBytes: 1_000_000 });
      await rebuild({ store: lake.store, restore: openRestore(world.redis, world.keys), budgets: [], archiveRowsMax: 1_000, owner, now, onRun: () => undefined });
    },
    advance: (ms) => void (offsetMs += ms),
    arm: async (rules) => await control('/faults', 'POST', { faults: rules, replace: true }),
    batches: () => [...readTruth(truthFile).batches.keys()] as BatchId[],
    end: async (batch) => await control(`/batches/${batch}/end`),
    async postForeign(rows) {
      const before = self.batches();
      const requests = Array.from({ length: rows }, (_, index) => ({ custom_id: `theirs-${index}`, params: { model: 'claude-haiku-4-5', max_tokens: 8, messages: [{ role: 'user', content: 'hello' }] } }));
      const reply = await fetch(`${simulator.url}/v1/messages/batches`, { method: 'POST', headers: { 'x-api-key': 'theirs', 'anthropic-version': '2026-10-21', 'content-type': 'application/json' }, body: JSON.stringify({ requests }) });
      if (!reply.ok) throw new Error(await reply.text());
      const made = self.batches().find((batch) => !before.includes(batch));
      if (!made) throw new Error('no batch was made');
      return made;
    },
    truth: () => readTruth(truthFile),
    readJournal: async (key) => await readDocument(lake.store, key),
    journal: async (key) => (await lake.store.head(key)) !== undefined,
    other: (isOwnerGone) => ({ fence: { owner: 'host/2/bb', calls: new OpenCalls(), isOwnerGone: () => isOwnerGone } }),
    async close() {
      await claude.close();
      await simulator.stop();
      await lake.close();
      await world.close();
    },
  };
  return self;
}

/** Seals two rows, whose owner opens the gate and is lost before any byte of the provider's: its lease ends, and they are in doubt. */
export async function loseOwner(world: DoubtWorld): Promise<ArchiveId> {
  const archive = await world.seal(2);
  const nowMs = world.now();
  const prepared = await world.ledger.prepareIntent({ account, side: 'real', owner: 'host/1/aa', leaseMs: 3_000, queueRowsMax: 100, nowMs });
  if (prepared.kind !== 'prepared') throw new Error(prepared.kind);
  await world.ledger.armIntent(prepared.intent, 'host/1/aa', nowMs, nowMs);
  await world.ledger.sendIntent(prepared.intent, 'host/1/aa', nowMs);
  world.advance(3_001);
  const expired = await world.ledger.expireLane(account, world.now());
  if (expired.kind !== 'in_doubt') throw new Error(expired.kind);
  return archive;
}
