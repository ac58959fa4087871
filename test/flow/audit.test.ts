/** The audit archive: what was asked and answered, in a zip that others can read and that proves itself. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ZipArchive } from 'archiver';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { proveAudit } from '../../exporters/audit-proof.ts';
import { isAudited, writeAudit } from '../../exporters/audit.ts';
import { exportArchive } from '../../exporters/exporter.ts';
import { auditKey, sealedKey } from '../../segments/lake.ts';
import type { Ledger } from '../../segments/ledger/ledger.ts';
import { bodyHead, bodyTail } from '../../segments/pack.ts';
import { putDocument } from '../../segments/store/document.ts';
import { openFolderStore } from '../../segments/store/folder.ts';
import type { ByteRange, Store } from '../../segments/store/store.ts';
import { archiveBody } from '../../workers/body.ts';
import { errored, makeArchive, succeeded, type Fixture } from './exporter-fixture.ts';

let folder: string;
let store: Store;
let fixture: Fixture;
const scratchDirectory = (): string => join(folder, 'scratch');
const ledger = { readArchive: async () => undefined } as unknown as Ledger;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plimsoll-audit-'));
  store = await openFolderStore(join(folder, 'lake'), Date.now());
  const rows = Array.from({ length: 40 }, (_, index) => ({ topic: index % 2 === 0 ? 'invoices' : 'mails', result: succeeded(`réponse ${index} ${'x'.repeat(300)}`) }));
  fixture = await makeArchive(store, [...rows, { topic: 'mails', result: errored('invalid_request_error', 'no'), fate: { reason: 'invalid_request', errorType: 'invalid_request_error' } }]);
  await seal(fixture);
  await exportArchive({ outcome: fixture.outcome, store, settings: { partBytesMax: 1_000_000, gzipLevel: 1, scratchDirectory: scratchDirectory() } });
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

/** The sealed manifest that the worker would have written, over the body that it would have sent. */
async function seal({ outcome }: Fixture, change = ''): Promise<void> {
  const hash = createHash('sha256');
  let bodyBytes = 0;
  for await (const block of archiveBody(store, outcome.archive, outcome.chunks)) {
    hash.update(block);
    bodyBytes += block.length;
  }
  const chunks = outcome.chunks.map((chunk) => ({ ...chunk, tokensMax: 1, microUsdMax: 1 }));
  await putDocument(store, sealedKey(outcome.run, outcome.archive), { v: 1, archive: outcome.archive, run: outcome.run, dt: outcome.dt, priority: 'normal', rows: outcome.rows, bodyBytes, bodySha256: hash.digest('hex') + change, chunks });
}

async function write(): Promise<{ readonly path: string; readonly bytes: Buffer }> {
  await writeAudit({ outcome: fixture.outcome, store, scratchDirectory: scratchDirectory() });
  const path = join(folder, 'audit.zip');
  const bytes = await store.readWhole(auditKey(fixture.outcome.dt, fixture.outcome.archive));
  await writeFile(path, bytes);
  return { path, bytes };
}

it('holds the very body that was sealed, the results as they came, and proves both', async () => {
  const { path } = await write();
  const proof = await proveAudit(path, { store, ledger });
  expect(proof).toMatchObject({ archive: fixture.outcome.archive, requests: 41, results: 41 });
  expect(proof.proved.join('\n')).toContain('40 succeeded');
  expect(await readdir(scratchDirectory())).toEqual([]);
});

it('is a zip64 file that another reader opens, with the same members', async () => {
  const { path } = await write();
  const script = 'import sys,zipfile,json;z=zipfile.ZipFile(sys.argv[1]);assert z.testzip() is None;print(json.dumps({i.filename:z.read(i).count(b"\\n") for i in z.infolist()}))';
  const found = JSON.parse(execFileSync('python3', ['-c', script, path], { encoding: 'utf8' })) as unknown;
  expect(found).toEqual({ 'requests.jsonl': 41, 'results.jsonl': 41, 'manifest.json': 1, 'digests.json': 1 });
});

it('is the same file, byte for byte, when it is written again', async () => {
  const first = await write();
  await rm(join(folder, 'lake', auditKey(fixture.outcome.dt, fixture.outcome.archive)));
  expect((await write()).bytes.equals(first.bytes)).toBe(true);
});

