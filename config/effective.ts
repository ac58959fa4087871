/**
 * From judged values to what the program uses: paths made absolute, defaults that depend on other settings filled in,
 * everything frozen; and beside it the list that `plimsoll config` shows.
 */
import { join, resolve } from 'node:path';
import { envelopeBytes, entryOverheadBytes } from '../segments/pack.ts';
import { toBudget } from './budget.ts';
import type { Config } from './config.ts';
import type { Environment } from './env.ts';
import { maskSecret, maskUrl } from './fault.ts';
import type { Given } from './given.ts';
import { providerLimits } from './limits.ts';
import type { Values } from './schema.ts';
import { toSinks } from './sinks.ts';
import { toTier } from './tier.ts';
import { settings } from './tree.ts';

/** One line of `plimsoll config`. */
export interface EffectiveSetting {
  readonly path: string;
  /** JSON data as a settings file could hold it; secrets are masked; undefined: not set. */
  readonly value: unknown;
  /** `file:line:column`, a variable, a flag, or `default`. */
  readonly origin: string;
  readonly doc: string;
}

/** Freezes plain data through and through; maps are left as they are, their type is read-only. */
function deepFreeze<Data>(data: Data): Data {
  if (typeof data !== 'object' || data === null || data instanceof Map || Object.isFrozen(data)) return data;
  for (const part of Object.values(data)) deepFreeze(part);
  return Object.freeze(data);
}

function lakeOf(lake: string | undefined, home: string, cwd: string): string {
  if (lake === undefined) return join(home, 'lake');
  return lake.startsWith('s3://') ? lake.replace(/\/+$/, '') : resolve(cwd, lake);
}

/** A line that fills an archive by itself is the longest that can be sent. */
function lineBytesMaxOf(values: Values): number {
  const fitting = values.archive.bytesMax - entryOverheadBytes - envelopeBytes;
  return values.input.lineBytesMax ?? Math.min(providerLimits.requestBytesMax, fitting);
}

/** The configuration that the values make. `cwd` is where relative paths start. */
export function toConfig(values: Values, chosen: ReadonlyMap<string, Given>, env: Environment, cwd: string): Config {
  const home = resolve(cwd, values.home);
  const lake = lakeOf(values.lake, home, cwd);
  const lineBytesMax = lineBytesMaxOf(values);
  const derived = new Map<string, unknown>([['home', home], ['lake', lake], ['input.lineBytesMax', lineBytesMax]]);
  const { redis, aws, s3, anthropic, defaults, cache, archive, poll, submit, sweep, input, events, listen } = values;
  const endpoint = aws.endpoint?.replace(/\/+$/, '');
  return deepFreeze<Config>({
    home,
    lake,
    redis: { url: redis.url, tag: redis.tag },
    anthropic: {
      apiKey: anthropic.apiKey,
      authToken: anthropic.authToken,
      baseUrl: anthropic.baseUrl.replace(/\/+$/, ''),
      version: anthropic.version,
    },
    defaults: {
      topic: defaults.topic,
      priority: defaults.priority,
      client: defaults.client,
      model: defaults.model,
      maxTokens: defaults.maxTokens,
      tier: defaults.tier,
    },
    prices: { file: values.prices.file === undefined ? undefined : resolve(cwd, values.prices.file) },
    contexts: values.contexts,
    chunk: values.chunk,
    cache: { policy: cache.policy, topics: cache.topics, after: cache.after, primerWaitMs: cache.primerWait },
    archive: { bytesMax: archive.bytesMax, rowsMax: archive.rowsMax, lingerMs: archive.linger, fullPermille: archive.fullPermille },
    poll: { minMs: poll.min, maxMs: poll.max },
    submit: { leaseMs: submit.lease, queueRows: submit.queueRows, patienceMs: submit.patience, timeoutMs: submit.timeout, landingWaitMs: submit.landingWait, unprovable: submit.unprovable },
    retry: { attemptsMax: values.retry.attemptsMax, accountRestMs: values.retry.accountRest, accountRounds: values.retry.accountRounds },
    sweep: { intervalMs: sweep.interval, workspaceMs: sweep.workspace, leaseMs: sweep.lease },
    work: values.work,
    input: { lineBytesMax, nestingMax: input.nestingMax, expansionMax: input.expansionMax, sectionBytes: input.sectionBytes },
    export: values.export,
    audit: values.audit,
    s3: {
      region: aws.region,
      endpoint,
      isPathStyle: s3.pathStyle === 'always' || (s3.pathStyle === 'auto' && endpoint !== undefined),
      isChecksumMinimal: s3.checksums === 'required',
      kmsKeyId: s3.kmsKeyId,
      bucketOwner: s3.bucketOwner,
      timeoutMs: s3.timeout,
    },
    sqs: { region: aws.region, endpoint },
    events: { sinks: toSinks(events.sinks), webhookSecret: events.webhookSecret, timeoutMs: events.timeout },
    listen: { queue: listen.queue, sources: listen.sources, visibilityMs: listen.visibility, concurrency: listen.concurrency },
    tiers: Object.fromEntries(Object.entries(values.tiers).map(([name, given]) => [name, toTier(given)])),
    clients: values.clients,
    budgets: Object.entries(values.budgets).map(([target, given]) => toBudget(target, given)),
    log: values.log,
    searchPath: env.searchPath,
    isColorless: env.isColorless,
    isCi: env.isCi,
    origins: new Map([...settings.keys()].map((path) => [path, chosen.get(path)?.origin([]) ?? 'default'])),
    effective: effectiveSettings(chosen, derived),
  });
}

function effectiveSettings(chosen: ReadonlyMap<string, Given>, derived: ReadonlyMap<string, unknown>): readonly EffectiveSetting[] {
  return [...settings.values()].map(({ path, doc, note }) => {
    const given = chosen.get(path);
    const value = derived.get(path) ?? given?.value ?? note.initial;
    return { path, value: masked(value, note.isSecret), origin: given?.origin([]) ?? 'default', doc };
  });
}

function masked(value: unknown, isSecret: boolean): unknown {
  if (typeof value !== 'string') return value;
  return isSecret ? maskSecret(value) : maskUrl(value);
}
