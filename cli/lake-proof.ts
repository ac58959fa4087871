/** Proves by doing it that a lake can be written and never overwrites: everything that survives a crash rests on that. */
import { PlimsollError } from '../segments/errors.ts';
import { lakeProofKey } from '../segments/lake.ts';
import { putDocument, readDocument } from '../segments/store/document.ts';
import type { Store } from '../segments/store/store.ts';

/**
 * Creates an object of this day, tries to create it again with other content, and reads it back. It leaves one small
 * object per day. @throws PlimsollError `lake_unfit`, and what the store raises
 */
export async function proveCreateOnly(store: Store, dt: string): Promise<'created' | 'same'> {
  const key = lakeProofKey(dt);
  const made = await putDocument(store, key, { v: 1, dt, is: 'the first' });
  const second = await putDocument(store, key, { v: 1, dt, is: 'another' }).catch((error: unknown) => {
    if (error instanceof PlimsollError && error.code === 'lake_conflict') return 'refused' as const;
    throw error;
  });
  const found = (await readDocument(store, key)) as { readonly is?: string } | undefined;
  if (second === 'refused' && found?.is === 'the first') return made;
  throw new PlimsollError('lake_unfit', {
    message: 'the lake has let an object be overwritten, or does not read back what was written',
    where: key,
    hint: 'A folder must be on a file system with hard links, a bucket must honour If-None-Match. Nothing is posted with this lake.',
  });
}
