/**
 * A small world for producers: a lake in a temporary folder, and a ledger in memory that keeps the promises of the port
 * which a producer relies on (order per segment and client, checkpoint, flush). Faults are switches on the fakes.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { priceTable } from '../../config/models.ts';
import { produce } from '../../producers/producer.ts';
import type { Production, ProducerSettings, SourceLocation } from '../../producers/producer.ts';
import { decodeIndex, indexOffset } from '../../segments/chunk.ts';
import type { ChunkFooter } from '../../segments/chunk.ts';
import { laneOf, noUsage } from '../../segments/segment.ts';
import type { RunKey } from '../../segments/segment.ts';
import type { AddChunkRequest, Ledger, MeasureRequest, RunRecord } from '../../segments/ledger/ledger.ts';
import { openFolderStore } from '../../segments/store/folder.ts';
import type { Store } from '../../segments/store/store.ts';
import type { Wake, WakeUp } from '../../segments/wake.ts';

export const openedAtMs = Date.parse('2026-11-21T03:00:00Z');
export const run = 'nightly' as RunKey;

/** What of the ledger a producer uses. Everything else throws, so that a test notices when a producer reaches further. */
export interface FakeLedger {
  readonly port: Ledger;
  readonly chunks: AddChunkRequest[];
  readonly measured: MeasureRequest[];
  /** Called before a chunk is added; may throw. */
  beforeAdd: (request: AddChunkRequest) => void;
  beforeFlush: () => void;
  record: RunRecord | undefined;
}

export function fakeLedger(): FakeLedger {
  const highWater = new Map<string, number>();
  const fake: FakeLedger = { port: {} as Ledger, chunks: [], measured: [], beforeAdd: () => undefined, beforeFlush: () => undefined, record: undefined };
  const port: Partial<Ledger> = {
    readRun: async () => fake.record,
    openRun: async (request) => {
      if (fake.record) return { kind: 'exists', run: fake.record };
      fake.record = {
        ...request,
        state: 'ingesting',
        openedAtMs: request.nowMs,
        completedAtMs: undefined,
        checkpoint: { bytes: 0, rows: 0, sha256: '' },
        accepted: 0,
        rejected: 0,
        succeeded: 0,
        deadLettered: 0,
        notSampled: 0,
        retried: 0,
        chunks: 0,
        chunksOpen: 0,
        chunksHeld: 0,
        rowsQueued: 0,
        rowsHeld: 0,
        archivesInDoubt: 0,
        batches: 0,
        usage: noUsage,
        microUsd: 0,
        standardMicroUsd: 0,
        result: undefined,
      };
      return { kind: 'opened', run: fake.record };
    },
    readTiers: async () => [],
    measureClients: async (request) => {
      fake.measured.push(request);
      return { deferrals: new Map(), split: [] };
    },
    readHighWater: async () => new Map(highWater),
    addChunk: async (request) => {
      fake.beforeAdd(request);
      const key = laneOf(request.footer);
      if ((highWater.get(key) ?? 0) !== request.previousRow || !fake.record) return { kind: 'stale', epoch: 0 };
      highWater.set(key, request.footer.lastRow);
      fake.chunks.push(request);
      fake.record = { ...fake.record, checkpoint: request.checkpoint, chunks: fake.record.chunks + 1 };
      return { kind: 'added', epoch: 1 };
    },
    flushRun: async ({ accepted, rejected, input }) => {
      fake.beforeFlush();
      if (!fake.record) throw new Error('no run');
      if (fake.record.state !== 'ingesting') return { kind: fake.record.checkpoint.sha256 === input.sha256 ? 'already' : 'mismatch', queued: [] };
      fake.record = { ...fake.record, state: 'open', accepted, rejected, checkpoint: input };
      const queued = fake.chunks.filter((chunk) => !chunk.isReleased).map(({ footer }) => ({ chunk: footer.chunk, segment: footer.segment, epoch: 1 }));
      return { kind: 'flushed', queued };
    },
  };
  return Object.assign(fake, { port: port as Ledger });
}

