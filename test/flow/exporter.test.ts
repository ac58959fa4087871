import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { exportArchive, gatherRun, type ExporterSettings } from '../../exporters/exporter.ts';
import { tailEvents } from '../../exporters/feed.ts';
import type { ArchiveManifest } from '../../exporters/manifest.ts';
import { archiveManifestKey, outcomeKey, rejectsKey, resultsKey, runCostKey, runManifestKey, runReportKey, runSuccessKey } from '../../segments/lake.ts';
import type { OutboxEvent, RunRecord } from '../../segments/ledger/ledger.ts';
import { decodeOutcome } from '../../segments/outcome.ts';
import { openFolderStore } from '../../segments/store/folder.ts';
import type { Store } from '../../segments/store/store.ts';
import { answeredModel, batch, errored, makeArchive, openedAtMs, putBytes, run, succeeded, type Fixture, type FixtureRow } from './exporter-fixture.ts';

const dt = '2026-11-21';
let folder: string;
let store: Store;
let settings: ExporterSettings;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plimsoll-export-'));
  store = await openFolderStore(join(folder, 'lake'), 0);
  settings = { partBytesMax: 128_000_000, gzipLevel: 1, scratchDirectory: join(folder, 'scratch') };
});

afterEach(async () => {
  // Whatever happened, nothing may be left on the scratch disk.
  expect(await readdir(settings.scratchDirectory).catch(() => [])).toEqual([]);
  await store.close();
  await rm(folder, { recursive: true });
});

const mixed: readonly FixtureRow[] = [
  { topic: 'invoices', result: succeeded('one', { stop_reason: 'max_tokens' }), metadata: { batch: 'a' } },
  { topic: 'invoices', result: errored('invalid_request_error', 'messages: roles must alternate'), fate: { reason: 'invalid_request', errorType: 'invalid_request_error' } },
  { topic: 'invoices', result: { type: 'expired' }, fate: 'retried' },
  { topic: 'contracts', result: succeeded('no', { stop_reason: 'refusal' }) },
  { topic: 'contracts', fate: { reason: 'result_missing', errorType: null } },
  { topic: 'invoices', result: succeeded('“six”') },
];

const exportIt = ({ outcome }: Fixture): Promise<ArchiveManifest> => exportArchive({ outcome, store, settings });

