/** `init`: a settings file in which every setting is a comment with its default, and the schema from which editors complete it. */
import { Command } from 'commander';
import { lstat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { exampleYaml, jsonSchema } from '../config/config.ts';
import { schemaFileName } from '../config/example.ts';
import { errnoOf, PlimsollError, type ExitCode } from '../segments/errors.ts';
import { print, printJson, tell } from './terminal.ts';

interface InitOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** The `init` verb. */
export function initCommand(exit: (code: ExitCode) => void): Command {
  return new Command('init')
    .description('Write a commented plimsoll.yaml and its schema for editors.')
    .argument('[folder]', 'where to write them', '.')
    .option('--json', 'one JSON document on stdout')
    .option('--quiet', 'no hints on stderr')
    .addHelpText('after', '\nExample:\n  plimsoll init && $EDITOR plimsoll.yaml && plimsoll config --changed\n\nExit codes: 0 written, 2 a file is there already (nothing is overwritten) or cannot be written')
    .action(async (folder: string, options: InitOptions) => {
      const files = [
        { path: join(resolve(folder), 'plimsoll.yaml'), text: exampleYaml() },
        { path: join(resolve(folder), schemaFileName), text: `${JSON.stringify(jsonSchema(), undefined, 2)}\n` },
      ];
      // Looked at first, so that a refusal writes nothing; the flag below holds against a file that comes in between.
      for (const { path } of files) if (await lstat(path).catch(() => undefined)) throw exists(path);
      for (const { path, text } of files) await create(path, text);
      if (options.json) printJson({ written: files.map(({ path }) => path) });
      else for (const { path } of files) print(path);
      if (!options.quiet) tell('Every setting stands there as a comment with its default: remove the # to change it.\nSecrets stay in variables: export ANTHROPIC_API_KEY=…\nNext: plimsoll config --changed');
      exit(0);
    });
}

async function create(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text, { flag: 'wx' });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') throw exists(path);
    throw new PlimsollError('usage', { message: `the file cannot be written: ${errnoOf(error) ?? 'unknown fault'}`, where: path, hint: 'Name a folder that exists and that this user may write to.', cause: error });
  }
}

function exists(path: string): PlimsollError {
  return new PlimsollError('file_exists', { message: 'the file is there already and is not overwritten', where: path, hint: 'Move it away first, or write the new ones elsewhere: plimsoll init FOLDER' });
}
