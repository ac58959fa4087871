import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { dirname, join } from 'node:path';
import { BatchRunner } from './batchrunner.ts';
import { SimulatedClock, instantText } from './clock.ts';
import { FaultEngine } from './faults.ts';
import { serve } from './frontdesk.ts';
import type { InferenceWorld } from './inference.ts';
import { JudgeDesk } from './judgedesk.ts';
import { Meters } from './meters.ts';
import { PromptCache } from './promptcache.ts';
import { BatchRecords } from './records.ts';
import { identifier, uuid } from './seeded.ts';
import { resolveSettings, SimulatorUsageError, type Settings, type SimulatorOptions } from './settings.ts';
import { lockState } from './statelock.ts';
import { TruthLog } from './truth.ts';
import type { World } from './world.ts';

export type { Answer, AnswerFunction, AnswerRequest } from './answersource.ts';
export type { FaultRule, FaultScript } from './faults.ts';
export { SimulatorUsageError, type SimulatorOptions } from './settings.ts';

/** A running simulator. */
export interface Simulator {
  /** Base URL for any Anthropic client, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Closes every connection and the truth log. Unfinished batches stay on disk and go on at the next start. */
  stop(): Promise<void>;
}

/**
 * Starts a server that behaves like the Message Batches, Messages, count_tokens and models API, on `stateDir`.
 * Throws `SimulatorUsageError` for options that make no sense, a folder that cannot be written
 * or that another simulator uses, and a port that cannot be had.
 */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  const settings = resolveSettings(options);
  let open: (world: World) => void = () => undefined;
  const opened = new Promise<World>((resolve) => {
    open = resolve;
  });
  const server = createServer((request, response) => {
    void opened.then((world) => receive(world, request, response));
  });
  server.requestTimeout = 0;
  server.headersTimeout = 60_000;
  server.keepAliveTimeout = 120_000;
  // The port comes first: a second simulator that is refused the port must not have touched the folder of the first.
  await listen(server, settings);
  let unlock = async (): Promise<void> => undefined;
  const world = await openWorld(settings, (taken) => {
    unlock = taken;
  }).catch(async (cause: unknown) => {
    await unlock();
    server.close();
    throw cause;
  });
  world.faults.add(options.faults ?? { faults: [] });
  open(world);
  const port = portOf(server);
  return { url: `http://${settings.host.includes(':') ? `[${settings.host}]` : settings.host}:${port}`, port, stop: () => stop(world, server).finally(unlock) };
}

/** Serves one call. A failure of the simulator itself is told in the truth log and closes the connection; it never looks like an answer. */
function receive(world: World, request: IncomingMessage, response: ServerResponse): void {
  response.sendDate = false;
  response.on('error', () => undefined);
  serve(world, request, response).catch((cause: unknown) => {
    const kind = request.errored === null ? 'simulator_defect' : 'client_gone';
    world.truth.append({ kind, what: cause instanceof Error ? cause.message : String(cause) });
    response.socket?.destroy();
  });
}

async function openWorld(settings: Settings, locked: (unlock: () => Promise<void>) => void): Promise<World> {
  try {
    mkdirSync(settings.stateDir, { recursive: true });
    locked(await lockState(settings.stateDir));
    makeTruthFolder(settings);
    const world = buildWorld(settings);
    world.truth.append({ kind: 'simulator_started', at: instantText(world.clock.nowUs()), seed: settings.seed, tier: settings.tier });
    await world.runner.recover();
    return world;
  } catch (cause) {
    if (cause instanceof SimulatorUsageError) {
      throw cause;
    }
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new SimulatorUsageError(`The simulator cannot use the folder ${settings.stateDir}: ${what}. Name a folder that can be written.`);
  }
}

function makeTruthFolder({ truthFile }: Settings): void {
  try {
    mkdirSync(dirname(truthFile), { recursive: true });
    closeSync(openSync(truthFile, 'a', 0o600));
  } catch (cause) {
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new SimulatorUsageError(`The truth log ${truthFile} cannot be written: ${what}. Name a file that can be.`);
  }
}

function buildWorld(settings: Settings): World {
  const clock = new SimulatedClock({ path: join(settings.stateDir, 'clock.json'), timeScale: settings.timeScale, startMs: settings.startMs });
  const truth = new TruthLog(settings.truthFile);
  const records = new BatchRecords(settings.stateDir);
  const { seed, billing, answers, finishAfterCancel } = settings;
  const inference: InferenceWorld = { seed, billing, answers, cache: new PromptCache(seed, { together: settings.cacheHitRate, standing: settings.standingHitRate }) };
  const faults = new FaultEngine(seed, (fault, rule, operation, requestId) => {
    truth.append({ kind: 'fault_injected', at: instantText(clock.nowUs()), fault, rule, operation, request_id: requestId });
  });
  const start = countStart(join(settings.stateDir, 'starts'));
  let calls = 0;
  return {
    settings,
    clock,
    truth,
    faults,
    records,
    inference,
    judges: new JudgeDesk(),
    meters: new Meters(settings, clock),
    runner: new BatchRunner(clock, truth, records, { seed, finishAfterCancel, inference }),
    organizationId: uuid(seed, 'organization'),
    nextRequestId: () => identifier('req_01', 22, seed, 'request', start, (calls += 1)),
  };
}

/** Which start on this folder it is, so that request ids differ between starts. */
function countStart(path: string): number {
  let before = 0;
  try {
    before = Number(readFileSync(path, 'utf8'));
  } catch {
    // The first start: there is no file yet.
  }
  writeFileSync(path, String(before + 1));
  return before + 1;
}

function listen(server: Server, settings: Settings): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const hint = cause.code === 'EADDRINUSE' ? 'it is in use; name another port, or 0 for a free one' : cause.message;
      reject(new SimulatorUsageError(`The simulator cannot listen on ${settings.host} port ${settings.port}: ${hint}.`));
    });
    server.listen(settings.port, settings.host, resolve);
  });
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function stop(world: World, server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeAllConnections();
  await closed;
  world.clock.stop();
  await world.judges.stop();
  await world.runner.stop();
  world.truth.close();
}
