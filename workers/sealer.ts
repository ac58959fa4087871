/**
 * The sealer: fixes an archive. It makes the body once to learn its digest, writes the manifest into the journal, and
 * puts the archive in line for the submitter. The body itself is not kept: it is a function of the manifest (body.ts).
 *
 * Invariants
 *   E1  The size that the ledger's counters promise is the size of the bytes; a difference stops the archive here.
 *   E2  The manifest is durable in the lake before the ledger says `sealed`.
 */
import { invariant, PlimsollError } from '../segments/errors.ts';
import { sealedKey } from '../segments/lake.ts';
import type { LedgerGuard } from '../segments/ledger/guard.ts';
import type { ArchiveRecord, ChunkRecord, Ledger } from '../segments/ledger/ledger.ts';
import { bodyBytes } from '../segments/pack.ts';
import type { ArchiveId } from '../segments/segment.ts';
import type { SealedArchive, SealedChunkRange } from '../segments/journal.ts';
import { done, type Log, type Now, type StageHandler } from '../segments/stage.ts';
import { putDocument } from '../segments/store/document.ts';
import type { Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';
import { digestBody } from './body.ts';
import type { SealedBody } from './body-digest.ts';

export type { SealedArchive, SealedChunkRange } from '../segments/journal.ts';

export interface SealerDependencies {
  readonly ledger: Ledger;
  readonly store: Store;
  readonly wake: Wake;
  /** How long an open archive waits for more; undefined: it is closed whenever it is handled. */
  readonly lingerMs?: number;
  /** Told when the lake has sealed the same archive otherwise: then the ledger was set back. */
  readonly guard?: LedgerGuard;
  readonly now: Now;
  readonly log: Log;
}

/** Makes the sealer's stage; its entities are archives that are closed or whose linger is over. */
export function makeSealer(dependencies: SealerDependencies): StageHandler {
  const { ledger, wake, now, log } = dependencies;
  return {
    stage: 'seal',
    concurrency: 1,
    isClaimed: true,
    async handle(entity) {
      const id = entity as ArchiveId;
      const found = await ledger.readArchive(id);
      if (!found || found.state !== 'open') return done;
      if (found.closing === undefined) {
        const waitUntilMs = await patience(dependencies, found);
        if (waitUntilMs > now()) return { kind: 'later', atMs: waitUntilMs, why: 'ingesting' };
        await ledger.closeArchive(id, 'linger', now());
      }
      // Read again: nothing goes in any more, so this is the final list.
      const archive = await ledger.readArchive(id);
      if (!archive || archive.state !== 'open' || archive.closing === undefined) return done;
      const body = await sealBody(dependencies, archive);
      const isSealed = await ledger.sealArchive({ archive: id, bodyBytes: body.sizeBytes, bodyGmac: body.gmac, bodySha256: body.sha256, nowMs: now() });
      if (!isSealed) return done;
      log({ level: 'info', event: 'archive.sealed', subject: id, detail: { rows: archive.rows, bytes: body.sizeBytes, reason: archive.closing } });
      await wake.wake({ stage: 'submit', entity: 'next', epoch: now() });
      return done;
    },
  };
}

/** So many lingers an archive waits at most, however busily its run is read. */
const lingersMax = 10;

/**
 * Until when an archive that is not full goes on waiting. While its source is being read, more of its segment may come:
 * with many segments open, sealing each after one linger would make many times the batches. A source that pauses for a
 * linger, or an archive that has waited for ten, is not waited for.
 */
async function patience({ ledger, lingerMs }: SealerDependencies, archive: ArchiveRecord): Promise<number> {
  if (lingerMs === undefined) return 0;
  const run = await ledger.readRun(archive.run);
  if (run?.state !== 'ingesting') return 0;
  return Math.min((run.lastChunkAtMs ?? 0) + lingerMs, archive.openedAtMs + lingersMax * lingerMs);
}

/** Makes the body once and journals the manifest. The GMAC is no part of it: nothing but the next upload needs it. */
async function sealBody(dependencies: SealerDependencies, archive: ArchiveRecord): Promise<SealedBody> {
  const { ledger, store } = dependencies;
  const chunks = rangesOf(await ledger.readChunks(await ledger.readArchiveChunks(archive.archive)));
  const promisedBytes = bodyBytes(archive.rows, archive.paramsBytes);
  const body = await digestBody(store, archive.archive, chunks, promisedBytes);
  invariant(body.sizeBytes === promisedBytes, `E1: ${archive.archive} has ${body.sizeBytes} bytes, its counters promise ${promisedBytes}`);
  const sealed: SealedArchive = {
    v: 1,
    archive: archive.archive,
    run: archive.run,
    dt: archive.dt,
    priority: archive.priority,
    rows: archive.rows,
    bodyBytes: body.sizeBytes,
    bodySha256: body.sha256,
    chunks,
  };
  const key = sealedKey(archive.run, archive.archive);
  await putDocument(store, key, sealed).catch(async (error: unknown) => {
    const isForgotten = error instanceof PlimsollError && error.code === 'lake_conflict' && dependencies.guard !== undefined;
    throw isForgotten ? await dependencies.guard.condemn('an archive was sealed that the lake has known before', key) : error;
  });
  return body;
}

/** The chunks of an archive with the index of their first row; the order is the order of admission. */
export function rangesOf(chunks: readonly ChunkRecord[]): readonly SealedChunkRange[] {
  let firstIndex = 0;
  return chunks.map((chunk) => {
    const range: SealedChunkRange = {
      chunk: chunk.chunk,
      segment: chunk.segment,
      client: chunk.client,
      attempt: chunk.attempt,
      spoolKey: chunk.spoolKey,
      spoolRows: chunk.spoolRows,
      spoolParamsBytes: chunk.spoolParamsBytes,
      spoolIndexBytes: chunk.spoolIndexBytes,
      from: chunk.from,
      to: chunk.to,
      firstIndex,
      tokensMax: chunk.tokensMax,
      microUsdMax: chunk.microUsdMax,
      ...(chunk.accounts === undefined ? {} : { accounts: chunk.accounts }),
      ...(chunk.estimated === undefined ? {} : { estimated: chunk.estimated }),
    };
    firstIndex += chunk.rows;
    return range;
  });
}
