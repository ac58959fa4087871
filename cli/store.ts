/** Chooses the adapter behind the store port: a folder, or a bucket for a lake that begins with `s3://`. */
import { join, resolve } from 'node:path';
import type { Config } from '../config/config.ts';
import { openFolderStore } from '../segments/store/folder.ts';
import type { Store } from '../segments/store/store.ts';

/** Opens the lake of a configuration. @throws PlimsollError `lake_unavailable` */
export async function openStore(config: Config, nowMs: number): Promise<Store> {
  if (!config.lake.startsWith('s3://')) return await openFolderStore(resolve(config.lake), nowMs);
  // The SDK is loaded only by those who use it: it takes a while.
  const { openS3Store } = await import('../segments/store/s3.ts');
  return await openS3Store({ uri: config.lake, settings: config.s3, scratchDirectory: join(config.home, 'scratch'), nowMs });
}
