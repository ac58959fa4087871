/** Worlds to load a configuration in: variables, flags and files that exist only in the test. */
import { loadConfig } from '../../config/config.ts';
import type { Config } from '../../config/config.ts';
import { readEnvironment } from '../../config/env.ts';
import { ConfigError } from '../../config/fault.ts';
import type { ConfigFault } from '../../config/fault.ts';
import type { Flag } from '../../config/sources.ts';

/** What surrounds one start of the program. */
export interface World {
  readonly env?: Readonly<Record<string, string>>;
  readonly flags?: readonly Flag[];
  readonly configFile?: string;
  /** Content of /job/plimsoll.yaml. */
  readonly yaml?: string;
  readonly files?: Readonly<Record<string, string>>;
}

/** Loads the configuration of a world whose working directory is /job. */
export function load({ env = {}, flags = [], configFile, yaml, files = {} }: World): Config {
  const all = new Map(Object.entries(yaml === undefined ? files : { ...files, '/job/plimsoll.yaml': yaml }));
  return loadConfig({ env: readEnvironment(env), flags, configFile, cwd: '/job', readFile: (path) => all.get(path) });
}

/** The fault report that an act ends in; fails when it does not. */
export function errorOf(act: () => unknown): ConfigError {
  try {
    act();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('no fault was found');
}

/** Every fault of a world. */
export function faultsOf(world: World): readonly ConfigFault[] {
  return errorOf(() => load(world)).faults;
}

/** Every fault of a world as `origin path`. */
export function places(world: World): readonly string[] {
  return faultsOf(world).map(({ origin, path }) => `${origin} ${path}`);
}
