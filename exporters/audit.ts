/**
 * The audit archive: what was asked and what was answered, verbatim, in one zip64 file per archive.
 *
 *   requests.jsonl   the entries of the batch as they were sent, one a line, in order
 *   results.jsonl    the provider's result lines as they came
 *   manifest.json    the archive's manifest, as it stands in the lake
 *   digests.json     size, lines and sha256 of each member, and of the body that the requests make
 *
 * Few large members: a zip keeps a record per member in memory until its end, and one per request would take hundreds of
 * megabytes (infrastructure.md 7). Everything is streamed through a scratch file.
 *
 * Invariants
 *   U1  The requests make the very body that was sealed: its sha256 is compared before the file may enter the lake.
 *   U2  The same archive gives the same bytes: no clock and no name of this machine stand in it.
 *   U3  A source that fails ends the whole archive; a file that is cut short never enters the lake.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ZipArchive } from 'archiver';
import { errnoOf, invariant, PlimsollError } from '../segments/errors.ts';
import { decodeJournal } from '../segments/journal.ts';
import { archiveManifestKey, auditKey, sealedKey } from '../segments/lake.ts';
import type { ArchiveOutcome } from '../segments/outcome.ts';
import { bodyHead, bodyTail, customId, entryPrefix, entryTail } from '../segments/pack.ts';
import { segmentParts } from '../segments/segment.ts';
import { readDocument } from '../segments/store/document.ts';
import { gathered } from '../segments/store/scratch.ts';
import { readSpoolParams, readSpoolRows } from '../segments/store/spool.ts';
import type { Store } from '../segments/store/store.ts';

/** One member of the file. */
export interface AuditMember {
  readonly name: string;
  readonly bytes: number;
  readonly lines: number;
  readonly sha256: string;
}

/** `digests.json`. */
export interface AuditDigests {
  readonly schema_version: 1;
  readonly run_key: string;
  readonly archive: string;
  readonly batch_id: string | null;
  /** The request body that the lines of requests.jsonl make; a batch that was accepted was sent exactly these bytes. */
  readonly body: { readonly bytes: number; readonly sha256: string };
  readonly members: readonly AuditMember[];
}

export interface AuditRequest {
  readonly outcome: ArchiveOutcome;
  readonly store: Store;
  readonly scratchDirectory: string;
}

/** Twice the speed of the default level for an eighth more bytes (infrastructure.md 7). */
const zipLevel = 1;

/**
 * Whether an archive is audited: whole, as soon as one of its topics is. `*` stands for all topics. What was never a batch
 * was never asked: a canceled archive may not even have been sealed.
 */
export function isAudited(outcome: ArchiveOutcome, topics: readonly string[]): boolean {
  if (outcome.batch === null) return false;
  return topics.includes('*') || outcome.chunks.some(({ segment }) => topics.includes(segmentParts(segment)?.topic ?? ''));
}

/**
 * Writes the audit archive of an exported archive into the lake.
 * @throws PlimsollError `lake_conflict` when the journal contradicts the spool, `lake_full`, and what the store raises
 */
export async function writeAudit({ outcome, store, scratchDirectory }: AuditRequest): Promise<void> {
  const path = join(scratchDirectory, `audit-${outcome.archive}-${randomUUID()}.zip`);
  try {
    await mkdir(scratchDirectory, { recursive: true });
    const { sizeBytes, sha256 } = await writeZip(path, outcome, store);
    await store.putFile(auditKey(outcome.dt, outcome.archive), path, { sizeBytes, sha256 });
  } catch (error) {
    if (errnoOf(error) !== 'ENOSPC' && errnoOf(error) !== 'EDQUOT') throw error;
    throw new PlimsollError('lake_full', { message: 'an audit archive does not fit on the scratch disk', where: path, hint: 'Free some space; the export goes on by itself.', cause: error });
  } finally {
    await rm(path, { force: true });
  }
}

async function writeZip(path: string, outcome: ArchiveOutcome, store: Store): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  // Loaded only by those who keep audit archives: it takes a while.
  const archiver = await import('archiver');
  const zip = new archiver.ZipArchive({ zlib: { level: zipLevel }, forceZip64: true });
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const writing = pipeline(
    zip,
    async function* (blocks: AsyncIterable<Buffer>) {
      for await (const block of blocks) {
        hash.update(block);
        sizeBytes += block.length;
        yield block;
      }
    },
    createWriteStream(path, { flags: 'wx' }),
  );
  // Awaited at the end; until then a failure must not count as unhandled, it ends the member that is being added.
  writing.catch(() => undefined);
  const writer = new MemberWriter(zip, writing, new Date(outcome.endedAtMs ?? outcome.acceptedAtMs));
  try {
    await addMembers(writer, outcome, store);
    await zip.finalize();
    await writing;
  } catch (error) {
    zip.abort();
    zip.destroy();
    await writing.catch(() => undefined);
    throw error;
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}

