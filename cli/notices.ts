/** Names, versions and licences of the packages whose code is shipped inside a bundle, as their licences ask for. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const licenceFile = /^(licen[cs]e|copying|notice)([-.].*)?$/i;

/**
 * One text for all packages that the bundled files (paths relative to `root`) belong to. Packages whose licence reads the
 * same word for word stand together above it, because many of one maker do.
 */
export function noticesOf(files: readonly string[], root: string): string {
  const folders = new Set(files.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0] ?? []));
  const namesOf = new Map<string, string[]>();
  for (const folder of [...folders].sort()) {
    const { name, text } = licenceOf(join(root, folder));
    namesOf.set(text, [...(namesOf.get(text) ?? []), name]);
  }
  const notices = [...namesOf].map(([text, names]) => `${names.map((name) => `=== ${name} ===`).join('\n')}\n\n${text}`);
  return `${['The programs of this package contain code of the packages below, each under the licence that follows its name.', ...notices].join('\n\n')}\n`;
}

function licenceOf(folder: string): { readonly name: string; readonly text: string } {
  const { name, version, license = 'unknown' } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name: string; version: string; license?: string };
  const texts = readdirSync(folder).filter((file) => licenceFile.test(file)).sort().map((file) => readFileSync(join(folder, file), 'utf8').trim());
  return { name: `${name} ${version}`, text: texts.length === 0 ? `Licence: ${license}; the package holds no text of it.` : texts.join('\n\n') };
}
