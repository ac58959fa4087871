/**
 * The programs of the product, each with the packages that it needs, in a few files. Finding and compiling hundreds of
 * files of packages took most of the CPU time of every command; a bundle leaves the parsing of what the verb needs.
 *
 * Programs keep their places in `dist/` (`cli/plimsoll.js`, `workers/check-thread.js`), what they share lies in
 * `dist/chunks/`. Lua scripts, prices and other files that are read at run time are copied to their places.
 *
 * Invariants
 *   B1  `import.meta.url` in a module of ours means the place that the module would have in `dist/` on its own, wherever
 *       its code lies: Lua scripts, prices and thread modules are found from there.
 *   B2  Names of classes and functions stay as they were written: errors of packages are told apart by them.
 *   B3  A package is there once, whichever program and chunk asks for it.
 */
import { build, type Metafile, type Plugin } from 'esbuild';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { noticesOf } from './notices.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const rooms = ['segments', 'config', 'producers', 'workers', 'exporters', 'cli', 'local'];

/** What is started by its path: the command, the library, and the modules of threads. */
const programs = ['cli/plimsoll', 'cli/library', 'exporters/press-thread', 'producers/judge-thread', 'workers/body-thread', 'workers/check-thread', 'local/simulator/judgeworker'];

/** Packages that were written for CommonJS ask for Node's own modules with `require`, which a module does not have. */
const prelude = "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);";

/**
 * Bundles into a folder, which is emptied first. Each of `packages` gets a file `packages/<name>.js` whose default export
 * is the instance that the programs use (B3), for whoever has to stand between them and the world.
 * @throws Error when a module cannot be found or read, or when a module's place would be lost (B1)
 */
export async function bundleInto(folder: string, packages: readonly string[] = []): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [...programs.map((program) => ({ in: `./${program}.ts`, out: program })), ...packages.map((name) => ({ in: name, out: `packages/${name}` }))],
    outdir: folder,
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    keepNames: true,
    // The licences stand whole in THIRD-PARTY.txt.
    legalComments: 'none',
    banner: { js: prelude },
    metafile: true,
    plugins: [places],
    logLevel: 'warning',
  });
  provePlaces(metafile, folder);
  for (const room of rooms) cpSync(join(root, room), join(folder, room), { recursive: true, filter: (source) => !source.endsWith('.ts') });
  writeFileSync(join(folder, 'THIRD-PARTY.txt'), noticesOf(Object.keys(metafile.inputs), root));
}

const ownPlace = /\bimport\.meta\.url\b/g;

/** What asks for its place lies one folder deep in `dist/`, as programs and chunks do (proven below), so the way to every place in `dist/` is the same from everywhere (B1). */
const places: Plugin = {
  name: 'places',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const place = relative(root, path).replaceAll(sep, '/').replace(/\.ts$/, '.js');
      return { loader: 'ts', contents: readFileSync(path, 'utf8').replaceAll(ownPlace, `new URL('../${place}', import.meta.url).href`) };
    });
  },
};

function provePlaces({ outputs }: Metafile, folder: string): void {
  for (const [output, { inputs }] of Object.entries(outputs)) {
    if (relative(folder, resolve(root, output)).split(sep).length === 2) continue;
    const lost = Object.keys(inputs).find((input) => input.endsWith('.ts') && readFileSync(join(root, input), 'utf8').search(ownPlace) !== -1);
    if (lost !== undefined) throw new Error(`${lost} is bundled into ${output}, which is not one folder deep, and asks for its own place: move what asks out of what ${output} imports`);
  }
}
