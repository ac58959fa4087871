import Anthropic from '@anthropic-ai/sdk';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, createReadStream, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSimulator } from '../../local/simulator/simulator.ts';

/**
 * Measures the simulator at the provider's limits: one batch of 100,000 requests in 256,000,000 bytes, against a server that only discards
 * the body. Both are servers of `node:http`, in processes of their own, so the discarding one parses and delivers every byte too; they get
 * the same bytes from the same client, in turns and with a turned order, seven times each and once before it counts: from the official SDK, on which the goal is set, and from a bare socket, which is told beside it. Accepted bodies are taken away
 * between the rounds, so that none of them waits for the disk to write an earlier one.
 *
 *   node --import tsx test/bench/simulator.ts
 *
 * Prints one JSON object and exits 1 when a goal is missed: at most twice the time of the discarding server (median over the rounds), under 300 MB of
 * resident memory at the peak, and every row answered.
 */

const BODY_BYTES = 256_000_000;
const REQUESTS = 100_000;
const ROUNDS = 7;
const GOAL_MEMORY_MB = 300;
const GOAL_RATIO = 2;
const HEADERS = { 'x-api-key': 'bench', 'anthropic-version': '2023-06-01', 'content-type': 'application/json' };

const [role, folder] = process.argv.slice(2);
if (role === 'discard') {
  serveDiscard();
} else if (role === 'simulate' && folder !== undefined) {
  await serveSimulator(folder);
} else {
  await measure();
}

/** Reads and forgets every body. */
function serveDiscard(): void {
  const server = createServer((incoming, response) => {
    incoming.on('data', () => undefined).on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'));
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    process.send?.({ port: typeof address === 'object' ? address?.port : 0 });
  });
}

async function serveSimulator(stateDir: string): Promise<void> {
  const simulator = await startSimulator({ stateDir, batchMs: 0, timeScale: 0, tier: 'unlimited', startMs: Date.UTC(2026, 10, 21) });
  process.send?.({ port: simulator.port });
}

async function measure(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'plimsoll-bench-'));
  const children: ChildProcess[] = [];
  try {
    const bodyPath = join(scratch, 'body.json');
    writeBody(bodyPath);
    const discard = await launch(children, 'discard', '');
    const stateDir = join(scratch, 'state');
    const simulator = await launch(children, 'simulate', stateDir);
    const discardMs: number[] = [];
    const acceptMs: number[] = [];
    const bareDiscardMs: number[] = [];
    const bareAcceptMs: number[] = [];
    let batchId = '';
    for (let round = -1; round < ROUNDS; round += 1) {
      const isFirst = round % 2 === 0;
      const [accepted, discarded] = await pair(isFirst, () => upload(simulator.port, bodyPath), () => upload(discard.port, bodyPath));
      forgetBody(stateDir, batchId);
      const [bareAccepted, bareDiscarded] = await pair(isFirst, () => uploadBare(simulator.port, bodyPath), () => uploadBare(discard.port, bodyPath));
      forgetBody(stateDir, batchOf(bareAccepted));
      batchId = batchOf(accepted);
      if (round >= 0) {
        acceptMs.push(accepted.ms);
        discardMs.push(discarded.ms);
        bareAcceptMs.push(bareAccepted.ms);
        bareDiscardMs.push(bareDiscarded.ms);
      }
    }
    const settle = await timed(() => call(simulator.port, 'POST', `/_simulator/batches/${batchId}/end`));
    const results = await timed(() => call(simulator.port, 'GET', `/v1/messages/batches/${batchId}/results`));
    report({
      body_bytes: statSync(bodyPath).size,
      requests: REQUESTS,
      discard_ms: median(discardMs),
      accept_ms: median(acceptMs),
      ratio: ratioOf(acceptMs, discardMs),
      bare_discard_ms: median(bareDiscardMs),
      bare_accept_ms: median(bareAcceptMs),
      bare_ratio: ratioOf(bareAcceptMs, bareDiscardMs),
      accept_mb_per_s: Math.round(BODY_BYTES / 1000 / median(acceptMs)),
      settle_ms: Math.round(settle.ms),
      results_ms: Math.round(results.ms),
      results_rows: results.value.lines,
      results_bytes: results.value.bytes,
      peak_memory_mb: peakMemoryMb(simulator.child),
    });
  } finally {
    for (const child of children) {
      child.kill('SIGKILL');
    }
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Both uploads, one after the other; which goes first alternates, so that neither always finds what the other has left behind. */
async function pair(isFirst: boolean, one: () => Promise<Uploaded>, other: () => Promise<Uploaded>): Promise<readonly [Uploaded, Uploaded]> {
  if (isFirst) {
    const first = await one();
    return [first, await other()];
  }
  const first = await other();
  return [await one(), first];
}

interface Uploaded {
  readonly ms: number;
  readonly reply: string;
}

/** Id of the batch that was accepted; throws when none was. */
function batchOf({ reply }: Uploaded): string {
  const [id] = /msgbatch_[0-9A-Za-z]+/.exec(reply) ?? [];
  if (id === undefined) {
    throw new Error(`The simulator did not accept the batch: ${reply.slice(0, 300)}`);
  }
  return id;
}

function forgetBody(stateDir: string, batchId: string): void {
  rmSync(join(stateDir, 'batches', batchId, 'body.json'), { force: true });
}

interface Report {
  readonly ratio: number;
  readonly peak_memory_mb: number;
  readonly results_rows: number;
  readonly [figure: string]: number;
}

function report(figures: Report): void {
  process.stdout.write(`${JSON.stringify(figures, undefined, 1)}\n`);
  const missed = [
    figures.ratio > GOAL_RATIO ? `ratio ${figures.ratio} > ${GOAL_RATIO}` : '',
    figures.peak_memory_mb > GOAL_MEMORY_MB ? `memory ${figures.peak_memory_mb} MB > ${GOAL_MEMORY_MB} MB` : '',
    figures.results_rows === REQUESTS ? '' : `rows ${figures.results_rows} of ${REQUESTS}`,
  ].filter((line) => line !== '');
  for (const line of missed) {
    process.stderr.write(`goal missed: ${line}\n`);
  }
  process.exitCode = missed.length === 0 ? 0 : 1;
}

/** Prose with line breaks and quotes, as documents have them, padded so that the body has exactly its size. */
function writeBody(path: string): void {
  const descriptor = openSync(path, 'w');
  const perEntry = Math.floor((BODY_BYTES - 16) / REQUESTS) - 1;
  const sentence = 'Invoice no. 4711 from \\"Harbor & Sons\\", due in 30 days; see appendix B.\\nThe amount was confirmed by the buyer. ';
  for (let index = 0; index < REQUESTS; index += 1) {
    const head = `${index === 0 ? '{"requests":[' : ','}{"custom_id":"bench-${index}","params":{"model":"claude-haiku-4-5","max_tokens":256,"messages":[{"role":"user","content":"`;
    const tail = `"}]}}`;
    const room = perEntry - (head.length + tail.length) + (index === 0 ? 13 : 1);
    const text = sentence.repeat(Math.floor(room / sentence.length));
    writeSync(descriptor, head + text + 'x'.repeat(room - text.length) + tail);
  }
  writeSync(descriptor, ']}');
  closeSync(descriptor);
}

async function launch(children: ChildProcess[], as: string, stateDir: string): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const child = fork(process.argv[1] ?? '', [as, stateDir], { execArgv: ['--import', 'tsx'] });
  children.push(child);
  const [message] = await once(child, 'message');
  return { child, port: Number(Reflect.get(Object(message), 'port')) };
}

