/**
 * Writes the rows that go round again as new chunks: the only way back. A row keeps its own bytes and its own index
 * line; only the attempt counts up, or, where the account was at fault and not the row, the round. The chunks are a function of the outcome, so a rerun meets equal objects.
 */
import { ChunkWriter, type ChunkFooter } from '../segments/chunk.ts';
import { spoolKey } from '../segments/lake.ts';
import type { ArchiveRecord, RunRecord } from '../segments/ledger/ledger.ts';
import { retryChunkId, roundOf, type ChunkId } from '../segments/segment.ts';
import { readSpoolParams, readSpoolRows } from '../segments/store/spool.ts';
import type { Store } from '../segments/store/store.ts';
import type { SealedChunkRange } from './sealer.ts';

export interface RetryRequest {
  readonly store: Store;
  readonly archive: ArchiveRecord;
  readonly run: RunRecord;
  readonly ranges: readonly SealedChunkRange[];
  /** Archive indexes, ascending. */
  readonly retried: readonly number[];
  /** Those of `retried` that keep their attempt. */
  readonly rested: ReadonlySet<number>;
  readonly chunkBytesMax: number;
  readonly chunkRowsMax: number;
}

/** Spools the retried rows, one chunk per segment, client, attempt and round, more where they would be too large. */
export async function writeRetries(request: RetryRequest): Promise<readonly { readonly footer: ChunkFooter; readonly spoolKey: string }[]> {
  const { store, archive, run, ranges } = request;
  const isRetried = new Set(request.retried);
  const written: { footer: ChunkFooter; spoolKey: string }[] = [];
  const open = new Map<string, { readonly writer: ChunkWriter; readonly base: ChunkId }>();
  const parts = new Map<string, number>();

  const seal = async ({ writer, base }: { readonly writer: ChunkWriter; readonly base: ChunkId }): Promise<void> => {
    const part = parts.get(base) ?? 0;
    parts.set(base, part + 1);
    const chunk = `${base}.p${part}` as ChunkId;
    const sealed = writer.seal(chunk);
    const key = spoolKey(run.run, chunk);
    await store.put(key, sealed);
    written.push({ footer: sealed.footer, spoolKey: key });
  };

  for (const range of ranges) {
    const size = range.to - range.from + 1;
    if (!request.retried.some((index) => index >= range.firstIndex && index < range.firstIndex + size)) continue;
    const spooled = await readSpoolRows(store, range);
    let index = range.firstIndex;
    for await (const params of readSpoolParams(store, range, spooled)) {
      const row = spooled.rows[index - range.firstIndex];
      if (row && isRetried.has(index)) {
        const isRested = request.rested.has(index);
        const attempt = range.attempt + (isRested ? 0 : 1);
        const base = retryChunkId(archive.archive, range.segment, attempt, roundOf(range.chunk) + (isRested ? 1 : 0));
        const name = `${base}|${range.client}`;
        let entry = open.get(name);
        if (entry && (entry.writer.rows >= request.chunkRowsMax || entry.writer.paramsBytes + params.length > request.chunkBytesMax)) {
          await seal(entry);
          entry = undefined;
        }
        entry ??= { writer: new ChunkWriter({ run: run.run, segment: range.segment, client: range.client, attempt, source: run.source }), base };
        open.set(name, entry);
        entry.writer.addRow(params, row);
      }
      index += 1;
    }
  }
  for (const entry of open.values()) await seal(entry);
  return written;
}
