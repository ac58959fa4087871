/**
 * Sections of a source: where a restart can begin. At the end of each everything before it is durable, and the journal says
 * so; whoever starts the run again goes on behind the last one, and reads from there.
 *
 *   journal/runs/<run>/sections/000003.json              the section, written last
 *   journal/runs/<run>/sections/000003.ids               the ids that it has added
 *   journal/runs/<run>/sections/000003.rejects.jsonl.gz  the lines that it has refused, if any
 *
 * One real record:
 *   {"v":1,"run":"nightly","ordinal":1,"bytes":1000001433,"rows":81920,"sha256":"9f…","accepted":81918,"rejected":2,
 *    "high":{"invoices.8k.high|etl":81920},"object":{"uri":"s3://in/a.jsonl","etag":"0c…","byte":1433,"row":1,
 *    "trail":{"objects":2,"sha256":"77…"}}}
 *
 * Invariants
 *   Z1  A record is written only after every row before its end is in the ledger, and its ids and rejects are in the lake.
 *   Z2  Where sections end follows from the source and `sectionBytes` alone, and so do their contents; one that was cut
 *       off while it ended is ended again with the same bytes.
 *   Z3  A record is believed only as far as the ledger knows at least as much, and only with all of its parts. What is not
 *       believed costs time, never a row: the source is then read from an earlier place.
 */
import { z } from 'zod';
import { PlimsollError } from '../segments/errors.ts';
import { sectionKey, sectionPrefix } from '../segments/lake.ts';
import type { ClientTally } from '../segments/quota.ts';
import type { RunKey } from '../segments/segment.ts';
import type { Store } from '../segments/store/store.ts';
import { idBytes } from './id-log.ts';
import { putDocument, readDocument } from './journal.ts';
import type { ReaderPlace } from './lines.ts';

const count = z.int().min(0);
const digest = z.string().regex(/^[0-9a-f]{64}$/);
const schema = z.object({
  v: z.literal(1),
  run: z.string(),
  ordinal: z.int().min(1),
  /** Where it ends: bytes, lines and digest of the whole source up to there. */
  bytes: count,
  rows: count,
  sha256: digest,
  /** Prompts and refused lines of the whole source up to there. */
  accepted: count,
  rejected: count,
  /** Those of them that were prompts over a rate: they have ids. Absent where there is none. */
  refused: count.optional(),
  /** What clients with tiers have handed in up to there; absent where none has. */
  clients: z.record(z.string(), z.object({ requests: count, tokens: count, requestsOver: count, tokensOver: count })).optional(),
  /** The last row of each lane: segment, client and shared prefix. */
  high: z.record(z.string(), count),
  /** The object in which it ends; absent where the source is not made of objects. */
  object: z
    .object({ uri: z.string(), etag: z.string(), version: z.string().optional(), byte: count, row: count, trail: z.object({ objects: count, sha256: digest }) })
    .optional(),
});
type SectionDocument = z.infer<typeof schema>;

/** The end of a section, and the keys of what it and those before it have left. */
export interface Section {
  readonly ordinal: number;
  readonly place: ReaderPlace;
  readonly accepted: number;
  readonly rejected: number;
  readonly refused: number;
  readonly clients: Readonly<Record<string, ClientTally>>;
  readonly idsKeys: readonly string[];
  readonly rejectsKeys: readonly string[];
}

/** What is durable at the end of a section. */
export interface SectionEnd {
  readonly run: RunKey;
  readonly ordinal: number;
  readonly place: ReaderPlace;
  readonly accepted: number;
  readonly rejected: number;
  readonly refused: number;
  readonly clients: Readonly<Record<string, ClientTally>>;
  readonly high: ReadonlyMap<string, number>;
}

/**
 * The last section behind which a restart may begin, or undefined when it has to begin with the source (Z3).
 * @param high the last durable row of each lane, as the ledger has it
 * @throws PlimsollError `lake_conflict` when a record is damaged
 */
export async function readLastSection(store: Store, run: RunKey, high: ReadonlyMap<string, number>): Promise<Section | undefined> {
  const sizes = new Map<string, number>();
  for await (const { key, sizeBytes } of store.list(sectionPrefix(run))) sizes.set(key, sizeBytes);
  let last = 0;
  while (sizes.has(sectionKey(run, last + 1))) last += 1;
  for (let ordinal = last; ordinal > 0; ordinal -= 1) {
    const document = await readDocument(store, sectionKey(run, ordinal), schema);
    const isCovered = document !== undefined && Object.entries(document.high).every(([lane, row]) => (high.get(lane) ?? 0) >= row);
    if (!isCovered) continue;
    const ordinals = Array.from({ length: ordinal }, (_, index) => index + 1);
    const idsKeys = ordinals.map((each) => sectionKey(run, each, 'ids')).filter((key) => sizes.has(key));
    const rejectsKeys = ordinals.map((each) => sectionKey(run, each, 'rejects.jsonl.gz')).filter((key) => sizes.has(key));
    const ids = idsKeys.reduce((sum, key) => sum + (sizes.get(key) ?? 0), 0) / idBytes;
    const refused = document.refused ?? 0;
    const isWhole = ids === document.accepted + refused && rejectsKeys.length > 0 === document.rejected > 0;
    if (isWhole) return { ordinal, place: placeOf(document), accepted: document.accepted, rejected: document.rejected, refused, clients: document.clients ?? {}, idsKeys, rejectsKeys };
  }
  return undefined;
}

/** Whether the section is in the journal. @throws PlimsollError `lake_conflict` when it ended elsewhere */
export async function isSectionEnded(store: Store, { run, ordinal, place }: SectionEnd): Promise<boolean> {
  const key = sectionKey(run, ordinal);
  const found = await readDocument(store, key, schema);
  if (!found) return false;
  if (found.bytes === place.bytes && found.sha256 === place.sha256) return true;
  throw new PlimsollError('lake_conflict', {
    message: `section ${ordinal} of the run ${run} has ended elsewhere in the source before`,
    where: key,
    hint: 'Start again with the input and the settings that this run was begun with, or use another run key.',
  });
}

/** Writes a section down (Z1). */
export async function putSection(store: Store, end: SectionEnd): Promise<void> {
  const { run, ordinal, place, accepted, rejected, refused, clients, high } = end;
  const { bytes, rows, sha256, object } = place;
  const document: SectionDocument = {
    v: 1, run, ordinal, bytes, rows, sha256, accepted, rejected,
    ...(refused > 0 ? { refused } : {}),
    ...(Object.keys(clients).length > 0 ? { clients } : {}),
    high: Object.fromEntries([...high].sort(([a], [b]) => (a < b ? -1 : 1))),
    ...(object && { object: { uri: object.uri, etag: object.etag, ...(object.version === undefined ? {} : { version: object.version }), byte: object.byte, row: object.row, trail: object.trail } }),
  };
  await putDocument(store, sectionKey(run, ordinal), document);
}

function placeOf({ bytes, rows, sha256, object }: SectionDocument): ReaderPlace {
  return { bytes, rows, sha256, object: object && { ...object, version: object.version } };
}
