/** Who acts in a schedule: workers and producers of the product, each over its own faulty view of the four ports. */
import { priceTable } from '../../../config/models.ts';
import { makeExporter, makeGatherer } from '../../../exporters/stages.ts';
import { produce, type ProducerSettings } from '../../../producers/producer.ts';
import { PlimsollError } from '../../../segments/errors.ts';
import type { Ledger } from '../../../segments/ledger/ledger.ts';
import type { RunKey } from '../../../segments/segment.ts';
import type { StageHandler } from '../../../segments/stage.ts';
import type { Wake } from '../../../segments/wake.ts';
import { makeAdopter } from '../../../workers/adopter.ts';
import { OpenCalls } from '../../../workers/fence.ts';
import { makePacker } from '../../../workers/packer.ts';
import { makeSealer } from '../../../workers/sealer.ts';
import { makeSettler } from '../../../workers/settler.ts';
import { makeSubmitter } from '../../../workers/submitter.ts';
import { makeTracker } from '../../../workers/tracker.ts';
import type { VirtualClock } from './clock.ts';
import type { MemoryStore } from './memory-store.ts';
import { withFaults, type PortFaults } from './ports.ts';
import type { MemoryProvider } from './provider.ts';
import { poisonText, type Rig } from './rig.ts';
import type { Turns } from './turns.ts';

export const account = 'box';
export const leaseMs = 10_000;
/** Longer than a `late` batch takes to land. */
export const landingWaitMs = 30_000;
const prices = priceTable();
export const findModel = (model: string) => prices.find(model);
export const priceVersion = prices.version;

/** What all of them share. */
export interface World {
  readonly rig: Rig;
  readonly run: RunKey;
  readonly ledger: Ledger;
  readonly store: MemoryStore;
  readonly provider: MemoryProvider;
  readonly clock: VirtualClock;
  readonly turns: Turns;
  readonly wake: Wake;
  readonly scratch: string;
  readonly faultsOf: (name: string) => PortFaults;
  /** Told of what a process of the harness or of the product must never throw. */
  readonly onDefect: (error: unknown) => void;
}

export interface BoxWorker {
  readonly name: string;
  readonly handlers: readonly StageHandler[];
  readonly ledger: Ledger;
  /** What it is at, by stage and entity. */
  readonly busy: Set<string>;
}

/** Starts a worker: a process of its own as far as anybody can tell. */
export function makeWorker(world: World, name: string): BoxWorker {
  const { rig, clock, turns, wake, provider, scratch } = world;
  const faults = world.faultsOf(name);
  const ledger = withFaults(world.ledger, 'ledger', faults);
  const store = withFaults(world.store, 'store', faults);
  const claude = withFaults(provider.client(account, name), 'claude', faults);
  const shared = { ledger, store, wake, now: () => clock.nowMs, log: () => undefined };
  const exporting = { partBytesMax: 1e6, gzipLevel: 1, scratchDirectory: scratch };
  const calls = new OpenCalls();
  const isOwnerGone = (owner: string): boolean | undefined => (rig.isRemote ? undefined : turns.dead.has(owner));
  const handlers = [
    makePacker({ ...shared, limits: rig.limits, queues: { fetch: async () => undefined, close: async () => undefined } }),
    makeSealer({ ...shared, lingerMs: rig.limits.lingerMs }),
    makeSubmitter({ ...shared, claude, calls, owner: name, leaseMs, replyTimeoutMs: 60_000, queueRowsMax: 1e6, pollMinMs: 500, onAccountFault: () => undefined }),
    makeAdopter({ ...shared, claude, fence: { owner: name, calls, isOwnerGone }, landingWaitMs, unprovable: 'hold', orphansEveryMs: 20_000, pollMinMs: 500, priceOf: (model) => prices.find(model) }),
    makeTracker({ ...shared, claude, pollMinMs: 500, pollMaxMs: 5_000 }),
    makeSettler({ ...shared, claude, scratchDirectory: scratch, attemptsMax: 3, accountRoundsMax: 4, accountRestMs: 2_000, onAccountFault: () => undefined, chunkBytesMax: 2_000, chunkRowsMax: 10, priceOf: (model) => prices.find(model), priceVersion: prices.version }),
    makeExporter({ ...shared, settings: exporting }),
    makeGatherer({ ...shared, settings: exporting }),
  ];
  return { name, handlers, ledger, busy: new Set() };
}

/** The id of a row and the text that its answer must name. */
export const idOf = (index: number): string => `doc-${index}`;
export const textOf = (index: number): string => `text ${index}.`;

/** Runs a producer once. True: the run is ingested, or was canceled; false: it has to be started again. */
export async function produceOnce(world: World, name: string, startedAtMs: number): Promise<boolean> {
  const { rig, run, clock, wake, scratch } = world;
  const faults = world.faultsOf(name);
  const settings: ProducerSettings = {
    contextClasses: [{ name: '8k', tokensMax: 8_000 }],
    chunkBytesMax: 900, chunkRowsMax: 6, openBytesMax: 4_000, lineBytesMax: 1e6,
    anthropicVersion: '2026-10-21', price: prices,
    defaults: { topic: 'a', priority: 'normal', client: 'default', model: undefined, maxTokens: undefined },
    isStrict: rig.isStrict, badRowsMax: { kind: 'none' }, scratchDirectory: scratch,
  };
  const source = async function* (): AsyncGenerator<Buffer> {
    for (let index = 0; index < rig.rows; index += 1) {
      const poison = rig.plan.poison && index === rig.rows - 1 ? poisonText : '';
      const content = `${textOf(index)} ${'y'.repeat((index * 37) % 150)}${poison}`;
      const deadline = rig.deadlineMs === undefined ? {} : { deadline: startedAtMs + rig.deadlineMs };
      const line = { id: idOf(index), topic: ['a', 'b'][index % 2], priority: index % 3 === 0 ? 'high' : 'normal', ...deadline, params: { model: 'claude-haiku-4-5', max_tokens: 16, messages: [{ role: 'user', content }] } };
      yield Buffer.from(`${JSON.stringify(line)}\n`);
    }
  };
  try {
    await produce({
      runKey: run, source: { kind: 'rows', uri: 'box', rows: source() }, settings,
      ledger: withFaults(world.ledger, 'ledger', faults), store: withFaults(world.store, 'store', faults), wake,
      installationId: 'box', now: () => clock.nowMs, signal: new AbortController().signal,
    });
    return true;
  } catch (error) {
    if (!(error instanceof PlimsollError)) throw error;
    if (error.code === 'run_canceled') return true;
    if (error.disposition === 'retry') return false;
    throw error;
  }
}
