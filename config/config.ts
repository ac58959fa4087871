/**
 * The door of `config/`: one frozen object with everything that can be set, or one error with everything that is wrong.
 *
 * A setting comes from a flag, else from its variable, else from the settings file, else from its default; see
 * `schema.ts` for what there is. Importing this module does nothing; whoever starts the program calls
 * `loadConfig({ env: readEnvironment(), cwd: process.cwd() })` once and passes the result on.
 */
import type { ContextClass, Priority } from '../segments/segment.ts';
import type { S3Settings } from '../segments/store/s3-client.ts';
import type { ConfiguredBudget } from './budget.ts';
import type { ConfiguredClient } from './client.ts';
import type { ConfiguredTier } from './tier.ts';
import { toConfig } from './effective.ts';
import type { EffectiveSetting } from './effective.ts';
import type { Environment } from './env.ts';
import { ConfigError } from './fault.ts';
import type { ConfigFault } from './fault.ts';
import { judge } from './given.ts';
import type { Given } from './given.ts';
import { relationFaults } from './relations.ts';
import type { OriginOf } from './relations.ts';
import { schema } from './schema.ts';
import type { Values } from './schema.ts';
import { environmentLayer, fileLayer, flagLayer, readFileIfAny } from './sources.ts';
import type { Flag, ReadFile } from './sources.ts';
import type { Sink } from './sinks.ts';
import { settings } from './tree.ts';

export { exampleYaml, jsonSchema } from './example.ts';

/** The settings as the program uses them; deeply frozen. Times in ms, sizes in bytes, money in micro-USD. */
export interface Config {
  /** Absolute path of the folder of all local state. */
  readonly home: string;
  /** Absolute folder path or `s3://bucket/prefix`. */
  readonly lake: string;
  /** `url` undefined: find or start a Redis in the home. `tag`: the hash tag of all keys. */
  readonly redis: { readonly url: string | undefined; readonly tag: string };
  readonly anthropic: {
    /** Secret: it goes into the request header and nowhere else. */
    readonly apiKey: string | undefined;
    /** Secret, as above. */
    readonly authToken: string | undefined;
    /** Without a slash at the end. */
    readonly baseUrl: string;
    readonly version: '2026-10-21' | '2023-06-01';
  };
  readonly defaults: {
    readonly topic: string;
    readonly priority: Priority;
    readonly client: string;
    readonly model: string | undefined;
    readonly maxTokens: number | undefined;
    /** Tier of clients that have none. */
    readonly tier: string | undefined;
  };
  /** Absolute path of prices of one's own. */
  readonly prices: { readonly file: string | undefined };
  /** Ascending by `tokensMax`. */
  readonly contexts: readonly ContextClass[];
  readonly chunk: { readonly bytesMax: number; readonly rowsMax: number; readonly openBytesMax: number };
  readonly archive: { readonly bytesMax: number; readonly rowsMax: number; readonly lingerMs: number; readonly fullPermille: number };
  readonly cache: { readonly policy: 'auto' | 'off'; readonly topics: readonly string[]; readonly after: number; readonly primerWaitMs: number };
  readonly poll: { readonly minMs: number; readonly maxMs: number };
  readonly submit: { readonly leaseMs: number; readonly queueRows: number; readonly patienceMs: number; readonly timeoutMs: number; readonly landingWaitMs: number; readonly unprovable: 'hold' | 'forgo' };
  readonly retry: { readonly attemptsMax: number; readonly accountRestMs: number; readonly accountRounds: number };
  readonly sweep: { readonly intervalMs: number; readonly workspaceMs: number; readonly leaseMs: number };
  readonly work: { readonly concurrency: number };
  readonly input: { readonly lineBytesMax: number; readonly nestingMax: number; readonly expansionMax: number; readonly sectionBytes: number };
  readonly export: { readonly partBytes: number; readonly gzipLevel: number };
  /** Topics whose archives are audited; `*` stands for all. */
  readonly audit: { readonly topics: readonly string[] };
  /** Every bucket is reached the same way. */
  readonly s3: S3Settings;
  readonly sqs: { readonly region: string | undefined; readonly endpoint: string | undefined };
  readonly events: {
    readonly sinks: readonly Sink[];
    /** Secret, as above. */
    readonly webhookSecret: string | undefined;
    readonly timeoutMs: number;
  };
  readonly listen: {
    readonly queue: string | undefined;
    /** `s3://bucket/prefix`; a document is taken when its address begins with one of them. */
    readonly sources: readonly string[];
    readonly visibilityMs: number;
    readonly concurrency: number;
  };
  readonly tiers: Readonly<Record<string, ConfiguredTier>>;
  readonly clients: Readonly<Record<string, ConfiguredClient>>;
  readonly budgets: readonly ConfiguredBudget[];
  readonly log: { readonly level: Values['log']['level'] };
  /** `PATH`: where executables are looked for. */
  readonly searchPath: string;
  readonly isColorless: boolean;
  readonly isCi: boolean;
  /** Where each setting came from, by path: `file:line:column`, a variable, a flag, or `default`. */
  readonly origins: ReadonlyMap<string, string>;
  /** Every setting as `plimsoll config` shows it, in the order of the schema; secrets are masked. */
  readonly effective: readonly EffectiveSetting[];
}

