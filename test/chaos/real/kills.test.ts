/** `kill -9` at moments that no drawn seed meets for certain: within a chunk that is partly in a file, at the end of a section, in a body that a thread makes, halfway through a replan. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { filesBelow, readTruth } from '../oracle.ts';
import { tied } from './children.ts';
import { judge } from './judge.ts';
import { Players, type Exit } from './players.ts';
import { buildProduct, type Product } from './product.ts';
import type { Slot } from './schedule.ts';
import { apiKey, canary, impatient, prefix, Stage } from './stage.ts';

const timeout = 120_000;
const run = 'run-0';
const segment = 'invoices.8k.normal';

let product: Product;
let stage: Stage | undefined;
let players: Players | undefined;
beforeAll(async () => {
  product = await buildProduct();
});
afterEach(async () => {
  await players?.stopAll(0);
  await stage?.close();
  [players, stage] = [undefined, undefined];
});
afterAll(() => product.remove());

interface World {
  readonly stage: Stage;
  readonly ids: readonly string[];
  readonly source: string;
  /** Runs one command; with a point, its process is killed there. */
  command(args: readonly string[], point?: string, nth?: number): Promise<Exit>;
  /** Lets a worker work until a condition holds, and drains it. */
  workUntil(isTrue: () => boolean | Promise<boolean>): Promise<void>;
  /** Works to the end of the run and says what is broken. */
  breaches(): Promise<readonly string[]>;
}

/** A stage with a source of `rows` prompts of about `textBytes` bytes. */
async function openWorld(rows: number, textBytes: number, settings: { readonly chunkBytes: number; readonly archiveBytes: number; readonly budgetTokens?: number; readonly env?: Readonly<Record<string, string>> }): Promise<World> {
  const opened = new Stage({ seed: 1, batchMs: 50, budgetTokens: settings.budgetTokens, chunkBytes: settings.chunkBytes, archiveBytes: settings.archiveBytes, env: { ...impatient, ...settings.env }, onMishap: () => undefined }, product);
  stage = opened;
  await opened.open();
  const said: string[] = [];
  const deaths: string[] = [];
  const ids = Array.from({ length: rows }, (_, index) => `doc-${index}`);
  const source = join(opened.folder, 'in.jsonl');
  writeFileSync(source, ids.map((id) => `${JSON.stringify({ id, topic: 'invoices', params: { model: 'claude-haiku-4-5', max_tokens: 32, messages: [{ role: 'user', content: `${canary} ${id} ${'x'.repeat(textBytes)}` }] } })}\n`).join(''));
  /** Players of one command each: what they suffer is known when they are made. */
  const playersWith = (slot: Slot, point: string | undefined, nth: number): Players => {
    players = new Players({
      product, folder: opened.folder, lake: opened.lake, env: opened.env, onStruck: () => undefined,
      strikes: point === undefined ? [] : [{ slot, strike: { id: point, point, nth, kind: 'kill', ms: 0 } }],
    });
    return players;
  };
  const keep = (from: Players): void => {
    said.push(...from.said);
    deaths.push(...from.deaths);
  };
  const workUntil = async (isTrue: () => boolean | Promise<boolean>): Promise<void> => {
    const working = playersWith('worker-1', undefined, 1);
    const worker = working.start('worker-1', ['work']);
    await expect.poll(isTrue, { timeout: 60_000, interval: 30 }).toBe(true);
    worker.ask();
    await worker.ended;
    keep(working);
  };
  return {
    stage: opened, ids, source, workUntil,
    async command(args, point, nth = 1) {
      const one = playersWith('operator', point, nth);
      const exit = await one.start('operator', args).ended;
      keep(one);
      return exit;
    },
    async breaches() {
      await workUntil(() => filesBelow(join(opened.lake, 'runs')).some((file) => file.endsWith(`/${run}/_SUCCESS`)) && opened.delivered.some(({ id }) => id === `${run}:completed`));
      await opened.redis.stop();
      return judge({
        lake: opened.lake, provider: opened.provider, truthFile: opened.truthFile, runs: new Map([[run, { ids, isAcknowledged: true, badLines: 0 }]]), isEnded: true,
        strangersCreates: 0, historyFiles: opened.redis.history, said, deaths, delivered: opened.delivered, rebuilds: 0, secrets: [canary, apiKey], prefix,
      }).breaches;
    },
  };
}

const enqueue = (source: string): readonly string[] => ['enqueue', source, '--run-key', run, '--quiet'];

