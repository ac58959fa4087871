/** Builds `dist/`, or the folder that is named: the compiler judges and writes the declarations, the bundle is what runs. */
import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleInto } from './bundle.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');

const out = resolve(process.argv[2] ?? join(root, 'dist'));

await bundleInto(out);
execFileSync(process.execPath, [compiler, '--project', join(root, 'tsconfig.build.json'), '--emitDeclarationOnly', '--outDir', out], { stdio: 'inherit' });
chmodSync(join(out, 'cli/plimsoll.js'), 0o755);
