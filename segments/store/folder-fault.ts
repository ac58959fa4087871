/** Faults of a lake in a folder, in our own words. */
import { errnoOf, PlimsollError } from '../errors.ts';

/** What a fault of the file system is for its caller; anything that is none comes back as it is. `where`: the key. `operation`: a verb. */
export function ioError(error: unknown, where: string, operation: string): unknown {
  const errno = errnoOf(error);
  if (error instanceof PlimsollError || errno === undefined) return error;
  if (errno === 'ENOENT' && operation === 'read') {
    return new PlimsollError('lake_missing', {
      message: 'an object that should be in the lake is not there',
      where,
      hint: 'The lake must keep everything under spool/ and journal/ until its runs are complete.',
      cause: error,
    });
  }
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new PlimsollError('lake_full', {
      message: `cannot ${operation}: no room is left on the disk`,
      where,
      hint: 'Free some space; the work goes on from where it stands.',
      cause: error,
    });
  }
  return new PlimsollError('lake_unavailable', {
    message: `cannot ${operation}: ${errno}`,
    where,
    hint: 'Check that the lake exists and that this user may write to it.',
    cause: error,
  });
}