async function addMembers(writer: MemberWriter, outcome: ArchiveOutcome, store: Store): Promise<void> {
  const body = createHash('sha256').update(bodyHead);
  let bodyBytes = bodyHead.length + bodyTail.length;
  const requests = await writer.add('requests.jsonl', requestLines(outcome, store, (entry, isFirst) => {
    if (!isFirst) body.update(',');
    body.update(entry);
    bodyBytes += entry.length + (isFirst ? 0 : 1);
  }));
  const bodySha256 = body.update(bodyTail).digest('hex');
  await compareSealed(outcome, store, requests.lines, bodyBytes, bodySha256);
  const members = [requests];
  if (outcome.resultsKey !== null) members.push(await writer.add('results.jsonl', store.read(outcome.resultsKey)));
  members.push(await writer.add('manifest.json', store.read(archiveManifestKey(outcome.dt, outcome.run, outcome.archive))));
  const digests: AuditDigests = {
    schema_version: 1, run_key: outcome.run, archive: outcome.archive, batch_id: outcome.batch, body: { bytes: bodyBytes, sha256: bodySha256 }, members,
  };
  await writer.add('digests.json', [Buffer.from(`${JSON.stringify(digests)}\n`)]);
}

/** U1. */
async function compareSealed(outcome: ArchiveOutcome, store: Store, rows: number, bodyBytes: number, bodySha256: string): Promise<void> {
  const key = sealedKey(outcome.run, outcome.archive);
  const sealed = decodeJournal('sealed', key, await readDocument(store, key));
  if (rows === outcome.rows && sealed.bodySha256 === bodySha256 && sealed.bodyBytes === bodyBytes) return;
  throw new PlimsollError('lake_conflict', {
    message: `the spool makes a body of ${bodyBytes} bytes (sha256 ${bodySha256.slice(0, 12)}), ${sealed.bodyBytes} bytes (sha256 ${sealed.bodySha256.slice(0, 12)}) were sealed`,
    where: key,
    hint: 'Objects under spool/ and journal/ must never change. Restore them from a version or a backup.',
  });
}

/** The entries of the body, each with a newline. `onEntry` sees each without it. */
async function* requestLines(outcome: ArchiveOutcome, store: Store, onEntry: (entry: Buffer, isFirst: boolean) => void): AsyncGenerator<Buffer, void, void> {
  let index = 0;
  for (const chunk of outcome.chunks) {
    const spooled = await readSpoolRows(store, chunk);
    let place = 0;
    for await (const params of readSpoolParams(store, chunk, spooled)) {
      const row = spooled.rows[place];
      invariant(row !== undefined, `${chunk.spoolKey} holds more params than its index`);
      const line = Buffer.concat([Buffer.from(entryPrefix(customId(outcome.archive, index, row.sha), true), 'latin1'), params, Buffer.from(`${entryTail}\n`, 'latin1')]);
      onEntry(line.subarray(0, -1), index === 0);
      yield line;
      place += 1;
      index += 1;
    }
  }
}

/** Adds members one after the other and digests them on the way. */
class MemberWriter {
  readonly #zip: ZipArchive;
  readonly #writing: Promise<void>;
  readonly #date: Date;

  constructor(zip: ZipArchive, writing: Promise<void>, date: Date) {
    this.#zip = zip;
    this.#writing = writing;
    this.#date = date;
  }

  /** Resolves when the member is written (U3). */
  async add(name: string, blocks: Iterable<Buffer> | AsyncIterable<Buffer>): Promise<AuditMember> {
    const hash = createHash('sha256');
    let bytes = 0;
    let lines = 0;
    const source = Readable.from((async function* () {
      // A line at a time would cost a visit to the compressor each.
      for await (const block of gathered(blocks)) {
        hash.update(block);
        bytes += block.length;
        for (let at = block.indexOf(0x0a); at >= 0; at = block.indexOf(0x0a, at + 1)) lines += 1;
        yield block;
      }
    })(), { objectMode: false, highWaterMark: 1024 * 1024 });
    const added = new Promise<void>((resolve, reject) => {
      // Nobody else listens to the source: an error of it would end the process.
      source.on('error', reject);
      this.#zip.once('error', reject);
      this.#zip.once('warning', reject);
      this.#zip.once('entry', () => resolve());
    });
    this.#zip.append(source, { name, date: this.#date, mode: 0o644 });
    try {
      await Promise.race([added, this.#writing.then(() => Promise.reject(new Error('the zip ended before its last member')))]);
    } finally {
      this.#zip.removeAllListeners('entry');
      source.destroy();
    }
    return { name, bytes, lines, sha256: hash.digest('hex') };
  }
}
