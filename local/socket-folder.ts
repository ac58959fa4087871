import { lstat, mkdtemp, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { readRecord, writeRecord } from './record.ts';

/** `sun_path` holds 104 bytes on macOS and 108 on Linux, its closing zero byte included; a longer path is cut or refused. */
const longestSocketPathBytes = 103;
const folderSchema = z.object({ folder: z.string() });

/**
 * Where the socket of this home's Redis is: in the home, or, if that path is too long, in a private folder under the
 * system's temporary one, which the home remembers so that every process of it, now and later, finds the same. Call it
 * under the lock. The remembered folder is used again only while it is a folder, ours, and closed to everybody else:
 * temporary folders get cleaned, and then anybody may take the name.
 */
export async function findSocketPath(home: string): Promise<string> {
  const near = join(home, 'redis', 'redis.sock');
  if (Buffer.byteLength(near) <= longestSocketPathBytes) return near;
  const remembered = await readRecord(recordPath(home), folderSchema);
  if (remembered !== undefined && (await isPrivate(remembered.folder))) return join(remembered.folder, 'redis.sock');
  const parent = Buffer.byteLength(tmpdir()) <= 64 ? tmpdir() : '/tmp';
  const folder = await mkdtemp(join(parent, 'plimsoll-'));
  await writeRecord(recordPath(home), { folder });
  return join(folder, 'redis.sock');
}

/** Removes the remembered folder once no server needs it. Under the lock. */
export async function forgetSocketFolder(home: string): Promise<void> {
  const remembered = await readRecord(recordPath(home), folderSchema);
  if (remembered === undefined) return;
  if (await isPrivate(remembered.folder)) {
    await rm(join(remembered.folder, 'redis.sock'), { force: true });
    await rmdir(remembered.folder).catch(() => undefined); // Not empty: somebody else's file is none of our business.
  }
  await rm(recordPath(home), { force: true });
}

async function isPrivate(folder: string): Promise<boolean> {
  const found = await lstat(folder).catch(() => undefined);
  return found !== undefined && found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o077) === 0;
}

function recordPath(home: string): string {
  return join(home, 'redis', 'socket-folder.json');
}
