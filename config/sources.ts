/**
 * The places that settings come from, each read into a layer: the settings file, the environment, the command line. A
 * layer says what was given and where; which layer wins is for `config.ts` to say.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { isAbsolute, relative, resolve } from 'node:path';
import { errnoOf, invariant } from '../segments/errors.ts';
import { readDocument, readInline } from './document.ts';
import { fileVariableOf, prefixedVariableOf, variableOf } from './env.ts';
import type { Environment } from './env.ts';
import { plainFault } from './fault.ts';
import type { ConfigFault } from './fault.ts';
import type { Given, Layer } from './given.ts';
import { ownLimits } from './limits.ts';
import { suggest } from './suggest.ts';
import { settings } from './tree.ts';
import type { Setting } from './tree.ts';

/** The settings file that is looked for in the working directory. */
export const settingsFileName = 'plimsoll.yaml';

/** Reads a UTF-8 file; undefined when there is none. Throws what the file system says otherwise. */
export type ReadFile = (path: string) => string | undefined;

/** One flag of the command line that stands for a setting; not given while its value is undefined. */
export interface Flag {
  /** `--topic`, as the user writes it. */
  readonly name: string;
  /** `defaults.topic`. */
  readonly path: string;
  readonly value: string | number | undefined;
}

/** Reads at most one byte more than a settings file may have, so that a mistaken path cannot fill the memory. */
export function readFileIfAny(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const bytes = Buffer.alloc(ownLimits.settingsFileBytesMax + 1);
    let length = 0;
    let count = readSync(file, bytes);
    while (count > 0) {
      length += count;
      count = readSync(file, bytes, length, bytes.length - length, null);
    }
    return bytes.toString('utf8', 0, length);
  } finally {
    closeSync(file);
  }
}

function readBounded(readFile: ReadFile, path: string, bytesMax: number): { readonly text: string | undefined; readonly problem: string | undefined } {
  try {
    const text = readFile(path);
    const isLong = text !== undefined && Buffer.byteLength(text) > bytesMax;
    return isLong ? { text: undefined, problem: `is longer than ${bytesMax} bytes` } : { text, problem: undefined };
  } catch (error) {
    return { text: undefined, problem: `cannot be read (${errnoOf(error) ?? 'unknown cause'})` };
  }
}

/** The settings file: the one that was named, which must exist, or `plimsoll.yaml` in the working directory, if any. */
export function fileLayer(named: { readonly path: string; readonly origin: string } | undefined, cwd: string, readFile: ReadFile): Layer {
  const path = resolve(cwd, named?.path ?? settingsFileName);
  const beside = relative(cwd, path);
  const name = beside.startsWith('..') || isAbsolute(beside) ? path : beside;
  const { text, problem } = readBounded(readFile, path, ownLimits.settingsFileBytesMax);
  if (text !== undefined) return readDocument(text, name);
  if (problem !== undefined) return { given: [], faults: [plainFault('', name, `The settings file ${problem}.`)] };
  return { given: [], faults: named ? [plainFault('', named.origin, `There is no settings file ${path}.`)] : [] };
}

function inlineValue(setting: Setting, text: string): unknown {
  return setting.note.isStructure ? readInline(text) : text;
}

/** The settings among the variables. Every other variable that begins like one of ours is a fault. */
export function environmentLayer(environment: Environment, cwd: string, readFile: ReadFile): Layer {
  const given: Given[] = [];
  const faults: ConfigFault[] = [];
  const known = new Set<string>();
  for (const setting of settings.values()) {
    const name = variableOf(setting.path);
    known.add(name);
    const text = environment.variables.get(name);
    if (text !== undefined) given.push({ setting, value: inlineValue(setting, text), origin: () => name });
    if (!setting.note.mayHoldSecret) continue;
    const fileName = fileVariableOf(setting.path);
    known.add(fileName);
    const file = environment.variables.get(fileName);
    if (file === undefined) continue;
    const read = readBounded(readFile, resolve(cwd, file), ownLimits.secretBytesMax);
    if (text !== undefined) faults.push(plainFault(setting.path, fileName, `${name} and ${fileName} are both set; keep one of them.`));
    else if (read.text === undefined) faults.push(plainFault(setting.path, fileName, `The file for ${setting.path} ${read.problem ?? 'does not exist'}.`));
    else given.push({ setting, value: read.text.replace(/\r?\n$/, ''), origin: () => fileName });
  }
  for (const name of environment.variables.keys()) {
    if (!known.has(name)) faults.push(plainFault('', name, `${name} is not a variable of Plimsoll.`, nearestVariable(name, known)));
  }
  return { given, faults };
}

/** The owner's name of the setting that was meant (`PLIMSOLL_REDIS_URL`), or a variable that is spelled nearly so. */
function nearestVariable(name: string, known: ReadonlySet<string>): string | undefined {
  const owned = [...known].find((candidate) => name === `PLIMSOLL_${candidate}`);
  const path = [...settings.keys()].find((candidate) => name === prefixedVariableOf(candidate));
  return owned ?? (path === undefined ? suggest(name, known) : variableOf(path));
}

/** The settings among the flags. */
export function flagLayer(flags: readonly Flag[]): Layer {
  const given = flags.flatMap(({ name, path, value }): Given[] => {
    const setting = settings.get(path);
    invariant(setting !== undefined, `flag ${name} stands for ${path}, which is no setting`);
    if (value === undefined) return [];
    return [{ setting, value: typeof value === 'string' ? inlineValue(setting, value) : value, origin: () => name }];
  });
  return { given, faults: [] };
}
