/** What makes a Redis, a lake, a clock and a price table fit for the product: judgements on what was read. Pure. */
import type { ModelEntry, PriceTable } from '../config/models.ts';

/** `ok`: nothing to do. `warning`: it works, and something can be lost or be late. `fail`: nothing may be posted like this. */
export type Verdict = 'ok' | 'warning' | 'fail';

/** One line of the doctor. */
export interface Finding {
  readonly check: string;
  readonly verdict: Verdict;
  readonly detail: string;
  /** What to do; undefined when there is nothing to do. */
  readonly fix?: string;
}

export const oldestNode = { major: 20, minor: 19 };
/** BullMQ asks for it (infrastructure.md 4). */
const oldestRedis = { major: 6, minor: 2 };
const memoryPermilleMax = 800;
const clockSkewMsMax = 2_000;
/** Prices are changed a few times a year; an older table may reserve too little. */
const priceAgeDaysMax = 60;
const diskBytesMin = 1_000_000_000;
const diskBytesComfortable = 10_000_000_000;
const dayMs = 86_400_000;

function ok(check: string, detail: string): Finding {
  return { check, verdict: 'ok', detail };
}

/** Judges the version of Node, for example `v20.19.4`. */
export function judgeNode(version: string): Finding {
  return isAtLeast(version, oldestNode) ? ok('node', version) : { check: 'node', verdict: 'fail', detail: `${version} is older than ${oldestNode.major}.${oldestNode.minor}`, fix: 'Install Node 20.19 or later.' };
}

/** Judges the replies of INFO (all sections) and CONFIG GET appendfsync; undefined: it may not be asked. */
export function judgeRedis(info: string, fsync: string | undefined): readonly Finding[] {
  const of = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  return [judgeVersion(of('redis_version') ?? 'unknown'), judgePolicy(of('maxmemory_policy')), judgeAof(of('aof_enabled') === '1', fsync), judgeAofStatus(of('aof_enabled') === '1', of('aof_last_write_status')), judgeMemory(Number(of('used_memory') ?? 0), Number(of('maxmemory') ?? 0))];
}

function judgeVersion(version: string): Finding {
  if (isAtLeast(version, oldestRedis)) return ok('redis.version', version);
  return { check: 'redis.version', verdict: 'fail', detail: `${version} is older than ${oldestRedis.major}.${oldestRedis.minor}`, fix: 'Use Redis 6.2 or later, or Valkey.' };
}

function judgePolicy(policy: string | undefined): Finding {
  if (policy === undefined) return { check: 'redis.policy', verdict: 'warning', detail: 'the server does not say its maxmemory-policy', fix: 'Make sure that it is noeviction: an evicted key is a lost reservation or intent.' };
  if (policy === 'noeviction') return ok('redis.policy', policy);
  return {
    check: 'redis.policy',
    verdict: 'fail',
    detail: `Redis runs with maxmemory-policy ${policy}: it may evict what the ledger has promised to keep`,
    fix: 'Run: redis-cli config set maxmemory-policy noeviction (and set it in its configuration file).',
  };
}

/** What a power cut takes, measured by cutting the append-only file to its last fsync (reliability.md 1, E6). */
function judgeAof(isOn: boolean, fsync: string | undefined): Finding {
  const check = 'redis.aof';
  const fix = 'Run: redis-cli config set appendonly yes; redis-cli config set appendfsync always (and set both in its configuration file).';
  if (!isOn) return { check, verdict: 'warning', detail: 'the append-only file is off: a restart forgets every prompt since the last snapshot, and plimsoll recover must follow it', fix };
  switch (fsync) {
    case 'always':
      return ok(check, 'appendonly yes, appendfsync always');
    case 'everysec':
      return { check, verdict: 'warning', detail: 'appendfsync everysec: a power cut takes up to two seconds of acknowledged prompts with it (measured: 1,553 to 26,819 writes per cut), and plimsoll recover must follow it', fix };
    case undefined:
      return { check, verdict: 'warning', detail: 'the server does not say its appendfsync', fix: 'On a managed Redis choose synchronous durability; otherwise a failover may take acknowledged prompts with it.' };
    default:
      return { check, verdict: 'warning', detail: `appendfsync ${fsync}: a power cut takes tens of seconds of acknowledged prompts with it (measured: more than 76,000 writes per cut), and plimsoll recover must follow it`, fix };
  }
}

function judgeAofStatus(isOn: boolean, status: string | undefined): Finding {
  if (!isOn || status === undefined || status === 'ok') return ok('redis.aof_status', isOn ? (status ?? 'not told') : 'no append-only file');
  return { check: 'redis.aof_status', verdict: 'fail', detail: `the last write of the append-only file failed (${status}): what is acknowledged now is not durable`, fix: 'Free the disk of Redis or mend it; its log says what went wrong.' };
}

