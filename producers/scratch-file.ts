/**
 * Files on the scratch disk that a producer appends to while it reads: written at once, because a million small waits cost
 * more than the disk does. Each has one writer; whoever creates it closes its descriptor and removes it.
 */
import { mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, PlimsollError } from '../segments/errors.ts';

/** Creates a file that must not exist, with its folder. `what` names it in errors. @throws PlimsollError `lake_full`, `lake_unavailable` */
export function createScratch(path: string, what: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true });
    return openSync(path, 'wx');
  } catch (error) {
    throw scratchError(error, path, what);
  }
}

/** Appends all of the bytes. @throws PlimsollError `lake_full`, `lake_unavailable` */
export function appendScratch(descriptor: number, bytes: Buffer, path: string, what: string): void {
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
  } catch (error) {
    throw scratchError(error, path, what);
  }
}

/** The error for a file on the scratch disk that cannot be written. */
function scratchError(error: unknown, path: string, what: string): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  const isFull = errno === 'ENOSPC' || errno === 'EDQUOT';
  return new PlimsollError(isFull ? 'lake_full' : 'lake_unavailable', {
    message: isFull ? `cannot write ${what}: no room is left on the disk` : `cannot write ${what}: ${errno}`,
    where: path,
    hint: isFull ? 'Free some space and start the same run once more.' : 'Check that the scratch folder exists and that this user may write to it.',
    cause: error,
  });
}
