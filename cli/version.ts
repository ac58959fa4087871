/** The version of this package, as its manifest says it. */
import { readFileSync } from 'node:fs';
import { errnoOf } from '../segments/errors.ts';

/** The manifest stands one folder above the sources and two above the built program. @throws Error when there is none */
export function packageVersion(): string {
  for (const place of ['../package.json', '../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8')) as { version: string }).version;
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
  throw new Error(`no package.json was found above ${import.meta.url}`);
}
