/**
 * Power cuts: a producer brings run after run and says which are acknowledged, workers work on them, and Redis loses its
 * power again and again, each time back to what was flushed to its disk. In the end every acknowledged prompt must be in
 * the lake once. `npm run chaos -- --power-cuts 200`; `--appendfsync everysec` shows what a weaker setting loses.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pollUntil } from '../../../local/poll.ts';
import { seeded } from '../box/random.ts';
import { filesBelow, readRows } from '../oracle.ts';
import { tied } from './children.ts';
import { judge } from './judge.ts';
import { Players } from './players.ts';
import type { Product } from './product.ts';
import { apiKey, canary, impatient, prefix, Stage } from './stage.ts';

export interface PowerCutsResult {
  readonly cuts: number;
  readonly runsAcknowledged: number;
  readonly promptsAcknowledged: number;
  /** Acknowledged prompts that are in no file of the lake. */
  readonly promptsLost: number;
  /** Bytes of the append-only file that the cuts took away: written, and acknowledged to nobody. */
  readonly bytesCut: number;
  readonly isFlushNoted: boolean;
  readonly breaches: readonly string[];
  readonly seconds: number;
}

const promptsPerRun = 12;
/** Everything that was acknowledged must be exported within this, after the last cut. */
const calmBoundMs = 180_000;

/** Plays `cuts` power cuts in one world. */
export async function playPowerCuts(cuts: number, seed: number, product: Product, appendfsync: string | undefined): Promise<PowerCutsResult> {
  const began = performance.now();
  const random = seeded(seed);
  const stage = new Stage({
    seed, batchMs: 20, archiveBytes: 30_000, chunkBytes: 1_500, budgetTokens: undefined, env: { ...impatient, LOG_LEVEL: 'warn' },
    ...(appendfsync === undefined ? {} : { redis: ['--appendfsync', appendfsync] }), onMishap: () => undefined,
  }, product);
  const acknowledged: string[] = [];
  let bytesCut = 0;
  let players: Players | undefined;
  try {
    await stage.open();
    players = new Players({ product, folder: stage.folder, lake: stage.lake, env: stage.env, strikes: [], onStruck: () => undefined });
    let isOver = false;
    const works = [1, 2].map(async (index) => {
      while (!isOver && players) {
        await players.start(index === 1 ? 'worker-1' : 'worker-2', ['work']).ended;
        await new Promise<void>((resolve) => setTimeout(resolve, 100));
      }
    });
    const bringer = tied(spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'bringer.ts'), String(promptsPerRun), canary], { cwd: join(import.meta.dirname, '../../..'), env: { ...stage.env, PLIMSOLL_CONFIG: join(stage.folder, 'plimsoll.yaml') }, stdio: ['pipe', 'pipe', 'inherit'] }));
    createInterface({ input: bringer.stdout }).on('line', (line) => acknowledged.push(line));
    const gone = once(bringer, 'close');
    await Promise.race([once(bringer.stdout, 'data'), gone.then(() => Promise.reject(new Error('the producer ended by itself')))]);
    for (let cut = 0; cut < cuts; cut += 1) {
      // There must be something to lose: at least one acknowledgement between two cuts, unless that takes too long.
      const before = acknowledged.length;
      await pollUntil(() => (acknowledged.length > before ? true : undefined), { limitMs: 2_000, firstMs: 5, longestMs: 10 });
      await new Promise<void>((resolve) => setTimeout(resolve, random.int(150)));
      bytesCut += await stage.cutPower();
    }
    bringer.stdin.end();
    await gone;
    const ended = (): number => filesBelow(join(stage.lake, 'runs')).filter((file) => file.endsWith('/_SUCCESS')).length;
    await pollUntil(() => (ended() >= acknowledged.length ? true : undefined), { limitMs: appendfsync === undefined ? calmBoundMs : 20_000, firstMs: 100, longestMs: 500 });
    isOver = true;
    await players.stopAll(8_000);
    await Promise.all(works);
    await stage.redis.stop();
    const seen = new Set(readRows(stage.lake).map(({ id }) => id));
    const ids = (run: string): string[] => Array.from({ length: promptsPerRun }, (_, index) => `${run}-${index}`);
    const lost = acknowledged.flatMap(ids).filter((id) => !seen.has(id));
    const { breaches } = judge({
      lake: stage.lake, provider: stage.provider, truthFile: stage.truthFile, runs: new Map(acknowledged.map((run) => [run, { ids: ids(run), isAcknowledged: true, badLines: 0 }])), isEnded: true,
      strangersCreates: 0, historyFiles: stage.redis.history.slice(-1), said: players.said, deaths: players.deaths, delivered: stage.delivered,
      rebuilds: 0, secrets: [canary, apiKey], prefix,
    });
    return {
      cuts, runsAcknowledged: acknowledged.length, promptsAcknowledged: acknowledged.length * promptsPerRun, promptsLost: lost.length, bytesCut,
      isFlushNoted: stage.redis.isNoted, breaches, seconds: Math.round((performance.now() - began) / 100) / 10,
    };
  } finally {
    await players?.stopAll(0);
    await stage.close();
  }
}
