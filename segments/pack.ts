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

/** CRC-32 of each byte value, as zlib has it. */
const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});
const base36 = Buffer.from('0123456789abcdefghijklmnopqrstuvwxyz', 'latin1');
const shaDigits = 64;
const underscore = 0x5f;
const digitZero = 0x30;

/**
 * Writes what stands before the params of each row of an archive, the comma that separates it from the row before
 * included: the same bytes as `entryPrefix(customId(…))`. There are up to 100,000 of them in a body; a handful of strings
 * and a call of zlib for each would take a quarter of the time that the whole body takes.
 */
export class EntryHeads {
  /** What one `write` takes at most. */
  static readonly bytesMax = entryOverheadBytes;
  readonly #head: Buffer;
  readonly #indexAt: number;
  readonly #crcOfArchive: number;

  constructor(archive: ArchiveId) {
    this.#head = Buffer.from(`,${entryHead}${archive}_${'0'.repeat(indexDigits)}_${'0'.repeat(checkDigits)}${entryMiddle}`, 'latin1');
    this.#indexAt = 1 + entryHead.length + archive.length + 1;
    this.#crcOfArchive = crc32(`${archive}_`);
  }

  /** Writes the head of row `index` at `at`; the row's digest is the 64 hex digits at `shaAt` of `sha`. Returns where the head ends. */
  write(target: Uint8Array, at: number, index: number, sha: Uint8Array, shaAt: number): number {
    const head = this.#head;
    let rest = index;
    for (let place = this.#indexAt + indexDigits - 1; place >= this.#indexAt; place -= 1) {
      head[place] = digitZero + (rest % 10);
      rest = Math.trunc(rest / 10);
    }
    let crc = ~this.#crcOfArchive;
    // The checksum is over the index as a number, without the zeros in front of it.
    let first = this.#indexAt;
    while (head[first] === digitZero && first < this.#indexAt + indexDigits - 1) first += 1;
    for (let place = first; place < this.#indexAt + indexDigits; place += 1) crc = (crc >>> 8) ^ (crcTable[(crc ^ (head[place] ?? 0)) & 0xff] ?? 0);
    crc = (crc >>> 8) ^ (crcTable[(crc ^ underscore) & 0xff] ?? 0);
    for (let place = shaAt; place < shaAt + shaDigits; place += 1) crc = (crc >>> 8) ^ (crcTable[(crc ^ (sha[place] ?? 0)) & 0xff] ?? 0);
    let check = ~crc >>> 0;
    const checkAt = this.#indexAt + indexDigits + 1;
    for (let place = checkAt + checkDigits - 1; place >= checkAt; place -= 1) {
      head[place] = base36[check % 36] ?? 0;
      check = Math.trunc(check / 36);
    }
    const skipped = index === 0 ? 1 : 0;
    target.set(skipped === 0 ? head : head.subarray(skipped), at);
    return at + head.length - skipped;
  }
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
