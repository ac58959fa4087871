import { readFileSync } from 'node:fs';
import type { ArchiveId, RunKey } from '../../../segments/segment.ts';
import type { Prepared } from '../product/prepare.ts';

/** What `product/prepare.ts` left in a lake. */
export function preparedOf(lake: string): { readonly run: RunKey; readonly archive: ArchiveId } {
  const { run, archive } = JSON.parse(readFileSync(`${lake}/archive.json`, 'utf8')) as Prepared;
  return { run: run as RunKey, archive: archive as ArchiveId };
}
