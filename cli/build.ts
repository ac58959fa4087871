/** Builds `dist/`, or the folder that is named: compiles, and copies what is read at run time and is not TypeScript. */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');

const out = resolve(process.argv[2] ?? join(root, 'dist'));

rmSync(out, { recursive: true, force: true });
execFileSync(process.execPath, [compiler, '--project', join(root, 'tsconfig.build.json'), '--outDir', out], { stdio: 'inherit' });
for (const room of ['segments', 'config', 'producers', 'workers', 'exporters', 'cli', 'local']) {
  cpSync(join(root, room), join(out, room), { recursive: true, filter: (source) => !source.endsWith('.ts') });
}
chmodSync(join(out, 'cli/plimsoll.js'), 0o755);