export interface World {
  readonly folder: string;
  readonly store: Store;
  readonly ledger: FakeLedger;
  readonly wakeUps: WakeUp[];
  readonly queued: string[];
  settings: ProducerSettings;
  /** Writes a source file and returns its path. */
  write(name: string, content: string | Uint8Array): Promise<string>;
  produce(source: string | SourceLocation, changes?: Partial<ProducerSettings>, signal?: AbortSignal): Promise<Production>;
  /** Every spooled row in the order of the ledger: id, row, params text. */
  rows(): Promise<readonly { readonly id: string; readonly row: number; readonly params: string; readonly segment: string; readonly client: string }[]>;
  rejects(production: Production): Promise<readonly Record<string, unknown>[]>;
  close(): Promise<void>;
}

export const defaults: ProducerSettings['defaults'] = { topic: 'docs', priority: 'normal', client: 'etl', model: 'claude-haiku-4-5', maxTokens: 256 };

export async function openWorld(): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'producer-'));
  const store = await openFolderStore(join(folder, 'lake'), openedAtMs);
  const ledger = fakeLedger();
  const wakeUps: WakeUp[] = [];
  const queued: string[] = [];
  const wake: Wake = {
    wake: async (wakeUp) => void wakeUps.push(wakeUp),
    enqueueChunk: async (_segment, chunk) => void queued.push(chunk),
    close: async () => undefined,
  };
  const world: World = {
    folder,
    store,
    ledger,
    wakeUps,
    queued,
    settings: settingsIn(folder),
    write: async (name, content) => {
      const path = join(folder, name);
      await writeFile(path, content);
      return path;
    },
    produce: async (source, changes = {}, signal = new AbortController().signal) =>
      await produce({
        runKey: run,
        source: typeof source === 'string' ? { kind: 'file', path: source } : source,
        settings: { ...world.settings, ...changes },
        ledger: ledger.port,
        store,
        wake,
        installationId: 'test-installation',
        now: () => openedAtMs,
        signal,
      }),
    rows: async () => (await Promise.all(ledger.chunks.map(async ({ footer, spoolKey }) => await readRows(store, spoolKey, footer)))).flat(),
    rejects: async (production) => {
      if (production.rejectsKey === undefined) return [];
      const text = gunzipSync(await store.readWhole(production.rejectsKey)).toString('utf8');
      return text.trimEnd().split('\n').map((row) => JSON.parse(row) as Record<string, unknown>);
    },
    close: async () => await rm(folder, { recursive: true, force: true }),
  };
  return world;
}

export function settingsIn(folder: string): ProducerSettings {
  return {
    contextClasses: [
      { name: '8k', tokensMax: 8_000 },
      { name: '64k', tokensMax: 64_000 },
      { name: '200k', tokensMax: 200_000 },
      { name: '1m', tokensMax: 1_000_000 },
    ],
    chunkBytesMax: 8_000_000,
    chunkRowsMax: 10_000,
    openBytesMax: 64_000_000,
    lineBytesMax: 32_000_000,
    anthropicVersion: '2026-10-21',
    price: priceTable(),
    defaults,
    isStrict: false,
    badRowsMax: { kind: 'none' },
    scratchDirectory: join(folder, 'scratch'),
  };
}

async function readRows(store: Store, key: string, footer: ChunkFooter) {
  const whole = await store.readWhole(key);
  const indexAt = indexOffset(footer);
  const index = decodeIndex(whole.subarray(indexAt, indexAt + footer.indexBytes), footer.rows, footer.paramsBytes);
  const params = whole.subarray(0, indexAt).toString('utf8').split('\n');
  return index.map((row, at) => ({ id: row.id, row: row.row, params: params[at] ?? '', segment: footer.segment, client: footer.client }));
}

/** A line in Plimsoll's own shape. */
export function line(id: string, extra: Readonly<Record<string, unknown>> = {}, text = 'Say hello.'): string {
  return JSON.stringify({ id, ...extra, params: { model: 'claude-haiku-4-5', max_tokens: 64, messages: [{ role: 'user', content: text }] } });
}

/** Reads a file that a message has named. */
export async function readLines(path: string): Promise<readonly Record<string, unknown>[]> {
  return (await readFile(path, 'utf8')).trimEnd().split('\n').map((row) => JSON.parse(row) as Record<string, unknown>);
}
