/**
 * The one-process tier: producers and workers of the product on one thread, on a virtual clock, over the real Lua on a
 * private Redis, with a lake and a provider in memory. A schedule is a function of its seed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Redis } from 'ioredis';
import { priceTable } from '../../../config/models.ts';
import { makeExporter, makeGatherer } from '../../../exporters/stages.ts';
import { produce, type ProducerSettings } from '../../../producers/producer.ts';
import { PlimsollError } from '../../../segments/errors.ts';
import { ledgerKeys } from '../../../segments/ledger/keys.ts';
import type { Ledger, PackLimits } from '../../../segments/ledger/ledger.ts';
import { openRedisLedger } from '../../../segments/ledger/redis.ts';
import { entryOverheadBytes, envelopeBytes, parseCustomId } from '../../../segments/pack.ts';
import { asRunKey, type RunKey } from '../../../segments/segment.ts';
import type { StageHandler } from '../../../segments/stage.ts';
import type { Wake, WakeUp } from '../../../segments/wake.ts';
import { makeAdopter } from '../../../workers/adopter.ts';
import { OpenCalls } from '../../../workers/fence.ts';
import { makePacker } from '../../../workers/packer.ts';
import { makeSealer } from '../../../workers/sealer.ts';
import { makeSettler } from '../../../workers/settler.ts';
import { makeSubmitter } from '../../../workers/submitter.ts';
import { makeTracker } from '../../../workers/tracker.ts';
import { runStage } from '../../../workers/worker.ts';
import { MemoryStore } from './memory-store.ts';
import { withFaults, type PortFaults } from './ports.ts';
import { MemoryProvider, type CreateFault } from './provider.ts';
import { seeded, type Random } from './random.ts';
import { Turns, type CallFate } from './turns.ts';

/** What a seed showed. */
export interface Verdict {
  readonly seed: number;
  readonly breaches: readonly string[];
  /** Faults that struck, in order. */
  readonly faults: readonly string[];
  readonly turns: number;
  readonly isInDoubt: boolean;
  readonly trace: readonly string[];
}

const account = 'box';
const leaseMs = 10_000;
const sweepMs = 2_000;
/** Longer than a `late` batch takes to land. */
const landingWaitMs = 30_000;
const prices = priceTable();
/** After so many rounds without an end the world is stuck: a breach of I14. */
const roundsMax = 400;