it('is refused wherever a byte of it is changed, and wherever it is cut', async () => {
  const { path, bytes } = await write();
  const signs = (sign: string): readonly number[] => [...bytes.toString('latin1').matchAll(new RegExp(sign, 'g'))].map((match) => match.index);
  const heads = signs('PK\x03\x04').map((at) => [at, at + 30 + bytes.readUInt16LE(at + 26)] as const);
  // Behind a member stands a copy of its sum and sizes for readers that cannot seek; what counts is the list at the end.
  const copies = signs('PK\x07\x08').map((at) => [at, at + 16] as const);
  const list = signs('PK\x01\x02')[0] ?? 0;
  for (let at = 3; at < bytes.length; at += Math.ceil(bytes.length / 60)) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 0x40;
    await writeFile(path, changed);
    const proof = await proveAudit(path, { store, ledger }).then(() => 'proved', (error: { code?: string }) => error.code);
    // Dates and modes of members and of the list mean nothing; every change of the content is noticed.
    const isContent = at < list && ![...heads, ...copies].some(([from, to]) => from <= at && at < to);
    if (proof !== 'proved' || isContent) expect({ at, proof }).toEqual({ at, proof: 'archive_damaged' });
  }
  for (const left of [0, 21, 300, bytes.length - 1]) {
    await writeFile(path, bytes.subarray(0, left));
    await expect(proveAudit(path)).rejects.toMatchObject({ code: 'archive_damaged' });
  }
});

/** A zip with these members, with a `digests.json` that fits them unless there is one among them. */
async function forge(members: Readonly<Record<string, string>>): Promise<string> {
  const zip = new ZipArchive({ zlib: { level: 1 }, forceZip64: true });
  const path = join(folder, 'forged.zip');
  const written = pipeline(zip, createWriteStream(path));
  const digests = {
    schema_version: 1, run_key: 'nightly', archive: fixture.outcome.archive, batch_id: null, body: { bytes: bodyHead.length + bodyTail.length, sha256: digestOf(bodyHead + bodyTail) },
    members: Object.entries(members).map(([name, text]) => ({ name, bytes: Buffer.byteLength(text), lines: text.split('\n').length - 1, sha256: digestOf(text) })),
  };
  for (const [name, text] of Object.entries({ 'digests.json': `${JSON.stringify(digests)}\n`, ...members })) zip.append(Readable.from([Buffer.from(text)]), { name, date: new Date(0), mode: 0o644 });
  await zip.finalize();
  await written;
  return path;
}
const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');
const emptyManifest = '{"counts":{"rows":0,"succeeded":0,"retried":0,"dead_lettered":0}}\n';

it('is proved though somebody else has packed it, if all of it fits', async () => {
  expect(await proveAudit(await forge({ 'requests.jsonl': '', 'manifest.json': emptyManifest }))).toMatchObject({ requests: 0 });
});

it.each(['null\n', '{"schema_version":1}\n', 'not json\n', '[]\n', '{"schema_version":1,"members":[null]}\n'])('is refused when its digests.json is %j', async (text) => {
  await expect(proveAudit(await forge({ 'requests.jsonl': '', 'manifest.json': emptyManifest, 'digests.json': text }))).rejects.toMatchObject({ code: 'archive_damaged', where: join(folder, 'forged.zip') });
});

it.each(['null\n', '{}\n', 'not json\n', '{"counts":{"rows":"0"}}\n'])('is refused when its manifest.json is %j, with digests that fit', async (text) => {
  await expect(proveAudit(await forge({ 'requests.jsonl': '', 'manifest.json': text }))).rejects.toMatchObject({ code: 'archive_damaged' });
});

it('never enters the lake when one of its sources breaks, and leaves nothing behind', async () => {
  async function* read(key: string, range?: ByteRange): AsyncGenerator<Buffer> {
    for await (const block of store.read(key, range)) {
      yield block;
      if (key === fixture.outcome.resultsKey) throw new Error('the disk is gone');
    }
  }
  const broken: Store = {
    uri: store.uri, read,
    put: async (key, content) => await store.put(key, content),
    putFile: async (key, path, content) => await store.putFile(key, path, content),
    readWhole: async (key, range) => await store.readWhole(key, range),
    head: async (key) => await store.head(key),
    list: (prefix) => store.list(prefix),
    close: async () => undefined,
  };
  await expect(writeAudit({ outcome: fixture.outcome, store: broken, scratchDirectory: scratchDirectory() })).rejects.toThrow('the disk is gone');
  expect(await store.head(auditKey(fixture.outcome.dt, fixture.outcome.archive))).toBeUndefined();
  expect(await readdir(scratchDirectory())).toEqual([]);
});

it('is not written when the spool does not make the body that was sealed', async () => {
  await rm(join(folder, 'lake', sealedKey(fixture.outcome.run, fixture.outcome.archive)));
  await seal(fixture, '00');
  await expect(write()).rejects.toMatchObject({ code: 'lake_conflict' });
});

it('is kept for the archives of the topics that ask for it', () => {
  expect([[], ['*'], ['mails'], ['other']].map((topics) => isAudited(fixture.outcome, topics))).toEqual([false, true, true, false]);
  expect(isAudited({ ...fixture.outcome, batch: null }, ['*'])).toBe(false);
});

it('holds no row of its own for each request in memory: its list has four members', async () => {
  const { path } = await write();
  expect((await readFile(path)).toString('latin1').split('PK\x01\x02').length - 1).toBe(4);
});
