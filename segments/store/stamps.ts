/**
 * What a process knows of files that it has put into a lake: their digests, as long as nobody has touched them. It saves
 * reading half a gigabyte again only to learn that it is what was written a moment ago.
 *
 * Invariant S1: a digest is known only while inode, size and time of the last change are those of the file when it was put.
 */
import { stat } from 'node:fs/promises';

/** As many as one process can have settled and not exported yet, by far. */
const stampsMax = 1_000;

interface Stamp {
  readonly sha256: string;
  readonly inode: bigint;
  readonly sizeBytes: bigint;
  readonly changedNs: bigint;
}

/** The files of one store, the newest of them. */
export class FileStamps {
  /** By path, oldest first. */
  readonly #stamps = new Map<string, Stamp>();

  /** Notes the digest, sha256 in hex, of a file that is complete. Raises what the file system raises. */
  async note(path: string, sha256: string): Promise<void> {
    const { ino: inode, size: sizeBytes, mtimeNs: changedNs } = await stat(path, { bigint: true });
    this.#stamps.set(path, { sha256, inode, sizeBytes, changedNs });
    const [oldest] = this.#stamps.keys();
    if (this.#stamps.size > stampsMax && oldest !== undefined) this.#stamps.delete(oldest);
  }

  /** The digest of a file that was noted and was not touched since (S1). */
  async sha256Of(path: string): Promise<string | undefined> {
    const stamp = this.#stamps.get(path);
    const found = stamp && (await stat(path, { bigint: true }).catch(() => undefined));
    if (stamp === undefined || found === undefined) return undefined;
    return found.ino === stamp.inode && found.size === stamp.sizeBytes && found.mtimeNs === stamp.changedNs ? stamp.sha256 : undefined;
  }
}
