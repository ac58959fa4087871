/** The exporter on a bucket, ended between any two of its writes: the next one completes what it finds. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeAudit } from '../../exporters/audit.ts';
import { exportArchive, gatherRun } from '../../exporters/exporter.ts';
import { sealedKey } from '../../segments/lake.ts';
import type { RunRecord } from '../../segments/ledger/ledger.ts';
import { noUsage } from '../../segments/segment.ts';
import { putDocument } from '../../segments/store/document.ts';
import { openS3Store } from '../../segments/store/s3.ts';
import type { Store } from '../../segments/store/store.ts';
import { archiveBody } from '../../workers/body.ts';
import { isMotoThere, startMoto, type Moto } from '../moto.ts';
import { errored, makeArchive, openedAtMs, run, succeeded, type Fixture } from './exporter-fixture.ts';

class Killed extends Error {}

/** A store before whose `step`th write, counted from 0, everything ends. */
function killedAt(store: Store, step: number): { readonly store: Store; writes: () => number } {
  let writes = 0;
  const write = async (act: () => Promise<'created' | 'same'>): Promise<'created' | 'same'> => {
    if (writes === step) throw new Killed();
    writes += 1;
    return await act();
  };
  return {
    writes: () => writes,
    store: {
      uri: store.uri,
      put: async (key, content) => await write(async () => await store.put(key, content)),
      putFile: async (key, path, content) => await write(async () => await store.putFile(key, path, content)),
      read: (key, range) => store.read(key, range),
      readWhole: async (key, range) => await store.readWhole(key, range),
      head: async (key) => await store.head(key),
      list: (prefix) => store.list(prefix),
      close: async () => undefined,
    },
  };
}

describe.skipIf(!isMotoThere)('the exporter on a bucket', () => {
  let moto: Moto;
  let scratch: string;
  beforeAll(async () => {
    moto = await startMoto();
    scratch = await mkdtemp(join(tmpdir(), 'plimsoll-scratch-'));
  });
  afterAll(async () => {
    await moto.stop();
    await rm(scratch, { recursive: true, force: true });
  });

  /** A bucket with an archive that is settled and not exported. */
  async function settled(): Promise<{ readonly store: Store; readonly fixture: Fixture }> {
    const store = await openS3Store({ uri: `s3://${await moto.bucket()}/lake`, settings: moto.settings(), scratchDirectory: scratch, nowMs: Date.now() });
    const fixture = await makeArchive(store, [
      ...Array.from({ length: 6 }, (_, index) => ({ topic: index < 3 ? 'invoices' : 'mails', result: succeeded(`answer ${index}`) })),
      { topic: 'mails', result: errored('invalid_request_error', 'no'), fate: { reason: 'invalid_request', errorType: 'invalid_request_error' } as const },
    ]);
    const { outcome } = fixture;
    const hash = createHash('sha256');
    let bodyBytes = 0;
    for await (const block of archiveBody(store, outcome.archive, outcome.chunks)) {
      hash.update(block);
      bodyBytes += block.length;
    }
    const chunks = outcome.chunks.map((chunk) => ({ ...chunk, tokensMax: 1, microUsdMax: 1 }));
    await putDocument(store, sealedKey(run, outcome.archive), { v: 1, archive: outcome.archive, run, dt: outcome.dt, priority: 'normal', rows: outcome.rows, bodyBytes, bodySha256: hash.digest('hex'), chunks });
    return { store, fixture };
  }

  async function exportAll(store: Store, { outcome }: Fixture): Promise<void> {
    await exportArchive({ outcome, store, settings: { partBytesMax: 1_000_000, gzipLevel: 1, scratchDirectory: scratch } });
    await writeAudit({ outcome, store, scratchDirectory: scratch });
    const record: RunRecord = {
      run, state: 'open', tag: '7f3a91c2ab', dt: '2026-11-21', openedAtMs, completedAtMs: openedAtMs, source: 'in.jsonl', cutSha256: 'c', checkpoint: { bytes: 1, rows: 7, sha256: 's' },
      accepted: 7, rejected: 0, succeeded: 6, deadLettered: 1, notSampled: 0, retried: 0, chunks: 2, chunksOpen: 0, chunksHeld: 0, rowsQueued: 0, rowsHeld: 0, archivesInDoubt: 0, batches: 1,
      usage: noUsage, microUsd: 0, standardMicroUsd: 0, result: undefined,
    };
    const sums = outcome.chunks.reduce((sum, chunk) => ({ microUsd: sum.microUsd + chunk.microUsd, standardMicroUsd: sum.standardMicroUsd + chunk.standardMicroUsd }), { microUsd: 0, standardMicroUsd: 0 });
    await gatherRun({ run: { ...record, ...sums }, archives: [outcome.archive], store, completedAtMs: openedAtMs + 1 });
  }

  /** What consumers see: key and digest of every object that is not private. */
  async function published(store: Store): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    for (const folder of ['results/', 'errors/', 'runs/', 'audit/']) {
      // Manifests name their bucket.
      for await (const { key } of store.list(folder)) found.set(key, createHash('sha256').update((await store.readWhole(key)).toString('latin1').replaceAll(store.uri, 'lake')).digest('hex'));
    }
    return found;
  }

  it('ends the same wherever it was killed, and _SUCCESS is never there before the rest', async () => {
    const whole = await settled();
    const counting = killedAt(whole.store, Infinity);
    await exportAll(counting.store, whole.fixture);
    const expected = await published(whole.store);
    const steps = counting.writes();
    expect(steps).toBe(9);
    await Promise.all(Array.from({ length: steps }, async (_, step) => {
      const { store, fixture } = await settled();
      await expect(exportAll(killedAt(store, step).store, fixture)).rejects.toThrow(Killed);
      const left = await published(store);
      expect([...left.keys()].some((key) => key.endsWith('_SUCCESS'))).toBe(false);
      await exportAll(store, fixture);
      const audit = [...expected.keys()].filter((key) => key.startsWith('audit/'));
      const comparable = (objects: ReadonlyMap<string, string>) => new Map([...objects].filter(([key]) => !audit.includes(key)));
      expect([...(await published(store)).keys()]).toEqual([...expected.keys()]);
      expect(comparable(await published(store))).toEqual(comparable(expected));
      await store.close();
    }));
    expect(await readdir(scratch)).toEqual([]);
    await whole.store.close();
  }, 90_000);
});
