/**
 * A disk that is full at every place where the product writes, and two producers of one run at once. The stages run in
 * this process on the real Redis and a simulated provider; the lake fails once for each kind of object.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openInstallation, startStages, type Installation } from '../../cli/compose.ts';
import { connectClaude } from '../../cli/provider.ts';
import { followRun } from '../../cli/follow.ts';
import { producerSettings } from '../../cli/source.ts';
import { loadConfig } from '../../config/config.ts';
import { readEnvironment } from '../../config/env.ts';
import { startSimulator, type Simulator } from '../../local/simulator/simulator.ts';
import { produce, type Production, type SourceLocation } from '../../producers/producer.ts';
import { PlimsollError } from '../../segments/errors.ts';
import type { RunKey } from '../../segments/segment.ts';
import type { Store } from '../../segments/store/store.ts';
import { corpus } from '../chaos/world.ts';

const folder = mkdtempSync(join(tmpdir(), 'plimsoll-disk-'));
let simulator: Simulator;
let installation: Installation;
/** Kinds of objects for which the disk is full, by run. A fault happens once. */
const faults = new Set<string>();
const met: string[] = [];

/** What is written for a run at each place: the prefix of its keys. */
const places = ['spool', 'journal/runs', 'journal/archives', 'journal/intents', 'journal/results', 'journal/outcomes', 'results', 'runs'];

beforeAll(async () => {
  simulator = await startSimulator({ stateDir: join(folder, 'provider'), truthFile: join(folder, 'truth.jsonl'), batchMs: 50, tier: 'unlimited', retryAfterSeconds: 0 });
  const config = loadConfig({
    env: readEnvironment({
      PATH: process.env['PATH'], PLIMSOLL_HOME: join(folder, 'home'), ANTHROPIC_API_KEY: 'sk-test-canary-7781', ANTHROPIC_BASE_URL: simulator.url,
      PLIMSOLL_POLL__MIN: '50ms', PLIMSOLL_SWEEP__INTERVAL: '100ms', PLIMSOLL_SWEEP__LEASE: '2s', PLIMSOLL_SUBMIT__LEASE: '3s',
    }),
    cwd: folder,
  });
  const opened = await openInstallation({ config, install: false, announce: () => undefined, log: () => undefined });
  installation = { ...opened, store: filling(opened.store) };
});
afterAll(async () => {
  await installation.close();
  await simulator.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** The store whose disk is full once for every run and place in `faults`. Keys name their run, or its archive's tag. */
function filling(store: Store): Store {
  const check = async (key: string): Promise<void> => {
    const runs = await Promise.all((await installation.ledger.listRuns()).map(async (run) => await installation.ledger.readRun(run)));
    const owner = runs.find((run) => run && (key.includes(run.tag) || key.includes(`/${run.run}/`)))?.run ?? [...faults].map((fault) => fault.split(' ')[1] ?? '').find((run) => key.includes(`/${run}/`));
    const fault = places.map((place) => `${place} ${owner ?? ''}`).find((name) => faults.has(name) && key.startsWith(`${name.split(' ')[0] ?? ''}/`));
    if (fault === undefined) return;
    faults.delete(fault);
    met.push(fault);
    throw new PlimsollError('lake_full', { message: 'cannot write: no room is left on the disk', where: key });
  };
  return {
    uri: store.uri,
    async put(key, content) {
      await check(key);
      return await store.put(key, content);
    },
    async putFile(key, path, content) {
      await check(key);
      return await store.putFile(key, path, content);
    },
    read: (key, range) => store.read(key, range),
    readWhole: async (key, range) => await store.readWhole(key, range),
    head: async (key) => await store.head(key),
    list: (prefix) => store.list(prefix),
    close: async () => await store.close(),
  };
}

async function ingest(run: string, source: SourceLocation): Promise<Production> {
  const { ledger, store, wake, id: installationId, now } = installation;
  return await produce({ runKey: run as RunKey, source, settings: producerSettings(installation, {}), ledger, store, wake, installationId, now, signal: new AbortController().signal });
}

const rowsOf = (seed: number): SourceLocation => ({
  kind: 'rows', uri: 'made here',
  rows: (async function* () {
    await Promise.resolve();
    yield Buffer.from(corpus(9, seed));
  })(),
});

describe('a full disk', () => {
  it('at any place where the product writes loses nothing: the producer says so and goes on, a stage tries again by itself', async () => {
    const runs = places.map((place, index) => ({ place, run: `full-${index}`, seed: index + 1 }));
    for (const { place, run } of runs) faults.add(`${place} ${run}`);
    // One run per place, so that the waits of the stages lie beside each other.
    for (const { place, run, seed } of runs) {
      const first = await ingest(run, rowsOf(seed)).catch((error: unknown) => error);
      if (place === 'spool' || place === 'journal/runs') {
        expect(first).toMatchObject({ code: 'lake_full', exit: 1 });
        await ingest(run, rowsOf(seed));
      } else {
        expect(first).toMatchObject({ accepted: 9 });
      }
    }
    const claude = await connectClaude(installation, { isSimulated: false, announce: () => undefined });
    const stages = await startStages(installation, claude, () => undefined);
    const ends = await Promise.all(runs.map(async ({ run }) => await followRun(installation.ledger, run as RunKey, { timeoutMs: 50_000, signal: new AbortController().signal })));
    await stages.close(5_000);
    await claude.close();
    expect(ends.map(({ view }) => [view.run.run, view.run.result, view.run.succeeded])).toEqual(runs.map(({ run }) => [run, 'succeeded', 9]));
    expect(met.sort()).toEqual(runs.map(({ place, run }) => `${place} ${run}`).sort());
    expect(readdirSync(join(installation.config.home, 'scratch')).filter((name) => name.endsWith('.jsonl'))).toEqual([]);
  });
});

it('of two producers of one run at once the slower one is told to let the other finish', async () => {
  const line = (index: number): Buffer => Buffer.from(corpus(200, 77).split('\n').slice(index * 100, index * 100 + 100).join('\n') + '\n');
  const reached = deferred();
  const released = deferred();
  const slow = ingest('both', { kind: 'rows', uri: 'made here', rows: (async function* () {
    yield line(0);
    reached.resolve();
    await released.promise;
    yield line(1);
  })() }).catch((error: unknown) => error);
  await reached.promise;
  const fast = await ingest('both', { kind: 'rows', uri: 'made here', rows: (async function* () {
    await Promise.resolve();
    yield line(0);
    yield line(1);
  })() });
  expect(fast.accepted).toBe(200);
  released.resolve();
  const error = await slow;
  expect(error).toMatchObject({ code: 'run_busy', exit: 1, message: expect.stringMatching(/another producer/) as string, hint: expect.stringContaining('Let the other one finish') as string });
});

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
