/** The product as it is shipped, built once for all seeds, and beside it what is loaded into its processes to strike them. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { luaOf, scriptNames } from '../../../segments/ledger/scripts.ts';
import { bundleProduct } from '../../product.ts';
import type { Moto } from '../../moto.ts';
import { findRedisProgram, type RedisProgram } from './fragile-redis.ts';

const root = resolve(import.meta.dirname, '../../..');
const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');

export interface Product {
  /** The program, for `node`. */
  readonly entry: string;
  /** What is loaded before it. */
  readonly seams: string;
  /** Name of each script by its sha1, and the other way round. */
  readonly scripts: Readonly<Record<string, string>>;
  readonly shaOf: Readonly<Record<string, string>>;
  readonly redis: RedisProgram;
  /** The server of buckets, where schedules with a lake in one are played. */
  readonly buckets?: Moto;
  remove(): void;
}

/** Builds, or takes what a test run has built already. */
export async function buildProduct(): Promise<Product> {
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-chaos-product-'));
  const given = process.env['TEST_PRODUCT'];
  const isGiven = given !== undefined && existsSync(given);
  if (isGiven) cpSync(dirname(dirname(dirname(given))), folder, { recursive: true, verbatimSymlinks: true });
  const entry = isGiven ? join(folder, 'dist/cli/plimsoll.js') : await bundleProduct(folder);
  // Beside the product, whose instances of the packages it changes.
  execFileSync(process.execPath, [
    compiler, join(import.meta.dirname, 'seams.ts'), '--outDir', join(folder, 'chaos'), '--module', 'nodenext', '--target', 'es2023',
    '--rewriteRelativeImportExtensions', '--types', 'node', '--typeRoots', join(root, 'node_modules/@types'), '--skipLibCheck', '--ignoreConfig',
  ], { cwd: root, stdio: 'inherit' });
  const scripts = Object.fromEntries(scriptNames.map((name) => [createHash('sha1').update(luaOf(name)).digest('hex'), name]));
  return {
    entry,
    seams: join(folder, 'chaos/seams.js'),
    scripts,
    shaOf: Object.fromEntries(Object.entries(scripts).map(([sha, name]) => [name, sha])),
    redis: await findRedisProgram(folder),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
