/**
 * Proves an audit archive: first from itself, then against the lake and the ledger. By itself it proves that nothing in
 * it was changed; beside the journal, that it is what was sealed, sent and answered.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { archiveManifestKey, outcomeKey, sealedKey } from '../segments/lake.ts';
import { decodeJournal } from '../segments/journal.ts';
import type { Ledger } from '../segments/ledger/ledger.ts';
import { decodeOutcome } from '../segments/outcome.ts';
import { archiveIdLength, bodyHead, bodyTail, parseCustomId } from '../segments/pack.ts';
import { asRunKey, type ArchiveId } from '../segments/segment.ts';
import { readDocument } from '../segments/store/document.ts';
import type { Store } from '../segments/store/store.ts';
import type { AuditDigests } from './audit.ts';
import { damaged, readZip, type ZipMember } from './zip.ts';

/** What was proved. */
export interface AuditProof {
  readonly archive: string;
  readonly run_key: string;
  readonly batch_id: string | null;
  readonly requests: number;
  readonly results: number;
  readonly body_sha256: string;
  /** In words, in the order in which it was proved. */
  readonly proved: readonly string[];
}

interface Known {
  readonly sealed: { readonly bodySha256: string; readonly rows: number };
  readonly resultsSha256: string | undefined;
  readonly manifest: Buffer;
  readonly state: string | undefined;
  readonly batch: string | undefined;
}

/** Proves a file. `known` names the lake and the ledger that it must agree with. @throws PlimsollError `archive_damaged` */
export async function proveAudit(path: string, known?: { readonly store: Store; readonly ledger: Ledger }): Promise<AuditProof> {
  const members = new Map((await readZip(path)).map((member) => [member.name, member]));
  const digests = await readDigests(path, members);
  const proved: string[] = [];
  const requests = await proveMember(path, digests, members, 'requests.jsonl', (line) => customIdOf(path, line, digests.archive));
  const hasResults = digests.members.some(({ name }) => name === 'results.jsonl');
  const results = hasResults ? await proveMember(path, digests, members, 'results.jsonl', (line) => customIdOf(path, line, digests.archive)) : undefined;
  const manifest = await proveMember(path, digests, members, 'manifest.json', () => undefined);
  proved.push('every member has the size, the lines and the sha256 of digests.json, and every line names this archive');
  if (requests.body !== digests.body.sha256) throw damaged(path, 'its requests do not make the body that was sealed');
  proved.push(`the requests make a body with sha256 ${digests.body.sha256}`);
  const { counts } = decode(path, 'manifest.json', manifest.text, manifestShape);
  if (counts.rows !== requests.lines) throw damaged(path, `it has ${requests.lines} requests, its manifest counts ${counts.rows}`);
  proved.push(`the manifest accounts for all ${counts.rows} requests: ${counts.succeeded} succeeded, ${counts.retried} went round again, ${counts.dead_lettered} are dead letters`);
  if (known) {
    const facts = await factsOf(known.store, known.ledger, digests);
    compareKnown(path, digests, requests.lines, results?.sha256, manifest.text, facts);
    proved.push('the journal of the lake has sealed this body and noted these results, and the manifest is the one of the lake');
    if (facts.state !== undefined) proved.push(`the ledger says ${facts.state}${facts.batch === undefined ? '' : `, batch ${facts.batch}`}`);
  }
  return { archive: digests.archive, run_key: digests.run_key, batch_id: digests.batch_id, requests: requests.lines, results: results?.lines ?? 0, body_sha256: digests.body.sha256, proved };
}

const count = z.int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** `digests.json`; what it names is looked up in lake and ledger, so it must be able to be a name. */
const digestsShape: z.ZodType<AuditDigests> = z.object({
  schema_version: z.literal(1),
  run_key: z.string(),
  archive: z.string().regex(new RegExp(`^[A-Za-z0-9-]{${archiveIdLength}}$`)),
  batch_id: z.string().nullable(),
  body: z.object({ bytes: count, sha256 }),
  members: z.array(z.object({ name: z.string(), bytes: count, lines: count, sha256 })),
});

/** What the proof adds up of `manifest.json`. */
const manifestShape = z.object({ counts: z.object({ rows: count, succeeded: count, retried: count, dead_lettered: count }) });

/** A member as what it should be. Anybody can make a zip file, so nothing is taken for granted. @throws PlimsollError `archive_damaged` */
function decode<T>(path: string, name: string, text: string, shape: z.ZodType<T>): T {
  try {
    return shape.parse(JSON.parse(text));
  } catch (error) {
    throw damaged(path, `its ${name} is none`, error);
  }
}

