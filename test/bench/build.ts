/**
 * Compiles the product and the benchmark into a scratch folder, so that what is measured is what users run: plain
 * JavaScript, without a compiler in the same process, which would add some 40 MB to every figure of memory.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** Compiles into an empty folder and returns where this folder's programs are in it. @throws Error when the compiler fails */
export function buildInto(folder: string): string {
  const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');
  const args = [compiler, '--project', join(root, 'tsconfig.json'), '--noEmit', 'false', '--declaration', 'false', '--rootDir', root, '--outDir', folder];
  const { stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  const programs = join(folder, 'test/bench');
  if (!existsSync(join(programs, 'child.js'))) throw new Error(`the compiler failed: ${stdout.slice(0, 2_000)}`);
  for (const room of ['segments', 'config']) {
    cpSync(join(root, room), join(folder, room), { recursive: true, filter: (source) => !source.endsWith('.ts') });
  }
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return programs;
}
