/**
 * How long work stands still after a `kill -9`: two workers with the leases that are shipped work on one long run; one of
 * them is killed at a named point while it holds an archive, and what is measured is the time until that archive makes
 * its next move. `npm run chaos -- --recovery 40`.
 */
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { pollUntil } from '../../../local/poll.ts';
import { seeded } from '../box/random.ts';
import { Players } from './players.ts';
import type { Struck } from './points.ts';
import type { Product } from './product.ts';
import { prefix, Stage } from './stage.ts';

/** One kill. */
export interface Recovery {
  readonly point: string;
  /** Where the archive stood when its worker was killed, and where it stood next. */
  readonly from: string;
  readonly to: string;
  readonly ms: number;
}

/** Points at which a worker holds an archive, and one step later would have moved it. */
const points = [
  'ledger.seal-archive:before', 'lake.sealed:before', 'lake.intent:before', 'ledger.arm-intent:before', 'claude.create:midway', 'ledger.send-intent:before',
  'ledger.end-archive:before', 'lake.result-lines:before', 'lake.outcome:after', 'ledger.settle:before', 'lake.results:after', 'lake.archive-manifest:before', 'ledger.export-archive:before',
] as const;

const boundMs = 60_000;
/** Only what has nothing to do with a crash is shorter than shipped: the provider ends at once and is asked often. */
const brisk = { PLIMSOLL_POLL__MIN: '50ms', PLIMSOLL_ARCHIVE__LINGER: '500ms', LOG_LEVEL: 'warn' };

/** Plays `kills` kills in worlds side by side. */
export async function playRecoveries(kills: number, seed: number, jobs: number, product: Product): Promise<readonly Recovery[]> {
  const perWorld = Math.ceil(kills / jobs);
  const worlds = await Promise.all(Array.from({ length: jobs }, async (_, index) => await playWorld(perWorld, seed + index, product)));
  return worlds.flat();
}

async function playWorld(kills: number, seed: number, product: Product): Promise<readonly Recovery[]> {
  const random = seeded(seed);
  const stage = new Stage({ seed, batchMs: 50, archiveBytes: 8_000, chunkBytes: 4_000, budgetTokens: undefined, env: brisk, onMishap: () => undefined }, product);
  const recoveries: Recovery[] = [];
  let players: Players | undefined;
  try {
    await stage.open();
    for (let kill = 0; kill < kills; kill += 1) {
      const point = points[(seed + kill) % points.length] ?? points[0];
      let onStruck: (struck: Struck) => void = () => undefined;
      const struck = new Promise<Struck>((resolve) => (onStruck = resolve));
      const strike = { id: `k${kill}`, point, nth: 1 + random.int(3), kind: 'kill' as const, ms: 0 };
      players = new Players({ product, folder: stage.folder, lake: stage.lake, env: stage.env, strikes: [{ slot: 'worker-1', strike }], onStruck });
      const source = join(stage.folder, `${kill}.jsonl`);
      writeFileSync(source, Array.from({ length: 400 }, (_, index) => `${JSON.stringify({ id: `k${kill}-${index}`, params: { model: 'claude-haiku-4-5', max_tokens: 16, messages: [{ role: 'user', content: `text ${index} ${'x'.repeat(100)}` }] } })}\n`).join(''));
      const victim = players.start('worker-1', ['work']);
      players.start('worker-2', ['work']);
      await players.start('producer', ['enqueue', source, '--run-key', `kill-${kill}`, '--quiet']).ended;
      const what = await Promise.race([struck, new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 30_000))]);
      // The other worker may have done all there was to do.
      if (what === undefined) {
        await players.stopAll(5_000);
        continue;
      }
      await victim.ended;
      const recovery = await measure(stage.redis.admin, what.subject, point);
      if (recovery) recoveries.push(recovery);
      await players.stopAll(5_000);
    }
    return recoveries;
  } finally {
    await players?.stopAll(0);
    await stage.close();
  }
}

/** Waits for the next move of the archive that the victim held. */
async function measure(redis: Redis, subject: string, point: string): Promise<Recovery | undefined> {
  const killedAt = performance.now();
  const archive = await archiveOf(redis, subject);
  if (archive === undefined) return undefined;
  const stateOf = async (): Promise<string> => (await redis.hget(`${prefix}archive:${archive}`, 'state')) ?? '';
  const from = await stateOf();
  const to = await pollUntil(async () => {
    const state = await stateOf();
    return state === from ? undefined : state;
  }, { limitMs: boundMs, firstMs: 20, longestMs: 20 });
  return { point, from, to: to ?? 'nowhere', ms: Math.round(performance.now() - killedAt) };
}

/** The archive that a strike's subject belongs to: an archive, an intent, a lake key that names one, or whatever is being submitted. */
async function archiveOf(redis: Redis, subject: string): Promise<string | undefined> {
  const keys = await redis.keys(`${prefix}archive:*`);
  const archives = keys.filter((key) => !key.endsWith(':chunks')).map((key) => key.slice(`${prefix}archive:`.length));
  const named = archives.find((archive) => subject.includes(archive));
  if (named !== undefined) return named;
  const intent = /[a-z0-9]{20,}/.exec(subject)?.[0];
  const ofIntent = intent === undefined ? null : await redis.hget(`${prefix}intent:${intent}`, 'archive');
  if (ofIntent !== null) return ofIntent;
  for (const archive of archives) if ((await redis.hget(`${prefix}archive:${archive}`, 'state')) === 'submitting') return archive;
  return undefined;
}

/** The figures of a set of recoveries. */
export function recoveryText(recoveries: readonly Recovery[]): string {
  const times = recoveries.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (share: number): string => `${((times[Math.min(times.length - 1, Math.ceil(times.length * share) - 1)] ?? Number.NaN) / 1000).toFixed(1)} s`;
  const rows = recoveries.map(({ point, from, to, ms }) => `  ${(ms / 1000).toFixed(1).padStart(5)} s  ${from} -> ${to}, killed at ${point}`).sort();
  return `${recoveries.length} kills: work goes on after p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, longest ${at(1)}\n${rows.join('\n')}\n`;
}
