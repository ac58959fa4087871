/**
 * The only reader of the environment. It reads names, each once, and decides nothing about their values: which of them
 * are settings and whether they are right is for `config.ts` to say.
 *
 * A setting's variable is `PLIMSOLL_` and its path, two underscores for a dot, one before each capital: `poll.min` is
 * `PLIMSOLL_POLL__MIN`, `submit.landingWait` is `PLIMSOLL_SUBMIT__LANDING_WAIT`. Names that belong to someone else keep
 * the names that their owners gave them. A secret may also come from a file: `ANTHROPIC_API_KEY_FILE`.
 *
 * An empty variable counts as not set: compose files and CI systems pass on what they do not have as an empty text.
 */

/** Settings whose variables are older than Plimsoll. */
const ownersNames: ReadonlyMap<string, string> = new Map([
  ['anthropic.apiKey', 'ANTHROPIC_API_KEY'],
  ['anthropic.authToken', 'ANTHROPIC_AUTH_TOKEN'],
  ['anthropic.baseUrl', 'ANTHROPIC_BASE_URL'],
  ['redis.url', 'REDIS_URL'],
  ['aws.region', 'AWS_REGION'],
  ['aws.endpoint', 'AWS_ENDPOINT_URL'],
  ['log.level', 'LOG_LEVEL'],
]);

const prefix = 'PLIMSOLL_';
const configFileVariable = 'PLIMSOLL_CONFIG';
const fileSuffix = '_FILE';

/** Variables that other programs share and write as they like; only the case is made equal. */
const caselessVariables: ReadonlySet<string> = new Set(['LOG_LEVEL']);

/** What the environment says, before anything is judged. */
export interface Environment {
  /** Every set variable that names a setting or would like to: owners' names, their `_FILE` forms, and `PLIMSOLL_…`. */
  readonly variables: ReadonlyMap<string, string>;
  /** `PLIMSOLL_CONFIG`: the settings file to read instead of `plimsoll.yaml` in the working directory. */
  readonly configFile: string | undefined;
  /** `PATH`, where executables are looked for; empty when it is not set. */
  readonly searchPath: string;
  /** `NO_COLOR` is set to anything (no-color.org). */
  readonly isColorless: boolean;
  /** `CI` is set to anything but `false` or `0`. */
  readonly isCi: boolean;
}

/** The `PLIMSOLL_` form of a setting's name, which is not read where the setting has an owner's name. */
export function prefixedVariableOf(path: string): string {
  const words = path.split('.').map((segment) => segment.replaceAll(/[A-Z]/g, (capital) => `_${capital}`));
  return prefix + words.join('__').toUpperCase();
}

/** The variable of a setting: `poll.min` is `PLIMSOLL_POLL__MIN`, `redis.url` is `REDIS_URL`. */
export function variableOf(path: string): string {
  return ownersNames.get(path) ?? prefixedVariableOf(path);
}

/** The variable that names a file with the setting's value, for settings that are or may hold secrets. */
export function fileVariableOf(path: string): string {
  return variableOf(path) + fileSuffix;
}

/** Reads the environment. Nothing else in Plimsoll does. */
export function readEnvironment(env: Readonly<Record<string, string | undefined>> = process.env): Environment {
  const owned = new Set([...ownersNames.values()].flatMap((name) => [name, name + fileSuffix]));
  const variables = new Map<string, string>();
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || text === '' || name === configFileVariable) continue;
    if (!name.startsWith(prefix) && !owned.has(name)) continue;
    variables.set(name, caselessVariables.has(name) ? text.toLowerCase() : text);
  }
  const ci = env.CI ?? '';
  return Object.freeze({
    variables,
    configFile: env.PLIMSOLL_CONFIG || undefined,
    searchPath: env.PATH ?? '',
    isColorless: (env.NO_COLOR ?? '') !== '',
    isCi: ci !== '' && ci !== 'false' && ci !== '0',
  });
}
