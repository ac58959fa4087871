import Anthropic from '@anthropic-ai/sdk';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { startSimulator, type Simulator, type SimulatorOptions } from '../../../local/simulator/simulator.ts';

/**
 * A simulator for one test, with time standing still at a fixed instant, so that nothing depends on how fast the machine is. Everything is
 * stopped and removed after the test.
 */

export const START_MS = Date.UTC(2026, 10, 21, 8);

export type Json = { readonly [key: string]: unknown };

export interface Rig {
  readonly simulator: Simulator;
  readonly stateDir: string;
  /** The unmodified SDK, without retries unless told otherwise. */
  readonly client: Anthropic;
  /** A call by `fetch` with key and version headers. */
  call(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answered>;
  /** A control call. */
  control(method: string, path: string, body?: unknown): Promise<Json>;
  /** Moves time. */
  advance(ms: number): Promise<void>;
  /** Lines of the truth log, of one kind if given. */
  truth(kind?: string): Json[];
}

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: Json;
}

const opened: { stop(): Promise<void> }[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const thing of opened.splice(0)) {
    await thing.stop();
  }
  for (const folder of folders.splice(0)) {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** A folder that is removed after the test. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-simulator-'));
  folders.push(folder);
  return folder;
}

/** Starts a simulator; `options` override the defaults of the rig. */
export async function rig(options: Partial<SimulatorOptions> = {}): Promise<Rig> {
  const stateDir = options.stateDir ?? scratchFolder();
  const simulator = await startSimulator({ stateDir, timeScale: 0, startMs: START_MS, batchMs: 60_000, ...options });
  opened.push(simulator);
  const client = new Anthropic({ apiKey: 'test-key', baseURL: simulator.url, maxRetries: 0, logLevel: 'off' });
  const send = async (method: string, path: string, body: unknown, headers: Readonly<Record<string, string>>): Promise<Answered> => {
    const text = body === undefined ? undefined : typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    const reply = await fetch(`${simulator.url}${path}`, { method, headers, ...(text === undefined ? {} : { body: text }) });
    const answer = await reply.text();
    return { status: reply.status, headers: reply.headers, text: answer, json: asJson(answer) };
  };
  const control = async (method: string, path: string, body?: unknown): Promise<Json> => (await send(method, `/_simulator${path}`, body, {})).json;
  return {
    simulator,
    stateDir,
    client,
    call: (method, path, body, headers = {}) => send(method, path, body, { 'x-api-key': 'test-key', 'anthropic-version': '2023-06-01', ...headers }),
    control,
    advance: async (ms) => {
      await control('POST', '/clock', { advance_ms: ms });
    },
    truth: (kind) => truthLines(join(stateDir, 'truth.jsonl')).filter((line) => kind === undefined || line.kind === kind),
  };
}

/** Stops a simulator before the test ends, for instance to start another on the same folder. */
export async function stopNow(simulator: Simulator): Promise<void> {
  opened.splice(opened.indexOf(simulator), 1);
  await simulator.stop();
}

export function truthLines(path: string): Json[] {
  return readFileSync(path, 'utf8').split('\n').filter((line) => line !== '').map(asJson);
}

export function asJson(text: string): Json {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

/** The value at a path such as `error.message`. */
export function at(value: unknown, path: string): unknown {
  return path.split('.').reduce((found: unknown, key) => (typeof found === 'object' && found !== null ? Reflect.get(found, key) : undefined), value);
}

/** Params that are fine. */
export function params(extra: Json = {}): Json {
  return { model: 'claude-haiku-4-5', max_tokens: 100, messages: [{ role: 'user', content: 'Summarise the attached invoice.' }], ...extra };
}

/** A create body with `count` requests that are fine. */
export function batchBody(count: number, extra: Json = {}): { requests: { custom_id: string; params: Json }[] } {
  return {
    requests: Array.from({ length: count }, (_, index) => ({
      custom_id: `row-${index}`,
      params: params({ messages: [{ role: 'user', content: `Summarise document number ${index}.` }], ...extra }),
    })),
  };
}

/** Creates a batch and returns its id. */
export async function create(on: Rig, body: unknown = batchBody(2), headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const reply = await on.call('POST', '/v1/messages/batches', body, headers);
  if (reply.status !== 200) {
    throw new Error(`create answered ${reply.status}: ${reply.text}`);
  }
  return String(reply.json.id);
}

/** Creates a batch, lets its time pass and returns its rows by custom_id, in the order served. */
export async function finish(on: Rig, body: unknown = batchBody(2), headers: Readonly<Record<string, string>> = {}): Promise<Map<string, Json>> {
  const id = await create(on, body, headers);
  await on.control('POST', `/batches/${id}/end`);
  return rowsOf((await on.call('GET', `/v1/messages/batches/${id}/results`)).text);
}

export function rowsOf(text: string): Map<string, Json> {
  return new Map(text.split('\n').filter((line) => line !== '').map((line) => [String(asJson(line).custom_id), asJson(line)]));
}

/** The row of a batch of one request with these params. */
export async function rowFor(on: Rig, rowParams: Json, headers: Readonly<Record<string, string>> = {}): Promise<Json> {
  const rows = await finish(on, { requests: [{ custom_id: 'only', params: rowParams }] }, headers);
  return rows.get('only') ?? {};
}

/** Sends the beginning of a create body and closes the connection; resolves when the server has noticed. */
export function sendPart(on: Rig, declared: number, part: string): Promise<void> {
  return new Promise((resolve) => {
    const headers = { 'x-api-key': 'k', 'anthropic-version': '2023-06-01', 'content-length': declared };
    const outgoing = request({ port: on.simulator.port, method: 'POST', path: '/v1/messages/batches', headers });
    outgoing.on('error', () => undefined);
    outgoing.on('close', resolve);
    outgoing.write(part, () => outgoing.destroy());
  });
}

/** Waits until `holds`; for things that happen on another socket. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A PNG of this size that is only a header. */
export function png(width: number, height: number): string {
  const bytes = Buffer.alloc(33);
  bytes.writeUInt32BE(0x89504e47, 0);
  bytes.writeUInt32BE(0x0d0a1a0a, 4);
  bytes.writeUInt32BE(width, 16);
  bytes.writeUInt32BE(height, 20);
  return bytes.toString('base64');
}
