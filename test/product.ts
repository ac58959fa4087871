/** The product as it is shipped, for tests with real processes: nobody who uses it has a compiler in the same process. */
import { cpSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { bundleInto } from '../cli/bundle.ts';

const root = resolve(import.meta.dirname, '..');

/**
 * Bundles the product into `folder/dist`, with its manifest and packages beside it, and returns the program for `node`.
 * The one thing more than in a release are doors to the packages between which and the product `chaos/real/seams.ts` stands.
 * @throws Error when it does not build
 */
export async function bundleProduct(folder: string): Promise<string> {
  await bundleInto(join(folder, 'dist'), ['ioredis', 'undici']);
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return join(folder, 'dist/cli/plimsoll.js');
}
