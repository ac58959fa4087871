/** A download whose disk takes no more: which system errors mean that there is no room. */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ArchiveId } from '../../segments/segment.ts';
import { downloadResults } from '../../workers/download.ts';

vi.mock('node:fs/promises', { spy: true });

let directory: string;
beforeEach(async () => void (directory = await mkdtemp(join(tmpdir(), 'plimsoll-download-'))));
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(directory, { recursive: true, force: true });
});

async function* blocks(): AsyncGenerator<Buffer> {
  yield Buffer.from('{"custom_id":"one"}\n');
}

/** Lets the next file that is opened fail each of its writes as the system does. */
async function failWrites(code: string): Promise<void> {
  const file = await open(join(directory, 'file'), 'w');
  vi.spyOn(file, 'write').mockRejectedValue(Object.assign(new Error('injected'), { code }));
  vi.mocked(open).mockResolvedValueOnce(file);
}

const download = async () =>
  await downloadResults(join(directory, 'results'), blocks(), { archive: '0123456789-000001' as ArchiveId, rows: 1, shaOf: () => '' }, { succeeded: 1, errored: 0, canceled: 0, expired: 0 });

it.each(['ENOSPC', 'EDQUOT'])('%s is a full disk, which is tried again', async (code) => {
  await failWrites(code);
  await expect(download()).rejects.toMatchObject({ code: 'lake_full', disposition: 'retry', where: join(directory, 'results') });
});

it('a broken disk is not taken for a full one', async () => {
  await failWrites('EIO');
  await expect(download()).rejects.toMatchObject({ code: 'EIO' });
});
