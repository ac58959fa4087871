/** One archive whose batch has ended, with a ledger that knows only this archive: its last two stages, as they are. */
import { pressFor } from '../../../exporters/press.ts';
import { makeExporter } from '../../../exporters/stages.ts';
import { priceTable } from '../../../config/models.ts';
import { outcomeKey } from '../../../segments/lake.ts';
import type { ArchiveRecord, ChunkRecord, Ledger, RunRecord } from '../../../segments/ledger/ledger.ts';
import { decodeOutcome, type ArchiveOutcome } from '../../../segments/outcome.ts';
import type { ArchiveId, BatchId } from '../../../segments/segment.ts';
import { SettledResults } from '../../../segments/settled-results.ts';
import type { Store } from '../../../segments/store/store.ts';
import type { BatchSearch, Claude } from '../../../workers/claude.ts';
import { makeSettler } from '../../../workers/settler.ts';
import type { Prepared } from './prepare.ts';

export interface EndedArchive {
  readonly store: Store;
  readonly scratch: string;
  readonly claude: Claude & Pick<BatchSearch, 'firstResult'>;
  readonly batch: BatchId;
  readonly prepared: Prepared;
}

export interface LastStages {
  settle(): Promise<void>;
  export(): Promise<void>;
  /** The outcome that settling wrote down. @throws Error when a row has no answer */
  outcome(): Promise<ArchiveOutcome>;
}

export function endedArchive({ store, scratch, claude, batch, prepared }: EndedArchive): LastStages {
  const { run, rows, ranges } = prepared;
  const id = prepared.archive as ArchiveId;
  const prices = priceTable();
  const archive = { archive: id, run, dt: '2026-11-21', state: 'ended', priority: 'normal', rows, batch, account: claude.account, acceptedAtMs: 1, endedAtMs: 2 } as unknown as ArchiveRecord;
  const chunks = ranges.map((range) => ({ ...range, rows: range.to - range.from + 1, run })) as unknown as readonly ChunkRecord[];
  const runRecord = { run, dt: '2026-11-21', source: 'bench.jsonl', openedAtMs: 1, cutSha256: '' } as unknown as RunRecord;
  let state = 'ended';
  const known: Record<string, unknown> = {
    readArchive: async () => ({ ...archive, state }),
    readArchiveChunks: async () => chunks.map((chunk) => chunk.chunk),
    readChunks: async () => chunks,
    readRun: async () => runRecord,
    readIntent: async () => undefined,
    settle: async () => ({ isSettled: true, queued: [] }),
    resumeHeld: async () => [],
    exportArchive: async () => ({ isRunDone: false }),
  };
  const ledger = new Proxy({}, { get: (_target, name) => known[String(name)] ?? (async () => undefined) }) as Ledger;
  const wake = { wake: async () => undefined, enqueueChunk: async () => undefined, close: async () => undefined };
  const shared = { ledger, store, wake, now: () => Date.now(), log: () => undefined, settled: new SettledResults(pressFor) };
  const priceOf = (name: string) => prices.find(name);
  const settler = makeSettler({ ...shared, claude, attemptsMax: 3, accountRoundsMax: 6, accountRestMs: 60_000, onAccountFault: () => undefined, chunkBytesMax: 8_000_000, chunkRowsMax: 2_500, priceOf, priceVersion: prices.version, scratchDirectory: scratch });
  const exporter = makeExporter({ ...shared, settings: { partBytesMax: 128_000_000, gzipLevel: 1, scratchDirectory: scratch } });
  const { signal } = new AbortController();
  return {
    settle: async () => void (await settler.handle(id, signal)),
    async export() {
      state = 'settled';
      await exporter.handle(id, signal);
    },
    async outcome() {
      const outcome = decodeOutcome(await store.readWhole(outcomeKey(archive.run, id)));
      const succeeded = outcome.chunks.reduce((sum, chunk) => sum + chunk.succeeded, 0);
      if (succeeded !== rows) throw new Error(`${succeeded} of ${rows} rows have an answer`);
      return outcome;
    },
  };
}