async function readDigests(path: string, members: ReadonlyMap<string, ZipMember>): Promise<AuditDigests> {
  const member = members.get('digests.json');
  if (!member || member.sizeBytes > 1_000_000) throw damaged(path, 'it has no digests.json');
  const blocks: Buffer[] = [];
  for await (const block of member.read()) blocks.push(block);
  const digests = decode(path, 'digests.json', Buffer.concat(blocks).toString('utf8'), digestsShape);
  const names = [...members.keys()].filter((name) => name !== 'digests.json').sort().join();
  if (names !== digests.members.map(({ name }) => name).sort().join()) throw damaged(path, 'its members are not those of digests.json');
  return digests;
}

interface ProvedMember {
  readonly lines: number;
  readonly sha256: string;
  /** sha256 of the request body that the lines make. */
  readonly body: string;
  /** The whole text of a small member; empty for the large ones. */
  readonly text: string;
}

async function proveMember(path: string, digests: AuditDigests, members: ReadonlyMap<string, ZipMember>, name: string, onLine: (line: Buffer) => void): Promise<ProvedMember> {
  const expected = digests.members.find((each) => each.name === name);
  const member = members.get(name);
  if (!expected || !member) throw damaged(path, `it has no ${name}`);
  const hash = createHash('sha256');
  const body = createHash('sha256').update(bodyHead);
  const isText = name === 'manifest.json';
  const text: Buffer[] = [];
  let [bytes, lines] = [0, 0];
  let rest: Buffer = Buffer.alloc(0);
  for await (const block of member.read()) {
    hash.update(block);
    bytes += block.length;
    if (isText) text.push(Buffer.from(block));
    const data = rest.length === 0 ? block : Buffer.concat([rest, block]);
    let from = 0;
    for (let at = data.indexOf(0x0a); at >= 0; at = data.indexOf(0x0a, from)) {
      const line = data.subarray(from, at);
      onLine(line);
      body.update(lines === 0 ? '' : ',').update(line);
      lines += 1;
      from = at + 1;
    }
    rest = Buffer.from(data.subarray(from));
  }
  const sha256 = hash.digest('hex');
  if (bytes !== expected.bytes || lines !== expected.lines || sha256 !== expected.sha256) throw damaged(path, `${name} is not what digests.json says`);
  return { lines, sha256, body: body.update(bodyTail).digest('hex'), text: Buffer.concat(text).toString('utf8') };
}

/** A line begins with its `custom_id`, which names the archive. */
function customIdOf(path: string, line: Buffer, archive: string): void {
  const id = /"custom_id"\s*:\s*"([A-Za-z0-9_-]{1,64})"/.exec(line.toString('latin1', 0, 4_096))?.[1] ?? line.toString('latin1').match(/"custom_id"\s*:\s*"([A-Za-z0-9_-]{1,64})"\s*\}?$/)?.[1];
  if (id === undefined || parseCustomId(id)?.archive !== archive) throw damaged(path, 'a line of it belongs to another archive');
}

async function factsOf(store: Store, ledger: Ledger, { archive: id, run_key: key }: AuditDigests): Promise<Known> {
  const run = asRunKey(key);
  if (run === undefined) throw damaged(id, 'its run key is none');
  const archive = id as ArchiveId;
  const outcome = decodeOutcome(await store.readWhole(outcomeKey(run, archive)));
  const record = await ledger.readArchive(archive);
  return {
    sealed: decodeJournal('sealed', sealedKey(run, archive), await readDocument(store, sealedKey(run, archive))),
    resultsSha256: outcome.resultsKey === null ? undefined : outcome.resultsSha256,
    manifest: await store.readWhole(archiveManifestKey(outcome.dt, run, archive)),
    state: record?.state,
    batch: record?.batch,
  };
}

function compareKnown(path: string, digests: AuditDigests, requests: number, resultsSha256: string | undefined, manifest: string, known: Known): void {
  if (known.sealed.bodySha256 !== digests.body.sha256 || known.sealed.rows !== requests) throw damaged(path, 'the journal has sealed another body');
  if (known.resultsSha256 !== resultsSha256) throw damaged(path, 'the journal has noted other results');
  if (known.manifest.toString('utf8') !== manifest) throw damaged(path, 'the lake has another manifest of this archive');
  if (known.batch !== undefined && known.batch !== digests.batch_id) throw damaged(path, `the ledger knows another batch, ${known.batch}`);
}
