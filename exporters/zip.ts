/**
 * Reads a zip64 file: the list of its members, and each member as a stream that is checked against size and CRC. Only what
 * our own archives use is understood (stored and deflated members, one disk, no encryption); the format is that of
 * PKWARE's APPNOTE 6.3.10, 4.3 and 4.5.
 */
import { createReadStream } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { crc32, createInflateRaw } from 'node:zlib';
import { PlimsollError } from '../segments/errors.ts';

export interface ZipMember {
  readonly name: string;
  readonly sizeBytes: number;
  /** Yields the content. @throws PlimsollError `archive_damaged` */
  read(): AsyncGenerator<Buffer, void, void>;
}

const endSign = 0x06054b50;
const end64Sign = 0x06064b50;
const locator64Sign = 0x07064b50;
const centralSign = 0x02014b50;
const localSign = 0x04034b50;
const endBytes = 22;
const locatorBytes = 20;
const commentBytesMax = 65_535;
/** The list of a file with a handful of members; a longer one is not ours. */
const directoryBytesMax = 16 * 1024 * 1024;

/** Opens a zip file. @throws PlimsollError `archive_damaged` when it is none, or is cut short */
export async function readZip(path: string): Promise<readonly ZipMember[]> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const directory = await findDirectory(file, size, path);
    const bytes = await readAt(file, directory.offset, directory.sizeBytes, path);
    const members: ZipMember[] = [];
    for (let at = 0; members.length < directory.count; ) {
      if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== centralSign) throw damaged(path, 'its list of members is broken');
      const nameBytes = bytes.readUInt16LE(at + 28);
      const extraBytes = bytes.readUInt16LE(at + 30);
      members.push(await memberAt(file, path, bytes.subarray(at, at + 46 + nameBytes + extraBytes), nameBytes));
      at += 46 + nameBytes + extraBytes + bytes.readUInt16LE(at + 32);
    }
    return members;
  } finally {
    await file.close();
  }
}

interface Directory {
  readonly offset: number;
  readonly sizeBytes: number;
  readonly count: number;
}

async function findDirectory(file: FileHandle, size: number, path: string): Promise<Directory> {
  const tailBytes = Math.min(size, endBytes + commentBytesMax + locatorBytes);
  const tail = await readAt(file, size - tailBytes, tailBytes, path);
  let at = tail.length - endBytes;
  while (at >= 0 && tail.readUInt32LE(at) !== endSign) at -= 1;
  if (at < 0) throw damaged(path, 'it has no end: it is no zip file, or it was cut short');
  let directory: Directory = { count: tail.readUInt16LE(at + 10), sizeBytes: tail.readUInt32LE(at + 12), offset: tail.readUInt32LE(at + 16) };
  const locator = at - locatorBytes;
  if (locator >= 0 && tail.readUInt32LE(locator) === locator64Sign) {
    const end64 = await readAt(file, Number(tail.readBigUInt64LE(locator + 8)), 56, path);
    if (end64.readUInt32LE(0) !== end64Sign) throw damaged(path, 'its zip64 end is broken');
    directory = { count: Number(end64.readBigUInt64LE(32)), sizeBytes: Number(end64.readBigUInt64LE(40)), offset: Number(end64.readBigUInt64LE(48)) };
  }
  if (directory.sizeBytes > directoryBytesMax || directory.offset + directory.sizeBytes > size) throw damaged(path, 'its list of members lies outside of it');
  return directory;
}

async function memberAt(file: FileHandle, path: string, entry: Buffer, nameBytes: number): Promise<ZipMember> {
  const name = entry.toString('utf8', 46, 46 + nameBytes);
  const method = entry.readUInt16LE(10);
  const checksum = entry.readUInt32LE(16);
  const [sizeBytes, storedBytes, offset] = wideNumbers(entry, nameBytes);
  const local = await readAt(file, offset, 30, path);
  if (local.readUInt32LE(0) !== localSign) throw damaged(path, `the member ${name} does not begin where the list says`);
  const start = offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
  if (method !== 0 && method !== 8) throw damaged(path, `the member ${name} is compressed in a way that is not ours`);
  return {
    name, sizeBytes,
    async *read() {
      let crc = 0;
      let seen = 0;
      try {
        for await (const block of contentOf(path, start, storedBytes, method === 8)) {
          crc = crc32(block, crc);
          seen += block.length;
          if (seen > sizeBytes) break;
          yield block;
        }
      } catch (error) {
        throw damaged(path, `the member ${name} cannot be decompressed`, error);
      }
      if (seen !== sizeBytes || crc !== checksum) throw damaged(path, `the member ${name} differs from its checksum`);
    },
  };
}

/** Size, stored size and offset: 32 bits, or in the zip64 extra field, in this order, where those are all ones. */
function wideNumbers(entry: Buffer, nameBytes: number): readonly [number, number, number] {
  const narrow = [entry.readUInt32LE(24), entry.readUInt32LE(20), entry.readUInt32LE(42)] as const;
  let extra = entry.subarray(46 + nameBytes);
  while (extra.length >= 4 && extra.readUInt16LE(0) !== 1) extra = extra.subarray(4 + extra.readUInt16LE(2));
  let at = 4;
  const wide = narrow.map((value) => {
    if (value !== 0xffffffff || at + 8 > extra.length) return value;
    at += 8;
    return Number(extra.readBigUInt64LE(at - 8));
  });
  return [wide[0] ?? 0, wide[1] ?? 0, wide[2] ?? 0];
}

function contentOf(path: string, start: number, storedBytes: number, isDeflated: boolean): AsyncIterable<Buffer> {
  if (storedBytes === 0) return (async function* () {})();
  const stored = createReadStream(path, { start, end: start + storedBytes - 1, highWaterMark: 1024 * 1024 });
  if (!isDeflated) return stored as AsyncIterable<Buffer>;
  const inflate = createInflateRaw({ chunkSize: 256 * 1024 });
  // The iteration reports an error of either stream; the callback only keeps it from being unhandled.
  pipeline(stored, inflate, () => undefined);
  return inflate as AsyncIterable<Buffer>;
}

async function readAt(file: FileHandle, position: number, length: number, path: string): Promise<Buffer> {
  const bytes = Buffer.alloc(Math.max(0, length));
  const { bytesRead } = await file.read(bytes, 0, bytes.length, position);
  if (position < 0 || bytesRead !== length) throw damaged(path, 'it was cut short');
  return bytes;
}

/** The error for a file that cannot be trusted. */
export function damaged(path: string, what: string, cause?: unknown): PlimsollError {
  return new PlimsollError('archive_damaged', {
    message: `the audit archive is damaged: ${what}`,
    where: path,
    hint: 'Fetch it again from the lake. It can be made again from spool/ and journal/ as long as they are kept.',
    cause,
  });
}
