import { createReadStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { instantText } from './clock.ts';
import { decodeScript } from './faultscript.ts';
import { isObject, numberOf, parseJson, textOf, type JsonObject } from './shape.ts';
import type { World } from './world.ts';

/**
 * The control endpoints, for tests and rehearsals. They need no key and are not part of the API that is simulated.
 *
 *   GET    /_simulator                     what is running: time, batches, rules
 *   GET    /_simulator/faults              armed rules with their counters
 *   POST   /_simulator/faults              arm the rules of a script, {"faults":[…],"replace":true}
 *   DELETE /_simulator/faults              disarm all
 *   GET    /_simulator/truth               the truth log so far; ?kind=row_billed&batch_id=… narrows
 *   GET    /_simulator/clock               simulated time
 *   POST   /_simulator/clock               {"advance_ms":N}, {"to":"2026-…"} or {"time_scale":N}; answers when all that became due is done
 *   POST   /_simulator/batches/{id}/end    end this batch now
 */
const PREFIX = '/_simulator';

/** True for a path of this file. */
export function isControlPath(path: string): boolean {
  return path === PREFIX || path.startsWith(`${PREFIX}/`);
}

/** Answers a control call. Mistakes get 400 and one line. */
export async function control(world: World, request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
  const name = `${request.method ?? 'GET'} ${url.pathname.slice(PREFIX.length)}`;
  if (name === 'GET /truth') {
    await sendTruth(world, response, url);
    return;
  }
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
  }
  const body = text === '' ? {} : parseJson(text);
  const outcome = isObject(body) ? await act(world, name, body) : 'The body has to be a JSON object.';
  const [status, value] = typeof outcome === 'string' ? [400, { error: outcome }] : [200, outcome];
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(value)}\n`);
}

/** What the call does; a string is what is wrong with it. */
async function act(world: World, name: string, body: JsonObject): Promise<JsonObject | string> {
  switch (name) {
    case 'GET ':
    case 'GET /':
      return overview(world);
    case 'GET /faults':
      return { faults: world.faults.list() };
    case 'POST /faults':
      return armFaults(world, body);
    case 'DELETE /faults':
      world.faults.clear();
      return { faults: [] };
    case 'GET /clock':
      return clockState(world);
    case 'POST /clock':
      return await moveClock(world, body);
    default:
      return await endBatch(world, name);
  }
}

function armFaults(world: World, body: JsonObject): JsonObject | string {
  const { replace, ...script } = body;
  const decoded = decodeScript(script);
  if (typeof decoded === 'string') {
    return decoded;
  }
  if (replace === true) {
    world.faults.clear();
  }
  world.faults.add(decoded);
  world.truth.append({ kind: 'faults_armed', at: instantText(world.clock.nowUs()), rules: decoded.faults });
  return { faults: world.faults.list() };
}

async function moveClock(world: World, body: JsonObject): Promise<JsonObject | string> {
  const advanceMs = numberOf(body.advance_ms);
  const toMs = Date.parse(textOf(body.to) ?? '');
  const scale = numberOf(body.time_scale);
  if (scale !== undefined && scale >= 0) {
    world.clock.rescale(scale);
  } else if (advanceMs !== undefined && advanceMs >= 0) {
    await world.clock.advance(advanceMs);
  } else if (Number.isFinite(toMs) && toMs >= world.clock.nowMs()) {
    await world.clock.advance(toMs - world.clock.nowMs());
  } else {
    return 'Say {"advance_ms": N}, {"to": "an instant that is still to come"} or {"time_scale": N}.';
  }
  world.truth.append({ kind: 'clock_moved', at: instantText(world.clock.nowUs()), time_scale: world.clock.scale });
  return clockState(world);
}

async function endBatch(world: World, name: string): Promise<JsonObject | string> {
  const id = /^POST \/batches\/([^/]+)\/end$/.exec(name)?.[1];
  const record = id === undefined ? undefined : world.records.get(id);
  if (record === undefined) {
    return id === undefined ? `There is no control call "${name}". GET ${PREFIX} lists what is running.` : `There is no batch ${id}.`;
  }
  await world.runner.endNow(record);
  return { id: record.id, ended: true };
}

function clockState(world: World): JsonObject {
  return { now: instantText(world.clock.nowUs()), time_scale: world.clock.scale };
}

function overview(world: World): JsonObject {
  const all = world.records.all();
  return {
    ...clockState(world),
    tier: world.settings.tier,
    seed: world.settings.seed,
    batches: all.length,
    unfinished: all.filter((record) => record.endedUs === null).length,
    truth_file: world.settings.truthFile,
    faults: world.faults.list(),
  };
}

async function sendTruth(world: World, response: ServerResponse, url: URL): Promise<void> {
  const wanted = [...url.searchParams];
  response.writeHead(200, { 'content-type': 'application/x-jsonl' });
  if (wanted.length === 0) {
    createReadStream(world.truth.path).pipe(response);
    return;
  }
  for await (const line of world.truth.read()) {
    if (wanted.every(([key, value]) => String(line[key]) === value)) {
      response.write(`${JSON.stringify(line)}\n`);
    }
  }
  response.end();
}
