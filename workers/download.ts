/**
 * Brings a batch's results to this machine: one pass writes them to a local file and verifies them on the way, so that a
 * batch of a gigabyte is read once.
 */
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, PlimsollError } from '../segments/errors.ts';
import type { ResultCounts } from '../segments/result-index.ts';
import type { ExpectedRows, ResultsCheck } from '../segments/results.ts';
import { GrowingFile, writingTo } from '../segments/store/scratch.ts';
import { blocksHeldMax, checkAside } from './check.ts';

/** What one download brought. */
export interface Download {
  readonly check: ResultsCheck;
  /** false: the stream broke off; what is missing then proves nothing (O1 of `settler.ts`). */
  readonly isWhole: boolean;
}

/**
 * Streams results to a file that does not exist yet.
 * @throws PlimsollError `lake_full` when they do not fit on the disk; what the stream raises, unless it merely broke off
 */
export async function downloadResults(path: string, blocks: AsyncIterable<Buffer>, expected: ExpectedRows, counts: ResultCounts): Promise<Download> {
  let isWhole = true;
  async function* untilBroken(): AsyncGenerator<Buffer> {
    try {
      yield* blocks;
    } catch (error) {
      if (!(error instanceof PlimsollError) || error.code !== 'provider_unavailable') throw error;
      isWhole = false;
    }
  }
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = new GrowingFile(await open(path, 'wx'));
    try {
      const check = await checkAside(writingTo(file, untilBroken(), blocksHeldMax), expected, counts);
      return { check, isWhole };
    } finally {
      await file.close();
    }
  } catch (error) {
    // A disk without room, or a user who may not have more of it.
    if (errnoOf(error) !== 'ENOSPC' && errnoOf(error) !== 'EDQUOT') throw error;
    throw new PlimsollError('lake_full', {
      message: 'the results do not fit on the scratch disk',
      where: path,
      hint: 'Free some space; the results are downloaded again, the provider keeps them for 29 days.',
      cause: error,
    });
  }
}
