/**
 * Clears the scratch folder of what processes that died have left there. Every try names its files anew, so nothing is
 * ever overwritten by the next one, and a worker that is killed during each export would fill the disk.
 *
 * Invariants
 *   C1  Only what is named after one of the kinds below is removed; the rows that were kept for a person to mend
 *       (`<run>.rejects.jsonl`) and whatever else lies there stay.
 *   C2  A living process loses nothing: what it writes to is young, by the newest file inside of a folder.
 */
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../segments/errors.ts';

interface ScratchKind {
  readonly name: RegExp;
  readonly isFolder: boolean;
  /** How long nothing must have been written to it, ms. */
  readonly idleMs: number;
}

const dayMs = 24 * 3_600_000;
const archive = '[A-Za-z0-9_-]{17}';
const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const kinds: readonly ScratchKind[] = [
  // Results on their way down (workers/settler.ts), and bodies on their way up (segments/store/s3.ts).
  { name: new RegExp(`^${archive}-${uuid}\\.jsonl$`), isFolder: false, idleMs: dayMs },
  { name: new RegExp(`^${uuid}\\.put$`), isFolder: false, idleMs: dayMs },
  // Export files, audit archives (exporters/), and copies of these that are verified (cli/archive.ts).
  { name: new RegExp(`^export-${archive}-[A-Za-z0-9]{6}$`), isFolder: true, idleMs: dayMs },
  { name: new RegExp(`^audit-${archive}-${uuid}\\.zip$`), isFolder: false, idleMs: dayMs },
  { name: new RegExp(`^verify-${uuid}\\.zip$`), isFolder: false, idleMs: dayMs },
  // A producer writes to these only when its source gives ids or bad lines, and a pipe may be silent over a weekend. They
  // are small, and the run would fail at its end without them.
  { name: new RegExp(`^.+\\.${uuid}\\.(?:ids|rejects)\\.part$`, 's'), isFolder: false, idleMs: 7 * dayMs },
];

/**
 * Removes abandoned files and folders (C1, C2). `nowMs` is the clock of this machine, as the times of its files are.
 * Housekeeping only: what cannot be looked at or removed is left to the next start, which may be another user's.
 */
export async function clearScratch(directory: string, nowMs: number): Promise<void> {
  for (const name of await ifReadable(readdir(directory), [])) {
    const kind = kinds.find((each) => each.name.test(name));
    if (!kind) continue;
    const path = join(directory, name);
    const writtenMs = await ifReadable(lastWrittenMs(path, kind.isFolder), undefined);
    if (writtenMs !== undefined && nowMs - writtenMs > kind.idleMs) await ifReadable(rm(path, { force: true, recursive: kind.isFolder }), undefined);
  }
}

/** When something was last written to a file or into a folder, ms; undefined: it is not of that sort. */
async function lastWrittenMs(path: string, isFolder: boolean): Promise<number | undefined> {
  const found = await lstat(path);
  if (isFolder ? !found.isDirectory() : !found.isFile()) return undefined;
  let writtenMs = found.mtimeMs;
  // Writing to a file does not touch the folder that it lies in.
  for (const name of isFolder ? await readdir(path) : []) writtenMs = Math.max(writtenMs, (await lstat(join(path, name))).mtimeMs);
  return writtenMs;
}

/** What a call to the system gives, or `otherwise` when the system refuses it: the file is gone, or another user's. */
async function ifReadable<T>(call: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return otherwise;
  }
}