/** Plays one seed. `redis` is a private server that is flushed first. */
export async function playSeed(seed: number, redis: Redis): Promise<Verdict> {
  await redis.flushall();
  const scratch = mkdtempSync(join(tmpdir(), 'plimsoll-box-'));
  try {
    return await new Box(seed, redis, scratch).play();
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

class Box {
  readonly #seed: number;
  readonly #random: Random;
  readonly #ledger: Ledger;
  readonly #store = new MemoryStore();
  readonly #turns: Turns;
  readonly #provider: MemoryProvider;
  readonly #scratch: string;
  readonly #breaches: string[] = [];
  readonly #faults: string[] = [];
  readonly #wakes = new Map<string, WakeUp>();
  readonly #rows: number;
  readonly #limits: PackLimits;
  readonly #limitTokens: number | undefined;
  #nowMs = Date.parse('2026-11-21T04:00:00Z');
  #isFaulty = true;
  #workers = 0;
  #faultsLeft: number;

  constructor(seed: number, redis: Redis, scratch: string) {
    this.#seed = seed;
    this.#random = seeded(seed);
    this.#turns = new Turns(seeded(seed * 7 + 1));
    this.#scratch = scratch;
    this.#ledger = openRedisLedger(redis, ledgerKeys('box'));
    this.#rows = 5 + this.#random.int(40);
    this.#faultsLeft = this.#random.int(9);
    this.#limits = { bytesMax: 1500 + this.#random.int(6000), rowsMax: 3 + this.#random.int(20), entryOverheadBytes, envelopeBytes, fullPermille: 985, lingerMs: 60_000 };
    this.#limitTokens = this.#random.chance(0.4) ? 800 + this.#random.int(4000) : undefined;
    const createFaults: readonly CreateFault[] = ['reply_lost', 'late', 'swallowed', 'refused_429', 'refused_413', 'refused_400', 'drop_mid', 'error_500'];
    this.#provider = new MemoryProvider(seeded(seed * 13 + 5), () => this.#nowMs, {
      createFault: () => {
        if (!this.#isFaulty || !this.#random.chance(0.15)) return 'ok';
        const fault = this.#random.pick(createFaults);
        this.#faults.push(`provider.${fault}`);
        return fault;
      },
      erroredRate: this.#random.chance(0.3) ? 0.2 : 0,
      expiredRate: this.#random.chance(0.3) ? 0.2 : 0,
      badDownloadRate: this.#random.chance(0.3) ? 0.4 : 0,
      batchMs: 5_000,
    });
  }

  async play(): Promise<Verdict> {
    const run = asRunKey(`seed-${this.#seed}`);
    if (!run) throw new RangeError('not a run key');
    if (this.#limitTokens !== undefined) await this.#ledger.setBudget({ target: 'topic:a', tokens: this.#limitTokens, microUsd: undefined, window: 'total' }, 'config', this.#nowMs);
    let workers = [this.#worker(), this.#worker()];
    let isProduced = false;
    let round = 0;
    for (; round < roundsMax; round += 1) {
      if (round > 40) this.#isFaulty = false;
      const tasks: Promise<void>[] = [];
      if (!isProduced) tasks.push(this.#turns.start(`producer-${round}`, async () => {
        isProduced = await this.#produce(run, `producer-${round}`);
      }));
      for (const worker of workers) tasks.push(...this.#wakeSome(worker));
      for (const task of tasks) task.catch((error: unknown) => this.#breaches.push(`a task threw: ${String(error)}`));
      await this.#turns.drain(async () => await this.#sample());
      workers = workers.map((worker) => (this.#turns.dead.has(worker.name) ? this.#worker() : worker));
      this.#nowMs += sweepMs;
      await this.#sweep();
      const record = await this.#ledger.readRun(run);
      if (record?.state === 'complete') break;
      if (isProduced && (await this.#isStill(run))) {
        if (this.#isFaulty) this.#isFaulty = false;
        else if (this.#limitTokens !== undefined && (record?.rowsHeld ?? 0) > 0) await this.#ledger.setBudget({ target: 'topic:a', tokens: 1e12, microUsd: undefined, window: 'total' }, 'operator', this.#nowMs);
        else if ((record?.archivesInDoubt ?? 0) === 0) break;
      }
    }
    await this.#judge(run, round);
    return {
      seed: this.#seed,
      breaches: this.#breaches,
      faults: this.#faults,
      turns: this.#turns.trace.length,
      isInDoubt: ((await this.#ledger.readRun(run))?.archivesInDoubt ?? 0) > 0,
      trace: this.#turns.trace.map((turn) => `${turn.worker} ${turn.name}`),
    };
  }

  /** A worker: its own handlers over its own faulty view of the ports. */
  #worker(): { readonly name: string; readonly handlers: readonly StageHandler[]; readonly ledger: Ledger; readonly busy: Set<string> } {
    this.#workers += 1;
    const name = `worker-${this.#workers}`;
    const faults = this.#portFaults(name);
    const ledger = withFaults(this.#ledger, 'ledger', faults);
    const store = withFaults(this.#store, 'store', faults);
    const claude = withFaults(this.#provider.client(account), 'claude', { ...faults, fate: (call) => (call === 'claude.createBatch' ? onlyCrashes(faults.fate(call)) : faults.fate(call)) });
    const shared = { ledger, store, wake: this.#wake(), now: () => this.#nowMs, log: () => undefined };
    const exporting = { partBytesMax: 1e6, gzipLevel: 1, scratchDirectory: this.#scratch };
    const calls = new OpenCalls();
    const handlers = [
      makePacker({ ...shared, limits: this.#limits, queues: { fetch: async () => undefined, close: async () => undefined } }),
      makeSealer(shared),
      makeSubmitter({ ...shared, claude, calls, owner: name, leaseMs, replyTimeoutMs: 60_000, queueRowsMax: 1e6, pollMinMs: 500, onAccountFault: () => undefined }),
      makeAdopter({ ...shared, claude, fence: { owner: name, calls, isOwnerGone: (owner) => this.#turns.dead.has(owner) }, landingWaitMs, orphansEveryMs: 60_000, pollMinMs: 500, priceOf: (model) => prices.find(model) }),
      makeTracker({ ...shared, claude, pollMinMs: 500, pollMaxMs: 5_000 }),
      makeSettler({ ...shared, claude, scratchDirectory: this.#scratch, attemptsMax: 3, chunkBytesMax: 2_000, chunkRowsMax: 10, priceOf: (model) => prices.find(model), priceVersion: prices.version }),
      makeExporter({ ...shared, settings: exporting }),
      makeGatherer({ ...shared, settings: exporting }),
    ];
    return { name, handlers, ledger, busy: new Set() };
  }

  #portFaults(worker: string): PortFaults {
    return {
      turns: this.#turns,
      worker,
      fate: (name): CallFate => {
        if (!this.#isFaulty || this.#faultsLeft <= 0 || !this.#random.chance(0.03)) return 'run';
        this.#faultsLeft -= 1;
        const fate = this.#random.pick(['crash_before', 'crash_after', 'resend', 'fail_before', 'fail_after'] as const);
        this.#faults.push(`${worker} ${name} ${fate}`);
        return fate;
      },
      onCrash: () => undefined,
    };
  }

  #wake(): Wake {
    return {
      wake: async (wakeUp) => this.#remember(wakeUp),
      enqueueChunk: async () => this.#remember({ stage: 'pack', entity: 'all', epoch: 0 }),
      close: async () => undefined,
    };
  }

  /** A wake-up may be lost: the sweeper must make up for it. */
  #remember(wakeUp: WakeUp): void {
    if (this.#isFaulty && this.#random.chance(0.1)) return;
    this.#wakes.set(`${wakeUp.stage}|${wakeUp.entity}`, wakeUp);
  }

  #wakeSome(worker: { readonly name: string; readonly handlers: readonly StageHandler[]; readonly ledger: Ledger; readonly busy: Set<string> }): Promise<void>[] {
    const tasks: Promise<void>[] = [];
    const tasksOf = new Set<string>();
    for (const [key, wakeUp] of [...this.#wakes]) {
      if (this.#random.chance(0.3)) continue;
      // Now and then both workers get the same wake-up.
      if (!this.#random.chance(0.2)) this.#wakes.delete(key);
      const handler = worker.handlers.find((each) => each.stage === wakeUp.stage);
      // One packer and one submitter loop per process, as BullMQ's concurrency of 1 has it.
      if (!handler || (!handler.isClaimed && tasksOf.has(wakeUp.stage))) continue;
      tasksOf.add(wakeUp.stage);
      tasks.push(this.#turns.start(worker.name, async () => {
        await runStage({ ledger: worker.ledger, owner: worker.name, claimLeaseMs: leaseMs, now: () => this.#nowMs, log: (line) => this.#noteLog(line) }, handler, wakeUp.entity, worker.busy, new AbortController().signal);
      }));
    }
    return tasks;
  }

  /** A defect that a stage reports is a breach, whoever survives it. */
  #noteLog(line: { readonly event: string; readonly detail?: Readonly<Record<string, unknown>> }): void {
    if (line.event === 'stage.fault' && line.detail?.['code'] === 'defect') this.#breaches.push(`a stage has a defect: ${String(line.detail['stage'])}: ${String(line.detail['message'])}`);
  }

  async #sweep(): Promise<void> {
    for (const due of await this.#ledger.overdue(this.#nowMs, sweepMs * 2, 200)) this.#wakes.set(`${due.stage}|${due.entity}`, due);
    if ((await this.#ledger.resumeHeld(this.#nowMs)).length > 0 || (await this.#ledger.nextSegment([])) !== undefined) this.#wakes.set('pack|all', { stage: 'pack', entity: 'all', epoch: 0 });
  }

  async #produce(run: RunKey, name: string): Promise<boolean> {
    const faults = this.#portFaults(name);
    const settings: ProducerSettings = {
      contextClasses: [{ name: '8k', tokensMax: 8_000 }],
      chunkBytesMax: 900, chunkRowsMax: 6, openBytesMax: 4_000, lineBytesMax: 1e6,
      anthropicVersion: '2026-10-21', price: prices,
      defaults: { topic: 'a', priority: 'normal', client: 'default', model: undefined, maxTokens: undefined },
      isStrict: false, badRowsMax: { kind: 'none' }, scratchDirectory: this.#scratch,
    };
    const rows = this.#rows;
    const source = async function* (): AsyncGenerator<Buffer> {
      for (let index = 0; index < rows; index += 1) {
        const line = { id: `doc-${index}`, topic: ['a', 'b'][index % 2], priority: index % 3 === 0 ? 'high' : 'normal', params: { model: 'claude-haiku-4-5', max_tokens: 16, messages: [{ role: 'user', content: `text ${index} ${'y'.repeat((index * 37) % 150)}` }] } };
        yield Buffer.from(`${JSON.stringify(line)}\n`);
      }
    };
    try {
      await produce({
        runKey: run, source: { kind: 'rows', uri: 'box', rows: source() }, settings,
        ledger: withFaults(this.#ledger, 'ledger', faults), store: withFaults(this.#store, 'store', faults), wake: this.#wake(),
        installationId: 'box', now: () => this.#nowMs, signal: new AbortController().signal,
      });
      return true;
    } catch (error) {
      if (error instanceof PlimsollError && (error.disposition === 'retry' || error.code === 'redis_unavailable')) return false;
      throw error;
    }
  }

  /** Nothing moves any more: what is left is held or in doubt. */
  async #isStill(run: RunKey): Promise<boolean> {
    const record = await this.#ledger.readRun(run);
    if (!record || record.state !== 'open' || record.rowsQueued > 0) return false;
    const archives = await Promise.all((await this.#ledger.listArchives(run)).map(async (id) => await this.#ledger.readArchive(id)));
    return archives.every((archive) => archive && ['in_doubt', 'exported', 'canceled'].includes(archive.state)) && record.chunksOpen > 0;
  }

  /** I7, looked at between any two calls. */
  async #sample(): Promise<void> {
    for (const each of await this.#ledger.listAccounts()) {
      if (each.tokensReserved < 0 || each.microUsdReserved < 0) this.#breaches.push(`I7: ${each.target} has ${each.tokensReserved} tokens reserved`);
      if (this.#limitTokens !== undefined && each.target === 'topic:a') {
        const limit = (await this.#ledger.listBudgets()).find((budget) => budget.target === 'topic:a')?.tokens ?? Infinity;
        if (each.tokensReserved + each.tokensSpent > limit) this.#breaches.push(`I7: topic:a has ${each.tokensReserved} + ${each.tokensSpent} of ${limit} tokens`);
      }
    }
  }

  async #judge(run: RunKey, round: number): Promise<void> {
    const record = await this.#ledger.readRun(run);
    if (record?.state !== 'complete') this.#breaches.push(`I14: the run is ${record?.state ?? 'gone'} after ${round} rounds, ${record?.archivesInDoubt ?? 0} archives in doubt`);
    // I4: the batches that the provider accepted, by the archive that their ids name.
    const byArchive = new Map<string, number>();
    for (const batch of this.#provider.accepted) {
      const archive = parseCustomId(batch.customIds[0] ?? '')?.archive ?? 'foreign';
      byArchive.set(archive, (byArchive.get(archive) ?? 0) + 1);
    }
    for (const [archive, times] of byArchive) if (times > 1) this.#breaches.push(`I4: ${archive} was accepted ${times} times`);
    const rows = this.#rowsInLake();
    const seen = new Map<string, number>();
    for (const id of rows) seen.set(id, (seen.get(id) ?? 0) + 1);
    for (const [id, times] of seen) if (times > 1) this.#breaches.push(`I1: ${id} is there ${times} times`);
    if (record?.state === 'complete') {
      for (let index = 0; index < this.#rows; index += 1) if (!seen.has(`doc-${index}`)) this.#breaches.push(`I1: doc-${index} is nowhere`);
      if (!this.#store.objects.has(`runs/dt=${record.dt}/${run}/_SUCCESS`)) this.#breaches.push('I10: no _SUCCESS');
    }
    const all = (await this.#ledger.listAccounts()).find((each) => each.target === 'all');
    const doubtful = await this.#doubtfulBatches(run);
    const billed = this.#provider.accepted.filter((batch) => !doubtful.has(parseCustomId(batch.customIds[0] ?? '')?.archive ?? '')).reduce((sum, batch) => sum + batch.billedTokens, 0);
    if ((all?.tokensSpent ?? 0) !== billed) this.#breaches.push(`I6: the ledger has ${all?.tokensSpent ?? 0} tokens spent, the provider billed ${billed}`);
    if (record?.state === 'complete' && (all?.tokensReserved ?? 0) !== 0) this.#breaches.push(`I8: ${all?.tokensReserved} tokens stay reserved`);
    const events = await this.#ledger.readEvents(0, 10_000);
    if (events.some((event, index) => event.sequence !== index + 1)) this.#breaches.push('I12: the sequence of events has a gap');
    if (new Set(events.map((event) => event.id)).size !== events.length) this.#breaches.push('I12: an event was written twice');
  }

  async #doubtfulBatches(run: RunKey): Promise<ReadonlySet<string>> {
    const archives = await Promise.all((await this.#ledger.listArchives(run)).map(async (id) => await this.#ledger.readArchive(id)));
    return new Set(archives.filter((archive) => archive?.state === 'in_doubt').map((archive) => archive?.archive ?? ''));
  }

  #rowsInLake(): string[] {
    return [...this.#store.objects]
      .filter(([key]) => key.startsWith('results/') || key.startsWith('errors/'))
      .flatMap(([, bytes]) => gunzipSync(bytes).toString('utf8').trimEnd().split('\n').map((line) => (JSON.parse(line) as { id: string }).id));
  }
}

/** A create is never failed by the wrapper: what its failure means is the provider's to decide. */
function onlyCrashes(fate: CallFate): CallFate {
  return fate === 'crash_before' || fate === 'crash_after' ? fate : 'run';
}
