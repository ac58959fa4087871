/** Small JSON documents in the lake: one line, stable key order, a newline at the end. */
import { createHash } from 'node:crypto';
import { PlimsollError } from '../errors.ts';
import type { Store } from './store.ts';

/** Creates a document. The same value gives the same bytes, so a replay answers `same`. @throws as `Store.put` */
export async function putDocument(store: Store, key: string, value: unknown): Promise<'created' | 'same'> {
  const document = Buffer.from(`${JSON.stringify(value)}\n`);
  const sha256 = createHash('sha256').update(document).digest('hex');
  return await store.put(key, { blocks: [document], sizeBytes: document.length, sha256 });
}

/**
 * Reads a document, or undefined when there is none. The caller decodes it.
 * @throws PlimsollError `ledger_corrupt` when it is not JSON
 */
export async function readDocument(store: Store, key: string): Promise<unknown> {
  if (!(await store.head(key))) return undefined;
  const text = (await store.readWhole(key)).toString('utf8');
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new PlimsollError('ledger_corrupt', {
      message: 'a document of the lake is not JSON',
      where: key,
      hint: 'Someone changed it by hand; restore it from a backup of the lake.',
      cause,
    });
  }
}