/** Files into which open chunks were spilled. */
function spilled(lake: string): readonly string[] {
  return readdirSync(lake, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.spool') && statSync(join(lake, name)).size > 0);
}

it('a producer that is killed while a part of a chunk is in a file leaves no half chunk, and its run ends whole', { timeout }, async () => {
  const world = await openWorld(300, 5_000, { chunkBytes: 1_000_000, archiveBytes: 30_000_000, env: { PLIMSOLL_CHUNK__OPEN_BYTES_MAX: '1000000' } });
  const { lake, folder, env } = world.stage;
  // Its source never ends and none of its four chunks is full, so they stay open until the kill; together they are more than the memory holds.
  const victim = tied(spawn(process.execPath, [product.entry, ...enqueue('-')], { cwd: folder, env, stdio: ['pipe', 'ignore', 'ignore'] }));
  const gone = once(victim, 'close');
  victim.stdin.on('error', () => undefined);
  victim.stdin.write(world.ids.map((id, index) => `${JSON.stringify({ id, topic: ['a', 'b', 'c', 'd'][index % 4], params: { model: 'claude-haiku-4-5', max_tokens: 32, messages: [{ role: 'user', content: `${canary} ${'y'.repeat(5_000)}` }] } })}\n`).join(''));
  await expect.poll(() => spilled(lake).length, { timeout: 30_000, interval: 10 }).toBeGreaterThan(0);
  victim.kill('SIGKILL');
  await gone;
  expect(filesBelow(join(lake, 'spool'))).toEqual([]);
  // Nothing of it was acknowledged, so the same run may come from another source.
  expect((await world.command(enqueue(world.source))).stderr).toBe('');
  expect(await world.breaches()).toEqual([]);
});

it.each([['before', 1], ['after', 1], ['before', 2], ['after', 2]] as const)('a producer that is killed at the end of a section (%s its object %i) goes on with the real Redis, and every prompt is there once', { timeout }, async (side, nth) => {
  const world = await openWorld(500, 5_000, { chunkBytes: 300_000, archiveBytes: 2_000_000, env: { PLIMSOLL_INPUT__SECTION_BYTES: '1MB' } });
  const killed = await world.command(enqueue(world.source), `lake.section:${side}`, nth);
  expect(killed.signal).toBe('SIGKILL');
  expect((await world.command(enqueue(world.source))).code).toBe(0);
  expect(await world.breaches()).toEqual([]);
});

it.each(['ledger.seal-archive:before', 'claude.create:midway', 'ledger.send-intent:before', 'ledger.send-intent:after', 'claude.create:sent'])('a worker that is killed at %s while a thread makes its body leaves one batch in the end', { timeout }, async (point) => {
  const world = await openWorld(300, 60_000, { chunkBytes: 1_000_000, archiveBytes: 30_000_000 });
  expect((await world.command(enqueue(world.source))).code).toBe(0);
  expect((await world.command(['work'], point)).signal).toBe('SIGKILL');
  expect(await world.breaches()).toEqual([]);
  // All rows fit one archive, so a second batch would be the same rows again.
  expect([...readTruth(world.stage.truthFile).batches.values()]).toEqual([300]);
});

it.each(['lake.spool:after', 'lake.replan:before', 'lake.replan:after', 'ledger.replan-chunks:before', 'ledger.replan-chunks:after'])('a replan that is killed at %s and given again is applied once', { timeout }, async (point) => {
  const world = await openWorld(60, 400, { chunkBytes: 3_000, archiveBytes: 16_000, budgetTokens: 6_000 });
  expect((await world.command(enqueue(world.source))).code).toBe(0);
  const { admin } = world.stage.redis;
  await world.workUntil(async () => (await admin.keys(`${prefix}stop:*:held`)).length > 0);
  const replan = ['replan', segment, '--max-tokens', '16', '--sample', '60%', '--apply', '--by', 'ada', '--reason', 'a test', '--json'];
  expect((await world.command(replan, point)).signal).toBe('SIGKILL');
  const again = await world.command(replan);
  // Behind the last script everything is replanned already: nothing is held any more.
  expect(again.code, again.stderr).toBe(point === 'ledger.replan-chunks:after' ? 2 : 0);
  world.stage.limitBudget(1_000_000_000);
  expect((await world.command(['budget', 'set', 'topic:invoices', '--tokens', '1000000000', '--json'])).code).toBe(0);
  expect(await world.breaches()).toEqual([]);
});