export interface LoadOptions {
  readonly env: Environment;
  /** Absolute path that relative paths start from. */
  readonly cwd: string;
  readonly flags?: readonly Flag[];
  /** `--config PATH`; stronger than `PLIMSOLL_CONFIG`. */
  readonly configFile?: string | undefined;
  readonly readFile?: ReadFile;
}

function nest(chosen: ReadonlyMap<string, Given>): Readonly<Record<string, unknown>> {
  const root: Record<string, unknown> = {};
  const groups = new Map<string, Record<string, unknown>>([['', root]]);
  for (const path of settings.keys()) {
    const dot = path.lastIndexOf('.');
    const groupName = path.slice(0, Math.max(dot, 0));
    const group = groups.get(groupName) ?? {};
    if (!groups.has(groupName)) root[groupName] = group;
    groups.set(groupName, group);
    const given = chosen.get(path);
    if (given) group[path.slice(dot + 1)] = given.value;
  }
  return root;
}

/** Faults in the order in which they stand in their file. */
function inOrder(faults: readonly ConfigFault[]): readonly ConfigFault[] {
  const { compare } = new Intl.Collator('en', { numeric: true });
  return [...faults].sort((a, b) => compare(a.origin, b.origin));
}

/** The setting that a path is of or leads into: `contexts.1.name` is of `contexts`. */
function settingOf(path: string): string {
  return [...settings.keys()].find((known) => path === known || path.startsWith(`${known}.`)) ?? path;
}

/**
 * Loads the configuration.
 * @throws ConfigError (`config_invalid`) with all faults of all sources at once.
 */
export function loadConfig({ env, cwd, flags = [], configFile, readFile = readFileIfAny }: LoadOptions): Config {
  const path = configFile ?? env.configFile;
  const named = path === undefined ? undefined : { path, origin: configFile === undefined ? 'PLIMSOLL_CONFIG' : '--config' };
  const layers = [fileLayer(named, cwd, readFile), environmentLayer(env, cwd, readFile), flagLayer(flags)];
  const faults: ConfigFault[] = [];
  const chosen = new Map<string, Given>();
  for (const layer of layers) {
    const judged = layer.given.map((given) => ({ given, found: judge(given) }));
    faults.push(...inOrder([...layer.faults, ...judged.flatMap(({ found }) => found)]));
    for (const { given, found } of judged) if (found.length === 0) chosen.set(given.setting.path, given);
  }
  const doubtful = new Set(faults.map((fault) => settingOf(fault.path)));
  const values = schema.parse(nest(chosen));
  const originOf: OriginOf = (of, at = []) => chosen.get(of)?.origin(at) ?? 'default';
  faults.push(...relationFaults(values, originOf, doubtful));
  if (faults.length > 0) throw new ConfigError(faults);
  return toConfig(values, chosen, env, cwd);
}
