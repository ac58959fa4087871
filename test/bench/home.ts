/** A home of the product for one measurement, set up as an operator would for this corpus. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { contexts } from './corpus.ts';

/** Makes a home. What differs from the defaults: the corpus' own classes, and a provider that ends its batches at once. */
export function prepareHome(home: string): string {
  mkdirSync(home, { recursive: true });
  writeFileSync(`${home}/plimsoll.yaml`, stringify({ contexts, poll: { min: '100ms' }, submit: { queueRows: 100_000_000 } }));
  return home;
}