/** Sends the body as the official SDK streams it (claude-batches.md 7.3). */
async function upload(port: number, path: string): Promise<Uploaded> {
  const client = new Anthropic({ apiKey: 'bench', baseURL: `http://127.0.0.1:${port}`, maxRetries: 0 });
  const startMs = performance.now();
  const reply = await client.post('/v1/messages/batches', {
    body: createReadStream(path, { highWaterMark: 1_048_576 }),
    headers: { 'content-type': 'application/json', 'content-length': String(statSync(path).size) },
    fetchOptions: { redirect: 'error', window: null },
  });
  return { ms: performance.now() - startMs, reply: JSON.stringify(reply) };
}

/** Sends the body as fast as a bare socket takes it: the strictest comparison. */
async function uploadBare(port: number, path: string): Promise<Uploaded> {
  const startMs = performance.now();
  const outgoing = request({ port, host: '127.0.0.1', method: 'POST', path: '/v1/messages/batches', headers: { ...HEADERS, 'content-length': statSync(path).size } });
  createReadStream(path, { highWaterMark: 1_048_576 }).pipe(outgoing);
  const [response] = await once(outgoing, 'response');
  let reply = '';
  for await (const chunk of response) {
    reply += String(chunk);
  }
  return { ms: performance.now() - startMs, reply };
}

async function call(port: number, method: string, path: string): Promise<{ readonly lines: number; readonly bytes: number }> {
  const outgoing = request({ port, host: '127.0.0.1', method, path, headers: HEADERS }).end();
  const [response] = await once(outgoing, 'response');
  let lines = 0;
  let bytes = 0;
  for await (const chunk of response) {
    bytes += chunk.length;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) {
      lines += 1;
    }
  }
  return { lines, bytes };
}

async function timed<Value>(action: () => Promise<Value>): Promise<{ readonly ms: number; readonly value: Value }> {
  const startMs = performance.now();
  const value = await action();
  return { ms: performance.now() - startMs, value };
}

/** Median of the ratios within each round: its two uploads followed each other, so a machine that slows down meanwhile slows both. */
function ratioOf(some: readonly number[], others: readonly number[]): number {
  const ratios = some.map((one, round) => Math.round((100 * one) / (others[round] ?? one)));
  return median(ratios) / 100;
}

function median(values: readonly number[]): number {
  return Math.round([...values].sort((a, b) => a - b)[values.length >> 1] ?? 0);
}

/** The high-water mark of resident memory, from the kernel. */
function peakMemoryMb(child: ChildProcess): number {
  const status = readFileSync(`/proc/${child.pid ?? 0}/status`, 'utf8');
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? '0') / 1024);
}