async function rowsOf(key: string): Promise<readonly Record<string, unknown>[]> {
  const text = gunzipSync(await store.readWhole(key)).toString('utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text.slice(0, -1).split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function everything(prefix: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for await (const { key } of store.list(prefix)) found.set(key, createHash('sha256').update(await store.readWhole(key)).digest('hex'));
  return found;
}

describe('the export of an archive', () => {
  it('writes each row once, in the order of the source, one topic per file', async () => {
    const fixture = await makeArchive(store, mixed);
    const manifest = await exportIt(fixture);
    const rows = await Promise.all(manifest.entries.map(async (entry) => {
      const key = entry.url.slice(store.uri.length + 1);
      const found = await rowsOf(key);
      expect(entry).toMatchObject({ mandatory: true, meta: { content_length: (await store.head(key))?.sizeBytes, record_count: found.length } });
      expect(entry.sha256).toBe(createHash('sha256').update(await store.readWhole(key)).digest('hex'));
      return [key.replace(/[^/]*$/, ''), found.map((row) => [row['source_row'], row['status'], row['text'], row['reason']])];
    }));
    expect(rows).toEqual([
      ['results/dt=2026-11-21/topic=contracts/', [[4, 'succeeded', 'no', null]]],
      ['results/dt=2026-11-21/topic=invoices/', [[1, 'succeeded', 'one', null], [6, 'succeeded', '“six”', null]]],
      ['errors/dt=2026-11-21/topic=contracts/', [[5, 'dead_lettered', null, 'result_missing']]],
      ['errors/dt=2026-11-21/topic=invoices/', [[2, 'dead_lettered', null, 'invalid_request']]],
    ]);
  });

  it('carries the id, the metadata and the verbatim result of each prompt', async () => {
    const fixture = await makeArchive(store, mixed);
    await exportIt(fixture);
    const [row] = await rowsOf(resultsKey(dt, 'invoices', run, fixture.outcome.archive, 0));
    expect(row).toMatchObject({ id: 'invoice-1 “n°”', metadata: { batch: 'a' }, request_sha256: fixture.rows[0]?.sha, result: mixed[0]?.result, ended_at: '2026-11-21T02:00:00.000Z' });
  });

  it('commits with a manifest whose counts, usage and costs are the ledger’s', async () => {
    const fixture = await makeArchive(store, mixed);
    const manifest = await exportIt(fixture);
    const committed = await store.readWhole(archiveManifestKey(dt, run, fixture.outcome.archive));
    expect(committed.toString('utf8')).toBe(`${JSON.stringify(manifest)}\n`);
    expect(manifest).toMatchObject({
      batch_id: batch, counts: { rows: 6, succeeded: 3, retried: 1, dead_lettered: 2, truncated: 1, refused: 1 },
      usage: { input_tokens: 48, output_tokens: 15 }, micro_usd: 63, standard_micro_usd: 123, reasons: { invalid_request: 1, result_missing: 1 },
    });
    expect(manifest.topics.map((topic) => [topic.topic, topic.succeeded, topic.micro_usd])).toEqual([['contracts', 1, 21], ['invoices', 2, 42]]);
    expect(manifest.costs.reduce((sum, line) => sum + line.micro_usd, 0)).toBe(63);
  });

  it('gives each row its exact cost, and the manifest the sum of each chunk, rounded up once', async () => {
    const fixture = await makeArchive(store, [1, 2, 3].map((each) => ({ topic: 'invoices', result: succeeded(String(each)) })));
    const manifest = await exportIt(fixture);
    const rows = await rowsOf(resultsKey(dt, 'invoices', run, fixture.outcome.archive, 0));
    expect(rows.map((row) => row['cost_usd_estimated'])).toEqual([0.0000205, 0.0000205, 0.0000205]);
    expect([manifest.micro_usd, manifest.costs.map((line) => line.micro_usd)]).toEqual([62, [24, 38]]);
  });

  it('exports an outcome of before rows were exact as it was exported then', async () => {
    const fixture = await makeArchive(store, [1, 2, 3].map((each) => ({ topic: 'invoices', result: succeeded(String(each)) })), { isOfBefore: true });
    expect(fixture.outcome.rounding).toBeUndefined();
    const manifest = await exportIt(fixture);
    const key = resultsKey(dt, 'invoices', run, fixture.outcome.archive, 0);
    expect(gunzipSync(await store.readWhole(key)).toString('utf8').match(/"cost_usd_estimated":[^,]*/g)).toEqual(Array.from({ length: 3 }, () => '"cost_usd_estimated":0.000021'));
    expect([manifest.micro_usd, manifest.costs.map((line) => line.micro_usd)]).toEqual([63, [25, 38]]);
  });

  it('leaves the same bytes when it runs again, here or after a crash before the manifest', async () => {
    const fixture = await makeArchive(store, mixed);
    const first = await exportIt(fixture);
    const before = await everything('');
    const manifestPath = join(folder, 'lake', archiveManifestKey(dt, run, fixture.outcome.archive));
    await rm(manifestPath);
    const inode = (await stat(join(folder, 'lake', resultsKey(dt, 'invoices', run, fixture.outcome.archive, 0)))).ino;
    expect(await exportIt(fixture)).toEqual(first);
    expect(await exportIt(fixture)).toEqual(first);
    expect(await everything('')).toEqual(before);
    expect((await stat(join(folder, 'lake', resultsKey(dt, 'invoices', run, fixture.outcome.archive, 0)))).ino).toBe(inode);
  });

  it('begins a new part before a row that would make the last one too large', async () => {
    const fixture = await makeArchive(store, Array.from({ length: 40 }, (_, place) => ({ topic: 'invoices', result: succeeded(`${place} `.repeat(100)) })));
    settings = { ...settings, partBytesMax: 10_000 };
    const manifest = await exportIt(fixture);
    expect(manifest.entries.length).toBeGreaterThan(2);
    const rows: Record<string, unknown>[] = [];
    for (const [part] of manifest.entries.entries()) {
      const key = resultsKey(dt, 'invoices', run, fixture.outcome.archive, part);
      expect(gunzipSync(await store.readWhole(key)).length).toBeLessThanOrEqual(10_000);
      rows.push(...(await rowsOf(key)));
    }
    expect(rows.map((row) => row['source_row'])).toEqual(Array.from({ length: 40 }, (_, place) => place + 1));
  });

  it('writes a row that is larger than a part as a part of its own', async () => {
    const fixture = await makeArchive(store, ['a', 'b'.repeat(3_000_000), 'c'].map((text) => ({ topic: 'invoices', result: succeeded(text) })));
    settings = { ...settings, partBytesMax: 2_000_000 };
    const manifest = await exportIt(fixture);
    expect(manifest.entries.map((entry) => entry.meta.record_count)).toEqual([1, 1, 1]);
  });

  it('keeps a file that holds the same rows in another compression', async () => {
    const fixture = await makeArchive(store, mixed);
    const probe = await exportIt(fixture);
    const key = resultsKey(dt, 'invoices', run, fixture.outcome.archive, 0);
    const path = join(folder, 'lake', key);
    const other = gzipSync(gunzipSync(await readFile(path)), { level: 9 });
    await rm(path);
    await writeFile(path, other);
    await rm(join(folder, 'lake', archiveManifestKey(dt, run, fixture.outcome.archive)));
    const manifest = await exportIt(fixture);
    const entry = manifest.entries.find((found) => found.url.endsWith(key));
    expect(entry).toMatchObject({ sha256: createHash('sha256').update(other).digest('hex'), meta: { content_length: other.length } });
    expect(entry?.sha256).not.toBe(probe.entries.find((found) => found.url.endsWith(key))?.sha256);
  });

  it.each([['other rows', gzipSync('{"id":"someone else"}\n')], ['something that is not gzip', Buffer.from('hello')]])('never replaces a file that holds %s', async (_, content) => {
    const fixture = await makeArchive(store, mixed);
    await putBytes(store, resultsKey(dt, 'invoices', run, fixture.outcome.archive, 0), content);
    await expect(exportIt(fixture)).rejects.toMatchObject({ code: 'lake_conflict' });
    expect(await store.head(archiveManifestKey(dt, run, fixture.outcome.archive))).toBeUndefined();
  });

  it('fails with a part that cannot enter the lake, although the next one had begun (F4)', async () => {
    const fixture = await makeArchive(store, Array.from({ length: 6 }, (_, n) => ({ topic: 'invoices', result: succeeded(`answer ${n} `.repeat(2_000)) })));
    settings = { ...settings, partBytesMax: 100_000 };
    await putBytes(store, resultsKey(dt, 'invoices', run, fixture.outcome.archive, 1), gzipSync('{"id":"someone else"}\n'));
    await expect(exportIt(fixture)).rejects.toMatchObject({ code: 'lake_conflict' });
    expect(await store.head(archiveManifestKey(dt, run, fixture.outcome.archive))).toBeUndefined();
  });

  it('refuses results that are not the ones that were settled', async () => {
    const fixture = await makeArchive(store, mixed);
    await expect(exportArchive({ outcome: { ...fixture.outcome, resultsSha256: '00' }, store, settings })).rejects.toMatchObject({ code: 'lake_conflict' });
  });

  it('refuses to call a row succeeded that has no answer', async () => {
    const { outcome } = await makeArchive(store, mixed);
    const forged = { ...outcome, dead: outcome.dead.filter((row) => row.reason !== 'result_missing') };
    await expect(exportArchive({ outcome: forged, store, settings })).rejects.toMatchObject({ code: 'ledger_corrupt' });
  });

  it('finds its answers among lines that are spaced, repeated, foreign, broken or meant for another prompt', async () => {
    const rows = ['a', 'b', 'c'].map((text) => ({ topic: 'invoices', result: succeeded(text) }));
    const disturb = (lines: readonly string[]): string => {
      const [, idOfFirst] = /"custom_id":"([^"]*)"/.exec(lines.find((line) => line.includes('"text":"a"')) ?? '') ?? [];
      const forged = `${String(idOfFirst).slice(0, -7)}zzzzzzz`;
      const stray = [`{"custom_id":"${forged}","result":${JSON.stringify(succeeded('forged'))}}`, `{"custom_id":"${idOfFirst}",`, '{"custom_id":"doc-1","result":{"type":"expired"}}', ''];
      const spaced = lines.map((line) => line.replace('{"custom_id":', ' { "result":{"type":"expired"}, "custom_id" : '));
      return `${[...stray, ...spaced, ...lines].join('\r\n')}\r\n{"custom_id":"`;
    };
    const fixture = await makeArchive(store, rows, { disturb });
    const [entry] = (await exportIt(fixture)).entries;
    const found = await rowsOf(String(entry?.url.slice(store.uri.length + 1)));
    expect(found.map((row) => row['text'])).toEqual(['a', 'b', 'c']);
  });

  it('exports the row of a line that the provider garbled as the dead letter that was settled', async () => {
    const rows: readonly FixtureRow[] = [
      { topic: 'invoices', result: succeeded('one'), fate: { reason: 'result_conflict', errorType: null } },
      { topic: 'invoices', result: succeeded('two'), fate: { reason: 'result_missing', errorType: null } },
    ];
    const fixture = await makeArchive(store, rows, { disturb: (lines) => `${lines.join('\n').replace('"two"', '"two')}\n` });
    const [entry] = (await exportIt(fixture)).entries;
    const found = await rowsOf(String(entry?.url.slice(store.uri.length + 1)));
    expect(found.map((row) => [row['reason'], row['result']])).toEqual([['result_conflict', null], ['result_missing', null]]);
  });

  it('exports an archive that no batch ever took as dead letters alone', async () => {
    const fixture = await makeArchive(store, [{ topic: 'invoices', fate: { reason: 'too_large', errorType: 'status_413' } }], { isRejected: true });
    const manifest = await exportIt(fixture);
    expect(manifest).toMatchObject({ batch_id: null, submitted_at: null, counts: { succeeded: 0, dead_lettered: 1 }, entries: [{ kind: 'errors' }] });
  });
});

