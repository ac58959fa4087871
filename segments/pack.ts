/**
 * The arithmetic of an archive: what its body is made of, how large it is to the byte, and the `custom_id` of each row.
 *
 * A body is `{"requests":[` + entries joined by `,` + `]}`; an entry is `{"custom_id":"…","params":` + the prompt's own
 * bytes + `}`. Nothing is parsed or stringified again, so the size is known before a byte is copied.
 *
 * One real `custom_id`: `7f3a91c2ab-000012_00417_1f0zk3m` is row 417 of archive `7f3a91c2ab-000012`; the last part is a
 * checksum over archive, index and the sha256 of the prompt, so a result line alone proves where it belongs.
 */
import { crc32 } from 'node:zlib';
import type { ArchiveId } from './segment.ts';

/** The provider's limits of one batch (claude-batches.md 1.2), and the fill below which a chunk is split to fill up. */
export interface ArchiveLimits {
  readonly bytesMax: number;
  readonly rowsMax: number;
}

export const bodyHead = '{"requests":[';
export const bodyTail = ']}';
const entryHead = '{"custom_id":"';
const entryMiddle = '","params":';
const entryTail = '}';

const indexDigits = 5;
const checkDigits = 7;
/** `<10 hex>-<6 digits>`: every archive id has this length, so every entry has the same overhead. */
export const archiveIdLength = 17;
const customIdLength = archiveIdLength + 1 + indexDigits + 1 + checkDigits;

/** Bytes that one row adds to a body beyond its params; the comma that joins it to the next is included. */
export const entryOverheadBytes = entryHead.length + customIdLength + entryMiddle.length + entryTail.length + 1;
/** Bytes of a body beyond its entries; the last entry has no comma, hence the -1. */
export const envelopeBytes = bodyHead.length + bodyTail.length - 1;

/** Size in bytes of the body of an archive with `rows` rows whose params are `paramsBytes` long together. */
export function bodyBytes(rows: number, paramsBytes: number): number {
  return rows === 0 ? 0 : envelopeBytes + rows * entryOverheadBytes + paramsBytes;
}

/** Names an archive by the tag of its run and its ordinal in the run. */
export function archiveId(tag: string, ordinal: number): ArchiveId {
  const id = `${tag}-${String(ordinal).padStart(6, '0')}`;
  if (id.length !== archiveIdLength) throw new RangeError(`archive id ${id} is not ${archiveIdLength} characters long`);
  return id as ArchiveId;
}

function checkOf(archive: string, index: number, promptSha256: string): string {
  return crc32(`${archive}_${index}_${promptSha256}`).toString(36).padStart(checkDigits, '0');
}

/** The `custom_id` of row `index` (0-based) of an archive; `promptSha256` is the hex digest of the row's params. */
export function customId(archive: ArchiveId, index: number, promptSha256: string): string {
  return `${archive}_${String(index).padStart(indexDigits, '0')}_${checkOf(archive, index, promptSha256)}`;
}

const customIdPattern = /^([0-9a-f]{10}-[0-9]{6})_([0-9]{5})_([0-9a-z]{7})$/;

/** Takes a `custom_id` apart; undefined when it is not one of ours. The check still has to be compared. */
export function parseCustomId(text: string): { readonly archive: ArchiveId; readonly index: number } | undefined {
  const match = customIdPattern.exec(text);
  if (!match?.[1] || !match[2]) return undefined;
  return { archive: match[1] as ArchiveId, index: Number(match[2]) };
}

/** The bytes that stand before the params of a row: the separating comma (unless it is the first) and the entry head. */
export function entryPrefix(id: string, isFirst: boolean): string {
  return `${isFirst ? '' : ','}${entryHead}${id}${entryMiddle}`;
}

export { entryTail };

/** One row's share in a decision to split: params bytes and the two bounds that budgets count. */
export interface RowSize {
  readonly bytes: number;
  readonly tokensMax: number;
  readonly microUsdMax: number;
}

/** Room that is left; undefined means no limit of that kind. */
export interface Room {
  readonly rows: number | undefined;
  readonly bytes: number | undefined;
  readonly tokens: number | undefined;
  readonly microUsd: number | undefined;
}

/** How many leading rows fit into the room, all limits together; 0 when not even the first does. */
export function rowsThatFit(rows: readonly RowSize[], room: Room): number {
  let bytes = 0;
  let tokens = 0;
  let microUsd = 0;
  for (const [index, row] of rows.entries()) {
    bytes += row.bytes + entryOverheadBytes;
    tokens += row.tokensMax;
    microUsd += row.microUsdMax;
    const fits =
      index < (room.rows ?? Infinity) &&
      bytes <= (room.bytes ?? Infinity) &&
      tokens <= (room.tokens ?? Infinity) &&
      microUsd <= (room.microUsd ?? Infinity);
    if (!fits) return index;
  }
  return rows.length;
}