function judgeMemory(used: number, limit: number): Finding {
  const megabytes = (bytes: number): string => `${Math.round(bytes / 1_000_000)} MB`;
  if (limit === 0) return ok('redis.memory', `${megabytes(used)} used, no limit set`);
  if (used * 1_000 <= limit * memoryPermilleMax) return ok('redis.memory', `${megabytes(used)} of ${megabytes(limit)} used`);
  return { check: 'redis.memory', verdict: 'warning', detail: `${megabytes(used)} of ${megabytes(limit)} used: at the limit Redis refuses new prompts, and only what is queued goes on`, fix: 'Raise maxmemory.' };
}

/** Judges how far two clocks are apart; `offsetMs` is the other one minus ours. */
export function judgeClock(check: string, whose: string, offsetMs: number): Finding {
  const detail = `${whose} is ${Math.abs(offsetMs)} ms ${offsetMs < 0 ? 'behind' : 'ahead of'} this machine`;
  if (Math.abs(offsetMs) <= clockSkewMsMax) return ok(check, detail);
  return { check, verdict: 'warning', detail, fix: 'Let NTP keep this machine and Redis. Leases follow the clock of Redis; the date of a run and the search for a lost batch follow these.' };
}

/** Judges the free space of a folder. */
export function judgeDisk(check: string, path: string, freeBytes: number): Finding {
  const detail = `${(freeBytes / 1e9).toFixed(1)} GB free at ${path}`;
  if (freeBytes < diskBytesMin) return { check, verdict: 'fail', detail, fix: 'Free some space: a batch may need 256 MB on its way in and as much on its way out.' };
  if (freeBytes < diskBytesComfortable) return { check, verdict: 'warning', detail, fix: 'Free some space before a large run: a million prompts of 2 KB take about 5 GB in the lake.' };
  return ok(check, detail);
}

/** Judges the age of the price table. */
export function judgePrices(table: Pick<PriceTable, 'version'>, nowMs: number): Finding {
  const days = Math.floor((nowMs - Date.parse(newestDay(table.version))) / dayMs);
  const detail = `prices are of ${table.version}, ${days} days old`;
  if (days <= priceAgeDaysMax) return ok('prices', detail);
  return { check: 'prices', verdict: 'warning', detail, fix: 'Update Plimsoll, or set prices.file: budgets are kept in the prices that it knows.' };
}

/** The newest day in a version of the prices. */
function newestDay(version: string): string {
  return (version.match(/\d{4}-\d{2}-\d{2}/g) ?? [version]).sort().at(-1) ?? version;
}

/** Judges the models that are the default or wait to be sent. */
export function judgeModels(models: readonly string[], table: Pick<PriceTable, 'find'>, nowMs: number): readonly Finding[] {
  if (models.length === 0) return [ok('models', 'no default model, and nothing waits')];
  return models.map((model) => judgeModel(model, table.find(model), nowMs));
}

function judgeModel(model: string, entry: ModelEntry | undefined, nowMs: number): Finding {
  const check = 'models';
  const fix = 'Use a model that is offered: set defaults.model, or plimsoll cancel what waits and send it anew.';
  if (!entry) return { check, verdict: 'fail', detail: `${model} is not in the price table`, fix };
  const isGone = entry.status === 'retired' || (entry.retiresOn !== undefined && Date.parse(entry.retiresOn) <= nowMs);
  if (isGone) return { check, verdict: 'fail', detail: `${model} is retired: every request with it is refused`, fix };
  if (entry.status === 'deprecated') return { check, verdict: 'warning', detail: `${model} is deprecated${entry.retiresOn === undefined ? '' : ` and retires on ${entry.retiresOn}`}`, fix };
  return ok(check, `${model} is offered`);
}

/** Judges whether somebody handles what waits. `workers` undefined: the server does not say who is connected. */
export function judgeWorkers(waiting: Readonly<Record<string, number>>, workers: number | undefined): Finding {
  const check = 'workers';
  const stages = Object.entries(waiting).filter(([, count]) => count > 0);
  const what = stages.map(([stage, count]) => `${count} for ${stage}`).join(', ');
  if (workers === undefined) return { check, verdict: 'warning', detail: 'the server does not say who is connected', fix: 'Allow CLIENT LIST to this user of Redis.' };
  if (workers > 0 || stages.length === 0) return ok(check, `${workers} at work; ${stages.length === 0 ? 'nothing waits' : `waiting: ${what}`}`);
  return { check, verdict: 'warning', detail: `work waits and no process handles its stages: ${what}`, fix: 'Run: plimsoll work' };
}

function isAtLeast(version: string, oldest: { readonly major: number; readonly minor: number }): boolean {
  const match = /^v?(\d+)\.(\d+)/.exec(version);
  if (!match) return false;
  return Number(match[1]) > oldest.major || (Number(match[1]) === oldest.major && Number(match[2]) >= oldest.minor);
}