describe('an outcome document', () => {
  it('is read back as it was written, and refused when its rows do not add up', async () => {
    const { outcome } = await makeArchive(store, mixed);
    expect(decodeOutcome(await store.readWhole(outcomeKey(run, outcome.archive)))).toEqual(outcome);
    for (const broken of [{ rows: 7 }, { dead: [] }, { retried: [[0, 5]] }, { v: 2 }, { chunks: outcome.chunks.slice(1) }]) {
      const bytes = Buffer.from(JSON.stringify({ ...outcome, ...broken }));
      expect(() => decodeOutcome(bytes)).toThrow(expect.objectContaining({ code: 'ledger_corrupt' }));
    }
  });
});

describe('the gathering of a run', () => {
  const record: RunRecord = {
    run, state: 'open', tag: '7f3a91c2ab', dt, openedAtMs, completedAtMs: openedAtMs + 7_200_000, source: 'in.jsonl', cutSha256: 'c0', checkpoint: { bytes: 9, rows: 8, sha256: 'ab' },
    accepted: 6, rejected: 2, succeeded: 4, deadLettered: 2, notSampled: 0, retried: 1, chunks: 4, chunksOpen: 0, chunksHeld: 0, rowsQueued: 0, rowsHeld: 0, archivesInDoubt: 0, batches: 2,
    usage: { inputTokens: 0, outputTokens: 0, cacheReadInputTokens: 0, cacheWriteInputTokens: 0, cacheWrite1hInputTokens: 0 }, microUsd: 84, standardMicroUsd: 164, result: undefined,
  };
  const again: readonly FixtureRow[] = [{ topic: 'invoices', result: succeeded('three') }];

  async function twoArchives(): Promise<readonly Fixture[]> {
    const fixtures = [await makeArchive(store, mixed), await makeArchive(store, again, { ordinal: 2, firstRow: 3 })];
    for (const fixture of fixtures) await exportIt(fixture);
    return fixtures;
  }

  const putRejects = (): Promise<string> => putBytes(store, rejectsKey(dt, run), gzipSync('{"line":7}\n{"line":8}\n'));
  const gather = (fixtures: readonly Fixture[], over: Partial<RunRecord> = {}): ReturnType<typeof gatherRun> =>
    gatherRun({ run: { ...record, ...over }, archives: fixtures.map(({ outcome }) => outcome.archive), store, completedAtMs: openedAtMs + 7_200_000 });
  const documentOf = async (key: string): Promise<unknown> => JSON.parse((await store.readWhole(key)).toString('utf8'));

  it('accounts for every row and writes _SUCCESS last', async () => {
    const fixtures = await twoArchives();
    await putRejects();
    const put = vi.spyOn(store, 'put');
    const report = await gather(fixtures);
    const order = put.mock.calls.map(([key]) => key);
    expect(order).toEqual([runManifestKey(dt, run), runReportKey(dt, run), runCostKey(dt, run), runSuccessKey(dt, run)]);
    expect(report).toMatchObject({
      status: 'partial', counts: { accepted: 6, rejected: 2, succeeded: 4, dead_lettered: 2, retried: 1, truncated: 1, refused: 1 },
      cost_usd_estimated: 0.000084, standard_cost_usd_estimated: 0.000164, saved_usd_estimated: 0.00008, completed_at: '2026-11-21T03:00:00.000Z', files: { results: 3, errors: 3 },
    });
    expect(report.topics.map((topic) => [topic.topic, topic.succeeded])).toEqual([['contracts', 1], ['invoices', 3]]);
    expect(await documentOf(runReportKey(dt, run))).toEqual(report);
    expect(await documentOf(runSuccessKey(dt, run))).toEqual({ run_key: run, status: 'partial', files: 6, rows: 8, succeeded: 4, dead_lettered: 2, not_sampled: 0, rejected: 2, cost_usd_estimated: 0.000084, manifest: report.manifest });
    expect(await documentOf(runManifestKey(dt, run))).toMatchObject({ schema_version: 1, entries: expect.arrayContaining([expect.objectContaining({ topic: 'rejected', kind: 'errors', meta: expect.objectContaining({ record_count: 2 }) })]) });
  });

  it('adds the cost lines of all archives up to the cost of the run', async () => {
    const fixtures = await twoArchives();
    await putRejects();
    await gather(fixtures);
    const [, ...lines] = (await store.readWhole(runCostKey(dt, run))).toString('utf8').trimEnd().split('\n');
    expect(lines.reduce((sum, line) => sum + Number(line.split(',')[6]), 0)).toBe(84);
    expect(lines).toContain(`${run},${dt},contracts,${answeredModel},output,5,13,0.000013,2026-11-21`);
  });

  it('writes the same bytes when it runs again', async () => {
    const fixtures = await twoArchives();
    await putRejects();
    const report = await gather(fixtures);
    const before = await everything('runs/');
    expect(await gather([...fixtures].reverse())).toEqual(report);
    expect(await everything('runs/')).toEqual(before);
  });

  it('calls a run succeeded when nothing was rejected and nothing died', async () => {
    const fixture = await makeArchive(store, again);
    await exportIt(fixture);
    expect(await gather([fixture], { accepted: 1, rejected: 0 })).toMatchObject({ status: 'succeeded', files: { results: 1, errors: 0 } });
  });

  it.each([['a row is missing', { accepted: 7 }], ['a row is one too many', { accepted: 5 }], ['a reject is missing', { rejected: 3 }]])('refuses to close a run when %s', async (_, over) => {
    const fixtures = await twoArchives();
    await putRejects();
    await expect(gather(fixtures, over)).rejects.toMatchObject({ code: 'rows_unaccounted' });
    expect(await store.head(runSuccessKey(dt, run))).toBeUndefined();
  });

  it('refuses to close a run when an archive is not committed', async () => {
    const fixture = await makeArchive(store, again);
    await expect(gather([fixture])).rejects.toMatchObject({ code: 'lake_missing' });
  });
});

describe('the feed of events', () => {
  it('yields the outbox in order, then what comes while it waits, until the wait ends', async () => {
    const outbox: OutboxEvent[] = [];
    const add = (sequence: number): void => void outbox.push({ sequence, id: `e${sequence}`, type: 'batch.exported', subject: 'a', timeMs: openedAtMs, data: {} });
    for (const sequence of [1, 2, 3]) add(sequence);
    let waits = 0;
    const wait = async (): Promise<boolean> => {
      waits++;
      if (waits === 1) add(4);
      return waits < 3;
    };
    const ledger = { readEvents: async (after: number, limit: number) => outbox.filter((event) => event.sequence > after).slice(0, Math.min(limit, 2)) };
    const seen: string[] = [];
    for await (const event of tailEvents({ ledger, tag: 'prod', afterSequence: 1, wait })) seen.push(event.id);
    expect(seen).toEqual(['e2', 'e3', 'e4']);
    const once: string[] = [];
    for await (const event of tailEvents({ ledger, tag: 'prod', afterSequence: 3 })) once.push(event.id);
    expect(once).toEqual(['e4']);
  });
});
